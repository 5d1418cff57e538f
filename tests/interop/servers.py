"""Servers of others, in this loop and on loopback."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from aiohttp import web

__all__ = ["aiohttp_app", "asgi"]


@asynccontextmanager
async def asgi(app: object, **settings: Any) -> AsyncIterator[str]:
    """URL of an ASGI application, served by uvicorn in this loop."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        config = uvicorn.Config(app, log_level="critical", lifespan="off", **settings)  # type: ignore[arg-type]
        server = uvicorn.Server(config)
        task = asyncio.create_task(server._serve([sock]))  # serve() would take this process's signals
        try:
            yield f"http://127.0.0.1:{sock.getsockname()[1]}"
        finally:
            server.should_exit = True
            await task


@asynccontextmanager
async def aiohttp_app(app: web.Application) -> AsyncIterator[str]:
    """The same of aiohttp's."""
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"  # type: ignore[union-attr]
    finally:
        await runner.cleanup()
