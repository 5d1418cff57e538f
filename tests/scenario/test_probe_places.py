"""Attempts that sit out a breaker, and the places of its probes that become free meanwhile. On virtual time."""

from __future__ import annotations

import asyncio
import math
from collections import Counter

import httpx
import pytest

import seawall
from seawall.policy.breaker import BreakerState
from seawall.testing import FixedRandom, ScriptedWire, cancel_everywhere

pytestmark = pytest.mark.anyio

URL = "http://api.test"


class Outage:
    """
    An origin whose breaker opened at 0, and is open for 60 s; the probes hang that are sent from 60 on.

    Attributes:
        hangs: Whether what is sent hangs; else it is answered with 200 after *took*.
        sent: Paths of the requests that were sent after the failure, with the instants.
    """

    def __init__(self, took: float = 0.0) -> None:
        self.took = took
        self.hangs = True
        self.sent: list[tuple[str, float]] = []
        self.wire = ScriptedWire(self._upstream)

    def _upstream(self, request: httpx.Request):
        if request.url.path == "/fails":
            return 500
        self.sent.append((request.url.path, asyncio.get_running_loop().time()))
        return math.inf if self.hangs else (self.took, 200)

    def client(self, **settings) -> seawall.AsyncClient:
        breaker = seawall.Breaker(min_calls=1, open_for=60.0, max_open_for=60.0)
        mine = {"rng": FixedRandom(0.5), "breaker": breaker, "retry": None, "budget": None, "waits": True}
        return seawall.AsyncClient(transport=self.wire, **mine | {"deadline": None, "timeout": None} | settings)

    async def begin(self, c: seawall.AsyncClient, waiters: int) -> tuple[list[asyncio.Task], list[asyncio.Task]]:
        """Three probes that hang, and so many calls that wait for them."""
        await c.get(f"{URL}/fails")
        await asyncio.sleep(60.0)
        probes = [asyncio.create_task(c.get(f"{URL}/probe")) for _ in range(3)]
        await asyncio.sleep(10.0)
        calls = [asyncio.create_task(c.get(f"{URL}/{number}")) for number in range(waiters)]
        await asyncio.sleep(1.0)
        assert c.breakers[URL].waiting == waiters
        self.sent.clear()
        return probes, calls


async def end(*tasks: asyncio.Task) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


async def test_cancelled_probe_gives_its_place_to_the_first_that_waits():
    """At once, one place for one call, in the order in which they came; the breaker closes with the third answer."""
    outage = Outage(took=2.0)
    async with outage.client() as c:
        probes, calls = await outage.begin(c, 6)
        outage.hangs = False
        for number, probe in enumerate(probes):
            await end(probe)
            await asyncio.sleep(0.5)
            assert outage.sent[number:] == [(f"/{number}", 71.0 + 0.5 * number)]
        await asyncio.wait(calls)
        assert outage.sent[3:] == [(f"/{number}", 74.0) for number in (3, 4, 5)]
        assert c.breakers[URL].state == "closed"


async def test_patient_call_finds_the_free_place_before_its_deadline():
    """It ended with DeadlineExceeded, though the origin was well and nobody had the places."""
    outage = Outage()
    async with outage.client() as c:
        probes, (call,) = await outage.begin(c, 1)
        late = asyncio.create_task(c.get(f"{URL}/late", extensions=seawall.options(deadline=30.0)))
        await asyncio.sleep(0)
        outage.hangs = False
        await end(*probes)
        assert (await call).status_code == (await late).status_code == 200
        assert asyncio.get_running_loop().time() == 71.0


async def test_nobody_is_woken_in_vain(monkeypatch):
    """A place that becomes free wakes one of a thousand that wait; so does each place at the end of `open_for`."""
    asked: Counter[float] = Counter()
    shut_for = BreakerState.shut_for

    def counting(self: BreakerState, now: float) -> float:
        asked[now] += 1
        return shut_for(self, now)

    outage = Outage()
    async with outage.client() as c:
        probes, calls = await outage.begin(c, 1000)
        monkeypatch.setattr(BreakerState, "shut_for", counting)
        await end(probes[0])
        await asyncio.sleep(49.0)
        assert outage.sent == [("/0", 71.0), *((f"/{number}", 120.0) for number in (1, 2, 3))]
        assert c.breakers[URL].waiting == 996
        assert set(asked) == {71.0, 120.0}
        assert max(asked.values()) < 10
        await end(*probes, *calls)


async def test_woken_call_that_is_cancelled_hands_the_place_on():
    """Before it has run, and after; the next one doesn't wait for another place."""
    outage = Outage(took=1.0)
    async with outage.client() as c:
        probes, calls = await outage.begin(c, 3)
        outage.hangs = False
        probes[0].cancel()
        while c.breakers[URL].waiting == 3:
            await asyncio.sleep(0)
        calls[0].cancel()
        await asyncio.sleep(0.5)
        assert outage.sent == [("/1", 71.0)]
        calls[2].cancel()
        probes[1].cancel()
        await asyncio.sleep(0.5)
        assert outage.sent == [("/1", 71.0)]
        assert c.breakers[URL].waiting == 0
        assert (await calls[1]).status_code == 200
        await end(probes[2])


async def test_newcomer_doesnt_overtake():
    """A call that comes in the moment in which a place becomes free is behind those that wait."""
    outage = Outage(took=1.0)
    async with outage.client() as c:
        probes, calls = await outage.begin(c, 1)
        outage.hangs = False
        probes[0].cancel()
        newcomers = []
        while not outage.sent:
            newcomers.append(asyncio.create_task(c.get(f"{URL}/new", extensions=seawall.options(waits=False))))
            await asyncio.sleep(0)
        await asyncio.wait([*calls, *newcomers])
        assert outage.sent == [("/0", 71.0)]
        assert all(isinstance(each.exception(), seawall.BreakerOpen) for each in newcomers)
        await end(*probes)


async def test_place_that_isnt_taken_goes_to_the_next():
    """Another gate, before the breaker, makes the first one wait."""
    outage = Outage(took=1.0)
    async with outage.client() as c:
        probes, calls = await outage.begin(c, 2)
        outage.hangs = False
        (state,) = c.engine.layers.origins
        gates, state.gates = state.gates, (Shut(), *state.gates)
        await end(probes[0])
        state.gates = gates
        await asyncio.sleep(0.5)
        assert outage.sent == [("/1", 71.0)]
        await end(*probes, *calls)


class Shut(seawall.Gate):
    """Lets the first one wait for ever, and all others through."""

    has_one = False

    def try_enter(self, attempt, now):
        if not self.has_one:
            self.has_one = True
            return None
        return seawall.policy.gate.UNCOUNTED

    async def enter(self, attempt, timeout):
        await asyncio.Event().wait()


@pytest.mark.parametrize("does", ["reset", "force_closed"])
async def test_closed_by_hand_lets_all_go_in_order(does):
    """They are told at once."""
    outage = Outage()
    async with outage.client() as c:
        probes, calls = await outage.begin(c, 9)
        outage.hangs = False
        getattr(c.breakers[URL], does)()
        await asyncio.wait(calls)
        assert outage.sent == [(f"/{number}", 71.0) for number in range(9)]
        await end(*probes)


async def test_forced_open_refuses_all_at_once():
    """Nobody knows for how long that is."""
    outage = Outage()
    async with outage.client() as c:
        probes, calls = await outage.begin(c, 9)
        c.breakers[URL].force_open()
        await asyncio.wait(calls)
        assert all(isinstance(call.exception(), seawall.BreakerOpen) for call in calls)
        assert asyncio.get_running_loop().time() == 71.0
        await end(*probes)


async def test_opens_again_before_they_have_run():
    """Those that were told that it is closed wait on, in their order and before those that came later."""
    outage = Outage()
    async with outage.client() as c:
        probes, calls = await outage.begin(c, 3)
        await end(*probes)
        await end(*calls)
        outage.hangs = False
        breaker = c.breakers[URL]
        breaker._open(71.0, "a test", None)
        calls = [asyncio.create_task(c.get(f"{URL}/{number}")) for number in range(5)]
        await asyncio.sleep(1.0)
        outage.sent.clear()
        breaker.reset()
        breaker._open(72.0, "a test", None)
        calls += [asyncio.create_task(c.get(f"{URL}/{number}")) for number in range(5, 7)]
        await asyncio.wait(calls)
        assert sorted(outage.sent) == [(f"/{number}", 132.0) for number in range(7)]
        assert [path for path, _ in outage.sent][-2:] == ["/5", "/6"]


async def test_origin_that_is_waited_for_isnt_forgotten():
    """Else a reset by hand would not reach those that wait. The others' open breakers fill the table."""
    outage = Outage()
    async with outage.client() as c:
        c.engine.layers.origins.max_origins = 4
        await c.get(f"{URL}/fails")
        call = asyncio.create_task(c.get(f"{URL}/0"))
        await asyncio.sleep(1.0)
        outage.hangs = False
        for number in range(20):
            await c.get(f"http://h{number}.test/fails")
        c.breakers[URL].reset()
        assert (await call).status_code == 200
        assert asyncio.get_running_loop().time() == 1.0


async def test_nothing_is_left_wherever_a_waiter_is_cancelled():
    """Nothing stays behind: neither a place, nor a timer, nor a waiting attempt."""
    outage = Outage()
    outage.hangs = False
    async with outage.client() as c:
        breaker = c.breakers[URL]
        taken: list[int | None] = []

        def probes_hang() -> None:
            breaker._open(asyncio.get_running_loop().time() - 60.0, "a test", None)
            taken[:] = [breaker.try_acquire(asyncio.get_running_loop().time()) for _ in range(3)]

        async def call() -> None:
            waiter = asyncio.create_task(c.get(f"{URL}/0"))
            try:
                for _ in range(4):
                    await asyncio.sleep(0)
                breaker.release(taken.pop())
                await waiter
            finally:
                waiter.cancel()
                await asyncio.wait([waiter])

        def clean() -> None:
            assert (breaker.waiting, breaker._probes_out) == (0, len(taken))
            assert breaker._bench is None or breaker._bench._timer is None

        assert await cancel_everywhere(call, before=probes_hang, after=clean) > 6
        assert breaker._bench is not None
