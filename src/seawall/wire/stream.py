"""
One connected socket, with or without TLS, as httpcore wants its streams.

Plain asyncio: a Protocol that buffers what comes in, with flow control both ways. It knows at once when the peer
closes, so an idle connection that is gone is never used. Closing is synchronous throughout: it can't be cancelled.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Any, cast

import httpcore

__all__ = ["Stream"]

HIGH_WATER = 256 * 1024  # B buffered before reading pauses; asyncio reads 256 KiB at a time
LOW_WATER = 64 * 1024


class Stream(asyncio.Protocol, httpcore.AsyncNetworkStream):
    """
    Made by ``loop.create_connection``, and then `handshake` where TLS is wanted.

    In two steps, for asyncio's one-step way forgets a socket whose connecting is cancelled at the wrong instant.

    Attributes:
        on_write, on_read: Called before each write and read: how the wire knows what phase it is in.
        has_received: Whether a byte came since the wire last set it to False.
        on_closed: Called once, when the connection is gone, whoever ended it.
    """

    def __init__(self, *, is_secure: bool = False) -> None:
        self._is_secure = is_secure
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()
        self._buffer = bytearray()
        self._is_eof = False
        self._is_closed = False
        self._is_paused = False
        self._error: Exception | None = None
        self._reader: asyncio.Future[bool] | None = None
        self._writer: asyncio.Future[bool] | None = None
        self._can_write = True
        self.has_received = False
        self.on_write: Callable[[], None] | None = None
        self.on_read: Callable[[], None] | None = None
        self.on_closed: Callable[[], None] | None = None

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass
        if self._is_secure:
            self._transport.pause_reading()  # what comes before the handshake is the handshake's

    def data_received(self, data: bytes) -> None:
        self.has_received = True
        self._buffer += data
        if len(self._buffer) > HIGH_WATER and not self._is_paused and self._transport is not None:
            self._is_paused = True
            self._transport.pause_reading()
        self._wake(self._reader)

    def eof_received(self) -> bool:
        self._is_eof = True
        self._wake(self._reader)
        return False  # close the transport: HTTP/1.1 has no use for half a connection

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_eof = True
        self._error = self._error or exc
        self._wake(self._reader)
        self._wake(self._writer)
        self._closed()

    def pause_writing(self) -> None:
        self._can_write = False

    def resume_writing(self) -> None:
        self._can_write = True
        self._wake(self._writer)

    # httpcore's side

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Some bytes, or ``b""`` at the end. Raises httpcore.ReadTimeout, httpcore.ReadError."""
        if self.on_read is not None:
            self.on_read()
        while not self._buffer:
            if self._error is not None:
                raise httpcore.ReadError(str(self._error)) from self._error
            if self._is_eof:
                return b""
            self._reader = self._loop.create_future()
            try:
                if not await self._waited(self._reader, timeout):
                    raise httpcore.ReadTimeout(f"nothing came for {timeout:g} s")
            finally:
                self._reader = None
        data = bytes(self._buffer[:max_bytes])
        del self._buffer[:max_bytes]
        if self._is_paused and len(self._buffer) <= LOW_WATER and self._transport is not None:
            self._is_paused = False
            self._transport.resume_reading()
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Hand *buffer* over, and wait while the peer takes none. Raises httpcore.WriteTimeout, httpcore.WriteError."""
        if not buffer:
            return
        if self._is_closed or self._is_eof or self._transport is None or self._transport.is_closing():
            raise httpcore.WriteError(str(self._error or "the connection was closed"))
        if self.on_write is not None:
            self.on_write()
        self._transport.write(buffer)
        while not self._can_write:
            if self._is_eof:
                raise httpcore.WriteError(str(self._error or "the connection was closed"))
            self._writer = self._loop.create_future()
            try:
                if not await self._waited(self._writer, timeout):
                    raise httpcore.WriteTimeout(f"nothing was taken for {timeout:g} s")
            finally:
                self._writer = None

    async def aclose(self) -> None:
        self.close()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        """TLS over this connection, for those who got it as ``network_stream``."""
        try:
            async with asyncio.timeout(timeout):
                await self.handshake(ssl_context, server_hostname)
        except TimeoutError as error:
            self.close()
            raise httpcore.ConnectTimeout(f"no TLS within {timeout:g} s") from error
        except OSError as error:
            self.close()
            raise httpcore.ConnectError(str(error)) from error
        return self

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable":
            return self.is_spoilt
        if self._transport is None:
            return None
        names = {"client_addr": "sockname", "server_addr": "peername"}
        return self._transport.get_extra_info(names.get(info, info))

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

    @property
    def is_spoilt(self) -> bool:
        """Closed, or with bytes that nobody asked for: not to be used for another request."""
        return bool(self._buffer) or self._is_eof or self._is_closed

    @property
    def is_closed(self) -> bool:
        return self._is_closed

    def close(self) -> None:
        """
        Now. What was not sent yet is not going to be.

        A clean TLS close would wait for the peer; HTTP/1.1 frames its messages, so nothing is lost by not waiting.
        """
        if self._transport is not None and not self._is_closed:
            self._transport.abort()
            self._error = self._error or ConnectionAbortedError("closed on this side")
            self._buffer.clear()
        self._closed()
        self._wake(self._reader)
        self._wake(self._writer)

    def _closed(self) -> None:
        self._is_closed = True
        if self.on_closed is not None:
            callback, self.on_closed = self.on_closed, None
            callback()

    async def _waited(self, waiter: asyncio.Future[bool], timeout: float | None) -> bool:
        """Whether *waiter* was woken within *timeout* s. A timer, but no task: this is the hot path."""
        if timeout is None:
            return await waiter
        timer = self._loop.call_later(timeout, self._expire, waiter)
        try:
            return await waiter
        finally:
            timer.cancel()

    @staticmethod
    def _expire(waiter: asyncio.Future[bool]) -> None:
        if not waiter.done():
            waiter.set_result(False)

    @staticmethod
    def _wake(waiter: asyncio.Future[bool] | None) -> None:
        if waiter is not None and not waiter.done():
            waiter.set_result(True)
