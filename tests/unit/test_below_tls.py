"""What stands between a socket and asyncio's TLS."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from seawall.wire.below import Below


class Broken(socket.socket):
    """Takes nothing at first, then all at once, and is reset after that."""

    sends = 0

    def sendmsg(self, buffers: Any, *more: Any) -> int:
        """As asyncio of Python 3.12 sends what has waited."""
        return self.send(b"".join(buffers))

    def send(self, data: Any, flags: int = 0) -> int:
        self.sends += 1
        if self.sends == 1:
            raise BlockingIOError
        if self.sends == 2:
            return len(data)
        raise ConnectionResetError(104, "Connection reset by peer")


class Writing(asyncio.BufferedProtocol):
    """As asyncio's TLS: it writes at once when it may write again."""

    def __init__(self, transport: asyncio.Transport, lost: asyncio.Future[Exception | None]) -> None:
        self.transport = transport
        self.lost = lost
        self.resumed = 0

    def get_buffer(self, sizehint: int) -> bytearray:
        return bytearray(64)

    def pause_writing(self) -> None: ...

    def resume_writing(self) -> None:
        self.resumed += 1
        self.transport.write(b"more")

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set_result(exc)  # a second time would raise


async def below(sock: socket.socket) -> Writing:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_connection(asyncio.Protocol, sock=sock)
    tls = Writing(transport, loop.create_future())
    transport.set_protocol(Below(sock, tls))
    return tls


async def test_a_write_that_fails_as_writing_resumes_ends_the_connection_once_and_with_its_reason():
    """asyncio's transport would be lost twice: without a reason, and with an AttributeError in the loop."""
    told: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: told.append(context))
    mine, theirs = socket.socketpair()
    with theirs, Broken(fileno=mine.detach()) as sock:
        sock.setblocking(False)
        tls = await below(sock)
        tls.transport.write(bytes(2**20))
        async with asyncio.timeout(10):
            assert isinstance(await tls.lost, ConnectionResetError)
        await asyncio.sleep(0)
    loop.set_exception_handler(None)
    assert told == []


async def test_writing_does_not_resume_on_a_connection_that_is_lost_meanwhile():
    mine, theirs = socket.socketpair()
    with theirs:
        mine.setblocking(False)
        tls = await below(mine)
        protocol: Any = tls.transport.get_protocol()
        tls.transport.abort()
        protocol.resume_writing()
        await asyncio.sleep(0)
        assert (tls.lost.done(), tls.resumed) == (True, 0)
