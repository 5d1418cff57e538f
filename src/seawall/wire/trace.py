"""httpx's ``extensions["trace"]``: the events that httpcore's own connections emit, from ours."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeAlias, TypeVar

from ..origin import Address
from .message import Message

__all__ = ["Trace", "connected", "traced"]

Connected: TypeAlias = tuple[socket.socket, Address]

T = TypeVar("T")


class Trace:
    """
    Events of one request, told to its callback. A step that fails says ``.failed`` with the exception.

    Args:
        callback: An async function of a name, such as ``http11.send_request_headers.started``, and a dict.
    """

    def __init__(self, callback: Callable[[str, dict[str, Any]], Awaitable[None]], message: Message) -> None:
        core = message.core()
        self._callback = callback
        origin = message.origin
        url = core.URL(
            scheme=origin.scheme.encode(), host=origin.host.encode(), port=origin.port, target=message.target
        )
        self.request = core.Request(message.method, url, headers=[(name, value) for name, _, value in message.headers])

    @classmethod
    def of(cls, message: Message) -> Trace | None:
        callback = message.extensions.get("trace")
        return None if callback is None else cls(callback, message)

    @asynccontextmanager
    async def step(self, name: str, **facts: Any) -> AsyncIterator[Callable[[Any], None]]:
        """``name.started``, then ``name.complete`` with what the block handed over, or ``name.failed``."""
        result: list[Any] = [None]
        await self._callback(f"{name}.started", facts)
        try:
            yield lambda value: result.__setitem__(0, value)
        except Exception as error:
            await self._callback(f"{name}.failed", {"exception": error})
            raise
        await self._callback(f"{name}.complete", {"return_value": result[0]})


async def traced(trace: Trace | None, connect: Callable[[], Coroutine[Any, Any, T]], step: str, **facts: Any) -> T:
    """What *connect* makes, with what httpcore tells of it."""
    if trace is None:
        return await connect()
    async with trace.step(f"connection.{step}", **facts):
        return await connect()


async def connected(
    trace: Trace | None, connect: Callable[[], Coroutine[Any, Any, Connected]], **facts: Any
) -> Connected:
    """As `traced`, of a TCP connection, which is closed where the callback fails or is cancelled once it is made."""
    if trace is None:
        return await connect()
    made = list[socket.socket]()

    async def kept() -> Connected:
        sock, address = await connect()
        made.append(sock)
        return sock, address

    try:
        return await traced(trace, kept, "connect_tcp", **facts)
    except BaseException:
        for sock in made:
            sock.close()
        raise
