"""
The resolver that the wire talks to: cache, single-flight, stale answers, fallback.

Rules: a hit takes no await. A lookup belongs to nobody who waits for it: it is a task of its own, in a context of its
own, and cancelling any waiter, the first included, disturbs no other. Each waiter has its own time limit, and a lookup
goes on after it: the answer of a slow server serves whoever asks next.
"""

from __future__ import annotations

import asyncio
import contextvars
import math
from collections import OrderedDict
from collections.abc import Awaitable, Callable

from ..config import DNS
from ..errors import NameNotFound, NoAddress, ResolveError, ResolverFailure, ResolveTimeout
from ..events import Listener, ResolverFailed, StaleServed
from ..origin import Address, Origin
from ..stats import NameStats
from .cache import Cache, Entry, Key
from .resolver import Answer, Found, Progressive, Resolver, check_name, literal
from .system import SystemResolver

__all__ = ["CachingResolver"]

CLOSE_TIMEOUT = 0.5  # s that lookups have to end in
LOOKED_UP = ("dns", "hosts", "system", "srv", "function")  # from now on it is the cache's; what is static stays so
MAX_PORTS = 64  # of one name, put together ahead
LINGER = 0.5  # s that a lookup goes on when its last waiter left, because a retry may come for its answer
MAX_LOOKUP = 5.0  # s that a lookup goes on while somebody waits: as long as a question to a name server
RECHECK = 5.0  # s until a connection's address is looked up again, where that failed
REDOUBT = 1.0  # s between lookups of a name because its addresses all fail
SYSTEM_TTL = 10.0  # s; getaddrinfo gives none: aiohttp's figure
ANY, SYSTEM = 0, -1  # what is kept under a name, in place of a port: for all ports; failures of the system's resolver


class _Hit:
    """What a name resolves to for a while, and its counters."""

    __slots__ = ("answer", "counts", "until")

    def __init__(self, answer: Answer, until: float, counts: list[int]) -> None:
        self.answer = answer
        self.until = until
        self.counts = counts


class _Lookup:
    """
    One lookup in flight.

    Attributes:
        began_at: The instant, s.
        found: What it ended with, or the addresses that it has so far.
        told_at: The instant at which it had those, s.
        is_kept: They are in the cache already.
        heard: What it would end with if nothing else came.
        is_decided: Done once *found* is there.
    """

    __slots__ = (
        "_least", "_started_at", "_waiters", "began_at", "found", "heard", "is_decided", "is_kept", "limit", "task",
        "told_at",
    )  # fmt: skip

    def __init__(self, began_at: float, least: float) -> None:
        self._least = least  # s that it goes on, whether anybody waits or not
        self._started_at = asyncio.get_running_loop().time()
        self._waiters = 0
        self.limit: asyncio.Timeout | None = None  # while it goes on
        self.began_at = self.told_at = began_at
        self.is_kept = False
        self.found: Found | ResolveError | None = None
        self.heard: ResolveError | None = None
        self.is_decided: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.task: asyncio.Task[Found]

    def tell(self, found: Found | ResolveError) -> None:
        if isinstance(found, Found):
            self.end(found)
        else:
            self.heard = found

    def hold(self) -> None:
        """Somebody waits: it goes on for `MAX_LOOKUP`."""
        self._waiters += 1
        self._reschedule()

    def release(self) -> None:
        """One waiter less: without any, it goes on for `LINGER`."""
        self._waiters -= 1
        self._reschedule()

    def _reschedule(self) -> None:
        if self.limit is not None and not self.limit.expired():
            self.limit.reschedule(self.ends_at)

    @property
    def ends_at(self) -> float:
        """The instant on the loop's clock when its time is over."""
        least = self._started_at + self._least
        most = max(least, self._started_at + MAX_LOOKUP)
        linger = asyncio.get_running_loop().time() + LINGER
        return most if self._waiters else min(max(least, linger), most)

    def end(self, found: Found | ResolveError) -> None:
        self.found = found
        if not self.is_decided.done():
            self.is_decided.set_result(None)


class CachingResolver:
    """
    Origin → addresses.

    Args:
        upstream: Who is asked.
        by_port: It may answer with another for each port, or with ports.
        fallback: Who is asked where *upstream* fails or takes longer than ``DNS.fallback_after``.
        spare: Closes an idle connection where no descriptor is left to ask with; False: there is none.
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
        self._spare = spare
        self._upstream = upstream
        self._settings = settings
        self._now = now
        self._by_port = by_port
        self._fallback = fallback
        self._cache = Cache(settings)
        self._lookups: dict[Key, _Lookup] = {}
        self._stats: OrderedDict[str, list[int]] = OrderedDict()
        self._hits: OrderedDict[str, dict[int, _Hit]] = OrderedDict()  # by host and port; forgotten with each lookup

    def stats(self) -> dict[str, NameStats]:
        return {name: NameStats(*counts) for name, counts in self._stats.items()}

    def cached(self, origin: Origin) -> Answer | None:
        """
        Addresses that are known and fresh, else None.

        Raises:
            NameNotFound, NoAddress: It is known and fresh that there are none.
        """
        host, now = origin.host.lower(), self._now()
        if (ports := self._hits.get(host)) is not None:
            hit = ports.get(origin.port)
            if hit is not None and now < hit.until:
                hit.counts[0] += 1
                return hit.answer
        key = self._key(origin)
        entry = self._cache.fresh(key, now)
        if entry is None:
            return None
        counts = self._count(host, 0)
        self._refresh(key, entry, now)
        found = entry.found
        if isinstance(found, ResolveError):
            raise _again(found, host) from found
        answer = found.answer._replace(ttl=None)
        if answer.source in LOOKED_UP:
            answer = answer._replace(source="cache")
        self._remember(host, origin.port, _Hit(answer, entry.refresh_at, counts))
        return answer

    def good_for(self, origin: Origin) -> float:
        """Seconds that what is known of an origin's host holds; inf for an address, 0 where nothing certain is."""
        if literal(origin.host) is not None:
            return math.inf
        now = self._now()
        entry = self._cache.fresh(self._key(origin), now)
        return 0.0 if entry is None else entry.expires_at - now

    def recheck_in(self, origin: Origin, address: Address) -> float:
        """Seconds until `is_still` may have something new to say: when a refresh is due, then when the time is over."""
        if literal(origin.host) is not None:
            return math.inf
        now = self._now()
        entry = self._cache.fresh(self._key(origin), now)
        if entry is None or not entry.knows(address.family):
            return RECHECK
        return (entry.refresh_at if now < entry.refresh_at else entry.expires_at) - now

    async def is_still(self, origin: Origin, address: Address) -> bool | None:
        """
        Whether an address that was dialled is in its name's record still; None: nobody knows.

        The first caller waits for it, at most `DNS.stale_wait`. A name that gives subsets of its addresses keeps all.
        """
        key, now = self._key(origin), self._now()
        if (entry := self._cache.fresh(key, now)) is not None:
            self._refresh(key, entry, now)
        else:
            is_asked = key in self._lookups
            if self._cache.failure(key, now) is None:
                lookup = self._lookup(key)
                if not is_asked and not self._cache.has_failed(key, now):
                    await asyncio.wait([lookup.is_decided], timeout=self._settings.stale_wait)
            if (entry := self._cache.fresh(key, self._now())) is None:
                self._ask_system(key)  # for whoever comes next
                return None
        if not entry.knows(address.family):
            return None
        if isinstance(entry.found, ResolveError):
            return False
        return address in entry.found.answer.addresses or self._cache.gives_subsets(key)

    def disprove(self, origin: Origin) -> None:
        """
        None of its addresses took a connection: look up anew, once a second at most, whatever the TTL says.

        At once where the last second saw none of that, so that a retry of the same call finds a name that has moved.
        """
        host, key = origin.host.lower(), self._key(origin)
        self._cache.doubt(key, REDOUBT, self._now())
        self._hits.pop(host, None)

    def late(self, origin: Origin) -> Callable[[], Awaitable[list[Address]]] | None:
        """What is still to come for a name that was resolved already, such as its other family; None: nothing is."""
        lookup = self._lookups.get(self._key(origin))
        if lookup is None:
            return None
        task = lookup.task

        async def wait() -> list[Address]:
            await asyncio.wait([task])
            found = _result(task)
            return list(found.answer.addresses) if isinstance(found, Found) else []

        return wait

    async def resolve(self, origin: Origin) -> Answer:
        """
        Addresses of an origin's host; never none.

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
        asked = _Asked(self._now, [] if resting is None else [_resting(resting)])
        if resting is None:
            asked.lookups.append(self._lookup(key))
        give_up_at = now + settings.timeout
        stale = self._cache.stale(key, now, is_secure=origin.is_secure)
        if stale is not None:
            await self._outwait(asked, key)
            if not asked.is_decided and (system := self._ask_system(key)) is not None:
                asked.lookups.append(system)
                await self._outwait(asked, (host, SYSTEM))
            if not asked.is_decided and not asked.heard:  # one family's NXDOMAIN may deny the name
                self._count(host, 1)
                self._emit(StaleServed(host, stale.addresses))
                return stale
        elif self._fallback is not None:
            await asked.wait(min(now + settings.fallback_after, give_up_at))
            if not asked.is_decided and (system := self._ask_system(key)) is not None:
                asked.lookups.append(system)
        await asked.wait(give_up_at)
        return asked.answer(host, settings.timeout, origin)

    async def aclose(self) -> None:
        lookups = [lookup.task for lookup in self._lookups.values()]
        for task in lookups:
            task.cancel()
        try:
            if lookups:
                await asyncio.wait(lookups, timeout=CLOSE_TIMEOUT)
        finally:
            try:
                await self._upstream.aclose()
            finally:
                if self._fallback is not None:
                    await self._fallback.aclose()

    async def _outwait(self, asked: _Asked, key: Key) -> None:
        """Wait no longer than a caller who has something stale needs to; not at all where the last lookup failed."""
        if not self._cache.has_failed(key, self._now()):
            lookup = self._lookups.get(key)
            began_at = self._now() if lookup is None else lookup.began_at
            await asked.wait(began_at + self._settings.stale_wait)

    def _refresh(self, key: Key, entry: Entry, now: float) -> None:
        """Look up ahead of time, for whoever comes when it is over; where DNS is silent, ask the system too."""
        if now < entry.refresh_at:
            return
        if self._cache.failure(key, now) is None:
            self._lookup(key)
        lookup = self._lookups.get(key)
        if lookup is not None and lookup.began_at + self._settings.stale_wait < now:
            self._ask_system(key)

    def _lookup(self, key: Key) -> _Lookup:
        """The lookup in flight, or a new one."""
        lookup = self._lookups.get(key)
        if lookup is None:
            lookup = self._lookups[key] = _Lookup(self._now(), self._settings.timeout)
            lookup.task = asyncio.get_running_loop().create_task(
                self._ask(key, lookup), context=contextvars.Context(), name=f"seawall dns {key[0]}"
            )
            lookup.task.add_done_callback(lambda _: self._finished(key, lookup))
        return lookup

    async def _ask(self, key: Key, lookup: _Lookup) -> Found:
        try:
            async with asyncio.timeout_at(lookup.ends_at) as lookup.limit:
                while True:
                    try:
                        return await self._asked(key, lookup)
                    except ResolverFailure as error:
                        if not (error.is_shortage and self._spare()):
                            raise
                    await asyncio.sleep(0)  # meanwhile the loop closes the connection's socket
        finally:
            lookup.limit = None

    async def _asked(self, key: Key, lookup: _Lookup) -> Found:
        host, port = key
        if port == SYSTEM:
            assert self._fallback is not None
            return Found(await self._fallback.resolve(host, 0))
        if isinstance(self._upstream, Progressive):
            return _checked(
                host, await self._upstream.look_up(host, port, lambda found: self._told(key, lookup, found))
            )
        return _checked(host, Found(await self._upstream.resolve(host, port)))

    def _told(self, key: Key, lookup: _Lookup, found: Found | ResolveError) -> None:
        """Of what a lookup knows, which isn't over yet."""
        lookup.tell(found)
        lookup.told_at = now = self._now()
        if isinstance(found, Found) and self._cache.fresh(key, now) is None:
            self._cache.store(key, _timed(found), now)
            lookup.is_kept = True
            self._hits.pop(key[0], None)

    def _finished(self, key: Key, lookup: _Lookup) -> None:
        del self._lookups[key]
        host, port = key
        self._hits.pop(host, None)
        found, now = _result(lookup.task), self._now()
        if not lookup.task.cancelled():
            if isinstance(found, ResolverFailure | ResolveTimeout) and isinstance(lookup.found, Found):
                found, now = lookup.found, lookup.told_at  # only of the rest, such as the other family
            if lookup.is_kept and found is lookup.found:
                pass  # it may have been doubted since
            elif isinstance(found, Found | NameNotFound | NoAddress) and port != SYSTEM:
                self._cache.store(key, _timed(found) if isinstance(found, Found) else found, now)
            elif isinstance(found, Found):
                self._cache.store((host, ANY), found, now)
                self._cache.recovered(key)
            else:
                self._failed(key, found, now)
        del lookup.task  # where it was cancelled, its error holds frames that hold the lookup
        lookup.end(found)

    def _failed(self, key: Key, error: ResolveError, now: float) -> None:
        if not (isinstance(error, ResolverFailure) and error.is_shortage):  # which says nothing of the name
            self._cache.fail(key, error, now)
        if not isinstance(error, NameNotFound | NoAddress):
            self._emit(ResolverFailed(key[0], str(error)))

    def _ask_system(self, key: Key) -> _Lookup | None:
        """The system's resolver too, where there is one, it can, and the lookup isn't asking it already."""
        key = (key[0], SYSTEM)
        now = self._now()
        if self._fallback is None or self._cache.failure(key, now) is not None:
            return None
        if key not in self._lookups and not self._fallback.takes(key[0]):
            self._cache.still_fails(key, now)
            return None
        return self._lookup(key)

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
        counts[column] += 1
        return counts


class _Asked:
    """One waiter's view of a name: what was known, and the lookups that may add to it."""

    def __init__(self, now: Callable[[], float], known: list[ResolveError]) -> None:
        self.lookups: list[_Lookup] = []
        self._now = now
        self._known = known

    @property
    def is_decided(self) -> bool:
        """Found; or denied: no such name, or no address of it. Else nobody knows yet, or all have failed."""
        return any(isinstance(result, Found | NameNotFound | NoAddress) for result in self._results())

    @property
    def heard(self) -> list[ResolveError]:
        """What stands unless more comes."""
        return [lookup.heard for lookup in self.lookups if lookup.found is None and lookup.heard is not None]

    async def wait(self, until: float) -> None:
        """Until it is decided, or all are done, or *until*."""
        while not self.is_decided and (pending := [each for each in self.lookups if each.found is None]):
            left = until - self._now()
            if left <= 0:
                return
            for lookup in pending:
                lookup.hold()
            try:
                decided = [lookup.is_decided for lookup in pending]
                await asyncio.wait(decided, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for lookup in pending:
                    lookup.release()

    def answer(self, host: str, timeout: float, origin: Origin) -> Answer:
        """The addresses; where there are none, the failure that says most."""
        results = self._results()
        for result in results:
            if isinstance(result, Found):
                return result.answer._replace(ttl=None)
        if any(lookup.found is None for lookup in self.lookups) and not self.is_decided:
            results = [*self.heard]
            if not results:
                raise ResolveTimeout(
                    f"{host}: no answer from DNS within {timeout:g} s (DNS.timeout)", origin=origin, elapsed=timeout
                )
        for kind in (NameNotFound, NoAddress, ResolverFailure, ResolveTimeout):
            for result in results:
                if isinstance(result, kind):
                    raise _again(result, host) from result
        raise NoAddress(f"{host}: no address")

    def _results(self) -> list[Found | ResolveError]:
        return [*self._known, *(lookup.found for lookup in self.lookups if lookup.found is not None)]


def _timed(found: Found) -> Found:
    """With a TTL, where its resolver gave none."""
    return found._replace(answer=found.answer._replace(ttl=SYSTEM_TTL)) if found.answer.ttl is None else found


def _checked(host: str, found: Found) -> Found:
    """
    What a resolver answered, whoever wrote it.

    Raises:
        NoAddress, ResolverFailure: It may not be answered.
    """
    answer = found.answer
    if not answer.addresses:
        raise NoAddress(f"{host}: the resolver gave no address")
    for address in answer.addresses:
        if literal(address.ip) is None:
            raise ResolverFailure(f"{host}: the resolver gave {address.ip!r}, which isn't an IP address")
        if address.port is not None and not 1 <= address.port <= 65535:
            raise ResolverFailure(f"{host}: the resolver gave port {address.port!r}, which isn't one (1 to 65535)")
    if answer.ranks and len(answer.ranks) != len(answer.addresses):
        raise ResolverFailure(
            f"{host}: the resolver gave {len(answer.ranks)} ranks for {len(answer.addresses)} addresses"
        )
    return found


def _again(error: ResolveError, host: str) -> ResolveError:
    """The same, raised once more: by this call."""
    return _copied(error, f"{host}: {str(error).removeprefix(f'{host}: ')}")


def _resting(error: ResolveError) -> ResolveError:
    """The same, without having been asked for again."""
    return _copied(error, *error.args, is_resting=True)


def _copied(error: ResolveError, *args: object, **facts: object) -> ResolveError:
    """Without its class's __init__, which may take anything where a resolver of the user's raises its own."""
    copy = type(error).__new__(type(error), *args)
    vars(copy).update(vars(error), **facts)
    return copy


def _result(task: asyncio.Task[Found]) -> Found | ResolveError:
    """What a finished lookup found; whatever a resolver raised that isn't of ours is its failure."""
    if task.cancelled():
        return ResolverFailure("the lookup was cancelled")
    error = task.exception()
    if error is None:
        return task.result()
    if isinstance(error, ResolveError):
        return error
    if isinstance(error, TimeoutError):
        return ResolveTimeout("no answer from DNS in time (DNS.timeout)")
    failure = ResolverFailure(f"the resolver failed: {error!r}")
    failure.__cause__ = error
    return failure
