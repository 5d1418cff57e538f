"""A client's view of a `ChainResolver`: a cache for each of its resolvers, which are asked one after another."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack

from ..errors import NameNotFound
from ..origin import Address, Origin
from ..stats import NameStats
from .caching import CachingResolver
from .resolver import Answer

__all__ = ["Chained"]


class Chained:
    """As `CachingResolver`. The next one is asked where one says that there is no such name."""

    def __init__(self, names: Sequence[CachingResolver]) -> None:
        self._names = names

    @property
    def in_flight(self) -> int:
        return sum(names.in_flight for names in self._names)

    @property
    def entries(self) -> int:
        return sum(names.entries for names in self._names)

    def stats(self) -> dict[str, NameStats]:
        found: dict[str, NameStats] = {}
        for names in self._names:
            for name, counts in names.stats().items():
                before = found.get(name, NameStats(0, 0, 0))
                found[name] = NameStats(*(sum(pair) for pair in zip(before, counts, strict=True)))
        return found

    def good_for(self, origin: Origin) -> float:
        return min((left for names in self._names if (left := names.good_for(origin)) > 0), default=0.0)

    def recheck_in(self, origin: Origin, address: Address) -> float:
        return min(names.recheck_in(origin, address) for names in self._names)

    def late(self, origin: Origin) -> Callable[[], Awaitable[list[Address]]] | None:
        return next((late for names in self._names if (late := names.late(origin)) is not None), None)

    async def is_still(self, origin: Origin, address: Address) -> bool | None:
        found: bool | None = False
        for names in self._names:
            found = await names.is_still(origin, address)
            if found is not False or not names.denies(origin):
                break  # the others aren't asked for the name, so what they know of it doesn't count
        return found

    def disprove(self, origin: Origin) -> None:
        for names in self._names:
            names.disprove(origin)

    async def resolve(self, origin: Origin) -> Answer:
        for names in self._names[:-1]:
            try:
                return await names.resolve(origin)
            except NameNotFound:
                continue
        return await self._names[-1].resolve(origin)

    async def aclose(self) -> None:
        async with AsyncExitStack() as stack:
            for names in self._names:
                stack.push_async_callback(names.aclose)
