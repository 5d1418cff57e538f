"""`client.map`: many requests, fair to each host, at exact instants; through the whole client."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections import Counter
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest

import seawall
from seawall.testing import FixedRandom, ScriptedWire, cancel_everywhere

pytestmark = pytest.mark.anyio


def client(wire: ScriptedWire, **settings: object) -> seawall.AsyncClient:
    return seawall.AsyncClient(transport=wire, rng=FixedRandom(0.5), **settings)  # type: ignore[arg-type]


def now() -> float:
    return round(asyncio.get_running_loop().time(), 6)


def urls(host: str, count: int) -> list[str]:
    return [f"http://{host}/{number}" for number in range(count)]


def counters(c: seawall.AsyncClient) -> tuple[int, int]:
    stats = c.stats()
    return sum(origin.in_flight + origin.waiting for origin in stats.origins.values()), len(c.engine.layers.in_flight)


async def ends(results: AsyncIterator[object]) -> list[tuple[float, int, object]]:
    """When each result came, which it was, and what it was."""
    return [(now(), r.index, r.response.status_code if r.response else type(r.error).__name__) async for r in results]


async def test_results_come_as_they_are_done():
    """A URL, a Request, one that fails and a line that isn't a URL: each has its own result, with its history."""
    wire = ScriptedWire(
        per_host={"slow.test": [(2.0, 200)], "bad.test": [(1.0, httpx.ConnectError)], "a.test": [(0.5, 404)]}
    )
    async with client(wire, retry=None) as c:
        request = httpx.Request("POST", "http://a.test/", content=b"x")
        given = ["http://slow.test/", request, httpx.URL("http://bad.test/"), "http://a.test:x/", 7]
        results = [(now(), result) async for result in c.map(given)]
    assert [(at, result.index) for at, result in results] == [(0, 3), (0, 4), (0.5, 1), (1.0, 2), (2.0, 0)]
    by_index = {result.index: result for _, result in results}
    assert all(by_index[index].request is given[index] for index in range(5))
    responses = [by_index[index].response for index in range(5)]
    assert [response and response.status_code for response in responses] == [200, 404, None, None, None]
    assert [type(by_index[index].error) for index in (3, 4)] == [httpx.InvalidURL, TypeError]
    assert isinstance(by_index[2].error, httpx.ConnectError)
    assert [len(by_index[index].history) for index in range(5)] == [1, 1, 1, 0, 0]
    assert "seawall" not in request.extensions


async def test_in_order():
    """Those behind a slow one wait for it."""
    wire = ScriptedWire((0.1, 200), per_host={"slow.test": [(2.0, 200)]})
    async with client(wire) as c:
        given = ["http://a.test/", "http://slow.test/", *urls("a.test", 2), "http://a.test:x/"]
        results = await ends(c.map(given, ordered=True))
    assert results == [(0.1, 0, 200), (2.0, 1, 200), (2.0, 2, 200), (2.0, 3, 200), (2.0, 4, "InvalidURL")]


async def test_in_order_what_is_kept_is_bounded():
    """Behind a slow one at most 100 results for each seat are kept, and no more items are pulled."""
    wire, pulled = ScriptedWire((0.001, 200), per_host={"slow.test": [(9.0, 200)]}), 0

    def given() -> Iterator[str]:
        nonlocal pulled
        yield "http://slow.test/"
        for url in urls("a.test", 1000):
            pulled += 1
            yield url

    async with client(wire) as c:
        results = c.map(given(), concurrency=4, ordered=True)
        first = await anext(results)
        assert (now(), first.index, pulled) == (9.0, 0, 399)
        assert [result.index async for result in results] == [*range(1, 1001)]


async def test_concurrency_is_kept():
    """So many in flight, and no more; as soon as one ends, another begins."""
    wire = ScriptedWire((1.0, 200))
    async with client(wire) as c:
        results = await ends(c.map((f"http://h{number}.test/" for number in range(10)), concurrency=4))
    assert wire.instants == [0.0] * 4 + [1.0] * 4 + [2.0] * 2
    assert len(results) == 10


async def test_items_are_pulled_as_they_are_needed():
    """A consumer that stops has at most the seats in flight and as many items at hand; an endless source works."""
    wire, pulled = ScriptedWire((1.0, 200)), 0

    async def endless() -> AsyncIterator[str]:
        nonlocal pulled
        while True:
            pulled += 1
            yield f"http://h{pulled}.test/"

    async with client(wire) as c:
        results = c.map(endless(), concurrency=5)
        for _ in range(3):
            await anext(results)
        await asyncio.sleep(100.0)
        assert (len(wire.attempts), pulled) == (7, 10)
        await results.aclose()
        assert counters(c) == (0, 0)


async def test_trickling_source():
    """An item is begun when it comes, not when the source is full or ends."""
    wire = ScriptedWire()

    async def trickle() -> AsyncIterator[str]:
        for number in range(3):
            await asyncio.sleep(1.0)
            yield f"http://h{number}.test/"

    async with client(wire) as c:
        assert await ends(c.map(trickle())) == [(1.0, 0, 200), (2.0, 1, 200), (3.0, 2, 200)]


async def test_source_that_raises():
    """Its error comes after the results of the items before; nothing is left in flight."""
    wire = ScriptedWire((1.0, 200))

    def broken() -> Iterator[str]:
        yield "http://a.test/"
        raise OSError("the list's disk is gone")

    async with client(wire) as c:
        results = c.map(broken())
        assert (await anext(results)).index == 0
        with pytest.raises(OSError, match="disk is gone"):
            await anext(results)
        assert [result async for result in c.map([])] == []


async def test_source_that_is_cancelled():
    """A cancellation that the source itself meets is raised as its errors are; it isn't taken for the list's end."""

    async def cancelled() -> AsyncIterator[str]:
        yield "http://a.test/"
        future = asyncio.get_running_loop().create_future()
        future.cancel()
        yield await future

    async with client(ScriptedWire()) as c:
        results = c.map(cancelled())
        assert (await anext(results)).index == 0
        with pytest.raises(asyncio.CancelledError):
            await anext(results)


async def test_slow_host_takes_no_more_than_its_share():
    """Of two hosts with 100 URLs each and 10 seats, one that takes 10 s a URL leaves half of the seats to the other."""
    wire = ScriptedWire(per_host={"slow.test": [(10.0, 200)], "quick.test": [(0.1, 200)]})
    async with client(wire, bulkhead=None) as c:
        results = await ends(c.map([*urls("slow.test", 100), *urls("quick.test", 100)], concurrency=10))
    assert max(at for at, index, _ in results if index >= 100) == pytest.approx(2.0, abs=0.2)
    assert max(at for at, _, _ in results) <= 120.0


async def test_many_slow_hosts_leave_half_of_the_seats():
    """Once they are known to be slow, 50 hosts at 10 s a URL have half of 10 seats, so quick URLs go on meanwhile."""
    wire = ScriptedWire((0.1, 200), per_host={f"slow{number}.test": [(10.0, 200)] for number in range(50)})
    slow = [url for number in range(4) for host in range(50) for url in [f"http://slow{host}.test/{number}"]]
    quick = [url for number in range(400) for url in [f"http://quick{number % 50}.test/{number}"]]
    mixed = [url for pair in zip(slow, quick, quick[200:], strict=False) for url in pair]
    async with client(wire) as c:
        results = await ends(c.map(mixed, concurrency=10))
    assert len(results) == 600
    at = [at for at, index, _ in results if mixed[index].startswith("http://quick")]
    assert sum(1 for instant in at if instant <= 60.0) >= 200


async def test_waiting_for_a_limit_takes_no_seat():
    """A host at 1 URL a second doesn't hold up 20 others, and no URL of it fails, though its list takes a minute."""
    wire = ScriptedWire((0.1, 200))
    per_host = {"limited.test": seawall.Policy(limit=seawall.Limit(rate=1, burst=1))}
    async with client(wire, per_host=per_host, deadline=5.0) as c:
        given = [*urls("limited.test", 60), *[url for host in range(20) for url in urls(f"h{host}.test", 10)]]
        results = await ends(c.map(given, concurrency=4))
        assert Counter(what for _, _, what in results) == {200: 260}
        assert max(at for at, index, _ in results if index >= 60) <= 200 * 0.1 / 3
        limited = [attempt.at for attempt in wire.attempts if attempt.url.host == "limited.test"]
        assert limited == pytest.approx([float(second) for second in range(60)])
        assert counters(c) == (0, 0)


@pytest.mark.parametrize("spelled", ["/{}/x", "http://limited.test?{}", "HTTP://limited.test/{}"])
async def test_spellings_of_one_host(spelled):
    """URLs that are relative, have no path or are in capitals are of one host, and wait for it without a deadline."""
    limit = seawall.Limit(rate=1, burst=1)
    async with client(ScriptedWire(), limit=limit, deadline=5.0, base_url="http://limited.test") as c:
        given = [spelled.format(number) for number in range(30)]
        given[::3] = [url.replace("HTTP", "http") for url in given[::3]]
        results = await ends(c.map(given, concurrency=4))
    assert Counter(what for _, _, what in results) == {200: 30}


async def test_pause_puts_its_host_to_sleep():
    """A Retry-After past the deadline doesn't fail the URLs behind it: they are begun once it has passed."""
    wire = ScriptedWire((0.1, 200), per_host={"a.test": [httpx.Response(429, headers={"Retry-After": "20"}), 200]})
    async with client(wire, deadline=5.0, retry=seawall.Retry(max_attempts=2, pause_origin=True)) as c:
        results = await ends(c.map([*urls("a.test", 5), *urls("b.test", 50)], concurrency=2))
        assert Counter(what for _, _, what in results) == {200: 54, 429: 1}
        assert max(at for at, index, _ in results if index >= 5) <= 5.1
        later = sorted(attempt.at for attempt in wire.attempts if attempt.url.host == "a.test")[2:]
        assert all(at >= 20.0 for at in later)


async def test_pause_past_a_deadline_around_it():
    """URLs of a host that sleeps for longer than a deadline around all of it fail at once, and not once it wakes."""
    wire = ScriptedWire(per_host={"a.test": [httpx.Response(429, headers={"Retry-After": "20"})]})
    async with client(wire, retry=seawall.Retry(max_attempts=2, pause_origin=True)) as c:
        with seawall.deadline(5.0):
            results = await ends(c.map(urls("a.test", 4), concurrency=1))
    assert results == [(0.0, 0, 429), *[(0.0, index, "OriginPaused") for index in (1, 2, 3)]]


async def test_dead_host():
    """None of its URLs ends as BreakerOpen, and all others are done while the dead host's wait."""
    wire = ScriptedWire((0.01, 200), per_host={"dead.test": [httpx.ConnectError]})
    async with client(wire, deadline=10.0) as c:
        given = [*urls("dead.test", 100), *urls("a.test", 500)]
        results = await ends(c.map(given, concurrency=20))
        ended = Counter(what for _, _, what in results)
        assert ended[200] == 500
        assert ended.keys() <= {200, "ConnectError", "DeadlineExceeded"}
        assert max(at for at, index, _ in results if index >= 100) < 5.0
        assert counters(c) == (0, 0)


@pytest.mark.parametrize("dead", [1, 5])
async def test_dead_hosts_leave_room(dead):
    """However many of their URLs wait, those of another host are begun as seats become free: 400 at 0.5 s on 10."""
    hosts = [f"dead{number}.test" for number in range(dead)]
    wire = ScriptedWire((0.5, 200), per_host={host: [httpx.ConnectError] for host in hosts})
    async with client(wire, deadline=60.0) as c:
        theirs = [url for number in range(400 // dead) for host in hosts for url in [f"http://{host}/{number}"]]
        given = [url for pair in zip(theirs, urls("a.test", 400), strict=True) for url in pair]
        results = await ends(c.map(given, concurrency=10))
    assert len(results) == 800
    assert max(at for at, index, _ in results if index % 2) <= 22.0


async def test_host_that_heals():
    """Its URLs wait for the breaker, and are all good once the host is well again."""
    wire = ScriptedWire(200, per_host={"ill.test": [*[(0.01, 500)] * 30, 200]})
    async with client(wire, retry=seawall.Retry(max_attempts=5)) as c:
        results = await ends(c.map(urls("ill.test", 40), concurrency=20))
    assert Counter(what for _, _, what in results)[200] >= 30
    assert "BreakerOpen" not in {what for _, _, what in results}


async def test_leaving_early_cancels_what_is_in_flight():
    """By break under aclosing, and by break alone once the iterator is collected."""
    wire = ScriptedWire((1.0, 200))
    async with client(wire) as c:
        async with contextlib.aclosing(c.map(urls("a.test", 50))) as results:
            async for _ in results:
                break
        assert counters(c) == (0, 0)
        async for _ in c.map(urls("a.test", 50)):
            break
        gc.collect()
        await asyncio.sleep(0.01)
        assert counters(c) == (0, 0)
    assert now() == 2.01


async def test_a_gate_that_says_now():
    """`map` asks a user's gate that refuses without a wait each 10 ms, and not in each turn of the loop."""
    asked = 0

    class Open(seawall.Ticket):
        def end(self, result: object, now: float) -> None:
            pass

    class Busy(seawall.Gate):
        name = "busy"

        def try_enter(self, attempt: object, now: float) -> seawall.Ticket | None:
            return None

        async def enter(self, attempt: object, timeout: float | None) -> seawall.Ticket:
            nonlocal asked
            asked += 1
            if asked <= 100:
                raise seawall.LimitExceeded("busy", retry_after=0.0)
            return Open()

    gate = Busy()
    async with client(ScriptedWire(200), gates=[lambda origin: gate]) as c:
        assert await ends(c.map(["http://a.test/"])) == [(1.0, 0, 200)]


async def test_cancelled_everywhere():
    """At each await: no call, permit or task is left."""
    before = asyncio.all_tasks()
    async with client(ScriptedWire(503, 200), retry=seawall.Retry(wait=lambda state: 0.0)) as c:

        async def run() -> None:
            given = [*urls("a.test", 3), *urls("b.test", 2)]
            async with contextlib.aclosing(c.map(given, concurrency=2)) as results:
                async for _ in results:
                    await asyncio.sleep(0)

        def after() -> None:
            assert counters(c) == (0, 0)
            assert asyncio.all_tasks() - before == set()

        assert await cancel_everywhere(run, after=after) > 5


async def test_cancelled_while_all_wait():
    """For a limit, a breaker, in a backoff, and on the wire."""
    before = asyncio.all_tasks()
    hosts = {"limited.test": seawall.Policy(limit=seawall.Limit(rate=1, burst=1))}
    for seconds in (0.05, 0.5, 1.5, 4.0):
        wire = ScriptedWire(per_host={"dead.test": [httpx.ConnectError], "slow.test": [(9.0, 200)]})
        async with client(wire, per_host=hosts) as c:
            given = [url for host in ("dead.test", "slow.test", "limited.test") for url in urls(host, 30)]
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    async for _ in c.map(given, concurrency=10):
                        pass
            assert counters(c) == (0, 0)
        assert asyncio.all_tasks() == before


async def test_client_closed_meanwhile():
    """The rest ends as ClientClosed, and nothing hangs."""
    wire = ScriptedWire((1.0, 200))
    c = client(wire)
    results = c.map(urls("a.test", 30), concurrency=5)
    await anext(results)
    await c.aclose()
    assert {type(result.error).__name__ async for result in results if result.error} <= {"ClientClosed", "RuntimeError"}


@pytest.mark.parametrize(
    ("requests", "settings", "message"),
    [
        ("http://a.test/", {}, "iterable of URLs or Requests, not"),
        (7, {}, "must be an iterable"),
        ([], {"concurrency": 0}, r"map.concurrency must be >= 1"),
        ([], {"ordered": 1}, "ordered must be True or False"),
    ],
)
async def test_settings_that_cannot_be(requests, settings, message):
    """Are refused at once, not by the first result."""
    async with client(ScriptedWire()) as c:
        with pytest.raises((TypeError, ValueError), match=message):
            c.map(requests, **settings)
