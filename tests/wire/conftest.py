"""Real sockets on loopback, a real DNS server, real TLS."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

import seawall
from seawall.testing import Request, Server
from seawall.testing.dns import DNSServer, Name

Make = Callable[..., Awaitable[Any]]


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    """What is entered here is left after the test, last in first out."""
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
async def serve(stack: AsyncExitStack) -> Make:
    """Starts a server: ``await serve(handler)``."""

    async def serve(handler: Callable[[Request], Any], **arguments: Any) -> Server:
        return await stack.enter_async_context(Server(handler, **arguments))

    return serve


@pytest.fixture
async def dns(stack: AsyncExitStack) -> DNSServer:
    return await stack.enter_async_context(DNSServer({"good.test": Name(a=("127.0.0.1",))}))


@pytest.fixture
async def client(stack: AsyncExitStack, dns: DNSServer) -> seawall.Client:
    """At the defaults, but asking our DNS server."""
    return await stack.enter_async_context(seawall.Client(dns=seawall.DNS(nameservers=(dns.address,))))
