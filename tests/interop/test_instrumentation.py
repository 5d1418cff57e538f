"""What instruments httpx or httpcore sees each call of ours as it sees httpx's, whenever the patch comes or goes."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

import httpcore
import httpx
import pytest
import respx
import wrapt
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import seawall
from seawall.testing import Request

pytestmark = pytest.mark.anyio
CALLS = ("GET", "GET", "POST", "POST")

ENTRIES = [
    (httpx.AsyncClient, "send"),
    (httpx.AsyncClient, "request"),
    (httpx.AsyncClient, "build_request"),
    (httpx.AsyncClient, "_merge_headers"),
    (httpx.AsyncClient, "_transport_for_url"),
    (httpx.AsyncClient, "_send_handling_auth"),
    (httpx.AsyncClient, "_send_handling_redirects"),
    (httpx.AsyncClient, "_send_single_request"),
    (httpx.AsyncHTTPTransport, "handle_async_request"),
    (httpcore.AsyncConnectionPool, "handle_async_request"),
    (httpcore.AsyncHTTPConnection, "handle_async_request"),
    (seawall.AsyncClient, "send"),
    (seawall.AsyncTransport, "handle_async_request"),
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
@pytest.mark.parametrize(("owner", "name"), ENTRIES, ids=lambda value: getattr(value, "__name__", value))
async def test_each_call_passes_what_is_patched(client, serve, patch, owner, name):
    """Of a client that was in use before; over our wire all the same; and not once the patch is taken back, twice."""
    server = await serve(ok)
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
    wrapt.wrap_function_wrapper("httpcore._async.connection", "AsyncHTTPConnection.handle_async_request", wrapper)
    try:
        with patched(by_wrapt, httpcore.AsyncConnectionPool, "handle_async_request") as in_pool:
            response = await client.post(server.url, json={"a": 1})
    finally:
        httpcore.AsyncHTTPConnection.handle_async_request = before  # type: ignore[method-assign]
    ((instance, request),) = seen
    assert isinstance(instance, httpcore.AsyncHTTPConnection)
    assert request.url.port == server.port
    assert (response.text, len(in_pool)) == ("real", 1)
    assert server.requests[0].headers["traceparent"] == "00-1"
    assert server.requests[0].body == b'{"a":1}'


@pytest.mark.parametrize(
    "target",
    [
        "httpx:AsyncClient.send",
        "httpx:AsyncClient.build_request",
        "httpx:AsyncClient._merge_headers",
        "httpx:AsyncHTTPTransport.handle_async_request",
        "httpcore:AsyncConnectionPool.handle_async_request",
        "httpcore:AsyncHTTPConnection.handle_async_request",
    ],
)
async def test_patch_that_is_there_before_seawall(serve, target):
    """Imported after a tool has patched, seawall doesn't take the patch for httpx's own."""
    server = await serve(ok)
    module, name = target.split(":")
    code = f"""
        import asyncio, wrapt
        seen = []
        def wrapper(wrapped, instance, args, kwargs):
            seen.append(1)
            return wrapped(*args, **kwargs)
        wrapt.wrap_function_wrapper({module!r}, {name!r}, wrapper)
        import seawall
        async def main():
            async with seawall.AsyncClient() as client:
                for _ in range(4):
                    assert (await client.get({server.url!r})).text == "real"
        asyncio.run(main())
        assert len(seen) >= 4, seen
    """
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", textwrap.dedent(code))
    assert await process.wait() == 0
    assert server.connections == 1


@pytest.fixture
def spans():
    """The exporter, and the provider to instrument with."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return exporter, provider


@pytest.mark.parametrize("is_used", [False, True])
async def test_opentelemetry_sees_each_call(client, serve, spans, is_used):
    """instrument(), before and after the first calls; none after uninstrument()."""
    exporter, provider = spans
    server = await serve(ok)
    for _ in range(2 * is_used):
        await client.get(server.url)
    instrumentor = HTTPXClientInstrumentor()
    instrumentor.instrument(tracer_provider=provider)
    try:
        for method in CALLS:
            await client.request(method, server.url)
    finally:
        instrumentor.uninstrument()
    await client.get(server.url)
    assert [span.name for span in exporter.get_finished_spans()] == list(CALLS)
    assert all("traceparent" in request.headers for request in server.requests[2 * is_used : -1])


async def test_opentelemetry_of_one_client(client, serve, spans):
    """instrument_client() and uninstrument_client()."""
    exporter, provider = spans
    server = await serve(ok)
    for _ in range(2):
        await client.get(server.url)
    HTTPXClientInstrumentor.instrument_client(client, tracer_provider=provider)
    for method in CALLS:
        await client.request(method, server.url)
    HTTPXClientInstrumentor.uninstrument_client(client)
    await client.get(server.url)
    assert [span.name for span in exporter.get_finished_spans()] == list(CALLS)


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


@pytest.mark.parametrize("using", ["httpx", "httpcore"])
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


def test_httpcore_is_imported_by_another_thread():
    """It is half there: nothing of it can be patched yet, and the call goes on."""
    code = """
        import sys, types
        import seawall
        from seawall._httpx.mocks import is_any_patched
        assert "httpcore" not in sys.modules
        sys.modules["httpcore"] = types.ModuleType("httpcore")
        assert not is_any_patched() and not is_any_patched()
        del sys.modules["httpcore"]
        import httpcore
        assert not is_any_patched()
        httpcore.AsyncHTTPConnection.handle_async_request = None
        assert is_any_patched()
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True)
