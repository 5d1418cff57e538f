"""
The resolver that the wire talks to: cache, one lookup for all waiters, stale answers, fallback.

Rules: a hit takes no await. Each waiter has its own time limit, which ends no lookup.
"""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict
from collections.abc import Awaitable, Callable

from ..config import DNS
from ..errors import NameNotFound, NoAddress, ResolveError, ResolverFailure
from ..events import Listener, LookupEnded, ResolverFailed, StaleServed
from ..origin import Address, Origin
from ..stats import NameStats
from .cache import ANY, SYSTEM, Cache, Entry, Key
from .lookups import Lookup, Lookups, result
from .resolver import Answer, Found, Resolver, check_name, literal
from .system import SystemResolver
from .waiter import Waiter, again

__all__ = ["CachingResolver"]

LOOKED_UP = ("dns", "hosts", "system", "srv", "function")  # sources that a hit replaces by "cache"; "static" stays
MAX_PORTS = 64  # ports of one name whose hits are kept
RECHECK = 5.0  # seconds until a connection's address is looked up again after that failed
REDOUBT = 1.0  # seconds between lookups of a name because its addresses all fail
SYSTEM_TTL = 10.0  # seconds, because getaddrinfo gives no TTL; aiohttp's figure


class _Hit:
    """The addresses of a name for a while, and the name's counters."""

    __slots__ = ("answer", "counts", "until")

    def __init__(self, answer: Answer, until: float, counts: list[int]) -> None:
        self.answer = answer
        self.until = until
        self.counts = counts


class CachingResolver:
    """
    Origin → addresses.

    Args:
        upstream: The resolver that is asked.
        by_port: *upstream* may answer differently for each port, or with ports.
        fallback: The resolver that is asked where *upstream* fails or takes longer than ``DNS.fallback_after``.
        spare: Closes an idle connection where no descriptor is left to ask with; False where there isn't one.
    """

    def __init__(
        self,
        upstream: Resolver,
        settings: DNS,
        *,
        now: Callable[[], float],
        by_port: bool = False,
        fallback: SystemResolver | None = None,
        emit: Listener = lambda _: None,
        spare: Callable[[], bool] = bool,
    ) -> None:
        self._emit = emit
        self._settings = settings
        self._now = now
        self._by_port = by_port
        self._fallback = fallback
        self._cache = Cache(settings)
        self._lookups = Lookups(
            upstream, fallback, timeout=settings.timeout, now=now, spare=spare, told=self._told, ended=self._ended
        )
        self._stats: OrderedDict[str, list[int]] = OrderedDict()
        self._hits: OrderedDict[str, dict[int, _Hit]] = OrderedDict()  # by host and port; forgotten with each lookup

    @property
    def in_flight(self) -> int:
        """The number of lookups in flight."""
        return len(self._lookups)

    @property
    def entries(self) -> int:
        """The number of names that the cache has, a name that is cached by port once for each port."""
        return len(self._cache)

    def stats(self) -> dict[str, NameStats]:
        return {name: NameStats(*counts) for name, counts in list(self._stats.items())}

    def cached(self, origin: Origin) -> Answer | None:
        """
        Addresses that are known and fresh, else None.

        Raises:
            NameNotFound, NoAddress: It is known and fresh that there are none.
        """
        host, key, now = origin.host.lower(), self._key(origin), self._now()
        if (ports := self._hits.get(host)) is not None:
            hit = ports.get(origin.port)
            if hit is not None and now < hit.until:
                hit.counts[0] += 1
                self._cache.use(key)
                if host in self._stats:
                    self._stats.move_to_end(host)
                return hit.answer
        entry = self._cache.fresh(key, now)
        if entry is None:
            return None
        counts = self._count(host, 0)
        self._refresh(key, entry, now)
        found = entry.found
        if isinstance(found, ResolveError):
            raise again(found, host) from found
        answer = found.answer._replace(ttl=None)
        if answer.source in LOOKED_UP:
            answer = answer._replace(source="cache")
        self._remember(host, origin.port, _Hit(answer, entry.refresh_at, counts))
        return answer

    def good_for(self, origin: Origin) -> float:
        """Seconds that the answer for an origin's host holds; inf for an IP address, 0 where nothing is certain."""
        if literal(origin.host) is not None:
            return math.inf
        now = self._now()
        entry = self._cache.fresh(self._key(origin), now)
        return 0.0 if entry is None else entry.expires_at - now

    def recheck_in(self, origin: Origin, address: Address) -> float:
        """Seconds until `is_still` may say something new: until the refresh is due, then until the answer expires."""
        if literal(origin.host) is not None:
            return math.inf
        now = self._now()
        entry = self._cache.fresh(self._key(origin), now)
        if entry is None or not entry.knows(address.family):
            return RECHECK
        return (entry.refresh_at if now < entry.refresh_at else entry.expires_at) - now

    async def is_still(self, origin: Origin, address: Address) -> bool | None:
        """
        Whether an address that was dialled is still in its name's record; None where nobody knows.

        The first caller waits for it, at most `DNS.stale_wait`. A name that gives subsets of its addresses keeps all.
        """
        key, now = self._key(origin), self._now()
        if (entry := self._cache.fresh(key, now)) is not None:
            self._refresh(key, entry, now)
        else:
            is_asked = self._lookups.get(key) is not None
            if self._cache.failure(key, now) is None:
                lookup = self._lookups.begin(key)
                if not is_asked and not self._cache.has_failed(key, now):
                    await asyncio.wait([lookup.is_decided], timeout=self._settings.stale_wait)
            if (entry := self._cache.fresh(key, self._now())) is None:
                self._ask_system(key)  # for the next caller
                return None
        if not entry.knows(address.family):
            return None
        if isinstance(entry.found, ResolveError):
            return False
        return address in entry.found.answer.addresses or self._cache.gives_subsets(key, self._now())

    def denies(self, origin: Origin) -> bool:
        """Whether the cache has a fresh answer that there is no such name."""
        entry = self._cache.fresh(self._key(origin), self._now())
        return entry is not None and isinstance(entry.found, NameNotFound)

    def disprove(self, origin: Origin) -> None:
        """
        Expire the answer whatever its TTL, because none of its addresses took a connection.

        It expires at once, so that a retry of the same call finds a name that has moved; but in the second after such
        an end, it holds until that second is over.
        """
        host, key = origin.host.lower(), self._key(origin)
        self._cache.doubt(key, REDOUBT, self._now())
        self._hits.pop(host, None)

    def late(self, origin: Origin) -> Callable[[], Awaitable[list[Address]]] | None:
        """Waits for what a lookup still adds to its answer, such as the other family; None where none is in flight."""
        lookup = self._lookups.get(self._key(origin))
        if lookup is None:
            return None
        task = lookup.task

        async def wait() -> list[Address]:
            await asyncio.wait([task])
            found = result(task)
            return list(found.answer.addresses) if isinstance(found, Found) else []

        return wait

    async def resolve(self, origin: Origin) -> Answer:
        """
        Addresses of an origin's host; at least one.

        **Cancellation:** the lookup goes on for others, and fills the cache.

        Raises:
            NameNotFound, NoAddress, ResolverFailure, ResolveTimeout: There are none, and nothing stale may serve.
        """
        if found := self.cached(origin):
            return found
        host, key, now, settings = origin.host.lower(), self._key(origin), self._now(), self._settings
        if found := literal(origin.host):
            self._remember(host, origin.port, _Hit(found, math.inf, [0, 0, 0]))
            return found
        check_name(host)
        self._count(host, 2)
        resting = self._cache.failure(key, now)
        waiter = Waiter(self._now, resting)
        if resting is None:
            waiter.lookups.append(self._lookups.begin(key))
        give_up_at = now + settings.timeout
        stale = self._cache.stale(key, now, is_secure=origin.is_secure)
        if stale is not None:
            await self._outwait(waiter, key)
            if not waiter.is_decided and (system := self._ask_system(key)) is not None:
                waiter.lookups.append(system)
                await self._outwait(waiter, (host, SYSTEM))
            if not waiter.is_decided and not waiter.heard:  # the NXDOMAIN of one family may deny the name
                self._count(host, 1)
                self._emit(StaleServed(host, stale.addresses))
                return stale
        elif self._fallback is not None:
            await waiter.wait(min(now + settings.fallback_after, give_up_at))
            if not waiter.is_decided and (system := self._ask_system(key)) is not None:
                waiter.lookups.append(system)
        await waiter.wait(give_up_at)
        return waiter.answer(host, settings.timeout, origin)

    async def aclose(self) -> None:
        await self._lookups.aclose()

    async def _outwait(self, waiter: Waiter, key: Key) -> None:
        """Wait for no longer than `DNS.stale_wait`, because a stale answer is there; not at all after a failure."""
        if not self._cache.has_failed(key, self._now()):
            lookup = self._lookups.get(key)
            began_at = self._now() if lookup is None else lookup.began_at
            await waiter.wait(began_at + self._settings.stale_wait)

    def _refresh(self, key: Key, entry: Entry, now: float) -> None:
        """Look up before the answer expires, so that no caller waits; where DNS is silent, ask the system too."""
        if now < entry.refresh_at:
            return
        if self._cache.failure(key, now) is None:
            self._lookups.begin(key)
        lookup = self._lookups.get(key)
        if lookup is not None and lookup.began_at + self._settings.stale_wait < now:
            self._ask_system(key)

    def _told(self, key: Key, lookup: Lookup, found: Found) -> None:
        """Keep the addresses that a lookup in flight has, unless those that are known are still fresh."""
        if self._cache.fresh(key, lookup.told_at) is None:
            self._cache.store(key, _timed(found), lookup.told_at)
            lookup.is_kept = True

    def _ended(self, key: Key, lookup: Lookup, found: Found | ResolveError, at: float) -> None:
        host, port = key
        self._hits.pop(host, None)
        is_cancelled = lookup.task.cancelled()
        self._emit(_event(key, found, self._now() - lookup.began_at, is_cancelled=is_cancelled))
        if is_cancelled or (lookup.is_kept and found is lookup.found):
            return  # the client is being closed; or it is in the cache, where it may have been doubted since
        if isinstance(found, Found | NameNotFound | NoAddress) and port != SYSTEM:
            self._cache.store(key, _timed(found) if isinstance(found, Found) else found, at)
        elif isinstance(found, Found):
            if not self._cache.is_known_since((host, ANY), lookup.began_at):  # else DNS has answered meanwhile
                self._cache.store((host, ANY), found, at)
            self._cache.recovered(key)
        else:
            self._failed(key, found, at)

    def _failed(self, key: Key, error: ResolveError, now: float) -> None:
        if not (isinstance(error, ResolverFailure) and error.is_shortage):  # which says nothing about the name
            self._cache.fail(key, error, now)
        if not isinstance(error, NameNotFound | NoAddress):
            self._emit(ResolverFailed(key[0], str(error)))

    def _ask_system(self, key: Key) -> Lookup | None:
        """Ask the system's resolver too, where there is one, it can, and the lookup isn't asking it already."""
        key = (key[0], SYSTEM)
        now = self._now()
        if self._fallback is None or self._cache.failure(key, now) is not None:
            return None
        if self._lookups.get(key) is None and not self._fallback.takes(key[0]):
            self._cache.still_fails(key, now)
            return None
        return self._lookups.begin(key)

    def _key(self, origin: Origin) -> Key:
        return origin.host.lower(), origin.port if self._by_port else ANY

    def _remember(self, host: str, port: int, hit: _Hit) -> None:
        ports = self._hits.setdefault(host, {})
        if len(ports) >= MAX_PORTS:
            ports.clear()
        ports[port] = hit
        if len(self._hits) > self._settings.max_entries:
            self._hits.popitem(last=False)

    def _count(self, host: str, column: int) -> list[int]:
        counts = self._stats.get(host)
        if counts is None:
            while len(self._stats) >= self._settings.max_entries:
                self._stats.popitem(last=False)
            counts = self._stats[host] = [0, 0, 0]
        self._stats.move_to_end(host)
        counts[column] += 1
        return counts


def _timed(found: Found) -> Found:
    """*found* with a TTL, where its resolver gave none."""
    return found._replace(answer=found.answer._replace(ttl=SYSTEM_TTL)) if found.answer.ttl is None else found


def _event(key: Key, found: Found | ResolveError, duration: float, *, is_cancelled: bool) -> LookupEnded:
    host, port = key
    if isinstance(found, Found):
        answer = found.answer
        return LookupEnded(host, answer.source, duration, len(answer.addresses), None, answer.ttl)
    error = "cancelled" if is_cancelled else type(found).__name__
    return LookupEnded(host, "system" if port == SYSTEM else "", duration, 0, error, None)
