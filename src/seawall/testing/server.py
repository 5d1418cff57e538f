"""A server on loopback that does what it is told to, down to the bytes. The fault kit grows from it."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

__all__ = ["Request", "Server"]

HEAD = b"HTTP/1.1 %d X\r\n%s\r\n"


@dataclass(slots=True)
class Request:
    """
    One request as the server got it, and the means to answer, badly if need be.

    Attributes:
        connection: Number of its connection at this server, from 1.
    """

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    connection: int
    writer: asyncio.StreamWriter = field(repr=False)
    is_over: bool = False

    async def reply(self, status: int = 200, body: bytes = b"ok", **headers: str) -> None:
        """A good answer; ``retry_after="1"`` becomes ``retry-after: 1``."""
        fields = {"content-length": str(len(body))} | {name.replace("_", "-"): text for name, text in headers.items()}
        lines = b"".join(f"{name}: {text}\r\n".encode() for name, text in fields.items())
        await self.send(HEAD % (status, lines) + (b"" if self.method == "HEAD" else body))

    async def send(self, data: bytes) -> None:
        """Just these bytes."""
        self.writer.write(data)
        await self.writer.drain()

    async def hang(self) -> None:
        """Say nothing more, for ever."""
        await asyncio.get_running_loop().create_future()

    def close(self) -> None:
        """FIN."""
        self.is_over = True
        self.writer.close()

    def reset(self) -> None:
        """RST."""
        self.is_over = True
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


Handler = Callable[[Request], Coroutine[Any, Any, None]]


class Server:
    """
    ``async with Server(handler) as server``: real sockets on a port of its own.

    Attributes:
        requests: All of them, in order. Tests count here, never in the client.
        open: Connections that are open now.
        peak: Most that were at once, at any time.
    """

    def __init__(
        self, handler: Handler, *, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
    ) -> None:
        self._handler = handler
        self._tls = tls
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.host = host
        self.port = port
        self.requests: list[Request] = []
        self.open = 0
        self.peak = 0
        self.connections = 0

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://{self.host}:{self.port}"

    @property
    def counts(self) -> Counter[tuple[str, str]]:
        """Requests by method and target."""
        return Counter((request.method, request.target) for request in self.requests)

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _Protocol(self._accept), self.host, self.port, ssl=self._tls, backlog=4096
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(list(self._tasks))

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, gone: asyncio.Future[None]) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer, gone))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, gone: asyncio.Future[None]
    ) -> None:
        self.connections += 1
        self.open += 1
        self.peak = max(self.peak, self.open)
        number = self.connections
        handling: asyncio.Future[None] | None = None
        try:
            while True:
                request = await _read(reader, writer, number)
                self.requests.append(request)
                handling = asyncio.ensure_future(self._handler(request))
                await asyncio.wait({handling, gone}, return_when=asyncio.FIRST_COMPLETED)
                if not handling.done():
                    return
                handling.result()
                if request.is_over:
                    return
        except (OSError, EOFError):
            pass
        finally:
            self.open -= 1
            if handling is not None:
                handling.cancel()
            if not writer.is_closing():
                writer.transport.abort()


class _Protocol(asyncio.StreamReaderProtocol):
    """A stream's protocol that also says when the peer is gone."""

    def __init__(
        self, accept: Callable[[asyncio.StreamReader, asyncio.StreamWriter, asyncio.Future[None]], None]
    ) -> None:
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        super().__init__(asyncio.StreamReader(limit=2**20), lambda reader, writer: accept(reader, writer, self.gone))

    def eof_received(self) -> bool | None:
        self._went()
        return super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._went()
        super().connection_lost(exc)

    def _went(self) -> None:
        if not self.gone.done():
            self.gone.set_result(None)


async def _read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, target, _ = head[0].split(" ", 2)
    headers = {}
    for line in head[1:-2]:
        name, _, text = line.partition(":")
        headers[name.lower()] = text.strip()
    body = b""
    if "content-length" in headers:
        body = await reader.readexactly(int(headers["content-length"]))
    elif headers.get("transfer-encoding") == "chunked":
        while size := int(await reader.readuntil(b"\n"), 16):
            body += (await reader.readexactly(size + 2))[:-2]
        await reader.readline()
    return Request(method, target, headers, body, number, writer)
