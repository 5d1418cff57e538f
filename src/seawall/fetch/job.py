"""`Job`: all URLs of a list, once each, however often the process is ended and begun again."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import aclosing
from typing import Final

from .fetcher import Fetcher, pages
from .journal import Journal
from .keeper import Keeper, OutputLost
from .page import Page
from .progress import Progress
from .sinks import Sink
from .target import Entry

__all__ = ["Job"]

PASSED_OVER: Final = 1_000  # entries after which others get a turn of the loop


class Job:
    """
    Fetches *entries* with *fetcher*, and keeps the pages in *sink* and *journal*.

    Attributes:
        progress: How far it is.
    """

    def __init__(
        self, entries: AsyncIterable[Entry], fetcher: Fetcher, journal: Journal, sink: Sink, *, concurrency: int = 100
    ) -> None:
        self.progress = Progress()
        self._entries = entries
        self._fetcher = fetcher
        self._journal = journal
        self._keeper = Keeper(journal, sink)
        self._concurrency = concurrency

    async def run(self) -> None:
        """
        Do what isn't done yet. When it is cancelled, what was in flight is given up, and what had ended is kept.

        Raises:
            OutputLost: The output can't be written; what was kept before it is kept.
        """
        self._mark(is_complete=False)
        lost: OutputLost | None = None
        try:
            async with asyncio.TaskGroup() as group:
                regularly = group.create_task(self._keeper.keep_regularly())
                try:
                    await self._do()
                finally:
                    regularly.cancel()
        except* OutputLost as errors:
            lost = _first(errors)  # raised below, because Python before 3.11.4 would put it into a group here
        finally:
            await self._keeper.flush()
        if lost is not None:
            try:
                raise lost from None
            finally:
                del lost  # it holds this frame
        self._mark(is_complete=True)

    def _mark(self, *, is_complete: bool) -> None:
        try:
            self._journal.complete(is_complete=is_complete)
        except sqlite3.Error as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: sqlite3.Error) -> OutputLost:
        return OutputLost(f"{self._journal.path}: {error}")

    async def _do(self) -> None:
        async with aclosing(pages(self._new(), self._fetch, concurrency=self._concurrency)) as found:
            async for page in found:
                await self._keeper.keep(page)

    async def _new(self) -> AsyncIterator[Entry]:
        async for entry in self._entries:
            try:
                is_new = self._journal.admit(entry.key)
            except sqlite3.Error as error:
                raise self._unreadable(error) from error
            if is_new:
                self.progress.pulled += 1
                yield entry
                continue
            self.progress.known += 1
            if not self.progress.known % PASSED_OVER:
                await asyncio.sleep(0)

    async def _fetch(self, entry: Entry) -> Page:
        page = None
        self.progress.begin(entry.origin)
        try:
            page = await self._fetcher.fetch(entry)
        finally:
            self.progress.end(entry.origin, page)
        return page


def _first(errors: BaseExceptionGroup[OutputLost]) -> OutputLost:
    """The first of *errors*, however deep."""
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, OutputLost)
    return error
