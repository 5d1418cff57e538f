"""
The prober: it dials an origin that is away, until that takes a connection or nobody wants it any more.

Rules: one prober for each origin. It runs in a task with a context of its own, because it serves many callers. When to
dial is decided by the gate at which they wait; the connection goes to the pool, where the first of them finds it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, Final, Protocol, TypeAlias

from ..careful import Careful
from ..errors import DialError
from ..origin import Origin
from .pool import Pool

__all__ = ["DIAL_TIMEOUT", "Probers"]

logger = Careful("seawall.pool")

Dial: TypeAlias = Callable[[Origin], Coroutine[Any, Any, DialError | None]]

DIAL_TIMEOUT: Final = 1.0  # s for one dial; an origin that says nothing isn't back


class Away(Protocol):
    """The gate of an origin that is away; see `seawall.policy.ready`."""

    next_at: float | None

    @property
    def is_wanted(self) -> bool: ...

    def dialled(self) -> float | None: ...

    def connected(self) -> float: ...

    def settled(self) -> None: ...


class Probers:
    """
    Those of a client.

    Args:
        dial: Opens a connection to an origin and leaves it in the pool; returns how the origin refused, or that it said
            nothing. None also if calls must find out themselves what is wrong.
        now: Loop time.
    """

    def __init__(self, pool: Pool, dial: Dial, *, now: Callable[[], float]) -> None:
        self._pool = pool
        self._dial = dial
        self._now = now
        self._tasks: dict[Origin, asyncio.Task[None]] = {}
        self._asking: dict[Origin, asyncio.Task[None]] = {}

    def __len__(self) -> int:
        return len(self._tasks) + len(self._asking)

    def start(self, origin: Origin, away: Away) -> None:
        """Dial *origin* at `Away.next_at`, and on; a prober that runs for it already is ended."""
        if (running := self._tasks.get(origin)) is not None:
            running.cancel()
        probing = self._probe(origin, away)
        task = asyncio.get_running_loop().create_task(probing, name=f"seawall prober of {origin}", context=Context())
        self._tasks[origin] = task
        task.add_done_callback(lambda done: self._ended(origin, done))

    def ask(self, origin: Origin, refused: Callable[[DialError], None]) -> asyncio.Future[None]:
        """Dial once, for all callers that ask at the same time; *refused* is called if the origin refuses."""
        task = self._asking.get(origin)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._ask(origin, refused), context=Context())
            self._asking[origin] = task
            task.add_done_callback(lambda _: self._asking.pop(origin))
        return task

    def has_room(self, origin: Origin) -> bool:
        """Whether an open connection takes a request at once."""
        return self._pool.has_room(origin)

    def stop(self) -> list[asyncio.Task[None]]:
        """End them all; returns those that aren't over yet."""
        tasks: list[asyncio.Task[None]] = [*self._tasks.values(), *self._asking.values()]
        for task in tasks:
            task.cancel()
        return tasks

    async def aclose(self) -> None:
        """End them all, and wait for that."""
        if tasks := self.stop():
            await asyncio.wait(tasks)

    async def _probe(self, origin: Origin, away: Away) -> None:
        assert away.next_at is not None
        delay: float | None = max(0.0, away.next_at - self._now())
        while delay is not None:
            await asyncio.sleep(delay)
            if away.is_wanted and await self._is_there(origin):
                await asyncio.sleep(away.connected())
                away.settled()
                return
            delay = away.dialled()

    async def _is_there(self, origin: Origin) -> bool:
        try:
            return self._pool.has_room(origin) or await self._dial(origin) is None
        except Exception:
            logger.exception("the prober of %s failed", origin)
            return True  # or calls would wait for a prober that has ended

    async def _ask(self, origin: Origin, refused: Callable[[DialError], None]) -> None:
        error = None if self._pool.has_room(origin) else await self._dial(origin)
        if error is not None and error.is_refused:
            refused(error)

    def _ended(self, origin: Origin, task: asyncio.Task[None]) -> None:
        if self._tasks.get(origin) is task:
            del self._tasks[origin]
