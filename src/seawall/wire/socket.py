"""
One connected socket, with or without TLS: waiting, flow control, and its end.

Rules: plain asyncio, no task and, on the hot path, no timer of its own: one per connection ticks while somebody waits,
and looks when it fires whether anybody still does. The peer's end is noticed when it happens, so an idle connection
that has ended is never used. What the peer had sent is read even where our own sending fails first. Closing is
synchronous throughout, so it can't be cancelled.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
import ssl
import types
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context
from functools import partial
from typing import Any, Final, TypeVar, cast

from .below import Below, hear_out, mend

__all__ = ["Socket", "Waiting"]

T = TypeVar("T")
GONE: Final = asyncio.BufferedProtocol()
"""In place of a socket that is closed, because asyncio's TLS would hold on to it."""

SOFT_CLOSE: Final = 1.0  # s for the peer to take what was written


class Waiting:
    """
    For subclasses: `_wait` until `_wake`. One waiter at a time, one timer, no task.

    The timer is lazy: it ticks at the earliest instant that anybody set, and looks then whether it is still wanted.

    Attributes:
        is_closed: Nothing more is going to happen; a waiter is woken at once.
    """

    __slots__ = ("_expires_at", "_loop", "_timer", "_waiter", "is_closed")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiter: asyncio.Future[bool] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._expires_at: float | None = None
        self.is_closed = False

    def _wait(self, timeout: float | None) -> asyncio.Future[bool]:
        """
        To be awaited at once: True when something happened, False after *timeout* s.

        Raises:
            RuntimeError: Another task waits already, and would wait for ever.
        """
        if (waiter := self._waiter) is not None and not waiter.done():
            raise RuntimeError("two tasks read one response at once; let one read it, and hand the parts to the other")
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
                self._timer = self._loop.call_at(expires_at, self._tick, context=Context())
        return waiter

    def _delay(self, timeout: float | None) -> None:
        """Something happened that the waiter needn't be woken for: its *timeout* begins anew."""
        if self._expires_at is not None and timeout is not None:
            self._expires_at = self._loop.time() + timeout

    def _wake(self) -> None:
        if (waiter := self._waiter) is not None and not waiter.done():
            waiter.set_result(True)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self) -> None:
        self._timer = None
        if self._expires_at is None or self._waiter is None or self._waiter.done():
            return  # nobody waits: the next waiter starts it again
        if self._loop.time() < self._expires_at:
            self._timer = self._loop.call_at(self._expires_at, self._tick, context=Context())
        else:
            _expire(self._waiter)


def _expire(waiter: asyncio.Future[bool]) -> None:
    if not waiter.done():
        waiter.set_result(False)


class Socket(asyncio.BufferedProtocol, Waiting):
    """
    `connect`, and then `handshake` where TLS is wanted.

    In two steps, because asyncio's one-step way forgets a socket whose connecting is cancelled at the wrong instant.

    Args:
        buffer: What all sockets of one event loop are read into, one read at a time.
    Attributes:
        can_write: The peer takes what is written; while it doesn't, asyncio keeps that in memory.
        error: What ended it, where that was not a clean end.
        on_closed: Called once, when the connection is closed, whoever closed it.
    """

    __slots__ = (
        "_buffer",
        "_has_transmitted",
        "_is_secure",
        "_poll",
        "_sock",
        "_transport",
        "_writers",
        "can_write",
        "error",
        "on_closed",
    )

    def __init__(self, buffer: memoryview, *, is_secure: bool = False) -> None:
        super().__init__()
        self._buffer = buffer
        self._is_secure = is_secure
        self._sock: socket.socket | None = None
        self._transport: asyncio.Transport | None = None
        self._writers: list[asyncio.Future[bool]] = []  # two tasks may write to a tunnel
        self._poll: select.poll | None = None
        self.can_write = True
        self._has_transmitted = False
        self.error: Exception | None = None
        self.on_closed: Callable[[], None] | None = None

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's isn't a subclass
        sock = transport.get_extra_info("socket")
        if hasattr(select, "poll") and sock is not None:
            self._poll = select.poll()
            self._poll.register(sock.fileno(), select.POLLIN | getattr(select, "POLLRDHUP", 0))
        if self._is_secure:
            self.hold()

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.data_received(bytes(self._buffer[:nbytes]))

    def eof_received(self) -> bool:
        self._ended()
        return False  # close the transport, because HTTP/1.1 has no use for half a connection

    def connection_lost(self, exc: Exception | None) -> None:
        sock, self._sock = self._sock, None
        if exc is not None:
            if sock is not None and not (self._is_secure or self.is_closed):
                hear_out(sock, self)
            exc.__traceback__ = None  # asyncio's frames, which hold it and lead back here
            self.error = self.error or exc
        self._ended()
        self._closed()
        self._wake()
        if self._transport is not None:
            with contextlib.suppress(AttributeError):  # asyncio's TLS, closed twice, has let go of it already
                self._transport.set_protocol(GONE)

    def pause_writing(self) -> None:
        self.can_write = False

    def resume_writing(self) -> None:
        self.can_write = True
        self._wake()

    # Ours

    async def connect(self, sock: socket.socket) -> None:
        """Take *sock*, which is connected already. Raises OSError."""
        self._sock = sock
        await _apart(self._loop.create_connection(lambda: self, sock=sock))

    def hold(self) -> None:
        """Read nothing before the handshake, because what comes until then is TLS's, and nobody has vouched for it."""
        assert self._transport is not None
        self._transport.pause_reading()

    async def handshake(self, context: ssl.SSLContext, server_hostname: str | None) -> None:
        """
        TLS on it; the caller sets the time limit and closes it on any failure.

        Raises:
            OSError: ssl.SSLError among them.
        """
        assert self._transport is not None
        below = self._transport
        mend(below)
        tls = self._loop.start_tls(below, self, context, server_hostname=server_hostname)
        transport = await _apart(tls)
        self._transport = cast("asyncio.Transport", transport)
        if self._sock is not None:
            below.set_protocol(Below(self._sock, cast("asyncio.BufferedProtocol", below.get_protocol())))
            self._sock = None

    def take_over(self, other: Socket) -> None:
        """The connection that *other* has made, from now on as this one's."""
        assert other._transport is not None
        other._stop_timer()
        self._transport, self._poll, self.can_write = other._transport, other._poll, other.can_write
        self._sock, other._sock = other._sock, None
        self._transport.set_protocol(self)
        if other.is_closed:
            self.error = other.error
            self._closed()
        else:
            other._closed()  # because it and its parser hold each other until then

    @property
    def is_closing(self) -> bool:
        """Nothing that is written is sent any more."""
        return self._transport is None or self._transport.is_closing()

    def write(self, data: bytes) -> None:
        """Send *data*, now or once the peer takes it."""
        assert self._transport is not None
        self._transport.write(data)

    async def transmit(self, data: bytes, timeout: float | None) -> bool:
        """Send *data*, and wait until the peer takes more; False after *timeout* s. Raises OSError if it is closed."""
        if self.is_closed or self.is_closing:
            raise self.error or ConnectionAbortedError("the connection was closed")
        self._has_transmitted = True
        self.write(data)
        until = None if timeout is None else self._loop.time() + timeout
        while not self.can_write:
            if self.is_closed:
                raise self.error or ConnectionAbortedError("the connection was closed")
            if not await self.wait_writable(until):
                return False
        return True

    async def wait_writable(self, until: float | None) -> bool:
        """For something to happen, beside whoever waits for a response: True; False at *until*, in loop time."""
        writer: asyncio.Future[bool] = self._loop.create_future()
        self._writers.append(writer)
        timer = None if until is None else self._loop.call_at(until, _expire, writer)
        try:
            return await writer
        finally:
            self._writers.remove(writer)
            if timer is not None:
                timer.cancel()

    def info(self, name: str) -> Any:
        """asyncio's extra info of the transport."""
        return None if self._transport is None else self._transport.get_extra_info(name)

    @property
    def may_hold(self) -> bool:
        """Something that was transmitted may not be sent yet; over TLS nobody knows."""
        if self._transport is None or not self._has_transmitted:
            return False
        return self._is_secure or self._transport.get_write_buffer_size() > 0

    def close(self) -> None:
        """
        Now. What was not sent yet is never sent.

        A clean TLS close would wait for the peer; HTTP frames its messages, so nothing is lost by not waiting.
        """
        if self._transport is not None and not self.is_closed:
            with contextlib.suppress(AttributeError):  # as in `connection_lost`, before Python 3.11.3
                self._transport.abort()
            self.error = self.error or ConnectionAbortedError("closed on this side")
        self._closed()
        self._wake()

    def close_softly(self) -> None:
        """Once what was written is sent, or after a second."""
        if self._transport is not None and not self.is_closed:
            self._loop.call_later(SOFT_CLOSE, self.close, context=Context())
            if not self.is_closing:  # because a TLS transport that is closed twice can't be aborted any more
                self._transport.close()

    def data_received(self, data: bytes) -> None:
        """The peer sent *data*: for subclasses."""

    def _ended(self) -> None:
        """The peer sends no more: for subclasses."""

    def _closed(self) -> None:
        self.is_closed = True
        self._stop_timer()
        if self.on_closed is not None:
            callback, self.on_closed = self.on_closed, None
            callback()

    def _wake(self) -> None:
        if (waiter := self._waiter) is not None and not waiter.done():
            waiter.set_result(True)
        for writer in self._writers:
            if not writer.done():
                writer.set_result(True)


@types.coroutine
def _apart(coroutine: Coroutine[Any, Any, T]) -> Generator[Any, Any, T]:
    """
    Await *coroutine*, all of its steps in one context, which is empty at first.

    A transport keeps the context that it was made in. A call's context holds all that the caller has put there, and the
    connection outlives the call.
    """
    run, step = Context().run, partial(coroutine.send, None)
    try:
        while True:
            try:
                future = run(step)
            except StopIteration as end:
                return cast("T", end.value)
            try:
                yield future
            except BaseException as error:  # noqa: BLE001  # cancellation among them
                step = partial(coroutine.throw, error)
            else:
                step = partial(coroutine.send, None)
    finally:
        del step  # it may hold the error that holds this frame
