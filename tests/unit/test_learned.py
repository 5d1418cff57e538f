"""What rejections teach: exact rates at exact instants."""

from __future__ import annotations

import math

import pytest

from seawall.policy.learned import Learned


def taught(*, accepted: int = 10, has_accepted: bool = True) -> Learned:
    """One that was first rejected at 0, and accepted so many requests in the second after that."""
    learned = Learned(0.0, has_accepted=has_accepted)
    learned.rejected(0.0, retry_after=None)
    for number in range(accepted):
        learned.accepted(number / accepted)
    return learned


def test_counts_for_a_second_first():
    """Nothing is held back meanwhile; then the rate is what was accepted."""
    learned = taught(accepted=10)
    assert (learned.wait(0.99), learned.rate) == (0.0, math.inf)
    assert learned.wait(1.0) == 0.0
    assert learned.rate == pytest.approx(10.0)
    learned.take(1.0)
    assert learned.wait(1.0) == pytest.approx(0.1)
    assert learned.wait(1.0, ahead=5) == pytest.approx(0.6)


def test_grows_until_it_is_rejected_again():
    """5 % in the first second, faster afterwards; a rejection brings it back to what is accepted."""
    learned = taught(accepted=10)
    learned.wait(1.0)
    for at, rate in ((2.0, 11.0), (3.0, 13.0), (5.0, 20.0)):
        learned.wait(at)
        assert learned.rate == pytest.approx(rate)
    for number in range(24):
        learned.accepted(3.0 + number / 12)
    learned.rejected(5.0, retry_after=None)
    assert learned.rate == pytest.approx(12.0)


def test_falls_by_half_at_most():
    """Where little was accepted of late, because little was sent."""
    learned = taught(accepted=10)
    learned.wait(1.0)
    learned.rejected(9.0, retry_after=None)
    assert learned.rate == pytest.approx(10.0 * (1 + 0.05 * 8 + 0.05 * 64) / 2)


def test_rejections_at_once_are_one():
    """Those that were on their way already say nothing new."""
    learned = taught(accepted=10)
    learned.wait(1.0)
    for at in (1.5, 1.51, 1.55, 1.59):
        learned.rejected(at, retry_after=None)
    assert 5.0 < learned.rate < 10.0


def test_never_faster_than_before():
    """A rejection never raises the rate."""
    learned = taught(accepted=10)
    learned.wait(1.0)
    for number in range(100):
        learned.accepted(1.0 + number / 100)
    learned.rejected(2.0, retry_after=None)
    assert learned.rate == pytest.approx(11.0)


def test_server_that_accepts_nothing():
    """It isn't asked until it said; one that accepts others is."""
    learned = Learned(0.0, has_accepted=False)
    learned.rejected(0.0, retry_after=3.0)
    assert [learned.wait(at) for at in (0.0, 2.0, 3.0)] == [3.0, 1.0, 0.0]
    learned.rejected(3.0, retry_after=3.0)
    assert [learned.wait(4.0, shut_until=at) for at in (3.0, math.inf)] == [0.0, 2.0]
    learned = Learned(0.0, has_accepted=True)
    learned.rejected(0.0, retry_after=3.0)
    assert learned.wait(0.0) == 0.0


def test_rate_has_a_floor():
    """A rejection a second for an hour still leaves a request each two seconds."""
    learned = taught(accepted=1)
    for at in range(1, 3600):
        learned.rejected(float(at), retry_after=None)
    assert learned.wait(3600.0) <= 2.0
    assert learned.rate >= 0.5


def test_is_forgotten():
    """A minute after the last rejection; while it waits for what a server said, not."""
    learned = taught()
    assert not learned.is_forgotten(59.9)
    assert learned.is_forgotten(60.0)
    learned = Learned(0.0, has_accepted=False)
    learned.rejected(0.0, retry_after=100.0)
    assert not learned.is_forgotten(99.0)


def test_hope():
    """Within ten seconds of the last accepted request, or of the first rejection."""
    learned = Learned(0.0, has_accepted=False)
    assert learned.is_hopeful(9.9, within=10.0)
    assert not learned.is_hopeful(10.0, within=10.0)
    learned.accepted(20.0)
    assert learned.is_hopeful(29.9, within=10.0)
