"""An upstream's timeout becomes its caller's: FastAPI and aiohttp on loopback, calling each other."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import fastapi
import httpx
import pytest
import uvicorn
from aiohttp import web
from fastapi.responses import StreamingResponse

import seawall
from seawall.integrations._inbound import parse_timeout
from seawall.integrations.aiohttp import deadline_middleware
from seawall.integrations.asgi import DeadlineMiddleware
from seawall.testing import FaultServer

pytestmark = [pytest.mark.anyio, pytest.mark.each_front]

HEADER = "X-Request-Timeout-Ms"
TOLD = seawall.Propagation(hosts=["127.0.0.1"])


@asynccontextmanager
async def asgi(app: object) -> AsyncIterator[str]:
    """URL of an ASGI application, served by uvicorn in this loop."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off"))  # type: ignore[arg-type]
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


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
async def client(stack: AsyncExitStack) -> seawall.AsyncClient:
    return await stack.enter_async_context(seawall.AsyncClient(propagation=TOLD, retry=None))


@pytest.fixture
async def caller(stack: AsyncExitStack) -> httpx.AsyncClient:
    """Somebody's who is not seawall."""
    return await stack.enter_async_context(httpx.AsyncClient())


async def fastapi_service(stack: AsyncExitStack, client: seawall.AsyncClient, upstream: str, **settings) -> str:
    """Answers with what its own upstream does, and how long it had."""
    app = fastapi.FastAPI()
    app.add_middleware(DeadlineMiddleware, **settings)

    @app.get("/")
    async def root() -> dict[str, object]:
        left = seawall.remaining()
        return {"left": left, "below": (await client.get(upstream)).json()}

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        async def parts():
            yield b"begun"
            await client.get(upstream)

        return StreamingResponse(parts())

    return await stack.enter_async_context(asgi(app))


async def aiohttp_service(stack: AsyncExitStack, client: seawall.AsyncClient, upstream: str, **settings) -> str:
    async def root(request: web.Request) -> web.Response:
        left = seawall.remaining()
        answer = await client.get(upstream)
        return web.json_response({"left": left, "told": request.headers.get(HEADER), "below": answer.json()})

    app = web.Application(middlewares=[deadline_middleware(**settings)])
    app.router.add_get("/", root)
    return await stack.enter_async_context(aiohttp_app(app))


async def test_deadline_travels_through_two_services(stack, client):
    """FastAPI calls aiohttp calls a third: each has less time than its caller, and the last one is told so."""
    async with FaultServer() as server:
        below = await aiohttp_service(stack, client, server.script("last", "ok"))
        above = await fastapi_service(stack, client, below)
        answer = (await client.get(above, extensions=seawall.options(deadline=3.0))).json()
        (received,) = server.attempts("last")
    told = {name.lower(): value for name, value in received.headers}
    assert 2.0 < answer["left"] <= 2.98
    assert answer["below"]["left"] < answer["left"] - 0.01
    assert int(told[HEADER.lower()]) / 1000 < answer["below"]["left"] - 0.01
    assert told["x-request-attempt"] == "1"


@pytest.mark.parametrize("make", [fastapi_service, aiohttp_service])
async def test_service_gives_up_with_its_caller(stack, client, caller, make):
    """Its upstream hangs: it answers 504 by the deadline that it came with, not after its own 5 s."""
    async with FaultServer() as server:
        url = await make(stack, client, server.script("slow", "hang"))
        response = await caller.get(url, headers={HEADER: "200"})
    assert response.status_code == 504
    assert "deadline" in response.text
    assert client.stats().calls == 0


@pytest.mark.parametrize("make", [fastapi_service, aiohttp_service])
@pytest.mark.parametrize(
    ("settings", "value"), [({}, "0"), ({}, "19"), ({"min_timeout": 1.0}, "999"), ({"min_timeout": 0}, "0")]
)
async def test_too_little_time_left(stack, client, caller, make, settings, value):
    """Below min_timeout, 504 at once, and nothing is asked of anybody."""
    url = await make(stack, client, "http://127.0.0.1:1", **settings)
    response = await caller.get(url, headers={HEADER: value})
    assert response.status_code == 504
    assert client.stats().origins == {}


@pytest.mark.parametrize("make", [fastapi_service, aiohttp_service])
@pytest.mark.parametrize(
    ("value", "left"),
    [("99999999", 2.0), ("9" * 30, 2.0), ("soon", 1.0), ("-5", 1.0), ("1.5", 1.0), (None, 1.0)],
)
async def test_what_callers_ask_for(stack, client, caller, make, value, left):
    """Capped at max_timeout; garbage is no header, which is default_timeout."""
    async with FaultServer() as server:
        url = await make(stack, client, server.script("below", "ok"), max_timeout=2.0, default_timeout=1.0)
        headers = {} if value is None else {HEADER: value}
        answer = (await caller.get(url, headers=headers)).json()
    assert left - 0.5 < answer["left"] <= left


@pytest.mark.parametrize("make", [fastapi_service, aiohttp_service])
async def test_without_a_header_there_is_no_deadline(stack, client, caller, make):
    """Unless a default is set."""
    async with FaultServer() as server:
        url = await make(stack, client, server.script("below", "ok"))
        answer = (await caller.get(url)).json()
    assert answer["left"] is None


async def test_answer_that_was_begun_is_not_begun_again(stack, client, caller):
    """Past its headers a 504 can't be sent any more: the connection ends in the midst of the body."""
    async with FaultServer() as server:
        url = await fastapi_service(stack, client, server.script("slow", "hang"))
        with pytest.raises(httpx.RemoteProtocolError):
            await caller.get(f"{url}/stream", headers={HEADER: "200"})


async def test_answer_that_was_begun_is_not_begun_again_by_aiohttp(stack, client, caller):
    """The same there."""
    async with FaultServer() as server:
        upstream = server.script("slow", "hang")

        async def stream(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse()
            await response.prepare(request)
            await response.write(b"begun")
            await client.get(upstream)
            return response

        app = web.Application(middlewares=[deadline_middleware()])
        app.router.add_get("/", stream)
        url = await stack.enter_async_context(aiohttp_app(app))
        with pytest.raises(httpx.RemoteProtocolError):
            await caller.get(url, headers={HEADER: "200"})


async def test_fan_out_that_is_late(stack, client, caller):
    """A task group's ExceptionGroup of deadlines is a deadline: 504."""
    async with FaultServer() as server:
        upstream = server.script("slow", "hang")

        async def both() -> None:
            async with asyncio.TaskGroup() as group:
                group.create_task(client.get(upstream))
                group.create_task(client.get(upstream))

        async def handler(request: web.Request) -> web.Response:
            await both()
            return web.Response()

        app = fastapi.FastAPI()
        app.add_middleware(DeadlineMiddleware)
        app.get("/")(both)
        other = web.Application(middlewares=[deadline_middleware()])
        other.router.add_get("/", handler)
        urls = [await stack.enter_async_context(asgi(app)), await stack.enter_async_context(aiohttp_app(other))]
        assert [(await caller.get(url, headers={HEADER: "200"})).status_code for url in urls] == [504, 504]


async def test_deadline_of_the_applications_own_is_its_own():
    """An error from a shorter one that it set itself comes out as any other."""

    async def app(scope, receive, send):
        raise seawall.DeadlineExceeded("its own")

    with pytest.raises(seawall.DeadlineExceeded):
        await DeadlineMiddleware(app)({"type": "http", "headers": [(b"x-request-timeout-ms", b"5000")]}, None, None)
    with pytest.raises(seawall.DeadlineExceeded):
        await DeadlineMiddleware(app)({"type": "websocket", "headers": [(b"x-request-timeout-ms", b"0")]}, None, None)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_timeout": 0}, "max_timeout must be finite and > 0"),
        ({"min_timeout": -1}, "min_timeout must be finite and >= 0 and <= 60"),
        ({"min_timeout": 0.02, "max_timeout": 0.01}, "min_timeout must be finite and >= 0 and <= 0.01"),
        ({"min_timeout": 3, "max_timeout": 2}, "min_timeout must be finite and >= 0 and <= 2"),
        ({"header": "a:b"}, "name of a header"),
        ({"default_timeout": 99, "max_timeout": 9}, "default_timeout must be finite and > 0 and <= 9"),
    ],
)
def test_settings_that_cannot_be(settings, message):
    """Refused when the application is made."""
    for make in (lambda: DeadlineMiddleware(None, **settings), lambda: deadline_middleware(**settings)):
        with pytest.raises(ValueError, match=message):
            make()


def test_maximum_below_the_default_minimum():
    """It is the minimum too, because nobody set another one."""
    for made in (DeadlineMiddleware(None, max_timeout=0.01), deadline_middleware(max_timeout=0.01)):
        assert callable(made)


def test_parse_timeout():
    """Whole milliseconds, and nothing else."""
    values = {"250": 0.25, " 250 ": 0.25, "0": 0.0, "": None, "²": None, "0x10": None, "1e3": None, "9999999": 60.0}
    assert {value: parse_timeout(value, max_timeout=60.0) for value in values} == values
