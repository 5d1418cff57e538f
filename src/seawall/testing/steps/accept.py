"""Steps of a port: what happens to a connection before a request can be read from it."""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
from typing import Annotated, Literal

from ..http.port import Incoming
from ..http.step import Between, step

__all__ = [
    "accept_408",
    "accept_answer",
    "accept_close",
    "accept_garbage",
    "accept_hang",
    "accept_reset",
    "blackhole",
    "proxy",
    "refuse",
    "serve",
]

MAX_HEAD = 2**16
ProxyFault = Literal["none", "403", "407", "502", "close", "reset", "hang", "long", "garbage"]


@step(level="connection")
async def serve(incoming: Incoming) -> None:
    """Reads requests, and replies by their steps."""
    await incoming.serve()


@step(level="connection")
async def refuse(incoming: Incoming) -> None:
    """Nothing listens, so the SYN is answered with RST. Applies to the whole port, until it is healed."""
    raise AssertionError("unreachable: nothing is accepted")


@step(level="connection")
async def blackhole(incoming: Incoming) -> None:
    """SYNs get no answer, because the accept queue is full. Applies to the whole port, until it is healed."""
    raise AssertionError("unreachable: nothing is accepted")


@step(level="connection")
async def accept_reset(incoming: Incoming) -> None:
    """Sends RST at once."""
    incoming.reset()


@step(level="connection")
async def accept_close(incoming: Incoming) -> None:
    """Sends FIN at once."""
    await incoming.close()


@step(level="connection")
async def accept_hang(incoming: Incoming) -> None:
    """Reads, and never sends anything."""
    await incoming.drain()


@step(level="connection")
async def accept_garbage(incoming: Incoming, text: str = "foo bar") -> None:
    """Sends something that is not HTTP before any request, then FIN."""
    await incoming.send(text.encode())
    await incoming.close()


@step(level="connection")
async def accept_408(incoming: Incoming) -> None:
    """Sends 408 before any request, then FIN, as servers do on idle connections."""
    await incoming.send(b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
    await incoming.close()


@step(level="connection")
async def accept_answer(incoming: Incoming, size: Annotated[int, Between(0, 1e8)] = 2**20) -> None:
    """Sends a good answer of 3 bytes before any request, then this many bytes beyond its length, then FIN."""
    await incoming.send(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\nconnection: keep-alive\r\n\r\n")
    await incoming.send(b"a" * (3 + size))
    await incoming.close()


@step(level="connection")
async def proxy(incoming: Incoming, fault: ProxyFault = "none") -> None:
    """A CONNECT proxy, to loopback only: works, refuses, asks for credentials, breaks off, or sends endless headers."""
    request = b""
    while b"\r\n\r\n" not in request and len(request) < MAX_HEAD:
        data = await incoming.receive()
        if not data:
            return
        request += data
    if fault in ("403", "407", "502"):
        extra = b'proxy-authenticate: Basic realm="faults"\r\n' if fault == "407" else b""
        await incoming.send(b"HTTP/1.1 %s X\r\n%scontent-length: 0\r\n\r\n" % (fault.encode(), extra))
        await incoming.close()
    elif fault == "garbage":
        await incoming.send(b"garbage\r\n\r\n")
        await incoming.close()
    elif fault == "close":
        await incoming.close()
    elif fault == "reset":
        incoming.reset()
    elif fault == "hang":
        await incoming.drain()
    elif fault == "long":
        await incoming.send(b"HTTP/1.1 200 OK\r\n")
        while True:
            await incoming.send(b"x-long: " + b"x" * 10_000 + b"\r\n")
    else:
        await _tunnel(incoming, request)


async def _tunnel(incoming: Incoming, request: bytes) -> None:
    head, _, rest = request.partition(b"\r\n\r\n")
    found = re.match(rb"CONNECT (\S+):(\d{1,5}) HTTP/1\.[01]", head)
    host = found[1].decode("latin-1").strip("[]") if found else ""
    status = b"400 Bad Request" if found is None else b"" if _is_loopback(host) else b"403 Not loopback"
    if found is not None and not status:
        try:
            reader, writer = await asyncio.open_connection(host, int(found[2]))
        except (OSError, OverflowError):
            status = b"502 Bad Gateway"
    if status:
        await incoming.send(b"HTTP/1.1 " + status + b"\r\ncontent-length: 0\r\n\r\n")
        await incoming.close()
        return
    await incoming.send(b"HTTP/1.1 200 Connected\r\n\r\n")
    writer.write(rest)

    async def back() -> None:
        try:
            while data := await reader.read(65536):
                await incoming.send(data)
            incoming.sock.shutdown(socket.SHUT_WR)
        except ConnectionResetError:
            incoming.reset()
            raise

    async def forth() -> None:
        while data := await incoming.receive():
            writer.write(data)
            await writer.drain()
        writer.write_eof()

    both = [asyncio.ensure_future(back()), asyncio.ensure_future(forth())]
    try:
        await asyncio.wait(both, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        for each in both:
            each.cancel()
        await asyncio.gather(*both, return_exceptions=True)
        writer.transport.abort()


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
