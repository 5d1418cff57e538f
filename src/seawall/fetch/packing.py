"""`pack`: a worker's part: the pages of a parcel, fetched and laid where the sender finds them."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from contextlib import aclosing
from functools import partial
from typing import Final

from .durable import to_the_end
from .fetcher import Fetcher, pages
from .folder import INDEX, Folder
from .page import Page
from .parcel import Parcel, Parcels
from .rows import Rows
from .sinks import Sink

__all__ = ["pack"]

MAX_PAGES: Final = 100  # in memory
MAX_BYTES: Final = 8 * 1024**2  # of bodies in memory


async def pack(
    parcel: Parcel, fetcher: Fetcher, parcels: Parcels, stop: asyncio.Event, *, concurrency: int, files: bool
) -> None:
    """
    Fetch the parcel, and return once the disk has its pages. When it is cancelled, it leaves nothing.

    Args:
        stop: Once it is set, what is in flight is given up, and the pages that there are make do: the sender puts the
            other URLs into another parcel.
        concurrency: URLs in flight at once.
        files: Whether each good page is a file of its own.
    Raises:
        OSError: The pages can't be written.
    """
    folder = parcels.begin(parcel.name)
    sink: Sink = Folder(folder) if files else Rows(folder / INDEX)
    try:
        sink.recover(0, lambda _: False)
        with contextlib.closing(sink):
            working = asyncio.create_task(_work(parcel, fetcher, sink, concurrency))
            stopping = asyncio.create_task(stop.wait())
            try:
                await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
            finally:
                working.cancel()
                stopping.cancel()
                await asyncio.wait((working, stopping))
                error = None if working.cancelled() else working.exception()
            if error is not None:
                raise error
        await to_the_end(partial(parcels.end, parcel.name, folder))
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


async def _work(parcel: Parcel, fetcher: Fetcher, sink: Sink, concurrency: int) -> None:
    held: list[Page] = []
    size = 0
    try:
        async with aclosing(pages(parcel.entries, fetcher.fetch, concurrency=concurrency)) as found:
            async for page in found:
                held.append(page)
                size += len(page.body)
                if len(held) >= MAX_PAGES or size >= MAX_BYTES:
                    batch, held, size = held, [], 0
                    await to_the_end(partial(sink.write, batch))
    finally:
        await to_the_end(partial(sink.write, held))
