"""
Where the lines queue that draw on one limit.

Rules: only the line whose turn is next sets a timer, and whoever has passed or goes away wakes the one behind. If all
woke at each turn, of whom one may pass, n waiters would cost n x n.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import NamedTuple, Protocol

from ..config.criticality import Criticality
from .turns import Turns

__all__ = ["Place", "Sleeper", "Turnstile"]


class Sleeper(Hashable, Protocol):
    """A line that waits."""

    def wake(self) -> None:
        """Look again at when its turn is."""


class Place(NamedTuple):
    """Of a line: the class of its first waiter, and what that takes of the limit."""

    criticality: Criticality
    cost: float


class Turnstile:
    """The lines that one limit holds back for longest, of all that they draw on; `turns` says which is next."""

    __slots__ = ("_costs", "_lines")

    def __init__(self) -> None:
        self._lines: Turns[Sleeper] = Turns()
        self._costs: dict[Criticality, float] = {}  # of all places of a class

    def __bool__(self) -> bool:
        """Whether any line waits."""
        return bool(self._lines.queues)

    def __len__(self) -> int:
        return len(self._lines)

    def join(self, line: Sleeper, place: Place) -> None:
        self._lines.join(line, place.criticality)
        self._costs[place.criticality] = self._costs.get(place.criticality, 0.0) + place.cost

    def leave(self, line: Sleeper, place: Place, *, has_passed: bool) -> None:
        if has_passed:
            self._lines.took()
        self._lines.leave(line)
        if self._lines.waiting(place.criticality):
            self._costs[place.criticality] -= place.cost
        else:
            del self._costs[place.criticality]
        self.wake()

    def ahead(self, place: Place, criticality: Criticality) -> float:
        """What the lines take, but the one in *place*, that go before a newcomer of that class, if each has a turn."""
        others = sum(cost for each, cost in self._costs.items() if each <= criticality)
        if place.criticality <= criticality:
            others -= place.cost
        return max(0.0, others)

    @property
    def next(self) -> Sleeper | None:
        """The line whose turn is next."""
        found = self._lines.next()
        return None if found is None else found[1]

    def wake(self) -> None:
        """That line looks again at when its turn is."""
        if (line := self.next) is not None:
            line.wake()
