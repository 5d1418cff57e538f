"""
One connected socket, with or without TLS: flow control, waiting, and its end.

Rules: plain asyncio, no task and, on the hot path, no timer of its own: one per connection ticks while somebody waits,
and looks at what it is for when it fires. The peer's end is noticed when it happens, so an idle connection that is gone
is never used. Closing is synchronous throughout: it can't be cancelled.
"""

from __future__ import annotations

import asyncio
import select
import socket
import ssl
import types
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context
from functools import partial
from typing import Any, Final, TypeVar, cast

from .waiting import Waiting, expire

__all__ = ["Stream", "is_disagreement"]

T = TypeVar("T")
GONE: Final = asyncio.BufferedProtocol()
"""In place of a stream that is closed, which asyncio's TLS would hold on to."""

TROUBLES: Final = ("ALERT_INTERNAL_ERROR", "ALERT_USER_CANCELLED", "ALERT_CLOSE_NOTIFY")
DISAGREEMENTS: Final = frozenset(
    ("WRONG_VERSION_NUMBER", "UNSUPPORTED_PROTOCOL", "UNEXPECTED_MESSAGE", "NO_PROTOCOLS_AVAILABLE", "UNKNOWN_PROTOCOL")
)


class Stream(asyncio.BufferedProtocol, Waiting):
    """
    `connect`, and then `handshake` where TLS is wanted.

    In two steps, for asyncio's one-step way forgets a socket whose connecting is cancelled at the wrong instant.

    Args:
        buffer: What all streams of one event loop are read into, one read at a time.
    Attributes:
        error: What ended it, where that was no clean end.
        on_closed: Called once, when the connection is gone, whoever ended it.
    """

    __slots__ = (
        "_buffer",
        "_can_write",
        "_is_secure",
        "_poll",
        "_transport",
        "_writers",
        "error",
        "on_closed",
    )

    def __init__(self, buffer: memoryview, *, is_secure: bool = False) -> None:
        super().__init__()
        self._buffer = buffer
        self._is_secure = is_secure
        self._transport: asyncio.Transport | None = None
        self._writers: list[asyncio.Future[bool]] = []  # two tasks may write to a tunnel
        self._poll: select.poll | None = None
        self._can_write = True
        self.error: Exception | None = None
        self.on_closed: Callable[[], None] | None = None

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass
        sock = transport.get_extra_info("socket")
        if hasattr(select, "poll") and sock is not None:
            self._poll = select.poll()
            self._poll.register(sock.fileno(), select.POLLIN | getattr(select, "POLLRDHUP", 0))
        if self._is_secure:
            self._transport.pause_reading()  # what comes before the handshake is the handshake's

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.data_received(bytes(self._buffer[:nbytes]))

    def eof_received(self) -> bool:
        self._ended()
        return False  # close the transport: HTTP/1.1 has no use for half a connection

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None:
            exc.__traceback__ = None  # asyncio's frames, which hold it and lead back here
            self.error = self.error or exc
        self._ended()
        self._closed()
        self._wake()
        if self._transport is not None:
            self._transport.set_protocol(GONE)

    def pause_writing(self) -> None:
        self._can_write = False

    def resume_writing(self) -> None:
        self._can_write = True
        self._wake()

    # Ours

    async def connect(self, sock: socket.socket) -> None:
        """Take *sock*, which is connected already. Raises OSError."""
        await _apart(self._loop.create_connection(lambda: self, sock=sock))

    async def handshake(self, context: ssl.SSLContext, server_hostname: str | None) -> None:
        """
        TLS on it; the caller sets the time limit and closes it on any failure.

        Raises:
            OSError: ssl.SSLError among them.
        """
        assert self._transport is not None
        tls = self._loop.start_tls(self._transport, self, context, server_hostname=server_hostname)
        transport = await _apart(tls)
        self._transport = cast("asyncio.Transport", transport)

    def take_over(self, other: Stream) -> None:
        """The connection that *other* has made, from now on as this one's."""
        assert other._transport is not None
        self._transport, self._poll, self._can_write = other._transport, other._poll, other._can_write
        self._transport.set_protocol(self)
        if other.is_closed:
            self.error = other.error
            self._closed()

    def info(self, name: str) -> Any:
        """asyncio's extra info of the transport."""
        return None if self._transport is None else self._transport.get_extra_info(name)

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

    async def _wait_writable(self, until: float | None) -> bool:
        """For something to happen, as `_wait` does, but beside it and others: True; False at *until*, in loop time."""
        writer: asyncio.Future[bool] = self._loop.create_future()
        self._writers.append(writer)
        timer = None if until is None else self._loop.call_at(until, expire, writer)
        try:
            return await writer
        finally:
            self._writers.remove(writer)
            if timer is not None:
                timer.cancel()

    def _wake(self) -> None:
        super()._wake()
        if self._writers:
            for writer in self._writers:
                if not writer.done():
                    writer.set_result(True)


@types.coroutine
def _apart(coroutine: Coroutine[Any, Any, T]) -> Generator[Any, Any, T]:
    """
    Await *coroutine*, all of its steps in one context, which is empty at first.

    A transport keeps the context that it was made in. That of a call holds all that the caller has hung on it, and the
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


def is_disagreement(error: BaseException | None) -> bool:
    """
    Whether TLS failed since the two sides don't agree, and not since a connection broke or a server is in trouble.

    What OpenSSL calls its reasons: an alert of the peer's (RFC 8446 section 6.2) but for its own troubles and a plain
    goodbye, or bytes that are no TLS, or of no version that is spoken here.
    """
    reason = getattr(error, "reason", None) if isinstance(error, ssl.SSLError) else None
    if not isinstance(reason, str) or reason.endswith(TROUBLES):
        return False
    return "_ALERT_" in reason or reason in DISAGREEMENTS
