"""`Keeper`: pages on their way to the disk, some hundred at a time."""

from __future__ import annotations

import asyncio
import sqlite3
from typing import Final

from .journal import Batch, Journal
from .page import Page
from .sinks import Sink

__all__ = ["Keeper", "OutputLost", "lost"]

MAX_PAGES: Final = 500
MAX_BYTES: Final = 32 * 1024**2  # of bodies
INTERVAL: Final = 1.0  # seconds


class OutputLost(Exception):
    """The output can't be written, because the disk is full, say. What was kept before stays kept."""


def lost(error: OSError | sqlite3.Error) -> OutputLost:
    """What is said of an output that *error* keeps from being written."""
    said = error.strerror if isinstance(error, OSError) else str(error)
    where = f"{error.filename}: " if isinstance(error, OSError) and error.filename else ""
    return OutputLost(f"{where}{said}")


class Keeper:
    """Writes the output and then the journal, in a thread, every 500 pages, 32 MiB or second."""

    def __init__(self, journal: Journal, sink: Sink) -> None:
        self._journal = journal
        self._sink = sink
        self._pages: list[Page] = []
        self._size = 0
        self._lock = asyncio.Lock()
        self._is_lost = False

    async def keep(self, page: Page) -> None:
        """
        Take *page*; return once there is room for another one.

        Raises:
            OutputLost: A batch couldn't be written.
        """
        self._pages.append(page)
        self._journal.note(page)
        self._size += len(page.body)
        if len(self._pages) >= MAX_PAGES or self._size >= MAX_BYTES:
            await self.flush()

    async def keep_regularly(self) -> None:
        """
        Write each second what is there, until it is cancelled.

        Raises:
            OutputLost: A batch couldn't be written.
        """
        while True:
            await asyncio.sleep(INTERVAL)
            await self.flush()

    async def flush(self) -> None:
        """
        Write what is there. A batch that is being written is written to its end, also when the caller is cancelled.

        Raises:
            OutputLost: It couldn't be written, or one before it.
        """
        async with self._lock:
            if not self._pages or self._is_lost:
                return
            pages, self._pages, self._size = self._pages, [], 0
            batch = self._journal.cut()
            writing = asyncio.ensure_future(asyncio.to_thread(self._write, pages, batch))
            try:
                await asyncio.shield(writing)
            except asyncio.CancelledError:
                await asyncio.wait([writing])
                self._end(writing, batch)
                raise
            except (OSError, sqlite3.Error):
                pass  # it is the future's
            self._end(writing, batch)

    def _end(self, writing: asyncio.Future[None], batch: Batch) -> None:
        error = writing.exception()
        if error is None:
            self._journal.written(batch)
            return
        self._is_lost = True
        if not isinstance(error, OSError | sqlite3.Error):
            raise error
        raise lost(error) from error

    def _write(self, pages: list[Page], batch: Batch) -> None:
        mark = self._sink.write(pages)
        self._journal.write(batch, mark=mark)
        self._sink.settle(pages)
