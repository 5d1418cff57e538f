"""The bytes of a source as they come: a pipe's, and those that gzip has packed."""

from __future__ import annotations

import asyncio
import os
import threading
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeAlias

__all__ = ["CHUNK", "Chunks", "begun", "bounded", "piped", "unpacked", "within"]

CHUNK: Final = 65_536  # bytes
GZIP: Final = b"\x1f\x8b"

Chunks: TypeAlias = AsyncIterator[bytes]


async def unpacked(chunks: Chunks) -> Chunks:
    """
    The bytes in gzip's coding, if they begin as that does, else as they are; in pieces that stay small.

    Raises:
        zlib.error, EOFError: They are broken, or break off.
    """
    data = await begun(chunks, lambda head: len(head) >= len(GZIP))
    if not data.startswith(GZIP):
        yield data
        async for data in chunks:
            yield data
        return
    stream, is_begun = zlib.decompressobj(wbits=31), False
    while True:
        is_full = False
        while data or is_full:
            piece = stream.decompress(data, CHUNK)
            yield piece
            data, is_begun, is_full = stream.unconsumed_tail, True, len(piece) == CHUNK
            if stream.eof:  # gzip allows another member after it
                data, stream, is_begun, is_full = stream.unused_data, zlib.decompressobj(wbits=31), False, False
        more = await anext(chunks, None)
        if more is None:
            break
        data = more
    if is_begun:
        raise EOFError("its gzip breaks off")


async def begun(chunks: Chunks, is_enough: Callable[[bytes], bool]) -> bytes:
    """
    The first bytes, as many as *is_enough* asks for, because a piece may be as short as a network makes it.

    Fewer where the source ends, or after `CHUNK` bytes.
    """
    head = b""
    while not is_enough(head) and len(head) < CHUNK and (data := await anext(chunks, None)) is not None:
        head += data
    return head


async def bounded(chunks: Chunks, size: int) -> Chunks:
    """
    Raises:
        EOFError: There are more than *size* bytes.
    """
    left = size
    async for data in chunks:
        left -= len(data)
        if left < 0:
            raise EOFError(f"it is larger than {size // 1024**2} MiB, unpacked")
        yield data


async def within(chunks: Chunks, seconds: float) -> Chunks:
    """
    The bytes, if waiting for them takes no longer than that, however they trickle; the reader's own time doesn't count.

    Raises:
        TimeoutError: It takes longer.
    """
    loop, left = asyncio.get_running_loop(), seconds
    while True:
        began_at = loop.time()
        try:
            async with asyncio.timeout(left):
                data = await anext(chunks, None)
        except TimeoutError:
            raise TimeoutError(f"it takes longer than {seconds:g} s") from None
        left -= loop.time() - began_at
        if data is None:
            return
        yield data


async def piped(source: int | Path) -> Chunks:
    """
    What a pipe or a terminal has, as it comes. A thread reads it, one piece at a time; it is a daemon, because a read
    can't be interrupted, and must not keep the process from ending; so it takes no lock of a buffer, either.

    Args:
        source: A descriptor, or a named pipe's path. The thread opens that, because it lasts until somebody writes.
    """
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[bytes | OSError] = asyncio.Queue()
    turn = threading.Semaphore(1)
    is_left = False

    def pump() -> None:
        descriptor, data = -1, b"-"
        try:
            descriptor = os.open(source, os.O_RDONLY) if isinstance(source, Path) else source
            while data and turn.acquire() and not is_left:
                data = os.read(descriptor, CHUNK)
                loop.call_soon_threadsafe(queue.put_nowait, data)
        except OSError as error:
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(queue.put_nowait, error)
        except RuntimeError:  # the loop was closed in the meantime
            pass
        finally:
            if isinstance(source, Path) and descriptor >= 0:
                os.close(descriptor)

    threading.Thread(target=pump, name="seawall-stdin", daemon=True).start()
    try:
        while data := await queue.get():
            if isinstance(data, OSError):
                raise data
            yield data
            turn.release()
    finally:
        is_left = True
        turn.release()
