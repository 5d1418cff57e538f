"""
The bulkhead of one origin: permits, and the queue for them.

Rules: first in, first out. A permit is handed over at release, so nobody overtakes a waiter. Whoever is cancelled after
the hand-over passes the permit on. A permit belongs to nobody: it may be released by another task than took it.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import NamedTuple

from ..errors import BulkheadFull

__all__ = ["BulkheadState", "BulkheadStatistics"]


class BulkheadStatistics(NamedTuple):
    max_concurrent: int
    in_flight: int
    waiting: int


class BulkheadState:
    """What lives of `seawall.Bulkhead`."""

    __slots__ = ("_in_flight", "_max", "_max_waiting", "_name", "_setting", "_standing_since", "_waiters")

    def __init__(self, name: str, max_concurrent: int, *, setting: str, max_waiting: int | None = None) -> None:
        self._name = name
        self._setting = setting
        self._max = max_concurrent
        self._max_waiting = max_waiting
        self._in_flight = 0
        self._waiters: OrderedDict[asyncio.Future[None], None] = OrderedDict()  # in the order they came
        self._standing_since = 0.0

    def __repr__(self) -> str:
        return f"<BulkheadState {self._name} permits {self._in_flight}/{self._max} waiting {self._waiting}>"

    def statistics(self) -> BulkheadStatistics:
        return BulkheadStatistics(self._max, self._in_flight, self._waiting)

    @property
    def is_idle(self) -> bool:
        return not self._in_flight and not self._waiting

    def standing_for(self, now: float) -> float:
        """s for which the queue has not been empty."""
        return now - self._standing_since if self._waiting else 0.0

    def try_acquire(self) -> bool:
        """A permit without waiting, where there is one and nobody waits for it."""
        if self._in_flight < self._max and not (self._waiters and self._waiting):
            self._in_flight += 1
            return True
        return False

    async def acquire(self, timeout: float | None) -> None:
        """
        A permit, within *timeout* s (None: however long it takes).

        **Cancellation:** leaves the queue; a permit that was handed over meanwhile goes to the next.
        **Fairness:** FIFO.

        Raises:
            BulkheadFull: None in time, or *max_waiting* others wait.
        """
        if self.try_acquire():
            return
        if self._max_waiting is not None and self._waiting >= self._max_waiting:
            raise self._full("the queue is full", 0.0)
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[None] = loop.create_future()
        if not self._waiting:
            self._standing_since = loop.time()
        self._waiters[waiter] = None
        timer = None if timeout is None else loop.call_later(timeout, self._expire, waiter, timeout)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.cancelled():
                self._waiters.pop(waiter, None)
            elif waiter.exception() is None:  # granted, and cancelled before it could be used
                self.release()
            raise  # (one that expired has left already)
        finally:
            if timer is not None:
                timer.cancel()
            del waiter  # its error holds this frame

    def release(self) -> None:
        """Give a permit back: to the longest waiter, if there is one."""
        waiter = self._next()
        if waiter is None:
            self._in_flight -= 1
        else:
            waiter.set_result(None)

    @property
    def _waiting(self) -> int:
        """Of those who wait; whoever was cancelled, and has not run since, is taken out."""
        while self._waiters and (first := next(iter(self._waiters))).done():
            del self._waiters[first]
        return len(self._waiters)

    def _next(self) -> asyncio.Future[None] | None:
        """The longest waiter, which waits no more."""
        if not self._waiting:
            return None
        waiter = next(iter(self._waiters))
        del self._waiters[waiter]
        return waiter

    def _expire(self, waiter: asyncio.Future[None], timeout: float) -> None:
        if not waiter.done():
            self._waiters.pop(waiter, None)
            waiter.set_exception(self._full(f"no permit within {timeout:g} s", timeout))

    def _full(self, why: str, waited: float) -> BulkheadFull:
        return BulkheadFull(
            f"{self._name}: {why}: {self._in_flight} of {self._max} permits in use, {self._waiting} waiting; "
            f"raise {self._setting}, or send less",
            max_concurrent=self._max,
            waiting=self._waiting,
            elapsed=waited,
        )
