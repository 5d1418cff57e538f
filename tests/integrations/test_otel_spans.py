"""Spans of attempts and calls, as an SDK of OpenTelemetry gets them. Over real sockets, and each front."""

from __future__ import annotations

import asyncio
import gc
import itertools

import httpx
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode

import seawall
from seawall.integrations.otel import spans as module
from seawall.testing import Request, ScriptedWire
from seawall.testing.cancel import cancel_everywhere
from tests.integrations.seen import Seen, ids, parents

pytestmark = [pytest.mark.anyio, pytest.mark.each_front]

FAST = seawall.Retry(backoff=0.001, throttled_backoff=0.001)


def answers(*statuses: int):
    """A handler whose n-th request gets the n-th status; the last repeats."""
    left = list(statuses)

    async def handler(request: Request) -> None:
        await request.reply(left.pop(0) if len(left) > 1 else left[0], b"ok")

    return handler


@pytest.fixture
def seen():
    return Seen()


@pytest.fixture
async def observed(stack, seen):
    """The front's client, with an observer."""
    return await stack.enter_async_context(seawall.AsyncClient(observers=[seen.otel()], retry=FAST, name="orders"))


def sent_ids(server):
    """The parent that each request's traceparent names."""
    return [int(request.headers["traceparent"].split("-")[2], 16) for request in server.requests]


async def test_plain_call_has_one_span(observed, serve, seen):
    """A child of the caller's, with what the semantic conventions ask for; the server is told of it."""
    server = await serve(answers(200))
    with seen.caller() as caller:
        await observed.get(f"{server.url}/a?token=1")
        assert trace.get_current_span() is caller
    (span,) = seen.spans
    assert (span.name, span.kind, span.status.status_code) == ("GET", SpanKind.CLIENT, StatusCode.UNSET)
    assert dict(span.attributes) == {
        "http.request.method": "GET",
        "url.full": f"{server.url}/a",
        "server.address": "127.0.0.1",
        "server.port": server.port,
        "network.peer.address": "127.0.0.1",
        "network.peer.port": server.port,
        "network.protocol.version": "1.1",
        "http.response.status_code": 200,
        "seawall.dns.source": "literal",
        "seawall.client": "orders",
    }
    assert span.parent.span_id == caller.get_span_context().span_id
    assert sent_ids(server) == ids([span])


async def test_three_attempts_and_their_call(observed, serve, seen):
    """
    503, 503, 200: one span of the call and three of attempts, each known to its own request.

    The first attempt's was begun before anyone knew that a second one follows, so the call's links to it.
    """
    server = await serve(answers(503, 503, 200))
    with seen.caller() as caller:
        await observed.get(server.url)
    call, attempts, above = seen.one("seawall.call"), seen.attempts(), caller.get_span_context().span_id
    assert len(seen.spans) == 4
    assert call.kind is SpanKind.INTERNAL
    assert parents([call, *attempts]) == [above, above, *ids([call, call])]
    assert ids(call.links) == ids(attempts[:1])
    assert [span.attributes.get("http.request.resend_count") for span in attempts] == [None, 1, 2]
    assert [span.attributes.get("error.type") for span in attempts] == ["503", "503", None]
    assert [span.status.status_code.name for span in attempts] == ["ERROR", "ERROR", "UNSET"]
    assert sent_ids(server) == ids(attempts)
    assert dict(call.attributes) == {"seawall.attempts": 3, "seawall.outcome": "200", "seawall.client": "orders"}
    assert call.status.status_code is StatusCode.UNSET
    assert [(event.name, event.attributes["seawall.retry.reason"]) for event in call.events] == [
        ("seawall.retry", "503")
    ] * 2
    assert call.start_time <= attempts[0].start_time
    assert call.end_time >= attempts[-1].end_time
    for earlier, later in itertools.pairwise(attempts):
        assert earlier.end_time <= later.start_time


@pytest.mark.parametrize(("spans", "is_inside"), [("calls", True), ("calls", False), ("attempts", False)])
async def test_span_over_the_first_attempt_too(stack, serve, seen, spans, is_inside):
    """Where each call has a span, and where the call begins a trace, so that its attempts are one."""
    server = await serve(answers(503, 200))
    client = await stack.enter_async_context(seawall.AsyncClient(observers=[seen.otel(spans=spans)], retry=FAST))
    if is_inside:
        with seen.caller():
            await client.get(server.url)
    else:
        await client.get(server.url)
    call, attempts = seen.one("seawall.call"), seen.attempts()
    assert parents(attempts) == ids([call, call])
    assert call.links == ()
    assert len({span.context.trace_id for span in seen.spans}) == 1


async def test_redirect_is_a_resend(observed, serve, seen):
    """The attempt at the second hop counts as one, as in the semantic conventions."""

    async def handler(request: Request) -> None:
        if request.target == "/":
            await request.reply(302, location="/there")
        else:
            await request.reply(200)

    server = await serve(handler)
    with seen.caller():
        await observed.get(server.url, follow_redirects=True)
    first, second = seen.attempts()
    assert [first.attributes["url.full"], second.attributes["url.full"]] == [f"{server.url}/", f"{server.url}/there"]
    assert second.attributes["http.request.resend_count"] == 1
    assert sent_ids(server) == ids([first, second])


async def test_retry_that_is_denied_is_told_to_the_attempt(observed, serve, seen):
    """A POST that failed has one span, which says why no attempt followed."""
    server = await serve(answers(503))
    with seen.caller():
        await observed.post(server.url)
    (span,) = seen.spans
    (event,) = (event for event in span.events if event.name == "seawall.retry.denied")
    assert event.attributes["seawall.retry.denied"] == "unsafe"
    assert span.attributes["error.type"] == "503"


async def test_refused_dial(observed, seen):
    """Each dial is an event, with the address and the system's error."""
    with seen.caller(), pytest.raises(httpx.ConnectError):
        await observed.get("http://127.0.0.1:1/")
    first = seen.attempts()[0]
    assert first.attributes["error.type"] == "DialError"
    assert first.attributes["seawall.phase"] == "connecting"
    assert "connection refused" in first.status.description
    (event,) = first.events
    assert (event.name, event.attributes["network.peer.address"], event.attributes["seawall.outcome"]) == (
        "seawall.dial",
        "127.0.0.1",
        "connection refused",
    )
    assert seen.one("seawall.call").attributes["error.type"] == "DialError"


async def test_call_without_an_attempt_has_a_span(observed, seen):
    """Its deadline had passed before it could make one."""
    with seen.caller() as caller, pytest.raises(seawall.DeadlineExceeded):
        await observed.get("http://api.test/", extensions=seawall.options(deadline=1e-9))
    (span,) = seen.spans
    assert (span.name, span.attributes["error.type"]) == ("seawall.call", "DeadlineExceeded")
    assert span.parent.span_id == caller.get_span_context().span_id


async def test_deadline_that_strikes_is_told_apart_from_a_cancellation(observed, serve, seen):
    """Both cancel the attempt; only the call's end says which it was."""

    async def hang(request: Request) -> None:
        await request.hang()

    server = await serve(hang)
    with seen.caller():
        with pytest.raises(seawall.DeadlineExceeded):
            await observed.get(server.url, extensions=seawall.options(deadline=0.05))
        task = asyncio.create_task(observed.get(server.url))
        while len(server.requests) < 2:
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
    assert [span.attributes["error.type"] for span in seen.attempts()] == ["DeadlineExceeded", "cancelled"]


async def test_streamed_body_that_breaks_off_has_a_span(observed, serve, seen):
    """The attempt's span has ended with the headers; a body that is whole has none of its own."""
    cut = True

    async def handler(request: Request) -> None:
        if cut:
            await request.send(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nabc")
            request.close()
        else:
            await request.reply(200, b"whole")

    server = await serve(handler)
    with seen.caller() as caller:
        with pytest.raises(httpx.RemoteProtocolError):
            async with observed.stream("GET", f"{server.url}/s") as response:
                await response.aread()
        cut = False
        async with observed.stream("GET", f"{server.url}/s") as response:
            await response.aread()
    body = seen.one("seawall.body")
    assert body.attributes["error.type"] == "BadAnswer"
    assert body.attributes["url.full"] == f"{server.url}/s"
    assert body.parent.span_id == caller.get_span_context().span_id
    assert [span.attributes.get("error.type") for span in seen.attempts()] == [None, None]


async def test_no_spans(stack, serve, seen):
    """With spans=None neither spans nor headers, and no attempt is told to the observer."""
    server = await serve(answers(503, 200))
    client = await stack.enter_async_context(seawall.AsyncClient(observers=[seen.otel(spans=None)], retry=FAST))
    await client.get(server.url)
    assert seen.spans == []
    assert "traceparent" not in server.requests[0].headers
    assert not client.engine.layers._emitter.has_starters
    assert seen.values("http.client.request.duration", "error.type") == {"503": 1, None: 1}


async def test_trace_that_is_not_sampled_is_propagated(stack, serve):
    """The server is told so, by a flag."""
    seen = Seen(ALWAYS_OFF)
    server = await serve(answers(503, 200))
    client = await stack.enter_async_context(seawall.AsyncClient(observers=[seen.otel()], retry=FAST))
    with seen.caller():
        await client.get(server.url)
    assert seen.spans == []
    flags = [int(request.headers["traceparent"].split("-")[3], 16) for request in server.requests]
    assert [flag & 1 for flag in flags] == [0, 0]


@pytest.mark.parametrize(
    "settings",
    [
        {"spans": True},
        {"spans": "all"},
        {"propagate_to": "api.test"},
        {"propagate_to": 5},
        {"propagate_to": ["http://a"]},
    ],
)
def test_settings_that_cannot_be(settings):
    """Are refused with their names."""
    with pytest.raises((TypeError, ValueError), match=next(iter(settings))):
        Seen().otel(**settings)


async def test_each_span_ends_wherever_a_call_is_cancelled(stack, serve, seen):
    """From the dial to the body, over a retry; none stays in the task's context, and a cancelled attempt says so."""
    statuses = itertools.cycle([503, 200])

    async def handler(request: Request) -> None:
        await request.reply(next(statuses), b"ok")

    server = await serve(handler)
    at_once = seawall.Retry(backoff=0, throttled_backoff=0)
    client = await stack.enter_async_context(
        seawall.AsyncClient(observers=[seen.otel()], retry=at_once, breaker=None, budget=None)
    )

    async def call() -> None:
        try:
            await client.get(server.url)
        finally:
            assert not trace.get_current_span().get_span_context().is_valid

    def clean() -> None:
        assert seen.open == set()

    assert await cancel_everywhere(call, after=clean) > 3
    assert "cancelled" in {span.attributes.get("error.type") for span in seen.attempts()}


async def test_nothing_is_left_of_calls(observed, serve, seen):
    """After 300 calls, good, failed, cancelled and streamed, no state of any call is held."""
    server = await serve(answers(200))
    wire = ScriptedWire(503, httpx.ConnectError("refused"), 200)
    async with seawall.AsyncClient(transport=wire, observers=[seen.otel()], retry=FAST, breaker=None) as other:
        for number in range(100):
            await observed.get(server.url)
            async with observed.stream("GET", server.url) as response:
                if number % 2:
                    await response.aread()
            wire.script(503, httpx.ConnectError("refused"), 200)
            await other.get("http://api.test/")
            task = asyncio.create_task(observed.get(server.url))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
    del task, response
    gc.collect()
    assert [each for each in gc.get_objects() if isinstance(each, module._Call | module._Failed)] == []


async def test_secrets_are_in_no_attribute(stack, serve, seen):
    """Userinfo, query values, Authorization and cookies: neither from requests, redirects nor errors."""
    secrets = {name: f"secret-{name}" for name in ("user", "password", "query", "auth", "cookie", "location", "error")}

    class Broken(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            raise RuntimeError(f"can't send to {request.url} {secrets['error']}")

    class Refused(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            raise httpx.ReadError(f"{request.url} {secrets['error']}")

    async def handler(request: Request) -> None:
        if request.target.startswith("/a"):
            await request.reply(302, location=f"/b?token={secrets['location']}#{secrets['location']}")
        elif request.target.startswith("/cut"):
            await request.send(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n" + secrets["error"].encode())
            request.close()
        else:
            await request.reply(503, secrets["error"].encode())

    server = await serve(handler)
    headers = {"authorization": f"Bearer {secrets['auth']}", "cookie": f"a={secrets['cookie']}"}
    site = f"http://{secrets['user']}:{secrets['password']}@127.0.0.1:{server.port}"
    otel = seen.otel(spans="calls")
    client = await stack.enter_async_context(
        seawall.AsyncClient(observers=[otel], retry=FAST, headers=headers, follow_redirects=True)
    )
    for path in ("/a", "/cut", "/bad"):
        try:
            await client.get(f"{site}{path}?token={secrets['query']}#{secrets['query']}")
        except httpx.HTTPError:
            pass
    with pytest.raises(httpx.HTTPError):
        async with client.stream("GET", f"{site}/cut?token={secrets['query']}") as response:
            await response.aread()
    with pytest.raises((httpx.HTTPError, httpx.InvalidURL)):
        await client.get(f"ftp://{secrets['user']}:{secrets['password']}@a.test/?{secrets['query']}")

    class Late(httpx.AsyncBaseTransport):  # its error has the name of one of ours, whose text is told
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            raise httpx.ReadTimeout(f"late: {request.url}")

    for transport, error in ((Broken(), RuntimeError), (Refused(), httpx.ReadError), (Late(), httpx.ReadTimeout)):
        async with seawall.AsyncClient(transport=transport, observers=[otel], retry=None, headers=headers) as other:
            with pytest.raises(error):
                await other.get(f"{site}/?token={secrets['query']}")
    text = seen.everything()
    assert f"{server.url}/cut" in text
    assert "BadAnswer" in text
    assert [name for name, value in secrets.items() if value in text] == []


async def test_start_of_a_span_is_that_of_its_attempt(stack, serve, seen):
    """Queueing included; and its end is that of the attempt."""
    free = asyncio.Event()

    async def handler(request: Request) -> None:
        await free.wait()
        await request.reply(200)

    server = await serve(handler)
    bulkhead = seawall.Bulkhead(max_concurrent=1)
    client = await stack.enter_async_context(seawall.AsyncClient(observers=[seen.otel()], bulkhead=bulkhead))
    with seen.caller():
        calls = [asyncio.create_task(client.get(server.url)) for _ in range(2)]
        while [of.waiting for of in client.stats().origins.values()] != [1]:
            await asyncio.sleep(0)
        free.set()
        await asyncio.wait(calls)
    last = max(seen.attempts(), key=lambda span: span.end_time)
    (attempt,) = seawall.history(calls[1].result())
    assert (last.end_time - last.start_time) / 1e9 >= dict(attempt.queued)["bulkhead"] > 0
    assert [event.attributes["seawall.wait.for"] for event in last.events] == ["bulkhead"]
