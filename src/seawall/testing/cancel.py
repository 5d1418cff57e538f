"""Cancel a coroutine at every point where it can be cancelled."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine
from typing import Any, Final

from .whereabouts import whereabouts

__all__ = ["cancel_everywhere"]

GRACE: Final = 60.0  # s of the loop's clock; what ends cleanly, a drain say, takes less


async def cancel_everywhere(
    start: Callable[[], Coroutine[Any, Any, Any]],
    *,
    before: Callable[[], Any] | None = None,
    after: Callable[[], Any] | None = None,
    max_points: int = 10_000,
) -> int:
    """
    Cancel a coroutine at each of its awaits.

    The first run of ``start()`` is cancelled after 0 rounds of the event loop, the next after 1, then 2, and so on,
    until a run ends before its cancellation.

    A cancelled run must leave nothing behind: assert that in *after*. On a `VirtualLoop` every run has the same points;
    with sockets, roughly the same. A round in which the coroutine only waits is a point too, and a wait of seconds on
    a real clock has hundreds of thousands of them, so don't make it wait.

    Args:
        before: Called before each run, for example to leave an idle connection; may be async.
        after: Called after each run that was cancelled; may be async.

    Returns:
        The number of points. Assert a lower bound, because 0 means that nothing was cancelled.

    Raises:
        AssertionError: A run went on although it was cancelled, for 60 s or to another end; or it didn't end within
            *max_points*.
        Exception: What ``start()`` raises when it is left alone, and what *before* and *after* raise.

    **Cancellation:** also ends the run that is in flight.
    """
    if isinstance(max_points, bool) or not isinstance(max_points, int) or max_points < 1:
        raise ValueError(f"max_points must be a whole number >= 1, not {max_points!r}")
    for point in range(max_points):
        await _call(before)
        task = asyncio.create_task(start())
        try:
            for _ in range(point):
                await asyncio.sleep(0)
            if task.done():
                await task
                return point
            place = whereabouts(task)
        finally:
            task.cancel()
        await asyncio.wait([task], timeout=GRACE)
        if not task.done():
            raise AssertionError(
                f"cancelled at point {point}, {place}, it went on for {GRACE:g} s: {whereabouts(task)}"
            )
        if not task.cancelled():
            how = "returned" if task.exception() is None else f"raised {task.exception()!r}"
            raise AssertionError(f"cancelled at point {point}, {place}, it {how}") from task.exception()
        await _call(after)
    raise AssertionError(f"it did not end within {max_points} rounds of the event loop")


async def _call(function: Callable[[], Any] | None) -> None:
    result = function() if function else None
    if inspect.isawaitable(result):
        await result
