"""What rejections teach: exact rates at exact instants, and servers of each kind against it."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from random import Random

import pytest

from seawall.policy.learned import Learned


def second(learned: Learned, at: float, accepted: int, rejected: int) -> None:
    """A second's answers, evenly and mixed; the next look at it judges them."""
    count = accepted + rejected
    kinds = [(number + 1) * accepted // count > number * accepted // count for number in range(count)]
    for number, is_accepted in enumerate(kinds):
        now = at + number / len(kinds)
        if is_accepted:
            learned.accepted(now)
        else:
            learned.rejected(now, retry_after=None)


def test_rate_is_what_was_accepted():
    """Nothing is held back in the second that is counted; then requests go at an even pace."""
    learned = Learned(0.0, has_accepted=False)
    second(learned, 0.0, accepted=20, rejected=20)
    assert (learned.wait(0.99), learned.rate) == (0.0, math.inf)
    assert learned.wait(1.0) == 0.0
    assert learned.rate == pytest.approx(21.0)
    learned.take(1.0)
    assert learned.wait(1.0) == pytest.approx(1 / 21.0)
    assert learned.wait(1.0, ahead=5) == pytest.approx(6 / 21.0)


@pytest.mark.parametrize(("accepted", "rejected"), [(1000, 2), (91, 9), (80, 20), (0, 50), (7, 2), (9, 3), (6, 6)])
def test_too_few_to_learn_from(accepted, rejected):
    """No more than chance makes of a tenth, too few requests, or nothing accepted that could be a rate."""
    learned = Learned(0.0, has_accepted=False)
    second(learned, 0.0, accepted, rejected)
    learned.wait(1.0)
    assert learned.rate == math.inf


def test_only_what_was_sent_since_tells_whether_it_helped():
    """A server whose queue is a second long goes on to reject what was sent before the rate was set."""
    learned = Learned(0.0, has_accepted=False)
    second(learned, 0.0, accepted=20, rejected=20)
    learned.wait(1.0)
    for number in range(20):
        learned.rejected(1.0 + number / 20, retry_after=None, sent_at=number / 20)
        learned.accepted(1.0 + number / 20, sent_at=number / 20)
    learned.wait(2.1)
    assert learned.rate == pytest.approx(21.0)
    for number in range(40):
        learned.accepted(2.1 + number / 40, sent_at=1.1 + number / 40)
    learned.wait(3.1)
    assert learned.rate == pytest.approx(21.0)
    learned.wait(4.1)
    assert learned.rate > 21.0  # it has helped, so it grows


def test_nothing_is_learned_from_an_absence():
    """A rate that was set just before goes; one that has helped stays, and the seconds of the absence don't count."""
    just_before, long_before = (Learned(0.0, has_accepted=False) for _ in range(2))
    second(long_before, 0.0, accepted=20, rejected=20)
    long_before.wait(1.0)
    second(long_before, 1.0, accepted=20, rejected=0)
    long_before.wait(2.0)
    second(just_before, 1.0, accepted=20, rejected=20)
    just_before.wait(2.0)
    for learned in (just_before, long_before):
        assert learned.rate == pytest.approx(21.0)
        for _ in range(3):
            learned.accepted(2.0)
            learned.rejected(2.0, retry_after=None)
        learned.was_away()
        second(learned, 7.0, accepted=30, rejected=3)
        learned.wait(8.0)
    assert just_before.rate == math.inf
    assert long_before.rate >= 21.0


def test_grows_once_it_has_helped():
    """Not in the second in which that is seen; 5 % in the next, faster afterwards, until the server rejects again."""
    learned = Learned(0.0, has_accepted=False)
    second(learned, 0.0, accepted=20, rejected=20)
    learned.wait(1.0)
    second(learned, 1.0, accepted=20, rejected=0)
    for at, rate in ((1.99, 21.0), (2.0, 21.0), (3.0, 23.1), (4.0, 27.3), (6.0, 42.0)):
        learned.wait(at)
        assert learned.rate == pytest.approx(rate)
    second(learned, 6.0, accepted=24, rejected=10)
    learned.wait(7.0)
    assert learned.rate == pytest.approx(1.05 * 24.0)


def test_share_that_stays_is_no_matter_of_rates():
    """The rate was lowered, and as large a share is rejected: nothing is held back for a minute."""
    learned = Learned(0.0, has_accepted=False)
    second(learned, 0.0, accepted=70, rejected=30)
    learned.wait(1.0)
    assert learned.rate == pytest.approx(1.05 * 70.0)
    second(learned, 1.0, accepted=49, rejected=21)
    learned.wait(2.0)
    assert learned.rate == math.inf
    for at in (10.0, 30.0, 60.0):
        second(learned, at, accepted=70, rejected=30)
        learned.wait(at + 1.0)
        assert learned.rate == math.inf
    second(learned, 62.1, accepted=70, rejected=30)
    learned.wait(63.1)
    assert learned.rate == pytest.approx(1.05 * 70.0)


def test_server_that_takes_less_than_before():
    """A larger share is rejected than before: the rate follows, and isn't given up."""
    learned = Learned(0.0, has_accepted=False)
    second(learned, 0.0, accepted=100, rejected=50)
    learned.wait(1.0)
    second(learned, 1.0, accepted=5, rejected=95)
    learned.wait(2.0)
    assert learned.rate == pytest.approx(1.05 * 5.0)
    second(learned, 2.0, accepted=0, rejected=12)
    learned.wait(3.0)
    assert learned.rate == pytest.approx(1.05 * 2.5)


def takes(rate: float) -> Callable[[float], bool]:
    """A server that takes *rate* a second, and as many at once as come in half a second."""
    left, at = rate / 2, 0.0

    def is_taken(now: float) -> bool:
        nonlocal left, at
        left, at = min(rate / 2, left + (now - at) * rate), now
        if left < 1:
            return False
        left -= 1
        return True

    return is_taken


def accepted(server: Callable[[float], bool], offered: int, seconds: int) -> int:
    """Requests that come at an even pace wait for their turn, for 5 s at most; how many of them *server* takes."""
    learned, waiting, count = Learned(0.0, has_accepted=False), deque[float](), 0
    for millisecond in range(seconds * 1000):
        now = millisecond / 1000
        if millisecond * offered // 1000 != (millisecond - 1) * offered // 1000:
            waiting.append(now)
        while waiting and (waiting[0] < now - 5.0 or not learned.wait(now)):
            if waiting.popleft() < now - 5.0:
                continue
            learned.take(now)
            if server(now):
                learned.accepted(now)
                count += 1
            else:
                learned.rejected(now, retry_after=None)
    return count


@pytest.mark.parametrize(("rate", "offered"), [(10, 20), (40, 60), (100, 150), (20, 40), (60, 200), (5, 40), (3, 50)])
def test_server_with_a_rate_is_used_fully(rate, offered):
    """A minute of more requests than it takes."""
    assert accepted(takes(rate), offered, 60) >= 0.95 * rate * 60


@pytest.mark.parametrize("offered", [3, 12, 24, 100])
@pytest.mark.parametrize("rejected", [0.02, 0.05, 0.1, 0.2, 0.3, 0.5])
@pytest.mark.parametrize("seed", range(3))
def test_chance_costs_next_to_nothing(seed, rejected, offered):
    """A share of all requests is rejected, whatever their rate is: the others are good, as they are without a limit."""
    rng, other = Random(seed), Random(seed)
    bare = sum(other.random() >= rejected for _ in range(120 * offered))
    assert accepted(lambda now: rng.random() >= rejected, offered, 120) >= 0.95 * bare


def test_server_that_accepts_nothing():
    """After the third rejection in a row it isn't asked until it said; one that accepts others between them is."""
    learned = Learned(0.0, has_accepted=False)
    for _ in range(2):
        learned.rejected(0.0, retry_after=3.0)
    assert learned.wait(0.0) == 0.0
    learned.rejected(0.0, retry_after=3.0)
    assert [learned.wait(at) for at in (0.0, 2.0, 3.0)] == [3.0, 1.0, 0.0]
    learned.rejected(3.0, retry_after=3.0)
    assert [learned.wait(4.0, shut_until=at) for at in (3.0, math.inf)] == [0.0, 2.0]
    learned = Learned(0.0, has_accepted=False)
    for at in range(30):
        learned.rejected(float(at), retry_after=600.0)
        learned.accepted(at + 0.5)
    assert learned.wait(30.0) == 0.0


def test_server_that_was_away_for_a_moment():
    """All of half a second's requests are rejected, and all of the next half are accepted: that is no rate."""
    learned = Learned(0.0, has_accepted=True)
    for number in range(100):
        now = number / 100
        if number < 50:
            learned.rejected(now, retry_after=None)
        else:
            learned.accepted(now)
    learned.wait(1.0)
    assert learned.rate == math.inf


def test_constant_retry_after_of_a_server_that_accepts():
    """Three in a row are chance where others were accepted within a second, so it goes on to be asked."""
    learned = Learned(0.0, has_accepted=True)
    for number in range(40):
        if number % 8 < 5:
            learned.rejected(number / 20, retry_after=1.0)
        else:
            learned.accepted(number / 20)
        assert learned.shut_until == -math.inf


def test_is_forgotten():
    """A minute after the last rejection; while it waits for what a server said, not."""
    learned = Learned(0.0, has_accepted=False)
    learned.rejected(0.0, retry_after=None)
    assert not learned.is_forgotten(59.9)
    assert learned.is_forgotten(60.0)
    for _ in range(3):
        learned.rejected(60.0, retry_after=100.0)
    assert not learned.is_forgotten(159.0)


def test_hope():
    """Only while something is held back, and within ten seconds of the last accepted request, or of the pause."""
    learned = Learned(0.0, has_accepted=False)
    learned.rejected(0.0, retry_after=None)
    learned.accepted(0.0)
    assert not learned.is_hopeful(0.1, within=10.0)
    second(learned, 0.0, accepted=20, rejected=20)
    assert learned.is_hopeful(1.0, within=10.0)
    assert learned.is_hopeful(10.97, within=10.0)
    assert not learned.is_hopeful(10.98, within=10.0)
    paused = Learned(0.0, has_accepted=False)
    for _ in range(3):
        paused.rejected(0.0, retry_after=30.0)
    assert paused.is_hopeful(9.9, within=10.0)
    assert not paused.is_hopeful(10.1, within=10.0)
