"""Where the servers of the kit listen: on loopback, unless another address was given as one."""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
import sys
from pathlib import Path

import anyio
import httpx
import pytest
from typer.testing import CliRunner

import seawall.testing as kit
from seawall.cli.app import app
from seawall.cli.faults import PORTS
from seawall.testing import DNSServer, FaultServer, Network, Server, no_leaks, service
from seawall.testing.service import is_loopback


async def ignore(request: object) -> None:
    pass


SERVERS = {
    "FaultServer": FaultServer,
    "Server": lambda **given: Server(ignore, **given),
    "DNSServer": DNSServer,
    "Network": Network,
}


def listening(server) -> list[str]:
    """The addresses of a server's sockets."""
    if isinstance(server, FaultServer):
        server.listen("accept_hang")
        socks = [port._sock for port in server.ports.values()]
    elif isinstance(server, Server):
        socks = [server._listening._sock]
    elif isinstance(server, DNSServer):
        socks = [server._udp, *server._tcp.sockets]
    else:
        link = server.link("127.0.0.1:1")
        socks = [link._place, link._listener]
    return [sock.getsockname()[0] for sock in socks]


@pytest.mark.anyio
@pytest.mark.parametrize("name", SERVERS)
async def test_end_that_is_cancelled(name):
    """anyio cancels each await of a scope that was cancelled; nothing listens, and no task lives on."""
    async with no_leaks():
        with anyio.CancelScope() as scope:
            async with SERVERS[name]() as server:
                more = [server.link("127.0.0.1:1") for _ in range(2)] if name == "Network" else []
                more += [server.listen("accept_hang") for _ in range(2)] if name == "FaultServer" else []
                ports = [each.port for each in more] or [server.port]
                writers = [(await asyncio.open_connection("127.0.0.1", port))[1] for port in ports]
                while any(not getattr(each, "connections", 1) for each in more or [server]):
                    await asyncio.sleep(0)
                for writer in writers:
                    writer.transport.abort()
                scope.cancel()
                await asyncio.sleep(60)
        assert scope.cancelled_caught


@pytest.mark.anyio
async def test_end_that_is_held_up(monkeypatch):
    """A handler that swallows its cancellation holds up nobody who cancels the end."""
    monkeypatch.setattr(service, "PATIENCE", 0.01)
    going, release = asyncio.Event(), asyncio.Event()

    async def stubborn(request: object) -> None:
        going.set()
        while not release.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await release.wait()

    with anyio.CancelScope() as scope:
        async with Server(stubborn) as server:
            _, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"GET / HTTP/1.1\r\n\r\n")
            await going.wait()
            scope.cancel()
            await asyncio.sleep(60)
    assert scope.cancelled_caught
    release.set()
    writer.close()
    while server.open:
        await asyncio.sleep(0)


@pytest.mark.anyio
async def test_server_on_ipv6():
    """Its URL has the brackets that a client needs."""
    async with Server(lambda request: request.reply(), host="::1") as server, httpx.AsyncClient() as client:
        assert (await client.get(server.url)).text == "ok"


@pytest.mark.parametrize("name", SERVERS)
def test_loopback_unless_told(name):
    """By default, and by its name."""
    for given in ({}, {"host": "localhost"}):
        with SERVERS[name](**given) as server:
            assert set(listening(server)) == {"127.0.0.1"}


@pytest.mark.parametrize("name", SERVERS)
def test_another_address(name):
    """Given as an address."""
    with SERVERS[name](host="0.0.0.0") as server:
        assert set(listening(server)) == {"0.0.0.0"}


@pytest.mark.parametrize("host", ["", "example.test", "*", None, 7])
@pytest.mark.parametrize("name", SERVERS)
def test_what_is_not_an_address(name, host):
    """Refused: an empty one would mean all addresses, and a name may mean any of them."""
    with (
        pytest.raises(ValueError, match="host must be an IP address of this machine, not"),
        SERVERS[name](host=host) as server,
    ):
        listening(server)


def test_loopback():
    """Of both families."""
    assert [is_loopback(host) for host in ("127.0.0.1", "127.9.9.9", "::1", "localhost")] == [True] * 4
    assert [is_loopback(host) for host in ("0.0.0.0", "::", "192.0.2.1")] == [False] * 3


def test_no_other_way_to_listen():
    """Each server of the kit binds through `bound`, so that what is tested here holds for all."""
    folder = Path(kit.__file__).parent
    found = [
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*.py")
        if re.search(r"\.bind\(|start_server\(|create_datagram_endpoint\(", path.read_text())
    ]
    assert found == ["service.py"]


async def started(*arguments: str) -> tuple[int, str]:
    """``seawall faults``, stopped once it has said all: exit status and output."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        "import seawall.cli; seawall.cli.main()",
        "faults",
        "--port",
        "0",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said = ""
    async for line in process.stdout:
        said += line.decode()
        if "Press Ctrl-C" in said:
            process.send_signal(signal.SIGINT)
            break
    return await process.wait(), said


@pytest.mark.anyio
async def test_command_whose_reader_leaves():
    """As ``seawall faults | head`` does: the servers stay, because clients still need them."""
    command = "import seawall.cli; seawall.cli.main()"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", command, "faults", "--port", "0", stdout=asyncio.subprocess.PIPE, stderr=-1
    )
    said = ""
    while "Press Ctrl-C" not in said:
        said += (await process.stdout.readline()).decode()
    url = re.search(r"http://127\.0\.0\.1:\d+", said)[0]
    process._transport.get_pipe_transport(1).close()
    try:
        async with httpx.AsyncClient() as client:
            assert [(await client.get(f"{url}/x/ok")).status_code for _ in range(2)] == [200, 200]
    finally:
        process.send_signal(signal.SIGINT)
    errors = (await process.stderr.read()).decode()
    assert (await process.wait(), errors.count("\n")) == (0, 1), errors
    assert "requests are no longer printed" in errors


def test_command_says_how_many_ports_it_needs():
    """Whoever chooses the first of them must know how many follow."""
    needed = len(PORTS) + 3  # the requests', the names', the network's
    said = CliRunner().invoke(app, ["faults", "--help"], env={"COLUMNS": "200"}).output
    assert (int(re.search(r"some (\d+) ports in a row", said)[1]), round(needed, -1)) == (100, 100)


@pytest.mark.anyio
async def test_command():
    """A warning where others reach it; an address that isn't one is refused at once."""
    (code, said), (open_code, open_said), (bad_code, bad_said) = await asyncio.gather(
        started(), started("--host", "0.0.0.0"), started("--host", "")
    )
    assert (code, "WARNING" in said, "http://127.0.0.1:" in said) == (0, False, True), said
    assert (open_code, "WARNING    0.0.0.0 is not loopback: every client that" in open_said) == (0, True), open_said
    assert (bad_code, "Traceback" in bad_said) == (2, False)
    assert bad_said.startswith("seawall faults: --host must be an IP address of this machine, not ''"), bad_said
