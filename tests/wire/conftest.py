"""Real sockets on loopback, a real DNS server, real TLS."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from hyperframe.frame import SettingsFrame

import seawall
from seawall.core import clock as core_clock
from seawall.testing import Request, Server
from seawall.testing.dns import DNSServer, Name

from ..fronts import Front
from .peer import Peer
from .shifted import Shifted

Make = Callable[..., Awaitable[Any]]


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    """What is entered here is left after the test, last in first out."""
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Shifted:
    """What the clients of this test take for the time."""
    shifted = Shifted()
    monkeypatch.setattr(core_clock, "now", shifted.now)
    monkeypatch.setattr(core_clock, "on", shifted.on)
    return shifted


@pytest.fixture
async def serve(stack: AsyncExitStack) -> Make:
    """Starts a server: ``await serve(handler)``."""

    async def serve(handler: Callable[[Request], Any], **arguments: Any) -> Server:
        return await stack.enter_async_context(Server(handler, **arguments))

    return serve


@pytest.fixture
async def listen(stack: AsyncExitStack) -> Make:
    """Starts a server that is a function of asyncio's streams, one call a connection; returns its URL."""

    async def listen(
        handler: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]], **arguments: Any
    ) -> str:
        tasks: set[asyncio.Task[Any]] = set()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            tasks.add(task)
            try:
                await handler(reader, writer)
            except (OSError, EOFError, asyncio.CancelledError):
                pass
            finally:
                writer.close()
                tasks.discard(task)

        async def close() -> None:
            server.close()
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks)

        server = await asyncio.start_server(serve, "127.0.0.1", 0, **arguments)
        stack.push_async_callback(close)
        scheme = "https" if "ssl" in arguments else "http"
        return f"{scheme}://localhost:{server.sockets[0].getsockname()[1]}"

    return listen


@pytest.fixture
async def dns(stack: AsyncExitStack) -> DNSServer:
    return await stack.enter_async_context(DNSServer({"good.test": Name(a=("127.0.0.1",))}))


@pytest.fixture
async def client(stack: AsyncExitStack, dns: DNSServer, front: Front) -> seawall.AsyncClient:
    """At the defaults, but asking our DNS server."""
    return await stack.enter_async_context(front.seawall.AsyncClient(dns=seawall.DNS(nameservers=(dns.address,))))


@pytest.fixture
async def by_hand(stack: AsyncExitStack) -> Callable[[Callable[[Peer], Awaitable[None]]], Awaitable[str]]:
    """Starts a server that speaks with a script, frame by frame, once for each connection; returns its URL."""

    async def start(script: Callable[[Peer], Awaitable[None]]) -> str:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            peer = Peer(reader, writer)
            await reader.readexactly(24)
            peer.send(SettingsFrame(0, settings={3: 100}))
            try:
                await script(peer)
                await reader.read()
            except (asyncio.IncompleteReadError, OSError):
                pass
            finally:
                writer.close()

        listening = await asyncio.start_server(serve, "127.0.0.1", 0)
        listening.sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # or much has to be sent to fill it
        stack.callback(listening.close)
        return f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/"

    return start
