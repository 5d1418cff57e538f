"""Lines of one limit, driven at random: a turn is taken whenever there is one, whoever comes and goes meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
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
from seawall.testing import run


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
        self._request = SimpleNamespace(headers={"authorization": str(arrival.credential)})

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
