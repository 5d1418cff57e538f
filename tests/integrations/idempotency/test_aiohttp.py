"""What aiohttp's server and handlers may do besides."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from aiohttp import web

from seawall.integrations.aiohttp import IDEMPOTENCY, idempotency_middleware
from tests.interop.servers import aiohttp_app

pytestmark = pytest.mark.anyio

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def serve(stack: AsyncExitStack, kept: Any, handler: Handler, *before: Any, **settings: Any) -> str:
    """The URL of an application with that handler of POSTs."""
    middlewares = [*before, idempotency_middleware(store=kept.store, max_body=1_000_000)]
    app = web.Application(middlewares=middlewares, **settings)
    app.router.add_post("/", handler)
    return await stack.enter_async_context(aiohttp_app(app))


async def leave(url: str) -> None:
    """Send a request with a key, and leave where its answer has begun."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(b'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nIdempotency-Key: "k"\r\n\r\n')
    await reader.readuntil(b"\r\n\r\n")
    writer.transport.abort()


@pytest.mark.parametrize(("is_in_block", "status", "rows"), [(False, 422, ["1"]), (True, 201, ["2"])])
async def test_caller_that_leaves_during_a_streamed_answer(stack, in_sqlite, is_in_block, status, rows):
    """The key stays used, because the handler has acted; unless what it did is rolled back with its transaction."""
    runs, has_ended = [], asyncio.Event()

    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=201)
        await response.prepare(request)
        while len(runs) == 1:
            await response.write(b"x")
            await asyncio.sleep(0)
        return response

    async def handler(request: web.Request) -> web.StreamResponse:
        runs.append(1)
        try:
            async with request[IDEMPOTENCY].transaction() as connection:
                await in_sqlite.insert(connection, str(len(runs)))
                if is_in_block:
                    return await stream(request)
            return await stream(request)
        finally:
            has_ended.set()

    url = await serve(stack, in_sqlite, handler)
    await leave(url)
    await has_ended.wait()
    async with httpx.AsyncClient() as client:
        while (answer := await client.post(url, headers={"Idempotency-Key": '"k"'})).status_code == 409:
            pass  # the first is ending
    assert answer.status_code == status
    assert await in_sqlite.orders() == rows


async def in_content(request: web.Request) -> bytes:
    return await request.content.read()


async def in_form(request: web.Request) -> bytes:
    return (await request.post())["item"].file.read()


async def in_parts(request: web.Request) -> bytes:
    part = await (await request.multipart()).next()
    return bytes(await part.read())


@pytest.mark.parametrize("read", [web.Request.read, in_content, in_form, in_parts])
async def test_body_can_be_read_again(stack, in_sqlite, read):
    """Whichever way a handler reads it; the connection serves the next request, also if nobody has read it."""
    bodies, item = [], b"tea" * 50_000

    async def handler(request: web.Request) -> web.Response:
        bodies.append(await read(request) if not bodies else b"")
        return web.Response()

    url = await serve(stack, in_sqlite, handler)
    body = {"files": {"item": item}} if read in (in_form, in_parts) else {"content": item}
    async with httpx.AsyncClient() as client:
        for key in "ab":
            answer = await client.post(url, **body, headers={"Idempotency-Key": f'"{key}"'})
            assert answer.status_code == 200
    assert bodies == [item, b""]


@pytest.mark.parametrize("size", [0, 2**40])
async def test_long_body_is_not_held_in_memory(stack, in_sqlite, size):
    """Though the application takes longer ones, and the length isn't told: the answer doesn't wait for its end."""
    url = urlsplit(await serve(stack, in_sqlite, in_content, client_max_size=size))
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    writer.write(b'POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nIdempotency-Key: "k"\r\n\r\n')
    writer.write(b"%x\r\n%b\r\n" % (1_000_001, b"x" * 1_000_001))
    try:
        async with asyncio.timeout(5):
            assert (await reader.readline()).startswith(b"HTTP/1.1 413 ")
    finally:
        writer.close()


async def test_body_that_another_middleware_has_read(stack, in_sqlite):
    """It is still the request's, so another one under the key is told from it; the handler can read it, too."""
    bodies = []

    @web.middleware
    async def reading(request: web.Request, handler: Handler) -> web.StreamResponse:
        await request.read()
        return await handler(request)

    async def handler(request: web.Request) -> web.Response:
        bodies.append(await request.read())
        return web.Response()

    url = await serve(stack, in_sqlite, handler, reading)
    async with httpx.AsyncClient(headers={"Idempotency-Key": '"k"'}) as client:
        statuses = [(await client.post(url, content=body)).status_code for body in (b"tea", b"tea", b"milk")]
    assert (statuses, bodies) == ([200, 200, 422], [b"tea"])
