"""
What this process holds of a shared bulkhead's permits, and what it should claim. Synchronous; time is an argument.

Rules: a claim says how many permits the process keeps, and until it is answered no more attempts are in flight than
that, so the store may give the rest to others at once. What is held lapses `TTL` after it was claimed, by the clock of
this process too, which began to count before the store did. What the store has lost is believed by nobody: whoever
finds that out takes no more than its share until all others must have claimed again.
"""

from __future__ import annotations

import math
from typing import Final

from ..config.store import Claim, Grant
from .outage import Outage

__all__ = ["HEARTBEAT", "TTL", "Holding"]

TTL: Final = 5.0  # s; a loop that is blocked for a second or two keeps its permits
HEARTBEAT: Final = 0.2  # s between claims; what nobody used since the last one is given back
HURRY: Final = (
    0.025  # s until the next claim while processes exchange permits; each wait is twice the last, up to a heartbeat
)
SETTLE: Final = 1.5  # s after an outage, in which the slowest process finds that it is over (0.9 s + 0.45 s)


class Holding:
    """
    Args:
        max_concurrent: Permits of all processes.
        fallback: As `Bulkhead.fallback`.
        outage: Whether the store is away.
    Attributes:
        is_asking: A claim is in flight.
        next_at: When the next heartbeat is due.
    """

    __slots__ = (
        "_fallback", "_had", "_has_room", "_held", "_is_pressed", "_is_short", "_lapses_at", "_max", "_outage",
        "_pace", "_peak", "_permits", "_settled_at", "is_asking", "next_at",
    )  # fmt: skip

    def __init__(self, max_concurrent: int, fallback: str, outage: Outage) -> None:
        self._max = max_concurrent
        self._fallback = fallback
        self._outage = outage
        self._permits = 0  # that may be in use
        self._held = 0  # that the store may count as this process'; more while it comes down
        self._lapses_at = -math.inf
        self._had = (0, 0)  # both, by the last answer
        self._is_short = False  # it could use more than it was granted
        self._is_pressed = False  # others could
        self._has_room = True  # it was granted its spare permits too
        self._peak = 0  # of permits in use since the last heartbeat
        self._pace = HURRY / 2
        self._settled_at = -math.inf
        self.is_asking = False
        self.next_at = -math.inf

    @property
    def is_empty(self) -> bool:
        """Whether the store has nothing of this process."""
        return not self._held and not self.is_asking

    def permits(self, now: float, processes: int) -> int:
        """How many permits may be in use now, if so many processes share them."""
        if self._outage.is_on:
            return self._without(processes)
        return self._permits if now < self._lapses_at else 0

    def hoped(self, limit: int) -> int:
        """Permits that the store may grant at once, as far as is known."""
        return 0 if self._is_short or self._outage.is_on else max(0, limit - self._permits)

    def used(self, count: int) -> None:
        """So many are in use."""
        if count > self._peak:
            self._peak = count

    def freed(self, now: float, used: int) -> bool:
        """An attempt has left so many in use. Returns whether the next claim is due earlier, because others wait."""
        due_at = now + HURRY
        if not self._is_pressed or used >= self._permits or self.next_at <= due_at:
            return False
        self.next_at = due_at
        return True

    def order(
        self, key: str, number: int, now: float, *, used: int, waiting: int, limit: int, processes: int
    ) -> Claim | None:
        """
        What to claim now, if anything; `ended` must follow, and before it `granted` if there is an answer in time.

        Args:
            used: Permits in use.
            waiting: Permits that its waiters need, beyond those in use.
            limit: Permits that the process could use at most, by what it has learned itself.
        """
        if self.is_asking or not self._outage.may_ask(now):
            return None
        if now >= self._lapses_at:
            self._permits, self._held, self._peak = 0, 0, used
        if self._outage.is_on:
            self._permits = 0
        if now < max(self._settled_at, self._outage.ended_at + SETTLE):
            limit = min(limit, self._share(processes))
        needed = used + waiting
        wanted = max(used, min(needed if self._is_pressed else max(needed, self._peak), limit))
        spare = max(0, min(wanted // 4 + 1, limit - wanted)) if wanted and self._has_room else 0
        if self._outage.is_on:  # a probe, which books nothing
            wanted, spare = used, 0
        is_due = now >= self.next_at and (needed > 0 or self._held > 0)
        is_news = not self._is_short and needed >= self._permits < wanted + spare
        if not (is_due or is_news):
            return None
        self._permits = min(self._permits, wanted + spare)
        if is_due:
            self._peak = used
        self._held = max(self._held, wanted + spare)
        self.is_asking = True
        self.next_at = now + HEARTBEAT
        self._outage.asked()
        return Claim(key, self._max, max(used, self._permits), wanted, spare, TTL, number)

    def granted(self, claim: Claim, now: float, grant: Grant, *, asked_at: float) -> None:
        """The store has answered *claim*, which was made at *asked_at*, in time."""
        permits = grant.permits
        if self._permits and not grant.is_known:  # others may not know yet that it has lost everything
            self._settled_at = now + 2 * HEARTBEAT
            permits = min(permits, claim.keeps)
        self._permits = permits
        self._held = max(claim.keeps, grant.permits)
        self._lapses_at = asked_at + claim.ttl
        self._is_short = permits < claim.wanted
        self._is_pressed = grant.waiting > 0
        self._has_room = not self._is_pressed and permits >= claim.wanted + claim.spare
        self.next_at = now + self._next_pace(grant)
        self._had = permits, self._held

    def ended(self) -> None:
        """No claim is in flight."""
        self.is_asking = False
        if self.is_empty:
            self._is_short, self._is_pressed, self._has_room = False, False, True

    def _next_pace(self, grant: Grant) -> float:
        """Seconds until the next claim: few while permits change hands, but not while they are used for long."""
        if not grant.owed and self._held <= self._permits:
            self._pace = HURRY / 2
            return HEARTBEAT
        self._pace = HURRY if self._had != (self._permits, self._held) else min(HEARTBEAT, 2 * self._pace)
        return self._pace

    def _share(self, processes: int) -> int:
        return max(1, self._max // max(1, processes))

    def _without(self, processes: int) -> int:
        match self._fallback:
            case "open":
                return self._max
            case "closed":
                return 0
        return self._share(processes)
