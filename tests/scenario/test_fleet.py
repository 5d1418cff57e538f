"""Permits that many engines share through a store, at exact instants."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx
import pytest

import seawall
from seawall.events import LimitDegraded, LimitRestored
from seawall.policy.holding import HEARTBEAT, TTL
from seawall.testing import FixedRandom, ScriptedWire, cancel_everywhere
from tests.books import Books

pytestmark = pytest.mark.anyio

URL = "http://a.test/"


class Served:
    """
    A server that answers each request after *duration* seconds, to many clients.

    Attributes:
        now, most: Requests in flight, and the most so far.
        busy: Seconds of requests that it has served.
        error: What a request raises after its duration, if anything.
    """

    def __init__(self, duration: float = 0.05) -> None:
        self.duration = duration
        self.now = self.most = 0
        self.busy = 0.0
        self.error: Exception | None = None

    def client(self, store: Books, permits: int = 20, **settings: Any) -> seawall.AsyncClient:
        bulkhead = seawall.Bulkhead(**{"max_concurrent": permits, "shared": store, **settings.pop("bulkhead", {})})
        settings = {"deadline": None, "timeout": None, "bulkhead": bulkhead, **settings}
        return seawall.AsyncClient(transport=ScriptedWire(self.answer), rng=FixedRandom(0.5), **settings)

    async def answer(self, request: httpx.Request) -> httpx.Response:
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await asyncio.sleep(self.duration)
        finally:
            self.now -= 1
            self.busy += self.duration
        if self.error is not None:
            raise self.error
        return httpx.Response(200, content=_two_halves())


async def _two_halves() -> AsyncIterator[bytes]:
    yield b"half"
    yield b"half"


async def work(c: seawall.AsyncClient, seconds: float, tasks: int) -> int:
    """The calls that so many tasks make, each one after the other."""
    loop, calls = asyncio.get_running_loop(), 0
    ends_at = loop.time() + seconds

    async def each() -> None:
        nonlocal calls
        while loop.time() < ends_at:
            await c.get(URL)
            calls += 1

    await asyncio.gather(*(each() for _ in range(tasks)))
    return calls


@asynccontextmanager
async def clients(
    served: Served, store: Books, count: int, **settings: Any
) -> AsyncIterator[list[seawall.AsyncClient]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(served.client(store, **settings)) for _ in range(count)]


def held(store: Books) -> int:
    return sum(each for mine in store.held.values() for each, *_ in mine.values())


@pytest.mark.parametrize(
    ("permits", "delay"), [(20, 0.0), (20, 0.002), (20, 0.04), (21, 0.002), (4, 0.002), (3, 0.002)]
)
async def test_many_engines_share_permits(permits, delay):
    """Never more in flight than there are; 90 % of them are used; evenly; with few questions, though all want more."""
    store, served = Books(delay), Served()
    async with clients(served, store, 4, permits=permits) as all_of_them:
        calls = await asyncio.gather(*(work(c, 4.0, 32) for c in all_of_them))
    assert served.most == permits
    assert served.busy >= 0.9 * permits * 4.0
    assert min(calls) >= 0.15 * sum(calls)
    assert len(store.claimed) <= 4 * 4.0 * 20
    assert held(store) == 0


async def test_one_busy_process_has_all():
    """Beside three that are idle; and with a claim now and then, not one for each attempt."""
    store, served = Books(0.002), Served()
    async with clients(served, store, 4) as (busy, *idle):
        for c in idle:
            await c.get(URL)
        await asyncio.sleep(1.0)
        before = len(store.claimed)
        calls = await work(busy, 4.0, 64)
    assert served.most == 20
    assert calls >= 0.95 * 20 * 4.0 / 0.05
    assert len(store.claimed) - before <= 4.0 / HEARTBEAT + 10


@pytest.mark.parametrize(("processes", "tasks", "most"), [(1, 32, 10), (1, 6, 6), (4, 32, 10)])
async def test_background_has_half_of_what_is_shared(processes, tasks, most):
    """Each process has twice what its background calls may use, so all that may run does; the rest is for others."""
    store, served = Books(0.002), Served()
    async with clients(served, store, processes) as all_of_them:
        with seawall.criticality("background"):
            calls = await asyncio.gather(*(work(c, 4.0, tasks) for c in all_of_them))
        assert served.most <= most
        assert sum(calls) >= 0.75 * most * 4.0 / 0.05
        served.most = 0
        with seawall.criticality("background"):
            others = [asyncio.create_task(work(c, 3.0, 32)) for c in all_of_them]
        await asyncio.sleep(1.0)
        began = await asyncio.gather(*(work(c, 2.0, 32) for c in all_of_them))
        await asyncio.gather(*others)
    assert served.most == 20
    assert sum(began) >= 0.75 * 20 * 2.0 / 0.05
    assert held(store) == 0


async def test_idle_one_that_wakes_up():
    """It has its share within about a heartbeat, though another has a queue for all permits."""
    store, served = Books(0.002), Served(0.01)
    async with clients(served, store, 2) as (busy, other):
        working = asyncio.create_task(work(busy, 3.0, 64))
        await asyncio.sleep(1.0)
        assert held(store) == 20
        loop = asyncio.get_running_loop()
        woken_at = loop.time()
        waking = asyncio.create_task(work(other, 1.0, 64))
        while held(store) != 20 or len({each for each, *_ in store.held["permits:"].values()} - {10}):
            await asyncio.sleep(0.001)
        assert loop.time() - woken_at <= 1.5 * HEARTBEAT
        await asyncio.gather(working, waking)
    assert served.most == 20


async def test_even_traffic_rarely_waits():
    """Permits are claimed ahead, and kept between calls."""
    store, served, waited = Books(0.002), Served(0.01), 0
    async with served.client(store) as c:
        for _ in range(200):
            response = await c.get(URL)
            waited += bool(dict(response.extensions["seawall"][0].queued).get("bulkhead"))
    assert waited == 1
    assert len(store.claimed) <= 2.0 / HEARTBEAT + 5


async def test_idle_permits_are_given_back():
    """Two heartbeats after their last use, and no claim follows; the origin may be forgotten then."""
    store, served = Books(), Served()
    async with served.client(store) as c:
        await c.get(URL)
        (state,) = c.engine.layers.origins
        assert not state.is_idle
        await asyncio.sleep(2 * HEARTBEAT)
        assert held(store) == 0
        assert state.is_idle
        before = len(store.claimed)
        await asyncio.sleep(60.0)
        assert len(store.claimed) == before


async def test_permit_of_a_streamed_body():
    """It is kept, by heartbeats, until the body is closed, however long that takes."""
    store, served = Books(), Served(0.0)
    async with served.client(store, permits=1) as c, served.client(store, permits=1) as other:
        async with c.stream("GET", URL):
            waiting = asyncio.create_task(other.get(URL))
            await asyncio.sleep(3 * TTL)
            assert not waiting.done()
            closed_at = asyncio.get_running_loop().time()
        await waiting
        assert asyncio.get_running_loop().time() - closed_at <= 2.5 * HEARTBEAT


async def test_crashed_process():
    """Its permits are the others' once they have lapsed."""
    store, served = Books(), Served(0.01)
    store.held["permits:"] = {"crashed": (15, 15, TTL)}
    async with served.client(store) as c:
        await work(c, TTL - HEARTBEAT, 32)
        assert served.most == 5
        await work(c, 2 * HEARTBEAT, 32)
        assert served.most == 20


async def test_process_that_was_frozen():
    """It notices that its permits have lapsed before it lets another attempt through, and claims anew."""
    store, served = Books(), Served(0.01)
    async with clients(served, store, 2) as (frozen, other):
        await work(frozen, 0.5, 32)
        bulkhead = next(iter(frozen.engine.layers.origins)).bulkhead
        assert bulkhead.try_acquire()
        bulkhead.release()
        loop = asyncio.get_running_loop()
        loop._virtual_now += TTL  # type: ignore[attr-defined]
        assert not bulkhead.try_acquire()
        first = asyncio.create_task(work(other, 0.1, 20))
        await asyncio.sleep(0.005)
        assert served.now == 20
        assert not bulkhead.try_acquire()
        await asyncio.gather(first, work(frozen, 0.5, 5))
    assert served.most == 20


async def test_parts_and_origins_are_apart():
    """Each part of an origin has permits of its own, by a hash of its name that is the same in each process."""
    store, served = Books(), Served()
    partition = {"partition": lambda request: request.headers["x-tenant"]}
    async with clients(served, store, 2, permits=1, bulkhead=partition) as both:
        await asyncio.gather(*(c.get(URL, headers={"x-tenant": tenant}) for c in both for tenant in "ab"))
        assert served.most == 2
        assert sorted(len(key) for key in store.held) == [len("permits:") + 24] * 2


async def test_adaptive_limit_is_a_bound_below():
    """What a process gave up holds one of its permits, which the fleet doesn't have either."""
    store, served = Books(), Served(0.3)
    async with clients(served, store, 2, permits=3, retry=None) as (one, other):
        served.error = httpx.ReadTimeout("silent")
        for _ in range(2):
            with pytest.raises(httpx.ReadTimeout):
                await one.get(URL)
        served.error = None
        await work(other, 5.0, 5)
        assert [each.used for each in next(iter(one.engine.layers.origins)).bulkheads] == [2]
        assert served.most == 1
        await one.get(URL)
        await work(other, 1.0, 5)
        assert served.most == 3


async def test_ghosts_of_an_idle_process_end():
    """What a process gave up holds a permit for a minute, and not for as long as that process makes no other call."""
    store, served = Books(), Served(3.0)
    async with served.client(store, permits=2) as idle, served.client(store, permits=2) as busy:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.0):
                await idle.get(URL)
        await asyncio.sleep(70.0)
        await asyncio.gather(busy.get(URL), busy.get(URL))
        assert served.most == 2
        assert asyncio.get_running_loop().time() == pytest.approx(74.0, abs=0.5)


async def test_queue_of_none_waits_for_the_answer_only():
    """With max_waiting=0 the store is asked; what it doesn't grant is refused at once."""
    store, served = Books(0.01), Served()
    async with clients(served, store, 2, permits=2, bulkhead={"max_waiting": 0}, retry=None) as (one, other):
        mine = [asyncio.create_task(one.get(URL)) for _ in range(2)]
        await asyncio.sleep(0.02)
        with pytest.raises(seawall.BulkheadFull, match="the queue is full"):
            await other.get(URL)
        assert asyncio.get_running_loop().time() == pytest.approx(0.03)
        assert [response.status_code for response in await asyncio.gather(*mine)] == [200, 200]


async def test_cancelled_anywhere():
    """Nobody waits afterwards, nothing is in flight, and closing gives back what is held."""
    store, served, tasks = Books(), Served(0.0), len(asyncio.all_tasks())
    async with served.client(store) as c:

        def clean() -> None:
            bulkheads = c.engine.layers.origins[seawall.Origin("http", "a.test", 80)].bulkheads
            assert [(each.waiting, each.used) for each in bulkheads] == [(0, 0)]

        assert await cancel_everywhere(lambda: c.get(URL), after=clean) >= 2
    assert held(store) == 0
    assert (store.opened, store.closed) == (1, 1)
    assert len(asyncio.all_tasks()) == tasks


async def test_closing_gives_everything_back_at_once():
    """Calls in flight and a claim in flight included."""
    store, served = Books(0.002), Served(10.0)
    async with served.client(store) as c:
        calls = [asyncio.create_task(c.get(URL)) for _ in range(5)]
        await asyncio.sleep(0.1)
        late = asyncio.create_task(c.get(URL))
        await asyncio.sleep(0)
        assert held(store) >= 5
    assert asyncio.get_running_loop().time() == pytest.approx(0.102)
    assert held(store) == 0
    ends = await asyncio.gather(*calls, late, return_exceptions=True)
    assert all(isinstance(end, seawall.ClientClosed) for end in ends)


async def test_closing_does_not_wait_for_a_silent_store():
    """Its permits lapse then."""
    store, served = Books(0.002), Served(0.0)
    async with served.client(store) as c:
        await c.get(URL)
        store.delay = math.inf
        before = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - before == pytest.approx(0.05)
    assert store.closed == 1


async def test_permits_of_many_parts_are_given_back_on_closing():
    """Within the second that closing may take, because others can't have them until they lapse."""
    store = Books(0.005)
    bulkhead = {"partition": lambda request: request.headers["x-tenant"]}
    async with Served().client(store, bulkhead=bulkhead) as c:
        await asyncio.gather(*(c.get(URL, headers={"x-tenant": str(number)}) for number in range(300)))
        closing_at = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - closing_at < 0.5
    assert len(store.held) == 300
    assert not any(store.held.values())


# Without the store


async def test_silent_store_costs_50_ms_once():
    """Then this process' share is what it may use, until the store answers again; observers hear of both."""
    store, served, heard = Books(0.001), Served(0.01), []
    loop = asyncio.get_running_loop()

    def hear(event: object) -> None:
        if isinstance(event, LimitDegraded | LimitRestored):
            heard.append((loop.time(), event))

    async with served.client(store, observers=[hear]) as one, served.client(store) as other:
        await asyncio.gather(one.get(URL), other.get(URL))
        await asyncio.sleep(1.0)
        store.delay, silent_at = math.inf, loop.time()
        served.most = 0
        await asyncio.gather(work(one, 3.0, 32), work(other, 3.0, 32))
        assert served.most == 20
        assert served.busy >= 20 * 2.9
        store.delay, back_at = 0.001, loop.time()
        await asyncio.gather(work(one, 3.0, 32), work(other, 3.0, 32))
        assert served.most == 20
    (degraded_at, degraded), (restored_at, restored) = heard
    assert degraded == (seawall.Origin("http", "a.test", 80), "bulkhead", "share", 2, "no answer within 50 ms")
    assert degraded_at - silent_at == pytest.approx(0.05)
    assert restored.gate == "bulkhead"
    assert restored_at - back_at <= 1.0


@pytest.mark.parametrize(
    ("settings", "most"),
    [({"processes": 4}, 5), ({}, 20), ({"fallback": "open"}, 20), ({"fallback": "closed"}, 0), ({"processes": 99}, 1)],
)
async def test_store_that_was_never_there(settings, most):
    """The fallback holds at once."""
    store, served = Books(), Served(0.01)
    store.error = ConnectionRefusedError("nobody listens")
    async with served.client(store, bulkhead=settings) as c:
        working = asyncio.create_task(work(c, 0.2, 32))
        await asyncio.sleep(0.2)
        assert served.most == most
        store.error = None
        await working
        assert served.most == (most or 20)


async def test_store_that_was_restarted_empty():
    """Whoever finds that it has lost everything takes no more until the others must have claimed again."""
    store, served = Books(0.001), Served(0.02)
    async with clients(served, store, 4) as all_of_them:
        working = asyncio.gather(*(work(c, 4.0, 32) for c in all_of_them))
        for _ in range(3):
            await asyncio.sleep(1.0)
            store.held.clear()
        await working
    assert served.most == 20
    assert served.busy >= 0.9 * 20 * 4.0


async def test_outage_shares_add_up():
    """One that rejoins first takes no more than its share while others may not know yet that the store is back."""
    store, served = Books(0.001), Served(0.02)
    async with clients(served, store, 4) as all_of_them:
        working = asyncio.gather(*(work(c, 6.0, 32) for c in all_of_them))
        await asyncio.sleep(1.0)
        store.error = ConnectionResetError("restarted")
        await asyncio.sleep(2.0)
        store.error = None
        store.held.clear()
        await working
    assert served.most == 20
    assert served.busy >= 0.9 * 20 * 6.0


async def test_limit_and_bulkhead_in_one_store():
    """It is opened once, and counts the process once."""
    store, served = Books(0.001), Served(0.0)
    async with served.client(store, limit=seawall.Limit(rate=1000, burst=100, shared=store)) as c:
        await c.get(URL)
    assert (store.opened, len(store.processes)) == (1, 1)


def test_settings_that_cannot_be():
    """Each names itself and what it must be."""
    store = Books()
    for settings, error, text in (
        ({"shared": "redis://localhost"}, TypeError, "Bulkhead.shared must be a store"),
        ({"shared": Books}, TypeError, "Bulkhead.shared must be a store"),
        ({"shared": store, "fallback": "half"}, ValueError, "Bulkhead.fallback must be one of share, open, closed"),
        ({"shared": store, "processes": 0}, ValueError, "Bulkhead.processes must be >= 1"),
    ):
        with pytest.raises(error, match=text):
            seawall.Bulkhead(**settings)
