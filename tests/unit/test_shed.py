"""Which background attempts an adaptive bulkhead in trouble refuses."""

from __future__ import annotations

import asyncio

import pytest

from seawall.config.criticality import BACKGROUND, CRITICAL, DEFAULT
from seawall.errors import Shed
from seawall.policy.adaptive import AdaptiveState
from seawall.policy.bulkhead import BulkheadState
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
