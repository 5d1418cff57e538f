"""Limits that are shared through a real Redis: its script, a fleet of processes, and a server that goes away."""

from __future__ import annotations

import asyncio
import math
import signal
from collections.abc import AsyncIterator
from typing import Any

import pytest
from benchmarks.reality.place import Program, program
from benchmarks.reality.servers import Site
from benchmarks.shared import Fleet, Job, redis_server, worst
from redis.asyncio import Redis as Client

import seawall
from seawall.config.store import OpenStore, Share
from seawall.events import Event, LimitDegraded, LimitRestored
from seawall.integrations.redis import Redis
from seawall.testing import ScriptedWire
from seawall.testing.network import Latency, Network

pytestmark = pytest.mark.skipif(program("redis-server") is None, reason="redis-server isn't installed")

PATIENCE = 5.0  # s, for processes on a busy machine, where the bound must hold and nothing is measured
URL = "http://a.test/"


@pytest.fixture
async def store(server: Program, url: str) -> AsyncIterator[OpenStore]:
    opened = Redis(url).open()
    yield opened
    await opened.aclose()


async def book(store: OpenStore, *shares: Share, process: str = "a", max_wait: float = math.inf) -> Any:
    return await store.book("http://a.test", shares, process=process, max_wait=max_wait)


def share(amount: float, key: str = "0:", *, rate: float = 0.1, burst: float = 3.0, charge: float = 0.0) -> Share:
    """Of a limit so slow that nothing of it comes back in a test."""
    return Share(key, rate, burst, amount, charge)


# The script


async def test_burst_then_reservations(store):
    """Three at once; each later one is booked for its own instant, in the order in which it was asked for."""
    waits = [(await book(store, share(1.0))).wait for _ in range(5)]
    assert waits[:3] == [0.0, 0.0, 0.0]
    assert waits[3] == pytest.approx(10.0, abs=5.0)
    assert waits[4] - waits[3] == pytest.approx(10.0, abs=1.0)


async def test_what_costs_more_than_the_burst(store):
    """It is booked once nothing is owed."""
    assert (await book(store, share(50.0))).wait == 0.0
    assert (await book(store, share(1.0))).wait == pytest.approx(480.0, abs=5.0)


async def test_wait_that_is_too_long_books_nothing(store):
    """And says how long it would have been."""
    await book(store, share(3.0))
    for _ in range(2):
        refused = await book(store, share(1.0), max_wait=5.0)
        assert not refused.is_booked
        assert refused.wait == pytest.approx(10.0, abs=4.0)


async def test_all_or_none(store):
    """Of two limits, the one with the longer wait decides; if that is too long, neither is booked."""
    await book(store, share(3.0, "1:"))
    assert not (await book(store, share(1.0, "0:"), share(1.0, "1:"), max_wait=1.0)).is_booked
    assert (await book(store, share(3.0, "0:"), max_wait=0.0)).is_booked
    both = await book(store, share(1.0, "2:"), share(3.0, "1:"))
    assert both.wait == pytest.approx(30.0, abs=4.0)
    assert (await book(store, share(3.0, "2:"))).wait == pytest.approx(40.0, abs=4.0)  # it isn't used before


async def test_charges(store):
    """What was taken beyond a booking is owed; what wasn't taken isn't."""
    await book(store, share(3.0))
    await book(store, share(0.0, charge=10.0))
    assert (await book(store, share(1.0), max_wait=0.0)).wait == pytest.approx(110.0, abs=4.0)
    await book(store, share(0.0, charge=-100.0))
    assert (await book(store, share(3.0))).wait == 0.0


async def test_giving_back(store):
    """A booking is undone if nothing has been booked after it, and else it stays."""
    first, second = await book(store, share(3.0)), await book(store, share(3.0))
    await store.give_back("http://a.test", first.receipt)
    assert (await book(store, share(3.0), max_wait=0.0)).wait == pytest.approx(60.0, abs=4.0)
    await store.give_back("http://a.test", second.receipt)
    assert (await book(store, share(3.0))).wait == pytest.approx(30.0, abs=4.0)


async def test_keys(store, raw):
    """Each has the origin's hash tag, and vanishes when nothing is owed; processes are counted while they ask."""
    assert [(await book(store, share(1.0), process=name)).processes for name in "aba"] == [1, 2, 2]
    keys = sorted(await raw.keys())
    assert keys == ["seawall:{http://a.test}:0:", "seawall:{http://a.test}:processes"]
    assert 20 <= await raw.ttl(keys[0]) <= 31
    assert 60 <= await raw.ttl(keys[1]) <= 120


async def test_server_that_has_lost_the_script(store, raw):
    """A restart, a fail-over, SCRIPT FLUSH: it is sent again."""
    await book(store, share(1.0))
    await raw.script_flush()
    assert (await book(store, share(1.0))).is_booked


async def test_client_of_ones_own(server, url):
    """A cluster's, a Sentinel's or Valkey's, made in the engine's loop and closed with it."""
    made: list[Any] = []

    def connect() -> Any:
        made.append(Client.from_url(url))
        return made[-1]

    limit = seawall.Limit(rate=1000, shared=Redis(connect=connect))
    async with seawall.AsyncClient(transport=ScriptedWire(), limit=limit) as c:
        assert (await c.get(URL)).status_code == 200
    assert len(made) == 1
    assert not made[0].connection_pool._in_use_connections


# A fleet


@pytest.mark.parametrize("pauses", [(0.0,) * 4, (0.0, 0.3, 0.3, 0.3)])
def test_processes_stay_within_one_rate(place, server, url, pauses):
    """Never more than rate x t + burst in any span, whoever has the work."""
    jobs = [Job(redis=url, seconds=1.5, tasks=1 if pause else 64, pause=pause, patience=PATIENCE) for pause in pauses]
    fleet = Fleet(place, jobs)
    fleet.begin()
    instants = sorted(at for each in fleet.done(60) for at in each.instants)
    assert len(instants) > 150
    for span in (0.01, 0.1, 1.0):
        assert worst(instants, span) <= 1000 * span + 50


@pytest.mark.skipif(program("nginx") is None, reason="nginx isn't installed")
def test_workers_before_nginx(place, server, url):
    """Four processes against limit_req at 50/s: none of their jobs is answered 429, and none is lost."""
    zones = "limit_req_zone $server_name zone=all:1m rate=50r/s;"
    site = Site.nginx(place, zones=zones, server="limit_req zone=all burst=10 nodelay; limit_req_status 429;")
    job = Job(redis=url, rate=50, burst=4, calls=30, tasks=8, url=site.url, patience=PATIENCE)
    fleet = Fleet(place, [job] * 4)
    fleet.begin()
    statuses = [status for each in fleet.done(60) for status in each.statuses]
    assert statuses == [200] * 120


# A server that goes away


class Heard:
    """An observer that counts outages, and has a test wait for the next event."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def on(self, event: Event) -> None:
        if isinstance(event, LimitDegraded | LimitRestored):
            self.events.append(event)

    async def next(self, c: seawall.AsyncClient, kind: type[Event]) -> None:
        """Call until an event of this kind comes."""
        before = len(self.events)
        async with asyncio.timeout(20):
            while not any(isinstance(event, kind) for event in self.events[before:]):
                assert (await c.get(URL)).status_code == 200


def shared_client(url: str, heard: Heard) -> seawall.AsyncClient:
    limit = seawall.Limit(rate=500, burst=50, max_wait=math.inf, shared=Redis(url))
    return seawall.AsyncClient(transport=ScriptedWire(), limit=limit, observers=[heard], deadline=None)


async def test_stopped_server(server, url):
    """Calls go on without it; once it runs again, it is used again."""
    heard = Heard()
    async with shared_client(url, heard) as c:
        await c.get(URL)
        server.signal(signal.SIGSTOP)
        try:
            await heard.next(c, LimitDegraded)
        finally:
            server.signal(signal.SIGCONT)
        await heard.next(c, LimitRestored)


async def test_killed_server(place, port, server, url):
    """Calls go on; one that starts in its place, empty, is used."""
    heard = Heard()
    async with shared_client(url, heard) as c:
        await c.get(URL)
        server.end()
        await heard.next(c, LimitDegraded)
        redis_server(place, port)
        await heard.next(c, LimitRestored)


async def test_server_that_was_never_there(url):
    """Calls go at once, by the fallback."""
    heard = Heard()
    async with shared_client(url, heard) as c:
        await heard.next(c, LimitDegraded)


async def test_server_that_is_far_away(place, port, server):
    """One that is 40 ms away serves, once the connection is made, which takes more than one round trip."""
    heard = Heard()
    async with Network() as network:
        link = network.link((place.address, port))
        link.add(Latency(0.04))
        async with shared_client(f"redis://{link.address}", heard) as c:
            await c.get(URL)
            if heard.events:
                await heard.next(c, LimitRestored)
            assert link.bytes_down > 0
