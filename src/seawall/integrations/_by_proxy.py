"""`ByProxy`: what a scraper's requests go through, one for each proxy, of which a rotation may have thousands."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final, Generic, Protocol, TypeVar

__all__ = ["MAX_PROXIES", "ByProxy", "Closable"]

MAX_PROXIES: Final = 100  # as many as a scraper has requests in flight; each keeps connections and a TLS context


class Closable(Protocol):
    """A client or a transport."""

    async def aclose(self) -> None: ...


C = TypeVar("C", bound=Closable)


class _Entry(Generic[C]):
    def __init__(self, client: C) -> None:
        self.client = client
        self.users = 0


class ByProxy(Generic[C]):
    """
    Closes those that nobody uses, the least recently used one first, while there are more than *most*.

    Args:
        make: Makes the one through a proxy; None is for none.
        most: How many are kept; there are more only while each is in use.
    """

    def __init__(self, make: Callable[[str | None], C], *, most: int | None = None) -> None:
        self._make = make
        self._most = MAX_PROXIES if most is None else most
        self._entries: dict[str | None, _Entry[C]] = {}  # in the order of use

    @asynccontextmanager
    async def using(self, proxy: str | None) -> AsyncIterator[C]:
        """The one through *proxy*, which isn't closed inside of the block."""
        entry = self._entries.pop(proxy, None) or _Entry(self._make(proxy))
        self._entries[proxy] = entry
        entry.users += 1
        try:
            while len(self._entries) > self._most and (idle := self._idle()) is not None:
                await idle.aclose()
            yield entry.client
        finally:
            entry.users -= 1

    async def aclose(self) -> None:
        """Close all. It may be used again."""
        while self._entries:
            await self._entries.popitem()[1].client.aclose()

    def _idle(self) -> C | None:
        for proxy, entry in self._entries.items():
            if not entry.users:
                del self._entries[proxy]
                return entry.client
        return None
