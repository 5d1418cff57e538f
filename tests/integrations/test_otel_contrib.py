"""Beside OpenTelemetry's own instrumentation of httpx and httpx2: no attempt has two spans. Over each library."""

from __future__ import annotations

import functools

import pytest
from opentelemetry import context
from opentelemetry.instrumentation import httpx as contrib
from opentelemetry.instrumentation.utils import is_http_instrumentation_enabled

import seawall
from seawall.integrations.otel import saying
from seawall.testing import Request
from tests.integrations.seen import Seen, ids, parents

pytestmark = pytest.mark.anyio

FAST = seawall.Retry(backoff=0.001, throttled_backoff=0.001)


@pytest.fixture
def seen():
    return Seen()


@pytest.fixture
def instrumentor(lib, seen):
    """Contrib's, of the front's library."""
    kind = getattr(contrib, f"{lib.httpx.__name__.upper()}ClientInstrumentor")
    providers = {"tracer_provider": seen.tracer_provider, "meter_provider": seen.meter_provider}

    class Bound:
        instrument = functools.partial(kind().instrument, **providers)
        uninstrument = kind().uninstrument
        instrument_client = functools.partial(kind.instrument_client, **providers)

    return Bound


@pytest.fixture
async def server(serve):
    """Answers 503, 503, 200."""
    left = [503, 503, 200]

    async def handler(request: Request) -> None:
        await request.reply(left.pop(0) if len(left) > 1 else left[0], b"ok")

    return await serve(handler)


def told(server):
    return [int(request.headers["traceparent"].split("-")[2], 16) for request in server.requests]


async def test_where_all_clients_are_instrumented(lib, stack, server, seen, instrumentor):
    """Contrib stands back for our attempts, and for nothing else."""
    instrumentor.instrument()
    try:
        client = await stack.enter_async_context(lib.seawall.AsyncClient(observers=[seen.otel()], retry=FAST))
        bare = await stack.enter_async_context(lib.httpx.AsyncClient())
        with seen.caller():
            await client.get(server.url)
            assert is_http_instrumentation_enabled()
            await bare.get(server.url)
    finally:
        instrumentor.uninstrument()
    *attempts, of_bare = seen.attempts()
    assert {span.instrumentation_scope.name for span in attempts} == {"seawall"}
    assert [span.attributes.get("http.request.resend_count") for span in attempts] == [None, 1, 2]
    assert of_bare.instrumentation_scope.name == saying.CONTRIB
    assert told(server) == ids([*attempts, of_bare])


async def test_where_it_is_to_go_on_as_before(lib, stack, server, seen, instrumentor):
    """Without spans of ours, each attempt has contrib's."""
    instrumentor.instrument()
    try:
        client = await stack.enter_async_context(lib.seawall.AsyncClient(observers=[seen.otel(spans=None)], retry=FAST))
        await client.get(server.url)
    finally:
        instrumentor.uninstrument()
    assert [span.instrumentation_scope.name for span in seen.spans] == [saying.CONTRIB] * 3
    assert told(server) == ids(seen.spans)


async def test_where_one_client_is_instrumented(lib, stack, server, seen, instrumentor):
    """Contrib's span is around all attempts: it serves as the first one's, and gets what it lacks."""
    client = await stack.enter_async_context(lib.seawall.AsyncClient(observers=[seen.otel()], retry=FAST))
    instrumentor.instrument_client(client)
    with seen.caller() as caller:
        await client.get(server.url)
        server.requests.clear()
        await client.get(server.url)
    outer, *rest, plain = seen.attempts()
    assert [span.instrumentation_scope.name for span in (outer, *rest, plain)] == [
        saying.CONTRIB,
        "seawall",
        "seawall",
        saying.CONTRIB,
    ]
    assert len(seen.spans) == 4
    assert parents([outer, *rest, plain]) == [caller.get_span_context().span_id, *ids([outer] * 2), parents([outer])[0]]
    assert [span.attributes.get("http.request.resend_count") for span in rest] == [1, 2]
    assert [span.attributes["network.peer.port"] for span in (outer, plain)] == [server.port] * 2
    assert "error.type" not in outer.attributes  # that of the first attempt would be untrue of the last
    assert [event.name for event in outer.events if event.name == "seawall.retry"] == ["seawall.retry"] * 2
    assert told(server) == ids([plain])


def test_private_name_that_it_stands_on():
    """Contrib asks the context for this key; without the key, attempts would have two spans."""
    assert saying.SUPPRESS is not None
    token = context.attach(context.set_value(saying.SUPPRESS, True))
    try:
        assert not is_http_instrumentation_enabled()
    finally:
        context.detach(token)
