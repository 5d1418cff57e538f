"""What a process holds of a shared bulkhead: how much is claimed, when, and for how long it is believed."""

from __future__ import annotations

from random import Random

import pytest

from seawall.config.store import Claim, Grant
from seawall.policy.holding import HEARTBEAT, HURRY, SETTLE, TTL, Holding
from seawall.policy.outage import Outage


class Hand:
    """A process of two that share 20 permits. Attributes: claims."""

    def __init__(self, fallback: str = "share") -> None:
        self.outage = Outage(Random(0))
        self.holding = Holding(20, fallback, self.outage)

    def order(self, now: float, used: int = 0, waiting: int = 0, limit: int = 20) -> Claim | None:
        return self.holding.order("permits:", 1, now, used=used, waiting=waiting, limit=limit, processes=2)

    def ask(self, now: float, used: int = 0, waiting: int = 0, limit: int = 20, **grant: int) -> Claim:
        """A claim, which is granted at once: what it asks for, unless told otherwise."""
        claim = self.order(now, used, waiting, limit)
        assert claim is not None
        given = {"permits": claim.wanted + claim.spare} | grant
        self.holding.granted(claim, now, Grant(**given), asked_at=now)  # type: ignore[arg-type]
        self.holding.ended()
        return claim

    def permits(self, now: float) -> int:
        return self.holding.permits(now, 2)


def test_sized_by_what_is_in_flight():
    """A quarter more, and one, but not more than there are, nor than the process allows itself."""
    hand = Hand()
    assert hand.order(0.0) is None
    assert hand.ask(0.0, waiting=1)[2:5] == (0, 1, 1)
    assert hand.ask(0.0, used=2)[2:5] == (2, 2, 1)
    assert hand.ask(0.0, used=3, waiting=5)[2:5] == (3, 8, 3)
    assert hand.ask(0.0, used=11, waiting=30)[2:5] == (11, 20, 0)
    assert Hand().ask(0.0, waiting=30, limit=4)[2:5] == (0, 4, 0)


def test_no_claim_for_each_attempt():
    """As long as permits are at hand, only heartbeats."""
    hand = Hand()
    hand.ask(0.0, waiting=8)
    assert hand.permits(0.0) == 11
    for used in range(11):
        hand.holding.used(used)
        assert hand.order(0.1, used) is None
    assert hand.order(HEARTBEAT, 10) is not None


def test_idle_permits_are_given_back():
    """After a heartbeat in which they weren't used; nothing is claimed once there are none."""
    hand = Hand()
    hand.ask(0.0, waiting=8)
    hand.holding.used(8)
    assert hand.ask(HEARTBEAT, used=2)[2:4] == (11, 8)
    assert hand.ask(2 * HEARTBEAT, used=2)[2:5] == (3, 2, 1)
    assert hand.permits(2 * HEARTBEAT) == 3
    assert hand.ask(3 * HEARTBEAT)[2:5] == (3, 2, 1)
    assert hand.ask(4 * HEARTBEAT)[2:5] == (0, 0, 0)
    assert hand.holding.is_empty
    assert hand.order(5 * HEARTBEAT) is None


def test_no_more_in_flight_than_it_keeps_while_a_claim_is_in_flight():
    """Because the store may give the rest to others before the answer is here."""
    hand = Hand()
    hand.ask(0.0, waiting=16)
    assert hand.permits(0.0) == 20
    claim = hand.order(HEARTBEAT, used=1)
    assert claim is not None
    assert claim.keeps == hand.permits(HEARTBEAT) == 2
    assert hand.order(HEARTBEAT, used=2) is None


def test_comes_down_as_others_wait():
    """What is in flight stays, what ends is given back soon, and nothing is spare."""
    hand = Hand()
    hand.ask(0.0, waiting=20)
    claim = hand.order(HEARTBEAT, used=20, waiting=9)
    assert claim is not None
    hand.holding.granted(claim, HEARTBEAT, Grant(10, waiting=10), asked_at=HEARTBEAT)
    hand.holding.ended()
    assert hand.permits(HEARTBEAT) == 10
    assert hand.holding.next_at == pytest.approx(HEARTBEAT + HURRY)
    claim = hand.order(HEARTBEAT + HURRY, used=14, waiting=3)
    assert claim is not None
    assert claim[2:5] == (14, 17, 0)


def test_hurry_ends_if_nothing_moves():
    """Requests may take a minute: the pace doubles up to a heartbeat, and permits that come make it quick again."""
    hand, now, paces = Hand(), 0.0, []
    for permits in (1, 1, 1, 1, 1, 2):
        hand.ask(now, waiting=5, permits=permits, owed=3)
        paces.append(hand.holding.next_at - now)
        now = hand.holding.next_at
    assert paces == pytest.approx([HURRY, 2 * HURRY, 4 * HURRY, HEARTBEAT, HEARTBEAT, HURRY])


def test_idle_permit_that_others_wait_for():
    """It is given back soon, unless it is used again meanwhile."""
    hand = Hand()
    hand.ask(0.0, waiting=2)
    assert not hand.holding.freed(0.01, 1)
    claim = hand.order(HEARTBEAT, used=2)
    assert claim is not None
    hand.holding.granted(claim, HEARTBEAT, Grant(3, waiting=3), asked_at=HEARTBEAT)
    hand.holding.ended()
    assert not hand.holding.freed(HEARTBEAT, 3)
    assert hand.holding.freed(HEARTBEAT, 1)
    assert hand.order(HEARTBEAT + HURRY / 2, used=1) is None
    assert hand.ask(HEARTBEAT + HURRY, used=1)[2:5] == (1, 1, 0)


def test_short_one_asks_at_its_pace():
    """A new waiter doesn't make the store have more."""
    hand = Hand()
    hand.ask(0.0, waiting=5, permits=2)
    assert hand.order(0.1, used=2, waiting=9) is None
    assert hand.holding.hoped(20) == 0
    assert hand.order(HEARTBEAT, used=2, waiting=9) is not None


def test_lapses_by_its_own_clock():
    """From when it was asked, before the store counted; what is in flight is claimed anew, and no more is believed."""
    hand = Hand()
    hand.ask(0.0, waiting=8)
    assert hand.permits(TTL - 0.001) == 11
    assert hand.permits(TTL) == 0
    claim = hand.order(TTL, used=6)
    assert claim is not None
    assert claim[2:5] == (6, 6, 2)
    assert hand.permits(TTL) == 0
    hand.holding.granted(claim, TTL, Grant(0, owed=6, is_known=False), asked_at=TTL)
    assert hand.permits(TTL) == 0


def test_store_that_has_lost_it():
    """It grants what others still use, so no more than was kept is taken, and than a share until they have claimed."""
    hand = Hand()
    hand.ask(0.0, waiting=8)
    hand.ask(HEARTBEAT, used=8, waiting=9, permits=20, is_known=False)
    assert hand.permits(HEARTBEAT) == 11
    assert hand.ask(2 * HEARTBEAT, used=8, waiting=9).wanted == 10
    assert hand.ask(3.1 * HEARTBEAT, used=8, waiting=9).wanted == 17


@pytest.mark.parametrize(("fallback", "permits"), [("share", 10), ("open", 20), ("closed", 0)])
def test_without_the_store(fallback, permits):
    """The fallback holds; a probe claims nothing; afterwards a share, until all must have found out."""
    hand = Hand(fallback)
    hand.ask(0.0, waiting=8)
    hand.outage.failed(1.0, "silent")
    assert hand.permits(1.0) == permits
    assert hand.order(1.1, used=4, waiting=9) is None
    probe = hand.order(2.0, used=4, waiting=9)
    assert probe is not None
    assert probe[2:5] == (4, 4, 0)
    hand.outage.answered(2.0)
    hand.holding.granted(probe, 2.0, Grant(4), asked_at=2.0)
    hand.holding.ended()
    assert hand.permits(2.0) == 4
    assert hand.ask(2.0, used=4, waiting=15)[2:5] == (4, 10, 0)
    assert hand.ask(2.0 + SETTLE, used=4, waiting=15).wanted == 19


def test_answer_that_never_came():
    """What the store may have granted is given back later."""
    hand = Hand()
    assert hand.order(0.0, waiting=5) is not None
    hand.holding.ended()
    assert not hand.holding.is_empty
    assert hand.permits(0.0) == 0
