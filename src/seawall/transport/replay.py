"""
Request bodies that are not in memory, and whether they can be sent again.

Rules: a body that was begun is sent again only from its very beginning: by `replayable`, or by going back to where a
file or a multipart form began. What else can be iterated twice may give less the second time, and half a body is worse
than none.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from typing import Any

import httpx

from .private import files_of, given

__all__ = ["RequestBody", "replayable"]

Parts = AsyncIterable[bytes] | Iterable[bytes]


class _Replayable:
    """What `replayable` returns."""

    def __init__(self, factory: Callable[[], Parts]) -> None:
        self._factory = factory
        self._last: Parts | None = None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        parts = self._factory()
        if parts is self._last and isinstance(parts, Iterator | AsyncIterator):
            raise TypeError(f"replayable: the function must return a new iterator each time, not {parts!r} again")
        self._last = parts
        if isinstance(parts, AsyncIterable):
            async for part in parts:
                yield part
        else:
            for part in parts:
                yield part


def replayable(factory: Callable[[], Parts]) -> AsyncIterable[bytes]:
    """
    A request body that can be sent again: *factory* is called for each attempt.

    ``client.put(url, content=seawall.replayable(lambda: read_parts(path)))``

    Args:
        factory: Returns a new iterator over the body's parts, sync or async, that begins at its beginning.
    Raises:
        TypeError: *factory* can't be called: an iterator itself is gone once it was read.
    """
    if not callable(factory):
        raise TypeError(f"replayable takes a function that returns the parts anew, not {factory!r}")
    return _Replayable(factory)


class RequestBody(httpx.AsyncByteStream):
    """
    The stream of a request whose body is not in memory, for as long as one hop takes.

    Attributes:
        original: The request's own.
        sent: Called for each part that is taken.
    """

    def __init__(self, stream: httpx.AsyncByteStream) -> None:
        self.original = stream
        self.sent: Callable[[], None] = _nothing
        self._source: Any = given(stream)
        self._is_begun = False
        self._begins_at: Any = None  # where a file was when it was first read

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self._is_begun:
            await self._rewind()
        else:
            self._begins_at = await _position(self._source)
            self._is_begun = True
        async for part in self.original:
            self.sent()
            yield part

    async def aclose(self) -> None:
        await self.original.aclose()

    def is_replayable(self) -> bool:
        """Whether it can be sent from its beginning: it was not begun, or one can go back there."""
        if not self._is_begun or isinstance(self._source, _Replayable) or self._begins_at is not None:
            return True
        files = files_of(self.original)  # httpx goes back in these by itself
        return files is not None and all(map(_is_seekable, files))

    async def _rewind(self) -> None:
        if self._begins_at is not None:
            await _result(self._source.seek(self._begins_at))


async def _position(source: Any) -> Any:
    """Where a file that can be sought is, sync or async; None: it is no such file."""
    if not all(hasattr(source, name) for name in ("seek", "tell")):
        return None
    try:
        seekable = getattr(source, "seekable", None)
        if seekable is not None and not await _result(seekable()):
            return None
        return await _result(source.tell())
    except OSError:  # io.UnsupportedOperation is one
        return None


def _is_seekable(file: Any) -> bool:
    """Of a field of a form: bytes always are."""
    if isinstance(file, str | bytes):
        return True
    try:
        return bool(file.seekable())
    except (AttributeError, OSError, ValueError):  # ValueError: it was closed
        return False


async def _result(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value


def _nothing() -> None:
    pass
