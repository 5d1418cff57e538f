"""`Dispatch`: all URLs of a list, once each, fetched by workers on any number of machines."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections import deque
from collections.abc import AsyncIterable, Callable, Mapping
from functools import partial
from typing import Final, Protocol, TypeVar

from .durable import to_the_end
from .fetcher import failed, not_a_url
from .folder import INDEX
from .journal import Batch, Journal
from .keeper import lost
from .page import Page, page_of
from .parcel import BUCKETS, Parcel, Parcels, bucket_of
from .planted import opened, refuse_links
from .progress import Progress
from .sinks import Sink
from .target import Entry, Refused, Target

__all__ = ["Dispatch", "Post", "PostAway"]

T = TypeVar("T")

AT_HAND: Final = 100_000  # URLs that are read ahead, because a list may be sorted by host; some 25 MB
TICK: Final = 0.2  # seconds between two looks at what workers have done
TEND: Final = 2.0  # seconds between two looks at what the post has
APPENDED: Final = 32 * 1024**2  # bytes of rows in memory
UNREADABLE: Final = "what a worker wrote of its parcel can't be read: does each machine have the same release?"
AT_ONCE: Final = 1_000  # lines after which others get a turn of the loop


class PostAway(Exception):
    """The queue doesn't answer; parcels wait until it does."""


class Post(Protocol):
    """What carries the names of parcels to workers. It may lose and double them, for the folder has the truth."""

    async def send(self, name: str, bucket: int) -> None:
        """
        Raises:
            PostAway: It isn't sent.
        """

    async def tend(self, out: int) -> bool:
        """
        Have workers look for what dead ones had. Returns whether anything is on its way or at a worker.

        Args:
            out: How many parcels are sent and not done.
        Raises:
            PostAway: Nobody knows.
        """

    async def given_up(self) -> Mapping[str, str]:
        """
        The parcels that no worker can do, which are on their way no longer, each with the reason.

        Raises:
            PostAway: Nobody knows.
        """


class Dispatch:
    """
    Cuts *entries* into parcels, has them fetched, and puts their pages into *sink* and *journal*, as `Job` does.

    A bucket of hosts has one parcel out at a time, which is the whole of the scheduling: so a host is asked by one
    worker at a time, however many there are, and what waits at the queue is bounded.

    Attributes:
        progress: How far it is.
        said: What is wrong with the queue; empty if nothing is.
    """

    def __init__(
        self,
        entries: AsyncIterable[Entry],
        post: Post,
        journal: Journal,
        sink: Sink,
        parcels: Parcels,
        *,
        size: int = 500,
    ) -> None:
        self.progress = Progress()
        self.said = ""
        self._entries = entries
        self._post = post
        self._journal = journal
        self._sink = sink
        self._parcels = parcels
        self._size = size
        self._waiting: list[deque[Target]] = [deque() for _ in range(BUCKETS)]
        self._count = 0
        self._room = asyncio.Event()
        self._out: dict[str, Parcel] = {}
        self._unsent: list[Parcel] = []
        self._refused: list[Page] = []
        self._given_up: dict[str, str] = {}

    async def run(self) -> None:
        """
        Do what isn't done yet. When it is cancelled, workers end what they have, for the next run to take.

        Raises:
            OutputLost: The output can't be written, or its journal read; what was kept before it is kept.
        """
        try:
            await self._do()
        except sqlite3.Error as error:
            raise lost(error) from error

    async def _do(self) -> None:
        await _durably(lambda: self._journal.complete(is_complete=False))
        self._recover()
        reading = asyncio.create_task(self._read())
        tending = asyncio.create_task(self._tend())
        try:
            while True:
                has_read = reading.done()
                await self._keep_refused()
                for name in self._parcels.done() & self._out.keys():
                    await self._keep(self._out[name])
                for name in self._given_up.keys() & self._out.keys():
                    await self._fail(self._out[name], self._given_up.pop(name))
                await self._cut()
                await self._send()
                if tending.done():
                    tending.result()
                if has_read and not self._out and not self._count and not self._refused:
                    break
                await asyncio.sleep(TICK)
        finally:
            reading.cancel()
            tending.cancel()
            await asyncio.wait((reading, tending))
        reading.result()
        await _durably(lambda: self._journal.complete(is_complete=True))
        self._parcels.clear()

    def _recover(self) -> None:
        """What an earlier run had sent is still out, and a worker may have done it meanwhile; none of it is noted."""
        for parcel in self._parcels.left():
            for entry in parcel.entries:
                self._journal.admit(entry.key)
                self._begin(entry)
            self._out[parcel.name] = parcel
            self._unsent.append(parcel)

    async def _read(self) -> None:
        number = 0
        async for entry in self._entries:
            number += 1
            if not self._journal.admit(entry.key):
                self.progress.known += 1
            elif isinstance(entry, Refused):
                self.progress.pulled += 1
                self.progress.begin(entry.origin)
                self._refused.append(not_a_url(entry))
            else:
                self._begin(entry)
                self._put(entry)
            while self._count + len(self._refused) >= AT_HAND:
                self._room.clear()
                await self._room.wait()
            if not number % AT_ONCE:
                await asyncio.sleep(0)

    def _begin(self, entry: Target) -> None:
        self.progress.pulled += 1
        self.progress.begin(entry.origin)

    def _put(self, entry: Target) -> None:
        self._waiting[bucket_of(entry.origin)].append(entry)
        self._count += 1

    async def _cut(self) -> None:
        """A bucket without a parcel gets one of the URLs that are there, so that a slow list holds nothing up."""
        idle = set(range(BUCKETS)) - {parcel.bucket for parcel in self._out.values()}
        for bucket in sorted(idle):
            if queue := self._waiting[bucket]:
                parcel = Parcel.of(bucket, [queue.popleft() for _ in range(min(self._size, len(queue)))])
                self._count -= len(parcel.entries)
                await _durably(partial(self._parcels.put, parcel))
                self._out[parcel.name] = parcel
                self._unsent.append(parcel)
        if self._count + len(self._refused) < AT_HAND:
            self._room.set()

    async def _send(self) -> None:
        while self._unsent:
            parcel = self._unsent[0]
            try:
                await self._post.send(parcel.name, parcel.bucket)
            except PostAway as error:
                self.said = str(error)
                return
            self.said = ""
            self._unsent.pop(0)

    async def _tend(self) -> None:
        while True:
            await asyncio.sleep(TEND)
            before = tuple(self._out.values())
            if not before or self._unsent:
                continue
            try:
                is_on_its_way = await self._post.tend(len(before))
                given_up = await self._post.given_up()
                self._given_up = {parcel.name: given_up[parcel.name] for parcel in before if parcel.name in given_up}
                if not is_on_its_way:
                    gone = self._parcels.done() | self._given_up.keys()
                    self._unsent += [each for each in before if each.name in self._out and each.name not in gone]
                self.said = ""
            except PostAway as error:
                self.said = str(error)

    async def _keep_refused(self) -> None:
        pages, self._refused = self._refused, []
        if not pages:
            return
        await self._keep_failed(pages)
        for page in pages:
            self.progress.end("", page)  # the origin of what is refused

    async def _keep_failed(self, pages: list[Page]) -> None:
        """Pages without bodies, which the sender has made itself."""
        batch = Batch.of(pages)
        await _durably(lambda: self._journal.write(batch, mark=self._sink.write(pages)))
        self._journal.written(batch)

    async def _fail(self, parcel: Parcel, reason: str) -> None:
        """The URLs of a parcel that no worker can do have failed."""
        pages = [failed(entry.url, entry.key, "ParcelFailed", reason) for entry in parcel.entries]
        await self._keep_failed(pages)
        await _durably(partial(self._parcels.remove, parcel.name))
        self._forget(parcel)
        for entry, page in zip(parcel.entries, pages, strict=True):
            self.progress.end(entry.origin, page)

    async def _keep(self, parcel: Parcel) -> None:
        """Put the pages of a parcel into the output; URLs that a worker gave back wait for the next parcel."""

        def keep() -> tuple[list[Page], Batch, int]:
            pages, mark, size = self._append(parcel)
            batch = Batch.of(pages)
            self._journal.write(batch, mark=mark)
            self._settle(parcel)
            return pages, batch, size

        pages, batch, size = await _durably(keep)
        self._journal.written(batch)
        self._forget(parcel)
        self.progress.bytes += size
        by_key = {page.key: page for page in pages}
        for entry in parcel.entries:
            if (page := by_key.get(entry.key)) is None:
                self._waiting[parcel.bucket].appendleft(entry)
                self._count += 1
            else:
                self.progress.end(entry.origin, page)

    def _forget(self, parcel: Parcel) -> None:
        del self._out[parcel.name]
        self._unsent = [each for each in self._unsent if each is not parcel]

    def _append(self, parcel: Parcel) -> tuple[list[Page], int, int]:
        """
        The pages, the mark after the last one, and how many bytes they have.

        A row that can't be read, or isn't of this parcel, is left out, because one row must not end a job; then URLs
        without a row have failed.
        """
        pages: list[Page] = []
        rows: list[bytes] = []
        size = pending = 0
        folder, wanted, is_whole = self._parcels.pages(parcel.name), {entry.key for entry in parcel.entries}, True
        refuse_links(folder)
        with os.fdopen(opened(folder / INDEX, os.O_RDONLY), "rb") as file:
            for row in file:
                page = _read(row)
                if page is None or page.key not in wanted:
                    is_whole = False
                    continue
                wanted.remove(page.key)
                pages.append(page)
                rows.append(row)
                pending += len(row)
                if pending >= APPENDED:
                    self._sink.append(rows)
                    size, pending, rows = size + pending, 0, []
        mark = self._sink.append(rows)
        if wanted and not is_whole:
            left = [each for each in parcel.entries if each.key in wanted]
            broken = [failed(each.url, each.key, "ParcelFailed", UNREADABLE) for each in left]
            mark = self._sink.write(broken)
            pages += broken
        return pages, mark, size + pending

    def _settle(self, parcel: Parcel) -> None:
        self._sink.adopt(self._parcels.pages(parcel.name))
        self._parcels.remove(parcel.name)


def _read(row: bytes) -> Page | None:
    """The page; None if a worker of another release wrote the row, say."""
    try:
        return page_of(row) if row.endswith(b"\n") else None
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return None


async def _durably(write: Callable[[], T]) -> T:
    """
    Raises:
        OutputLost: It couldn't be written.
    """
    try:
        return await to_the_end(write)
    except (OSError, sqlite3.Error) as error:
        raise lost(error) from error
