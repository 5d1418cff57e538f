"""Which background attempts an adaptive bulkhead in trouble refuses."""

from __future__ import annotations

import asyncio
from random import Random

import pytest

import seawall
from seawall.config import Policy
from seawall.config.criticality import BACKGROUND, CRITICAL, DEFAULT
from seawall.errors import Shed
from seawall.policy.adaptive import AdaptiveState
from seawall.policy.bulkhead import BulkheadState
from seawall.policy.gate import Gate
from seawall.policy.origins import Origins
from seawall.policy.shed import ShedState
from seawall.testing.clock import VIRTUAL
from tests.entrants import entrant

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return VIRTUAL


def troubled() -> AdaptiveState:
    """A bulkhead whose trouble began at 0."""
    made = AdaptiveState("https://a:443", 8, moved=lambda *_: None, setting="Bulkhead.max_concurrent")
    made._trouble.since, made._trouble._timeouts = 0.0, (1.0,)
    return made


async def test_only_background_is_refused():
    """While anything else is in flight or waits; without trouble, nothing is."""
    bulkhead = troubled()
    gate = ShedState("https://a:443", bulkhead)
    held = bulkhead.try_enter(entrant(DEFAULT), 0.0)
    for criticality in (CRITICAL, DEFAULT):
        gate.try_enter(entrant(criticality), 0.0).end(None, 0.0)
    assert gate.try_enter(entrant(BACKGROUND), 0.0) is None
    with pytest.raises(Shed, match="https://a:443: a background call was refused"):
        await gate.enter(entrant(BACKGROUND), 5.0)
    bulkhead._trouble.since = None
    assert gate.try_enter(entrant(BACKGROUND), 0.0) is not None
    held.end(None, 0.0)
    plain = BulkheadState("https://a:443", 8, setting="Bulkhead.max_concurrent")
    assert ShedState("https://a:443", plain).try_enter(entrant(BACKGROUND), 0.0) is not None


async def test_one_a_second_passes_alone():
    """And none while that one is in flight."""
    bulkhead = troubled()
    gate, attempt = ShedState("https://a:443", bulkhead), entrant(BACKGROUND)

    def passes(now: float) -> bool:
        return gate.try_enter(attempt, now) is not None

    assert [passes(now) for now in (0.0, 0.0, 0.9, 1.0, 1.5)] == [True, False, False, True, False]
    held = bulkhead.try_enter(attempt, 2.0)
    assert not passes(3.0)
    held.end(None, 3.0)
    assert passes(3.0)


async def test_waiters_are_refused_when_trouble_begins():
    """Background ones; a permit that comes goes to another."""
    bulkhead = AdaptiveState("https://a:443", 1, moved=lambda *_: None, setting="Bulkhead.max_concurrent")
    await bulkhead.acquire(None)
    tasks = [asyncio.create_task(bulkhead.acquire(None, each)) for each in (BACKGROUND, DEFAULT, BACKGROUND)]
    await asyncio.sleep(0)
    tasks[2].cancel()  # and has not run yet
    bulkhead._trouble.since = 0.0
    bulkhead._has_moved("a test")
    bulkhead.release()
    await asyncio.wait(tasks)
    assert isinstance(tasks[0].exception(), Shed)
    assert tasks[1].exception() is None
    assert tasks[2].cancelled()
    assert (bulkhead.statistics()[1:3], bulkhead._background) == ((1, 0), 0)


def test_it_is_the_first_gate_while_there_is_trouble():
    """Before the one at which calls wait for an origin that is away; without trouble there is none."""
    policy = {"retry": None, "bulkhead": seawall.Bulkhead(), "breaker": seawall.Breaker(), "budget": None}
    origins = Origins(Policy(deadline=None, **policy), {}, rng=Random(0), emit=lambda _: None, now=lambda: 0.0)
    state = origins[seawall.Origin("http", "a.test", 80)]
    away, usual = Gate(), state.gates
    for is_away_first in (True, False):
        if is_away_first:
            state.went_away(away)
        state.bulkhead._trouble.since, state.bulkhead._trouble._timeouts = 0.0, (1.0,)
        state.trouble_moved()
        state.trouble_moved()
        if not is_away_first:
            state.went_away(away)
        assert state.gates == (state.shed, away, *usual)
        assert state.is_in_trouble(entrant(BACKGROUND), 0.0)
        if is_away_first:
            state.came_back()
            assert state.gates == (state.shed, *usual)
        state.bulkhead._trouble.since = None
        state.trouble_moved()
        assert not state.is_in_trouble(entrant(BACKGROUND), 0.0)
    assert (state.gates, state.shed) == ((away, *usual), None)
