"""`to_the_end`: what is written to a disk, whatever becomes of the caller."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

__all__ = ["to_the_end"]

T = TypeVar("T")


async def to_the_end(write: Callable[[], T]) -> T:
    """What *write* returns, which runs in a thread to its end, also when the caller is cancelled."""
    writing = asyncio.ensure_future(asyncio.to_thread(write))
    try:
        return await asyncio.shield(writing)
    except asyncio.CancelledError:
        await asyncio.wait([writing])
        if not writing.cancelled():
            writing.exception()  # or asyncio complains that nobody looked at it
        raise
