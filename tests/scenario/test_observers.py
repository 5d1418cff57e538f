"""What observers hear, and the headers that they give to an attempt. On virtual time."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import pickle

import httpx
import pytest

import seawall
from seawall import events
from seawall.testing import Body, FixedRandom, ScriptedWire

pytestmark = pytest.mark.anyio

URL = "http://user:secret@api.test/path?token=secret"
ORIGIN = seawall.Origin("http", "api.test", 80)


class Observer:
    """Notes all, and gives each attempt a header."""

    def __init__(self) -> None:
        self.heard: list[events.Event] = []
        self.started: list[tuple[events.CallStarted, events.AttemptStarted]] = []

    def attempt_started(self, call: events.CallStarted, attempt: events.AttemptStarted) -> dict[str, str]:
        self.started.append((call, attempt))
        return {"traceparent": f"{call.call}-{attempt.number}"}

    def on(self, event: events.Event) -> None:
        self.heard.append(event)

    def of(self, *kinds: type) -> list[events.Event]:
        return [event for event in self.heard if isinstance(event, kinds)]


def client(wire: httpx.AsyncBaseTransport, *observers, **settings) -> seawall.AsyncClient:
    return seawall.AsyncClient(transport=wire, observers=observers, **{"rng": FixedRandom()} | settings)


async def test_each_attempt_has_headers_of_its_own():
    """On the copy that is sent: the caller's request is as it was, over retries and redirects."""
    observer = Observer()
    wire = ScriptedWire(503, httpx.Response(302, headers={"location": "/other"}), 200)
    async with client(wire, observer) as c:
        request = c.build_request("GET", URL)
        response = await c.send(request, follow_redirects=True)
    assert [sent.headers.get("traceparent") for sent in wire.attempts] == ["1-1", "1-2", "1-3"]
    assert "traceparent" not in request.headers
    assert "traceparent" not in response.request.headers
    call = events.CallStarted(1, "GET", ORIGIN, "/path")
    assert [each for each, _ in observer.started] == [call] * 3
    assert [(each.number, each.path, each.delay > 0) for _, each in observer.started] == [
        (1, "/path", False),
        (2, "/path", True),
        (3, "/other", False),
    ]


async def test_an_attempt_says_all_of_itself():
    """Number of the call, method, path without the query, status or class of the error; no secret is in any event."""
    observer = Observer()
    async with client(ScriptedWire(503, httpx.ReadError, 200), observer) as c:
        await c.get(URL)
        with pytest.raises(httpx.LocalProtocolError):
            await c.post(URL, content=spent())
    first, second, third, _ = observer.of(events.Attempt)
    assert first[:5] == (1, ORIGIN, "GET", "/path", 1)
    assert (first.status, first.error, first.outcome) == (503, None, "503")
    assert (second.status, second.error, second.outcome) == (None, "ReadError", "ReadError")
    assert (third.status, third.number, third.delay > 0) == (200, 3, True)
    assert "secret" not in repr(observer.heard)
    assert pickle.loads(pickle.dumps(observer.heard)) == observer.heard


async def spent():
    """A body that is not what its header says."""
    yield b"one"
    raise httpx.LocalProtocolError("the caller's own")


async def test_one_end_for_each_start():
    """Whatever ends a call: a response, an error, a cancellation, a URL that can't be called; and how long it took."""
    observer = Observer()
    async with client(ScriptedWire(200, (5.0, 200), httpx.ConnectError), observer, retry=None) as c:
        await c.get(URL)
        task = asyncio.create_task(c.get(URL))
        await asyncio.sleep(2.0)
        task.cancel()
        await asyncio.wait([task])
        for url in (URL, "ftp://api.test/", "http://api.test:0/"):
            with contextlib.suppress(httpx.HTTPError):
                await c.get(url)
        ghost = asyncio.create_task(c.get(URL))
        ghost.cancel()
        await asyncio.wait([ghost])
    starts, ends = observer.of(events.CallStarted), observer.of(events.CallEnded)
    assert [start.call for start in starts] == [end.call for end in ends] == [1, 2, 3, 4, 5]
    assert [(end.outcome, end.duration) for end in ends] == [
        ("200", 0.0),
        ("cancelled", 2.0),
        ("ConnectError", 0.0),
        ("ConnectError", 0.0),  # the inner transport is asked for any scheme
        ("ConnectError", 0.0),
    ]


async def test_stock_client_starts_and_ends_a_call_for_each_hop():
    """Also for a hop that can't be begun."""
    observer = Observer()
    transport = seawall.AsyncTransport(ScriptedWire(200), observers=[observer])
    async with httpx.AsyncClient(transport=transport) as c:
        await c.get(URL)
        with pytest.raises(ValueError, match="timeout"):
            await c.get(URL, timeout=-1)
    assert [type(event).__name__ for event in observer.heard if not isinstance(event, events.Attempt)] == [
        "CallStarted",
        "BodyEnded",  # in memory, so at once
        "CallEnded",
        "CallStarted",
        "CallEnded",
    ]


async def test_denied_retry_says_why():
    """Once, with a reason that code can read; and the totals count it."""
    observer = Observer()
    async with client(ScriptedWire(503), observer, retry=seawall.Retry(max_attempts=2)) as c:
        await c.get(URL)
        await c.post(URL)
        stats = c.stats()
    assert [(event.call, event.number, event.reason) for event in observer.of(events.RetryDenied)] == [
        (1, 3, events.Denied.MAX_ATTEMPTS),
        (2, 2, events.Denied.UNSAFE),
    ]
    assert stats.totals == (2, {"first": 2, "retry": 1, "hedge": 0}, {"max_attempts": 1, "unsafe": 1}, {})


async def test_pause_is_told_once():
    """When it begins, not for each answer that asks for no more."""
    observer = Observer()
    wire = ScriptedWire(httpx.Response(429, headers={"retry-after": "2"}), 200)
    async with client(wire, observer, retry=seawall.Retry(pause_origin=True)) as c:
        await c.get(URL)
    assert observer.of(events.OriginPaused) == [events.OriginPaused(ORIGIN, 2.0)]


async def test_each_event_of_a_call_names_method_and_path():
    """Of its own hop, and without the query; the last hop's at the end; attempts are counted over all hops."""
    observer = Observer()
    moved = httpx.Response(303, headers={"location": "/new?secret"})
    bulkhead = seawall.Bulkhead(max_concurrent=1, max_waiting=0)
    async with client(
        ScriptedWire(moved, 503, 503, Body(b"held", 1.0)),
        observer,
        bulkhead=bulkhead,
        retry=seawall.Retry(max_attempts=2),
    ) as c:
        await c.post("http://api.test/old?secret", follow_redirects=True)
        async with c.stream("GET", "http://api.test/held?secret"):
            with pytest.raises(seawall.errors.BulkheadFull):
                await c.get("http://api.test/full?secret")
    about = [
        (type(event).__name__, event.method, event.path)
        for kind in (events.RetryScheduled, events.RetryDenied, events.Rejected, events.BodyEnded, events.CallEnded)
        for event in observer.of(kind)
    ]
    assert about == [
        ("RetryScheduled", "GET", "/new"),
        ("RetryDenied", "GET", "/new"),
        ("Rejected", "GET", "/full"),
        ("BodyEnded", "GET", "/held"),
        ("CallEnded", "GET", "/new"),
        ("CallEnded", "GET", "/held"),
        ("CallEnded", "GET", "/full"),
    ]
    (scheduled,) = observer.of(events.RetryScheduled)
    assert (scheduled.number, scheduled.max_attempts) == (3, 3)


async def test_body_that_is_read_later_ends_later():
    """The attempt's event comes with the headers, the body's when it has ended."""
    observer = Observer()
    async with client(ScriptedWire(Body(1.0, b"a")), observer) as c, c.stream("GET", URL) as response:
        assert [type(event).__name__ for event in observer.heard] == ["CallStarted", "Attempt", "CallEnded"]
        await response.aread()
    (ended,) = observer.of(events.BodyEnded)
    assert (ended.call, ended.number, ended.duration, ended.outcome) == (1, 1, 1.0, "complete")


async def test_observer_that_raises_breaks_no_call(caplog):
    """It is logged; the others hear of the event, and give their headers."""

    class Broken(Observer):
        def on(self, event: events.Event) -> None:
            raise RuntimeError("broken")

        def attempt_started(self, call, attempt):
            raise RuntimeError("broken")

    observer, wire = Observer(), ScriptedWire(200)
    with caplog.at_level(logging.ERROR, "seawall"):
        async with client(wire, Broken(), observer) as c:
            assert (await c.get(URL)).status_code == 200
    assert wire.attempts[0].headers["traceparent"] == "1-1"
    assert len(observer.heard) == 3
    assert "broken" in caplog.text
    assert "secret" not in caplog.text


class Stop(BaseException):
    """Such as KeyboardInterrupt, which is nobody's to swallow."""


async def test_call_ends_though_its_start_was_cut_short():
    """What an observer raises that isn't an Exception is the caller's, and the call has an end all the same."""
    ends = []

    def stop(event: events.Event) -> None:
        if isinstance(event, events.CallStarted):
            raise Stop
        ends.append(event.outcome)

    async with client(ScriptedWire(200), stop) as c:
        with pytest.raises(Stop):
            await c.get(URL)
    assert ends == ["Stop"]


async def test_stats_show_limits_beside_levels():
    """Permits, budget, next probe; and what has been counted."""
    breaker = seawall.Breaker(min_calls=2, open_for=10.0)
    bulkhead = seawall.Bulkhead(max_concurrent=2)
    async with client(ScriptedWire(500), retry=None, breaker=breaker, bulkhead=bulkhead) as c:
        for _ in range(2):
            await c.get(URL)
        with pytest.raises(seawall.BreakerOpen):
            await c.get(URL)
        await asyncio.sleep(4.0)
        stats = c.stats()
    origin = stats.origins[ORIGIN]
    assert (origin.in_flight, origin.max_concurrent, origin.breaker) == (0, 2, "open")
    assert origin.next_probe == pytest.approx(6.0, abs=1.0)
    assert (origin.budget, origin.max_budget, origin.connections, origin.ejected) == (30.0, 30.0, 0, ())
    assert (stats.calls, stats.waiting, stats.totals.calls) == (0, 0, 3)
    assert stats.totals.rejected == {"breaker": 1}
    assert stats.max_connections > 0


@pytest.mark.parametrize("kind", ["client", "stock"])
@pytest.mark.parametrize(
    ("url", "origin", "path"),
    [
        ("/there?secret", None, "/there"),
        ("http:///there?secret", None, "/there"),
        ("http://u:secret@api.test:99999/there?secret", seawall.Origin("http", "api.test", 99999), "/there"),
    ],
)
async def test_start_of_a_call_to_an_impossible_url(kind, url, origin, path):
    """What there is of its origin and path is told, however the call is made; and then that it ended."""
    heard: list[events.Event] = []
    transport = seawall.AsyncTransport(observers=[heard.append])
    kinds = {"client": seawall.AsyncClient, "stock": httpx.AsyncClient}
    async with kinds[kind](transport=transport) as c:
        with pytest.raises(httpx.TransportError) as caught:
            await c.get(url)
    assert heard == [
        events.CallStarted(1, "GET", origin, path),
        events.CallEnded(1, None, "GET", path, 0, type(caught.value).__name__, "", 0.0),
    ]


async def test_an_observer_that_watches_is_given_the_engine():
    """Its `stats()` are those of the client, and it knows the client's name."""
    watched: list[seawall.Engine] = []

    class Watcher(Observer):
        def watch(self, engine: seawall.Engine) -> None:
            watched.append(engine)

    async with seawall.AsyncClient(observers=[Watcher()], name="orders") as c:
        assert watched == [c.engine]
        assert c.engine.name == "orders"
        assert watched[0].stats() == c.stats()
    assert seawall.Engine().name == ""


@pytest.mark.parametrize("name", [None, 7, b"orders", "two\nlines", "x" * 101])
async def test_a_name_that_is_no_label(name):
    """It is refused at once."""
    with pytest.raises(TypeError, match="name must be a str of at most 100 printable characters"):
        seawall.AsyncClient(name=name)


async def test_an_observer_that_comes_later():
    """It hears of calls that begin from then on, gives their attempts headers, and is given the engine."""

    class Watching(Observer):
        engine: object = None

        def watch(self, engine: object) -> None:
            self.engine = engine

    observer, wire = Watching(), ScriptedWire(200, 200)
    async with client(wire) as c:
        await c.get(URL)
        c.engine.observe(observer)
        await c.get(URL)
        assert observer.engine is c.engine
    assert [type(event) for event in observer.heard] == [events.CallStarted, events.Attempt, events.CallEnded]
    assert [sent.headers.get("traceparent") for sent in wire.attempts] == [None, "2-1"]


async def test_a_call_in_flight_when_an_observer_comes_is_not_told():
    """So that no observer hears of an end without its beginning."""
    heard: list[events.Event] = []
    async with client(ScriptedWire(Body(1.0, b"ok"))) as c, asyncio.TaskGroup() as group:
        group.create_task(c.get(URL))
        await asyncio.sleep(0.5)
        c.engine.observe(heard.append)
    assert heard == []


@pytest.mark.parametrize("bad", [1, None, Observer])
async def test_what_is_not_an_observer(bad):
    """A TypeError says so at once."""
    async with client(ScriptedWire(200)) as c:
        with pytest.raises(TypeError, match="observe"):
            c.engine.observe(bad)
