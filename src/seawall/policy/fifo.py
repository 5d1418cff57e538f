"""
The one queue of waiters: the bulkhead's and the client-wide cap's.

Rules: first in, first out within a class; `turns` says which class is next. A thing that becomes free is handed to a
waiter at once, so nobody overtakes it. A waiter that is cancelled after the hand-over gives back what it got. A waiter
that was cancelled and has not run since no longer counts: the next look at the queue removes it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from ..config.criticality import BACKGROUND, DEFAULT, Criticality
from .turns import Turns

__all__ = ["Fifo"]

T = TypeVar("T")


def _nothing() -> None:
    """The callback of a caller that wants none."""


class Fifo(Turns[asyncio.Future[T]]):
    """
    Waiters for things that come one at a time; ``queues`` has cancelled ones that have not run since, too.

    Args:
        left: Called once for each waiter that leaves, for whatever reason.
    """

    __slots__ = ("_on_left",)

    def __init__(self, left: Callable[[], None] = _nothing) -> None:
        super().__init__()
        self._on_left = left

    def __len__(self) -> int:
        """How many waiters there are."""
        for queue in tuple(self.queues.values()):
            while queue and (first := next(iter(queue))).done():
                self._remove(first)
        return super().__len__()

    def give(self, thing: T, lowest: Criticality = BACKGROUND) -> Criticality | None:
        """
        Hand *thing* to the next waiter of *lowest* or a class above.

        Returns:
            The waiter's class; None if none of them waits.
        """
        while (found := self.next(lowest)) is not None:
            criticality, waiter = found
            self._remove(waiter)
            if not waiter.done():
                self.took()
                waiter.set_result(thing)
                return criticality
        return None

    def refuse(self, error: Exception) -> None:
        """Have the waiter that came last of those that matter least raise *error*; there must be one."""
        _, waiter = self.last()
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
        criticality: Criticality = DEFAULT,
    ) -> T:
        """
        Wait for a thing, at most *timeout* seconds; None waits as long as it takes.

        Args:
            expired: Makes the error to raise when the time is over.
            undo: Takes back what was handed to a caller that was cancelled meanwhile.
            joined: Called once the caller stands in the queue; it may free what the caller waits for.

        **Cancellation:** the caller leaves the queue; what was handed over meanwhile goes to *undo*.
        **Fairness:** FIFO within a class; see `turns`.
        """
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[T] = loop.create_future()
        self.join(waiter, criticality)
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
        if self.leave(waiter):
            self._on_left()
