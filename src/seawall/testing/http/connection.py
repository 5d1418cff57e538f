"""
One HTTP/1.1 connection, the server's side, down to how it ends.

Rules: bytes are written as they are given, never corrected. FIN is a half-close: what the client still sends is read
and dropped, because a socket that is closed with unread bytes sends RST. When the client closes or ends its side, the
work for its request is cancelled.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
import sys
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import NoReturn

from .request import Gone, Request
from .secure import Secure

__all__ = ["Connection", "head", "rst", "unacknowledged"]

MAX_HEAD = 2**20
MAX_BUFFER = 2**18
MAX_BODY = 2**28  # B of a request
REASONS = {status.value: status.phrase for status in HTTPStatus}
SIOCOUTQ = 0x5411  # Linux: the number of bytes that the peer has not acknowledged
TCP_ESTABLISHED = 1  # Linux: the first byte of TCP_INFO

Serve = Callable[[Request], Awaitable[None]]


class Connection(asyncio.Protocol):
    """
    Reads requests, and calls *serve* with each as soon as its head has come.

    Args:
        number: Its number at this server, from 1.
    """

    protocol = "http/1.1"

    def __init__(self, number: int, serve: Serve) -> None:
        self.number = number
        self.next: Serve | None = None  # serves the next request instead
        self._serve = serve
        self._transport: asyncio.Transport
        self._buffer = bytearray()
        self._loop = asyncio.get_running_loop()
        self._news: asyncio.Future[None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self._lost: asyncio.Future[None] = self._loop.create_future()
        self._task: asyncio.Task[None] | None = None
        self._is_serving = False
        self._is_over = False
        self._is_paused = False
        self._has_ended = False

    # What asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        self.is_secure = transport.get_extra_info("ssl_object") is not None
        self.socket: socket.socket = transport.get_extra_info("socket")

    def data_received(self, data: bytes) -> None:
        if self._is_over:
            return
        self._buffer += data
        if len(self._buffer) > MAX_BUFFER and self._news is None:
            self.pause()
        self._wake()

    def eof_received(self) -> bool:
        self._has_ended = True
        self._wake()
        if self._is_over:
            self._transport.close()
        elif self._is_serving and self._task is not None:
            self._task.cancel()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._has_ended = True
        if not self._lost.done():
            self._lost.set_result(None)
        self._wake()
        self.resume_writing()
        if self._is_serving and not self._is_over and self._task is not None:
            self._task.cancel()

    def pause_writing(self) -> None:
        self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._writable = None

    # The life of a connection

    async def run(self) -> None:
        """Serve all its requests, until one side ends it; the caller closes the transport."""
        self._task = asyncio.current_task()
        number = 0
        try:
            while not self._is_over:
                request = await self._request(number := number + 1)
                serve, self.next = self.next or self._serve, None
                self._is_serving = True
                await serve(request)
                self._is_serving = False
                if not self._is_over and not request.is_complete:
                    if _expects(request) and not request.body and not self._buffer:
                        self.close()  # the client waits for 100 Continue, and will not send its body
                    else:
                        await request.read()
                if not self._is_over and not _stays_open(request):
                    self.close()
            await asyncio.shield(self._lost)
        except Gone:
            if self._is_over:
                await asyncio.shield(self._lost)
        finally:
            self._is_over = True

    async def _request(self, number: int) -> Request:
        while not self._buffer or self._buffer[0] in b"\r\n":  # RFC 9112 section 2.2: empty lines first
            del self._buffer[:1]
            if not self._buffer:
                await self._more()
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            if len(self._buffer) > MAX_HEAD:
                self._refuse(431)
            await self._more()
        lines = self._buffer[:end].decode("latin-1").split("\r\n")
        del self._buffer[: end + 4]
        method, target, version = (*lines[0].split(" ", 2), "", "")[:3]
        fields = []
        for line in lines[1:]:
            name, _, value = line.partition(":")
            fields.append((name, value.strip()))
        request = Request(
            self,
            method=method,
            target=target,
            version=version,
            fields=fields,
            connection=self.number,
            number=number,
        )
        request.is_complete = not ("content-length" in request.headers or "transfer-encoding" in request.headers)
        return request

    # What a request calls

    async def read(self, request: Request, limit: int | None = None) -> bool:
        """Read more of its body, all of it without a *limit*; returns whether that was all."""
        if _expects(request) and not (request.is_answered or request.body or self._buffer):
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if "chunked" in request.headers.get("transfer-encoding", "").lower():
            return await self._read_chunks(request, limit)
        said = request.headers.get("content-length") or "0"
        if not (said.isascii() and said.isdecimal()) or int(said) > MAX_BODY:
            self._refuse(400 if not said.isdecimal() else 413)
        length = int(said)
        parts = [request.body]
        have = len(request.body)
        while have < length and (limit is None or have < limit):
            if not self._buffer:
                await self._more()
            part = bytes(self._buffer[: (length if limit is None else min(limit, length)) - have])
            del self._buffer[: len(part)]
            parts.append(part)
            have += len(part)
        request.body = b"".join(parts)
        return have == length

    async def _read_chunks(self, request: Request, limit: int | None) -> bool:
        parts = [request.body]
        have = len(request.body)
        try:
            while limit is None or have < limit:
                said = (await self._line()).partition(b";")[0].strip()
                size = int(said, 16) if said.isalnum() else -1
                if not 0 <= size <= MAX_BODY - have:
                    self._refuse(400 if size < 0 else 413)
                if size == 0:
                    while await self._line():
                        pass
                    return True
                while len(self._buffer) < size + 2:
                    await self._more()
                parts.append(bytes(self._buffer[:size]))
                del self._buffer[: size + 2]
                have += size
            return False
        except ValueError:
            self._refuse(400)  # not a chunk
        finally:
            request.body = b"".join(parts)

    async def _line(self) -> bytes:
        while (end := self._buffer.find(b"\r\n")) < 0:
            await self._more()
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        return line

    async def answer(self, request: Request, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        await self.send(request, head(status, headers) + body)

    async def begin(self, request: Request, status: int, headers: list[tuple[str, str]]) -> None:
        await self.send(request, head(status, headers))

    async def send(self, request: Request, data: bytes) -> None:
        self._transport.write(data)
        if self._writable is not None:
            await self._writable
        if self._lost.done() or self._transport.is_closing():
            raise Gone

    async def flushed(self) -> None:
        """Wait, at most 1 s, until the client's system has all that was sent, because what comes next may undo it."""
        for _ in range(1000):
            if not self._transport.get_write_buffer_size() and not unacknowledged(self.socket):
                return
            await asyncio.sleep(0.001)

    def close(self) -> None:
        if not self._is_over:
            self._is_over = True
            self.resume()
            with contextlib.suppress(OSError):
                self._transport.write_eof()
            if self._has_ended:
                self._transport.close()

    def abort(self) -> None:
        if isinstance(self._transport, Secure) and not self._is_over:
            self._is_over = True
            self.resume()
            self._transport.truncate()
        else:
            self.close()

    def _refuse(self, status: int) -> NoReturn:
        """Answer a request that can't be read, and end the connection."""
        self._transport.write(head(status, [("content-length", "0"), ("connection", "close")]))
        self.close()
        raise Gone

    def reset(self) -> None:
        self._is_over = True
        rst(self.socket)
        self._transport.abort()

    async def is_idle(self, after: float) -> bool:
        """Wait *after* seconds; returns whether nothing came from the client meanwhile."""
        if self._buffer:
            return False
        try:
            async with asyncio.timeout(after):
                await self._more()
        except TimeoutError:
            return True
        return False

    async def gone(self) -> None:
        """Wait until the client has ended it while nothing is read (Linux; elsewhere it never returns)."""
        while not _has_ended(self.socket):  # noqa: ASYNC110  # no event tells a paused transport
            await asyncio.sleep(0.02)
        self.abort()

    def half_close(self) -> None:
        """Send FIN, and go on reading."""
        self._transport.write_eof()

    def inject(self, data: bytes) -> None:
        """Write *data* as it is, bypassing TLS."""
        os.write(self.socket.fileno(), data)

    def pause(self) -> None:
        """Stop reading from the client."""
        if not self._is_paused and not self._transport.is_closing():
            self._is_paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        if self._is_paused and not self._transport.is_closing():
            self._is_paused = False
            self._transport.resume_reading()

    async def _more(self) -> None:
        """
        Wait until something new is in the buffer.

        Raises:
            Gone: The client will send nothing more.
        """
        if self._has_ended:
            raise Gone
        self._news = self._loop.create_future()
        self.resume()
        before = len(self._buffer)
        await self._news
        if len(self._buffer) == before:
            raise Gone

    def _wake(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)
        self._news = None


def head(status: int, headers: list[tuple[str, str]]) -> bytes:
    """Status line and headers, as they are given."""
    lines = [f"HTTP/1.1 {status} {REASONS.get(status, 'X')}", *(f"{name}: {value}" for name, value in headers)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def rst(sock: socket.socket) -> None:
    """Make the close of *sock* send RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _expects(request: Request) -> bool:
    return request.headers.get("expect", "").lower() == "100-continue"


def _stays_open(request: Request) -> bool:
    asked = request.headers.get("connection", "").lower()
    return "close" not in asked and (request.version != "HTTP/1.0" or "keep-alive" in asked)


def _has_ended(sock: socket.socket) -> bool:
    if sys.platform != "linux" or sock.fileno() < 0:
        return False
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != TCP_ESTABLISHED


def unacknowledged(sock: socket.socket) -> int:
    if sys.platform != "linux" or sock.fileno() < 0:
        return 0
    import fcntl

    return int(struct.unpack("i", fcntl.ioctl(sock.fileno(), SIOCOUTQ, b"\0\0\0\0"))[0])
