"""
The bulkhead of one origin, or of a part of it: a gate whose tickets are permits, and the queue for them.

Rules: first in, first out. A permit is one attempt in flight until its body is closed. No task owns it: a task other
than the one that took it may give it back. A smaller limit takes effect as permits come back.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from contextvars import Context
from typing import Any, NamedTuple

from ..attempts import BODY, HEADERS
from ..errors import BulkheadFull, DialError
from .fifo import Fifo
from .gate import Entrant, Gate, Result, Ticket, Unanswered
from .ghosts import Ghosts
from .outcome import Outcome
from .trouble import Trouble

__all__ = ["AdaptiveState", "BulkheadState", "BulkheadStatistics"]

REJECTIONS = frozenset({429, 503})  # they come before the server's queue, so they say nothing about it
PROBE_AFTER = 1.0  # seconds at most; a breaker's second
SHED_SHARE = 0.1  # a standing queue is shed once this share of the recent attempts failed


class BulkheadStatistics(NamedTuple):
    max_concurrent: int
    in_flight: int
    waiting: int
    ghosts: int
    limit: int


class Permit(Ticket):
    """A permit of *bulkhead*. All its permits are the same object, because nothing tells them apart."""

    __slots__ = ("_bulkhead",)

    held_until = BODY

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
    Attributes:
        ceiling: The most permits that there may be.
    """

    __slots__ = (
        "_failures", "_in_flight", "_max", "_max_waiting", "_name", "_permit", "_setting", "_shed_after",
        "_standing_since", "_waiters", "ceiling",
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
        self.ceiling = self._max = max_concurrent
        self._max_waiting = max_waiting
        self._shed_after = shed_after
        self._failures = failures
        self._in_flight = 0
        self._waiters: Fifo[None] = Fifo()
        self._standing_since = 0.0
        self._permit = Permit(self)

    def __repr__(self) -> str:
        return f"<BulkheadState {self._name} permits {self._in_flight}/{self._max} waiting {len(self._waiters)}>"

    def statistics(self, now: float = -math.inf) -> BulkheadStatistics:
        return BulkheadStatistics(self.ceiling, self._in_flight, len(self._waiters), 0, self.ceiling)

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

    def forget(self) -> None:
        """The client is closed."""

    def resize(self, max_concurrent: int) -> None:
        """Change the number of permits. Where there are fewer now, those that are out stay out until they come back."""
        self._max = max_concurrent
        while self._in_flight < self._max and self._waiters.give(None):
            self._in_flight += 1

    def _full(self, why: str, waited: float) -> BulkheadFull:
        _, in_flight, waiting, ghosts, limit = self.statistics()
        held = f", {ghosts} held by requests that were sent and got no answer" if ghosts else ""
        lowered = f" (lowered from {self.ceiling}, because requests get no answer)" if limit < self.ceiling else ""
        return BulkheadFull(
            f"{self._name}: {why}: {in_flight} of {limit} permits{lowered} in use{held}, {waiting} waiting; "
            f"raise {self._setting}, or send less",
            max_concurrent=limit,
            waiting=waiting,
            elapsed=waited,
        )


class Witness(Permit):
    """A permit of an adaptive bulkhead, which learns what was answered and what wasn't."""

    __slots__ = ("_adaptive", "_ghosts", "_trouble")

    def __init__(self, bulkhead: AdaptiveState, ghosts: Ghosts, trouble: Trouble) -> None:
        super().__init__(bulkhead)
        self._adaptive = bulkhead
        self._ghosts = ghosts
        self._trouble = trouble

    def end(self, result: Result | None, now: float) -> None:
        if result is not None:
            outcome, is_failure, _, sent_at, _ = result
            ghosts, trouble = self._ghosts, self._trouble
            if is_failure or ghosts.held or now >= trouble.next_at or outcome.status in REJECTIONS:
                self._adaptive.note(outcome, sent_at, now)
            else:  # what `note` does for most attempts, without its calls
                trouble.outcomes += 1
                if sent_at > ghosts.newest:
                    ghosts.newest = sent_at
        self._bulkhead.release()

    def answered(self, result: Result, now: float) -> None:
        if result.outcome.status not in REJECTIONS:
            self._adaptive.overtaken(result.sent_at, now)

    def unanswered(self, left: Unanswered, now: float) -> None:
        self._adaptive.unanswered(left, now)


class AdaptiveState(BulkheadState):
    """
    A bulkhead that has fewer permits while `ghosts` hold some, and while the origin is in `trouble`.

    It has one at least, because only an attempt can find out whether the origin answers again. Where callers leave that
    little time, the next one is let through only after `PROBE_AFTER`, because a queue of callers whose time is nearly
    up would otherwise send everything that they have, in vain.

    Args:
        moved: Called with the limit, the number of ghosts and the reason when trouble has begun or is over.
    """

    __slots__ = ("_ghosts", "_moved", "_next_probe_at", "_timer", "_trouble")

    def __init__(self, name: str, max_concurrent: int, *, moved: Callable[[int, int, str], None], **more: Any) -> None:
        super().__init__(name, max_concurrent, **more)
        self._moved = moved
        self._ghosts = Ghosts(max_concurrent)
        self._trouble = Trouble(max_concurrent, self._has_moved)
        self._permit = Witness(self, self._ghosts, self._trouble)
        self._next_probe_at = -math.inf
        self._timer: asyncio.TimerHandle | None = None  # for the next probe

    def statistics(self, now: float = -math.inf) -> BulkheadStatistics:
        mine = super().statistics(now)
        return mine._replace(ghosts=self._ghosts.lasting(now), limit=self._trouble.limit)

    async def enter(self, attempt: Entrant, timeout: float | None) -> Ticket:
        self._pass_time(asyncio.get_running_loop().time())
        return await super().enter(attempt, timeout)

    def note(self, outcome: Outcome, sent_at: float, now: float) -> None:
        """An attempt ended."""
        self._pass_time(now)
        if outcome.phase >= HEADERS and outcome.status not in REJECTIONS:
            self._trouble.outcomes += 1
            self._ghosts.overtaken(sent_at)
        elif isinstance(outcome.error, DialError) and _is_refused(outcome.error.__cause__):
            self._ghosts.clear()
        self._adapt(now)

    def overtaken(self, sent_at: float, now: float) -> None:
        """An attempt that was sent at *sent_at* is answered; it isn't over."""
        self._pass_time(now)
        self._ghosts.overtaken(sent_at)
        self._adapt(now)

    def unanswered(self, left: Unanswered, now: float) -> None:
        """An attempt is given up, though the server may still be at work on it."""
        self._pass_time(now)
        ghosts = self._ghosts.add(left.sent_at, now, is_fault=left.is_fault)
        if left.is_fault:
            out = self._in_flight - 1 + self._ghosts.held
            self._trouble.unanswered(now, left.timeout, ghosts=ghosts, out=out)
        self._next_probe_at = left.sent_at + (PROBE_AFTER if left.timeout is None else min(left.timeout, PROBE_AFTER))
        self._adapt(now)

    def forget(self) -> None:
        self._ghosts.close()
        self._adapt(math.inf)

    def remembers(self, now: float) -> bool:
        self._pass_time(now)
        return self._trouble.since is not None or self._ghosts.held > 0

    def _pass_time(self, now: float) -> None:
        if now >= self._trouble.next_at:
            self._ghosts.expire(now)
            self._trouble.pass_time(now)
            self._adapt(now)
        elif not self._max:
            self._adapt(now)

    def _adapt(self, now: float) -> None:
        """Have as many permits as the limit and the ghosts leave."""
        limit = self._trouble.limit
        permits = limit - self._ghosts.holding(limit)
        if permits < 1:
            permits = 1 if now >= self._next_probe_at else 0
        if permits != self._max:
            self.resize(permits)
        if permits and self._timer is not None:
            self._timer.cancel()
            self._timer = None
        elif not permits and self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(self._next_probe_at, self._probe, context=Context())

    def _probe(self) -> None:
        self._timer = None
        self._adapt(asyncio.get_running_loop().time())

    def _has_moved(self, reason: str) -> None:
        self._moved(self._trouble.limit, self._ghosts.held, reason)


def _is_refused(cause: BaseException | None) -> bool:
    """Whether every address refused the connection: the process that had the queue has ended."""
    causes = cause.exceptions if isinstance(cause, ExceptionGroup) else [cause]
    return all(isinstance(each, ConnectionRefusedError) for each in causes)
