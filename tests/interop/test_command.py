"""The command, as a user runs it."""

from __future__ import annotations

import asyncio
import json
import sys

import pytest

from seawall import DNS
from seawall.cli import dns as dns_command
from seawall.testing.dns import Name

pytestmark = pytest.mark.anyio


async def run(*arguments: str) -> tuple[int, str]:
    """``seawall ...``: its exit status and what it printed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        "import seawall.cli; seawall.cli.main()",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["demo", "--rate", "-5"], "--rate"),
        (["demo", "--json", "/nonexistent/file"], "--json"),
        (["demo", "--json", "/"], "--json"),
        (["dns", "--resolver", "dns", "localhost"], "--resolver takes one of auto, cares, system, not 'dns'"),
        (["fetch", "--nameserver", "::x", "-"], "--nameserver takes an IP address, with or without :port, not '::x'"),
    ],
)
async def test_bad_options(arguments, said):
    """Status 2, at once, and which option it is."""
    status, output = await run(*arguments)
    assert (status, said in output, "Traceback" in output) == (2, True, False)


async def test_dns_shows_each_step(dns, capsys):
    """Both families, what is used of them and whence; a name that is not there is said to be none, with status 1."""

    async def show(*names: str) -> tuple[int, str]:
        status = await dns_command.run(names, dns=DNS(nameservers=(dns.address,)), resolver="auto", watch=None)
        return status, capsys.readouterr().out

    dns.zone["two.test"] = Name(a=("127.0.0.1",), aaaa=("::1",), ttl=30)
    for _ in range(10):  # on a busy machine one family may come too late to be used
        status, output = await show("two.test", "127.0.0.1")
        assert status == 0, output
        lines = [" ".join(line.split()) for line in output.splitlines()]
        if "::1, 127.0.0.1 (dns" in lines[3]:
            break
    assert lines[0] == "two.test"
    assert any(line.startswith("hosts file") and line.endswith("not in it") for line in lines)
    assert any(line.startswith("two.test A ") and line.endswith("127.0.0.1 (TTL 30 s)") for line in lines)
    assert any(line.startswith("two.test AAAA ") and line.endswith("::1 (TTL 30 s)") for line in lines)
    assert any(line.startswith("used ") and "::1, 127.0.0.1 (dns, kept for" in line for line in lines)
    assert lines[-1].endswith("127.0.0.1 (literal)")
    status, output = await show("none.test", "a b")
    assert (status, output.count("NameNotFound")) == (1, 4), output
    _, output = await show("x.onion", "x.invalid", "localhost.")
    assert output.count("special name") == 3, output
    assert not {name for name, _ in dns.queries} & {"x.onion", "x.invalid", "localhost"}


@pytest.mark.parametrize(
    ("server", "status", "said"),
    [("", 0, "used "), ("nonsense", 2, "--server takes an IP")],
)
async def test_dns_asks_the_server_it_is_told(dns, server, status, said):
    """`--server` is asked, and refused at once if it is not an address."""
    dns.zone["a.test"] = Name(a=("127.0.0.1",))
    ended, output = await run("dns", "a.test", "--server", server or dns.address)
    assert (ended, said in output, "Traceback" in output) == (status, True, False), output


async def test_demo(tmp_path):
    """Short: every call to the healthy host is good under seawall, and the exit status says what the figures say."""
    path = tmp_path / "figures.json"
    status, output = await run("demo", "--seconds", "1", "--rate", "40", "--timeout", "0.5", "--json", str(path))
    figures = json.loads(path.read_text())
    healthy = figures["seawall"]["hosts"]["healthy"]
    assert healthy["ok"] == healthy["calls"] > 0, output
    assert status == (0 if figures["ok"] else 1)
    assert set(figures["httpx"]["hosts"]) | {"silent-dns"} == set(figures["seawall"]["hosts"])
    assert set(figures) - {"baseline", "ok"} == {"httpx", "httpx tuned", "aiohttp + own retries", "seawall"}
    assert output.count("The event loop was") == 4
