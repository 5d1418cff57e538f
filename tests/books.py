"""A store of shared limits in memory: what the script in Redis does, in Python, with faults that a test switches."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import Any

from seawall.config.store import Booking, Share


class Books:
    """
    Attributes:
        delay: Seconds of a round trip; math.inf never answers.
        error: What each question raises, if anything.
        due: For each limit the instant at which nothing is owed any more.
        asked: The shares of each question, in their order.
        opened, closed: How many engines have opened and closed it.
    """

    def __init__(self, delay: float = 0.0) -> None:
        self.delay = delay
        self.error: Exception | None = None
        self.due: dict[str, float] = {}
        self.processes: set[str] = set()
        self.asked: list[Sequence[Share]] = []
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
