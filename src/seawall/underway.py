"""What a client has under way: on one event loop, each with its timer, and ended together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from .clock import Clock
from .hop import Hop
from .timer import Timers

__all__ = ["Underway"]


class Underway:
    """
    The hops of a client's calls.

    Attributes:
        is_closed: `aclose` was called: nothing more is begun.
    """

    close_timeout = 1.0  # s

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._now = clock.now
        self._loop: asyncio.AbstractEventLoop | None = None
        self._hops: set[Hop] = set()
        self._drained: asyncio.Future[None] | None = None
        self.timers = Timers()
        self.is_closed = False

    def __len__(self) -> int:
        return len(self._hops)

    def on_loop(self) -> Callable[[], float]:
        """
        The clock of the loop that runs here.

        Raises:
            RuntimeError: There is none, or it is another than before.
        """
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise RuntimeError(
                "seawall runs on asyncio, and no asyncio event loop is running here (under trio, use httpx itself)"
            ) from None
        if self._loop is not loop:
            if self._loop is not None:
                raise RuntimeError(
                    "this seawall client belongs to another event loop: make one client per loop "
                    "(with asyncio.run, make it inside)"
                )
            self._loop = self.timers.loop = loop
            self._now = self._clock.on(loop)
        return self._now

    def add(self, hop: Hop) -> None:
        self._hops.add(hop)

    def discard(self, hop: Hop) -> None:
        self._hops.discard(hop)
        if self._drained is not None and not self._hops and not self._drained.done():
            self._drained.set_result(None)

    async def aclose(self) -> None:
        """
        End every call with ClientClosed; takes at most `close_timeout` s.

        **Cancellation:** calls end all the same.
        """
        self.is_closed = True
        for hop in self._hops:
            hop.timer.reschedule(0.0)  # long past
        if self._hops:
            self._drained = self._drained or asyncio.get_running_loop().create_future()
            await asyncio.wait([self._drained], timeout=self.close_timeout)
