"""
`fan_out`: many pieces of work, a number of them in flight, fair to each host.

Rules: the host with the fewest in flight is next, so none can take the seats of others. Work that waits (for a gate, or
between attempts) leaves its seat, and what would only queue behind it isn't begun: it stays an item, which costs no
deadline and hardly any memory. A host that asks for a pause sleeps, and its items with it. Nothing is pulled, begun or
kept without bound.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Hashable, Iterable
from typing import Any, Final, Generic, TypeVar

from ..config.ready import GATE
from ..core.deadline import remaining
from ..core.patient import LEAST, says_when
from ..core.seat import BACKOFF, SEAT
from ..errors import BulkheadFull, LimitExceeded, OriginPaused, Shed
from .hosts import Host, Hosts, Item
from .result import Result

__all__ = ["asked_delay", "fan_out"]

T = TypeVar("T")
R = TypeVar("R")

ASIDE: Final = 10  # calls that wait, for each seat; each takes some 10 kB
AHEAD: Final = 100  # items that are pulled ahead at most, for each seat; a URL takes some 200 bytes
TOGETHER: Final = frozenset(("breaker", GATE, BACKOFF))  # those who wait there don't wait for each other
FULL: Final = 1.0  # seconds that a host sleeps whose bulkhead has no room for waiters


async def fan_out(
    items: Iterable[T] | AsyncIterable[T],
    host_of: Callable[[T], Hashable],
    work: Callable[[T], Awaitable[R]],
    *,
    concurrency: int,
    ordered: bool = False,
) -> AsyncGenerator[Result[T, R], None]:
    """
    Do *work* for each of *items*, and give what became of it, an error as well.

    **Cancellation** and closing the generator cancel the work in flight, and wait until it has ended.

    Args:
        items: Pulled as they are needed: until there is a host for each seat, at most 100 for each seat.
        host_of: An item's host, anything hashable; it must not raise.
        work: Is awaited in a task of its own.
        concurrency: Seats: pieces of work in flight that don't wait on this side. Those that wait may be 10 times as
            many, and exceed the seats for a moment when they go on together.
        ordered: Give results in the order of the items, in place of that in which they come. One that takes long then
            holds up those behind it, and at most 100 times *concurrency* of them are kept.
    Raises:
        Exception: The one that *items* raised, after the results of the items before it.
    """
    crew = Crew(host_of, work, concurrency, is_ordered=ordered)
    crew.begin(items)
    try:
        while (result := await crew.next()) is not None:
            yield result
            del result
    finally:
        await crew.aclose()


class Crew(Generic[T, R]):
    """The workers: tasks, each for one item."""

    def __init__(
        self,
        host_of: Callable[[T], Hashable],
        work: Callable[[T], Awaitable[R]],
        concurrency: int,
        *,
        is_ordered: bool,
    ) -> None:
        self._host_of = host_of
        self._work = work
        self._concurrency = concurrency
        self._is_ordered = is_ordered
        self.loop = asyncio.get_running_loop()
        self._hosts = Hosts(concurrency)
        self._tasks: set[asyncio.Task[None]] = set()
        self._results: deque[Result[T, R]] = deque()
        self._early: dict[int, Result[T, R]] = {}  # results of items behind one that has none yet
        self._pulled = self._given = 0
        self._puller: asyncio.Task[None] | None = None
        self._source_error: BaseException | None = None
        self._has_more = True
        self._is_closed = False
        self._room: asyncio.Future[None] | None = None  # done once more items are wanted
        self._news: asyncio.Future[None] | None = None  # done once `next` may have something to do

    def begin(self, items: Iterable[T] | AsyncIterable[T]) -> None:
        self._puller = self.loop.create_task(self._pull(items))

    async def next(self) -> Result[T, R] | None:
        """
        The next result; None: all have been given.

        Raises:
            Exception: What the items raised.
        """
        while True:
            self._start()
            if self._results:
                self._given += 1
                return self._results.popleft()
            if not (self._has_more or self._tasks or self._hosts.pending):
                if self._source_error is not None:
                    raise self._source_error
                return None
            self._news = self.loop.create_future()
            await self._news

    async def aclose(self) -> None:
        self._is_closed = True
        tasks = [*self._tasks] if self._puller is None else [*self._tasks, self._puller]
        for task in tasks:
            task.cancel()
        self._hosts.close()
        if tasks:
            await asyncio.wait(tasks)

    def has_news(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    # Items

    async def _pull(self, items: Iterable[T] | AsyncIterable[T]) -> None:
        try:
            if isinstance(items, AsyncIterable):
                async for item in items:
                    await self._add(item)
            else:
                for item in items:
                    await self._add(item)
        except asyncio.CancelledError as cancelled:
            if self._is_closed:
                raise
            self._source_error = cancelled  # the items' own, and not the end of them
        except Exception as error:  # noqa: BLE001  # it is a value here
            self._source_error = error
        finally:
            self._has_more = False
            self.has_news()

    async def _add(self, item: T) -> None:
        """Take *item* in, then wait until another one is wanted."""
        index = self._pulled
        self._pulled += 1
        self._hosts.add(self._host_of(item), Item(index, item))
        self.has_news()
        while not self._wants():
            self._room = self.loop.create_future()
            await self._room

    def _wants(self) -> bool:
        """
        Whether another item is needed: a host for each seat, and one that can be called.

        A list may be sorted by host; with few hosts in flight each would take many connections, for a few URLs each.
        """
        hosts, most = self._hosts, self._concurrency * AHEAD
        if hosts.pending >= most or (self._is_ordered and self._pulled - self._given >= most):
            return False
        return hosts.choice < self._concurrency or not hosts.has_ready()

    # Work

    def _start(self) -> None:
        """Begin what there are seats for."""
        hosts, most = self._hosts, self._concurrency * (1 + ASIDE)
        hosts.look(self.loop.time())
        while hosts.seats + len(self._results) < self._concurrency and len(self._tasks) < most:
            has_room = len(self._tasks) < self._concurrency * ASIDE  # the seats are left to hosts that get on
            host = hosts.next(has_choice=self._has_more and self._wants(), has_room=has_room)
            if host is None:
                break
            place = Place(self, hosts, host)
            self._tasks.add(self.loop.create_task(self._run(place, host.pending.popleft())))
            hosts.begun(place)
        if self._room is None or self._room.done():
            return
        is_short = hosts.choice * 2 <= self._concurrency or not hosts.has_ready()  # by half, so it is woken less often
        if is_short and self._wants():
            self._room.set_result(None)

    async def _run(self, place: Place, item: Item) -> None:
        SEAT.set(place)
        response: R | None = None
        error: BaseException | None = None
        began_at = self.loop.time()
        try:
            response = await self._work(item.item)
        except asyncio.CancelledError as cancelled:
            if self._is_closed:
                raise
            error = cancelled
        except Exception as raised:  # noqa: BLE001  # it is a value here
            error = raised
        finally:
            place.end()
            task = asyncio.current_task()
            assert task is not None
            self._tasks.discard(task)
            took = self.loop.time() - began_at - place.waited
            self._hosts.ended(place, took, is_failure=error is not None)
        if (delay := asked_delay(error)) is not None and not self._is_closed:
            self._hosts.put_back(place.host, item, self.loop.call_later(delay, self._woken, place.host))
        else:
            self._put(Result(item.item, response, error, item.number))
        error = None  # its traceback holds this frame
        self.has_news()

    def _woken(self, host: Host) -> None:
        self._hosts.wake(host)
        self.has_news()

    def _put(self, result: Result[T, R]) -> None:
        if not self._is_ordered:
            self._results.append(result)
            return
        self._early[result.index] = result
        while (due := self._early.pop(self._given + len(self._results), None)) is not None:
            self._results.append(due)


class Place:
    """A piece of work's seat; see `Seat`."""

    __slots__ = ("_crew", "_depth", "_hosts", "_is_alone", "_is_over", "_left_at", "host", "since", "waited")

    def __init__(self, crew: Crew[Any, Any], hosts: Hosts, host: Host) -> None:
        self._crew = crew
        self._hosts = hosts
        self.host = host
        self._depth = 0  # calls of this piece that wait
        self._is_over = False
        self._is_alone = False  # others of its host wouldn't be served before it
        self.since = crew.loop.time()  # it takes the seat, or took it again after a wait
        self._left_at = self.waited = 0.0

    def leave(self, why: str) -> None:
        if self._is_over:
            return
        self._depth += 1
        if self._depth == 1:
            self._left_at = self._crew.loop.time()
            self._is_alone = why not in TOGETHER
            self._hosts.left(self, blocks=self._is_alone)
            self._crew.has_news()

    def take(self) -> None:
        if self._is_over:
            return
        self._depth -= 1
        if self._depth == 0:
            self.since = self._crew.loop.time()
            self.waited += self.since - self._left_at
            self._hosts.taken(self, blocked=self._is_alone)
            self._crew.has_news()

    def end(self) -> None:
        """The work has ended; what it may have left behind no longer counts."""
        if self._depth:
            self._depth = 1
            self.take()
        self._is_over = True


def asked_delay(error: BaseException | None) -> float | None:
    """Seconds until the host is called again, which has refused a piece of work unsent; None if it has ended."""
    if isinstance(error, BulkheadFull):
        delay = FULL
    elif isinstance(error, LimitExceeded | OriginPaused | Shed) and says_when(error):
        delay = max(error.retry_after, LEAST)
    else:
        return None
    left = remaining()  # of a deadline around all of it, after which nothing is begun anyway
    return delay if left is None or delay < left else None
