"""
The bulkhead of one origin: a gate whose tickets are permits, and the queue for them.

Rules: first in, first out. A permit is one attempt in flight until its body is closed. No task owns it: a task other
than the one that took it may give it back. A smaller limit takes effect as permits come back.
"""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from typing import Any, NamedTuple

from ..config import Bulkhead
from ..errors import BulkheadFull
from ..events import Phase
from .fifo import Fifo
from .gate import Entrant, Gate, Result, Ticket
from .memory import make_room

__all__ = ["BulkheadState", "BulkheadStatistics", "Parted", "bulkhead_of"]

MAX_PARTS = 1024  # of one origin
SHED_SHARE = 0.1  # a standing queue is shed once this share of the recent attempts failed


class BulkheadStatistics(NamedTuple):
    max_concurrent: int
    in_flight: int
    waiting: int


class Permit(Ticket):
    """A permit of *bulkhead*. All its permits are the same object, because nothing tells them apart."""

    __slots__ = ("_bulkhead",)

    held_until = Phase.BODY

    def __init__(self, bulkhead: BulkheadState) -> None:
        self._bulkhead = bulkhead

    def end(self, result: Result | None, now: float) -> None:
        self._bulkhead.release()


class BulkheadState(Gate):
    """
    The live state of a `seawall.Bulkhead`.

    Args:
        setting: Setting that the error of a full bulkhead says to raise.
        shed_after: Longest wait in a standing queue for an origin that is failing, in seconds.
        failures: Returns the share of the origin's recent attempts that failed, at an instant.
    """

    __slots__ = (
        "_failures", "_in_flight", "_max", "_max_waiting", "_name", "_permit", "_setting", "_shed_after",
        "_standing_since", "_waiters",
    )  # fmt: skip

    name = "bulkhead"

    def __init__(
        self,
        name: str,
        max_concurrent: int,
        *,
        setting: str,
        max_waiting: int | None = None,
        shed_after: float = math.inf,
        failures: Callable[[float], float] | None = None,
    ) -> None:
        self._name = name
        self._setting = setting
        self._max = max_concurrent
        self._max_waiting = max_waiting
        self._shed_after = shed_after
        self._failures = failures
        self._in_flight = 0
        self._waiters: Fifo[None] = Fifo()
        self._standing_since = 0.0
        self._permit = Permit(self)

    def __repr__(self) -> str:
        return f"<BulkheadState {self._name} permits {self._in_flight}/{self._max} waiting {len(self._waiters)}>"

    def statistics(self) -> BulkheadStatistics:
        return BulkheadStatistics(self._max, self._in_flight, len(self._waiters))

    @property
    def is_idle(self) -> bool:
        return not self._in_flight and not len(self._waiters)

    def standing_for(self, now: float) -> float:
        """Seconds for which the queue has not been empty."""
        return now - self._standing_since if len(self._waiters) else 0.0

    def try_enter(self, attempt: Entrant, now: float) -> Ticket | None:
        if self._in_flight < self._max and not (self._waiters.queue and len(self._waiters)):
            self._in_flight += 1  # `try_acquire` inlined, because each attempt would pay for its call
            return self._permit
        return None

    async def enter(self, attempt: Entrant, timeout: float | None) -> Ticket:
        """As `acquire`, but with a shorter wait in a standing queue for a failing origin."""
        if timeout is not None and self._failures is not None:
            now = asyncio.get_running_loop().time()
            if self.standing_for(now) >= timeout and self._failures(now) >= SHED_SHARE:
                timeout = min(timeout, self._shed_after)
        await self.acquire(timeout)
        return self._permit

    def try_acquire(self) -> bool:
        """Take a permit without waiting, if one is free and nobody waits for it."""
        if self._in_flight < self._max and not (self._waiters.queue and len(self._waiters)):
            self._in_flight += 1
            return True
        return False

    async def acquire(self, timeout: float | None) -> None:
        """
        Take a permit within *timeout* seconds; None waits as long as it takes.

        **Cancellation:** the caller leaves the queue; a permit that was handed over meanwhile goes to the next waiter.
        **Fairness:** FIFO.

        Raises:
            BulkheadFull: No permit came in time, or *max_waiting* others wait already.
        """
        if self.try_acquire():
            return
        if self._max_waiting is not None and len(self._waiters) >= self._max_waiting:
            raise self._full("the queue is full", 0.0)
        if not len(self._waiters):
            self._standing_since = asyncio.get_running_loop().time()
        await self._waiters.wait(
            timeout,
            expired=lambda: self._full(f"no permit within {timeout:g} s", timeout or 0.0),
            undo=lambda _: self.release(),
        )

    def release(self) -> None:
        """Take a permit back: it goes to the longest waiter, if there is one and the limit allows it."""
        if self._in_flight > self._max or not (self._waiters.queue and self._waiters.give(None)):
            self._in_flight -= 1

    def resize(self, max_concurrent: int) -> None:
        """Change the number of permits. Where there are fewer now, those that are out stay out until they come back."""
        self._max = max_concurrent
        while self._in_flight < self._max and self._waiters.give(None):
            self._in_flight += 1

    def _full(self, why: str, waited: float) -> BulkheadFull:
        waiting = len(self._waiters)
        return BulkheadFull(
            f"{self._name}: {why}: {self._in_flight} of {self._max} permits in use, {waiting} waiting; "
            f"raise {self._setting}, or send less",
            max_concurrent=self._max,
            waiting=waiting,
            elapsed=waited,
        )


class Parted(Gate):
    """
    One bulkhead for each part of an origin, made when the part is first seen.

    Args:
        partition: Returns the part that a request belongs to.
        make: Makes the bulkhead of a part.
    """

    __slots__ = ("_make", "_partition", "_parts")

    name = "bulkhead"

    def __init__(self, partition: Callable[[Any], Hashable], make: Callable[[Hashable], BulkheadState]) -> None:
        self._partition = partition
        self._make = make
        self._parts: OrderedDict[Hashable, BulkheadState] = OrderedDict()

    def __iter__(self) -> Iterator[BulkheadState]:
        return iter(self._parts.values())

    def try_enter(self, attempt: Entrant, now: float) -> Ticket | None:
        return self._part(attempt).try_enter(attempt, now)

    async def enter(self, attempt: Entrant, timeout: float | None) -> Ticket:
        return await self._part(attempt).enter(attempt, timeout)

    @property
    def is_idle(self) -> bool:
        return all(part.is_idle for part in self)

    def _part(self, attempt: Entrant) -> BulkheadState:
        key = attempt.part(self._partition)
        found = self._parts.get(key)
        if found is None:
            make_room(self._parts, MAX_PARTS, is_busy=lambda part: not part.is_idle)
            found = self._parts[key] = self._make(key)
        else:
            self._parts.move_to_end(key)
        return found


def bulkhead_of(
    name: str, settings: Bulkhead, failures: Callable[[float], float] | None = None
) -> BulkheadState | Parted:
    """
    The gate that *settings* ask for.

    Args:
        name: The origin's name.
        failures: See `BulkheadState`.
    """

    def make(name: str) -> BulkheadState:
        return BulkheadState(
            name,
            settings.max_concurrent,
            setting="Bulkhead.max_concurrent",
            max_waiting=settings.max_waiting,
            shed_after=settings.shed_after,
            failures=failures,
        )

    if settings.partition is None:
        return make(name)
    return Parted(settings.partition, lambda part: make(f"{name}, part {part!r}"))
