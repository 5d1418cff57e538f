"""
Asks the store of a shared limit for leases, in the background; `lease` decides for what.

Rules: the lines of one key share leases, whatever their credentials are, because a question for each would take a round
trip for each. One question is in flight for them, unless the store is further away than a lease lives.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator, Sequence
from contextvars import Context
from itertools import chain
from typing import Any

from ..careful import Careful
from ..config.store import Share
from .lease import Lease, Leased, Leases, Order
from .line import Line, Waiter
from .shared import GIVE_UP, SLICE, Group
from .turnstile import Turnstile

__all__ = ["Supply"]

logger = Careful("seawall.limit")


class Supply:
    """
    Keeps the lines that draw on the same limits in leases.

    Args:
        keys: Which limits of the group they are; the same in each process.
        indexes: Their places among a line's costs.
    Attributes:
        meters: One for each limit.
        turnstile: Where lines wait for them; one, because they are leased together.
    """

    def __init__(self, group: Group, leases: Leases, keys: tuple[str, ...], indexes: tuple[int, ...]) -> None:
        self._group = group
        self._keys = keys
        self._indexes = indexes
        self._leases = leases
        self.turnstile = Turnstile()
        self.meters = {index: Leased(leases, place, self.turnstile) for place, index in enumerate(indexes)}
        self._lines: dict[Line, None] = {}  # those in which attempts wait
        self._ahead = (0.0,) * len(indexes)  # what these will take
        self._timer: asyncio.TimerHandle | None = None
        self._rings_at = math.inf

    def joined(self, line: Line, costs: tuple[float, ...]) -> None:
        """An attempt of *costs* waits in *line*."""
        self._lines[line] = None
        self._ahead = tuple([sum(each) for each in zip(self._ahead, self._of(costs), strict=True)])

    def left(self, line: Line, costs: tuple[float, ...]) -> None:
        """It waits no longer."""
        if not line.waiters.queues:
            del self._lines[line]
        mine = self._of(costs) if self._lines else self._ahead
        self._ahead = tuple([total - each for total, each in zip(self._ahead, mine, strict=True)])

    def wake(self) -> None:
        """The lines whose turn is next look again at when that is, those too that wait for a share."""
        self.turnstile.wake()
        for fallback in self._leases.fallbacks:
            fallback.turnstile.wake()

    def ask(self) -> None:
        """Book what the lines need, unless that is asked already."""
        group, leases = self._group, self._leases
        outage, now = group.store.outage, group.now()
        if outage.is_on:
            leases.resize(now, group.processes)
        group.tell()
        waiters = self._waiters()
        first = next(waiters, None)
        max_wait = float("inf") if first is None else first.ends_at - now
        waiting = (self._of(each.costs) for each in chain(() if first is None else (first,), waiters))
        order = leases.order(now, self._ahead, waiting, max_wait)
        if order is not None:
            group.store.start(self._book(order))
        elif first is None and (unused := leases.unused(now)):
            group.store.start(self._give_back(unused))
        if first is None:
            group.store.waiting.pop(self, None)
            self._stop()
            return
        group.store.waiting[self] = None
        if (at := leases.next_at(now)) < self._rings_at:
            self._stop()
            self._rings_at, loop = at, asyncio.get_running_loop()
            self._timer = loop.call_at(max(at, now + SLICE), self._ring, context=Context())

    def _waiters(self) -> Iterator[Waiter]:
        """Those of all lines; the one whose turn is next comes first."""
        head = self.turnstile.next
        if head in self._lines:
            yield from head.waiters.in_order()
        for line in self._lines:
            if line is not head:
                yield from line.waiters.in_order()

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer, self._rings_at = None, math.inf

    def _ring(self) -> None:
        self._timer, self._rings_at = None, math.inf
        self.ask()

    def covers(self, costs: tuple[float, ...]) -> bool:
        """Whether the wait of an attempt is known."""
        return self._leases.covers(self._group.now(), self._of(costs))

    def used(self, costs: tuple[float, ...]) -> Lease | None:
        """An attempt has been let through: from which lease?"""
        return self._leases.used(self._group.now(), self._of(costs))

    def give_back(self, lease: Lease, costs: tuple[float, ...]) -> None:
        """An attempt that has taken from *lease* wasn't sent."""
        self._leases.give_back(self._group.now(), lease, self._of(costs))

    def _of(self, costs: Sequence[float]) -> tuple[float, ...]:
        return tuple([costs[index] for index in self._indexes])

    async def _book(self, order: Order) -> None:
        group, leases = self._group, self._leases
        asked_at = group.now()
        shares = [
            Share(key, terms.rate, terms.booked_burst, amount, charge)
            for key, terms, amount, charge in zip(self._keys, leases.terms, order.amounts, order.charges, strict=True)
        ]
        booking = None
        try:
            booking, is_in_time = await group.ask(
                lambda: group.store.opened.book(
                    group.name, shares, process=group.store.process, max_wait=order.max_wait
                ),
                None if order.follows else self._is_late,
            )
        finally:
            leases.ended(order, is_charged=booking is not None)
        now = group.now()
        if booking is not None:
            group.count(now, booking.processes)
            if is_in_time:
                leases.booked(order, now, booking, asked_at=asked_at)
            elif booking.is_booked:
                group.store.start(self._give_back([booking.receipt]))
        self.wake()
        self.ask()

    def _is_late(self) -> None:
        self._leases.resize(self._group.now(), self._group.processes)
        self.wake()

    async def _give_back(self, receipts: list[Any]) -> None:
        try:
            async with asyncio.timeout(GIVE_UP):
                for receipt in receipts:
                    await self._group.store.opened.give_back(self._group.name, receipt)
        except Exception as error:  # noqa: BLE001  # the store's, whatever it is
            logger.debug("%s: unused requests of a shared limit are lost", self._group.name, error=error)
