"""
Response bodies that own a permit, and tell how they ended.

Rules: a body tells it exactly once: when it is closed, exhausted, or fails. Garbage collection is only a backstop,
because a response holds a reference cycle, which may live long.
"""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Protocol, TypeAlias

from ..events import BodyEnd

__all__ = ["Over", "OwningBody", "Reading", "Source"]

Over: TypeAlias = Callable[[BodyEnd, Exception | None], None]
Reading: TypeAlias = Callable[[AsyncGenerator[bytes, None]], AsyncIterator[bytes]]


class Source(Protocol):
    """The source of a body: our wire's response, or another transport's stream."""

    def __aiter__(self) -> AsyncIterator[bytes]: ...

    async def aclose(self) -> None: ...


class OwningBody:
    """
    A body, and what must be done once it has ended.

    Args:
        over: Called with how the body ended and the error that it failed with; gives the permit back. None: it owns
            nothing yet.
        abandon: Closes the source without waiting, if the body was dropped.
    """

    def __init__(self, source: Source, over: Over | None, abandon: Callable[[], None]) -> None:
        self._source = source
        self._abandon = abandon
        self._over = over
        self._reading: Reading | None = None
        self._check: Callable[[int], None] | None = None
        self._loop = asyncio.get_running_loop()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._parts() if self._reading is None else self._reading(self._parts())

    async def _parts(self) -> AsyncGenerator[bytes, None]:
        received = 0
        try:
            async for part in self._source:
                received += len(part)
                if self._check is not None:
                    self._check(received)
                yield part
        except Exception as error:
            self._failed(error, received)
            raise
        except BaseException:  # its reader was cancelled, or stopped
            self._done(BodyEnd.CLOSED)
            raise
        try:
            await self._source.aclose()
        finally:
            self._done(BodyEnd.COMPLETE)

    def own(self, over: Over, reading: Reading | None = None) -> None:
        """Have *over* called once the body has ended; *reading* is given its parts, and returns them to the reader."""
        self._over = over
        self._reading = reading

    async def aclose(self) -> None:
        """
        Close the body. It may be called again, and by another task than the reader's.

        **Cancellation:** the permit is given back anyway.
        """
        try:
            await self._source.aclose()
        finally:
            self._done(BodyEnd.CLOSED)

    def watch(self, check: Callable[[int], None]) -> None:
        """Have *check* called with the number of bytes that have come, before each part is handed out."""
        self._check = check

    def abandon(self) -> None:
        """Close now, without waiting."""
        self._abandon()
        self._done(BodyEnd.CLOSED)

    def _failed(self, error: Exception, received: int) -> None:
        """The source raised *error* after *received* bytes. A subclass may raise another in its place."""
        self._done(BodyEnd.FAILED, error)

    def _done(self, end: BodyEnd, error: Exception | None = None) -> None:
        over, self._over = self._over, None
        if over is not None:
            over(end, error)

    def __del__(self) -> None:
        over, self._over = self._over, None
        if over is not None and not self._loop.is_closed():
            warnings.warn("a response was dropped without being closed", ResourceWarning, stacklevel=1, source=self)
            self._loop.call_soon_threadsafe(self._abandon)
            self._loop.call_soon_threadsafe(over, BodyEnd.CLOSED, None)
