"""
A connection as bytes both ways, accepted or dialled, with control over how it ends.

Rules: what has come is received before the end or the reset that followed it. A side that isn't read is paused.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from typing import Final, Self

from .connection import rst, unacknowledged

__all__ = ["Stream"]

MAX_BUFFER: Final = 2**18  # B
LOOK: Final = 0.001  # s between two looks at what the peer hasn't acknowledged yet
MAX_LOOKS: Final = 1000
TCP_CLOSE: Final = 7  # Linux: the first byte of TCP_INFO, once the peer has sent RST


class Stream(asyncio.Protocol):
    """
    Attributes:
        is_lost: Whether the connection is gone, because the peer has reset it or we have closed it.
    """

    def __init__(self) -> None:
        self.is_lost = False
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._has_ended = False
        self._is_paused = False
        self._news = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._left = asyncio.Event()
        self._gone = asyncio.Event()

    @classmethod
    async def dial(cls, host: str, port: int) -> Self:
        """
        A connection to *host*.

        Raises:
            OSError: It can't be reached.
        """
        _, stream = await asyncio.get_running_loop().create_connection(cls, host, port)
        return stream

    # What asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        self._socket: socket.socket = transport.get_extra_info("socket")
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # or pieces would be joined

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if len(self._buffer) > MAX_BUFFER and self._transport is not None and not self._is_paused:
            self._is_paused = True
            self._transport.pause_reading()
        self._news.set()

    def eof_received(self) -> bool:
        self._has_ended = True
        self._news.set()
        self._left.set()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost = self._has_ended = True
        self._news.set()
        self._left.set()
        self._gone.set()
        self._writable.set()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    # What the owner calls

    async def receive(self, limit: int = 2**16) -> bytes:
        """
        What has come, at most *limit* bytes of it; nothing if the peer has ended its side.

        Raises:
            ConnectionResetError: The connection is gone.
        """
        await self._more(0)
        data = bytes(self._buffer[:limit])
        del self._buffer[:limit]
        if not data and self.is_lost:
            raise ConnectionResetError
        return data

    async def until(self, mark: bytes, limit: int) -> bytes:
        """What comes up to and with *mark*; without it if more than *limit* bytes come, or the peer ends its side."""
        looked_at = 0
        while (at := self._buffer.find(mark, max(0, looked_at - len(mark)))) < 0:
            looked_at = len(self._buffer)
            if looked_at > limit or not await self._more(looked_at):
                at = looked_at
                break
        end = min(len(self._buffer), at + len(mark))
        data = bytes(self._buffer[:end])
        del self._buffer[:end]
        return data

    async def exactly(self, size: int) -> bytes:
        """
        The next *size* bytes.

        Raises:
            ConnectionResetError: The peer ended before.
        """
        while len(self._buffer) < size:
            if not await self._more(len(self._buffer)):
                raise ConnectionResetError
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

    async def send(self, data: bytes) -> None:
        """
        Raises:
            ConnectionResetError: The connection is gone.
        """
        if self.is_lost or self._transport is None or self._transport.is_closing():
            raise ConnectionResetError
        self._transport.write(data)
        await self._writable.wait()
        if self.is_lost:
            raise ConnectionResetError

    async def flushed(self) -> None:
        """Wait, at most 1 s, until the peer's system has all that was sent, because a reset undoes the rest."""
        for _ in range(MAX_LOOKS):
            if self.is_lost or self._transport is None or _is_closed(self._socket):
                return
            if not self._transport.get_write_buffer_size() and not unacknowledged(self._socket):
                return
            await asyncio.sleep(LOOK)

    async def left(self) -> None:
        """Wait until the peer has ended its side; what it sends meanwhile stays to be received."""
        await self._left.wait()

    async def lost(self) -> None:
        """Wait until the connection is gone."""
        await self._gone.wait()

    async def drain(self) -> None:
        """Receive and drop, until the peer has ended its side."""
        while not self.is_lost and await self.receive():
            pass

    def end(self) -> None:
        """Send FIN; over TLS, close_notify before it."""
        if not self.is_lost and self._transport is not None and not self._transport.is_closing():
            self._transport.write_eof()

    async def close(self) -> None:
        """Send FIN, then read until the peer ends too, because a close with unread bytes would send RST."""
        self.end()
        await self.drain()

    def reset(self) -> None:
        """Send RST."""
        if not self.is_lost and self._transport is not None:
            rst(self._socket)
        self.abort()

    def finish(self) -> None:
        """Close it once all that was written is sent."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close it now; what was written and isn't sent yet is dropped."""
        if self._transport is not None:
            self._transport.abort()

    async def _more(self, size: int) -> bool:
        """Wait until there are more than *size* bytes; returns whether there are, for the peer may end before."""
        while len(self._buffer) <= size and not self._has_ended:
            if self._is_paused and self._transport is not None:
                self._is_paused = False
                self._transport.resume_reading()
            self._news.clear()
            await self._news.wait()
        return len(self._buffer) > size


def _is_closed(sock: socket.socket) -> bool:
    """Whether the peer has reset it, which no event tells once it had sent FIN before."""
    if sys.platform != "linux" or sock.fileno() < 0:
        return False
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == TCP_CLOSE
