"""
The bulkhead of one origin: permits, and the queue for them.

Rules: first in, first out. A permit is handed over at release, so nobody overtakes a waiter. Whoever is cancelled after
the hand-over passes the permit on. A permit belongs to nobody: it may be released by another task than took it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from ..errors import BulkheadFull

__all__ = ["BulkheadState", "BulkheadStatistics"]


class BulkheadStatistics(NamedTuple):
    max_concurrent: int
    in_flight: int
    waiting: int


class BulkheadState:
    """What lives of `seawall.Bulkhead`, and of a client's connection cap."""

    __slots__ = ("_in_flight", "_max", "_max_waiting", "_name", "_setting", "_standing_since", "_waiters", "_waiting")

    def __init__(self, name: str, max_concurrent: int, *, setting: str, max_waiting: int | None = None) -> None:
        self._name = name
        self._setting = setting
        self._max = max_concurrent
        self._max_waiting = max_waiting
        self._in_flight = 0
        self._waiters: deque[tuple[asyncio.Future[Any], object]] = deque()  # cancelled ones are skipped at their turn
        self._waiting = 0
        self._standing_since = 0.0

    def __repr__(self) -> str:
        return f"<BulkheadState {self._name} permits {self._in_flight}/{self._max} waiting {self._waiting}>"

    def statistics(self) -> BulkheadStatistics:
        return BulkheadStatistics(self._max, self._in_flight, self._waiting)

    @property
    def is_idle(self) -> bool:
        return not self._in_flight and not self._waiting

    @property
    def has_waiters(self) -> bool:
        return self._waiting > 0

    def standing_for(self, now: float) -> float:
        """s for which the queue has not been empty."""
        return now - self._standing_since if self._waiting else 0.0

    def try_acquire(self) -> bool:
        """A permit without waiting, where there is one and nobody waits for it."""
        if self._in_flight < self._max and not self._waiting:
            self._in_flight += 1
            return True
        return False

    @property
    def next_key(self) -> object:
        """Of the longest waiter, what it gave as its key; None where there is none."""
        return next((key for waiter, key in self._waiters if not waiter.done()), None)

    def hand_over(self, given: object) -> None:
        """Something as good as a permit, to the longest waiter, which there has to be."""
        waiter = self._next()
        assert waiter is not None
        waiter.set_result(given)

    async def acquire(
        self, timeout: float | None, key: object = None, undo: Callable[[Any], None] | None = None
    ) -> Any:
        """
        A permit, within *timeout* s (None: however long it takes).

        Args:
            key: By which `hand_over` may choose; *undo* takes back what was handed over to who was cancelled.
        Returns:
            None; or what was handed over in the permit's place.

        **Cancellation:** leaves the queue; a permit that was handed over meanwhile goes to the next.
        **Fairness:** FIFO.

        Raises:
            BulkheadFull: None in time, or *max_waiting* others wait.
        """
        if self.try_acquire():
            return None
        if self._max_waiting is not None and self._waiting >= self._max_waiting:
            raise self._full("the queue is full")
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[Any] = loop.create_future()
        if not self._waiting:
            self._standing_since = loop.time()
        self._waiters.append((waiter, key))
        self._waiting += 1
        timer = None if timeout is None else loop.call_later(timeout, self._expire, waiter, timeout)
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.cancelled():
                self._leave()
            elif waiter.exception() is None:  # granted, and cancelled before it could be used
                if undo is None or waiter.result() is None:
                    self.release()
                else:
                    undo(waiter.result())
            raise  # (one that expired has left already)
        finally:
            if timer is not None:
                timer.cancel()

    def release(self) -> None:
        """Give a permit back: to the longest waiter, if there is one."""
        waiter = self._next()
        if waiter is None:
            self._in_flight -= 1
        else:
            waiter.set_result(None)

    def _next(self) -> asyncio.Future[Any] | None:
        """The longest waiter, which waits no more."""
        while self._waiters:
            waiter, _ = self._waiters.popleft()
            if not waiter.done():
                self._waiting -= 1
                return waiter
        return None

    def _expire(self, waiter: asyncio.Future[Any], timeout: float) -> None:
        if not waiter.done():
            self._leave()
            waiter.set_exception(self._full(f"no permit within {timeout:g} s"))

    def _leave(self) -> None:
        self._waiting -= 1
        if len(self._waiters) > 2 * self._waiting + 16:  # most of it has left
            self._waiters = deque(each for each in self._waiters if not each[0].done())

    def _full(self, why: str) -> BulkheadFull:
        return BulkheadFull(
            f"{self._name}: {why}: {self._in_flight} of {self._max} permits in use, {self._waiting} waiting; "
            f"raise {self._setting}, or send less",
            max_concurrent=self._max,
            waiting=self._waiting,
        )
