"""
Deadlines of tasks that mostly end in time.

Rules: like `asyncio.timeout` in all but its cost. A timer of the loop's takes several µs to set and to cancel, and
stays in the loop's heap, with the context it was made in, until it would have struck. So a deadline that is far off is
only noted, and gets such a timer after a tick, because most are over by then. It strikes at its instant.
"""

from __future__ import annotations

import asyncio
from contextvars import Context
from types import TracebackType
from typing import Final

__all__ = ["Timer", "Timers"]

TICK: Final = 0.05  # seconds


class Timers:
    """
    The deadlines of one client; a tick looks at each at most twice.

    Each handle that is given to the loop has a context of its own, because a handle keeps its context alive with all
    that the caller put into it, and because no two threads may be in one context.
    """

    __slots__ = ("_is_ticking", "_new", "_old", "loop")

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop
        self._new: dict[Timer, None] = {}
        self._old: dict[Timer, None] = {}  # those that were new at the last tick
        self._is_ticking = False

    def note(self, timer: Timer) -> dict[Timer, None]:
        """Have *timer* armed within two ticks, unless it is removed from the returned dict before."""
        if not self._is_ticking:
            self._is_ticking = True
            self.loop.call_later(TICK, self._tick, context=Context())
        self._new[timer] = None
        return self._new

    def _tick(self) -> None:
        for timer in list(self._old):
            timer.arm()
        soon = self.loop.time() + 2 * TICK
        for timer in [timer for timer in self._new if timer.when is None or timer.when <= soon]:
            timer.arm()  # the tick came late
        self._old, self._new = self._new, {}
        self._is_ticking = bool(self._old)
        if self._is_ticking:
            self.loop.call_later(TICK, self._tick, context=Context())


class Timer:
    """
    Cancels the task that is in its ``with`` block at an instant; the block then ends with TimeoutError.

    Attributes:
        when: The instant; None never strikes.
        is_expired: Whether it struck.
    """

    __slots__ = ("_cancelling", "_handle", "_notes", "_task", "_timers", "is_expired", "when")

    def __init__(self, timers: Timers, when: float | None) -> None:
        self._timers = timers
        self.when = when
        self._handle: asyncio.Handle | None = None
        self._notes: dict[Timer, None] | None = None
        self._task: asyncio.Task[object] | None = None
        self._cancelling = 0
        self.is_expired = False

    def __enter__(self) -> None:
        self._task = task = asyncio.current_task(self._timers.loop)  # or Python 3.11 asks for the pid, to find the loop
        assert task is not None
        self._cancelling = task.cancelling()
        when, timers = self.when, self._timers
        if when is None or when - timers.loop.time() <= 2 * TICK:
            self.arm()
        else:
            self._notes = timers.note(self)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._disarm()
        task, self._task = self._task, None
        is_ours = self.is_expired and task is not None and task.uncancel() <= self._cancelling
        if is_ours and kind is not None and issubclass(kind, asyncio.CancelledError):
            del task  # the error may be the task's result, and holds this frame
            raise TimeoutError from error

    def reschedule(self, when: float | None) -> None:
        """Strike at *when* instead: at once if it is past, never if None. An instant that has come can't be moved."""
        if self._task is not None and (self.when is None or self.when > self._timers.loop.time()):
            self.when = when
            self._set()

    def _set(self) -> None:
        when = self.when
        if when is None or when - self._timers.loop.time() <= 2 * TICK:
            self.arm()
        elif self._notes is None:
            self._disarm()
            self._notes = self._timers.note(self)

    def arm(self) -> None:
        """Set a timer of the loop's own."""
        self._disarm()
        loop, when = self._timers.loop, self.when
        if when is None:
            return
        if when <= loop.time():
            self._handle = loop.call_soon(self._strike, context=Context())
        else:
            self._handle = loop.call_at(when, self._strike, context=Context())

    def _disarm(self) -> None:
        if self._notes is not None:
            self._notes.pop(self, None)
            self._notes = None
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _strike(self) -> None:
        self.is_expired = True
        self._handle = None
        if self._task is not None:
            self._task.cancel()
