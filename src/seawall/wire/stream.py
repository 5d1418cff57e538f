"""
One connected socket, with or without TLS: flow control, waiting, and its end.

Rules: plain asyncio, no task and, on the hot path, no timer of its own: one per connection ticks while somebody waits,
and looks at what it is for when it fires. The peer's end is noticed when it happens, so an idle connection that is gone
is never used. Closing is synchronous throughout: it can't be cancelled.
"""

from __future__ import annotations

import asyncio
import select
import ssl
from collections.abc import Callable
from typing import cast

from ..timer import NOWHERE

__all__ = ["Stream"]


class Stream(asyncio.Protocol):
    """
    Made by ``loop.create_connection``, and then `handshake` where TLS is wanted.

    In two steps, for asyncio's one-step way forgets a socket whose connecting is cancelled at the wrong instant.

    Attributes:
        error: What ended it, where that was no clean end.
        on_closed: Called once, when the connection is gone, whoever ended it.
    """

    __slots__ = (
        "_can_write",
        "_expires_at",
        "_is_secure",
        "_loop",
        "_poll",
        "_timer",
        "_transport",
        "_waiter",
        "_writer",
        "error",
        "is_closed",
        "on_closed",
    )

    def __init__(self, *, is_secure: bool = False) -> None:
        self._is_secure = is_secure
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()
        self._waiter: asyncio.Future[bool] | None = None
        self._writer: asyncio.Future[bool] | None = None
        self._poll: select.poll | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._expires_at: float | None = None
        self._can_write = True
        self.is_closed = False
        self.error: Exception | None = None
        self.on_closed: Callable[[], None] | None = None

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass
        sock = transport.get_extra_info("socket")
        if hasattr(select, "poll") and sock is not None:
            self._poll = select.poll()
            self._poll.register(sock.fileno(), select.POLLIN)
        if self._is_secure:
            self._transport.pause_reading()  # what comes before the handshake is the handshake's

    def eof_received(self) -> bool:
        self._ended()
        return False  # close the transport: HTTP/1.1 has no use for half a connection

    def connection_lost(self, exc: Exception | None) -> None:
        self.error = self.error or exc
        self._ended()
        self._closed()
        self._wake()

    def pause_writing(self) -> None:
        self._can_write = False

    def resume_writing(self) -> None:
        self._can_write = True
        self._wake()

    # Ours

    async def handshake(self, context: ssl.SSLContext, server_hostname: str | None) -> None:
        """
        TLS on it; the caller sets the time limit and closes it on any failure.

        Raises:
            OSError: ssl.SSLError among them.
        """
        assert self._transport is not None
        transport = await self._loop.start_tls(self._transport, self, context, server_hostname=server_hostname)
        self._transport = cast("asyncio.Transport", transport)

    def close(self) -> None:
        """
        Now. What was not sent yet is not going to be.

        A clean TLS close would wait for the peer; HTTP/1.1 frames its messages, so nothing is lost by not waiting.
        """
        if self._transport is not None and not self.is_closed:
            self._transport.abort()
            self.error = self.error or ConnectionAbortedError("closed on this side")
        self._closed()
        self._wake()

    def _ended(self) -> None:
        """The peer sends no more: for subclasses."""

    def _closed(self) -> None:
        self.is_closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.on_closed is not None:
            callback, self.on_closed = self.on_closed, None
            callback()

    def _wait(self, timeout: float | None) -> asyncio.Future[bool]:
        """To be awaited at once: True when something happened, False after *timeout* s."""
        self._waiter = waiter = self._loop.create_future()
        if self.is_closed:
            waiter.set_result(True)
            return waiter
        if timeout is None:
            self._expires_at = None
        else:
            self._expires_at = expires_at = self._loop.time() + timeout
            timer = self._timer
            if timer is None or timer.when() > expires_at:
                if timer is not None:
                    timer.cancel()
                self._timer = self._loop.call_at(expires_at, self._tick, context=NOWHERE)
        return waiter

    async def _wait_writable(self, timeout: float | None) -> bool:
        """Until more may be written, or it is closed: True; False after *timeout* s. Beside a `_wait`."""
        self._writer = writer = self._loop.create_future()
        timer = None if timeout is None else self._loop.call_later(timeout, _expire, writer)
        try:
            is_woken: bool = await writer
            return is_woken
        finally:
            self._writer = None
            if timer is not None:
                timer.cancel()

    def _tick(self) -> None:
        self._timer = None
        if self._expires_at is None or self._waiter is None or self._waiter.done():
            return  # nobody waits: it starts again with who does
        if self._loop.time() < self._expires_at:
            self._timer = self._loop.call_at(self._expires_at, self._tick, context=NOWHERE)
        else:
            _expire(self._waiter)

    def _wake(self) -> None:
        if (waiter := self._waiter) is not None and not waiter.done():
            waiter.set_result(True)
        if (writer := self._writer) is not None and not writer.done():
            writer.set_result(True)


def _expire(waiter: asyncio.Future[bool]) -> None:
    if not waiter.done():
        waiter.set_result(False)
