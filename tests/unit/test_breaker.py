"""The breaker, at exact instants."""

from __future__ import annotations

from random import Random

from seawall.policy.breaker import BreakerState
from seawall.settings import Breaker


class Middle(Random):
    def uniform(self, low: float, high: float) -> float:
        return (low + high) / 2


def make(**settings) -> tuple[BreakerState, list[str]]:
    moves: list[str] = []
    return BreakerState(
        Breaker(**settings), rng=Middle(), moved=lambda previous, state, reason: moves.append(state)
    ), moves


def fail(breaker: BreakerState, now: float, times: int = 1) -> None:
    for _ in range(times):
        generation = breaker.try_acquire(now)
        assert generation is not None
        breaker.record(generation, now, is_failure=True)


def test_opens_at_the_twentieth_failure_and_not_before():
    """20 attempts, half of them failed; then nobody passes for 5 s."""
    breaker, moves = make()
    fail(breaker, 0.0, 19)
    assert breaker.try_acquire(0.0) is not None
    fail(breaker, 0.0)
    assert moves == ["open"]
    assert breaker.try_acquire(4.9) is None
    assert breaker.retry_after(4.0) == 1.0


def test_old_failures_are_forgotten():
    """19 failures 10 s ago don't count."""
    breaker, moves = make()
    fail(breaker, 0.0, 19)
    fail(breaker, 10.0)
    assert moves == []
    assert breaker.failure_share(10.0) == 1.0


def test_three_probes_close_it():
    """No fourth while they are out; all good: closed, the window empty."""
    breaker, moves = make()
    fail(breaker, 0.0, 20)
    probes = [breaker.try_acquire(5.0) for _ in range(4)]
    assert probes[3] is None
    for probe in probes[:3]:
        breaker.record(probe, 5.0, is_failure=False)
    assert moves == ["open", "half-open", "closed"]
    assert breaker.failure_share(5.0) == 0.0


def test_failed_probes_open_it_again_and_from_the_fourth_opening_on_for_longer():
    """5, 5, 5, then 10, 20, 40, 60, 60 s."""
    breaker, _ = make()
    fail(breaker, 0.0, 20)
    lengths, now = [], 0.0
    for _ in range(8):
        length = breaker.retry_after(now)
        lengths.append(length)
        now += length
        fail(breaker, now, 2)
        assert breaker.state == "open"
    assert lengths == [5, 5, 5, 10, 20, 40, 60, 60]


def test_stale_outcomes_change_nothing():
    """What began before the breaker opened neither closes it nor opens it again."""
    breaker, moves = make()
    early = breaker.try_acquire(0.0)
    fail(breaker, 0.0, 20)
    breaker.record(early, 1.0, is_failure=False)
    probe = breaker.try_acquire(5.0)
    breaker.record(early, 5.0, is_failure=True)
    breaker.release(early)
    assert breaker.state == "half-open"
    breaker.record(probe, 5.0, is_failure=False)
    assert moves == ["open", "half-open"]


def test_cancelled_probe_gives_its_place_back():
    """Half-open never sticks."""
    breaker, _ = make(probes=1)
    fail(breaker, 0.0, 20)
    for _ in range(5):
        probe = breaker.try_acquire(5.0)
        assert probe is not None
        assert breaker.try_acquire(5.0) is None
        breaker.release(probe)
    breaker.record(breaker.try_acquire(5.0), 5.0, is_failure=False)
    assert breaker.state == "closed"
