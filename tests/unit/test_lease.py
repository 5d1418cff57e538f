"""Leases of a shared limit: how much is booked, when, and for how long it may be used."""

from __future__ import annotations

import math
from random import Random

import pytest

from seawall.config.store import Booking
from seawall.policy.lease import Leases
from seawall.policy.meter import Kept
from seawall.policy.outage import Outage
from seawall.policy.terms import Terms
from seawall.testing import FixedRandom

ONE = (1.0,)


def leases(rate: float = 1000.0, burst: float = 50.0) -> Leases:
    return Leases((Terms(rate, burst, "share"),), (Kept(rate, burst),), Outage(Random(0)))


def book(mine: Leases, now: float, waiting: int, *, took: float = 0.0, wait: float = 0.0) -> tuple[float, ...]:
    """What is ordered for so many waiters; it is booked *took* seconds later, and may be used after *wait* more."""
    order = mine.order(now, [float(waiting)], [ONE] * waiting, math.inf)
    assert order is not None
    mine.booked(order, now + took, Booking(wait), asked_at=now)
    mine.ended(order, is_charged=True)
    return order.amounts


def test_half_of_the_burst_at_most():
    """The other half is for what lives on in leases; one that costs more goes alone."""
    assert book(leases(), 0.0, 3) == (3.0,)
    assert book(leases(), 0.0, 100) == (25.0,)
    mine = leases()
    order = mine.order(0.0, [80.0], [(80.0,)], math.inf)
    assert order is not None
    assert order.amounts == (80.0,)


def test_not_more_than_50_ms_of_the_rate():
    """All of a lease waits for its last request."""
    assert book(leases(rate=100.0, burst=50.0), 0.0, 100) == (5.0,)
    assert book(leases(rate=1.0, burst=50.0), 0.0, 100) == (1.0,)


def test_what_costs_more_than_is_leased_is_booked_whole():
    """What is leased may be dead before the rest may be used, and then the rest before another part."""
    mine = leases(rate=1.0, burst=2.0)
    book(mine, 0.0, 1)
    order = mine.order(0.1, [3.0], [(3.0,)], math.inf)
    assert order is not None
    assert order.amounts == (3.0,)
    mine.booked(order, 0.1, Booking(3.0), asked_at=0.1)
    mine.ended(order, is_charged=True)
    assert mine.wait(0, 0.1, 3.0, 0.0) == pytest.approx(3.0)
    assert mine.wait(0, 0.1, 1.0, 0.0) == 0.0
    assert mine.covers(0.1, (3.0,))
    assert mine.order(0.2, [3.0], [(3.0,)], math.inf) is None


def test_lease_dies():
    """After the time that the other half of the burst takes at the rate, because it would add to what others use."""
    mine = leases()
    book(mine, 0.0, 25, wait=0.1)
    assert mine.wait(0, 0.0, 1.0, 0.0) == pytest.approx(0.1)
    assert mine.wait(0, 0.12, 1.0, 0.0) == 0.0
    assert mine.covers(0.12, ONE)
    assert not mine.covers(0.126, ONE)
    assert mine.wait(0, 0.126, 1.0, 0.0) > 0.0


def test_late_answer_shortens_a_lease():
    """It may have lain unread, while the store went on; but a store that has moved away is believed."""
    mine = leases()
    book(mine, 0.0, 25, took=0.001)
    book(mine, 1.0, 25, took=0.101)
    assert not mine.covers(1.102, ONE)
    for second in range(2, 6):
        book(mine, float(second), 25, took=0.04)
    assert mine.covers(5.06, ONE)
    assert not mine.covers(5.07, ONE)


def test_next_one_is_ordered_at_half():
    """By the rate at which this process has used them, and with no waiter."""
    mine = leases(rate=10_000.0, burst=1000.0)
    for number in range(2000):
        mine.used(number / 1000, ONE)
    assert book(mine, 2.0, 0) == (24.0,)
    assert mine.order(2.0, [0.0], [], math.inf) is None
    for _ in range(13):
        mine.take(0, 2.0, 1.0)
    assert mine.order(2.0, [0.0], [], math.inf) is not None


def test_one_question_at_a_time():
    """Until it has ended."""
    mine = leases()
    order = mine.order(0.0, [1.0], [ONE], math.inf)
    assert order is not None
    assert mine.order(0.0, [2.0], [ONE, ONE], math.inf) is None
    mine.ended(order, is_charged=False)
    assert mine.order(0.0, [2.0], [ONE, ONE], math.inf) is not None


def test_questions_follow_one_another_to_a_store_that_is_far_away():
    """One for each half of a lease's life, because leases die before answers come; none while the rate is used up."""
    mine = leases()
    for number in range(10):
        book(mine, number / 10, 1, took=0.04)
    for number in range(100):
        mine.used(1.0 + number / 1000, ONE)
    now, orders = 1.1, []
    for _ in range(20):
        order = mine.order(now, [4.0], [ONE] * 4, math.inf)
        orders += [] if order is None else [order]
        now += 0.00625
    assert len(orders) == 8
    assert [order.follows for order in orders] == [False] + [True] * 7
    mine.booked(orders[0], now, Booking(1.0), asked_at=1.1)
    mine.ended(orders[0], is_charged=True)
    assert mine.order(now, [4.0], [ONE] * 4, math.inf) is None


def test_charges_are_told_once():
    """And again if the store hasn't answered."""
    mine = leases()
    mine.settle(0, 0.0, 7.0)
    for is_charged, left in ((False, 7.0), (True, 0.0)):
        order = mine.order(0.0, [1.0], [ONE], math.inf)
        assert order is not None
        assert order.charges == (7.0,)
        mine.ended(order, is_charged=is_charged)
        assert mine._charges == [left]


@pytest.mark.parametrize(("wait", "held_for"), [(0.2, 0.2), (0.0, 0.01)])
def test_refusal_that_was_not_for_lack_of_patience_holds_back_questions(wait, held_for):
    """A store that could have booked within the longest wait, and didn't, isn't asked before; but told of charges."""
    mine = leases()
    order = mine.order(0.0, [1.0], [ONE], 0.5)
    mine.booked(order, 0.0, Booking(wait, is_booked=False), asked_at=0.0)
    mine.ended(order, is_charged=True)
    held_until = 0.0 + held_for
    assert mine.order(held_until - 0.001, [1.0], [ONE], math.inf) is None
    assert mine.order(held_until - 0.001, [0.0], [], math.inf) is None
    assert mine.next_at(held_until - 0.001) == held_until
    mine.settle(0, 0.0, 7.0)
    charge = mine.order(held_until - 0.001, [1.0], [ONE], math.inf)
    assert (charge.amounts, charge.charges) == ((0.0,), (7.0,))
    mine.booked(charge, held_until, Booking(9.0, is_booked=False), asked_at=held_until)
    mine.ended(charge, is_charged=True)
    assert mine.order(held_until, [1.0], [ONE], 0.5).amounts == ONE


def test_refusal_for_lack_of_patience_holds_back_the_impatient_only():
    """One that can wait as long as the store has said is asked for at once, because it books ahead."""
    mine = leases()
    order = mine.order(0.0, [1.0], [ONE], 0.5)
    mine.booked(order, 0.0, Booking(0.7, is_booked=False), asked_at=0.0)
    mine.ended(order, is_charged=True)
    assert mine.order(0.0, [1.0], [ONE], 0.6) is None
    assert mine.order(0.0, [1.0], [ONE], 0.8) is not None


@pytest.mark.parametrize(("share", "wait"), [(0.0, 0.45), (1.0, 0.9)])
def test_the_next_probe_is_as_late_as_chance_says(share, wait):
    """A test that rules chance out has it rule out this one too."""
    outage = Outage(FixedRandom(share))
    for now in (0.0, 1.0, 2.0):
        outage.failed(now, "silent")
        assert outage.retry_at - now == pytest.approx(wait)


def test_one_asks_for_all_while_the_store_is_away():
    """A probe, which books nothing; those who find it in flight don't ask."""
    outage = Outage(Random(0))
    one, other = (Leases((Terms(1.0, 1.0, "share"),), (Kept(1.0, 1.0),), outage) for _ in range(2))
    outage.failed(0.0, "silent")
    assert one.order(0.1, [1.0], [ONE], math.inf) is None
    probe = one.order(1.0, [1.0], [ONE], math.inf)
    assert probe is not None
    assert probe.amounts == (0.0,)
    assert other.order(1.0, [1.0], [ONE], math.inf) is None
    outage.failed(1.0, "silent")
    assert other.order(2.0, [1.0], [ONE], math.inf) is not None
