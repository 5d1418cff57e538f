"""Time, as everything here sees it: the event loop's. The only module that asks the loop for it."""

from __future__ import annotations

import asyncio
from asyncio import get_running_loop
from collections.abc import Callable

__all__ = ["Clock"]


class Clock:
    """
    Monotonic seconds and sleeping.

    It is the loop's clock and not ``time.monotonic``, so a loop with virtual time (see
    ``seawall.testing.VirtualLoop``) makes every timeout, delay and TTL of a client virtual at once.
    """

    __slots__ = ()

    def now(self) -> float:
        """The instant, s; comparable only with other instants of the same event loop."""
        return get_running_loop().time()

    def on(self, loop: asyncio.AbstractEventLoop) -> Callable[[], float]:
        """`now`, for who knows the loop that runs and need not have it looked up."""
        return loop.time if type(self).now is Clock.now else self.now

    async def sleep(self, delay: float) -> None:
        """Wait *delay* s. **Cancellation:** ends the wait; nothing is left behind."""
        await asyncio.sleep(delay)
