"""The breaker, at exact instants."""

from __future__ import annotations

from random import Random

from seawall.config import Breaker
from seawall.policy.breaker import BreakerState


class Middle(Random):
    def uniform(self, low: float, high: float) -> float:
        return (low + high) / 2


def make(**settings) -> tuple[BreakerState, list[str]]:
    moves: list[str] = []
    settings = Breaker(**{"open_for": 5.0} | settings)
    return BreakerState(
        settings, rng=Middle(), moved=lambda previous, state, reason: moves.append(state), now=lambda: 0.0
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
    record(breaker, 10.0, is_failure=False)
    assert [breaker.failure_share(at) for at in (10.0, 20.0)] == [0.5, 0.0]


def test_what_is_forgotten_is_no_matter_of_luck():
    """10 s are 10 s, whenever a tenth of them began."""
    breaker, moves = make()
    fail(breaker, 0.0, 10)
    fail(breaker, 9.5, 9)
    fail(breaker, 10.2)
    assert moves == []


def test_the_window_is_kept_in_tenths():
    """One attempt in each second of ten: all count, and each goes when its own ten seconds are over."""
    breaker, _ = make()
    fail(breaker, 0.0)
    for second in range(1, 10):
        record(breaker, float(second), is_failure=False)
    assert breaker.failure_share(9.9) == 0.1
    assert breaker.failure_share(10.0) == 0.0
    fail(breaker, 10.0)
    shares = [breaker.failure_share(at) for at in (10.0, 10.9, 11.0, 18.9, 19.9, 20.0)]
    assert shares == [0.1, 0.1, 1 / 9, 0.5, 1.0, 0.0]


def test_quick_failures_are_not_slow():
    """Two of four failed, and none was slow."""
    breaker, moves = make(failure_rate=1.0, slow_call=1.0, slow_rate=0.5, min_calls=4)
    for is_failure in (False, False, True, True):
        record(breaker, 0.0, is_failure=is_failure)
    assert moves == []


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
    fail(breaker, 5.0, 19)
    assert moves[-1] == "closed"
    fail(breaker, 5.0)
    assert moves[-1] == "open"


def test_failed_probes_open_it_again_for_as_long():
    """However often: the end of a long outage is noticed as soon as that of a short one."""
    breaker, _ = make()
    fail(breaker, 0.0, 20)
    lengths, now = [], 0.0
    for _ in range(8):
        length = breaker.retry_after(now)
        lengths.append(length)
        now += length
        fail(breaker, now, 2)
        assert breaker.state == "open"
    assert lengths == [5] * 8


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


def test_no_more_probes_than_are_needed():
    """Those that are done have their places still."""
    breaker, _ = make()
    fail(breaker, 0.0, 20)
    record(breaker, 5.0, 2, is_failure=False)
    assert [breaker.try_acquire(5.0) is None for _ in range(2)] == [False, True]


def test_probe_of_before_takes_no_place():
    """One that was out when others opened the breaker again: the next time there are three."""
    breaker, _ = make()
    fail(breaker, 0.0, 20)
    stuck = breaker.try_acquire(5.0)
    fail(breaker, 5.0, 2)
    assert [breaker.try_acquire(10.0) is None for _ in range(4)] == [False, False, False, True]
    breaker.release(stuck)
    assert breaker.try_acquire(10.0) is None


def record(breaker: BreakerState, now: float, times: int = 1, **outcome) -> None:
    for _ in range(times):
        generation = breaker.try_acquire(now)
        assert generation is not None
        breaker.record(generation, now, **outcome)


def test_slow_calls_open_it():
    """All of 20 took 4 s or longer, though none failed; off by default."""
    breaker, moves = make(slow_call=4.0)
    record(breaker, 0.0, 19, is_failure=False, duration=4.0)
    record(breaker, 0.0, is_failure=False, duration=3.9)
    assert moves == []
    breaker, moves = make(slow_call=4.0, slow_rate=0.5)
    record(breaker, 0.0, 10, is_failure=False, duration=1.0)
    record(breaker, 0.0, 10, is_failure=False, duration=4.0)
    assert moves == ["open"]
    assert "10 of 20 attempts took 4 s or longer" in breaker.reason
    breaker, moves = make()
    record(breaker, 0.0, 100, is_failure=False, duration=1e6)
    assert moves == []


def test_slow_probe_is_no_good_one():
    """It opens again."""
    breaker, moves = make(slow_call=4.0)
    fail(breaker, 0.0, 20)
    record(breaker, 5.0, 2, is_failure=False, duration=5.0)
    assert moves == ["open", "half-open", "open"]


def test_retry_after_keeps_it_open():
    """Of the answer that opened it: no less than that, and no more than max_open_for."""
    for said, until in ((30.0, 30.0), (1.0, 5.0), (86400.0, 60.0)):
        breaker, _ = make()
        fail(breaker, 0.0, 19)
        record(breaker, 0.0, is_failure=True, retry_after=said)
        assert breaker.retry_after(0.0) == until


def test_probes_that_never_end():
    """After as long as it was open for, others take their places."""
    breaker, moves = make()
    fail(breaker, 0.0, 20)
    stuck = [breaker.try_acquire(5.0) for _ in range(3)]
    assert breaker.try_acquire(9.9) is None
    fresh = [breaker.try_acquire(10.0) for _ in range(3)]
    assert None not in fresh
    assert len(stuck) == 3
    assert [breaker.try_acquire(at) for at in (10.0, 14.9)] == [None, None]
    for probe in fresh:
        breaker.record(probe, 10.0, is_failure=False)
    assert moves == ["open", "half-open", "closed"]


def test_origin_that_is_well_but_slow():
    """Each probe takes 8 s: they count when they end, and it closes."""
    breaker, moves = make()
    fail(breaker, 0.0, 20)
    probes = [breaker.try_acquire(5.0 + second) for second in range(8)]
    for second, probe in enumerate(probes):
        if probe is not None and moves[-1] != "closed":
            breaker.record(probe, 13.0 + second, is_failure=False)
    assert moves == ["open", "half-open", "closed"]


def test_half_of_the_probes_are_too_many():
    """As of the attempts that open it: no less than the failure rate."""
    breaker, moves = make(probes=2)
    fail(breaker, 0.0, 20)
    record(breaker, 5.0, is_failure=True)
    assert moves == ["open", "half-open", "open"]


def test_by_hand():
    """Forced open: nobody; forced closed: everybody, whatever comes of it; reset: as new."""
    breaker, _ = make()
    breaker.force_open()
    assert breaker.try_acquire(1e9) is None
    assert breaker.retry_after(0.0) == float("inf")
    breaker.force_closed()
    fail(breaker, 0.0, 100)
    assert breaker.state == "forced closed"
    breaker.reset()
    fail(breaker, 0.0, 20)
    breaker.reset()
    assert breaker.retry_after(0.0) == 0.0
    fail(breaker, 0.0, 19)
    breaker.reset()
    fail(breaker, 0.0, 19)
    assert (breaker.state, breaker.reason, breaker.is_forced) == ("closed", "by hand", False)


def test_restarted_origin_begins_anew():
    """An open breaker closes, and what ends later but began before isn't counted; one that is held by hand stays."""
    breaker, moves = make()
    earlier = breaker.try_acquire(0.0)
    fail(breaker, 0.0, 19)
    breaker.forget("restarted")
    assert (moves, breaker.failure_share(0.0)) == ([], 0.0)
    breaker.record(earlier, 0.0, is_failure=True)
    assert breaker.failure_share(0.0) == 0.0
    fail(breaker, 0.0, 20)
    breaker.forget("restarted")
    assert (moves, breaker.reason) == (["open", "closed"], "restarted")
    breaker.force_open()
    breaker.forget("restarted")
    assert breaker.is_forced


def test_what_was_under_way_says_nothing_of_what_was_forced():
    """An admission of before is of an older generation."""
    breaker, _ = make()
    before = breaker.try_acquire(0.0)
    breaker.force_closed()
    breaker.reset()
    breaker.record(before, 0.0, is_failure=True)
    assert breaker.failure_share(0.0) == 0.0


# Bodies that are cut after their headers were recorded


def test_retracted_success_is_one_failure_of_one_attempt():
    """In the bucket of its success, so that both leave the window together."""
    breaker, moves = make()
    record(breaker, 0.0, 2, is_failure=False)
    record(breaker, 5.0, 2, is_failure=False)
    breaker.retract(breaker.generation, 9.0, recorded_at=0.0)
    assert [breaker.failure_share(at) for at in (9.0, 9.9, 10.0)] == [0.25, 0.25, 0.0]
    breaker.retract(breaker.generation, 9.0, recorded_at=5.5)
    assert [breaker.failure_share(at) for at in (9.0, 10.0, 15.0)] == [0.5, 0.5, 0.0]
    assert moves == []


def test_retracted_success_that_is_forgotten():
    """Then it's an attempt of now, that failed."""
    breaker, _ = make()
    record(breaker, 0.0, is_failure=False)
    record(breaker, 10.0, is_failure=False)
    breaker.retract(breaker.generation, 10.0, recorded_at=0.0)
    assert breaker.failure_share(10.0) == 0.5
    for second in range(11, 25):
        record(breaker, float(second), is_failure=False)
    breaker.retract(breaker.generation, 25.0, recorded_at=0.0)
    assert breaker.failure_share(25.0) == 1 / 10


def test_retractions_open_it():
    """The last of twenty does, as a failure would; of an older generation, or forced, none counts."""
    breaker, moves = make()
    before = breaker.generation
    record(breaker, 0.0, 20, is_failure=False)
    for _ in range(9):
        breaker.retract(before, 1.0, recorded_at=0.0)
    assert moves == []
    breaker.retract(before, 1.0, recorded_at=0.0)
    assert (moves, breaker.reason) == (["open"], "10 of 20 attempts failed in 10 s")
    breaker.reset()
    breaker.retract(before, 2.0, recorded_at=0.0)
    assert breaker.failure_share(2.0) == 0.0
    breaker.force_closed()
    record(breaker, 0.0, 20, is_failure=False)
    for _ in range(20):
        breaker.retract(breaker.generation, 2.0, recorded_at=0.0)
    assert breaker.state == "forced closed"


def test_retracted_probes():
    """While others are out, they count as probes that failed; once it is closed, as attempts that did."""
    breaker, moves = make()
    fail(breaker, 0.0, 20)
    record(breaker, 5.0, 2, is_failure=False)
    breaker.retract(breaker.generation, 5.0, recorded_at=5.0)
    assert moves == ["open", "half-open"]
    breaker.retract(breaker.generation, 5.0, recorded_at=5.0)
    assert (moves[-1], breaker.reason) == ("open", "2 of 2 probes failed")
    record(breaker, 10.0, 3, is_failure=False)
    assert moves[-1] == "closed"
    breaker.retract(breaker.generation, 11.0, recorded_at=10.0)
    assert breaker.failure_share(11.0) == 1.0


def test_slow_probe_that_is_cut_failed_once():
    """It counted at its headers; of five probes two failed, and not three."""
    breaker, moves = make(slow_call=4.0, probes=5)
    fail(breaker, 0.0, 20)
    record(breaker, 5.0, is_failure=False, duration=4.0)
    record(breaker, 5.0, is_failure=False, duration=3.9)
    breaker.retract(breaker.generation, 5.0, recorded_at=5.0, duration=4.0)
    breaker.retract(breaker.generation, 5.0, recorded_at=5.0, duration=3.9)
    assert moves == ["open", "half-open"]
    record(breaker, 5.0, is_failure=True)
    assert (moves[-1], breaker.reason) == ("open", "3 of 3 probes failed")


def test_slow_one_that_opened_it_and_is_cut_opens_it_no_longer():
    """Its own record opened it, so the end of its body says nothing new."""
    breaker, moves = make(slow_call=4.0, min_calls=1)
    record(breaker, 0.0, is_failure=False, duration=4.0)
    breaker.retract(breaker.generation, 4.0, recorded_at=0.0, duration=4.0)
    assert (moves, breaker.retry_after(4.0)) == (["open"], 1.0)


def test_shut_for():
    """Until it lets somebody through, or, while the probes are out, until others take their places."""
    breaker, _ = make()
    assert breaker.shut_for(0.0) == 0.0
    fail(breaker, 0.0, 20)
    assert [breaker.shut_for(at) for at in (0.0, 4.0, 5.0, 6.0)] == [5.0, 1.0, 0.0, 0.0]
    probes = [breaker.try_acquire(6.0) for _ in range(2)]
    assert breaker.shut_for(6.0) == 0.0
    probes.append(breaker.try_acquire(6.0))
    assert [breaker.shut_for(at) for at in (6.0, 10.0, 11.0, 12.0)] == [5.0, 1.0, 0.0, 0.0]
    breaker.release(probes[0])
    assert breaker.shut_for(6.0) == 0.0
    breaker.force_open()
    assert breaker.shut_for(6.0) == float("inf")
    breaker.force_closed()
    assert breaker.shut_for(6.0) == 0.0


def test_open_one_is_remembered_for_a_while():
    """As long as it refuses, and half a minute after it opened; then it goes like others where a table is full."""
    breaker, _ = make()
    assert not breaker.remembers(0.0)
    fail(breaker, 0.0, 20)
    assert [breaker.remembers(at) for at in (0.0, 29.9, 30.0)] == [True, True, False]
    breaker, _ = make(open_for=60.0)
    fail(breaker, 0.0, 20)
    assert [breaker.remembers(at) for at in (30.0, 59.9, 60.0)] == [True, True, False]


def test_stuck_probes_make_room_at_the_instant_that_was_named():
    """After the seconds that `shut_for` named, one is let through, however floats round: else callers ask for ever."""
    breaker, _ = make(open_for=1.0, probes=1)
    fail(breaker, 0.3 - 1.0, 20)
    assert breaker.try_acquire(1.3) is not None
    now = 2.1 + breaker.shut_for(2.1)
    assert breaker.shut_for(now) == 0.0
    assert breaker.try_acquire(now) is not None
