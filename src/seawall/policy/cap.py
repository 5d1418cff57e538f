"""
The client-wide cap of connections: slots, and turns among the origins that wait for one.

Rules: the next slot goes to the origin that holds the fewest, of equals to the one that has waited longest; within an
origin it is first in, first out. A connection that becomes free stays with its own origin, unless another origin waits
and holds none, or two fewer: moving a slot costs a dial, so it is moved only where that makes them more equal.
Whoever is cancelled after a hand-over passes it on. A waiter that was cancelled but has not run yet
waits no more: whoever looks for the next one takes it out.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import OrderedDict
from collections.abc import Callable
from itertools import count
from typing import Any

from ..errors import BulkheadFull
from ..origin import Elsewhere, Holder

__all__ = ["Slots"]


class _Line:
    """A holder's slots, and those who wait for one more."""

    __slots__ = ("held", "since", "waiters")

    def __init__(self) -> None:
        self.held = 0
        self.waiters: OrderedDict[asyncio.Future[Any], None] = OrderedDict()  # in the order they came
        self.since = 0  # its turn among those who hold as many


class Slots:
    """
    Args:
        max_connections: Slots in all; None: any number.
    """

    def __init__(self, max_connections: int | None) -> None:
        self._max = max_connections
        self._in_use = 0
        self.waiting = 0
        self._lines: dict[Holder, _Line] = {}
        self._turns: list[tuple[int, int, Holder]] = []  # a heap: (held, since, holder); outdated ones are skipped
        self._counter = count()

    def __repr__(self) -> str:
        return f"<Slots {self._in_use}/{self._max or 'any number'} waiting {self.waiting}>"

    @property
    def in_use(self) -> int:
        return self._in_use

    @property
    def has_waiters(self) -> bool:
        return self.waiting > 0

    def held(self, origin: Holder) -> int:
        """Slots that *origin* has."""
        line = self._lines.get(origin)
        return 0 if line is None else line.held

    def try_acquire(self, origin: Holder) -> bool:
        """A slot without waiting, where there is one and nobody waits for it."""
        if self.waiting or (self._max is not None and self._in_use >= self._max):
            return False
        self._in_use += 1
        self._line(origin).held += 1
        return True

    def is_waiting(self, origin: Holder) -> bool:
        """Whether anybody waits for a slot of *origin*'s."""
        line = self._lines.get(origin)
        return line is not None and self._is_waiting(line)

    def owes(self, origin: Holder) -> bool:
        """Whether the next slot of *origin*'s to become free is for another: one that waits and holds too few."""
        first = self._first()
        if first is None or first == origin:
            return False
        held = self._lines[first].held
        return held == 0 or held <= self.held(origin) - 2

    def is_next(self, origin: Holder) -> bool:
        """Whether what becomes free of *origin*'s connections is for one of its own waiters."""
        return self.is_waiting(origin) and not self.owes(origin)

    def hand_over(self, origin: Holder, given: object) -> None:
        """A connection of *origin*, to its longest waiter, which there has to be. It keeps its slot."""
        self._next(self._lines[origin]).set_result(given)

    async def acquire(
        self,
        timeout: float | None,
        origin: Holder,
        undo: Callable[[Any], None],
        make_room: Callable[[], None] | None = None,
    ) -> Any:
        """
        A slot, within *timeout* s (None: however long it takes).

        Args:
            undo: Takes back what was handed over to who was cancelled.
            make_room: Called once the caller stands in line, because what it frees goes to whoever is next.
        Returns:
            None; or the connection that was handed over in its place.

        **Cancellation:** leaves the queue; what was handed over meanwhile goes to the next.
        **Fairness:** turns among origins, FIFO within one.

        Raises:
            BulkheadFull: None in time.
        """
        if self.try_acquire(origin):
            return None
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[Any] = loop.create_future()
        line = self._line(origin)
        is_first = not self._is_waiting(line)
        line.waiters[waiter] = None
        self.waiting += 1
        if is_first:
            self._take_turn(origin, line)
        if make_room is not None:
            make_room()
        timer = None
        if timeout is not None and not waiter.done():
            timer = loop.call_later(timeout, self._expire, waiter, origin, timeout)
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.cancelled():
                self._remove(line, waiter)
                self._tidy(origin, line)
            elif waiter.exception() is None:  # granted, and cancelled before it could be used
                if waiter.result() is None:
                    self.release(origin)
                else:
                    undo(waiter.result())
            raise  # (one that expired has left already)
        finally:
            if timer is not None:
                timer.cancel()
            del waiter  # its error holds this frame

    def release(self, origin: Holder) -> None:
        """A slot of *origin*'s is free: the next one's, if anybody waits."""
        line = self._lines[origin]
        first = self._first()  # as things stand: or an origin that gives its only slot back would be first again
        line.held -= 1
        if self._is_waiting(line):
            self._push(origin, line)
        if first is None:
            self._in_use -= 1
        else:
            mine = self._lines[first]
            waiter = self._next(mine)
            mine.held += 1
            if self._is_waiting(mine):
                self._take_turn(first, mine)
            waiter.set_result(None)
        self._tidy(origin, line)

    def _line(self, origin: Holder) -> _Line:
        found = self._lines.get(origin)
        if found is None:
            found = self._lines[origin] = _Line()
        return found

    def _tidy(self, origin: Holder, line: _Line) -> None:
        """Forget an origin that holds nothing and waits for nothing."""
        if not line.held and not line.waiters and self._lines.get(origin) is line:
            del self._lines[origin]

    def _take_turn(self, origin: Holder, line: _Line) -> None:
        """Behind all others that hold as many."""
        line.since = next(self._counter)
        self._push(origin, line)

    def _push(self, origin: Holder, line: _Line) -> None:
        if len(self._turns) > 2 * len(self._lines) + 64:  # most of it is outdated
            self._turns = [(each.held, each.since, of) for of, each in self._lines.items() if each.waiters]
            heapq.heapify(self._turns)
        heapq.heappush(self._turns, (line.held, line.since, origin))

    def _first(self) -> Holder | None:
        """Whose turn it is; None: nobody waits."""
        while self._turns:
            held, since, origin = self._turns[0]
            line = self._lines.get(origin)
            if line is not None and self._is_waiting(line) and (held, since) == (line.held, line.since):
                return origin
            heapq.heappop(self._turns)
        return None

    def _is_waiting(self, line: _Line) -> bool:
        """Whether somebody of it does; whoever was cancelled, and has not run since, is taken out."""
        while line.waiters:
            waiter = next(iter(line.waiters))
            if not waiter.done():
                return True
            self._remove(line, waiter)
        return False

    def _next(self, line: _Line) -> asyncio.Future[Any]:
        """Its longest waiter, which waits no more; there has to be one."""
        is_waiting = self._is_waiting(line)  # which takes out those who left
        assert is_waiting
        waiter = next(iter(line.waiters))
        self._remove(line, waiter)
        return waiter

    def _remove(self, line: _Line, waiter: asyncio.Future[Any]) -> None:
        if waiter in line.waiters:
            del line.waiters[waiter]
            self.waiting -= 1

    def _expire(self, waiter: asyncio.Future[Any], origin: Holder, timeout: float) -> None:
        if waiter.done():
            return
        line = self._lines[origin]
        self._remove(line, waiter)
        waiter.set_exception(
            BulkheadFull(
                f"{origin}: no connection within {timeout:g} s: {self._in_use} of {self._max} are in use, {line.held} "
                f"of them by this origin, {self.waiting} waiting; raise Limits.max_connections, or send less",
                max_concurrent=self._max,
                waiting=self.waiting,
                elapsed=timeout,
                origin=origin.origin if isinstance(origin, Elsewhere) else origin,
            )
        )
        self._tidy(origin, line)
