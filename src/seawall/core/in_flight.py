"""A client's calls in flight, on one event loop, each hop with its timer; they may end by themselves, or together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine
from typing import Any, Final

from ..careful import Careful
from . import clock
from .call import CURRENT, Call, Hop
from .timer import Timers

__all__ = ["InFlight"]


logger = Careful("seawall.pool")

STALE: Final = 0.05  # s after its end; then the second was that of a shared engine, which was closed before


class InFlight:
    """
    The calls of a client and their hops, and the one second in which the client is closed.

    Attributes:
        calls: Those that were begun and haven't ended; one that is streamed ends with its headers.
        hops: The hops of all calls.
        bodies: How many streamed bodies callers still hold.
        loop: The loop that the client runs on; None before its first call.
        is_draining: `drain` was called, so no call is begun any more, but those in flight go on.
        is_closed: `aclose` was called, so those in flight end too.
        on_closed: Called, without arguments, once it is closed; they must not raise.
    """

    close_timeout = 1.0  # s

    def __init__(self) -> None:
        self._now = clock.now
        self.loop: asyncio.AbstractEventLoop | None = None
        self.calls: set[Call] = set()
        self.hops: set[Hop] = set()
        self.bodies = 0
        self._idle: asyncio.Future[None] | None = None  # done once nothing is in flight
        self._drained: asyncio.Future[None] | None = None  # done once no hop is
        self._ends_at: float | None = None  # when everything must be closed
        self.timers = Timers()
        self.is_draining = self.is_closed = False
        self.on_closed: list[Callable[[], None]] = []

    def __len__(self) -> int:
        return len(self.hops)

    def on_loop(self) -> Callable[[], float]:
        """
        The clock of the running loop.

        Raises:
            RuntimeError: No loop is running, or another than before.
        """
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise RuntimeError(
                "seawall runs on asyncio, and no asyncio event loop is running here (under trio, use httpx itself)"
            ) from None
        if self.loop is not loop:
            if self.loop is not None:
                raise RuntimeError(
                    "this seawall client belongs to another event loop: make one client per loop "
                    "(with asyncio.run, make it inside)"
                )
            self.loop = self.timers.loop = loop
            self._now = clock.on(loop)
        return self._now

    def ends_unused(self) -> bool:
        """
        Close what was never used, where no asyncio event loop runs: there is nothing to wait for.

        So under trio the error of the first call, which says that seawall needs asyncio, isn't hidden by another.

        Returns:
            False: It was used, or a loop runs; nothing is closed.
        """
        if self.loop is not None or asyncio._get_running_loop() is not None:  # asyncio documents it for extensions
            return False
        self.is_draining = self.is_closed = True
        return True

    def left(self) -> None:
        """A hop has ended while the client is being closed."""
        if self._drained is not None and not self.hops and not self._drained.done():
            self._drained.set_result(None)

    def is_late(self) -> bool:
        """Whether a call that this task begins now is refused: while draining, unless a call in flight needs it."""
        return self.is_draining and CURRENT.get() not in self.calls

    def ended(self) -> None:
        """A call has ended, or a streamed body, while the client is draining."""
        if self._idle is not None and not (self.calls or self.bodies or self._idle.done()):
            self._idle.set_result(None)

    async def drain(self, timeout: float) -> None:
        """
        Begin no more calls, and wait until those in flight and all streamed bodies have ended.

        Returns at once when `aclose` is called meanwhile.

        Args:
            timeout: Seconds to wait at most.
        """
        self.is_draining = True
        if not self.is_closed and (self.calls or self.bodies):
            self._idle = self._idle or asyncio.get_running_loop().create_future()
            await asyncio.wait([self._idle], timeout=timeout)

    async def aclose(self) -> None:
        """
        End every call with ClientClosed; everything is closed at most `close_timeout` seconds from now.

        **Cancellation:** calls end anyway.
        """
        loop = asyncio.get_running_loop()
        self.is_draining = self.is_closed = True
        for tell in self.on_closed:
            tell()
        if self._idle is not None and not self._idle.done():
            self._idle.set_result(None)
        if self._ends_at is None:
            self._ends_at = loop.time() + self.close_timeout
        for hop in self.hops:
            hop.timer.reschedule(0.0)  # an instant long past
        if self.hops:
            self._drained = self._drained or loop.create_future()
            await asyncio.wait([self._drained], timeout=self._left())

    async def finish(self, tasks: Collection[asyncio.Task[None]]) -> None:
        """Wait for *tasks* as long as closing may still take, then cancel them."""
        if tasks:
            _, late = await asyncio.wait(list(tasks), timeout=self._left())
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=0)  # one turn of the loop, in which they are cancelled

    async def within(self, closing: Coroutine[Any, Any, None]) -> None:
        """Await *closing* in this task as long as closing may still take, or 1 s; then it is cancelled."""
        if self.ends_unused():
            await closing
            return
        now = asyncio.get_running_loop().time()
        ends_at = self._ends_at
        if ends_at is None or now > ends_at + STALE:
            ends_at = now + self.close_timeout
        timer = asyncio.timeout_at(ends_at)
        try:
            async with timer:
                await closing
        except TimeoutError:
            if not timer.expired():
                raise
            logger.debug("%r was cancelled, because closing took longer than %g s", closing, self.close_timeout)

    def _left(self) -> float:
        """Seconds that closing may still take."""
        assert self._ends_at is not None
        return max(0.0, self._ends_at - asyncio.get_running_loop().time())
