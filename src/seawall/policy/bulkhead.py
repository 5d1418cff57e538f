"""
The bulkhead of one origin, or of a part of it: a gate whose tickets are permits, and the queue for them.

Rules: first in, first out within a class; `turns` says which class is next. Background attempts have at most half of
the permits, so one may be free while they wait. A permit is one attempt in flight until its body is closed. No task
owns it: a task other than the one that took it may give it back. A smaller limit takes effect as permits come back.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import NamedTuple, Protocol

from ..attempts import BODY
from ..config.criticality import BACKGROUND, DEFAULT, Criticality
from ..errors import BulkheadFull, Rejected
from .fifo import Fifo
from .fleet import Fleet
from .gate import Entrant, Gate, Result, Ticket, Unanswered
from .ghosts import Ghosts
from .outcome import Outcome
from .trouble import Trouble

__all__ = ["REJECTIONS", "BulkheadState", "BulkheadStatistics", "Permit", "Witness"]

REJECTIONS = frozenset({429, 503})  # they come before the server's queue, so they say nothing about it
BACKGROUND_PARTS = 2  # of the permits, one of which background attempts may have
SHED_SHARE = 0.1  # a standing queue is shed once this share of the recent attempts failed


class BulkheadStatistics(NamedTuple):
    max_concurrent: int
    in_flight: int
    waiting: int
    ghosts: int
    limit: int


class Permit(Ticket):
    """
    A permit of a bulkhead. All its permits of a kind are the same object, because nothing tells them apart.

    Args:
        release: Takes one of its kind back.
    """

    __slots__ = ("_release",)

    held_until = BODY

    def __init__(self, release: Callable[[], None]) -> None:
        self._release = release

    def end(self, result: Result | None, now: float) -> None:
        self._release()


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
        "_background", "_background_permit", "_failures", "_in_flight", "_leased", "_max", "_max_waiting", "_name",
        "_permit", "_setting", "_shed_after", "_standing_since", "_waiters", "ceiling", "fleet",
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
        self._background = 0  # of these
        self._waiters: Fifo[None] = Fifo()
        self._standing_since: dict[Criticality, float] = {}
        self._permit = self._permit_of(self.release)
        self._background_permit: Ticket | None = None  # made at first use, because most origins need none

    def __repr__(self) -> str:
        return f"<BulkheadState {self._name} permits {self._in_flight}/{self._max} waiting {len(self._waiters)}>"

    def statistics(self, now: float = -math.inf) -> BulkheadStatistics:
        """A snapshot, which changes nothing, because another thread may ask."""
        return BulkheadStatistics(self.ceiling, self._in_flight, self._waiters.standing, 0, self.ceiling)

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
    def lacking(self) -> int:
        """Permits beyond the `used` ones that its waiters need; two for each background attempt, as they have half."""
        background = self._background + self._waiters.waiting(BACKGROUND)
        return max(len(self._waiters), BACKGROUND_PARTS * background - self.used if background else 0)

    @property
    def allowed(self) -> int:
        """Permits that there may be, as far as this process is concerned."""
        return self.ceiling

    def standing_for(self, now: float, criticality: Criticality = DEFAULT) -> float:
        """Seconds for which the queue of a class has not been empty."""
        is_standing = len(self._waiters) and self._waiters.waiting(criticality)
        return now - self._standing_since[criticality] if is_standing else 0.0

    def try_enter(self, attempt: Entrant, now: float) -> Ticket | None:
        if self.fleet is not None or attempt.criticality is BACKGROUND:
            return self._ticket(attempt.criticality) if self.try_acquire(attempt.criticality) else None
        if self._in_flight < self._max:  # so no waiter could take it; `try_acquire` inlined, as its call has its price
            self._in_flight += 1
            return self._permit
        return None

    @property
    def has_trouble(self) -> bool:
        """As it was when trouble last began or ended."""
        return False

    def is_in_trouble(self, attempt: Entrant, now: float) -> bool:
        """Whether the origin answers too few of its requests, as far as *attempt* is concerned."""
        return False

    def sheds(self, attempt: Entrant, now: float) -> bool:
        """Whether a background *attempt* is refused because of that; it may be sent if not."""
        return False

    async def enter(self, attempt: Entrant, timeout: float | None) -> Ticket:
        """As `acquire`, but with a shorter wait in a standing queue for a failing origin."""
        criticality = attempt.criticality
        if timeout is not None and self._failures is not None:
            now = asyncio.get_running_loop().time()
            if self.standing_for(now, criticality) >= timeout and self._failures(now) >= SHED_SHARE:
                timeout = min(timeout, self._shed_after)
        await self.acquire(timeout, criticality)
        return self._ticket(criticality)

    def try_acquire(self, criticality: Criticality = DEFAULT) -> bool:
        """Take a permit without waiting, if one is free; then nobody waits that might have it."""
        if self.fleet is not None:
            self.fleet.refresh()
        if self._in_flight >= self._max or criticality > self._lowest:
            return False
        self._in_flight += 1
        self._background += criticality is BACKGROUND
        if self.fleet is not None:
            self.fleet.taken(self.used)
        return True

    async def acquire(self, timeout: float | None, criticality: Criticality = DEFAULT) -> None:
        """
        Take a permit within *timeout* seconds; None waits as long as it takes.

        Where *max_waiting* others wait already, it takes the place of the last one that matters less.

        **Cancellation:** the caller leaves the queue; a permit that was handed over meanwhile goes to the next waiter.
        **Fairness:** FIFO within a class; see `turns`.

        Raises:
            BulkheadFull: No permit came in time, or *max_waiting* others wait already.
        """
        if self.try_acquire(criticality):
            return
        waiters = self._waiters
        while self._is_crowded(1):
            if not waiters.queues or waiters.last()[0] <= criticality:
                raise self._full("the queue is full", 0.0, criticality)
            waiters.refuse(self._full("the queue is full, and an attempt that matters more came", 0.0))
        loop = asyncio.get_running_loop()
        began_at = loop.time()
        if not waiters.waiting(criticality):
            self._standing_since[criticality] = began_at
        try:
            await waiters.wait(
                timeout,
                expired=lambda: self._full(f"no permit within {timeout:g} s", timeout or 0.0, criticality),
                undo=lambda _: (self.release_background if criticality is BACKGROUND else self.release)(),
                criticality=criticality,
                **({} if self.fleet is None else {"joined": self.fleet.ask}),
            )
        except Rejected as error:
            error.elapsed = loop.time() - began_at  # nobody who refuses it knows
            raise

    def release(self) -> None:
        """Take a permit back: it goes to the next waiter that may have it, if the limit allows it."""
        if self.fleet is not None:
            self.fleet.refresh()
        self._in_flight -= 1
        if self._waiters.queues:
            self._hand_over()
        if self.fleet is not None:
            self.fleet.freed(self.used)

    def release_background(self) -> None:
        """Take the permit of a background attempt back."""
        self._background -= 1
        self.release()

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
        while self._is_crowded():
            self._waiters.refuse(self._full("the queue is full", 0.0))

    def resize(self, max_concurrent: int) -> None:
        """Change the number of permits. Where there are fewer now, those that are out stay out until they come back."""
        self._max = max_concurrent
        self._hand_over()

    @property
    def _most_background(self) -> int:
        """Permits that background attempts may have."""
        return max(1, self._max // BACKGROUND_PARTS)

    @property
    def _lowest(self) -> Criticality:
        """The class that matters least of those that may have a permit, if one is free."""
        return BACKGROUND if self._background < self._most_background else DEFAULT

    def _hand_over(self) -> None:
        """Give the permits that are free to waiters that may have them."""
        while self._in_flight < self._max and (given := self._waiters.give(None, self._lowest)) is not None:
            self._in_flight += 1
            self._background += given is BACKGROUND

    def _is_crowded(self, more: int = 0) -> bool:
        """Whether more than `max_waiting` would wait, if *more* came."""
        if self._max_waiting is None:
            return False
        hoped = 0 if self.fleet is None else self.fleet.hoped
        return len(self._waiters) + more > self._max_waiting + hoped

    def _permit_of(self, release: Callable[[], None]) -> Ticket:
        """The ticket of those that *release* takes back."""
        return Permit(release)

    def _ticket(self, criticality: Criticality) -> Ticket:
        if criticality is not BACKGROUND:
            return self._permit
        if self._background_permit is None:
            self._background_permit = self._permit_of(self.release_background)
        return self._background_permit

    def _fit(self) -> None:
        """Have as many permits as there may be."""
        self.resize(min(self.ceiling, self._leased))

    def _full(self, why: str, waited: float, criticality: Criticality = DEFAULT) -> BulkheadFull:
        _, in_flight, waiting, ghosts, limit = self.statistics()
        held = f", {ghosts} held by requests that were sent and got no answer" if ghosts else ""
        lowered = f" (lowered from {self.ceiling}, because requests get no answer)" if limit < self.ceiling else ""
        if self.fleet is not None:
            lowered += f", of which this process has {min(limit, self._leased)},"
        if criticality is BACKGROUND:
            held += f", {self._background} by background calls, which may have {self._most_background}"
        return BulkheadFull(
            f"{self._name}: {why}: {in_flight} of {limit} permits{lowered} in use{held}, {waiting} waiting; "
            f"raise {self._setting}, or send less",
            max_concurrent=limit,
            waiting=waiting,
            elapsed=waited,
        )


class Learning(Protocol):
    """An adaptive bulkhead, as its permits look at it; see `AdaptiveState`."""

    def note(self, outcome: Outcome, sent_at: float, now: float) -> None: ...
    def overtaken(self, sent_at: float, now: float) -> None: ...
    def unanswered(self, left: Unanswered, now: float) -> None: ...


class Witness(Ticket):
    """A permit of an adaptive bulkhead, which learns what was answered and what wasn't."""

    __slots__ = ("_adaptive", "_ghosts", "_release", "_trouble")

    held_until = BODY

    def __init__(self, bulkhead: Learning, release: Callable[[], None], ghosts: Ghosts, trouble: Trouble) -> None:
        self._adaptive = bulkhead
        self._release = release
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
        self._release()

    def answered(self, result: Result, now: float) -> None:
        if result.outcome.status not in REJECTIONS:
            self._adaptive.overtaken(result.sent_at, now)

    def unanswered(self, left: Unanswered, now: float) -> None:
        self._adaptive.unanswered(left, now)
