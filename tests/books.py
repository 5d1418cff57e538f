"""A store of shared limits and permits in memory: what the scripts in Redis do, with faults that a test switches."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import Any

from seawall.config.store import Booking, Claim, Grant, Share


class Books:
    """
    Attributes:
        delay: Seconds of a round trip; math.inf never answers.
        error: What each question raises, if anything.
        due: For each limit the instant at which nothing is owed any more.
        asked: The shares of each question, in their order.
        claimed: Each process' claim, in their order.
        held: For each process its permits, how many it could use, and when they lapse.
        opened, closed: How many engines have opened and closed it.
    """

    def __init__(self, delay: float = 0.0) -> None:
        self.delay = delay
        self.error: Exception | None = None
        self.due: dict[str, float] = {}
        self.processes: set[str] = set()
        self.asked: list[Sequence[Share]] = []
        self.claimed: list[tuple[str, Claim]] = []
        self.held: dict[str, dict[str, tuple[int, int, float]]] = {}
        self.opened = self.closed = 0

    def open(self) -> Books:
        self.opened += 1
        return self

    async def book(self, group: str, shares: Sequence[Share], *, process: str, max_wait: float) -> Booking:
        self.asked.append(shares)
        await self._travel()
        now = asyncio.get_running_loop().time()
        self.processes.add(process)
        waits = []
        for share in shares:
            due = max(self.due.get(share.key, -math.inf), now) + share.charge / share.rate
            self.due[share.key] = max(now, due)
            waits.append(max(0.0, due - max(0.0, share.burst - share.amount) / share.rate - now) * bool(share.amount))
        before, wait = dict(self.due), max(waits)
        if wait <= max_wait:
            for share, own in zip(shares, waits, strict=True):
                if share.amount:
                    due = self.due[share.key] if own == wait else max(self.due[share.key], now + wait)
                    self.due[share.key] = due + share.amount / share.rate
        receipt = {share.key: (self.due[share.key], before[share.key]) for share in shares}
        await self._travel()
        return Booking(wait, wait <= max_wait, len(self.processes), receipt)

    async def give_back(self, group: str, receipt: Any) -> None:
        await self._travel()
        for key, (after, before) in receipt.items():
            if self.due[key] == after:
                self.due[key] = before

    async def claim(self, group: str, claim: Claim, *, process: str) -> Grant:
        self.claimed.append((process, claim))
        await self._travel()
        now = asyncio.get_running_loop().time()
        self.processes.add(process)
        mine = self.held.setdefault(claim.key, {})
        for each in [each for each, (*_, lapses_at) in mine.items() if lapses_at <= now]:
            del mine[each]
        is_known = mine.pop(process, None) is not None
        fair = self._fair(claim, now, process, {each: wanted for each, (_, wanted, _) in mine.items()})
        waiting = sum(max(0, wanted - held) for held, wanted, _ in mine.values())
        room = max(0, claim.max_concurrent - sum(held for held, _, _ in mine.values()))
        spare = claim.spare if fair == claim.wanted and not waiting else 0
        permits = min(room, fair + spare)
        if claim.wanted + claim.keeps + permits:
            mine[process] = max(claim.keeps, permits), claim.wanted, now + claim.ttl
        await self._travel()
        return Grant(permits, max(0, fair - permits), waiting, len(self.processes), is_known)

    def _fair(self, claim: Claim, now: float, process: str, others: dict[str, int]) -> int:
        """Of what all could use: the small wishes whole, the others evenly, the remainder by turns."""
        left, wishes = claim.max_concurrent, sorted([claim.wanted, *others.values()])
        for place, wish in enumerate(wishes):
            unmet = len(wishes) - place
            level = left // unmet
            if wish > level:
                rank = int(now) + sum(other > level and each < process for each, other in others.items())
                return min(claim.wanted, level + (rank % unmet < left % unmet))
            left -= wish
        return claim.wanted

    async def aclose(self) -> None:
        self.closed += 1

    async def _travel(self) -> None:
        if self.error is not None:
            raise self.error
        await asyncio.sleep(self.delay / 2)


def worst(instants: Sequence[float], span: float) -> int:
    """The most instants in any *span* of seconds, both ends included."""
    instants, first, most = sorted(instants), 0, 0
    for last, at in enumerate(instants):
        while instants[first] < at - span - 1e-9:
            first += 1
        most = max(most, last - first + 1)
    return most
