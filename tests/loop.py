"""An event loop for tests on real sockets, whose clock stands still while a busy machine lets the process wait."""

from __future__ import annotations

import asyncio
import selectors
import time

__all__ = ["PatientLoop"]

WAIT = 0.005  # s, of one look at the sockets
CREDIT = 0.01  # s, that the clock goes on in one round at most


class PatientLoop(asyncio.SelectorEventLoop):
    """
    Time limits strike here when as much time passed *and was had*: no round of the loop counts for more than 10 ms.

    So a server in the same loop is never late, and one in another process has had as many turns as its client. What a
    test measures with ``loop.time()`` is never more than what really passed.
    """

    def __init__(self) -> None:
        self._now = self._at = time.monotonic()
        super().__init__(_Selector(self))

    def time(self) -> float:
        return self._now + min(time.monotonic() - self._at, CREDIT)

    def tick(self) -> None:
        """A round is over."""
        self._now, self._at = self.time(), time.monotonic()


class _Selector(selectors.DefaultSelector):
    """Waits for no longer than the loop's clock may go on."""

    def __init__(self, loop: PatientLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self._loop.tick()
        return super().select(WAIT if timeout is None else min(timeout, WAIT))
