"""Steps of a port: what happens to a connection before a request can be read from it."""

from __future__ import annotations

from typing import Annotated

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
    "refuse",
    "serve",
]


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
