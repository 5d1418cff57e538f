"""
A listening port, and what happens to its connections before a request can be read.

Rules: the n-th connection gets the n-th step of the port's script, and the last one repeats. Connections are accepted
by hand, because most faults here must strike a socket before any transport reads from it.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

from ..service import bound
from .connection import Connection, Serve, rst
from .secure import Secure
from .stream import Stream

if TYPE_CHECKING:  # it needs the extra "testing", but this module doesn't
    from .certificates import Certificates

__all__ = ["Incoming", "Port"]

BACKLOG = 4096
LEFT = (errno.EBADF, errno.EINVAL, errno.ENOTCONN, errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH)
FILLERS = 4  # because Linux queues backlog + 1 connections, and answers no further SYN


class Incoming:
    """
    A connection that was just accepted: a raw socket, which a step serves or mistreats.

    Attributes:
        number: The connection's number at its server, from 1.
    """

    def __init__(self, port: Port, sock: socket.socket, number: int) -> None:
        self.port = port
        self.sock = sock
        self.number = number
        self._loop = asyncio.get_running_loop()

    async def serve(self, tls: ssl.SSLContext | None = None, protocol: Callable[..., Any] = Connection) -> None:
        """Serve requests over *protocol*, until one side ends it."""
        connection = protocol(self.number, self.port.serve)
        outer = connection if tls is None else Secure(tls, connection)
        transport, _ = await self._loop.connect_accepted_socket(lambda: outer, self.sock)
        try:
            await connection.run()
        finally:
            transport.abort()

    @asynccontextmanager
    async def stream(self, tls: ssl.SSLContext | None = None) -> AsyncIterator[Stream]:
        """Bytes both ways; at the end what was written is still sent, unless the block raises."""
        stream = Stream()
        outer = stream if tls is None else Secure(tls, stream)
        transport, _ = await self._loop.connect_accepted_socket(lambda: outer, self.sock)
        try:
            yield stream
            transport.close()
            await stream.lost()
        finally:
            transport.abort()

    async def receive(self, size: int = 65536) -> bytes:
        """What the client sent; empty if it has ended."""
        return await self._loop.sock_recv(self.sock, size)

    async def send(self, data: bytes) -> None:
        await self._loop.sock_sendall(self.sock, data)

    async def drain(self) -> None:
        """Read and drop, until the client ends it."""
        while await self.receive():
            pass

    async def close(self) -> None:
        """Send FIN, then read until the client ends too, because a close with unread bytes would send RST."""
        self.sock.shutdown(socket.SHUT_WR)
        await self.drain()

    def reset(self) -> None:
        """Make the close send RST."""
        if self.sock.fileno() >= 0:
            rst(self.sock)


class Port:
    """
    One listening port.

    Args:
        script: The n-th connection is passed to the n-th of these; the last one repeats.
        serve: Called with each request.
        scheme: Of its URL: "http", "https" or "socks5".
    Attributes:
        open, peak, connections: How many are open now, the most that were open at once, and all that were accepted.
        failures: Exceptions that handlers raised, which must fail the test.
    """

    def __init__(
        self,
        name: str,
        script: tuple[Callable[[Incoming], Awaitable[Any]], ...],
        serve: Serve,
        *,
        host: str,
        port: int = 0,
        scheme: str = "http",
        count: Callable[[], int] | None = None,
        certificates: Callable[[], Certificates] | None = None,
    ) -> None:
        self.name = name
        self.serve = serve
        self.host = host
        self.scheme = scheme
        self.open = self.peak = self.connections = 0
        self.failures: list[Exception] = []
        self._script = script
        self._certificates = certificates
        self._count = count or (lambda: self.connections)
        self._loop = asyncio.get_running_loop()
        self._tasks: dict[asyncio.Task[None], Incoming] = {}
        self._filled: set[int] = set()  # ports of the connections that fill a blackhole
        self._fillers: list[socket.socket] = []
        self._is_listening = False
        self._sock = bound(socket.SOCK_STREAM, host, port)
        self.port: int = self._sock.getsockname()[1]

    def __repr__(self) -> str:
        return f"<Port {self.name} {self.host}:{self.port} open {self.open} peak {self.peak}>"

    @property
    def is_secure(self) -> bool:
        """Whether clients must speak TLS to it."""
        return self.scheme == "https"

    @property
    def url(self) -> str:
        """With the address; over TLS with ``localhost``, because the certificates are for that name."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{'localhost' if self.is_secure else host}:{self.port}"

    @property
    def certificates(self) -> Certificates:
        """The source of its TLS contexts."""
        assert self._certificates is not None
        return self._certificates()

    def listen(self) -> None:
        """Accept connections from now on, also on a port that refused or swallowed them."""
        if self._is_listening:
            return
        self._sock.listen(BACKLOG)
        self._loop.add_reader(self._sock, self._accept)
        self._is_listening = True
        for filler in self._fillers:
            filler.close()
        self._fillers.clear()

    def swallow(self) -> None:
        """Become a blackhole: fill the accept queue without accepting, so that the system drops further SYNs."""
        self._sock.listen(0)
        for _ in range(FILLERS):
            filler = socket.socket(self._sock.family)
            filler.setblocking(False)
            filler.connect_ex((self.host, self.port))
            self._filled.add(filler.getsockname()[1])
            self._fillers.append(filler)

    async def aclose(self) -> None:
        """Stop listening, close every connection and end every task."""
        if self._is_listening:
            self._loop.remove_reader(self._sock)
        self._sock.close()
        for filler in self._fillers:
            filler.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(list(self._tasks))

    def drop_connections(self) -> None:
        """Send RST on all open connections."""
        for task, incoming in self._tasks.items():
            incoming.reset()
            task.cancel()

    def _accept(self) -> None:
        while True:
            try:
                sock, addr = self._sock.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError:  # out of file descriptors: try again later, not in a tight loop
                self._loop.remove_reader(self._sock)
                self._loop.call_later(0.05, self._resume)
                return
            if addr[1] in self._filled:
                sock.close()
                continue
            sock.setblocking(False)
            with suppress(OSError):  # macOS says so of one that the client has reset already
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connections += 1
            self.open += 1
            self.peak = max(self.peak, self.open)
            step = self._script[min(self.connections, len(self._script)) - 1]
            incoming = Incoming(self, sock, self._count())
            task = self._loop.create_task(self._meet(step, incoming))
            self._tasks[task] = incoming
            task.add_done_callback(self._over)

    def _over(self, task: asyncio.Task[None]) -> None:
        """Clean up here, because a task that is cancelled before its first step never reaches a finally."""
        self.open -= 1
        self._tasks.pop(task).sock.close()

    def _resume(self) -> None:
        if self._sock.fileno() >= 0:
            self._loop.add_reader(self._sock, self._accept)

    async def _meet(self, step: Callable[[Incoming], Awaitable[Any]], incoming: Incoming) -> None:
        try:
            await step(incoming)
        except Exception as failure:  # noqa: BLE001
            if not _is_broken_off(failure):
                self.failures.append(failure)


def _is_broken_off(failure: Exception) -> bool:
    """Whether the client broke the connection off. Any other OSError is of a function of the test's: of a file, say."""
    return isinstance(failure, ConnectionError | ssl.SSLError) or getattr(failure, "errno", None) in LEFT
