"""What is written to a disk: have the disk hold it, whatever becomes of the caller."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

__all__ = ["sync", "sync_folder", "to_the_end"]

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


def sync(path: Path) -> None:
    """Have the disk hold what was written to *path*; in a thread, so it opens the file anew, which may be closed."""
    _sync(os.open(path, os.O_RDWR))


def sync_folder(folder: Path) -> None:
    """Have the disk hold the names in *folder*, where the system can."""
    if os.name != "nt":
        _sync(os.open(folder, os.O_RDONLY))


def _sync(descriptor: int) -> None:
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
