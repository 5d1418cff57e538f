"""An upstream's timeout becomes its caller's: FastAPI and aiohttp on loopback, calling each other."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import fastapi
import httpx
import pytest
from aiohttp import ClientSession, web
from fastapi.responses import StreamingResponse

import seawall
from seawall.integrations._inbound import parse_timeout, told, verdict
from seawall.integrations.aiohttp import deadline_middleware
from seawall.integrations.asgi import DeadlineMiddleware
from seawall.testing import FaultServer, Request, Server
from tests.interop.servers import aiohttp_app, asgi

pytestmark = [pytest.mark.anyio, pytest.mark.each_front]

HEADER = "X-Request-Timeout-Ms"
CRITICALITY = "X-Request-Criticality"
PAGE = Path(__file__).parents[2] / "docs/howto/deadlines.md"
TOLD = seawall.Propagation(hosts=["127.0.0.1"])


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
    assert 2.0 < answer["left"] < 2.981
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


@pytest.mark.parametrize("make", [fastapi_service, aiohttp_service])
@pytest.mark.parametrize(
    ("settings", "value", "told"),
    [
        ({}, "background", "background"),
        ({}, "BackGround", "background"),
        ({}, "critical", None),
        ({}, "default", None),
        ({}, "urgent", None),
        ({}, "", None),
        ({}, "b\xe4ckground", None),
        ({}, None, None),
        ({"allow_critical": True}, "critical", "critical"),
        ({"criticality_header": None}, "background", None),
        ({"criticality_header": "X-Other"}, "background", None),
    ],
)
async def test_request_says_how_much_it_matters(stack, client, caller, make, settings, value, told):
    """Anyone may ask for less than others get; for more only where that is allowed. All else is ignored."""
    async with FaultServer() as server:
        url = await make(stack, client, server.script("below", "ok"), **settings)
        headers = {} if value is None else {CRITICALITY: value.encode("latin-1")}
        assert (await caller.get(url, headers=headers)).status_code == 200
        assert (await caller.get(url)).status_code == 200
        first, second = server.attempts("below")
    assert {name.lower(): value for name, value in first.headers}.get(CRITICALITY.lower()) == told
    assert CRITICALITY.lower() not in {name.lower() for name, _ in second.headers}


@pytest.mark.parametrize("make", [lambda **more: DeadlineMiddleware(None, **more), deadline_middleware])
@pytest.mark.parametrize(
    ("settings", "error", "why"),
    [
        ({"criticality_header": "a b"}, ValueError, "that is free"),
        ({"criticality_header": "x-request-timeout-ms"}, ValueError, "must differ"),
        ({"allow_critical": 1}, TypeError, "allow_critical must be True or False"),
    ],
)
def test_settings_of_criticality(make, settings, error, why):
    """What can't be is an error at once."""
    with pytest.raises(error, match=why):
        make(**settings)


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


async def answered(error: BaseException, *hints: dict) -> tuple[int, dict[bytes, bytes], bytes]:
    """Status, headers and body that the middleware makes of an application's *error*, after *hints*."""
    sent: list[dict] = []

    async def app(scope, receive, send):
        for hint in hints:
            await send(hint)
        raise error

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/a", "headers": []}
    await DeadlineMiddleware(app, cancel_on_disconnect=False)(scope, None, send)
    assert sent[: len(hints)] == list(hints)
    start, body = sent[len(hints) :]
    return start["status"], dict(start["headers"]), body["body"]


REFUSED = [
    (seawall.DeadlineExceeded("its own"), 504, None),
    (seawall.BreakerOpen("open", retry_after=2.1), 503, b"3"),
    (seawall.BreakerOpen("forced open", retry_after=float("inf")), 503, None),
    (seawall.BreakerOpen("open", retry_after=1e9), 503, b"3600"),
    (seawall.BulkheadFull("full"), 503, b"1"),
    (seawall.LimitExceeded("spent", retry_after=2.1), 503, b"3"),
    (ExceptionGroup("both", [seawall.BulkheadFull("full"), seawall.BreakerOpen("open", retry_after=7.0)]), 503, b"7"),
    (ExceptionGroup("both", [seawall.BulkheadFull("full"), seawall.DeadlineExceeded("late")]), 504, None),
]


@pytest.mark.parametrize(("error", "status", "retry_after"), REFUSED)
async def test_errors_become_answers(caplog, error, status, retry_after):
    """A passed deadline is 504, a local refusal 503 with its Retry-After; the log has one line, and no traceback."""
    found, headers, body = await answered(error)
    assert (found, headers.get(b"retry-after")) == (status, retry_after)
    assert int(headers[b"content-length"]) == len(body) > 0
    (record,) = caplog.records
    assert record.getMessage().startswith(f"GET /a answered with {status}: {type(error).__name__}: ")
    assert record.exc_info is None


@pytest.mark.parametrize(
    ("path", "line"),
    [("/a b\nCRITICAL", "/a%20b%0ACRITICAL"), ("/~me/(1)%41", "/~me/(1)%41"), ("/é\udcff", "/%C3%A9%3F")],
)
def test_path_stays_on_its_line_of_the_log(caplog, path, line):
    """Whatever a stranger has put into it."""
    error = seawall.BulkheadFull("full")
    told("GET", path, verdict(error), error)
    (record,) = caplog.records
    assert record.getMessage() == f"GET {line} answered with 503: BulkheadFull: full"


async def test_early_hint_is_no_answer_yet():
    """An error after it becomes one all the same."""
    hint = {"type": "http.response.early_hint", "links": [b"</a.css>; rel=preload"]}
    assert (await answered(seawall.DeadlineExceeded("its own"), hint))[0] == 504


@pytest.mark.parametrize(
    "error", [ValueError("a bug"), ExceptionGroup("both", [ValueError("a bug"), seawall.BulkheadFull("full")])]
)
async def test_other_errors_are_the_applications_own(error):
    """They come out as they are."""
    with pytest.raises(type(error)):
        await answered(error)


def test_page_names_the_refusals():
    """Each kind of local refusal that becomes a 503 is on the page of the middlewares."""
    (line,) = re.findall(r"^- 503, .*?\((.*?)\)", PAGE.read_text(), re.MULTILINE)
    kinds = [kind for kind in vars(seawall.errors).values() if isinstance(kind, type)]
    refusals = [kind for kind in kinds if issubclass(kind, seawall.errors.Rejected) and kind.by]
    assert sorted(line.split(", ")) == sorted(f"`{kind.__name__}`" for kind in refusals)


async def test_errors_become_answers_of_aiohttp(stack, client, caller):
    """The same there: a breaker that is open answers 503 at once, with the seconds until its probe."""
    url = await aiohttp_service(stack, client, "http://127.0.0.1:1/")
    assert (await caller.get(url)).status_code == 500  # a DialError is no refusal of ours
    client.breakers["http://127.0.0.1:1"].force_open()
    response = await caller.get(url)
    assert (response.status_code, response.headers.get("retry-after")) == (503, None)
    assert "127.0.0.1" not in response.text


async def test_websockets_pass():
    """Nothing is watched there, and no deadline set."""

    async def app(scope, receive, send):
        assert (receive, seawall.remaining()) == (None, None)
        raise seawall.DeadlineExceeded("its own")

    with pytest.raises(seawall.DeadlineExceeded):
        await DeadlineMiddleware(app)({"type": "websocket", "headers": [(b"x-request-timeout-ms", b"0")]}, None, None)


async def test_websockets_pass_through_aiohttp(stack):
    """Nor there; another upgrade is a request like others."""

    async def handler(request):
        if not web.WebSocketResponse().can_prepare(request):
            return web.Response(text=str(seawall.remaining() is None))
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_str(str(seawall.remaining() is None))
        return socket

    app = web.Application(middlewares=[deadline_middleware(default_timeout=5.0)])
    app.router.add_get("/", handler)
    url = await stack.enter_async_context(aiohttp_app(app))
    async with ClientSession() as session:
        async with session.ws_connect(url) as socket:
            assert await socket.receive_str() == "True"
        async with session.get(url, headers={"Upgrade": "websocket"}) as response:
            assert await response.text() == "False"


# The caller leaves


async def gone(url: str, count: int, begun: asyncio.Event) -> None:
    """*count* callers ask, and leave once all of their requests have reached the upstream."""
    port = httpx.URL(url).port
    writers = []
    for _ in range(count):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        writers.append(writer)
    await begun.wait()
    for writer in writers:
        writer.transport.abort()


@asynccontextmanager
async def hanging(count: int) -> AsyncIterator[tuple[str, asyncio.Event]]:
    """URL of an upstream that never answers, and an event that is set once *count* requests have come."""
    begun, came = asyncio.Event(), 0

    async def answer(request: Request) -> None:
        nonlocal came
        came += 1
        if came == count:
            begun.set()
        await asyncio.Event().wait()

    async with Server(answer) as server:
        yield server.url, begun


@pytest.mark.parametrize("make", [fastapi_service, aiohttp_service])
async def test_who_has_left_is_not_served(stack, make):
    """20 callers leave: their upstream calls end, and the permits come back; nobody's breaker hears of it."""
    async with hanging(20) as (upstream, begun):
        ended = asyncio.Event()
        events: list[seawall.events.CallEnded] = []

        def observe(event: object) -> None:
            if isinstance(event, seawall.events.CallEnded):
                events.append(event)
                if len(events) == 20:
                    ended.set()

        client = await stack.enter_async_context(
            seawall.AsyncClient(timeout=None, retry=None, observers=[observe], breaker=seawall.Breaker(min_calls=1))
        )
        url = await make(stack, client, upstream)
        await gone(url, 20, begun)
        await ended.wait()
    assert {event.outcome for event in events} == {"CallerLeft"}
    ((_, origin),) = client.stats().origins.items()
    assert (origin.in_flight, origin.breaker) == (0, "closed")


async def test_handler_that_is_left_goes_on(stack, client, caller):
    """It is told by its calls only, those that follow included; `detached` exempts one."""
    async with hanging(1) as (upstream, begun), FaultServer() as server:
        good, found = server.script("good", "ok"), asyncio.get_running_loop().create_future()
        app = fastapi.FastAPI()
        app.add_middleware(DeadlineMiddleware)

        @app.get("/")
        async def root() -> None:
            try:
                await client.get(upstream, timeout=None)
            except seawall.errors.CallerLeft as error:
                assert isinstance(error, httpx.TimeoutException)
                left = seawall.remaining()
                try:
                    await client.get(good)
                except seawall.errors.CallerLeft:
                    with seawall.detached():
                        found.set_result((left, (await client.get(good)).status_code))

        await gone(await stack.enter_async_context(asgi(app)), 1, begun)
        assert await found == (0.0, 200)
        assert len(server.attempts("good")) == 1


async def test_caller_that_left_before_the_middleware(stack, client):
    """An outer middleware of aiohttp's took its time: the handler runs, and its call fails at once, which is a 504."""
    entered, found = asyncio.Event(), asyncio.get_running_loop().create_future()

    @web.middleware
    async def outer(request, handler):
        entered.set()
        while request.transport is not None:
            await asyncio.sleep(0)
        try:
            found.set_result((await handler(request)).status)
        except Exception as error:
            found.set_exception(error)
        return web.Response()

    async def handler(request: web.Request) -> web.Response:
        await client.get("http://127.0.0.1:1/")
        return web.Response()

    app = web.Application(middlewares=[outer, deadline_middleware()])
    app.router.add_get("/", handler)
    await gone(await stack.enter_async_context(aiohttp_app(app)), 1, entered)
    assert await found == 504
    assert client.stats().calls == 0


async def test_stream_goes_on_until_the_handler_closes_it():
    """A caller that leaves ends no response whose headers the handler has, but the call that follows."""
    left, found = asyncio.Event(), []

    async def parts() -> AsyncIterator[bytes]:
        yield b"before"
        left.set()
        for _ in range(20):
            await asyncio.sleep(0)
        yield b"after"

    async def receive():
        await left.wait()
        return {"type": "http.disconnect"}

    transport = httpx.MockTransport(lambda request: httpx.Response(200, content=parts()))
    async with seawall.AsyncClient(transport=transport) as client:

        async def app(scope, receive, send):
            async with client.stream("GET", "http://a.test/") as response:
                found.extend([part async for part in response.aiter_raw()])
            with pytest.raises(seawall.errors.CallerLeft):
                await client.get("http://a.test/")

        await DeadlineMiddleware(app)({"type": "http", "headers": []}, receive, None)
    assert found == [b"before", b"after"]


async def test_background_task_is_no_leaving(stack, client, caller):
    """A server says "disconnected" to what goes on after its answer, and that has not been left."""
    async with FaultServer() as server:
        good, found = server.script("good", "ok"), asyncio.get_running_loop().create_future()

        async def later() -> None:
            found.set_result((await client.get(good)).status_code)

        app = fastapi.FastAPI()
        app.add_middleware(DeadlineMiddleware)

        @app.get("/")
        async def root(tasks: fastapi.BackgroundTasks) -> None:
            tasks.add_task(later)

        response = await caller.get(await stack.enter_async_context(asgi(app)), headers={"Connection": "close"})
        assert (response.status_code, await found) == (200, 200)


@pytest.mark.parametrize(
    ("last", "outcome"),
    [
        ({"type": "http.response.body", "body": b"all"}, 200),
        ({"type": "http.response.body", "body": b"some", "more_body": True}, "CallerLeft"),
        ({"type": "http.response.pathsend", "path": "/a"}, 200),
        ({"type": "http.response.zerocopysend", "file": 3}, 200),
        ({"type": "http.response.zerocopysend", "file": 3, "more_body": True}, "CallerLeft"),
    ],
)
async def test_what_ends_an_answer(client, last, outcome):
    """The server says "disconnected" after *last*: it means that the caller has left only if more was to come."""
    was_sent, found = asyncio.Event(), []

    async def receive():
        await was_sent.wait()
        return {"type": "http.disconnect"}

    async def send(message):
        if message is last:
            was_sent.set()

    async with FaultServer(assert_all_called=False) as server:
        good = server.script("good", "ok")

        async def app(scope, receive, send):
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send(last)
            for _ in range(20):
                await asyncio.sleep(0)
            try:
                found.append((await client.get(good)).status_code)
            except seawall.errors.CallerLeft as error:
                found.append(type(error).__name__)

        await DeadlineMiddleware(app)({"type": "http", "headers": []}, receive, send)
    assert found == [outcome]


async def test_upload_passes_as_the_application_reads_it(stack, caller):
    """The middleware reads ahead by one part at most, and the application gets every byte, once."""
    app = fastapi.FastAPI()
    app.add_middleware(DeadlineMiddleware)

    @app.post("/")
    async def root(request: fastapi.Request) -> dict[str, object]:
        size = 0
        async for part in request.stream():
            size += len(part)
            await asyncio.sleep(0)
        return {"size": size, "disconnected": await request.is_disconnected()}

    async def parts() -> AsyncIterator[bytes]:
        for _ in range(50):
            yield b"x" * 20_000

    url = await stack.enter_async_context(asgi(app))
    assert (await caller.post(url, content=parts())).json() == {"size": 1_000_000, "disconnected": False}


async def test_body_that_is_refused_by_its_headers(stack):
    """A client that waits for "100 Continue" gets the refusal in its place, because nobody has asked for the body."""

    async def app(scope, receive, send):
        for _ in range(20):
            await asyncio.sleep(0)
        await send({"type": "http.response.start", "status": 401, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    reader, writer = await expecting(await stack.enter_async_context(asgi(DeadlineMiddleware(app))))
    assert await reader.readline() == b"HTTP/1.1 401 Unauthorized\r\n"
    writer.transport.abort()


async def test_body_that_is_asked_for_is_watched(stack, client):
    """With the application's first read the server answers "100 Continue", and a caller that leaves is noticed."""
    async with hanging(1) as (upstream, begun):
        found = asyncio.get_running_loop().create_future()
        app = fastapi.FastAPI()
        app.add_middleware(DeadlineMiddleware)

        @app.post("/")
        async def root(request: fastapi.Request) -> None:
            body = await request.body()
            try:
                await client.get(upstream, timeout=None)
            except seawall.errors.CallerLeft:
                found.set_result(body)

        reader, writer = await expecting(await stack.enter_async_context(asgi(app)))
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"body")
        await begun.wait()
        writer.transport.abort()
        assert await found == b"body"


async def expecting(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection on which the headers of an upload were sent, and "100 Continue" is awaited."""
    reader, writer = await asyncio.open_connection("127.0.0.1", httpx.URL(url).port)
    writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
    return reader, writer


@pytest.mark.parametrize("count", [1, 7])
async def test_reads_ahead_by_one_part(count):
    """Of an upload that nobody reads, one part is taken from the server; a disconnect is told again and again."""
    given = 0

    async def receive():
        nonlocal given
        await asyncio.sleep(0)
        if given == count:
            return {"type": "http.disconnect"}
        given += 1
        return {"type": "http.request", "body": b"x", "more_body": given < count}

    async def app(scope, receive, send):
        for _ in range(20):
            await asyncio.sleep(0)
        assert given == 1
        messages = [await receive() for _ in range(count + 2)]
        assert [message["type"] for message in messages] == ["http.request"] * count + ["http.disconnect"] * 2

    await DeadlineMiddleware(app)({"type": "http", "headers": []}, receive, None)
    assert len(asyncio.all_tasks()) <= 2  # this test, and anyio's runner: the watcher has ended or ends now


async def test_server_that_tells_no_disconnect():
    """But the whole body again and again, at once, as adapters for functions of a cloud do: it isn't asked for ever."""
    asked = 0

    async def receive():
        nonlocal asked
        asked += 1
        assert asked < 100
        return {"type": "http.request", "body": b"x", "more_body": False}

    async def app(scope, receive, send):
        assert [(await receive())["body"] for _ in range(3)] == [b"x"] * 3

    await DeadlineMiddleware(app)({"type": "http", "headers": []}, receive, None)
    assert asked == 3


async def test_reads_on_after_an_answer_without_a_pause():
    """An application that answers before anything else could run gets the server's messages all the same."""
    found = []

    async def receive():
        return {"type": "http.disconnect"}

    async def send(message):
        pass

    async def app(scope, receive, send):
        await send({"type": "http.response.body", "body": b""})
        async with asyncio.timeout(5):
            found.append(await receive())

    await DeadlineMiddleware(app)({"type": "http", "headers": []}, receive, send)
    assert found == [{"type": "http.disconnect"}]


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
