"""`patiently`: wait for what mustn't stop halfway."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

__all__ = ["patiently"]

Result = TypeVar("Result")


async def patiently(work: Awaitable[Result]) -> Result:
    """The result of *work*. A cancelled caller waits for it first, so that it knows what to undo."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # the caller has its cancellation, and nobody else would look
        raise
