"""
The client-wide cap of connections: slots, and turns among the origins that wait for one.

Rules: the next slot goes to the origin that holds the fewest, and among equals to the one that has waited longest;
within an origin it is first in, first out. A connection that becomes free stays with its own origin, unless another
origin waits and holds none, or two fewer: a moved slot costs a dial, so it moves only if that makes them more equal.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count
from typing import Any

from ..errors import BulkheadFull
from ..origin import Origin
from ..route import Holder
from .fifo import Fifo

__all__ = ["Slots"]


class _Line:
    """A holder's slots, and its waiters for one more."""

    __slots__ = ("held", "since", "waiters")

    def __init__(self, left: Callable[[], None]) -> None:
        self.held = 0
        self.waiters: Fifo[Any] = Fifo(left)
        self.since = 0  # its turn among holders of as many slots


class Slots:
    """
    Args:
        max_connections: Slots in all; None sets no limit.
    Attributes:
        in_use: Slots that are out.
        waiting: How many waiters there are.
    """

    def __init__(self, max_connections: int | None) -> None:
        self._max = max_connections
        self.in_use = 0
        self.waiting = 0
        self._lines: dict[Holder, _Line] = {}
        self._turns: list[tuple[int, int, Holder]] = []  # a heap: (held, since, holder); outdated ones are skipped
        self._counter = count()

    def __repr__(self) -> str:
        return f"<Slots {self.in_use}/{self._max or 'any number'} waiting {self.waiting}>"

    @property
    def max_connections(self) -> int | None:
        return self._max

    @property
    def holders(self) -> list[Holder]:
        """Those that hold slots, or wait for one."""
        return list(self._lines)

    def held(self, origin: Holder) -> int:
        """Slots that *origin* holds."""
        line = self._lines.get(origin)
        return 0 if line is None else line.held

    def try_acquire(self, origin: Holder) -> bool:
        """Take a slot, if one is free and nobody waits for it."""
        if self.waiting or (self._max is not None and self.in_use >= self._max):
            return False
        self.in_use += 1
        self._line(origin).held += 1
        return True

    def is_waiting(self, origin: Holder) -> bool:
        """Whether anybody waits for a slot of *origin*'s."""
        line = self._lines.get(origin)
        return line is not None and len(line.waiters) > 0

    def owes(self, origin: Holder) -> bool:
        """Whether the next slot that *origin* frees must go to another origin, which waits and holds too few."""
        first = self._first()
        if first is None or first == origin:
            return False
        held = self._lines[first].held
        return held == 0 or held <= self.held(origin) - 2

    def is_next(self, origin: Holder) -> bool:
        """Whether the next connection that *origin* frees must go to one of its own waiters."""
        return self.is_waiting(origin) and not self.owes(origin)

    def hand_over(self, origin: Holder, given: object) -> None:
        """Give a connection of *origin* to its longest waiter, which must exist. The connection keeps its slot."""
        self._lines[origin].waiters.give(given)

    async def acquire(
        self,
        timeout: float | None,
        origin: Holder,
        undo: Callable[[Any], None],
        make_room: Callable[[], None] | None = None,
    ) -> Any:
        """
        Take a slot within *timeout* seconds; None waits as long as it takes.

        Args:
            undo: Takes back a connection that was handed to a cancelled waiter.
            make_room: Called once the caller stands in line, because what it frees goes to the next waiter.
        Returns:
            None if it is a slot; else the connection that was handed over in its place.

        **Cancellation:** the caller leaves the queue; what was handed over meanwhile goes to the next waiter.
        **Fairness:** turns among origins, FIFO within one.

        Raises:
            BulkheadFull: No slot came in time.
        """
        if self.try_acquire(origin):
            return None
        line = self._line(origin)
        is_first = not len(line.waiters)

        def joined() -> None:
            self.waiting += 1
            if is_first:
                self._take_turn(origin, line)
            if make_room is not None:
                make_room()

        def back(given: Any) -> None:
            if given is None:
                self.release(origin)
            else:
                undo(given)

        try:
            return await line.waiters.wait(
                timeout, expired=lambda: self._full(origin, line, timeout or 0.0), undo=back, joined=joined
            )
        except BaseException:
            self._tidy(origin, line)
            raise

    def release(self, origin: Holder) -> None:
        """Free a slot of *origin*; the next waiter takes it, if there is one."""
        line = self._lines[origin]
        first = self._first()  # before `held` falls, or an origin that frees its only slot would be first again
        line.held -= 1
        if len(line.waiters):
            self._push(origin, line)
        if first is None:
            self.in_use -= 1
        else:
            mine = self._lines[first]
            mine.held += 1
            mine.waiters.give(None)
            if len(mine.waiters):
                self._take_turn(first, mine)
        self._tidy(origin, line)

    def _line(self, origin: Holder) -> _Line:
        found = self._lines.get(origin)
        if found is None:
            found = self._lines[origin] = _Line(self._left)
        return found

    def _tidy(self, origin: Holder, line: _Line) -> None:
        """Forget an origin that holds nothing and waits for nothing."""
        if not line.held and not line.waiters and self._lines.get(origin) is line:
            del self._lines[origin]

    def _take_turn(self, origin: Holder, line: _Line) -> None:
        """Put *origin* behind all others that hold as many."""
        line.since = next(self._counter)
        self._push(origin, line)

    def _push(self, origin: Holder, line: _Line) -> None:
        if len(self._turns) > 2 * len(self._lines) + 64:  # most entries are outdated
            self._turns = [(each.held, each.since, of) for of, each in self._lines.items() if each.waiters]
            heapq.heapify(self._turns)
        heapq.heappush(self._turns, (line.held, line.since, origin))

    def _first(self) -> Holder | None:
        """The holder whose turn it is; None if nobody waits."""
        while self._turns:
            held, since, origin = self._turns[0]
            line = self._lines.get(origin)
            if line is not None and len(line.waiters) and (held, since) == (line.held, line.since):
                return origin
            heapq.heappop(self._turns)
        return None

    def _left(self) -> None:
        self.waiting -= 1

    def _full(self, origin: Holder, line: _Line, timeout: float) -> BulkheadFull:
        return BulkheadFull(
            f"{origin}: no connection within {timeout:g} s: {self.in_use} of {self._max} are in use, {line.held} "
            f"of them by this origin, {self.waiting} waiting; raise Limits.max_connections, or send less",
            by="cap",
            max_concurrent=self._max,
            waiting=self.waiting,
            elapsed=timeout,
            origin=origin if isinstance(origin, Origin) else origin.origin,
        )
