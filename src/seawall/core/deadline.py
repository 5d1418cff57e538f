"""
Deadlines: an instant that a call must not outlive, the one that a task inherits, and the caller who may leave before.

Rules: a deadline is an instant (seconds on the loop's clock), a timeout a duration. The earlier of two deadlines wins.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar, Token
from typing import Self

from ..config.check import number
from .clock import now
from .timer import Timer

__all__ = ["CALLER", "INHERITED", "Caller", "Pace", "deadline", "detached", "earliest", "inherited", "remaining"]

INHERITED: ContextVar[float | None] = ContextVar("seawall_deadline", default=None)
CALLER: ContextVar[Caller | None] = ContextVar("seawall_caller", default=None)


class Caller:
    """
    The one for whom this task and those that it starts make calls: ``with caller:``. Once it has left, they all end.

    Attributes:
        has_left: Nobody waits for the calls any more.
        timers: Of its calls' hops in flight.
    """

    __slots__ = ("_token", "has_left", "timers")

    def __init__(self) -> None:
        self._token: Token[Caller | None] | None = None
        self.has_left = False
        self.timers: set[Timer] = set()

    def __enter__(self) -> Self:
        self._token = CALLER.set(self)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._token is not None
        CALLER.reset(self._token)

    def leave(self) -> None:
        """End all calls that are made for it with CallerLeft, and those that follow too."""
        self.has_left = True
        for timer in self.timers:
            timer.reschedule(0.0)  # an instant long past


@contextmanager
def deadline(timeout: float) -> Iterator[float]:
    """
    All calls inside, by this task and by tasks that it starts, end within *timeout* seconds from now.

    Nested ones can only shorten it. It cancels only calls: other awaits inside are left alone.

    Args:
        timeout: Seconds, finite and > 0.
    Yields:
        The instant in force.
    Raises:
        ValueError, TypeError: *timeout* is not a finite number > 0.
        RuntimeError: No event loop is running, whose clock the deadline needs.
    """
    number("seawall", "deadline", timeout, low=0, above=True)
    instant = now() + timeout
    outer = INHERITED.get()
    instant = instant if outer is None else min(outer, instant)
    token = INHERITED.set(instant)
    try:
        yield instant
    finally:
        INHERITED.reset(token)


@contextmanager
def detached() -> Iterator[None]:
    """
    All calls inside, by this task and by tasks that it starts, inherit no deadline, and no caller who may leave.

    For work that must outlive the request that started it: ``with seawall.detached(): asyncio.create_task(...)``.
    """
    token, caller = INHERITED.set(None), CALLER.set(None)
    try:
        yield
    finally:
        CALLER.reset(caller)
        INHERITED.reset(token)


def remaining() -> float | None:
    """Seconds until this task's deadline, 0 if it has passed or the inbound caller has left; None if it has none."""
    caller = CALLER.get()
    if caller is not None and caller.has_left:
        return 0.0
    instant = INHERITED.get()
    if instant is None:
        return None
    try:
        at = now()
    except RuntimeError:  # in a thread, such as FastAPI's for a plain `def`; asyncio's loops use this clock
        at = time.monotonic()
    return max(0.0, instant - at)


def inherited() -> float | None:
    """The deadline that this task works under, if any."""
    return INHERITED.get()


def earliest(one: float | None, other: float | None) -> float | None:
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)


class Pace:
    """
    How long a body may go on past a derived deadline, while it comes in.

    Each KiB buys a second, and at most 5 are saved up, so a healthy 40 s download lives and a drip dies.
    """

    __slots__ = ("_until",)

    rate = 1024.0  # B/s
    max_saved = 5.0  # s

    def __init__(self, deadline_at: float) -> None:
        self._until = deadline_at

    def sent(self, now: float) -> float:
        """The instant by which more must happen, now that a part of the request's body was taken."""
        self._until = max(self._until, now + self.max_saved)
        return self._until

    def received(self, size: int, now: float) -> float:
        """The instant by which the body must have brought more than these *size* bytes."""
        self._until = max(self._until, min(max(self._until, now) + size / self.rate, now + self.max_saved))
        return self._until
