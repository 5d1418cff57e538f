"""The pytest plugin, in test runs of its own as other people's are; and tests of blocking clients with its fixtures."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
import requests

from seawall.testing.dns import Name

from .tools import each_lib

__all__ = ["each_lib"]


def run(folder: Path, code: str) -> str:
    (folder / "test_it.py").write_text(code)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env={**os.environ, "PYTEST_ADDOPTS": ""})
    return done.stdout + done.stderr


def test_costs_nothing_unless_used(tmp_path):
    """No module of seawall's is imported by a run that uses none of the fixtures."""
    said = run(
        tmp_path,
        "import sys\n"
        "def test_it():\n"
        "    assert 'pytest_seawall' in sys.modules\n"
        "    assert not [name for name in sys.modules if name.partition('.')[0] == 'seawall']\n",
    )
    assert "1 passed" in said, said


def test_start_imports_nothing():
    """The plugin needs only what pytest has imported, so it takes 0.3 ms of each start."""
    code = "import sys, pytest; had = {*sys.modules}; import pytest_seawall; print(*{*sys.modules} - had)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["pytest_seawall"]


def test_fixtures(tmp_path):
    """Each works; a script that nothing asks for, and what is left behind, fail the test that is to blame."""
    said = run(
        tmp_path,
        """
import asyncio, os, threading, urllib.request
import pytest
from seawall.testing import leaks
from seawall.testing.steps import ok

def test_servers(fault_server, dns_server, fault_network):
    link = fault_network.link(fault_server.url)
    url = fault_server.script("k", ok()).replace(fault_server.url, link.url)
    assert urllib.request.urlopen(url).status == 200
    assert dns_server.port

def test_virtual_time(virtual_time):
    async def hour():
        await asyncio.sleep(3600)
        return asyncio.get_running_loop().time()
    assert virtual_time(hour()) == 3600

def test_forgotten(fault_server):
    fault_server.script("forgotten", ok())

def test_leaves_a_descriptor(no_leaks):
    os.dup(1)

def test_leaves_nothing(no_leaks):
    pass

@pytest.mark.anyio
async def test_leaves_a_task(no_leaks, anyio_backend):
    global task
    task = asyncio.create_task(asyncio.sleep(60), name="forgotten")

def test_fails_itself(fault_server, no_leaks):
    fault_server.script("forgotten", ok())
    kept.append(os.dup(1))
    assert not "its own reason"

def test_skips_itself(fault_server, no_leaks):
    fault_server.script("forgotten", ok())
    kept.append(os.dup(1))
    pytest.skip("its own reason")

@pytest.mark.xfail(raises=ValueError)
def test_is_known_to_fail(fault_server, no_leaks):
    fault_server.script("forgotten", ok())
    kept.append(os.dup(1))
    raise ValueError("its own reason")

kept = []
leaks.no_leaks.__kwdefaults__["grace"] = 0.1

@pytest.fixture
def anyio_backend():
    return "asyncio"
""",
    )
    assert "2 failed, 5 passed, 1 skipped, 1 xfailed, 2 errors" in said, said
    assert "ERROR test_it.py::test_fails_itself" not in said
    assert "ERROR test_it.py::test_forgotten" in said
    assert "UnusedScript: scripts were set, but no request came with these keys: 'forgotten'" in said
    assert "FAILED test_it.py::test_leaves_a_task" in said
    assert "'forgotten'" in said
    assert "ERROR test_it.py::test_leaves_a_descriptor" in said


def test_requests(fault_server):
    """A blocking client, its retries counted at the server."""
    session = requests.Session()
    retry = requests.adapters.Retry(total=2, backoff_factor=0, status_forcelist=[503])
    session.mount("http://", requests.adapters.HTTPAdapter(max_retries=retry))
    with session:
        assert session.get(fault_server.script("flaky", "503", "close", "ok"), timeout=5).status_code == 200
        with pytest.raises(requests.ConnectionError):
            session.get(fault_server.script("broken", "reset"), timeout=5)
    with pytest.raises(requests.ReadTimeout):
        requests.get(fault_server.script("silent", "hang"), timeout=0.1)
    assert [each.step for each in fault_server.attempts("flaky")] == ["503", "close", "ok"]
    assert len(fault_server.attempts("broken")) == 3


@pytest.mark.usefixtures("each_lib")
def test_blocking_httpx_over_tls(fault_server):
    """Certificates that a client is told to trust, and others."""
    with httpx.Client(verify=fault_server.client_context()) as client:
        assert client.get(fault_server.listen("tls").url + "/x/ok").status_code == 200
        with pytest.raises(httpx.ConnectError, match="expired"):
            client.get(fault_server.listen("tls:expired").url + "/x/ok")


def test_names(dns_server):
    """The zone is in Python's hands, the statistics too."""
    dns_server.zone["api.test"] = Name(a=("127.0.0.1",))
    assert dns_server.address == f"127.0.0.1:{dns_server.port}"
    assert dns_server.queries == {}
