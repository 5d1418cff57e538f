"""The attempts that wait for their turn by the same limits."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable, Sequence
from itertools import takewhile
from typing import Final, Protocol

from ..config.criticality import DEFAULT, Criticality
from .learned import Learned
from .lease import Lease, Leased
from .meter import Kept
from .turns import TENTH, Turns
from .turnstile import Ahead, Place, Turnstile

__all__ = ["INSTANT", "Line", "Source", "Waiter"]

INSTANT: Final = 1e-9  # s; a shorter wait is none, because a clock may not be able to add it
LOOKED_AT: Final = 256  # waiters whose order is followed for a newcomer, because a burst of n would cost n x n


class Waiter:
    """An attempt that waits for its turn."""

    __slots__ = ("costs", "criticality", "ends_at", "moved", "shut_until")

    def __init__(self, costs: tuple[float, ...], criticality: Criticality, ends_at: float, shut_until: float) -> None:
        self.costs = costs
        self.criticality = criticality
        self.ends_at = ends_at
        self.shut_until = shut_until
        self.moved: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class Source(Protocol):
    """What lines draw on, if their limits are shared with other processes."""

    @property
    def turnstile(self) -> Turnstile:
        """Where lines wait for it; whatever it learns wakes the next of them."""

    def joined(self, line: Line, costs: tuple[float, ...]) -> None:
        """An attempt of *costs* waits in *line*."""

    def left(self, line: Line, costs: tuple[float, ...]) -> None:
        """It waits no longer."""

    def ask(self) -> None:
        """Book what they need, unless that is asked already."""

    def covers(self, costs: tuple[float, ...]) -> bool:
        """Whether the wait of an attempt is known."""
        ...

    def used(self, costs: tuple[float, ...]) -> Lease | None:
        """An attempt has been let through: from which lease?"""

    def give_back(self, lease: Lease, costs: tuple[float, ...]) -> None:
        """An attempt that has taken from *lease* wasn't sent."""


class Line:
    """
    The attempts that wait for the same things, first in, first out within a class; `turns` says which class is next.

    Attributes:
        credential: A hash of the one that they have in common.
        meters: One for each limit.
        learned: What the origin has taught for their credential.
        source: Where the shared ones come from; None if none is shared.
        waiters: By class.
    """

    __slots__ = ("_costs", "_place", "_turnstile", "credential", "learned", "meters", "source", "waiters")

    def __init__(self, credential: bytes, meters: tuple[Kept | Leased, ...]) -> None:
        self.credential = credential
        self.meters = meters
        self.learned: Learned | None = None
        self.source: Source | None = None
        self.waiters: Turns[Waiter] = Turns()
        self._costs: dict[Criticality, tuple[float, ...]] = {}  # what each class will take of each limit
        self._turnstile: Turnstile | None = None  # at which it waits
        self._place = Place(DEFAULT, ())  # there

    @property
    def first(self) -> Waiter | None:
        """The waiter whose turn is next; one that matters more may come."""
        found = self.waiters.next()
        return None if found is None else found[1]

    @property
    def ahead(self) -> tuple[float, ...]:
        """What all waiters together will take of each limit."""
        return self._sum(self._costs.values())

    def wait(
        self, now: float, costs: tuple[float, ...], ahead: Ahead | None = None, *, shut_until: float = math.inf
    ) -> float:
        """Seconds until an attempt of *costs* has its turn, after those *ahead*; None if it is the first."""
        wait = 0.0
        count, before = (0, (0.0,) * len(costs)) if ahead is None else ahead
        if self.learned is not None:
            wait = self.learned.wait(now, count, shut_until=shut_until)
        for meter, cost, taken in zip(self.meters, costs, before, strict=True):
            wait = max(wait, meter.wait(now, cost, taken))
        return wait if wait > INSTANT else 0.0

    def wait_of(self, waiter: Waiter, now: float) -> float:
        """Seconds until the turn of one that has just joined, if none comes that matters more; it may be longer."""
        ahead = Ahead(0, (0.0,) * len(waiter.costs)) if self.first is waiter else self._ahead_of(waiter)
        before, first = (self._turnstile, self._place), self.first
        if first is not None and self.is_next(first, now) and (self._turnstile, self._place) != before:
            self.wake()  # the line has another place, from which its turn may be next
        return self.wait(now, waiter.costs, self._behind_others(ahead, waiter.criticality))

    def take(self, now: float, costs: tuple[float, ...]) -> Lease | None:
        """Let an attempt through; returns what `give_back` needs."""
        for meter, cost in zip(self.meters, costs, strict=True):
            meter.take(now, cost)
        if self.learned is not None:
            self.learned.take(now, 1.0)
        return None if self.source is None else self.source.used(costs)

    def give_back(self, now: float, costs: tuple[float, ...], lease: Lease | None) -> None:
        """An attempt that was let through wasn't sent."""
        for meter, cost in zip(self.meters, costs, strict=True):
            meter.take(now, -cost)
        if self.learned is not None:
            self.learned.take(now, -1.0)
        if self.source is not None and lease is not None:
            self.source.give_back(lease, costs)
        self.wake_others()

    def settle(self, now: float, more: Sequence[float]) -> None:
        """What was taken of each limit has cost so much *more*; less, if that is negative."""
        for meter, each in zip(self.meters, more, strict=True):
            meter.settle(now, each)
        if any(each < 0.0 for each in more):
            self.wake_others()
        self.ask()

    def join(self, costs: tuple[float, ...], criticality: Criticality, ends_at: float) -> Waiter:
        waiter = Waiter(costs, criticality, ends_at, math.inf if self.learned is None else self.learned.shut_until)
        self.waiters.join(waiter, criticality)
        others = self._costs.get(criticality)
        self._costs[criticality] = costs if others is None else self._sum((others, costs))
        if self.source is not None:
            self.source.joined(self, costs)
        return waiter

    def leave(self, waiter: Waiter) -> None:
        """It has had its turn, or waits no longer."""
        self.waiters.leave(waiter)
        if self.waiters.waiting(waiter.criticality):
            before = self._costs[waiter.criticality]
            self._costs[waiter.criticality] = tuple([a - b for a, b in zip(before, waiter.costs, strict=True)])
        else:
            del self._costs[waiter.criticality]
        if self.source is not None:
            self.source.left(self, waiter.costs)
        if not self.waiters.queues:
            self._quit()
        self.wake()
        self.ask()

    def ask(self) -> None:
        """Have more of the shared rate booked, where that is needed."""
        if self.source is not None:
            self.source.ask()

    def is_known(self, costs: tuple[float, ...]) -> bool:
        """Whether the wait of an attempt that is the first is known; else the line is woken once it is."""
        source = self.source
        return source is None or self._turnstile is not source.turnstile or source.covers(costs)

    def wake(self) -> None:
        """The first waiter looks again at when its turn is."""
        if (first := self.first) is not None and not first.moved.done():
            first.moved.set_result(None)

    def wake_others(self) -> None:
        """So do those of the lines that wait for the same, because something that was taken is there again."""
        self.wake()
        if self.learned is not None:
            self.learned.turnstile.wake()
        for meter in self.meters:
            meter.turnstile.wake()

    # Among the lines that draw on the same

    @property
    def is_behind(self) -> bool:
        """Whether others wait for what it draws on, so that a newcomer must not pass them."""
        if self.learned is not None and self.learned.turnstile:
            return True
        return any(meter.turnstile for meter in self.meters)

    @property
    def others(self) -> int:
        """How many wait beside one of its waiters; another line counts as one."""
        lines = 1 if self._turnstile is None else len(self._turnstile)
        return len(self.waiters) - 1 + lines - 1

    def is_next(self, waiter: Waiter, now: float) -> bool:
        """Whether no other's turn comes before that of *waiter*, in this line or in another."""
        if self.first is not waiter:
            return False
        wait = self.wait(now, waiter.costs, shut_until=waiter.shut_until)
        turnstile, place = self._turnstile, Place(min(self.waiters.queues), waiter.costs)
        if wait > 0.0 or turnstile is None:
            turnstile = self._held_by(now, waiter, wait)
        if turnstile is None:
            self._quit()
            return True
        if turnstile is not self._turnstile or place.criticality is not self._place.criticality:
            self._quit()
            turnstile.join(self, place)
            self._turnstile = turnstile
        elif place != self._place:
            turnstile.change(self._place, place)
        self._place = place
        return turnstile.next is self

    def passed(self) -> None:
        """Its first waiter has had its turn, and the next one of them queues behind other lines."""
        self.waiters.took()
        self._quit(has_passed=True)

    def _held_by(self, now: float, waiter: Waiter, wait: float) -> Turnstile | None:
        """
        Where to wait for what holds *waiter* back for so long; where nothing does, for what others wait for; None: in
        its own line only.
        """
        learned = self.learned
        for meter, cost in zip(self.meters, waiter.costs, strict=True):
            if meter.wait(now, cost) >= wait and (wait or meter.turnstile):
                return meter.turnstile
        if learned is not None and learned.wait_for_rate(now) >= wait and (wait or learned.turnstile):
            return learned.turnstile
        return None

    def _quit(self, *, has_passed: bool = False) -> None:
        turnstile, self._turnstile = self._turnstile, None
        if turnstile is not None:
            turnstile.leave(self, self._place, has_passed=has_passed)

    def _behind_others(self, ahead: Ahead, criticality: Criticality) -> Ahead:
        """*ahead*, and the other lines at the turnstile; of limits with another one they may take nothing."""
        turnstile = self._turnstile
        if turnstile is None:
            return ahead
        others, costs = turnstile.ahead(self._place, criticality)
        is_learned = self.learned is not None and self.learned.turnstile is turnstile
        before = [
            mine + theirs if meter.turnstile is turnstile else mine
            for mine, theirs, meter in zip(ahead.costs, costs, self.meters, strict=True)
        ]
        return Ahead(ahead.others + others if is_learned else ahead.others, tuple(before))

    def _ahead_of(self, waiter: Waiter) -> Ahead:
        """
        What goes before one that has just joined its class.

        Of many, it is what its class and those above will take, and as many of the others as have a turn meanwhile at
        most; so its wait is right, or a ninth too long.
        """
        mine, waiters = waiter.criticality, self.waiters
        costs = self._sum(each for criticality, each in self._costs.items() if criticality <= mine)
        before = tuple([total - own for total, own in zip(costs, waiter.costs, strict=True)])
        count = sum(waiters.waiting(criticality) for criticality in waiters.queues if criticality <= mine) - 1
        others = len(waiters) - 1 - count
        if not others:
            return Ahead(count, before)
        if count <= LOOKED_AT:
            ahead = list(takewhile(lambda each: each is not waiter, waiters.in_order()))
            return Ahead(len(ahead), self._sum(each.costs for each in ahead))
        between = min(others, 1 + count // (TENTH - 1))
        share = between / others
        return Ahead(
            count + between,
            tuple(
                [mine + (total - up_to) * share for mine, total, up_to in zip(before, self.ahead, costs, strict=True)]
            ),
        )

    def _sum(self, costs: Iterable[tuple[float, ...]]) -> tuple[float, ...]:
        return tuple([sum(each) for each in zip((0.0,) * len(self.meters), *costs, strict=True)])
