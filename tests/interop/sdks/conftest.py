"""A server that stands in for an API, on a real socket."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest

from seawall.testing import Request, Server

from .answers import Answer

Serve = Callable[..., Awaitable[Server]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Starts a server whose n-th request gets the n-th answer; the last one repeats: ``await serve(BUSY, hello)``."""
    async with AsyncExitStack() as stack:

        async def start(*answers: Answer) -> Server:
            async def handler(request: Request) -> None:
                await answers[min(len(server.requests), len(answers)) - 1](request)

            server = await stack.enter_async_context(Server(handler))
            return server

        yield start
