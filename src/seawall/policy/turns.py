"""
Whose turn it is among waiters of different criticality.

Rules: the class that matters most goes first, and within a class it is first in, first out. Every tenth turn goes to
the waiter that came first, of whatever class, so that none waits for ever. Synchronous; it knows no time.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterator
from typing import Final, Generic, TypeVar

from ..config.criticality import BACKGROUND, DEFAULT, Criticality

__all__ = ["TENTH", "Turns"]

W = TypeVar("W", bound=Hashable)

TENTH: Final = 10  # turns, the last of which goes to the waiter that came first: a class gets a tenth at least


class Turns(Generic[W]):
    """
    Waiters by class.

    Attributes:
        queues: For each class that has waiters, these in the order in which they came, with their numbers. Empty if
            nobody waits, which costs no call to ask.
    """

    __slots__ = ("_came", "_taken", "queues")

    def __init__(self) -> None:
        self.queues: dict[Criticality, OrderedDict[W, int]] = {}
        self._came = 0
        self._taken = 0  # turns since the last one that went to the first of all; `TENTH` - 1 at most

    def __len__(self) -> int:
        return sum(map(len, self.queues.values()))

    @property
    def standing(self) -> int:
        """How many stand in the queues, those included that have ended and not run since: for other threads."""
        return sum(map(len, list(self.queues.values())))

    def __contains__(self, waiter: W) -> bool:
        return any(waiter in queue for queue in self.queues.values())

    def join(self, waiter: W, criticality: Criticality = DEFAULT) -> None:
        self._came += 1
        self.queues.setdefault(criticality, OrderedDict())[waiter] = self._came

    def leave(self, waiter: W) -> bool:
        """It waits no longer; False if it didn't."""
        for criticality, queue in self.queues.items():
            if waiter in queue:
                del queue[waiter]
                if not queue:
                    del self.queues[criticality]
                return True
        return False

    def next(self, lowest: Criticality = BACKGROUND) -> tuple[Criticality, W] | None:
        """The waiter whose turn it is, with its class; None if none waits in *lowest* or a class above."""
        is_tenth = self._taken == TENTH - 1
        best: tuple[int, Criticality, W] | None = None
        for criticality, queue in self.queues.items():  # three at most
            if criticality <= lowest:
                waiter, number = next(iter(queue.items()))
                order = number if is_tenth else criticality
                if best is None or order < best[0]:
                    best = order, criticality, waiter
        return None if best is None else best[1:]

    def took(self) -> None:
        """A turn was taken."""
        self._taken = (self._taken + 1) % TENTH

    def waiting(self, criticality: Criticality) -> int:
        """How many waiters of that class there are."""
        queue = self.queues.get(criticality)
        return 0 if queue is None else len(queue)

    def last(self) -> tuple[Criticality, W]:
        """The waiter that came last of those that matter least; there must be one."""
        criticality = max(self.queues)
        return criticality, next(reversed(self.queues[criticality]))

    def in_order(self) -> Iterator[W]:
        """All waiters in the order of their turns, if no more come; the queues must not change meanwhile."""
        rest = {criticality: iter(queue.items()) for criticality, queue in self.queues.items()}
        heads = {criticality: next(each) for criticality, each in rest.items()}
        taken = self._taken
        while heads:
            is_tenth = taken == TENTH - 1
            first = min(heads, key=lambda each: heads[each][1] if is_tenth else each)
            yield heads[first][0]
            taken = (taken + 1) % TENTH
            following = next(rest[first], None)
            if following is None:
                del heads[first]
            else:
                heads[first] = following
