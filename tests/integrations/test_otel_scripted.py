"""Spans of calls over a scripted wire, on virtual time; and each front."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from opentelemetry import baggage, context, trace

import seawall
from seawall.testing import VIRTUAL, FixedRandom, ScriptedWire
from seawall.testing.cancel import cancel_everywhere
from tests.integrations.seen import Seen, ids, parents

pytestmark = [pytest.mark.anyio, pytest.mark.each_front]

FAST = seawall.Retry(backoff=0.001, throttled_backoff=0.001)


@pytest.fixture
def anyio_backend():
    return VIRTUAL


@pytest.fixture
def seen():
    return Seen()


async def test_rejected_attempt_has_a_span(stack, seen):
    """Though it was never sent: it says which gate refused it, and for how long it had waited."""
    wire = ScriptedWire((30.0, 200))
    settings = {"bulkhead": seawall.Bulkhead(max_concurrent=1, max_waiting=0), "retry": None}
    client = await stack.enter_async_context(seawall.AsyncClient(transport=wire, observers=[seen.otel()], **settings))
    holder = asyncio.create_task(client.get("http://api.test/"))
    while not wire.attempts:
        await asyncio.sleep(0)
    with seen.caller(), pytest.raises(seawall.BulkheadFull):
        await client.get("http://api.test/x")
    (span,) = seen.spans
    assert (span.name, span.attributes["error.type"], span.attributes["url.full"]) == (
        "GET",
        "BulkheadFull",
        "http://api.test/x",
    )
    assert [(event.name, event.attributes["seawall.gate"]) for event in span.events] == [
        ("seawall.rejected", "bulkhead")
    ]
    holder.cancel()
    await asyncio.wait([holder])


async def test_wait_and_breaker_are_events_of_the_attempt(stack, seen):
    """The attempt that opens the breaker says so, and one that waited says where and how long."""
    wire = ScriptedWire((0.01, 500))
    breaker = seawall.Breaker(min_calls=1, open_for=30.0)
    client = await stack.enter_async_context(
        seawall.AsyncClient(
            transport=wire,
            observers=[seen.otel()],
            retry=None,
            breaker=breaker,
            bulkhead=seawall.Bulkhead(max_concurrent=1),
        )
    )
    with seen.caller():
        calls = [asyncio.create_task(client.get("http://api.test/")) for _ in range(2)]
        await asyncio.gather(*calls, return_exceptions=True)
    events = [(event.name, dict(event.attributes)) for span in seen.attempts() for event in span.events]
    (moved,) = (attributes for name, attributes in events if name == "seawall.breaker")
    assert (moved["seawall.breaker.previous"], moved["seawall.breaker.state"]) == ("closed", "open")
    gates = [attributes["seawall.gate"] for name, attributes in events if name == "seawall.rejected"]
    assert set(gates) == {"breaker"}
    assert any(attributes["seawall.wait.for"] == "bulkhead" for name, attributes in events if name == "seawall.wait")


async def test_spans_inside_an_attempt_are_its_children(stack, seen):
    """A transport of the user's is called within the attempt's span, and each log line of it has its ids."""
    inner = []

    class Transport(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            inner.append(trace.get_current_span().get_span_context().span_id)
            return httpx.Response(200)

    client = await stack.enter_async_context(seawall.AsyncClient(transport=Transport(), observers=[seen.otel()]))
    with seen.caller() as caller:
        await client.get("http://api.test/")
        assert trace.get_current_span() is caller
    assert inner == ids(seen.spans)


async def test_hosts_that_are_told(stack, seen):
    """Only those that are named get traceparent and baggage."""
    wire = ScriptedWire(200)
    otel = seen.otel(propagate_to=["*.internal", "Api.Test"])
    client = await stack.enter_async_context(seawall.AsyncClient(transport=wire, observers=[otel]))
    token = context.attach(baggage.set_baggage("user", "5"))
    try:
        for host in ("a.internal", "api.test", "elsewhere.test"):
            await client.get(f"http://{host}/")
    finally:
        context.detach(token)
    sent = [[name for name in ("traceparent", "baggage") if name in each.headers] for each in wire.attempts]
    assert sent == [["traceparent", "baggage"]] * 2 + [[]]
    assert len(seen.attempts()) == 3


async def test_each_span_ends_wherever_a_call_is_cancelled(stack, seen):
    """And nothing stays in the task's context."""
    wire, at_once = ScriptedWire(), seawall.Retry(backoff=0, throttled_backoff=0)
    client = await stack.enter_async_context(
        seawall.AsyncClient(transport=wire, observers=[seen.otel()], retry=at_once, breaker=None, rng=FixedRandom())
    )

    async def call() -> None:
        wire.script(503, 200)
        try:
            await client.get("http://api.test/")
        finally:
            assert not trace.get_current_span().get_span_context().is_valid

    def clean() -> None:
        assert seen.open == set()

    assert await cancel_everywhere(call, after=clean) > 1
    assert len(seen.spans) > 3


async def test_one_observer_of_two_clients(stack, seen):
    """Calls of the same number, one inside the other, are told apart; each client is named."""
    inner = await stack.enter_async_context(
        seawall.AsyncClient(transport=ScriptedWire(200), observers=[otel := seen.otel()], name="inner")
    )

    class Transport(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            await inner.get("http://inner.test/")
            return httpx.Response(200)

    outer = await stack.enter_async_context(seawall.AsyncClient(transport=Transport(), observers=[otel], name="outer"))
    with seen.caller():
        await outer.get("http://outer.test/")
    above, below = seen.attempts()
    assert parents([below]) == ids([above])
    assert [(span.attributes["seawall.client"], span.attributes["server.address"]) for span in (above, below)] == [
        ("outer", "outer.test"),
        ("inner", "inner.test"),
    ]
    assert set(seen.values("seawall.call.duration", "seawall.client")) == {"outer", "inner"}


async def test_client_with_two_observers(stack, seen):
    """An application and a library may each add one: nothing is counted twice, and no attempt has two spans."""
    observers = [otel := seen.otel(), otel, seen.otel()]
    client = await stack.enter_async_context(seawall.AsyncClient(transport=ScriptedWire(200), observers=observers))
    with seen.caller():
        await client.get("http://api.test/")
    assert len(seen.spans) == 1
    assert seen.values("seawall.call.duration", "server.address") == {"api.test": 1}


async def test_engine_that_is_observed_later(stack, seen, caplog):
    """Calls that are in flight by then have no spans, and nothing is logged of them; later ones have."""
    wire = ScriptedWire((1.0, 503), (1.0, 200), 200)
    client = await stack.enter_async_context(
        seawall.AsyncClient(transport=wire, observers=[lambda event: None], retry=FAST, rng=FixedRandom())
    )
    task = asyncio.create_task(client.get("http://api.test/"))
    await asyncio.sleep(0.5)
    client.engine.observe(seen.otel())
    await task
    assert seen.spans == []
    await client.get("http://api.test/")
    assert [span.name for span in seen.attempts()] == ["GET"]
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


@pytest.mark.parametrize(("steps", "slow"), [((9.0, 0.1), 1), ((0.7, 9.0), 2)])
async def test_attempt_and_hedge_have_a_span_each_under_the_calls(stack, seen, steps, slow):
    """Each is told to its own server, and the one that lost isn't an error."""
    wire = ScriptedWire(*steps)
    hedge = seawall.Hedge(after=0.5, max_extra=1.0)
    client = await stack.enter_async_context(
        seawall.AsyncClient(transport=wire, observers=[seen.otel(spans="calls")], hedge=hedge)
    )
    with seen.caller():
        await client.get("http://api.test/")
    over = next(span for span in seen.spans if span.name == "seawall.call")
    one, two = sorted((span for span in seen.spans if span.name == "GET"), key=lambda span: span.start_time)
    assert parents([one, two]) == ids([over]) * 2
    assert [int(attempt.headers["traceparent"].split("-")[2], 16) for attempt in wire.attempts] == ids([one, two])
    assert [span.attributes.get("seawall.hedge") for span in (one, two)] == [None, True]
    lost, won = (one, two) if slow == 1 else (two, one)
    assert (lost.attributes.get("seawall.superseded"), won.attributes.get("seawall.superseded")) == (True, None)
    assert [span.status.status_code for span in (lost, won)] == [trace.StatusCode.UNSET] * 2
    assert "http.response.status_code" in won.attributes
    assert "error.type" not in lost.attributes
    assert not seen.open
    [(_, hedges)] = seen.points("seawall.hedges")
    assert hedges == 1
    assert not trace.get_current_span().get_span_context().is_valid
