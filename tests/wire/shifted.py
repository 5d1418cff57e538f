"""A client's clock, put forward by hand while sockets stay real."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

__all__ = ["Shifted"]


class Shifted:
    """
    The loop's clock, put forward: TTLs end without anybody waiting.

    Attributes:
        ahead: Seconds.
    """

    def __init__(self) -> None:
        self.ahead = 0.0
        self._stopped_at: float | None = None

    def now(self) -> float:
        return (asyncio.get_running_loop().time() if self._stopped_at is None else self._stopped_at) + self.ahead

    def on(self, loop: asyncio.AbstractEventLoop) -> Callable[[], float]:
        return self.now

    def stop(self) -> None:
        """From now on only *ahead* moves it: a call may take as long as a busy machine wants."""
        self._stopped_at = asyncio.get_running_loop().time()
