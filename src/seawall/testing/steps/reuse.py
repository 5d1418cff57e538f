"""Good answers on connections that a client can't or must not use again, whatever the answer says."""

from __future__ import annotations

import os
import socket
from typing import Literal

from ..http.connection import head
from ..http.request import Request
from ..http.step import step
from ..http.turn import Turn

__all__ = ["half_close", "idle", "keep_alive", "lie", "next_", "shut_input"]


@step()
async def idle(turn: Turn, end: Literal["close", "reset", "408"] = "close", after: float = 0.0) -> None:
    """A good answer; then FIN, RST, or 408 and FIN, once the connection was idle for this long."""
    await turn.reply()
    await _end_when_idle(turn, end, after)


@step()
async def keep_alive(turn: Turn, timeout: float = 5.0, max_requests: int = 100) -> None:
    """A good answer whose Keep-Alive tells truly how long the connection is kept, and for how many more requests."""
    await turn.reply(200, {"keep-alive": f"timeout={timeout:g}, max={max_requests}"})
    if max_requests:
        await _end_when_idle(turn, "close", timeout)
    else:
        turn.request.close()


@step()
async def lie(turn: Turn, said: Literal["keep_alive", "close"] = "keep_alive") -> None:
    """Says that it keeps the connection, but closes it; or says that it closes the connection, but keeps it."""
    if said == "close":
        await turn.reply(200, {"connection": "close"})
    else:
        await turn.reply(200, {"connection": "keep-alive", "keep-alive": "timeout=60, max=100"})
        turn.request.close()


@step()
async def next_(turn: Turn, fault: Literal["close", "reset", "hang", "garbage"] = "close") -> None:
    """A good response; the next request on the connection gets FIN, RST, nothing, or garbage."""

    async def strike(request: Request) -> None:
        await request.read()
        if fault == "hang":
            await request.hang()
        if fault == "garbage":
            await request.send(b"garbage\r\n\r\n")
        if fault == "reset":
            request.reset()
        else:
            request.close()

    turn.connection.next = strike
    await turn.reply()


@step()
async def half_close(turn: Turn) -> None:
    """A good answer, then FIN, but goes on reading: half open."""

    async def ignore(request: Request) -> None:
        await request.hang()

    turn.connection.next = ignore
    await turn.reply()
    turn.connection.half_close()


@step()
async def shut_input(turn: Turn) -> None:
    """A good answer, after which the server no longer reads."""
    await turn.reply()
    turn.connection.pause()
    with socket.socket(fileno=os.dup(turn.connection.socket.fileno())) as same:  # uvloop's has no shutdown
        same.shutdown(socket.SHUT_RD)
    await turn.connection.gone()


async def _end_when_idle(turn: Turn, end: str, after: float) -> None:
    if after and not await turn.connection.is_idle(after):
        return
    if end == "408":
        await turn.write(head(408, [("content-length", "0"), ("connection", "close")]))
    await turn.request.wire.flushed()
    if end == "reset":
        turn.request.reset()
    else:
        turn.request.close()
