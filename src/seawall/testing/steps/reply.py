"""Steps that strike while the server reads a request or writes its answer."""

from __future__ import annotations

import asyncio
from typing import Annotated, Literal

from ..http.connection import head
from ..http.step import BadStep, Between, Where, step
from ..http.turn import Turn

__all__ = [
    "chance",
    "close",
    "delay",
    "drip",
    "early",
    "hang",
    "info",
    "info_endless",
    "no_continue",
    "ok",
    "refuse_continue",
    "reset",
    "truncate",
]

BOTH = ("http/1.1", "h2")
BODY = b"x" * 1000
HEADERS = [("content-type", "text/plain"), ("content-length", str(len(BODY)))]
CHUNKED = [("content-type", "text/plain"), ("transfer-encoding", "chunked")]
PIECE = 65536


@step(protocols=BOTH)
async def ok(turn: Turn, size: int = 0) -> None:
    """200, with JSON that says which request it answers; with a size, 200 with that many bytes."""
    if not size:
        await turn.reply()
        return
    await turn.request.begin(200, {"content-type": "application/octet-stream", "content-length": str(size)})
    if turn.request.method == "HEAD":
        return
    for begin in range(0, size, PIECE):
        await turn.request.send(b"x" * min(PIECE, size - begin))


@step(protocols=BOTH)
async def delay(turn: Turn, seconds: float) -> bool:
    """Waits, then does the step after the +, or without one sends a good answer."""
    await asyncio.sleep(seconds)
    return True


@step(protocols=BOTH)
async def chance(turn: Turn, probability: Annotated[float, Between(0, 1)]) -> bool:
    """Does the step after the + with this probability (seeded), or else sends a good answer."""
    return turn.rng.random() < probability


@step(reads_body=False, protocols=BOTH)
async def hang(turn: Turn, where: Where = "start") -> None:
    """Sends nothing more, and keeps the connection open; "request": never reads the body."""
    if where == "request":
        turn.connection.pause()
        await turn.connection.gone()
    else:
        await _begin(turn, where)
        await turn.request.hang()


@step(reads_body=False, protocols=BOTH)
async def close(turn: Turn, where: Where = "start") -> None:
    """Sends FIN, over TLS after a close_notify."""
    await _begin(turn, where)
    turn.request.close()


@step(reads_body=False, protocols=BOTH)
async def truncate(turn: Turn, where: Where = "body") -> None:
    """Sends FIN without a close_notify, as an attacker or a broken proxy does over TLS."""
    await _begin(turn, where)
    await turn.request.wire.flushed()
    turn.request.abort()


@step(reads_body=False, protocols=BOTH)
async def reset(turn: Turn, where: Where = "start") -> None:
    """Sends RST."""
    await _begin(turn, where)
    await turn.request.wire.flushed()
    turn.request.reset()


@step(reads_body=False)
async def drip(turn: Turn, where: Where = "start", interval: float = 0.2, size: int = 1000) -> None:
    """Sends a byte at a time from there on, so that no read timeout strikes; "request": reads the body by the KiB."""
    if where == "request":
        turn.connection.pause()
        while not turn.request.is_complete:
            await turn.request.read(len(turn.request.body) + 1024)
            turn.connection.pause()
            await asyncio.sleep(interval)
        await turn.reply()
        return
    await turn.request.read()
    begin = head(200, [("content-type", "text/plain"), ("content-length", str(size))])
    if where == "chunk":
        begin = head(200, CHUNKED)
    at = {"start": 0, "status": len("HTTP/1.1 "), "headers": begin.find(b"\r\n") + 2}.get(where, len(begin))
    await turn.write(begin[:at])
    for byte in begin[at:]:
        await turn.write(bytes([byte]))
        await asyncio.sleep(interval)
    if turn.request.method == "HEAD":
        return
    for _ in range(size):
        await turn.write(b"1\r\nx\r\n" if where == "chunk" else b"x")
        await asyncio.sleep(interval)
    if where == "chunk":
        await turn.write(b"0\r\n\r\n")


@step(reads_body=False)
async def early(
    turn: Turn, status: Annotated[int, Between(200, 999)] = 413, then: Literal["read", "close", "reset"] = "read"
) -> None:
    """Answers before it reads the body, then reads it or ends the connection."""
    await turn.request.reply(status, turn.body, {} if then == "read" else {"connection": "close"})
    if then == "read":
        return  # the connection reads it before its next request
    await turn.request.wire.flushed()
    if then == "close":
        turn.request.close()
    else:
        turn.request.reset()


@step(reads_body=False)
async def no_continue(turn: Turn) -> None:
    """Never sends 100 Continue, although the client expects it; answers when the body has come."""
    turn.request.headers.pop("expect", None)
    await turn.request.read()
    await turn.reply()


@step(reads_body=False)
async def refuse_continue(turn: Turn) -> None:
    """417 to a request that expects 100 Continue, a good answer to any other."""
    if "expect" not in turn.request.headers:
        await turn.request.read()
        await turn.reply()
        return
    await turn.reply(417, {"connection": "close"})
    turn.request.close()


@step()
async def info(turn: Turn, status: Annotated[int, Between(100, 199)] = 103, count: int = 1) -> bool:
    """Sends unsolicited interim answers, then does the step after the +, or without one sends a good answer."""
    for _ in range(count):
        await asyncio.sleep(0)
        await turn.write(head(status, [("link", "</style.css>; rel=preload")] if status == 103 else []))
    return True


@step()
async def info_endless(turn: Turn, interval: float = 0.01) -> None:
    """Sends 103 after 103, for ever."""
    while True:
        await turn.write(head(103, []))
        await asyncio.sleep(interval)


async def _begin(turn: Turn, where: Where) -> None:
    """Read and send what comes before the fault."""
    request = turn.request
    if where == "request":
        if not await request.read(1):
            raise BadStep(f"{turn.step} strikes inside a request's body, and this request has none")
        return
    await request.read()
    if where == "start":
        return
    if where == "body":
        await request.begin(200, dict(HEADERS))
        await request.send(BODY[:500])
    else:
        parts = {
            "status": b"HTTP/1.1 20",
            "headers": b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nx-cut: in the mid",
            "chunk": head(200, CHUNKED) + b"3e8\r\n" + BODY[:500],
        }
        await turn.write(parts[where])
