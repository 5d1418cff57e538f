"""Permits that are shared through a real Redis: its script, a fleet of processes, one of which ends or hangs."""

from __future__ import annotations

import asyncio
import signal
from collections import defaultdict
from collections.abc import AsyncIterator
from typing import Any

import pytest
from benchmarks.counted import Counted
from benchmarks.reality.place import program
from benchmarks.shared import Fleet, Job, redis_server

import seawall
from seawall.config.store import Claim, Grant
from seawall.events import LimitDegraded, LimitRestored
from seawall.integrations.redis import Redis
from seawall.testing import ScriptedWire
from tests.integrations.test_redis import PATIENCE, URL, Heard

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(program("redis-server") is None, reason="redis-server isn't installed"),
]

TTL = 2.0  # s, so that permits lapse soon, but not because the machine is busy
CLAIMS = "seawall:{%s}:permits::claims"


@pytest.fixture
async def store(server: Any, url: str) -> AsyncIterator[Any]:
    opened = Redis(url).open()
    yield opened
    await opened.aclose()


class Process:
    """One that claims permits of 20 from *store*."""

    def __init__(self, store: Any, name: str) -> None:
        self._store = store
        self._name = name
        self._number = 0

    async def claim(self, keeps: int, wanted: int, spare: int = 0, *, ttl: float = 60.0, number: int = 0) -> Grant:
        self._number += 1
        claim = Claim("permits:", 20, keeps, wanted, spare, ttl, number or self._number)
        grant: Grant = await self._store.claim("http://a.test", claim, process=self._name)
        return grant


# The script


async def test_one_has_what_the_other_gives_back(store):
    """The first has all; the second is owed its half, and has it once the first has come down, as it is told to."""
    one, other = Process(store, "a"), Process(store, "b")
    assert await one.claim(0, 20) == Grant(20, is_known=False)
    assert await other.claim(0, 30) == Grant(0, owed=10, processes=2, is_known=False)
    assert await one.claim(20, 30) == Grant(10, waiting=30, processes=2)
    assert await other.claim(0, 30) == Grant(0, owed=10, waiting=10, processes=2)
    assert (await one.claim(14, 30)).permits == 10
    assert await other.claim(0, 30) == Grant(6, owed=4, waiting=16, processes=2)
    assert (await one.claim(0, 0)).permits == 0
    assert await other.claim(6, 30) == Grant(20, owed=0, waiting=0, processes=2)


async def test_small_wishes_are_met_whole(store):
    """The others share the rest evenly, whoever comes first; nothing is spare while somebody waits."""
    few, one, other = (Process(store, name) for name in "abc")
    for _ in range(2):
        grants = [await each.claim(0, wanted, 2) for each, wanted in ((few, 3), (one, 50), (other, 50))]
    assert grants[0].permits == 3
    assert sorted(grant.permits for grant in grants[1:]) == [8, 9]
    assert sum(grant.permits for grant in grants) == 20


async def test_spare_ones(store):
    """They are granted as far as there is room, and not counted as what somebody waits for."""
    one, other = Process(store, "a"), Process(store, "b")
    assert (await one.claim(0, 4, 3)).permits == 7
    assert await other.claim(0, 12, 5) == Grant(13, processes=2, is_known=False)
    assert (await one.claim(4, 4, 3)).permits == 7


async def test_what_is_kept_is_kept(store):
    """What is in flight counts though it is too many, as after an outage; then nobody gets more."""
    one, other = Process(store, "a"), Process(store, "b")
    await one.claim(0, 20)
    assert await other.claim(8, 8) == Grant(0, owed=8, processes=2, is_known=False)
    assert (await one.claim(20, 20)).permits == 12


async def test_lapsed_ones(store, raw):
    """The others have them, by the server's clock; the one that lost them is told so."""
    one, other = Process(store, "a"), Process(store, "b")
    await one.claim(0, 20, ttl=1e-6)
    assert (await other.claim(0, 20)).permits == 20
    assert not (await one.claim(0, 5)).is_known


async def test_claim_that_comes_late(store):
    """It arrives after a later one, by another connection: it changes nothing."""
    one, other = Process(store, "a"), Process(store, "b")
    await one.claim(0, 12, number=5)
    await one.claim(0, 1, number=4)
    assert (await other.claim(0, 8)).permits == 8
    assert (await other.claim(8, 9)).permits == 8


async def test_keys(store, raw):
    """Each has the origin's hash tag, lives a second longer than the permits, and vanishes when they are given back."""
    one = Process(store, "a")
    await one.claim(0, 1)
    tag = "seawall:{http://a.test}"
    assert sorted(await raw.keys()) == [f"{tag}:permits::claims", f"{tag}:permits::leases", f"{tag}:processes"]
    for key in ("permits::claims", "permits::leases"):
        assert 50 <= await raw.ttl(f"{tag}:{key}") <= 61
    await one.claim(0, 0)
    assert await raw.keys() == [f"{tag}:processes"]


# A fleet


def jobs(redis: str, url: str, permits: int, **more: Any) -> list[Job]:
    """Four processes, each of which would use all permits; the paths are their numbers."""
    settings = {"permits": permits, "tasks": permits + 2, "patience": PATIENCE, "ttl": TTL} | more
    return [Job(redis=redis, url=f"{url}/{number}", **settings) for number in range(4)]


class Held:
    """Requests that the server holds until *freed* says so for their path."""

    def __init__(self) -> None:
        self.freed: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)

    async def __call__(self, path: str) -> None:
        await self.freed[path].wait()


async def test_processes_never_have_more_in_flight(place, server, url):
    """As the server counts; each of them has its part."""
    counted = Counted(lambda _: asyncio.sleep(0.02))
    fleet = await asyncio.to_thread(Fleet, place, jobs(url, await counted.serve(place.address), 8, seconds=1.5))
    fleet.begin()
    done = await asyncio.to_thread(fleet.done, 60)
    await counted.aclose()
    assert counted.most == 8
    assert {status for each in done for status in each.statuses} == {200}
    assert all(len(each.statuses) >= 8 for each in done)


async def test_killed_process(place, server, url):
    """Its permits are the others' within their lifetime; nobody has more."""
    counted = Counted(Held())
    fleet = await asyncio.to_thread(Fleet, place, jobs(url, await counted.serve(place.address), 8, seconds=3600))
    fleet.begin()
    async with asyncio.timeout(40):
        await counted.until(lambda: counted.now == 8)
        path, count = counted.clients.most_common(1)[0]
        fleet.programs[int(path[1:])].signal(signal.SIGKILL)
        await counted.until(lambda: counted.now == 8 - count)
        await counted.until(lambda: counted.now == 8)
    assert counted.clients[path] == 0
    assert counted.most == 8
    await counted.aclose()


async def test_process_that_is_stopped(place, server, url, raw):
    """Its permits lapse, though its requests are in flight; once it goes on, it believes in none of them."""
    held = Held()
    counted = Counted(held)
    origin = await counted.serve(place.address)
    fleet = await asyncio.to_thread(Fleet, place, jobs(url, origin, 8, seconds=3600))
    fleet.begin()
    async with asyncio.timeout(40):
        await counted.until(lambda: counted.now == 8)
        path, count = counted.clients.most_common(1)[0]
        frozen = fleet.programs[int(path[1:])]
        frozen.signal(signal.SIGSTOP)
        try:
            await counted.until(lambda: counted.now == 8 + count)
            assert await raw.hlen(CLAIMS % origin) == 3
            held.freed[path].set()
            await counted.until(lambda: counted.now == 8)
            held.freed[path].clear()
        finally:
            frozen.signal(signal.SIGCONT)
        while await raw.hlen(CLAIMS % origin) < 4:
            await asyncio.sleep(0)
    assert counted.clients[path] == 0
    assert counted.most == 8 + count
    await counted.aclose()


# A server that goes away


class Pair:
    """Two clients that share four permits. Attributes: most, the most requests that they had in flight."""

    def __init__(self, url: str) -> None:
        self.now = self.most = 0
        self.heard = Heard(), Heard()
        bulkhead = seawall.Bulkhead(max_concurrent=4, shared=Redis(url), processes=2)
        self.clients = [
            seawall.AsyncClient(
                transport=ScriptedWire(self._answer), bulkhead=bulkhead, observers=[each], deadline=None, timeout=None
            )
            for each in self.heard
        ]

    async def meet(self) -> None:
        """Both call until each knows of the other."""
        for c in self.clients:
            await c.get(URL)
        while any(bulkhead.fleet._group.processes < 2 for c in self.clients for bulkhead in _bulkheads(c)):
            await asyncio.gather(*(c.get(URL) for c in self.clients))

    async def until(self, kind: Any) -> None:
        """Both call, four at once, until both have heard of it."""
        waits = [each.next(c, kind) for c, each in zip(self.clients, self.heard, strict=True)]
        busy = [asyncio.create_task(self._call(c)) for c in self.clients for _ in range(3)]
        await asyncio.gather(*waits)
        for each in busy:
            each.cancel()
        await asyncio.wait(busy)
        assert self.now == 0

    async def aclose(self) -> None:
        for each in self.clients:
            await each.aclose()

    async def _call(self, c: seawall.AsyncClient) -> None:
        while True:
            await c.get(URL)

    async def _answer(self, request: Any) -> Any:
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await asyncio.sleep(0.001)
        finally:
            self.now -= 1
        return 200


def _bulkheads(c: seawall.AsyncClient) -> list[Any]:
    return next(iter(c.engine.layers.origins)).bulkheads


async def test_stopped_server(server, url, raw):
    """Each goes by its share; once the server runs again, they share again, and never have more than all permits."""
    pair = Pair(url)
    await pair.meet()
    server.signal(signal.SIGSTOP)
    try:
        await pair.until(LimitDegraded)
        pair.most = 0  # what the one had, and the share of the other that noticed first
    finally:
        server.signal(signal.SIGCONT)
    await pair.until(LimitRestored)
    assert pair.most <= 4
    await pair.aclose()
    assert await raw.hlen(CLAIMS % "http://a.test:80") == 0


async def test_killed_server(place, port, server, url):
    """One that starts in its place, empty, is used."""
    pair = Pair(url)
    await pair.meet()
    server.end()
    await pair.until(LimitDegraded)
    pair.most = 0
    redis_server(place, port)
    await pair.until(LimitRestored)
    assert pair.most <= 4
    await pair.aclose()
