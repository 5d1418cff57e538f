"""
The bulkhead of one origin, or of a part of it: a gate whose tickets are permits, and the queue for them.

Rules: first in, first out. A permit is one attempt in flight until its body is closed. No task owns it: a task other
than the one that took it may give it back. A smaller limit takes effect as permits come back.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import NamedTuple, Protocol

from ..attempts import BODY
from ..errors import BulkheadFull
from .fifo import Fifo
from .fleet import Fleet
from .gate import Entrant, Gate, Result, Ticket, Unanswered
from .ghosts import Ghosts
from .outcome import Outcome
from .trouble import Trouble

__all__ = ["REJECTIONS", "BulkheadState", "BulkheadStatistics", "Permit", "Witness"]

REJECTIONS = frozenset({429, 503})  # they come before the server's queue, so they say nothing about it
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
        fleet: The processes that share the permits; None if this one has all of them.
    """

    __slots__ = (
        "_failures", "_in_flight", "_leased", "_max", "_max_waiting", "_name", "_permit", "_setting", "_shed_after",
        "_standing_since", "_waiters", "ceiling", "fleet",
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
        self.ceiling = self._max = self._leased = max_concurrent
        self.fleet: Fleet | None = None
        self._max_waiting = max_waiting
        self._shed_after = shed_after
        self._failures = failures
        self._in_flight = 0
        self._waiters: Fifo[None] = Fifo()
        self._standing_since = 0.0
        self._permit: Ticket = Permit(self)

    def __repr__(self) -> str:
        return f"<BulkheadState {self._name} permits {self._in_flight}/{self._max} waiting {len(self._waiters)}>"

    def statistics(self, now: float = -math.inf) -> BulkheadStatistics:
        return BulkheadStatistics(self.ceiling, self._in_flight, len(self._waiters), 0, self.ceiling)

    @property
    def is_idle(self) -> bool:
        has_none = self.fleet is None or self.fleet.is_empty
        return has_none and not self._in_flight and not len(self._waiters)

    @property
    def used(self) -> int:
        """Permits that a request has, or a server that may still work on one that was given up."""
        return self._in_flight

    @property
    def waiting(self) -> int:
        return len(self._waiters)

    @property
    def allowed(self) -> int:
        """Permits that there may be, as far as this process is concerned."""
        return self.ceiling

    def standing_for(self, now: float) -> float:
        """Seconds for which the queue has not been empty."""
        return now - self._standing_since if len(self._waiters) else 0.0

    def try_enter(self, attempt: Entrant, now: float) -> Ticket | None:
        if self.fleet is not None:
            return self._permit if self._try_share(self.fleet) else None
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
        if self.fleet is not None:
            return self._try_share(self.fleet)
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
        hoped = 0 if self.fleet is None else self.fleet.hoped
        if self._max_waiting is not None and len(self._waiters) >= self._max_waiting + hoped:
            raise self._full("the queue is full", 0.0)
        if not len(self._waiters):
            self._standing_since = asyncio.get_running_loop().time()
        await self._waiters.wait(
            timeout,
            expired=lambda: self._full(f"no permit within {timeout:g} s", timeout or 0.0),
            undo=lambda _: self.release(),
            **({} if self.fleet is None else {"joined": self.fleet.ask}),
        )

    def release(self) -> None:
        """Take a permit back: it goes to the longest waiter, if there is one and the limit allows it."""
        if self.fleet is not None:
            self.fleet.refresh()
        if self._in_flight > self._max or not (self._waiters.queue and self._waiters.give(None)):
            self._in_flight -= 1
        if self.fleet is not None:
            self.fleet.freed(self.used)

    def forget(self) -> None:
        """The client is closed."""
        if self.fleet is not None:
            self.fleet.close()

    def lease(self, permits: int) -> None:
        """Have so many permits at most, because other processes have the rest."""
        self._leased = permits
        self._fit()

    def trim(self) -> None:
        """Refuse the last waiters if they are too many, because no permits come for which they were let in."""
        assert self.fleet is not None
        while self._max_waiting is not None and len(self._waiters) > self._max_waiting + self.fleet.hoped:
            self._waiters.refuse(self._full("the queue is full", 0.0))

    def resize(self, max_concurrent: int) -> None:
        """Change the number of permits. Where there are fewer now, those that are out stay out until they come back."""
        self._max = max_concurrent
        while self._in_flight < self._max and self._waiters.give(None):
            self._in_flight += 1

    def _fit(self) -> None:
        """Have as many permits as there may be."""
        self.resize(min(self.ceiling, self._leased))

    def _try_share(self, fleet: Fleet) -> bool:
        fleet.refresh()
        if self._in_flight >= self._max or len(self._waiters):
            return False
        self._in_flight += 1
        fleet.taken(self.used)
        return True

    def _full(self, why: str, waited: float) -> BulkheadFull:
        _, in_flight, waiting, ghosts, limit = self.statistics()
        held = f", {ghosts} held by requests that were sent and got no answer" if ghosts else ""
        lowered = f" (lowered from {self.ceiling}, because requests get no answer)" if limit < self.ceiling else ""
        if self.fleet is not None:
            lowered += f", of which this process has {min(limit, self._leased)},"
        return BulkheadFull(
            f"{self._name}: {why}: {in_flight} of {limit} permits{lowered} in use{held}, {waiting} waiting; "
            f"raise {self._setting}, or send less",
            max_concurrent=limit,
            waiting=waiting,
            elapsed=waited,
        )


class Learning(Protocol):
    """An adaptive bulkhead, as its permits look at it; see `AdaptiveState`."""

    def release(self) -> None: ...
    def note(self, outcome: Outcome, sent_at: float, now: float) -> None: ...
    def overtaken(self, sent_at: float, now: float) -> None: ...
    def unanswered(self, left: Unanswered, now: float) -> None: ...


class Witness(Ticket):
    """A permit of an adaptive bulkhead, which learns what was answered and what wasn't."""

    __slots__ = ("_adaptive", "_ghosts", "_trouble")

    held_until = BODY

    def __init__(self, bulkhead: Learning, ghosts: Ghosts, trouble: Trouble) -> None:
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
        self._adaptive.release()

    def answered(self, result: Result, now: float) -> None:
        if result.outcome.status not in REJECTIONS:
            self._adaptive.overtaken(result.sent_at, now)

    def unanswered(self, left: Unanswered, now: float) -> None:
        self._adaptive.unanswered(left, now)
