"""
The one queue of waiters: the bulkhead's and the client-wide cap's.

Rules: first in, first out. A thing that becomes free is handed to the longest waiter at once, so nobody overtakes it. A
waiter that is cancelled after the hand-over gives back what it got. A waiter that was cancelled and has not run since
no longer counts: the next look at the queue removes it.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["Fifo"]

T = TypeVar("T")


def _nothing() -> None:
    """The callback of a caller that wants none."""


class Fifo(Generic[T]):
    """
    Waiters for things that come one at a time.

    Args:
        left: Called once for each waiter that leaves, for whatever reason.
    Attributes:
        queue: The waiters, cancelled ones that have not run since included.
    """

    __slots__ = ("_left", "queue")

    def __init__(self, left: Callable[[], None] = _nothing) -> None:
        self._left = left
        self.queue: OrderedDict[asyncio.Future[T], None] = OrderedDict()  # in the order in which they came

    def __len__(self) -> int:
        """How many waiters there are."""
        waiters = self.queue
        while waiters and (first := next(iter(waiters))).done():
            self._remove(first)
        return len(waiters)

    def give(self, thing: T) -> bool:
        """Hand *thing* to the longest waiter; False if nobody waits."""
        if not self.queue or not len(self):
            return False
        waiter = next(iter(self.queue))
        self._remove(waiter)
        waiter.set_result(thing)
        return True

    def refuse(self, error: Exception) -> None:
        """Have the waiter that came last raise *error*; there must be one."""
        waiter = next(reversed(self.queue))
        self._remove(waiter)
        if not waiter.done():
            waiter.set_exception(error)

    async def wait(
        self,
        timeout: float | None,
        *,
        expired: Callable[[], Exception],
        undo: Callable[[T], None],
        joined: Callable[[], None] = _nothing,
    ) -> T:
        """
        Wait for a thing, at most *timeout* seconds; None waits as long as it takes.

        Args:
            expired: Makes the error to raise when the time is over.
            undo: Takes back what was handed to a caller that was cancelled meanwhile.
            joined: Called once the caller stands in the queue; it may free what the caller waits for.

        **Cancellation:** the caller leaves the queue; what was handed over meanwhile goes to *undo*.
        **Fairness:** FIFO.
        """
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[T] = loop.create_future()
        self.queue[waiter] = None
        joined()
        timer = None
        if timeout is not None and not waiter.done():
            timer = loop.call_later(timeout, self._expire, waiter, expired)
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.cancelled():
                self._remove(waiter)
            elif waiter.exception() is None:  # handed over, and cancelled before it could be used
                undo(waiter.result())
            raise  # (a waiter whose time was over has left already)
        finally:
            if timer is not None:
                timer.cancel()
            del waiter  # its error holds this frame

    def _expire(self, waiter: asyncio.Future[T], expired: Callable[[], Exception]) -> None:
        if not waiter.done():
            self._remove(waiter)
            waiter.set_exception(expired())

    def _remove(self, waiter: asyncio.Future[T]) -> None:
        if waiter in self.queue:
            del self.queue[waiter]
            self._left()
