"""
The time that all of seawall sees: the event loop's clock, and not ``time.monotonic``.

So a loop with virtual time (see ``seawall.testing.VirtualLoop``) makes every timeout, delay and TTL of a
client virtual. No other module asks the loop for it.
"""

from __future__ import annotations

import asyncio
from asyncio import get_running_loop
from collections.abc import Callable

__all__ = ["now", "on"]


def now() -> float:
    """The instant, in seconds; comparable only with other instants of the same event loop."""
    return get_running_loop().time()


def on(loop: asyncio.AbstractEventLoop) -> Callable[[], float]:
    """`now` for a caller that knows the running loop, so that nothing looks it up."""
    return loop.time
