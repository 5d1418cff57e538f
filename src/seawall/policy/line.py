"""The attempts that wait for their turn by the same limits."""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict
from typing import Final, Protocol

from .learned import Learned
from .lease import Lease, Leased
from .meter import Meter

__all__ = ["Line", "Source", "Waiter"]

INSTANT: Final = 1e-9  # s; less is no wait, because a clock may not be able to add it


class Waiter:
    """An attempt that waits for its turn."""

    __slots__ = ("costs", "ends_at", "moved", "shut_until")

    def __init__(self, costs: tuple[float, ...], ends_at: float, shut_until: float) -> None:
        self.costs = costs
        self.ends_at = ends_at
        self.shut_until = shut_until
        self.moved: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class Source(Protocol):
    """What a line draws on, if its limits are shared with other processes."""

    def ask(self) -> None:
        """Book what the line needs, unless that is asked already."""

    def covers(self, costs: tuple[float, ...]) -> bool:
        """Whether the wait of an attempt is known."""
        ...

    def used(self, costs: tuple[float, ...]) -> Lease | None:
        """An attempt has been let through: from which lease?"""

    def give_back(self, lease: Lease, costs: tuple[float, ...]) -> None:
        """An attempt that has taken from *lease* wasn't sent."""


class Line:
    """
    The attempts that wait for the same things, first in, first out.

    Attributes:
        credential: A hash of the one that they have in common.
        meters: One for each limit.
        learned: What the origin has taught for their credential.
        source: Where the shared ones come from; None if none is shared.
        waiters: In the order in which they came.
        ahead: What all waiters together will take of each limit.
    """

    __slots__ = ("ahead", "credential", "learned", "meters", "source", "waiters")

    def __init__(self, credential: bytes, meters: tuple[Meter | Leased, ...]) -> None:
        self.credential = credential
        self.meters = meters
        self.learned: Learned | None = None
        self.source: Source | None = None
        self.waiters: OrderedDict[Waiter, None] = OrderedDict()
        self.ahead = [0.0] * len(meters)

    @property
    def first(self) -> Waiter | None:
        return next(iter(self.waiters), None)

    def wait(self, now: float, costs: tuple[float, ...], *, is_first: bool, shut_until: float = math.inf) -> float:
        """Seconds until an attempt of *costs* has its turn; if it isn't first, after all that wait now."""
        ahead = [0.0] * len(costs) if is_first else self.ahead
        wait = 0.0
        if self.learned is not None:
            wait = self.learned.wait(now, 0 if is_first else len(self.waiters), shut_until=shut_until)
        for meter, cost, before in zip(self.meters, costs, ahead, strict=True):
            wait = max(wait, meter.wait(now, cost, before))
        return wait if wait > INSTANT else 0.0

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
        self.wake()

    def join(self, costs: tuple[float, ...], ends_at: float) -> Waiter:
        waiter = Waiter(costs, ends_at, math.inf if self.learned is None else self.learned.shut_until)
        self.waiters[waiter] = None
        self.ahead = [before + cost for before, cost in zip(self.ahead, costs, strict=True)]
        return waiter

    def leave(self, waiter: Waiter) -> None:
        """It has had its turn, or waits no longer."""
        del self.waiters[waiter]
        self.ahead = [before - cost for before, cost in zip(self.ahead, waiter.costs, strict=True)]
        self.wake()
        self.ask()

    def ask(self) -> None:
        """Have more booked of what is shared, where that is needed."""
        if self.source is not None:
            self.source.ask()

    def is_known(self, costs: tuple[float, ...]) -> bool:
        """Whether the wait of an attempt that is the first is known; else the line is woken once it is."""
        return self.source is None or self.source.covers(costs)

    def wake(self) -> None:
        """The first waiter looks again at when its turn is."""
        if (first := self.first) is not None and not first.moved.done():
            first.moved.set_result(None)
