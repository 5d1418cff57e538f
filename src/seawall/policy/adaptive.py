"""The adaptive bulkhead: one that heeds what was given up, and what is in trouble."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from contextvars import Context
from typing import Any

from ..attempts import HEADERS
from ..config.criticality import BACKGROUND
from ..errors import DialError
from .bulkhead import REJECTIONS, BulkheadState, BulkheadStatistics, Witness
from .gate import Entrant, Ticket, Unanswered
from .ghosts import Ghosts
from .outcome import Outcome
from .shed import PROBE_AFTER, shed
from .trouble import Trouble

__all__ = ["AdaptiveState"]


class AdaptiveState(BulkheadState):
    """
    A bulkhead that has fewer permits while `ghosts` hold some, and while the origin is in `trouble`.

    It has one at least, because only an attempt can find out whether the origin answers again. Where callers leave that
    little time, the next one is let through only after `PROBE_AFTER`, because a queue of callers whose time is nearly
    up would otherwise send everything that they have, in vain.

    Args:
        moved: Called with the limit, the number of ghosts and the reason when trouble has begun or is over.
    """

    __slots__ = ("_ghosts", "_moved", "_next_background_at", "_next_probe_at", "_timer", "_trouble")

    def __init__(self, name: str, max_concurrent: int, *, moved: Callable[[int, int, str], None], **more: Any) -> None:
        self._moved = moved
        self._ghosts = Ghosts(max_concurrent)
        self._trouble = Trouble(max_concurrent, self._has_moved)
        super().__init__(name, max_concurrent, **more)
        self._next_probe_at = self._next_background_at = -math.inf
        self._timer: asyncio.TimerHandle | None = None  # for the next probe

    def statistics(self, now: float = -math.inf) -> BulkheadStatistics:
        mine = super().statistics(now)
        return mine._replace(ghosts=self._ghosts.lasting(now), limit=self._trouble.limit)

    async def enter(self, attempt: Entrant, timeout: float | None) -> Ticket:
        self._pass_time(asyncio.get_running_loop().time())
        return await super().enter(attempt, timeout)

    @property
    def used(self) -> int:
        # By the time, because a process without traffic would claim permits for ghosts for ever, which others need.
        now = asyncio.get_running_loop().time()
        return self._in_flight + self._ghosts.holding_at(now, self._trouble.limit)

    @property
    def allowed(self) -> int:
        return self._trouble.limit

    @property
    def has_trouble(self) -> bool:
        return self._trouble.since is not None

    def is_in_trouble(self, attempt: Entrant, now: float) -> bool:
        self._pass_time(now)
        return self.has_trouble

    def sheds(self, attempt: Entrant, now: float) -> bool:
        if not self.is_in_trouble(attempt, now):
            return False
        if self._in_flight or len(self._waiters) or now < self._next_background_at:
            return True
        self._next_background_at = now + PROBE_AFTER  # nothing else could find out that it is over
        return False

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
        super().forget()
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

    def _permit_of(self, release: Callable[[], None]) -> Ticket:
        return Witness(self, release, self._ghosts, self._trouble)

    def _fit(self) -> None:
        self._adapt(asyncio.get_running_loop().time())

    def _adapt(self, now: float) -> None:
        """Have as many permits as the limit and the ghosts leave."""
        limit = min(self._trouble.limit, self._leased)
        permits = limit - self._ghosts.holding(limit)
        if permits < 1 <= limit:
            permits = 1 if now >= self._next_probe_at else 0
        if permits != self._max:
            self.resize(permits)
        if (permits or not limit) and self._timer is not None:
            self._timer.cancel()
            self._timer = None
        elif limit and not permits and self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(self._next_probe_at, self._probe, context=Context())

    def _probe(self) -> None:
        self._timer = None
        self._adapt(asyncio.get_running_loop().time())

    def _has_moved(self, reason: str) -> None:
        if self.has_trouble:
            while self._waiters.waiting(BACKGROUND):
                self._waiters.refuse(shed(self._name))
        self._moved(self._trouble.limit, self._ghosts.held, reason)


def _is_refused(cause: BaseException | None) -> bool:
    """Whether every address refused the connection: the process that had the queue has ended."""
    causes = cause.exceptions if isinstance(cause, ExceptionGroup) else [cause]
    return all(isinstance(each, ConnectionRefusedError) for each in causes)
