"""Limits that many engines share through a store, at exact instants."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack, suppress
from typing import Any

import httpx
import pytest

import seawall
from seawall.config.store import Booking, Share
from seawall.events import LimitDegraded, LimitRestored
from seawall.testing import FixedRandom, ScriptedWire, cancel_everywhere
from tests.books import Books, worst

pytestmark = pytest.mark.anyio
REFUSED = ConnectionRefusedError("nobody listens")

URL = "http://a.test/"


def client(wire: ScriptedWire, **settings: Any) -> seawall.AsyncClient:
    return seawall.AsyncClient(transport=wire, rng=FixedRandom(0.5), **settings)


async def used(
    store: Books, workers: Iterable[tuple[int, float]], seconds: float, **settings: Any
) -> tuple[list[float], list[int]]:
    """
    The instants at which clients, each with an engine of its own, send; and how many each has sent.

    Args:
        workers: For each client how many callers it has, and their pause between calls.
        settings: Of the limit.
    """
    loop, wires = asyncio.get_running_loop(), []

    async def calls(c: seawall.AsyncClient, pause: float) -> None:
        while loop.time() < seconds:
            await c.get(URL)
            await asyncio.sleep(pause)

    async with AsyncExitStack() as stack, asyncio.TaskGroup() as tasks:
        for count, pause in workers:
            wires.append(ScriptedWire())
            limit = seawall.Limit(shared=store, max_wait=math.inf, **settings)
            c = await stack.enter_async_context(client(wires[-1], limit=limit, bulkhead=None, deadline=None))
            for _ in range(count):
                tasks.create_task(calls(c, pause))
    return [at for wire in wires for at in wire.instants if at < seconds], [len(wire.instants) for wire in wires]


@pytest.mark.parametrize("delay", [0.0, 0.001, 0.02])
async def test_many_engines_stay_within_one_rate(delay):
    """Never more than rate x t + burst in any span, 98 % of it used, evenly, in one question for 20 requests."""
    store = Books(delay)
    instants, shares = await used(store, [(64, 0.0)] * 4, 5.0, rate=1000, burst=50)
    for span in (0.001, 0.01, 0.1, 1.0, 5.0):
        assert worst(instants, span) <= 1000 * span + 50
    assert len(instants) >= 0.98 * 5000
    assert min(shares) >= 0.2 * sum(shares)
    assert len(store.asked) <= 0.05 * len(instants)


async def test_store_that_is_far_away():
    """Several questions are in flight, so that one process may use most of the rate, and never more than all of it."""
    store = Books(0.04)
    instants, _ = await used(store, [(64, 0.0)], 5.0, rate=1000, burst=50)
    for span in (0.001, 0.01, 0.1, 1.0):
        assert worst(instants, span) <= 1000 * span + 50
    assert len(instants) >= 0.85 * 5000


async def test_one_busy_beside_three_idle_ones():
    """It has what the others leave."""
    store = Books(0.001)
    instants, shares = await used(store, [(64, 0.0), (1, 0.7), (1, 0.7), (1, 0.7)], 5.0, rate=1000, burst=50)
    assert worst(instants, 1.0) <= 1050
    assert shares[0] >= 0.95 * 5000
    assert len(store.asked) <= 0.05 * len(instants) + 3 * 5 / 0.7 + 4


@pytest.mark.parametrize(("rate", "burst"), [(50.0, 5.0), (10.0, 1.0), (200.0, 2.0)])
async def test_small_bursts(rate, burst):
    """Their bound holds too, and they are used."""
    instants, _ = await used(Books(0.001), [(8, 0.0)] * 4, 10.0, rate=rate, burst=burst)
    for span in (0.01, 0.1, 1.0, 10.0):
        assert worst(instants, span) <= rate * span + burst + 0.01
    assert len(instants) >= 0.95 * rate * 10


async def test_even_traffic_below_the_rate_rarely_waits():
    """Leases are fetched ahead at half, so a call waits for a question now and then only."""
    store = Books(0.002)
    wire = ScriptedWire()
    async with client(wire, limit=seawall.Limit(rate=10_000, burst=2_000, shared=store)) as c:
        waited = 0
        for _ in range(1000):
            response = await c.get(URL)
            waited += bool(dict(response.extensions["seawall"][0].queued).get("limit"))
            await asyncio.sleep(0.001)
    assert waited <= 30
    assert len(store.asked) <= 130  # more at first, because it doesn't know yet how many it needs


async def test_several_hold_together():
    """Two shared limits and one of this process alone: the slowest decides, and one question books both."""
    store, wire = Books(), ScriptedWire()
    limits = (
        seawall.Limit(rate=100, burst=2, shared=store),
        seawall.Limit(rate=1000, burst=100),
        seawall.Limit(rate=60, per=60, burst=2, shared=store),
    )
    async with client(wire, limit=limits, timeout=httpx.Timeout(5.0, pool=9.0)) as c:
        await asyncio.gather(*(c.get(URL) for _ in range(4)))
    assert wire.instants == pytest.approx([0.0, 1.0, 2.0, 3.0], abs=1e-5)
    assert {tuple(share.key for share in shares) for shares in store.asked} == {("0:", "2:")}


async def test_cost_and_settlement():
    """What an answer took more than it had booked is told to the store, where others wait for it."""
    store, wire = Books(), ScriptedWire(lambda request: httpx.Response(200, json={"tokens": 30}))
    limit = seawall.Limit(
        rate=10, burst=20, shared=store, cost=lambda request: 10.0, settle=lambda response: response.json()["tokens"]
    )
    async with client(wire, limit=limit) as one, client(wire, limit=limit) as other:
        await one.get(URL)
        await asyncio.sleep(0)
        await other.get(URL)
        assert wire.instants == pytest.approx([0.0, 3.0], abs=1e-5)
        await asyncio.sleep(0.01)
        assert store.due["0:"] == pytest.approx(6.0)


async def test_keys_are_the_same_in_each_process_and_tell_nothing():
    """Each tenant has its own, by a hash of it."""
    store, wire = Books(), ScriptedWire()
    limit = seawall.Limit(rate=1, burst=1, shared=store, key=lambda request: request.headers["x-tenant"])
    async with client(wire, limit=limit) as one, client(wire, limit=limit) as other:
        await asyncio.gather(*(c.get(URL, headers={"X-Tenant": tenant}) for tenant in "ab" for c in (one, other)))
    assert wire.instants == pytest.approx([0.0, 0.0, 1.0, 1.0], abs=1e-5)
    assert all(len(key) == len("0:") + 24 for key in store.due)


async def test_wait_that_cannot_end_in_time_is_refused_at_once():
    """By what the store says of the others, and nothing is booked for it."""
    store, wire = Books(), ScriptedWire()
    limit = seawall.Limit(rate=1, burst=1, shared=store, max_wait=1.5)
    async with client(wire, limit=limit) as one, client(wire, limit=limit) as other:
        await one.get(URL)
        second = asyncio.create_task(one.get(URL))
        await asyncio.sleep(0.1)
        with pytest.raises(seawall.LimitExceeded) as refused:
            await other.get(URL)
        assert asyncio.get_running_loop().time() == pytest.approx(0.1, abs=1e-5)
        assert refused.value.retry_after == pytest.approx(1.9)
        assert (await second).status_code == 200
        assert store.due["0:"] == pytest.approx(2.0)


async def test_cancelled_waiters_give_back_what_nobody_has_booked_after():
    """Once all waiters have left, the booking that was to come is undone."""
    store, wire = Books(), ScriptedWire()
    limit = seawall.Limit(rate=1, burst=1, shared=store)
    async with client(wire, limit=limit) as c:
        await c.get(URL)
        waiting = asyncio.create_task(c.get(URL))
        await asyncio.sleep(0.5)
        assert store.due["0:"] == pytest.approx(2.0)
        waiting.cancel()
        await asyncio.wait([waiting])
        await asyncio.sleep(0.01)
        assert store.due["0:"] == pytest.approx(1.0)
        await c.get(URL)
    assert wire.instants == pytest.approx([0.0, 1.0], abs=1e-5)


async def test_cancelled_anywhere():
    """Nobody waits afterwards, and nothing is asked once the client is closed."""
    store, tasks = Books(), len(asyncio.all_tasks())
    limit = seawall.Limit(rate=1e9, shared=store)
    async with client(ScriptedWire(), limit=limit) as c:

        def clean() -> None:
            assert all(state.is_idle for state in c.engine.layers.origins)

        assert await cancel_everywhere(lambda: c.get(URL), after=clean) >= 2
    assert (store.opened, store.closed) == (1, 1)
    assert len(asyncio.all_tasks()) == tasks


async def test_unsent_gives_back():
    """What wasn't sent may be used by the next attempt, without a question."""
    store, answers = Books(), iter([httpx.ConnectError("refused"), 200])
    limit = seawall.Limit(rate=1, burst=1.9, shared=store)
    async with client(ScriptedWire(lambda request: next(answers)), limit=limit, retry=None) as c:
        with pytest.raises(httpx.ConnectError):
            await c.get(URL)
        assert (await c.get(URL)).status_code == 200
    assert asyncio.get_running_loop().time() == pytest.approx(0.0, abs=1e-5)
    assert len(store.asked) == 1


# A store that knows only yes and no


class Limiter:
    """
    Admits one request in half a second, and refuses the others; *said* is what it tells of their wait.

    Attributes:
        asked: The instants of all questions.
    """

    def __init__(self, said: float | None) -> None:
        self.asked: list[float] = []
        self.processes = 1
        self._said = said
        self._free_at = 0.0

    def open(self) -> Limiter:
        return self

    async def book(self, group: str, shares: Sequence[Share], *, process: str, max_wait: float) -> Booking:
        now = asyncio.get_running_loop().time()
        self.asked.append(now)
        assert len(self.asked) < 1000, "asked at once, again and again"
        if now < self._free_at - 1e-9:
            return Booking(self._free_at - now if self._said is None else self._said, is_booked=False)
        self._free_at = now + sum(share.amount for share in shares) / 2
        return Booking(0.0)

    async def give_back(self, group: str, receipt: Any) -> None:
        pass

    async def aclose(self) -> None:
        pass


@pytest.mark.parametrize(("said", "most"), [(None, 2), (0.1, 6), (0.0, 51)])
async def test_store_that_says_no_is_asked_again_when_it_has_said(said, most):
    """Not at once, though the caller would wait longer; one that names no wait is asked each 10 ms."""
    store, wire = Limiter(said), ScriptedWire()
    async with client(wire, limit=seawall.Limit(rate=2, burst=1, shared=store)) as c:
        await asyncio.gather(*(c.get(URL) for _ in range(5)))
    assert wire.instants == pytest.approx([0.0, 0.5, 1.0, 1.5, 2.0], abs=0.01)
    assert len(store.asked) <= 4 * most + 2


async def test_store_that_says_no_for_too_long_refuses():
    """Where its wait reaches past the caller's, the caller hears so at once."""
    store, wire = Limiter(None), ScriptedWire()
    async with client(wire, limit=seawall.Limit(rate=2, burst=1, shared=store, max_wait=0.3)) as c:
        await c.get(URL)
        with pytest.raises(seawall.LimitExceeded):
            await c.get(URL)
        assert asyncio.get_running_loop().time() == pytest.approx(0.0, abs=1e-5)
        await asyncio.sleep(0.3)
        await c.get(URL)
    assert wire.instants == pytest.approx([0.0, 0.5])


class Unclosed(Books):
    """A store whose `aclose` hangs or raises."""

    def __init__(self, fault: str) -> None:
        super().__init__(0.001)
        self.fault = fault

    async def aclose(self) -> None:
        await super().aclose()
        if self.fault == "hangs":
            await asyncio.sleep(50.0)
        if self.fault == "raises":
            raise OSError("it can't be closed")


@pytest.mark.parametrize("fault", ["hangs", "raises"])
async def test_store_that_cannot_be_closed_keeps_no_other_open(fault):
    """Each is closed, within the second that closing may take."""
    stores = Unclosed(fault), Books(0.001)
    hosts = {
        f"{name}.test": seawall.Policy(limit=seawall.Limit(rate=10, shared=store))
        for name, store in zip("ab", stores, strict=True)
    }
    c = client(ScriptedWire(), per_host=hosts)
    for name in "ab":
        await c.get(f"http://{name}.test/")
    began_at = asyncio.get_running_loop().time()
    with suppress(OSError):
        await c.aclose()
    assert asyncio.get_running_loop().time() - began_at <= 1.01
    assert [store.closed for store in stores] == [1, 1]


# Without the store


def counted(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The instants of all timers that are set from now on."""
    loop, timers = asyncio.get_running_loop(), []
    set_timer = loop.call_at

    def call_at(when: float, *arguments: Any, **more: Any) -> asyncio.TimerHandle:
        timers.append(when)
        assert len(timers) < 5000, "it doesn't sleep"
        return set_timer(when, *arguments, **more)

    monkeypatch.setattr(loop, "call_at", call_at)
    return timers


@pytest.mark.parametrize("gate", ["limit", "bulkhead"])
async def test_waiting_for_a_silent_store_costs_nothing(monkeypatch, gate):
    """With "closed", calls of all origins sleep while it is asked again, and go on as soon as it is back."""
    store, wire = Books(math.inf), ScriptedWire()
    if gate == "limit":
        settings = {"limit": seawall.Limit(rate=1e4, burst=1e3, max_wait=math.inf, shared=store, fallback="closed")}
    else:
        settings = {"bulkhead": seawall.Bulkhead(max_concurrent=100, shared=store, fallback="closed")}
    async with client(wire, deadline=None, timeout=None, **settings) as c:
        calls = [asyncio.create_task(c.get(f"http://h{number}.test/")) for number in range(10)]
        await asyncio.sleep(1.0)
        timers = counted(monkeypatch)
        await asyncio.sleep(5.0)

        assert len(timers) <= 5 / 0.45 * (len(calls) * 3 + 8)  # 8 of the question itself
        store.delay = 0.001
        await asyncio.wait(calls)
        assert asyncio.get_running_loop().time() <= 7.0
    assert wire.instants == pytest.approx([wire.instants[0]] * 10, abs=0.06)


async def test_store_that_is_back_serves_those_who_wait_for_their_share():
    """They needn't wait for the turn that they would have had without it."""
    store, wire = Books(), ScriptedWire()
    store.error = REFUSED
    limit = seawall.Limit(rate=1, per=60, burst=2, max_wait=math.inf, shared=store, processes=2)
    async with client(wire, deadline=None, timeout=None, limit=limit) as c:
        await c.get(URL)
        waiting = asyncio.create_task(c.get(URL))
        await asyncio.sleep(1.0)
        store.error = None
        await waiting
    assert wire.instants == pytest.approx([0.0, 1.5], abs=0.5)


async def test_those_who_wait_go_by_their_fallback_once_the_store_is_away():
    """Whichever call has found that out."""
    store, wire = Books(), ScriptedWire()
    limit = seawall.Limit(rate=1, per=60, burst=1, max_wait=math.inf, shared=store, fallback="open")
    async with client(wire, deadline=None, timeout=None, limit=limit) as c:
        await c.get(URL)
        waiting = asyncio.create_task(c.get(URL))
        await asyncio.sleep(5.0)
        store.error = REFUSED
        await c.get("http://b.test/")
        await waiting
    assert wire.instants == pytest.approx([0.0, 5.0, 5.0], abs=1e-5)


async def test_silent_store_costs_50_ms_once():
    """Then this process' share is what is used, until the store answers again, within 1 s; observers hear of it."""
    store, wire, heard = Books(), ScriptedWire(), []
    limit = seawall.Limit(rate=100, burst=10, shared=store, max_wait=math.inf)

    def hear(event: object) -> None:
        if isinstance(event, LimitDegraded | LimitRestored):
            heard.append((asyncio.get_running_loop().time(), event))

    async with client(wire, limit=limit, observers=[hear], deadline=None) as one, client(wire, limit=limit) as other:
        await other.get(URL)
        await one.get(URL)
        await asyncio.sleep(1.0)
        store.delay = math.inf
        wire.attempts.clear()
        await asyncio.gather(*(one.get(URL) for _ in range(105)))
        gone = [at - 1.0 for at in wire.instants]
        assert gone[0] == pytest.approx(0.05, abs=0.02)
        assert gone[4] == gone[0]  # a burst of 10, shared by two
        assert gone[-1] == pytest.approx(gone[0] + 2.0, abs=0.02)
        assert len(store.asked) <= 2 + 2 * 4
        store.delay, back_at = 0.001, asyncio.get_running_loop().time()
        while len(heard) < 2:
            await one.get(URL)
    (_, degraded), (restored_at, restored) = heard
    assert degraded == (seawall.Origin("http", "a.test", 80), "limit", "share", 2, "no answer within 50 ms")
    assert restored_at - back_at <= 1.0
    assert restored.duration == pytest.approx(restored_at - 1.05, abs=0.05)


@pytest.mark.parametrize(
    ("settings", "instants"),
    [
        ({"processes": 2}, [0.0, 0.2, 0.4, 0.6]),
        ({"fallback": "open"}, [0.0] * 4),
        ({"fallback": "closed"}, [1.35, 1.45, 1.55, 1.65]),
    ],
)
async def test_refused_connection_costs_nothing(settings, instants):
    """The fallback holds at once: the share, nothing at all, or only what the store admits once it is back."""
    store, wire = Books(), ScriptedWire()
    store.error = REFUSED
    limit = seawall.Limit(rate=10, burst=2, max_wait=9.0, shared=store, **settings)

    async def comes_back() -> None:
        await asyncio.sleep(1.0)
        store.error = None

    async with client(wire, limit=limit) as c:
        await asyncio.gather(comes_back(), *(c.get(URL) for _ in range(4)))
    assert wire.instants == pytest.approx(instants, abs=0.01)


async def test_turn_of_the_share_that_is_given_back_wakes_others():
    """While the store is away, callers with other credentials have one share together."""
    store, wire = Books(), ScriptedWire((0.2, httpx.ConnectError), 200)
    store.error = REFUSED
    limit = seawall.Limit(rate=1, per=60, burst=1, max_wait=math.inf, shared=store)
    async with client(wire, limit=limit, retry=None, deadline=None, timeout=None) as c:
        first = asyncio.create_task(c.get(URL))
        await asyncio.sleep(0.1)
        await c.get(URL, headers={"Authorization": "another"})
        await asyncio.wait([first])
        assert isinstance(first.exception(), httpx.ConnectError)
    assert wire.instants == pytest.approx([0.0, 0.2])


async def test_busy_process_is_not_the_stores_fault():
    """A loop that is late finds the answer, though its timer rings."""
    store, heard = Books(0.02), []
    async with client(
        ScriptedWire(), limit=seawall.Limit(rate=100, burst=10, shared=store), observers=[heard.append]
    ) as c:
        loop = asyncio.get_running_loop()
        call = asyncio.create_task(c.get(URL))
        await asyncio.sleep(0.005)
        loop._virtual_now += 0.2  # type: ignore[attr-defined]  # a callback that takes as long
        await call
    assert not any(isinstance(event, LimitDegraded) for event in heard)


async def test_closing_does_not_wait_for_a_silent_store():
    """Questions in flight are cancelled."""
    store, tasks = Books(math.inf), len(asyncio.all_tasks())
    async with client(ScriptedWire(), limit=seawall.Limit(rate=100, shared=store)) as c:
        call = asyncio.create_task(c.get(URL))
        await asyncio.sleep(0.01)
    assert isinstance((await asyncio.gather(call, return_exceptions=True))[0], seawall.ClientClosed)
    assert asyncio.get_running_loop().time() == pytest.approx(0.01)
    assert len(asyncio.all_tasks()) == tasks


def test_settings_that_cannot_be():
    """Each names itself and what it must be."""
    store = Books()
    for settings, error, text in (
        ({"shared": "redis://localhost"}, TypeError, "Limit.shared must be a store"),
        ({"shared": Books}, TypeError, "Limit.shared must be a store"),
        ({"shared": store, "rate": None}, ValueError, "shared need a rate"),
        ({"fallback": "half"}, ValueError, "Limit.fallback must be one of share, open, closed"),
        ({"processes": 0}, ValueError, "Limit.processes must be >= 1"),
    ):
        with pytest.raises(error, match=text):
            seawall.Limit(**{"rate": 1, **settings})
    with pytest.raises(ValueError, match="can't be shared through different stores"):
        seawall.Policy(limit=(seawall.Limit(rate=1, shared=store), seawall.Limit(rate=1, shared=Books())))
