"""
Keeps a bulkhead in permits that processes share: claims them in the background; `holding` decides how many.

Rules: one claim in flight for each bulkhead; one timer, while the process holds or wants something. No attempt waits
for a claim as long as permits are at hand.
"""

from __future__ import annotations

import asyncio
from contextvars import Context
from typing import Any, Protocol

from ..config.store import Claim, Grant
from .holding import TTL, Holding
from .shared import PATIENCE, Group

__all__ = ["Fleet"]


class Hand(Protocol):
    """The bulkhead, as far as its fleet looks at it."""

    @property
    def used(self) -> int:
        """Permits that are in use, those of requests that were given up included."""

    @property
    def waiting(self) -> int:
        """Attempts that wait for one."""

    @property
    def lacking(self) -> int:
        """Permits that it could use beyond those in use."""

    @property
    def allowed(self) -> int:
        """Permits that it could use at most, by what it has learned itself."""

    def lease(self, permits: int) -> None:
        """Have so many permits at most."""

    def trim(self) -> None:
        """Refuse waiters that were let in because of permits that don't come."""


class Fleet:
    """
    What a bulkhead has of its fleet.

    Args:
        key: Which bulkhead of the group it is; the same in each process.
        max_concurrent: Permits of all processes.
        fallback: As `Bulkhead.fallback`.
    """

    __slots__ = ("_group", "_hand", "_holding", "_is_closed", "_key", "_leased", "_max", "_timer")

    def __init__(self, group: Group, hand: Hand, key: str, *, max_concurrent: int, fallback: str) -> None:
        self._group = group
        self._hand = hand
        self._key = key
        self._max = max_concurrent
        self._holding = Holding(max_concurrent, fallback, group.store.outage)
        self._leased = 0
        self._timer: asyncio.TimerHandle | None = None
        self._is_closed = False

    @property
    def is_empty(self) -> bool:
        """Whether the store has nothing of this process."""
        return self._holding.is_empty

    @property
    def hoped(self) -> int:
        """Permits for which the store will be asked at once, so that an attempt may wait for its answer."""
        return self._holding.hoped(self._hand.allowed)

    def refresh(self) -> None:
        """Hold the bulkhead to what this process may have in use now, because leases lapse and stores go away."""
        permits = self._holding.permits(self._group.now(), self._group.processes)
        if permits != self._leased:
            self._leased = permits
            self._hand.lease(permits)
            self._holding.used(self._hand.used)

    def taken(self, used: int) -> None:
        """An attempt has taken a permit without waiting; so many are in use."""
        self._holding.used(used)
        if used >= self._leased:
            self.ask()

    def freed(self, used: int) -> None:
        """An attempt has given its permit back, and left so many in use."""
        if self._holding.freed(self._group.now(), used):
            self._stop()
            self._wait()

    def ask(self) -> None:
        """Claim what the bulkhead needs, unless that is claimed already."""
        if self._is_closed:
            return
        group, hand = self._group, self._hand
        group.tell()
        claim = self._holding.order(
            self._key,
            next(group.store.numbers),
            group.now(),
            used=hand.used,
            waiting=hand.lacking,
            limit=hand.allowed,
            processes=group.processes,
        )
        self.refresh()
        if claim is not None:
            group.store.leaving[self] = self._leave
            group.store.start(self._claim(claim))
        if self._timer is None:
            self._wait()

    def close(self) -> None:
        """The client is closed: claim nothing more."""
        self._is_closed = True
        self._stop()

    def _wait(self) -> None:
        """Claim again when a heartbeat is due, as long as the process holds or wants something."""
        hand, holding, outage = self._hand, self._holding, self._group.store.outage
        if holding.is_empty and not hand.used and not hand.waiting:
            self._group.store.leaving.pop(self, None)
        elif not (self._is_closed or holding.is_asking):
            loop = asyncio.get_running_loop()
            at, now = holding.next_at, self._group.now()
            if outage.is_on:
                at = max(at, now + PATIENCE if outage.is_probing else outage.retry_at)  # a probe is over by then
            after = max(at - now, 0.001)
            self._timer = loop.call_later(after, self._ring, context=Context())

    def _ring(self) -> None:
        self._timer = None
        self.ask()

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def _claim(self, claim: Claim) -> None:
        group, holding = self._group, self._holding
        asked_at = group.now()
        try:
            grant, is_in_time = await group.ask(lambda: self._told(claim), self.refresh)
        finally:
            holding.ended()
        if grant is not None:
            group.count(group.now(), grant.processes)
            if is_in_time:
                holding.granted(claim, group.now(), grant, asked_at=asked_at)
        self.refresh()
        self._hand.trim()
        self._stop()  # the next one may be due earlier
        self.ask()

    async def _leave(self) -> None:
        """Give back everything."""
        await self._told(Claim(self._key, self._max, 0, 0, 0, TTL, next(self._group.store.numbers)))

    async def _told(self, claim: Claim) -> Grant:
        store: Any = self._group.store
        grant: Grant = await store.opened.claim(self._group.name, claim, process=store.process)
        return grant
