"""Somebody who waits for something to happen, with a time limit: one at a time, one timer, no task."""

from __future__ import annotations

import asyncio
from contextvars import Context

__all__ = ["Waiting", "expire"]


class Waiting:
    """
    For subclasses: `_wait` until `_wake`.

    The timer is lazy: it ticks at the earliest instant that anybody set, and looks then whether it is still wanted.

    Attributes:
        is_closed: Nothing more is going to happen; who waits is woken at once.
    """

    __slots__ = ("_expires_at", "_loop", "_timer", "_waiter", "is_closed")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiter: asyncio.Future[bool] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._expires_at: float | None = None
        self.is_closed = False

    def _wait(self, timeout: float | None) -> asyncio.Future[bool]:
        """
        To be awaited at once: True when something happened, False after *timeout* s.

        Raises:
            RuntimeError: Another task waits already, and would wait for ever.
        """
        if (waiter := self._waiter) is not None and not waiter.done():
            raise RuntimeError("two tasks read one response at once; let one read it, and hand the parts to the other")
        self._waiter = waiter = self._loop.create_future()
        if self.is_closed:
            waiter.set_result(True)
            return waiter
        if timeout is None:
            self._expires_at = None
        else:
            self._expires_at = expires_at = self._loop.time() + timeout
            timer = self._timer
            if timer is None or timer.when() > expires_at:
                if timer is not None:
                    timer.cancel()
                self._timer = self._loop.call_at(expires_at, self._tick, context=Context())
        return waiter

    def _wake(self) -> None:
        if (waiter := self._waiter) is not None and not waiter.done():
            waiter.set_result(True)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self) -> None:
        self._timer = None
        if self._expires_at is None or self._waiter is None or self._waiter.done():
            return  # nobody waits: it starts again with who does
        if self._loop.time() < self._expires_at:
            self._timer = self._loop.call_at(self._expires_at, self._tick, context=Context())
        else:
            expire(self._waiter)


def expire(waiter: asyncio.Future[bool]) -> None:
    if not waiter.done():
        waiter.set_result(False)
