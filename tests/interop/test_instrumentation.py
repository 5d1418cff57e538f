"""What instruments httpx or httpcore sees each call of ours as it sees httpx's, whenever the patch comes or goes."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gzip
import importlib.util
import json
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpcore
import httpx
import pytest
import respx
import wrapt
from opentelemetry.instrumentation import httpx as opentelemetry
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import seawall
from seawall.events import RetryScheduled
from seawall.testing import Request, cancel_everywhere, no_leaks
from tests.fronts import FRONTS

from . import watched
from .tools import client, core, each_lib, mocked

__all__ = ["client", "core", "each_lib", "mocked"]

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("core")]
CALLS = ("GET", "GET", "POST", "POST")
FAST = seawall.Retry(backoff=0, throttled_backoff=0)

ENTRIES = [
    "httpx.AsyncClient.send",
    "httpx.AsyncClient.request",
    "httpx.AsyncClient.build_request",
    "httpx.AsyncClient._merge_headers",
    "httpx.AsyncClient._transport_for_url",
    "httpx.AsyncClient._send_handling_auth",
    "httpx.AsyncClient._send_handling_redirects",
    "httpx.AsyncClient._send_single_request",
    "httpx.AsyncHTTPTransport.handle_async_request",
    "httpcore.AsyncConnectionPool.handle_async_request",
    "httpcore.AsyncHTTPConnection.handle_async_request",
    "seawall.AsyncClient.send",
    "seawall.AsyncTransport.handle_async_request",
]


async def ok(request: Request) -> None:
    await request.read()
    await request.reply(body=b"real")


def by_wrapt(owner: Any, name: str, seen: Callable[[], None]) -> None:
    """As OpenTelemetry, ddtrace, New Relic and elastic-apm do: a proxy that equals what it wraps."""

    def wrapper(wrapped, instance, args, kwargs):
        seen()
        return wrapped(*args, **kwargs)

    wrapt.wrap_function_wrapper(owner, name, wrapper)


def by_functools(owner: Any, name: str, seen: Callable[[], None]) -> None:
    """As Sentry does."""
    original = getattr(owner, name)

    @functools.wraps(original)
    def wrapper(*args, **kwargs):
        seen()
        return original(*args, **kwargs)

    setattr(owner, name, wrapper)


def by_disguise(owner: Any, name: str, seen: Callable[[], None]) -> None:
    """A wrapper that claims its original's module, and doesn't show what it wraps."""
    by_functools(owner, name, seen)
    del getattr(owner, name).__wrapped__


@contextlib.contextmanager
def patched(patch: Callable[..., None], owner: Any, name: str) -> Iterator[list[None]]:
    """The list grows by one each time that what is patched is called."""
    seen: list[None] = []
    before = vars(owner).get(name)
    patch(owner, name, lambda: seen.append(None))
    try:
        yield seen
    finally:
        delattr(owner, name) if before is None else setattr(owner, name, before)


@pytest.mark.parametrize("patch", [by_wrapt, by_functools, by_disguise])
@pytest.mark.parametrize("entry", ENTRIES)
async def test_each_call_passes_what_is_patched(client, serve, patch, entry):
    """Of a client that was in use before; over our wire all the same; and not once the patch is taken back, twice."""
    server = await serve(ok)
    module, kind, name = entry.split(".")
    owner = getattr(globals()[module], kind)  # the front's
    for _ in range(2):
        for _ in range(2):
            assert (await client.get(server.url)).text == "real"
        with patched(patch, owner, name) as seen:
            for method in CALLS:
                assert (await client.request(method, server.url)).text == "real"
        assert len(seen) >= len(CALLS)
        count = len(seen)
        await client.get(server.url)
        assert len(seen) == count
    assert server.connections == client.stats().connections == 1


@pytest.mark.parametrize("patch", [by_wrapt, by_functools])
@pytest.mark.parametrize("name", ["send", "_transport_for_url", "_transport.handle_async_request"])
async def test_patch_of_an_instance(client, serve, patch, name):
    """Of one client, and of its transport; the next client isn't concerned."""
    server = await serve(ok)
    path, _, name = name.rpartition(".")
    owner = getattr(client, path) if path else client
    for _ in range(2):
        await client.get(server.url)
    with patched(patch, owner, name) as seen:
        for method in CALLS:
            await client.request(method, server.url)
        async with seawall.AsyncClient() as other:
            await other.get(server.url)
    assert len(seen) == len(CALLS)


async def test_transport_that_is_replaced(client, serve):
    """By one around it: each call passes that."""

    class Around(httpx.AsyncBaseTransport):
        seen = 0

        def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
            self.inner = inner

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            self.seen += 1
            return await self.inner.handle_async_request(request)

    server = await serve(ok)
    for _ in range(2):
        await client.get(server.url)
    inner = client._transport
    client._transport = around = Around(inner)
    for method in CALLS:
        await client.request(method, server.url)
    assert around.seen == len(CALLS)
    client._transport = inner


async def test_wrapper_around_httpcores_connection_gets_what_httpx_gives_it(client, serve):
    """Its instance, its request with all headers, and the real answer; two patches are both passed."""
    seen = []

    def wrapper(wrapped, instance, args, kwargs):
        seen.append((instance, args[0]))
        args[0].headers.append((b"traceparent", b"00-1"))
        return wrapped(*args, **kwargs)

    server = await serve(ok)
    before = httpcore.AsyncHTTPConnection.handle_async_request
    wrapt.wrap_function_wrapper(httpcore.AsyncHTTPConnection, "handle_async_request", wrapper)
    try:
        with patched(by_wrapt, httpcore.AsyncConnectionPool, "handle_async_request") as in_pool:
            response = await client.post(server.url, json={"a": 1})
    finally:
        httpcore.AsyncHTTPConnection.handle_async_request = before
    ((instance, request),) = seen
    assert isinstance(instance, httpcore.AsyncHTTPConnection)
    assert request.url.port == server.port
    assert (response.text, len(in_pool)) == ("real", 1)
    assert server.requests[0].headers["traceparent"] == "00-1"
    assert server.requests[0].body == b'{"a":1}'


@pytest.mark.parametrize(
    "entry",
    [
        "httpx.AsyncClient.send",
        "httpx.AsyncClient.build_request",
        "httpx.AsyncClient._merge_headers",
        "httpx.AsyncHTTPTransport.handle_async_request",
        "httpcore.AsyncConnectionPool.handle_async_request",
        "httpcore.AsyncHTTPConnection.handle_async_request",
    ],
)
async def test_patch_that_is_there_before_seawall(serve, lib, entry):
    """Imported after a tool has patched, seawall doesn't take the patch for the library's own."""
    server = await serve(ok)
    module, _, name = entry.partition(".")
    code = f"""
        import asyncio, wrapt
        seen = []
        def wrapper(wrapped, instance, args, kwargs):
            seen.append(1)
            return wrapped(*args, **kwargs)
        wrapt.wrap_function_wrapper({globals()[module].__name__!r}, {name!r}, wrapper)
        from {watched.OURS[lib.httpx.__name__]} import AsyncClient
        async def main():
            async with AsyncClient() as client:
                for _ in range(4):
                    assert (await client.get({server.url!r})).text == "real"
        asyncio.run(main())
        assert len(seen) >= 4, seen
    """
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", textwrap.dedent(code))
    assert await process.wait() == 0
    assert server.connections == 1


@pytest.mark.parametrize("patch", ["mock.patch.object(kind, '__init__')", "mock.patch.object(kind, '__init__', Own())"])
def test_constructor_that_is_patched_while_seawall_is_imported(lib, patch):
    """By a mock, or by something without code: no error and no warning, and a call that a tool watches works."""
    library, ours = lib.httpx.__name__, watched.OURS[lib.httpx.__name__]
    code = f"""
        import asyncio, functools, importlib, {library} as httpx
        from unittest import mock
        kind = httpx.AsyncHTTPTransport
        class Own:
            made = kind.__init__
            def __get__(self, instance, owner):
                return self if instance is None else functools.partial(self, instance)
            def __call__(self, *args, **kwargs):
                return Own.made(*args, **kwargs)
        with {patch}:
            ours = importlib.import_module({ours!r})
        watched = kind.handle_async_request
        kind.handle_async_request = lambda *args: watched(*args)
        async def main():
            async with ours.AsyncClient() as client:
                await client.get("http://127.0.0.1:1/")
        try:
            asyncio.run(main())
        except httpx.ConnectError as error:
            print(len(error.attempts) > 0)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "True\n", "")


def test_client_that_asks_for_less_is_in_the_place_of_the_librarys(lib):
    """br is bounded all the same, where seawall is imported after it and no package can bound br: it is refused."""
    library, ours = lib.httpx.__name__, watched.OURS[lib.httpx.__name__]
    code = f"""
        import asyncio, importlib, sys, brotli, {library} as httpx
        class House(httpx.AsyncClient):
            def __init__(self, **arguments):
                super().__init__(**arguments)
                self.headers["accept-encoding"] = "gzip"
        httpx.AsyncClient = House
        sys.modules["brotli"] = sys.modules["brotlicffi"] = None  # as with one that can't bound, for seawall only
        ours = importlib.import_module({ours!r})
        bomb = brotli.compress(bytes(20_000_000))
        def answer(request):
            return httpx.Response(200, headers={{"content-encoding": "br"}}, stream=httpx.ByteStream(bomb))
        async def main():
            async with ours.AsyncClient(transport=httpx.MockTransport(answer)) as client:
                await client.get("http://a/")
        try:
            asyncio.run(main())
        except httpx.DecodingError as error:
            print("can't limit" in str(error))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "True\n", "")


@pytest.fixture
def exporter():
    """Has the spans that are over."""
    return InMemorySpanExporter()


@pytest.fixture
def instrumentor(lib, exporter):
    """The front's, bound to the exporter."""
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    kind = getattr(opentelemetry, f"{lib.httpx.__name__.upper()}ClientInstrumentor")

    class Bound:
        instrument = functools.partial(kind().instrument, tracer_provider=provider)
        uninstrument = kind().uninstrument
        instrument_client = functools.partial(kind.instrument_client, tracer_provider=provider)
        uninstrument_client = kind.uninstrument_client

    return Bound


@pytest.mark.parametrize("is_used", [False, True])
async def test_opentelemetry_sees_each_call(client, serve, exporter, instrumentor, is_used):
    """instrument(), before and after the first calls; none after uninstrument(); twice."""
    server = await serve(ok)
    for _ in range(2):
        for _ in range(2 * is_used):
            await client.get(server.url)
        server.requests.clear()
        exporter.clear()
        instrumentor.instrument()
        try:
            for method in CALLS:
                await client.request(method, server.url)
        finally:
            instrumentor.uninstrument()
        await client.get(server.url)
        assert [span.name for span in exporter.get_finished_spans()] == list(CALLS)
        assert ["traceparent" in request.headers for request in server.requests] == [True] * 4 + [False]


async def test_opentelemetry_of_one_client(client, serve, exporter, instrumentor):
    """
    instrument_client() and uninstrument_client(), twice; the next client isn't concerned.

    It wraps our transport, which is above the retries: a span has all attempts of a call.
    """
    statuses: list[int] = []

    async def answer(request: Request) -> None:
        await request.read()
        await request.reply(statuses.pop() if statuses else 200, body=b"real")

    server = await serve(answer)
    for _ in range(2):
        for _ in range(2):
            await client.get(server.url)
        exporter.clear()
        instrumentor.instrument_client(client)
        for method in CALLS:
            await client.request(method, server.url)
        async with client.stream("GET", server.url) as response:
            assert await response.aread() == b"real"
        async with seawall.AsyncClient() as other:
            await other.get(server.url)
        statuses.append(503)
        server.requests.clear()
        await client.get(server.url, extensions=seawall.options(retry=FAST))
        assert len({request.headers["traceparent"] for request in server.requests}) == 1
        assert len(server.requests) == 2
        instrumentor.uninstrument_client(client)
        await client.get(server.url)
        assert [span.name for span in exporter.get_finished_spans()] == [*CALLS, "GET", "GET"]
    assert client.stats().connections == 1


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("tool", watched.TOOLS)
def test_tool_sees_of_us_what_it_sees_of_the_library(lib, tool, when):
    """
    Each span, in the header of its request too, for a tool that is there before seawall, or comes after two calls.

    The retry of a 503 has a span of its own where the tool looks at the transport. Nothing is left once the tool is
    out, the other front isn't concerned, and all goes over our wire.
    """
    library = lib.httpx.__name__
    saw = watch(tool, library, when)
    is_each_attempt = tool in ("opentelemetry", "logfire")
    calls = [[method, 200] for method in (*CALLS, "GET")] if (tool, library) != ("elasticapm", "httpx2") else []
    other_calls = [[method, 200] for method in (*CALLS, "GET")] if tool in ("logfire", "newrelic") or not calls else []
    ids = [span[2] for span in saw["spans"]]
    assert [span[:2] for span in saw["spans of the library itself"]] == calls
    assert [span[:2] for span in saw["spans"]] == ([["GET", 503]] if is_each_attempt else []) + calls
    if not is_each_attempt:
        ids[:0] = ids[:1]
    assert saw["ids"] == (ids or [""] * 6)
    assert [span[:2] for span in saw["spans of the other front"]] == other_calls
    assert saw["ids of the other front"] == ([span[2] for span in saw["spans of the other front"]] or [""] * 5)
    assert saw["spans once removed"] == []
    assert saw["ids once removed"] == ["", ""] or tool == "sentry_sdk"  # which gives its header always
    assert saw["connections"] == 1


@pytest.mark.parametrize("lib", ["httpx"], indirect=True)
@pytest.mark.parametrize("tool", [tool for tool in watched.TOOLS if tool != "logfire"])  # it would watch httpx2 twice
def test_tool_that_knows_httpx_where_httpx2_is_in_its_place(lib, tool):
    """alias_httpx(): the calls of both fronts are seen, by elastic-apm too, which doesn't know httpx2."""
    saw = watch(tool, "httpx", "aliased")
    calls = [[method, 200] for method in (*CALLS, "GET")]
    assert [span[:2] for span in saw["spans"] if span[1] != 503] == calls
    assert [span[:2] for span in saw["spans of the other front"]] == calls
    assert saw["spans once removed"] == []
    assert saw["connections"] == 1


def watch(tool: str, library: str, when: str) -> dict[str, Any]:
    """What `watched` says; skips the test where the tool isn't installed."""
    if importlib.util.find_spec(tool) is None:
        pytest.skip(f"{tool} is not installed; the extra `tools` has it")
    command = [sys.executable, "-m", watched.__name__, tool, library, when]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("owner", ["AsyncHTTPTransport", "AsyncConnectionPool", "AsyncHTTPConnection"])
async def test_patched_attempt_is_as_another(serve, owner):
    """A body that breaks off is retried; streams that are left early and calls that are cancelled leave nothing."""
    is_cut = True

    async def answer(request: Request) -> None:
        nonlocal is_cut
        await request.read()
        if request.target == "/cut" and is_cut:
            is_cut = False
            await request.send(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")
            request.close()
        else:
            await request.reply(body=b"x" * 300_000)

    server = await serve(answer)
    entry = (getattr(httpx, owner, None) or getattr(httpcore, owner), "handle_async_request")
    async with no_leaks(), seawall.AsyncClient(retry=FAST) as client:
        with patched(by_wrapt, *entry) as seen:
            response = await client.get(f"{server.url}/cut")
            assert [attempt.outcome for attempt in response.extensions["seawall"]] == ["BadAnswer", "200"]
            is_cut = True
            with pytest.raises(httpx.RemoteProtocolError):
                async with client.stream("GET", f"{server.url}/cut") as streamed:
                    await streamed.aread()
            async with client.stream("GET", server.url) as streamed:
                async for _ in streamed.aiter_bytes():
                    break
            assert await cancel_everywhere(lambda: client.post(server.url, content=b"x")) > 3
        assert len(seen) > 6
        assert [state.in_flight for state in client.stats().origins.values()] == [0]


@contextlib.contextmanager
def reads_watched() -> Iterator[list[bytes]]:
    """As Logfire's capture_all does: each response gets an `aread` of its own. The list has the bodies so read."""
    bodies: list[bytes] = []

    async def wrapper(wrapped, instance, args, kwargs):
        response = await wrapped(*args, **kwargs)
        original = response.aread

        async def aread() -> bytes:
            content = await original()
            bodies.append(content)
            return content

        response.aread = aread
        return response

    before = httpx.AsyncHTTPTransport.handle_async_request
    wrapt.wrap_function_wrapper(httpx.AsyncHTTPTransport, "handle_async_request", wrapper)
    try:
        yield bodies
    finally:
        httpx.AsyncHTTPTransport.handle_async_request = before


@pytest.mark.parametrize("fields", [{}, {"content-encoding": "gzip"}], ids=["plain", "coded"])
async def test_tool_reads_the_body_where_the_call_does(client, serve, fields):
    """By the `aread` of the response, which the client calls, as httpx's does."""

    async def answer(request: Request) -> None:
        await request.read()
        await request.reply(body=gzip.compress(b"real") if fields else b"real", fields=fields)

    server = await serve(answer)
    async with httpx.AsyncClient() as bare:
        for each in (bare, client):
            for _ in range(2):
                await each.get(server.url)
            with reads_watched() as bodies:
                for method in CALLS:
                    assert (await each.request(method, server.url)).text == "real"
                async with each.stream("GET", server.url) as response:
                    assert await response.aread() == b"real"
            assert bodies == [b"real"] * 5


async def test_tool_reads_only_what_the_caller_gets(serve):
    """Not a 503 that is retried. One that the call ends with, because its retry is refused, is whole for the caller."""
    statuses = [503]

    async def answer(request: Request) -> None:
        await request.reply(statuses.pop() if statuses else 200, body=b"real")

    def refuse(event: object) -> None:
        if isinstance(event, RetryScheduled) and not statuses and bodies:
            client.breakers[server.url].force_open()

    server = await serve(answer)
    with reads_watched() as bodies:
        async with seawall.AsyncClient(retry=FAST, observers=[refuse]) as client:
            assert (await client.get(server.url)).status_code == 200
            assert bodies == [b"real"]
            statuses.append(503)
            response = await client.get(server.url)
    assert [attempt.outcome for attempt in response.extensions["seawall"]] == ["503", "BreakerOpen"]
    assert (response.status_code, response.text) == (503, "real")


@pytest.mark.parametrize("owner", ["AsyncHTTPTransport", "AsyncConnectionPool", "AsyncHTTPConnection"])
async def test_hook_that_fails_once_the_answer_is_there(client, serve, owner):
    """As a response hook that raises: the error is the caller's, who has no response to close, so seawall closes it."""

    async def failing(wrapped, instance, args, kwargs):
        response = await wrapped(*args, **kwargs)
        assert response is None, "the hook's own reason"

    async def large(request: Request) -> None:
        await request.reply(body=b"x" * 3_000_000)

    server = await serve(large)
    kind = getattr(httpx, owner, None) or getattr(httpcore, owner)
    before = kind.handle_async_request
    wrapt.wrap_function_wrapper(kind, "handle_async_request", failing)
    try:
        with pytest.raises(AssertionError, match="own reason"):
            await client.get(server.url)
        assert client.stats().connections == 0
    finally:
        kind.handle_async_request = before
    assert len((await client.get(server.url)).content) == 3_000_000
    assert [state.in_flight for state in client.stats().origins.values()] == [0]


async def test_opentelemetry_beside_respx(client, mocked, exporter, instrumentor):
    """Both at once: a span for each mocked attempt, whichever came first and whichever goes first."""
    for is_first in (True, False):
        with contextlib.ExitStack() as both:
            if is_first:
                instrumentor.instrument()
                both.callback(instrumentor.uninstrument)
            router = both.enter_context(mocked())
            if not is_first:
                instrumentor.instrument()
                both.callback(instrumentor.uninstrument)
            route = router.get("http://api.test/").mock(side_effect=[respx.MockResponse(503), respx.MockResponse(200)])
            await client.get("http://api.test/", extensions=seawall.options(retry=FAST))
            assert route.call_count == 2
            assert ["traceparent" in call.request.headers for call in route.calls] == [True, True]
    codes = [span.attributes["http.status_code"] for span in exporter.get_finished_spans()]
    assert codes == [503, 200, 503, 200]


async def test_hooks_of_a_tool(client, serve, monkeypatch):
    """New Relic has a property in the place of the hooks: a dict whose list is empty, but gives a hook of its own."""

    class Hooks(list):
        def __iter__(self):
            yield hook
            yield from super().__iter__()

    class OwnDict(dict):
        pass

    async def hook(response: httpx.Response) -> None:
        seen.append(response)

    seen: list[httpx.Response] = []
    server = await serve(ok)
    for _ in range(2):
        await client.get(server.url)
    hooks = property(lambda self: OwnDict(request=[], response=Hooks()))
    monkeypatch.setattr(httpx.AsyncClient, "_event_hooks", hooks, raising=False)
    for method in CALLS:
        await client.request(method, server.url)
    assert len(seen) == len(CALLS)


@pytest.mark.parametrize(
    ("lib", "using"), [("httpx", "httpx"), ("httpx", "httpcore"), ("httpx2", "httpcore2")], indirect=["lib"]
)
async def test_respx_mocks_each_of_its_ways(client, serve, using):
    """In the place of the transport, or of httpcore's pool and connection, of a client in use."""
    server = await serve(ok)
    for _ in range(2):
        await client.get(server.url)
    with respx.mock(using=using) as router:
        route = router.route(url__startswith=server.url).respond(text="mocked")
        for method in CALLS:
            assert (await client.request(method, server.url)).text == "mocked"
    assert route.call_count == len(CALLS)
    assert (await client.get(server.url)).text == "real"


async def test_instrumented_httpcore_runs_over_our_wire(client, serve, monkeypatch):
    """A wrapper around httpcore's pool is called, and its original ends in our wire; streams too."""
    original = httpcore.AsyncConnectionPool.handle_async_request
    seen = []

    @functools.wraps(original)
    async def wrapper(self, request):
        seen.append(bytes(request.url))
        return await original(self, request)

    monkeypatch.setattr(httpcore.AsyncConnectionPool, "handle_async_request", wrapper)
    server = await serve(ok)
    assert (await client.get(server.url)).text == "real"
    async with client.stream("GET", server.url) as response:
        assert await response.aread() == b"real"
    assert len(seen) == 2
    assert [state.in_flight for state in client.stats().origins.values()] == [0]
    assert server.connections == client.stats().connections == 1


def test_httpcore_is_imported_by_another_thread(lib, core):
    """It is half there: nothing of it can be patched yet, and the call goes on."""
    name, folder = core.__name__, "seawall.httpx2" if lib is FRONTS["httpx2"] else "seawall._httpx"
    code = f"""
        import sys, types
        import seawall
        from {folder}.mocks import is_any_patched
        assert "{name}" not in sys.modules
        sys.modules["{name}"] = types.ModuleType("{name}")
        assert not is_any_patched() and not is_any_patched()
        del sys.modules["{name}"]
        import {name}
        assert not is_any_patched()
        {name}.AsyncHTTPConnection.handle_async_request = None
        assert is_any_patched()
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, timeout=60)
