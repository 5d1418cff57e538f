"""Calls that each fail once, all at once, and a breaker that opens while retries are due: on the virtual clock."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from random import Random

import httpx
import pytest

import seawall
from seawall.testing import FixedRandom, ScriptedWire
from seawall.testing._httpx.wire import WireStep

pytestmark = pytest.mark.anyio

URL = "http://api.test"


def failing_once(step: WireStep) -> ScriptedWire:
    """The first attempt of each path meets *step*; its others are good."""
    seen: Counter[str] = Counter()

    def upstream(request: httpx.Request) -> WireStep:
        seen[request.url.path] += 1
        return step if seen[request.url.path] == 1 else 200

    return ScriptedWire(upstream)


def client(wire: httpx.AsyncBaseTransport, **arguments) -> seawall.AsyncClient:
    return seawall.AsyncClient(transport=wire, **{"rng": FixedRandom()} | arguments)


async def burst(c: seawall.AsyncClient, count: int) -> Counter[object]:
    """What came of so many calls at once: statuses, and names of errors."""
    calls = (c.get(f"{URL}/{number}") for number in range(count))
    results = await asyncio.gather(*calls, return_exceptions=True)
    return Counter(getattr(result, "status_code", None) or type(result).__name__ for result in results)


@pytest.mark.parametrize("step", [(0.05, 503), (0.05, 500), (0.05, httpx.ReadError), (5.0, httpx.ReadTimeout)])
@pytest.mark.parametrize("seed", [None, 1])
@pytest.mark.parametrize(("count", "good"), [(19, 19), (20, 20), (40, 33), (64, 36), (200, 36)])
async def test_cold_burst_recovers(step, seed, count, good):
    """A breaker that opens costs the retries time, not their chance: what fails is what the budget can't pay for."""
    rng = FixedRandom() if seed is None else Random(seed)
    async with client(failing_once(step), rng=rng) as c:
        results = await burst(c, count)
        took = asyncio.get_running_loop().time()
    assert results[200] == good
    last = step[0] + (1.1 if count > 19 else 1.0)
    assert took <= last + 0.1
    assert sum(results.values()) == count


async def test_waits_for_the_probes_and_no_longer():
    """Three probes are sent once the breaker lets them; when they are good, the others follow at once."""
    wire = failing_once((0.05, 500))
    wire_of_probes = ScriptedWire(*[(0.05, 500)] * 20, (0.2, 200))
    for each, instants in ((wire, [1.15] * 20), (wire_of_probes, [1.15] * 3 + [1.35] * 17)):
        async with client(each) as c:
            started_at = asyncio.get_running_loop().time()
            assert await burst(c, 20) == {200: 20}
        assert [round(at - started_at, 9) for at in each.instants[20:]] == instants


async def test_gives_up_with_the_probes():
    """When two of the three fail, the others aren't sent: each call has the outcome of its attempt before."""
    wire = ScriptedWire((0.05, 500))
    budget = seawall.Budget(ratio=0, rate=0)
    async with client(wire, retry=seawall.Retry(max_attempts=2), budget=budget) as c:
        assert await burst(c, 20) == {500: 20}
        assert asyncio.get_running_loop().time() == pytest.approx(1.2)
        assert len(wire.instants) == 23
        (state,) = c.stats().origins.values()
        assert state.budget == 27.0  # a retry that wasn't sent has its token back
        assert c.breakers[URL].state == "open"


async def test_hanging_probes_are_replaced():
    """While the probes hang, others take their places each second, of those that wait too."""
    wire = ScriptedWire(*[(0.05, 500)] * 20, *[100.0] * 3, 200)
    async with client(wire, deadline=None) as c:
        calls = [asyncio.create_task(c.get(URL)) for _ in range(20)]
        done, pending = await asyncio.wait(calls, timeout=3.0)
        assert (len(done), len(pending)) == (17, 3)
        assert Counter(wire.instants[20:]) == {1.15: 3, 2.15: 17}
        for call in pending:
            call.cancel()


async def test_half_open_says_when_to_come_again():
    """While the probes are out, a refusal's retry_after is until others may take their places, not 0."""
    wire = ScriptedWire(*[500] * 20, math.inf)
    async with client(wire, retry=None) as c:
        await burst(c, 20)
        await asyncio.sleep(1.25)
        probes = [asyncio.create_task(c.get(URL)) for _ in range(3)]
        await asyncio.sleep(0.25)
        with pytest.raises(seawall.BreakerOpen, match=r"breaker half-open .*; next probe in 0\.8 s") as caught:
            await c.get(URL)
        assert caught.value.retry_after == 0.75
        for probe in probes:
            probe.cancel()


@pytest.mark.parametrize(("deadline", "good"), [(1.0, 0), (1.2, 20)])
async def test_deadline_that_cannot_hold_the_wait(deadline, good):
    """Then it isn't waited: the outcome of the attempt before is there at once, and says why."""
    async with client(failing_once((0.05, 500)), deadline=deadline) as c:
        results = await asyncio.gather(*(c.get(f"{URL}/{number}") for number in range(20)))
        took = asyncio.get_running_loop().time()
    assert sum(result.status_code == 200 for result in results) == good
    if not good:
        assert took == pytest.approx(0.15)
        notes = Counter(result.extensions["seawall"].note[:19] for result in results)
        assert notes == {"a retry was refused": 19, "the breaker opened,": 1}


async def test_forced_open_is_waited_for_by_nobody():
    """Nobody knows for how long that is."""
    async with client(failing_once((0.05, 500)), deadline=None) as c:
        calls = [asyncio.create_task(c.get(f"{URL}/{number}")) for number in range(3)]
        await asyncio.sleep(0.01)
        c.breakers[URL].force_open()
        results = await asyncio.gather(*calls)
    assert {result.extensions["seawall"].note for result in results} == {
        "the breaker is held open by hand; its reset() closes it"
    }


async def test_first_attempts_wait_for_no_breaker():
    """They are refused at once, as ever."""
    async with client(ScriptedWire(500), retry=None) as c:
        await burst(c, 20)
        began_at = asyncio.get_running_loop().time()
        assert await burst(c, 3) == {"BreakerOpen": 3}
        assert asyncio.get_running_loop().time() == began_at


async def test_cancelled_while_it_waits():
    """Nothing is left: no token, no probe, nobody who is woken."""
    wire = ScriptedWire(*[(0.05, 500)] * 20, 200)
    async with client(wire) as c:
        calls = [asyncio.create_task(c.get(URL)) for _ in range(20)]
        await asyncio.sleep(0.5)
        (state,) = c.engine.layers.origins
        assert (state.breaker.waiting, state.is_idle) == (20, False)
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        assert (state.breaker.waiting, state.is_idle) == (0, True)
        assert state.budget.balance(asyncio.get_running_loop().time()) == 30.0
        await asyncio.sleep(1.0)
        assert [(await c.get(URL)).status_code for _ in range(3)] == [200] * 3
        assert c.breakers[URL].state == "closed"


async def test_time_in_the_wait_is_delay():
    """In the history it's delay, not duration; a pause that the origin asked for is sat out as well."""
    async with client(failing_once((0.05, 500))) as c:
        responses = await asyncio.gather(*(c.get(f"{URL}/{number}") for number in range(20)))
    for response in responses:
        attempt = response.extensions["seawall"][1]
        assert (round(attempt.delay, 9), attempt.duration) == (1.1, 0.0)


@pytest.mark.parametrize("count", [1, 8, 100])
async def test_connections_that_die_are_counted_once(count):
    """Of so many streams that one connection's end took with it, the breaker counts one; another one is another."""

    def upstream(request: httpx.Request) -> Exception:
        return seawall.errors.ConnectionLost("the connection ended", death=deaths[-1])

    deaths = [object()]
    async with client(ScriptedWire(upstream), retry=None, breaker=seawall.Breaker(min_calls=3)) as c:
        for failures in (1, 2):
            assert await burst(c, count) == {"ConnectionLost": count}
            (state,) = c.engine.layers.origins
            assert state.breaker.state == "closed"
            assert sum(state.breaker._totals(0.0, state.breaker.window)[:2]) == 2 * failures
            assert state.trouble == pytest.approx(1 - 0.8**failures)
            deaths.append(object())
        await burst(c, count)
        assert state.breaker.state == "open"


async def test_burst_on_a_bounded_bulkhead():
    """A retry that waits for the breaker holds no permit."""
    async with client(failing_once((0.05, 500)), bulkhead=seawall.Bulkhead(max_concurrent=20), deadline=None) as c:
        calls = [asyncio.create_task(c.get(f"{URL}/{number}")) for number in range(20)]
        await asyncio.sleep(0.5)
        (state,) = c.stats().origins.values()
        assert (state.in_flight, state.waiting, state.breaker) == (0, 0, "open")
        assert {response.status_code for response in await asyncio.gather(*calls)} == {200}
    assert math.isfinite(state.budget)
