"""`patiently`: wait for what mustn't stop halfway."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

__all__ = ["patiently"]

Result = TypeVar("Result")


async def patiently(work: Awaitable[Result]) -> Result:
    """
    The result of *work*. A cancelled caller waits for it first, so that it knows what to undo.

    One that is cancelled a second time waits no longer, but the work goes on.
    """
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        task.add_done_callback(_look)
        await asyncio.wait([task])
        raise


def _look(task: asyncio.Future[Any]) -> None:
    """Take its error, because the caller has its cancellation, and nobody else would look."""
    if not task.cancelled():
        task.exception()
