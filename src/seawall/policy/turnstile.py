"""
Where the lines queue that draw on the same limits.

Rules: only the line whose turn is next sets a timer, and whoever has passed or goes away wakes the one behind. If all
woke at each turn, of whom one may pass, n waiters would cost n x n.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import NamedTuple, Protocol

from ..config.criticality import Criticality
from .turns import Turns

__all__ = ["Ahead", "Place", "Sleeper", "Turnstile"]


class Sleeper(Hashable, Protocol):
    """A line that waits."""

    def wake(self) -> None:
        """Look again at when its turn is."""


class Place(NamedTuple):
    """
    Of a line, at a turnstile.

    Attributes:
        criticality: The class of those of its waiters that matter most. A tenth turn may be for one of a lower class,
            and the others mustn't wait behind all lines of that class meanwhile.
        costs: What the first one takes of each limit.
    """

    criticality: Criticality
    costs: tuple[float, ...]


class Ahead(NamedTuple):
    """What goes before an attempt: how many others, and what these take of each limit."""

    others: int
    costs: tuple[float, ...]


class Turnstile:
    """
    The lines that one of its limits holds back for longest, of all that they draw on; `turns` says which is next.

    Limits that hold back the same lines have one turnstile. If each had its own, all lines would move to another as
    often as another of the limits is the slowest, and whoever waits for much of one limit would be overtaken for ever
    by those that wait for another.
    """

    __slots__ = ("__weakref__", "_costs", "_lines")

    def __init__(self) -> None:
        self._lines: Turns[Sleeper] = Turns()
        self._costs: dict[Criticality, tuple[float, ...]] = {}  # of all places of a class

    def __bool__(self) -> bool:
        """Whether any line waits."""
        return bool(self._lines.queues)

    def __len__(self) -> int:
        return len(self._lines)

    def join(self, line: Sleeper, place: Place) -> None:
        self._lines.join(line, place.criticality)
        others = self._costs.get(place.criticality)
        self._costs[place.criticality] = place.costs if others is None else _sum(others, place.costs)

    def change(self, before: Place, after: Place) -> None:
        """A line that stays has another first waiter, of the same class."""
        others = _difference(self._costs[before.criticality], before.costs)
        self._costs[after.criticality] = _sum(others, after.costs)

    def leave(self, line: Sleeper, place: Place, *, has_passed: bool) -> None:
        if has_passed:
            self._lines.took()
        self._lines.leave(line)
        if self._lines.waiting(place.criticality):
            self._costs[place.criticality] = _difference(self._costs[place.criticality], place.costs)
        else:
            del self._costs[place.criticality]
        self.wake()

    def ahead(self, place: Place, criticality: Criticality) -> Ahead:
        """The lines, but the one in *place*, that go before a newcomer of that class, if each has a turn."""
        count, costs = 0, (0.0,) * len(place.costs)
        for each, theirs in self._costs.items():
            if each <= criticality:
                count, costs = count + self._lines.waiting(each), _sum(costs, theirs)
        if place.criticality <= criticality:
            count, costs = count - 1, _difference(costs, place.costs)
        return Ahead(count, costs)

    @property
    def next(self) -> Sleeper | None:
        """The line whose turn is next."""
        found = self._lines.next()
        return None if found is None else found[1]

    def wake(self) -> None:
        """That line looks again at when its turn is."""
        if (line := self.next) is not None:
            line.wake()


def _sum(some: tuple[float, ...], more: tuple[float, ...]) -> tuple[float, ...]:
    return tuple([one + other for one, other in zip(some, more, strict=True)])


def _difference(some: tuple[float, ...], less: tuple[float, ...]) -> tuple[float, ...]:
    return tuple([max(0.0, one - other) for one, other in zip(some, less, strict=True)])
