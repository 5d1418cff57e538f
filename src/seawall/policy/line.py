"""The attempts that wait for their turn by the same limits."""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict
from typing import Final

from .learned import Learned
from .meter import Meter

__all__ = ["Line", "Waiter"]

INSTANT: Final = 1e-9  # s; less is no wait, because a clock may not be able to add it


class Waiter:
    """An attempt that waits for its turn."""

    __slots__ = ("costs", "moved", "shut_until")

    def __init__(self, costs: tuple[float, ...], shut_until: float) -> None:
        self.costs = costs
        self.shut_until = shut_until
        self.moved: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class Line:
    """
    The attempts that wait for the same things, first in, first out.

    Attributes:
        credential: A hash of the one that they have in common.
        meters: One for each limit.
        learned: What the origin has taught for their credential.
        waiters: In the order in which they came.
    """

    __slots__ = ("_ahead", "credential", "learned", "meters", "waiters")

    def __init__(self, credential: bytes, meters: tuple[Meter, ...]) -> None:
        self.credential = credential
        self.meters = meters
        self.learned: Learned | None = None
        self.waiters: OrderedDict[Waiter, None] = OrderedDict()
        self._ahead = [0.0] * len(meters)  # what all waiters together will take

    @property
    def first(self) -> Waiter | None:
        return next(iter(self.waiters), None)

    def wait(self, now: float, costs: tuple[float, ...], *, is_first: bool, shut_until: float = math.inf) -> float:
        """Seconds until an attempt of *costs* has its turn; if it isn't first, after all that wait now."""
        ahead = [0.0] * len(costs) if is_first else self._ahead
        wait = 0.0
        if self.learned is not None:
            wait = self.learned.wait(now, 0 if is_first else len(self.waiters), shut_until=shut_until)
        for meter, cost, before in zip(self.meters, costs, ahead, strict=True):
            wait = max(wait, meter.wait(now, cost, before))
        return wait if wait > INSTANT else 0.0

    def take(self, now: float, costs: tuple[float, ...], count: float = 1.0) -> None:
        for meter, cost in zip(self.meters, costs, strict=True):
            meter.take(now, cost)
        if self.learned is not None:
            self.learned.take(now, count)

    def join(self, costs: tuple[float, ...]) -> Waiter:
        waiter = Waiter(costs, math.inf if self.learned is None else self.learned.shut_until)
        self.waiters[waiter] = None
        self._ahead = [before + cost for before, cost in zip(self._ahead, costs, strict=True)]
        return waiter

    def leave(self, waiter: Waiter) -> None:
        """It has had its turn, or waits no longer."""
        del self.waiters[waiter]
        self._ahead = [before - cost for before, cost in zip(self._ahead, waiter.costs, strict=True)]
        self.wake()

    def wake(self) -> None:
        """The first waiter looks again at when its turn is."""
        if (first := self.first) is not None and not first.moved.done():
            first.moved.set_result(None)
