"""
A store that processes share: whether it answers, and what goes on without it. `supply` asks it for leases of a limit,
`fleet` for permits.

Rules: attempts wait for its answer, at most `PATIENCE`; from then on all go by their fallback, until one question is
answered in time.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Iterator
from contextvars import Context
from itertools import count
from random import Random
from typing import Any, Final, TypeVar

from ..careful import Careful
from ..config.store import BulkheadStore, LimitStore
from .outage import Outage
from .turnstile import Sleeper

__all__ = ["PATIENCE", "Group", "SharedStore", "public"]

T = TypeVar("T")

PATIENCE: Final = 0.05  # s that attempts wait for the store
SLICE: Final = 0.01  # s
GIVE_UP: Final = 0.45  # s, in which a connection can be made, which takes several round trips
AT_ONCE: Final = 16  # bulkheads whose permits are given back at once, because closing may take a second only
FORGET: Final = 60.0  # s for which the highest number of processes is believed

logger = Careful("seawall.limit")


class SharedStore:
    """
    A store, as one engine uses it; it is opened at first use, because only then a loop runs.

    Attributes:
        outage: Whether it is away.
        process: The id under which the store counts this engine.
        numbers: Of the engine's claims.
        leaving: For each bulkhead that holds permits, what gives them back.
        waiting: The supplies of the lines in which attempts wait for it.
    """

    def __init__(self, store: LimitStore | BulkheadStore, *, rng: Random) -> None:
        self.outage = Outage(rng)
        self.process = secrets.token_hex(8)
        self.numbers = count(1)
        self.leaving: dict[object, Callable[[], Coroutine[Any, Any, None]]] = {}
        self.waiting: dict[Sleeper, None] = {}
        self._store = store
        self._opened: Any = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_closed = False

    @property
    def opened(self) -> Any:
        """What the store's `open` has returned: of a limit's store it can book, of a bulkhead's it can claim."""
        if self._opened is None:
            self._opened = self._store.open()
        return self._opened

    def start(self, what: Coroutine[Any, Any, None]) -> None:
        """Run *what* in a context of its own, because it must not have a caller's deadline."""
        if self._is_closed:
            what.close()
            return
        task = asyncio.get_running_loop().create_task(what, context=Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def wake(self) -> None:
        """Those that wait look again, because the store is away, is back, or is still away."""
        for supply in self.waiting:
            supply.wake()

    async def aclose(self) -> None:
        """Cancel what is in flight, give back the permits, and close the connections."""
        self._is_closed = True
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        try:
            if not self.outage.is_on:
                await self._leave()
        finally:
            if self._opened is not None:
                await self._opened.aclose()

    async def _leave(self) -> None:
        leaving = iter(tuple(self.leaving.values()))
        await asyncio.gather(*[self._leave_some(leaving) for _ in range(min(len(self.leaving), AT_ONCE))])

    async def _leave_some(self, leaving: Iterator[Callable[[], Coroutine[Any, Any, None]]]) -> None:
        """Give back what is left of *leaving*, beside others that do."""
        try:
            for leave in leaving:
                async with asyncio.timeout(PATIENCE):
                    await leave()
        except Exception as error:  # noqa: BLE001  # the store's, whatever it is
            logger.debug("permits of a shared bulkhead lapse, because they can't be given back", error=error)


class Group:
    """
    An origin's shared limits, all of which are in one store; or its shared bulkheads.

    Args:
        name: The origin's.
        processes: How many processes there are as long as the store hasn't said.
        degraded, restored: Told of an outage once the origin's attempts notice it; see the events.
    """

    def __init__(
        self,
        name: str,
        store: SharedStore,
        *,
        processes: int,
        now: Callable[[], float],
        degraded: Callable[[int, str], None],
        restored: Callable[[float], None],
    ) -> None:
        self.name = name
        self.store = store
        self.now = now
        self.processes = processes
        self._counted_at: float | None = None
        self._degraded = degraded
        self._restored = restored
        self._is_told = False

    def count(self, now: float, processes: int) -> None:
        """The store says how many *processes* there are; one that was restarted has seen few yet."""
        if self._counted_at is None or processes >= self.processes or now - self._counted_at > FORGET:
            self.processes, self._counted_at = processes, now

    def tell(self) -> None:
        """Tell that the store is away, or is back, unless that was told."""
        outage = self.store.outage
        if outage.is_on == self._is_told:
            return
        self._is_told = outage.is_on
        if outage.is_on:
            self._degraded(self.processes, outage.reason)
        else:
            self._restored(outage.lasted)

    async def ask(self, question: Callable[[], Awaitable[T]], late: Callable[[], None] | None) -> tuple[T | None, bool]:
        """
        Ask the store a *question*, and note whether it is away.

        Args:
            late: Called when `PATIENCE` is over and there is no answer: attempts no longer wait for it. None if another
                question tells whether the store is away.
        Returns:
            The answer, None if there is none; and whether it came in time.
        """
        outage = self.store.outage

        def is_late() -> None:
            if late is None:
                return
            if outage.failed(self.now(), f"no answer within {PATIENCE * 1000:g} ms"):
                self.store.wake()
            self.tell()
            late()

        patience = Patience(is_late)
        answer, reason = None, ""
        try:
            async with asyncio.timeout(GIVE_UP):
                answer = await question()
        except Exception as error:  # noqa: BLE001  # whatever is wrong with a store, there is the fallback
            reason = f"{type(error).__name__}: {error}".removesuffix(": ")
        finally:
            patience.end()
        if patience.is_over:
            return answer, False
        now = self.now()
        if outage.failed(now, reason) if answer is None else outage.answered(now):
            self.store.wake()
        return answer, answer is not None


def public(part: Hashable) -> str:
    """A name for a part of a gate that is the same in each process, and doesn't tell what the part is."""
    return "" if part is None else hashlib.blake2s(repr(part).encode(), digest_size=12).hexdigest()


class Patience:
    """
    A timer that calls *over* after `PATIENCE`.

    It counts in slices, so that what this process is late, because it is busy, isn't the store's fault: its answer
    may be there, unread.
    """

    def __init__(self, over: Callable[[], None]) -> None:
        self.is_over = False
        self._over = over
        self._loop = asyncio.get_running_loop()
        self._left = PATIENCE
        self._timer = self._loop.call_later(SLICE, self._ring)

    def end(self) -> None:
        self._timer.cancel()

    def _ring(self) -> None:
        self._left -= SLICE
        if self._left > SLICE / 2:
            self._timer = self._loop.call_later(SLICE, self._ring)
            return
        self.is_over = True
        self._over()
