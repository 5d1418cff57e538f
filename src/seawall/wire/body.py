"""
Response bodies that own a permit.

Rules: it is given back exactly once: when the body is closed, exhausted, or fails. Garbage collection is only a
backstop: a response holds a reference cycle, so who waits for it waits long.
"""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import AsyncIterator, Callable
from typing import Protocol

__all__ = ["OwningBody", "Source"]


class Source(Protocol):
    """What a body reads from: our wire's answer, or the stream of another transport."""

    def __aiter__(self) -> AsyncIterator[bytes]: ...

    async def aclose(self) -> None: ...


class OwningBody:
    """
    A body, and what is to be done once it is over.

    Args:
        release: Gives the permit back.
        abandon: Closes the source without waiting, for a body that was dropped.
    """

    def __init__(self, source: Source, release: Callable[[], None], abandon: Callable[[], None]) -> None:
        self._source = source
        self._abandon = abandon
        self._release: Callable[[], None] | None = release
        self._check: Callable[[int], None] | None = None
        self._loop = asyncio.get_running_loop()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        received = 0
        try:
            async for part in self._source:
                if self._check is not None:
                    received += len(part)
                    self._check(received)
                yield part
        except BaseException:
            self._done()
            raise
        await self.aclose()

    async def aclose(self) -> None:
        """
        May be called again, and by another task than reads.

        **Cancellation:** the permit is given back all the same.
        """
        try:
            await self._source.aclose()
        finally:
            self._done()

    def watch(self, check: Callable[[int], None]) -> None:
        """Have *check* called with the number of bytes that have come, before each part is handed out."""
        self._check = check

    def abandon(self) -> None:
        """Close now, without waiting."""
        self._abandon()
        self._done()

    def _done(self) -> None:
        release, self._release = self._release, None
        if release is not None:
            release()

    def __del__(self) -> None:
        release, self._release = self._release, None
        if release is not None and not self._loop.is_closed():
            warnings.warn("a response was dropped without being closed", ResourceWarning, stacklevel=1, source=self)
            self._loop.call_soon_threadsafe(self._abandon)
            self._loop.call_soon_threadsafe(release)
