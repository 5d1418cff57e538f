"""The line at which a task waits."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import CodeType
from typing import Any

__all__ = ["whereabouts"]

LIBRARIES = {"asyncio", "anyio"}  # the line that took a lock tells more than the lock's own


def whereabouts(task: asyncio.Task[Any]) -> str:
    """
    Where a task waits: ``Task-3 at test_x.py:12 in fetch``, the innermost line outside asyncio and anyio.

    The task must not be running; a finished task has no line.
    """
    line, awaited = "", task.get_coro()
    while awaited is not None:
        frame, awaited = _step(awaited)
        if frame is not None and not (line and LIBRARIES & set(Path(frame[0].co_filename).parts)):
            line = f" at {Path(frame[0].co_filename).name}:{frame[1]} in {frame[0].co_name}"
    return f"{task.get_name()}{line}"


def _step(awaited: Any) -> tuple[tuple[CodeType, int] | None, Any]:
    """Where a coroutine or generator is, and what it awaits; (None, None) for an object without a frame."""
    for prefix, link in (("cr", "cr_await"), ("gi", "gi_yieldfrom"), ("ag", "ag_await")):
        frame = getattr(awaited, f"{prefix}_frame", None)
        if frame is not None:
            return (frame.f_code, frame.f_lineno), getattr(awaited, link)
    return None, None
