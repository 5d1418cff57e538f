"""A proxy for tests: CONNECT, absolute-form and SOCKS5, with TLS or without; it resolves every name to loopback."""

from __future__ import annotations

import asyncio
import base64
import re
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

REPLY = b"\x05%c\x00\x01\x00\x00\x00\x00\x00\x00"


class Relay:
    """
    Attributes:
        asked: The heads that came; of SOCKS5, the destinations.
        open: Connections that the client has not closed.
        answer: What is sent in the place of the good answer to a CONNECT; None relays. Bytes, or a function that takes
            over the connection.
        code: The same for SOCKS5: the reply's code.
        wants: username and password; None asks for none.
        url: With *wants*, if there are any.
    """

    def __init__(
        self,
        kind: str = "http",
        *,
        wants: tuple[str, str] | None = None,
        context: ssl.SSLContext | None = None,
        answer: bytes | Handler | None = None,
        code: int = 0,
    ) -> None:
        self.kind = kind
        self.wants = wants
        self.answer = answer
        self.code = code
        self.asked: list[bytes] = []
        self.open = 0
        self._context = context
        self._is_left = asyncio.Event()
        self._tasks: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> Relay:
        self._server = await asyncio.start_server(self._handle, "127.0.0.1", 0, ssl=self._context)
        self.port = self._server.sockets[0].getsockname()[1]
        who = "" if self.wants is None else "{}:{}@".format(*self.wants)
        self.bare_url = f"{self.kind}://127.0.0.1:{self.port}"
        self.url = f"{self.kind}://{who}127.0.0.1:{self.port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def all_left(self) -> None:
        """Until the client has closed all connections."""
        while self.open:
            self._is_left.clear()
            await self._is_left.wait()

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.open += 1
        try:
            with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await (self._socks if self.kind.startswith("socks") else self._http)(reader, writer)
        finally:
            self.open -= 1
            self._is_left.set()
            self._tasks.discard(task)
            writer.close()

    async def _http(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.asked.append(head)
        if callable(self.answer):
            await self.answer(reader, writer)
            return
        if self.answer is not None:
            writer.write(self.answer)
            await reader.read()
            return
        if self.wants is not None:
            basic = base64.b64encode(":".join(self.wants).encode())
            if b"Proxy-Authorization: Basic " + basic not in head:
                writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
                return
        tunnel = re.match(rb"CONNECT \S+:(\d+) ", head)
        plain = re.match(rb"(\w+) http://[^/]*?(?::(\d+))?(/\S*) ", head)
        if tunnel:
            there = await asyncio.open_connection("127.0.0.1", int(tunnel[1]))
            await relayed(reader, writer, *there, b"HTTP/1.1 200 Connected\r\n\r\n")
        else:
            assert plain is not None
            there = await asyncio.open_connection("127.0.0.1", int(plain[2] or 80))
            there[1].write(plain[1] + b" " + plain[3] + head[plain.end() - 1 :])
            await relayed(reader, writer, *there)

    async def _socks(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, count = await reader.readexactly(2)
        offered, method = await reader.readexactly(count), 0 if self.wants is None else 2
        if method not in offered:
            writer.write(b"\x05\xff")
            await reader.read()
            return
        writer.write(b"\x05%c" % method)
        if self.wants is not None:
            _, size = await reader.readexactly(2)
            username = await reader.readexactly(size)
            password = await reader.readexactly((await reader.readexactly(1))[0])
            is_good = (username.decode(), password.decode()) == self.wants
            writer.write(b"\x01%c" % (not is_good))
            if not is_good:
                await reader.read()
                return
        *_, kind = await reader.readexactly(4)
        size = {1: 4, 4: 16}.get(kind) or (await reader.readexactly(1))[0]
        host, port = await reader.readexactly(size), int.from_bytes(await reader.readexactly(2))
        self.asked.append(b"%d %b %d" % (kind, host, port))
        if callable(self.answer):
            await self.answer(reader, writer)
            return
        if self.code:
            writer.write(REPLY % self.code)
            await reader.read()
            return
        there = await asyncio.open_connection("127.0.0.1", port)
        await relayed(reader, writer, *there, REPLY % 0)


async def relayed(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    from_there: asyncio.StreamReader,
    to_there: asyncio.StreamWriter,
    first: bytes = b"",
) -> None:
    """Pass bytes both ways, until one side ends; *first* goes to the client, cut into pieces, as TCP may do it."""

    async def pump(source: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await source.read(65536):
                to.write(data)
                await to.drain()

    both = [asyncio.ensure_future(pump(reader, to_there)), asyncio.ensure_future(pump(from_there, writer))]
    try:
        for byte in first:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0)
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        with suppress(OSError):
            await writer.drain()
    finally:
        for each in both:
            each.cancel()
        to_there.transport.abort()
        await asyncio.gather(*both, return_exceptions=True)
