"""Metrics of calls, attempts and levels, as an SDK of OpenTelemetry collects them. Over each front."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref

import httpx
import pytest

import seawall
from seawall.integrations import _engines
from seawall.integrations.otel import names
from seawall.testing import FaultServer, Request, ScriptedWire
from seawall.testing.dns import Name
from tests.books import Books
from tests.integrations.seen import Seen

pytestmark = [pytest.mark.anyio, pytest.mark.each_front]

REQUESTS = "http.client.request.duration"
CALLS = "seawall.call.duration"


@pytest.fixture
def seen():
    return Seen()


async def test_each_failure_has_an_error_type_of_its_own(stack, dns, seen):
    """
    In the histogram of attempts, which has all of them; contrib's has none of them.

    Refused, DNS, TLS, read timeout, breaker, bulkhead, limit, deadline, cancellation; a status; and a good answer.
    """
    dns.zone["api.test"] = Name(a=("127.0.0.1",))
    server = await stack.enter_async_context(FaultServer())
    per_host = {
        "broken.test": seawall.Policy(breaker=seawall.Breaker()),
        "full.test": seawall.Policy(bulkhead=seawall.Bulkhead(max_concurrent=1, max_waiting=0)),
        "slow.test": seawall.Policy(limit=seawall.Limit(rate=0.001, burst=1)),
    }
    for name in (*per_host, "api.test"):
        dns.zone[name] = Name(a=("127.0.0.1",))
    client = await stack.enter_async_context(
        seawall.AsyncClient(
            observers=[seen.otel()], retry=None, dns=seawall.DNS(nameservers=(dns.address,)), per_host=per_host
        )
    )
    port, url = server.port, server.url
    client.breakers[f"http://broken.test:{port}"].force_open()
    tls = server.listen("tls:self_signed")

    async def fails(error, target, **arguments):
        with pytest.raises(error):
            await client.get(target, **arguments)

    await client.get(f"{url}/x/ok")
    await client.get(f"{url}/x/404")
    await fails(httpx.ConnectError, "http://127.0.0.1:1/")
    await fails(httpx.ConnectError, f"http://nowhere.test:{port}/")
    await fails(httpx.ConnectError, tls.url)
    await fails(httpx.ReadTimeout, f"{url}/x/hang", timeout=httpx.Timeout(5, read=0.02))
    await fails(seawall.BreakerOpen, f"http://broken.test:{port}/x/ok")
    holder = asyncio.create_task(client.get(f"http://full.test:{port}/x/hang"))
    while not any(of.in_flight for origin, of in client.stats().origins.items() if origin.host == "full.test"):
        await asyncio.sleep(0)
    await fails(seawall.BulkheadFull, f"http://full.test:{port}/x/ok")
    holder.cancel()
    await asyncio.wait([holder])
    await client.get(f"http://slow.test:{port}/x/ok")
    await fails(seawall.LimitExceeded, f"http://slow.test:{port}/x/ok", timeout=httpx.Timeout(5, pool=0.01))
    await fails(
        seawall.DeadlineExceeded, f"{url}/x/hang", extensions=seawall.options(deadline=0.02), timeout=httpx.Timeout(30)
    )
    errors = {
        "404": 1,
        "DialError": 1,
        "NameNotFound": 1,
        "CertificateError": 1,
        "ReadTimeout": 1,
        "BreakerOpen": 1,
        "BulkheadFull": 1,
        "LimitExceeded": 1,
        "DeadlineExceeded": 1,
        "cancelled": 1,
        None: 2,
    }
    assert seen.values(REQUESTS, "error.type") == errors
    assert seen.values(CALLS, "error.type") == errors
    assert seen.values("seawall.rejections", "seawall.gate") == {"breaker": 1, "bulkhead": 1, "limit": 1}
    assert seen.values("seawall.dns.lookup.duration", "error.type")["NameNotFound"] == 1


async def test_series_of_a_plain_call(stack, seen):
    """What the semantic conventions ask for, with the client's name beside it."""
    client = await stack.enter_async_context(
        seawall.AsyncClient(transport=ScriptedWire(200), observers=[seen.otel()], name="orders")
    )
    for _ in range(3):
        await client.get("http://api.test/a?b=c")
    server = {"server.address": "api.test", "http.request.method": "GET", "http.response.status_code": 200}
    ours = {"seawall.client": "orders"}
    ((attributes, count),) = seen.points(REQUESTS)
    version = attributes.pop("network.protocol.version", None)
    assert (attributes, count) == (server | ours | {"server.port": 80}, 3)
    assert version in (None, "1.1")
    assert seen.points(CALLS) == [(server | ours, 3)]


async def test_call_that_was_retried(stack, seen):
    """It is one call and three attempts; the retries have their reasons, and the call says that it was retried."""
    wire = ScriptedWire(503, httpx.ReadTimeout("slow"), 200, 503, 503, 503)
    retry = seawall.Retry(backoff=0.001, throttled_backoff=0.001)
    client = await stack.enter_async_context(
        seawall.AsyncClient(transport=wire, observers=[seen.otel()], retry=retry, breaker=None)
    )
    await client.get("http://api.test/")
    await client.get("http://api.test/")
    assert seen.values(REQUESTS, "error.type") == {"503": 4, "ReadTimeout": 1, None: 1}
    assert seen.values(CALLS, "seawall.retried") == {True: 2}
    assert seen.values(CALLS, "error.type") == {None: 1, "503": 1}
    assert seen.values("seawall.retries", "seawall.retry.reason") == {"503": 3, "ReadTimeout": 1}
    assert seen.values("seawall.retries.denied", "seawall.retry.denied") == {"max_attempts": 1}
    assert seen.values("seawall.wait.duration", "seawall.wait.for")["backoff"] == 4


async def test_streamed_bodies(stack, serve, seen):
    """One that is whole, one that its reader left, and one that broke off."""

    async def handler(request: Request) -> None:
        await request.send(
            b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n" + b"x" * (1000 if "whole" in request.target else 9)
        )
        if "cut" in request.target:
            request.close()
        elif "left" in request.target:
            await request.hang()

    server = await serve(handler)
    client = await stack.enter_async_context(seawall.AsyncClient(observers=[seen.otel()]))
    async with client.stream("GET", f"{server.url}/whole") as response:
        await response.aread()
    async with client.stream("GET", f"{server.url}/left"):
        pass
    with pytest.raises(httpx.RemoteProtocolError):
        async with client.stream("GET", f"{server.url}/cut") as response:
            await response.aread()
    assert seen.values("seawall.body.duration", "seawall.body.end") == {"complete": 1, "closed": 1, "failed": 1}
    assert seen.values("seawall.body.duration", "error.type") == {None: 2, "BadAnswer": 1}
    assert seen.values(REQUESTS, "error.type") == {None: 3}


async def test_method_that_no_rfc_names(stack, seen):
    """Is `_OTHER`, in spans with what was sent."""
    client = await stack.enter_async_context(seawall.AsyncClient(transport=ScriptedWire(200), observers=[seen.otel()]))
    for method in ("PURGE", "LINK", "QUERY"):
        await client.request(method, "http://api.test/")
    assert seen.values(REQUESTS, "http.request.method") == {"_OTHER": 2, "QUERY": 1}
    assert [(span.name, span.attributes.get("http.request.method_original")) for span in seen.attempts()] == [
        ("HTTP", "PURGE"),
        ("HTTP", "LINK"),
        ("QUERY", None),
    ]


async def test_statuses_that_http_does_not_name(stack, seen):
    """The first 20 keep their names; an upstream that sends any gets no more; the rest is counted."""
    retry, statuses = seawall.Retry(statuses=frozenset({584}), backoff=0), [*range(560, 585), 404]
    client = await stack.enter_async_context(
        seawall.AsyncClient(transport=ScriptedWire(*statuses), observers=[seen.otel()], breaker=None, retry=retry)
    )
    for _ in range(25):
        await client.get("http://api.test/")
    counts = dict.fromkeys((*range(560, 580), 404), 1)
    for metric, rest in ((REQUESTS, 5), (CALLS, 4)):
        assert seen.values(metric, "http.response.status_code") == counts | {None: rest}
        assert seen.values(metric, "error.type") == {str(status): 1 for status in counts} | {"_OTHER": rest}
    assert seen.values("seawall.retries", "seawall.retry.reason") == {"_OTHER": 1}


async def test_levels(stack, serve, seen):
    """Are read from all clients of a meter provider, each apart by name, whichever observer they have."""
    arrived, free = asyncio.Event(), asyncio.Event()

    async def handler(request: Request) -> None:
        arrived.set()
        await free.wait()
        await request.reply(200)

    server = await serve(handler)
    one = seawall.Bulkhead(max_concurrent=1)
    clients = [
        await stack.enter_async_context(seawall.AsyncClient(observers=[seen.otel()], name=name, bulkhead=one))
        for name in ("a", "b")
    ]
    tasks = [asyncio.create_task(client.get(server.url)) for client in clients for _ in range(2)]
    await arrived.wait()
    while sum(of.waiting for client in clients for of in client.stats().origins.values()) < 2:
        await asyncio.sleep(0)
    assert seen.values("seawall.calls.in_flight", "seawall.client") == {"a": 2, "b": 2}
    assert seen.values("seawall.bulkhead.in_flight", "seawall.client") == {"a": 1, "b": 1}
    assert seen.values("seawall.bulkhead.waiting", "seawall.client") == {"a": 1, "b": 1}
    assert seen.values("http.client.open_connections", "http.connection.state") == {"idle": 0, "active": 2}
    assert seen.values("seawall.breaker.state", "seawall.breaker.state")["closed"] == 2
    assert seen.values("seawall.budget.max", "server.address") == {"127.0.0.1": 60}
    free.set()
    await asyncio.wait(tasks)


async def test_levels_are_read_from_another_thread(stack, seen):
    """As an exporter's: but in the loop's own, because calls change what is read. A closed client has none."""
    client = await stack.enter_async_context(seawall.AsyncClient(transport=ScriptedWire(200), observers=[seen.otel()]))
    await client.get("http://api.test/")
    threads = []
    stats = client.engine.stats

    def noted():
        threads.append(threading.current_thread())
        return stats()

    client.engine.stats = noted
    found = await asyncio.to_thread(seen.values, "seawall.calls.in_flight", "seawall.client")
    assert found == {None: 0}
    assert set(threads) == {threading.main_thread()}
    await client.aclose()
    assert seen.values("seawall.calls.in_flight", "seawall.client") == {}


async def test_a_client_is_made_while_another_thread_collects(stack, seen, monkeypatch):
    """The collection waits for the event loop, so nothing that the loop's thread wants may wait for the collection."""
    monkeypatch.setattr(_engines, "PATIENCE", 10.0)
    otel = seen.otel()
    client = await stack.enter_async_context(seawall.AsyncClient(transport=ScriptedWire(200), observers=[otel]))
    await client.get("http://api.test/")
    asked, loop = threading.Event(), asyncio.get_running_loop()
    call_soon = loop.call_soon_threadsafe

    def noted(*what, **how):
        handle = call_soon(*what, **how)
        asked.set()
        return handle

    monkeypatch.setattr(loop, "call_soon_threadsafe", noted)
    found: list[dict] = []
    collecting = threading.Thread(target=lambda: found.append(seen.values("seawall.calls.in_flight", "seawall.client")))
    collecting.start()
    asked.wait()
    await stack.enter_async_context(seawall.AsyncClient(transport=ScriptedWire(200), observers=[otel]))
    await asyncio.to_thread(collecting.join)
    assert found == [{None: 0}]


async def test_engine_is_not_kept_alive(seen):
    """Neither by the observer nor by the SDK."""
    otel = seen.otel()
    async with seawall.AsyncClient(transport=ScriptedWire(200), observers=[otel]) as client:
        await client.get("http://api.test/")
        engine = weakref.ref(client.engine)
    assert seen.values("seawall.calls.in_flight", "seawall.client") == {}
    del client
    gc.collect()
    assert engine() is None


async def test_breaker_that_opens_is_counted(stack, seen):
    """From which state to which."""
    breaker = seawall.Breaker(min_calls=1)
    client = await stack.enter_async_context(
        seawall.AsyncClient(
            transport=ScriptedWire(500), observers=[seen.otel()], retry=None, breaker=breaker, bulkhead=None
        )
    )
    while client.stats().origins == {} or next(iter(client.stats().origins.values())).breaker == "closed":
        await client.get("http://api.test/")
    ((attributes, count),) = seen.points("seawall.breaker.transitions")
    assert (attributes["seawall.breaker.previous"], attributes["seawall.breaker.state"], count) == ("closed", "open", 1)
    assert seen.values("seawall.breaker.state", "seawall.breaker.state")["open"] == 1
    assert seen.points("seawall.bulkhead.limit") == []


async def test_limit_that_is_shared_no_longer_is_counted(stack, seen):
    """Once for each outage of its store."""
    store = Books()
    store.error = ConnectionRefusedError("nobody listens")
    bulkhead = seawall.Bulkhead(shared=store)
    client = await stack.enter_async_context(
        seawall.AsyncClient(transport=ScriptedWire(200), observers=[seen.otel()], bulkhead=bulkhead)
    )
    for _ in range(2):
        await client.get("http://api.test/")
    assert seen.values("seawall.limit.degradations", "server.address") == {"api.test": 1}


async def test_buckets_are_those_of_the_conventions(stack, seen):
    """An application that sets no view gets them."""
    client = await stack.enter_async_context(seawall.AsyncClient(transport=ScriptedWire(200), observers=[seen.otel()]))
    await client.get("http://api.test/")
    assert seen.buckets(REQUESTS) == (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
    assert seen.buckets(CALLS)[-1] == 60


async def test_all_that_is_measured_is_in_the_table(stack, serve, seen):
    """Each metric and attribute that clients give is one that the reference names."""

    async def handler(request: Request) -> None:
        await request.reply(503)

    server = await serve(handler)
    client = await stack.enter_async_context(
        seawall.AsyncClient(
            observers=[seen.otel()], name="a", retry=seawall.Retry(backoff=0.001, throttled_backoff=0.001)
        )
    )
    await client.get(server.url)
    with pytest.raises(httpx.ConnectError):
        await client.get("http://127.0.0.1:1/")
    known = {metric.name: metric for metric in names.METRICS}
    found = seen.metrics()
    assert {metric.name for metric in found} <= known.keys()
    assert len(found) > 15
    for metric in found:
        assert (metric.unit, metric.description) == (known[metric.name].unit, known[metric.name].text)
        for point in metric.data.data_points:
            assert set(point.attributes) <= {*known[metric.name].attributes, names.CLIENT}
    for span in seen.spans:
        attributes, events = names.SPANS["{method}" if span.kind.name == "CLIENT" else span.name][2], names.SPAN_EVENTS
        assert set(span.attributes) <= set(attributes)
        assert all(set(event.attributes) <= set(events[event.name][1]) for event in span.events)
    assert {name for metric in names.METRICS for name in metric.attributes} <= names.ATTRIBUTES.keys()
