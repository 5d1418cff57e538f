"""Lines of limits, driven at random: a turn is taken whenever there is one, whoever comes and goes meanwhile."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Hashable
from random import Random
from types import SimpleNamespace
from typing import NamedTuple

import hypothesis
from hypothesis import given
from hypothesis import strategies as st

from seawall.config import Limit
from seawall.config.criticality import BACKGROUND, CRITICAL, DEFAULT, Criticality
from seawall.errors import LimitExceeded
from seawall.events import Phase
from seawall.policy.limit import LimitState
from seawall.policy.shared import Group, SharedStore
from seawall.testing import run
from tests.books import Books


class Arrival(NamedTuple):
    after: float
    credential: int
    criticality: Criticality
    leaves: float  # after so many seconds, if it waits still
    deadline: float


class Attempt:
    """As far as a limit looks at it."""

    phase, is_buffered = Phase.QUEUED, True

    def __init__(self, arrival: Arrival, ends_at: float) -> None:
        self.criticality = arrival.criticality
        self._ends_at = ends_at
        self._request = SimpleNamespace(headers={"authorization": str(arrival.credential)}, arrival=arrival)

    def part(self, function: Callable[[object], Hashable]) -> Hashable:
        return function(self._request)

    def left(self, now: float) -> float:
        return self._ends_at - now


ARRIVALS = st.builds(
    Arrival,
    st.sampled_from([0.0, 0.0, 0.0, 0.3, 1.0, 7.0]),
    st.integers(0, 6),
    st.sampled_from([CRITICAL, DEFAULT, BACKGROUND]),
    st.sampled_from([0.5, 1.0, 2.0, 3.7, 1000.0, 1000.0]),
    st.sampled_from([1.0, 2.5, 1000.0, 1000.0]),
)


async def seen(arrivals: list[Arrival]) -> tuple[list[float], list[tuple[float, float]]]:
    """When turns were taken, and from when to when each attempt was there."""
    loop = asyncio.get_running_loop()
    state = LimitState("a", (Limit(rate=1, burst=1),), max_shut=30.0, now=loop.time)
    turns: list[float] = []
    stays: list[tuple[float, float]] = []

    async def enter(each: Arrival) -> None:
        came_at = loop.time()
        attempt = Attempt(each, loop.time() + each.deadline)
        try:
            if state.try_enter(attempt, loop.time()) is None:
                await state.enter(attempt, None)
            turns.append(loop.time())
        except (LimitExceeded, asyncio.CancelledError):
            pass
        finally:
            stays.append((came_at, loop.time()))

    tasks = []
    for each in arrivals:
        await asyncio.sleep(each.after)
        tasks.append(asyncio.create_task(enter(each)))
        loop.call_later(each.leaves, tasks[-1].cancel)
    await asyncio.gather(*tasks)
    assert state.is_idle
    assert not any(meter.turnstile for line in state._lines for meter in line.meters)
    return turns, stays


@given(st.lists(ARRIVALS, min_size=1, max_size=25))
@hypothesis.settings(max_examples=150, deadline=None)
def test_no_turn_is_lost(arrivals):
    """Between two turns there is a second, or nobody was there; none is taken earlier."""
    turns, stays = run(seen(arrivals), max_time=5000.0)
    due_at = 0.0
    for turn in sorted(turns):
        assert turn >= due_at - 1e-6
        idle = (due_at, turn)  # in which one could have passed
        lost = [stay for stay in stays if min(stay[1], idle[1]) - max(stay[0], idle[0]) > 1e-6]
        assert not lost, (idle, lost)
        due_at = turn + 1.0
    assert not [stay for stay in stays if stay[1] - max(stay[0], due_at) > 1e-6]


def key(request: SimpleNamespace) -> int:
    return request.arrival.credential % 2


def cost(request: SimpleNamespace) -> float:
    return (0.0, 0.5, 1.0, 3.0, 6.0)[request.arrival.credential % 5]


LIMITS = st.lists(
    st.fixed_dictionaries(
        {"rate": st.sampled_from([0.5, 2.0, 10.0, 100.0]), "burst": st.sampled_from([1, 2, 10])},
        optional={
            "cost": st.just(cost),
            "key": st.just(key),
            "shared": st.just(True),
            "fallback": st.sampled_from(["share", "open", "closed"]),
        },
    ),
    min_size=1,
    max_size=3,
)
MANY = st.builds(
    Arrival,
    st.sampled_from([0.0, 0.0, 0.0, 0.001, 0.02, 0.3, 1.0, 5.0]),
    st.integers(0, 9),
    st.sampled_from([CRITICAL, DEFAULT, BACKGROUND]),
    st.sampled_from([0.004, 0.7, 2.0, math.inf, math.inf]),
    st.just(math.inf),
)
FAULTS = st.lists(st.tuples(st.floats(0.0, 40.0), st.sampled_from(["fails", "is silent", "is slow", "is well"])))


async def left_over(settings: list[dict[str, object]], arrivals: list[Arrival], faults: list[tuple[float, str]]) -> int:
    """How many attempts still wait when all should long have had their turn."""
    loop, store = asyncio.get_running_loop(), Books(0.002)
    limits = [
        Limit(max_wait=math.inf, **{**each, **({"shared": store} if "shared" in each else {})}) for each in settings
    ]
    shared = SharedStore(store, rng=Random(1))
    told = {"degraded": lambda *_: None, "restored": lambda _: None}
    group = Group("a", shared, processes=1, now=loop.time, **told)
    state = LimitState("a", tuple(limits), max_shut=30.0, now=loop.time, group=group)

    def becomes(what: str) -> None:
        store.error = ConnectionError() if what == "fails" else None
        store.delay = {"is silent": math.inf, "is slow": 0.03}.get(what, 0.002)

    async def enter(each: Arrival) -> None:
        attempt = Attempt(each, math.inf)
        if state.try_enter(attempt, loop.time()) is None:
            await state.enter(attempt, None)

    for at, what in [*faults, (sum(each.after for each in arrivals) + 40.0, "is well")]:
        loop.call_later(at, becomes, what)
    tasks = []
    for each in arrivals:
        await asyncio.sleep(each.after)
        tasks.append(asyncio.create_task(enter(each)))
        if each.leaves < math.inf:
            loop.call_later(each.leaves, tasks[-1].cancel)
    _, waiting = await asyncio.wait(tasks, timeout=100.0 + 3 * sum(6.0 / 0.5 for _ in arrivals))
    for task in waiting:
        task.cancel()
    await asyncio.sleep(0.0)
    assert state.is_idle
    assert not any(meter.turnstile for line in state._lines for meter in line.meters)
    await shared.aclose()
    return len(waiting)


@given(LIMITS, st.lists(MANY, min_size=1, max_size=20), FAULTS)
@hypothesis.settings(max_examples=60, deadline=None)
def test_nobody_waits_for_ever(settings, arrivals, faults):
    """Whatever several limits, shared or not, are of; whoever leaves; and whatever becomes of the store."""
    assert run(left_over(settings, arrivals, faults), max_time=1e5) == 0
