"""The hosts of a fan-out: which of them is next."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Hashable
from heapq import heapify, heappop, heappush
from operator import itemgetter
from typing import Any, Final, NamedTuple, Protocol

__all__ = ["Host", "Hosts", "Item"]

SLOW: Final = 4.0  # times what is usual; a host is slow whose last piece of work took longer, or takes longer now
NEVER_SLOW: Final = 0.25  # seconds; below, the difference isn't worth an order
SLOW_SHARE: Final = 0.5  # of the seats, which slow hosts have in all while others have work
STEP: Final = 1.05  # by which the usual time follows each piece of work, so half of them stay below it
KEPT: Final = 1024  # slow hosts that are remembered without work


class Item(NamedTuple):
    """One of the items, and its place among them."""

    number: int
    item: Any


class Host:
    """
    A host, and its items that haven't been begun.

    Attributes:
        tasks: Pieces of its work in flight, those that wait too.
        seats: Those that don't wait.
        blocks: Those that wait where others would only queue behind them.
        timer: Wakes it, if it sleeps.
        is_slow: A piece of its work takes far longer than is usual, or the last one did.
        is_failing: Its last piece of work ended with an error, so what waits for it may as well fail together.
    """

    __slots__ = ("blocks", "entry", "is_failing", "is_slow", "key", "pending", "seats", "tasks", "timer")

    def __init__(self, key: Hashable) -> None:
        self.key = key
        self.pending: deque[Item] = deque()
        self.tasks = self.seats = self.blocks = 0
        self.timer: asyncio.TimerHandle | None = None
        self.is_slow = self.is_failing = False
        self.entry: tuple[int, int, Host] | None = None  # the one of the queue that counts

    @property
    def is_stuck(self) -> bool:
        """Most of its work in flight waits, for a breaker or in backoffs, so more of it would hardly get further."""
        return self.tasks > 2 * self.seats


class Running(Protocol):
    """A piece of work in flight; *since* when it hasn't waited."""

    host: Host
    since: float


class Hosts:
    """
    All hosts that have items or work.

    Attributes:
        pending: Items that haven't been begun.
        choice: Hosts that have some.
        seats: Pieces of work in flight that don't wait.
    """

    def __init__(self, concurrency: int) -> None:
        self._max_slow = max(1, int(concurrency * SLOW_SHARE))
        self._hosts: dict[Hashable, Host] = {}
        self._quick: list[tuple[int, int, Host]] = []  # heaps of those that can be begun, fewest seats first
        self._slow: list[tuple[int, int, Host]] = []
        self._stuck: list[tuple[int, int, Host]] = []
        self._turn = 0
        self._slow_seats = 0
        self._usual: float | None = None
        self._running: dict[Running, None] = {}  # since it took its seat; the longest first
        self.pending = self.choice = self.seats = 0

    def add(self, key: Hashable, item: Item) -> None:
        host = self._hosts.get(key)
        if host is None:
            host = self._hosts[key] = Host(key)
        host.pending.append(item)
        self._pending(host, 1)
        if host.entry is None:
            self._queue(host)

    def has_ready(self) -> bool:
        """Whether a host that is neither slow nor stuck has an item that can be begun."""
        return _first(self._quick) is not None

    def next(self, *, has_choice: bool, has_room: bool) -> Host | None:
        """
        The host to begin an item of; None if none can be begun.

        Args:
            has_choice: More items may come, so seats needn't go to slow hosts beyond their share.
            has_room: Work of stuck hosts may be begun; else what waits for them would keep others from being begun.
        """
        quick = _first(self._quick)
        is_shared_out = self._slow_seats >= self._max_slow and (quick is not None or has_choice)
        slow = None if is_shared_out else _first(self._slow)
        stuck = _first(self._stuck) if has_room else None
        if stuck is not None and is_shared_out and stuck[2].is_slow:
            stuck = None
        firsts = [each for each in (quick, slow, stuck) if each is not None]
        return min(firsts, key=itemgetter(0, 1))[2] if firsts else None

    def begun(self, running: Running) -> None:
        """The first item of its host was taken from it."""
        host = running.host
        self._pending(host, -1)
        host.tasks += 1
        self._running[running] = None
        self._seat(host, 1)

    def left(self, running: Running, *, blocks: bool) -> None:
        """It waits; if it *blocks*, others of the host would only queue behind it."""
        self._running.pop(running, None)
        running.host.blocks += blocks
        self._seat(running.host, -1)

    def taken(self, running: Running, *, blocked: bool) -> None:
        """It goes on."""
        self._running[running] = None
        running.host.blocks -= blocked
        self._seat(running.host, 1)

    def ended(self, running: Running, took: float, *, is_failure: bool) -> None:
        """It has ended, and took so many seconds beside its waits."""
        host, usual = running.host, self._usual
        self._usual = took if usual is None else usual * STEP if took > usual else usual / STEP
        self._running.pop(running, None)
        host.tasks -= 1
        host.is_failing = is_failure
        self._seat(host, -1)
        self._judge(host, is_slow=took > self._slow_from())
        if not (host.pending or host.tasks or (host.is_slow and len(self._hosts) <= KEPT)):
            del self._hosts[host.key]

    def look(self, now: float) -> None:
        """See which hosts are slow now."""
        since = now - self._slow_from()
        while self._running and (longest := next(iter(self._running))).since < since:
            del self._running[longest]
            self._judge(longest.host, is_slow=True)

    def put_back(self, host: Host, item: Item, timer: asyncio.TimerHandle) -> None:
        """*item* was refused, unsent; its host sleeps until *timer* wakes it."""
        host.pending.appendleft(item)
        self._pending(host, 1)
        self._hosts[host.key] = host
        if host.timer is not None and host.timer.when() >= timer.when():
            timer.cancel()
        else:
            if host.timer is not None:
                host.timer.cancel()
            host.timer = timer
        self._queue(host)

    def wake(self, host: Host) -> None:
        host.timer = None
        self._queue(host)

    def close(self) -> None:
        for host in self._hosts.values():
            if host.timer is not None:
                host.timer.cancel()

    def _pending(self, host: Host, more: int) -> None:
        """An item was added to its own, or taken."""
        self.pending += more
        if len(host.pending) == (more > 0):  # its first, or its last
            self.choice += more

    def _seat(self, host: Host, more: int) -> None:
        self.seats += more
        host.seats += more
        if host.is_slow:
            self._slow_seats += more
        self._queue(host)

    def _slow_from(self) -> float:
        """Seconds that a piece of work takes if its host is slow."""
        return math.inf if self._usual is None else max(NEVER_SLOW, self._usual * SLOW)

    def _judge(self, host: Host, *, is_slow: bool) -> None:
        if host.is_slow is not is_slow:
            self._slow_seats += host.seats if is_slow else -host.seats
            host.is_slow = is_slow
            self._queue(host)

    def _queue(self, host: Host) -> None:
        """Enter *host* by what it has in flight now, if an item of it can be begun."""
        if not host.pending or (host.blocks and not host.is_failing) or host.timer is not None:
            host.entry = None
            return
        heap = self._stuck if host.is_stuck else self._slow if host.is_slow else self._quick
        if len(heap) > 64 + 4 * len(self._hosts):  # most entries are of before
            heap[:] = [entry for entry in heap if entry[2].entry is entry]
            heapify(heap)
        self._turn += 1
        host.entry = (host.seats, self._turn, host)
        heappush(heap, host.entry)


def _first(heap: list[tuple[int, int, Host]]) -> tuple[int, int, Host] | None:
    """The first entry that counts."""
    while heap and heap[0][2].entry is not heap[0]:
        heappop(heap)
    return heap[0] if heap else None
