"""What runs where, as far as one system can tell: the client where names are missing, the kit on other loops."""

from __future__ import annotations

import asyncio
import errno
import json
import socket
import subprocess
import sys
from types import SimpleNamespace

import pytest

from seawall.cli import faults
from seawall.config import limits
from seawall.testing import DNSServer, FaultServer, Leaked, Network, Request, Server, leaks, no_leaks, service
from seawall.testing.dns import Name

from .elsewhere import Watchless


@pytest.fixture(scope="module")
def job():
    """What a client elsewhere is to call."""
    with FaultServer() as server, DNSServer({"api.test": Name(a=("127.0.0.1",))}) as dns:
        yield {
            "base": server.url,
            "port": server.port,
            "tls": server.listen("tls").url,
            "h2": server.listen("h2").url,
            "refused": server.listen("refuse").port,
            "ca": server.certificates.pem(),
            "dns": dns.address,
        }


@pytest.mark.parametrize("system", ["darwin", "win32", "win32-watchless"])
def test_client(job, system):
    """Without poll, AF_UNIX, SOCK_CLOEXEC, fcntl and what else is missing there; on Windows' two loops."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.interop.elsewhere", system],
        input=json.dumps(
            job | {"resolver": "cares", "run": system}
        ),  # cares asks this test's name server, which knows api.test
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    for name in ("first", "kept", "uploaded", "ends", "tls", "named", "localhost"):
        assert told[name] == [200, "HTTP/1.1", 1], name
    assert told["http2"] == [200, "HTTP/2", 1]
    assert told["retried"] == told["lost"] == [200, "HTTP/1.1", 2]
    assert told["after"][0] == 200  # in one attempt or two: without poll, the client may learn of the end too late
    assert (told["refused"], told["by the system"]) == ("DialError", 200)
    assert told["streamed"] == told["downloaded"] == 100_000


SERVERS = {
    "FaultServer": FaultServer,
    "Server": lambda: Server(ok),
    "DNSServer": DNSServer,
    "Network": Network,
}


async def ok(request: Request) -> None:
    await request.reply()


@pytest.mark.parametrize("name", SERVERS)
def test_kit_in_a_loop_that_watches_nothing(name):
    """It says so at once, and what to do."""

    async def enter() -> None:
        async with SERVERS[name]():
            pass

    with asyncio.Runner(loop_factory=Watchless) as runner, pytest.raises(RuntimeError, match="Watchless can't watch"):
        runner.run(enter())


@pytest.mark.parametrize("name", SERVERS)
def test_kit_in_a_thread(name, monkeypatch):
    """It has a loop of its own there, whatever the default is."""
    monkeypatch.setattr(asyncio, "new_event_loop", Watchless)
    monkeypatch.setattr(asyncio.events, "new_event_loop", Watchless)
    with SERVERS[name]() as server:
        assert type(server._loop) is asyncio.SelectorEventLoop


def test_command_in_a_loop_that_watches_nothing(capsys):
    """Status 2, before anything listens."""
    with asyncio.Runner(loop_factory=Watchless) as runner:
        assert runner.run(faults.run(host="127.0.0.1", port=0, ca=None)) == 2
    said = capsys.readouterr()
    assert (said.out, said.err.startswith("seawall faults: Watchless can't watch sockets")) == ("", True)


@pytest.mark.parametrize(("system", "has_hint"), [("darwin", True), ("linux", False)])
def test_address_that_loopback_lacks(monkeypatch, system, has_hint):
    """macOS has 127.0.0.1 only, and a message says how to add another."""

    def bind(sock: socket.socket, address: object) -> None:
        raise OSError(errno.EADDRNOTAVAIL, "Can't assign requested address")

    lacking = type("Lacking", (socket.socket,), {"bind": bind})
    monkeypatch.setattr(service, "socket", SimpleNamespace(**vars(socket) | {"socket": lacking}))
    monkeypatch.setattr(service, "sys", SimpleNamespace(platform=system))
    with pytest.raises(OSError, match=r"can't listen on 127\.0\.0\.2:0: Can't assign") as caught:
        service.bound(socket.SOCK_STREAM, "127.0.0.2", 0)
    assert ("sudo ifconfig lo0 alias 127.0.0.2" in str(caught.value)) is has_hint


def test_connections_that_a_selector_takes(monkeypatch):
    """Windows has no RLIMIT_NOFILE, but a select() that takes 512 sockets, and raises ValueError from then on."""
    monkeypatch.setattr(limits, "resource", None)
    assert limits.Limits.fitting() == limits.Limits(max_connections=256, max_keepalive=256)


def test_leaks_without_a_list_of_descriptors(monkeypatch):
    """Where there is no /proc, no_leaks sees the sockets that Python has made."""
    monkeypatch.setattr(leaks, "DESCRIPTORS", "/nonexistent")
    kept = []
    with pytest.raises(Leaked, match="socket"), no_leaks(grace=0):
        kept.append(socket.socket())
    kept.pop().close()
