"""A whole client on the virtual clock, over a scripted transport: what happens, and at which instant exactly."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator
from functools import partial

import httpx
import pytest
import tenacity

import seawall
from seawall.policy import outcome
from seawall.policy.retry_after import parse_retry_after
from seawall.testing import Body, ScriptedWire
from seawall.testing.chance import FixedRandom
from seawall.testing.clock import VIRTUAL

pytestmark = pytest.mark.anyio

URL = "http://api.test/"


@pytest.fixture
def anyio_backend():
    return VIRTUAL


def now() -> float:
    return round(asyncio.get_running_loop().time(), 9)


def client(wire: httpx.AsyncBaseTransport, **settings) -> seawall.AsyncClient:
    """Each delay of a retry is its upper bound."""
    settings.setdefault("rng", FixedRandom())
    return seawall.AsyncClient(transport=wire, **settings)


def later(status: int, retry_after: str) -> httpx.Response:
    return httpx.Response(status, headers={"retry-after": retry_after})


async def test_backoff_at_its_bounds():
    """100 ms, then 200 ms; the last answer is returned."""
    wire = ScriptedWire(500)
    async with client(wire) as c:
        response = await c.get(URL)
    assert response.status_code == 500
    assert wire.instants == [0.0, 0.1, 0.3]
    assert response.extensions["seawall"].note == "max_attempts=3 reached"


async def test_throttled_backoff():
    """After 429 and 503, from 1 s on."""
    wire = ScriptedWire(503, 429, 200)
    async with client(wire) as c:
        await c.get(URL)
    assert wire.instants == [0.0, 1.0, 3.0]


@pytest.mark.parametrize(
    ("value", "second"),
    [("5", 5.5), ("0", 1.0), ("Thu, 01 Jan 1970 00:00:10 GMT", 11.0), ("rubbish", 1.0)],
)
async def test_retry_after_is_waited_for(value, second, monkeypatch):
    """Seconds or a date, with up to 10 % on top; garbage is ignored."""
    wire = ScriptedWire(later(503, value), 200)
    monkeypatch.setattr(outcome, "parse_retry_after", partial(parse_retry_after, wall=lambda: 0.0))
    async with client(wire) as c:
        await c.get(URL)
    assert wire.instants == [0.0, second]


async def test_retry_after_at_its_bound_is_waited_for():
    """30 s are not over max_retry_after=30."""
    wire = ScriptedWire(later(503, "30"), 200)
    async with client(wire, deadline=None) as c:
        await c.get(URL)
    assert wire.instants == [0.0, 33.0]


@pytest.mark.parametrize("value", ["31", "86400"])
async def test_retry_after_that_is_too_long(value):
    """The answer comes back at once, saying why."""
    wire = ScriptedWire(later(503, value))
    async with client(wire) as c:
        response = await c.get(URL)
    assert (response.status_code, wire.instants, now()) == (503, [0.0], 0.0)
    assert "Retry-After" in response.extensions["seawall"].note


async def test_retry_that_cannot_finish_is_not_begun():
    """Retry-After of 20 s and a deadline of 10: the answer now."""
    wire = ScriptedWire(later(503, "20"))
    async with client(wire, deadline=10.0) as c:
        response = await c.get(URL)
    assert (response.status_code, now()) == (503, 0.0)
    assert "deadline" in response.extensions["seawall"].note


async def test_retry_that_can_no_longer_finish_is_not_begun():
    """1 s to wait, and half a second left."""
    async with client(ScriptedWire((6.0, 503)), deadline=6.5) as c:
        response = await c.get(URL)
    assert (response.status_code, now()) == (503, 6.0)


@pytest.mark.parametrize(("slow_call", "state"), [(3.0, "open"), (3.1, "closed")])
async def test_wait_for_a_permit_makes_no_call_slow(slow_call, state):
    """3 s each, of which the second waited for as long before."""
    breaker = seawall.Breaker(slow_call=slow_call, slow_rate=1.0, min_calls=2)
    async with client(ScriptedWire((3.0, 200)), bulkhead=seawall.Bulkhead(max_concurrent=1), breaker=breaker) as c:
        await asyncio.sleep(1.0)
        await asyncio.gather(c.get(URL), c.get(URL))
        assert now() == 7.0
        assert c.breakers[URL].state == state


async def test_deadline_ends_an_attempt():
    """At the instant, not later; the error says where it was, and holds the attempts."""
    wire = ScriptedWire(500, 60.0)
    async with client(wire, deadline=2.0) as c:
        with pytest.raises(seawall.DeadlineExceeded, match="deadline of 2 s exceeded after 2 s") as caught:
            await c.get(URL)
        assert now() == 2.0
        assert [attempt.outcome for attempt in caught.value.attempts] == ["500", "cancelled"]
        assert isinstance(caught.value, httpx.TimeoutException)


async def test_deadline_from_the_timeouts():
    """(connect + read) x max_attempts where nobody set one: 30 s at httpx's 5 s each."""
    async with client(ScriptedWire(100.0)) as c:
        with pytest.raises(seawall.DeadlineExceeded, match="deadline from the timeouts of 30 s"):
            await c.get(URL)
        assert now() == 30.0
        with pytest.raises(seawall.DeadlineExceeded):
            await c.get(URL, timeout=httpx.Timeout(1.0), extensions=seawall.options(retry=None))
        assert now() == 32.0


async def test_no_deadline_where_a_timeout_is_off():
    """timeout=None means: as long as it takes."""
    async with client(ScriptedWire(1000.0)) as c:
        assert (await c.get(URL, timeout=None)).status_code == 200
    assert now() == 1000.0


async def test_healthy_download_may_pass_the_derived_deadline():
    """60 s at 100 kB/s: nobody set a deadline, and it comes in."""
    wire = ScriptedWire(Body(*[1.0, b"x" * 100_000] * 60))
    async with client(wire) as c:
        assert len((await c.get(URL)).content) == 6_000_000
    assert now() == 60.0


async def test_healthy_upload_may_pass_the_derived_deadline():
    """60 parts, one a second: the time that the caller takes to make them is not the server's."""

    async def parts() -> AsyncIterator[bytes]:
        for _ in range(60):
            await asyncio.sleep(1.0)
            yield b"x"

    wire = ScriptedWire(lambda request: httpx.Response(200, content=request.content))
    async with client(wire) as c:
        assert len((await c.put(URL, content=parts())).content) == 60
        assert now() == 60.0
        with pytest.raises(seawall.DeadlineExceeded):
            await c.put(URL, content=parts(), extensions=seawall.options(deadline=20.0))
        assert now() == 80.0


async def test_drip_may_not():
    """A byte a second ends with the derived deadline, and the second that a KiB buys."""
    wire = ScriptedWire(Body(*[1.0, b"x"] * 3600))
    async with client(wire) as c:
        with pytest.raises(seawall.DeadlineExceeded):
            await c.get(URL)
        assert 30.0 <= now() < 31.0


async def test_explicit_deadline_holds_for_healthy_downloads_too():
    """Whoever sets one means it."""
    wire = ScriptedWire(Body(*[1.0, b"x" * 100_000] * 60))
    async with client(wire, deadline=20.0) as c:
        with pytest.raises(seawall.DeadlineExceeded):
            await c.get(URL)
        assert now() == 20.0


async def test_stream_is_bounded_up_to_its_headers():
    """A streamed body takes the time that its reader gives it."""
    wire = ScriptedWire(Body(*[1.0, b"x" * 10] * 60))
    async with client(wire, deadline=2.0) as c, c.stream("GET", URL) as response:
        assert len(await response.aread()) == 600
    assert now() == 60.0


async def test_budget_bounds_retries():
    """At 100 % failure: attempts <= 1.1 x calls + 1/s x time + 30; then the real answer, with a note."""
    wire = ScriptedWire(500)
    async with client(wire, breaker=None, retry=seawall.Retry(backoff=0)) as c:
        responses = [await c.get(URL) for _ in range(200)]
    assert 1.1 * 200 + 30 - 2 <= len(wire.instants) <= 1.1 * 200 + 30
    assert responses[-1].status_code == 500
    note = "the origin's retry budget is empty; raise Budget.rate, Budget.ratio or Budget.max_balance"
    assert responses[-1].extensions["seawall"].note == note


@pytest.mark.parametrize("outage", [8.0, 10.0, 12.0, 20.0, 30.0, 60.0, 600.0])
async def test_end_of_an_outage_is_noticed(outage):
    """Within 1.5 s, however long it was, at 20 calls a second (4 midway); and hardly any reached it meanwhile."""

    def upstream(request: httpx.Request) -> int:
        return 503 if now() < outage else 200

    wire = ScriptedWire(upstream)
    async with client(wire) as c:
        while now() < outage + 1.5:
            with contextlib.suppress(seawall.BreakerOpen):
                await c.get(URL)
            await asyncio.sleep(0.05 if now() < 60.0 or now() > outage - 60.0 else 0.25)
        asked = sum(at < outage for at in wire.instants)
        assert asked <= 20 * 0.2 + 40 + 3 * outage
        responses = [await c.get(URL) for _ in range(40)]
    assert {response.status_code for response in responses} == {200}


async def test_breaker_opens_and_closes(caplog):
    """20 failures open it; for 1 s (here 1.1) nobody is asked; three good probes close it."""
    wire = ScriptedWire(*[500] * 20, 200)
    moves = []

    def listener(event: seawall.events.Event) -> None:
        if isinstance(event, seawall.events.BreakerMoved):
            moves.append((now(), event.state))

    async with client(wire, retry=None, observers=[listener]) as c:
        for _ in range(20):
            await c.get(URL)
        with (
            caplog.at_level(logging.WARNING, "seawall"),
            pytest.raises(httpx.ConnectError, match=r"next probe in 1\.1 s"),
        ):
            await c.get(URL)
        await asyncio.sleep(1.2)
        for _ in range(4):
            assert (await c.get(URL)).status_code == 200
    assert moves == [(0.0, "open"), (1.2, "half-open"), (1.2, "closed")]
    assert len(wire.instants) == 24


async def test_rejections_of_our_own_trip_no_breaker():
    """A full bulkhead says nothing of the origin."""
    settings = {"bulkhead": seawall.Bulkhead(max_concurrent=1, max_waiting=0), "retry": None}
    async with client(ScriptedWire(5.0), **settings) as c:
        first = asyncio.create_task(c.get(URL))
        await asyncio.sleep(0)
        for _ in range(50):
            with pytest.raises(seawall.BulkheadFull):
                await c.get(URL)
        await first
        (state,) = c.stats().origins.values()
    assert (state.breaker, state.in_flight) == ("closed", 0)


async def test_rejections_of_our_own_close_no_breaker():
    """A probe that found no permit says nothing: half-open it stays, and its place is free again."""
    settings = {"bulkhead": seawall.Bulkhead(max_concurrent=1, max_waiting=0), "retry": None}
    wire = ScriptedWire(*[500] * 20, 5.0)
    async with client(wire, **settings) as c:
        for _ in range(20):
            await c.get(URL)
        await asyncio.sleep(6)
        first = asyncio.create_task(c.get(URL))
        await asyncio.sleep(0)
        for _ in range(10):
            with pytest.raises(seawall.BulkheadFull):
                await c.get(URL)
        (state,) = c.stats().origins.values()
        assert state.breaker == "half-open"
        await first


async def test_hanging_upstream_trips_the_breaker_through_deadlines():
    """A call that its own deadline ended while the server was silent is a failure of the server's."""
    async with client(ScriptedWire(1000.0), retry=None, deadline=1.0) as c:
        results = await asyncio.gather(*(c.get(URL) for _ in range(20)), return_exceptions=True)
        assert {type(result).__name__ for result in results} == {"DeadlineExceeded"}
        with pytest.raises(seawall.BreakerOpen):
            await c.get(URL)


async def test_cancelled_calls_trip_no_breaker():
    """Whoever loses interest says nothing of the server."""
    async with client(ScriptedWire(1000.0), retry=None) as c:
        for _ in range(30):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await c.get(URL)
        (state,) = c.stats().origins.values()
    assert (state.breaker, state.in_flight) == ("closed", 0)


async def test_sleeper_holds_no_permit():
    """While one call backs off, another uses the only permit."""
    wire = ScriptedWire(later(503, "10"), 200)
    async with client(wire, bulkhead=seawall.Bulkhead(max_concurrent=1)) as c:
        backing_off = asyncio.create_task(c.get(URL))
        await asyncio.sleep(1)
        assert (await c.get(URL)).status_code == 200
        await backing_off
    assert wire.instants == [0.0, 1.0, 11.0]


async def test_queue_without_a_time_limit():
    """Where the timeout for the pool is off, everyone's turn comes."""
    async with client(ScriptedWire(10.0), bulkhead=seawall.Bulkhead(max_concurrent=1), deadline=None) as c:
        calls = (c.get(URL, timeout=httpx.Timeout(20, pool=None)) for _ in range(20))
        assert {response.status_code for response in await asyncio.gather(*calls)} == {200}
    assert now() == 200.0


async def test_connection_that_was_closed_idle_is_no_overload():
    """What follows it is not waited for."""
    wire = ScriptedWire(seawall.errors.StreamRefused("closed", is_stale=True), 200)
    async with client(wire) as c:
        assert (await c.get(URL)).status_code == 200
    assert wire.instants == [0.0, 0.0]


async def test_burst_drains():
    """1,000 calls at once to a host that answers within 0.3 s: all good."""
    async with client(ScriptedWire(0.3)) as c:
        responses = await asyncio.gather(*(c.get(URL) for _ in range(1000)))
    assert {response.status_code for response in responses} == {200}
    assert now() == pytest.approx(0.3 * 16)


async def test_closed_loop_loses_nothing():
    """500 workers, each with a call at a time, on a host that answers in 0.5 s: a queue that stands is no fault."""
    wire = ScriptedWire(0.5)

    async def worker(c: seawall.AsyncClient) -> set[int]:
        return {(await c.get(URL)).status_code for _ in range(5)}

    async with client(wire) as c:
        assert await asyncio.gather(*(worker(c) for _ in range(500))) == [{200}] * 500
    assert len(wire.attempts) == 500 * 5
    assert now() == pytest.approx(0.5 * 40)  # 64 at a time


async def test_an_hour_of_an_upstream_that_was_down_for_twenty_minutes():
    """A call every 10 s: when the breaker opens, probes and closes, to the instant; in no time."""
    moves: list[tuple[float, str]] = []

    def upstream(request: httpx.Request) -> object:
        return httpx.ConnectError if 1200.0 <= now() < 2400.0 else 200

    def listener(event: seawall.events.Event) -> None:
        if isinstance(event, seawall.events.BreakerMoved):
            moves.append((now(), event.state))

    breaker = seawall.Breaker(window=60.0, min_calls=3, open_for=60.0, probes=1)
    outcomes: Counter[str] = Counter()
    wire, began_at = ScriptedWire(upstream), time.perf_counter()
    async with client(wire, breaker=breaker, observers=[listener], retry=None, rng=FixedRandom(0.5)) as c:
        for number in range(360):
            await asyncio.sleep(number * 10.0 - now())
            try:
                outcomes[str((await c.get(URL)).status_code)] += 1
            except httpx.ConnectError as error:
                outcomes[type(error).__name__] += 1
    probes = [1280.0 + n * 60.0 for n in range(19)]
    failed = [(at, state) for at in probes for state in ("half-open", "open")]
    assert moves == [(1220.0, "open"), *failed, (2420.0, "half-open"), (2420.0, "closed")]
    assert outcomes == {"200": 120 + 118, "ConnectError": 3 + 19, "BreakerOpen": 100}
    assert wire.instants == [n * 10.0 for n in range(123)] + probes + [2420.0 + n * 10.0 for n in range(118)]
    assert time.perf_counter() - began_at < 60.0  # 0.1 s


@pytest.mark.parametrize(("status", "waited"), [(500, 0.1), (200, 5.0)])
async def test_standing_queue_before_a_failing_origin_is_shed(status, waited):
    """A queue that stood for the pool timeout: newcomers get 0.1 s if attempts fail, and their 5 s if they don't."""
    settings = {
        "bulkhead": seawall.Bulkhead(max_concurrent=1),
        "breaker": seawall.Breaker(min_calls=1000),
        "retry": None,
        "deadline": None,
    }
    async with client(ScriptedWire((3.0, status)), **settings) as c:
        queue = []
        for _ in range(13):  # one every half second: it never drains
            queue.append(asyncio.create_task(c.get(URL)))
            await asyncio.sleep(0.5)
        began_at = now()
        with pytest.raises(seawall.BulkheadFull):
            await c.get(URL)
        assert round(now() - began_at, 6) == waited
        await asyncio.gather(*queue, return_exceptions=True)


async def test_tenacity_strategies_are_accepted():
    """wait, stop and retry as tenacity writes them; they see httpx's responses, and no function to call."""

    def wait(retry_state: tenacity.RetryCallState) -> float:
        with pytest.raises(NotImplementedError, match="seawall makes the attempts"):
            retry_state.fn()
        return 1.0

    settings = seawall.Retry(
        max_attempts=9,
        wait=tenacity.wait_combine(tenacity.wait_fixed(2), wait),
        stop=tenacity.stop_after_delay(7),
        retry=tenacity.retry_if_result(lambda response: response.status_code == 418),
    )
    wire = ScriptedWire(418)
    async with client(wire, retry=settings) as c:
        response = await c.get(URL)
        assert wire.instants == [0.0, 3.0, 6.0, 9.0]
        assert response.extensions["seawall"].note == "Retry.stop said so"
        wire.script(503)
        await c.get(URL)
        assert len(wire.instants) == 5


async def test_tenacity_predicate_cannot_make_it_unsafe():
    """It asks for a retry of a POST that was sent; it isn't given one."""
    wire = ScriptedWire(500)
    async with client(wire, retry=seawall.Retry(retry=tenacity.retry_always)) as c:
        response = await c.post(URL)
    assert len(wire.instants) == 1
    assert response.extensions["seawall"].note == "not safe to repeat"


async def test_tenacity_predicate_never_retries_a_cancellation():
    """retry_if_not_exception_type would, in tenacity itself."""
    settings = seawall.Retry(retry=tenacity.retry_if_not_exception_type(ValueError))
    wire = ScriptedWire(1000.0)
    async with client(wire, retry=settings) as c:
        call = asyncio.create_task(c.get(URL))
        await asyncio.sleep(1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    assert wire.instants == [0.0]


async def test_one_settings_object_serves_many_calls_at_once():
    """tenacity's own objects are not task-safe when shared; each call gets its own."""
    settings = seawall.Retry(wait=tenacity.wait_fixed(1), max_attempts=3)
    wire = ScriptedWire(500)
    async with client(wire, retry=settings, breaker=None) as c:
        responses = await asyncio.gather(*(c.get(URL) for _ in range(10)))
    assert [len(response.extensions["seawall"]) for response in responses] == [3] * 10
    assert now() == 2.0


async def test_history_events_and_log(caplog):
    """Each attempt and verdict is told to listeners; a retry is one line at INFO."""
    events: list[seawall.events.Event] = []
    wire = ScriptedWire(httpx.ReadTimeout("slow"), 200)
    with caplog.at_level(logging.INFO, "seawall"):
        async with client(wire, observers=[events.append]) as c:
            response = await c.get(URL)
    history = response.extensions["seawall"]
    assert [(a.number, a.outcome, a.delay) for a in history] == [(1, "ReadTimeout", 0.0), (2, "200", 0.1)]
    assert [type(event).__name__ for event in events] == [
        "CallStarted",
        "Attempt",
        "RetryScheduled",
        "Attempt",
        "CallEnded",
    ]
    assert [record.levelname for record in caplog.records if record.name == "seawall.retry"] == ["INFO"]


async def test_listener_that_raises_breaks_nothing(caplog):
    """It is logged, and the call goes on."""

    def broken(event: seawall.events.Event) -> None:
        raise RuntimeError("bug")

    async with client(ScriptedWire(200), observers=[broken]) as c:
        assert (await c.get(URL)).status_code == 200
    assert "bug" in caplog.text


async def test_policy_of_a_host():
    """per_host lies over the client's."""
    per_host = {"*.test": seawall.Policy(retry=None, deadline=1.0)}
    wire = ScriptedWire(500)
    async with client(wire, per_host=per_host) as c:
        await c.get(URL)
        assert len(wire.instants) == 1
        await c.get("http://api.example/")
        assert len(wire.instants) == 4


async def test_secrets_stay_out_of_events_and_errors(caplog):
    """No userinfo, no Authorization, no cookies."""
    wire = ScriptedWire(httpx.ReadTimeout("slow"))
    events: list[seawall.events.Event] = []
    with caplog.at_level(logging.DEBUG, "seawall"):
        async with client(wire, observers=[events.append], cookies={"session": "s3cret"}) as c:
            with pytest.raises(httpx.ReadTimeout) as caught:
                await c.get("http://me:s3cret@api.test/", headers={"authorization": "s3cret"})
    told = "".join(record.getMessage() for record in caplog.records if record.name.startswith("seawall"))
    assert "s3cret" not in told + repr(events) + str(caught.value) + repr(caught.value.attempts)
