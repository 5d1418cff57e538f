"""
The resolver that the wire talks to: cache, single-flight, both families, stale answers, fallback.

Rules: a hit takes no await. A lookup belongs to nobody who waits for it: it is a task of its own, in a context of its
own, and cancelling any waiter, the first included, disturbs no other. Each waiter has its own time limit.
"""

from __future__ import annotations

import asyncio
import contextvars
import math
import socket
from collections import OrderedDict
from collections.abc import Awaitable, Callable

from ..errors import NameNotFound, NoAddress, ResolveError, ResolverFailure, ResolveTimeout
from ..events import Events, ResolverFailed, StaleServed
from ..origin import Address, Origin
from ..settings import DNS
from ..stats import NameStats
from .cache import Cache, Entry
from .resolver import Answer, Resolver, check_name, literal
from .system import SystemResolver

__all__ = ["CachingResolver"]

CLOSE_TIMEOUT = 0.5  # s that lookups have to end in
LOOKED_UP = ("dns", "system", "srv", "function")  # from now on it is the cache's; what is static stays so
MAX_PORTS = 64  # of one name, put together ahead
RECHECK = 5.0  # s until a connection's address is looked up again, where that failed
SYSTEM_TTL = 10.0  # s; getaddrinfo gives none: aiohttp's figure
SYSTEM = -1  # in place of a family: the system's resolver, which answers for all
FAMILIES = (socket.AF_INET6, socket.AF_INET)  # in the order of preference (RFC 8305 section 3)


class _Hit:
    """What a name resolves to for a while, put together already, and its counters."""

    __slots__ = ("answer", "counts", "until")

    def __init__(self, answer: Answer, until: float, counts: list[int]) -> None:
        self.answer = answer
        self.until = until
        self.counts = counts


class CachingResolver:
    """
    Origin → addresses.

    Args:
        upstream: Who is asked.
        families: Asked apart, each with its own cache entry; (0,) for a resolver that answers both at once.
        fallback: Who is asked where *upstream* fails or takes longer than ``DNS.fallback_after``.
        spare: Closes an idle connection where no descriptor is left to ask with; False: there is none.
    """

    def __init__(
        self,
        upstream: Resolver,
        settings: DNS,
        *,
        now: Callable[[], float],
        families: tuple[int, ...] = FAMILIES,
        fallback: SystemResolver | None = None,
        events: Events | None = None,
        spare: Callable[[], bool] = bool,
    ) -> None:
        self._events = events or Events()
        self._spare = spare
        self._upstream = upstream
        self._settings = settings
        self._now = now
        self._families = families
        self._fallback = fallback
        self._cache = Cache(settings, families=len(families))
        self._lookups: dict[tuple[str, int], asyncio.Task[Answer]] = {}
        self._asked_at: dict[tuple[str, int], float] = {}  # when each of them began
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
        entries: list[Entry] = []
        slots = self._slots(origin.port)
        for slot in slots:
            entry = self._cache.fresh(host, slot, now)
            if entry is None:
                return None
            entries.append(entry)
        counts = self._count(host, 0)
        for slot, entry in zip(slots, entries, strict=True):
            self._refresh(host, origin.port, slot, entry, now)
        answer = _merge(host, [entry.answer for entry in entries])
        if answer.source in LOOKED_UP:
            answer = answer._replace(source="cache")
        self._remember(host, origin.port, _Hit(answer, min(entry.refresh_at for entry in entries), counts))
        return answer

    def good_for(self, origin: Origin) -> float:
        """s that what is known of an origin's host holds; inf for an address, 0 where nothing certain is."""
        if literal(origin.host) is not None:
            return math.inf
        host, now = _key(origin), self._now()
        entries = [self._cache.fresh(host, slot, now) for slot in self._slots(origin.port)]
        return min(0.0 if entry is None else entry.expires_at - now for entry in entries)

    def recheck_in(self, origin: Origin, address: Address) -> float:
        """s until `is_still` has something new to say: first when its refresh is due, then when its time is over."""
        if literal(origin.host) is not None:
            return math.inf
        now = self._now()
        entry = self._cache.fresh(_key(origin), self._slot(origin, address), now)
        if entry is None:
            return RECHECK
        return (entry.refresh_at if now < entry.refresh_at else entry.expires_at) - now

    async def is_still(self, origin: Origin, address: Address) -> bool | None:
        """
        Whether an address that was dialled is in its name's record still; None: nobody knows.

        Who asks first waits for it, `DNS.stale_wait` at most. A name that gives subsets of its addresses keeps all.
        """
        host, slot, now = _key(origin), self._slot(origin, address), self._now()
        if (entry := self._cache.fresh(host, slot, now)) is not None:
            self._refresh(host, origin.port, slot, entry, now)
        else:
            is_asked = (host, slot) in self._lookups
            if self._cache.failure(host, slot, now) is None:
                lookup = self._lookup(host, origin.port, slot)
                if not is_asked and not self._has_failed(host, (slot,)):
                    await asyncio.wait([lookup], timeout=self._settings.stale_wait)
            if (entry := self._cache.fresh(host, slot, self._now())) is None:
                self._ask_system(host, origin.port)  # for who comes next
                return None
        if not isinstance(entry.answer, Answer):
            return False
        return address in entry.answer.addresses or self._cache.gives_subsets(host, slot)

    def late(self, origin: Origin) -> Callable[[], Awaitable[list[Address]]] | None:
        """What is still to come for a name that was resolved already, such as its other family; None: nothing is."""
        host = _key(origin)
        tasks = [task for slot in self._slots(origin.port) if (task := self._lookups.get((host, slot))) is not None]

        async def wait() -> list[Address]:
            await asyncio.wait(tasks)
            answers = [result for task in tasks if isinstance(result := _result(task), Answer)]
            return [address for answer in answers for address in answer.addresses]

        return wait if tasks else None

    async def resolve(self, origin: Origin) -> Answer:
        """
        Addresses of an origin's host, IPv6 first; never none.

        **Cancellation:** the lookup goes on for others, and fills the cache.

        Raises:
            NameNotFound, NoAddress, ResolverFailure, ResolveTimeout: There are none, and nothing stale may serve.
        """
        if found := self.cached(origin):
            return found
        if found := literal(origin.host):
            self._remember(_key(origin), origin.port, _Hit(found, math.inf, [0, 0, 0]))
            return found
        host, now, settings = _key(origin), self._now(), self._settings
        check_name(host)
        self._count(host, 2)
        search = self._search(host, origin.port)
        give_up_at = now + settings.timeout
        stale = self._stale(origin)
        if stale is not None:
            if not self._has_failed(host, self._slots(origin.port)):
                await search.wait(self._first_asked(host, origin.port, now) + settings.stale_wait)
            if not search.is_decided and (system := self._ask_system(host, origin.port)) is not None:
                search.lookups.append(system)
                if not self._has_failed(host, (SYSTEM,)):
                    await search.wait(self._asked_at.get((host, SYSTEM), now) + settings.stale_wait)
            if not search.is_decided:
                self._count(host, 1)
                self._events.emit(StaleServed(host, stale.addresses))
                return stale
        if self._fallback is not None:
            await search.wait(min(now + settings.fallback_after, give_up_at))
            if not search.is_decided and (system := self._ask_system(host, origin.port)) is not None:
                search.lookups.append(system)
        await search.wait(give_up_at)
        if not search.is_decided and not search.is_done:
            raise ResolveTimeout(
                f"{host}: no answer from DNS within {settings.timeout:g} s (DNS.timeout)",
                origin=origin,
                elapsed=settings.timeout,
            )
        results = search.results()
        if stale is not None:  # of a family that failed, beside what the other one has
            await asyncio.sleep(0)  # a lookup that just ended is noted in its callback, which may stand behind us
            results += [old for slot in self._slots(origin.port) if (old := self._old(origin, slot)) is not None]
        return _merge(host, results)

    async def aclose(self) -> None:
        lookups = list(self._lookups.values())
        for task in lookups:
            task.cancel()
        if lookups:
            await asyncio.wait(lookups, timeout=CLOSE_TIMEOUT)
        await self._upstream.aclose()
        if self._fallback is not None:
            await self._fallback.aclose()

    def _search(self, host: str, port: int) -> _Search:
        """What is known of each family, and a lookup for each of which nothing is, unless that failed just now."""
        now = self._now()
        known: list[Answer | ResolveError] = []
        lookups: list[asyncio.Task[Answer]] = []
        for slot in self._slots(port):
            entry = self._cache.fresh(host, slot, now)
            found = _resting(self._cache.failure(host, slot, now)) if entry is None else entry.answer
            if found is None:
                lookups.append(self._lookup(host, port, slot))
            else:
                known.append(found)
        return _Search(known, lookups, self._now, self._settings.resolution_delay)

    def _refresh(self, host: str, port: int, slot: int, entry: Entry, now: float) -> None:
        """Look up ahead of time, for who comes when it is over; where that is silent, by the system's resolver too."""
        if now < entry.refresh_at:
            return
        if self._cache.failure(host, slot, now) is None:
            self._lookup(host, port, slot)
        if self._first_asked(host, port, now) + self._settings.stale_wait < now:
            self._ask_system(host, port)

    def _lookup(self, host: str, port: int, slot: int) -> asyncio.Task[Answer]:
        """The lookup under way, or a new one."""
        task = self._lookups.get((host, slot))
        if task is None:
            task = asyncio.get_running_loop().create_task(
                self._ask(host, port, slot), context=contextvars.Context(), name=f"seawall dns {host}"
            )
            self._lookups[host, slot] = task
            self._asked_at[host, slot] = self._now()
            task.add_done_callback(lambda done: self._finished(host, port, slot, done))
        return task

    async def _ask(self, host: str, port: int, slot: int) -> Answer:
        async with asyncio.timeout(self._settings.timeout):
            while True:
                try:
                    return await self._asked(host, port, slot)
                except ResolverFailure as error:
                    if not (error.is_shortage and self._spare()):
                        raise
                await asyncio.sleep(0)  # meanwhile the loop closes the connection's socket

    async def _asked(self, host: str, port: int, slot: int) -> Answer:
        if slot == SYSTEM:
            assert self._fallback is not None
            return await self._fallback.resolve(host, port)
        answer = await self._upstream.resolve(host, port, family=slot if slot in self._families else 0)
        if not answer.addresses:
            raise NoAddress(f"{host}: the resolver gave no address")
        for address in answer.addresses:
            if literal(address.ip) is None:
                raise ResolverFailure(f"{host}: the resolver gave {address.ip!r}, which is no IP address")
            if address.port is not None and not 1 <= address.port <= 65535:
                raise ResolverFailure(f"{host}: the resolver gave port {address.port!r}, which is none")
        if answer.ranks and len(answer.ranks) != len(answer.addresses):
            raise ResolverFailure(f"{host}: the resolver gave as many ranks as there are not addresses")
        return answer._replace(ttl=SYSTEM_TTL) if answer.ttl is None else answer

    def _finished(self, host: str, port: int, slot: int, task: asyncio.Task[Answer]) -> None:
        del self._lookups[host, slot], self._asked_at[host, slot]
        self._hits.pop(host, None)
        if task.cancelled():
            return
        found, now, slots = _result(task), self._now(), self._slots(port)
        if slot == SYSTEM:
            if isinstance(found, Answer):
                # One family at a time is what the cache holds; the system's answer stands for all of them.
                for each in slots:
                    mine = tuple(address for address in found.addresses if each == _family(address))
                    part = Answer(mine, SYSTEM_TTL, "system") if mine else NoAddress(f"{host}: no such address")
                    self._cache.store(host, each, part, now)
            else:
                self._failed(host, slot, found, now)
        elif isinstance(found, NameNotFound):
            for each in slots:  # the name is gone, so no address of any family may outlive it
                self._cache.store(host, each, found, now)
        elif isinstance(found, Answer | NoAddress):
            self._cache.store(host, slot, found, now)
        else:
            self._failed(host, slot, found, now)
        self._cache.align(host, slots, now)

    def _has_failed(self, host: str, slots: tuple[int, ...]) -> bool:
        """The last lookup of it failed, so who has something stale need not wait for what comes of the next."""
        return any(self._cache.has_failed(host, slot, self._now()) for slot in slots)

    def _first_asked(self, host: str, port: int, now: float) -> float:
        """When the lookups of it began: who comes later need not wait as long as the first."""
        return min(self._asked_at.get((host, slot), now) for slot in self._slots(port))

    def _failed(self, host: str, slot: int, error: ResolveError, now: float) -> None:
        if not (isinstance(error, ResolverFailure) and error.is_shortage):  # which says nothing of the name
            self._cache.fail(host, slot, error, now)
        if not isinstance(error, NameNotFound | NoAddress):
            self._events.emit(ResolverFailed(host, str(error)))

    def _slots(self, port: int) -> tuple[int, ...]:
        """What is kept apart under a name: families, or ports where a resolver may answer with some."""
        return (port,) if self._families == (0,) else self._families

    def _slot(self, origin: Origin, address: Address) -> int:
        slots = self._slots(origin.port)
        return slots[0] if len(slots) == 1 else _family(address)

    def _ask_system(self, host: str, port: int) -> asyncio.Task[Answer] | None:
        """The system's resolver too, where there is one and it can."""
        fallback = self._fallback
        if fallback is None or self._cache.failure(host, SYSTEM, self._now()) is not None:
            return None
        if fallback.is_saturated and (host, SYSTEM) not in self._lookups:
            return None
        return self._lookup(host, port, SYSTEM)

    def _old(self, origin: Origin, slot: int) -> Answer | None:
        """What may serve of a slot of which nothing is known any more."""
        host, now = _key(origin), self._now()
        if self._cache.fresh(host, slot, now) is not None:
            return None
        return self._cache.stale(host, slot, now, is_secure=origin.is_secure)

    def _stale(self, origin: Origin) -> Answer | None:
        slots = self._slots(origin.port)
        found = [self._old(origin, slot) for slot in slots]
        addresses = tuple(address for answer in found if answer is not None for address in answer.addresses)
        return Answer(addresses, None, "stale") if addresses else None

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


def _key(origin: Origin) -> str:
    return origin.host.lower()


def _family(address: Address) -> int:
    return socket.AF_INET6 if address.is_ipv6 else socket.AF_INET


class _Search:
    """One waiter's view of a name: what was known, and the lookups that may add to it."""

    def __init__(
        self,
        known: list[Answer | ResolveError],
        lookups: list[asyncio.Task[Answer]],
        now: Callable[[], float],
        resolution_delay: float,
    ) -> None:
        self.known = known
        self.lookups = lookups
        self._now = now
        self._resolution_delay = resolution_delay

    def results(self) -> list[Answer | ResolveError]:
        return self.known + [_result(task) for task in self.lookups if task.done()]

    @property
    def is_found(self) -> bool:
        return any(isinstance(result, Answer) for result in self.results())

    @property
    def is_done(self) -> bool:
        return all(task.done() for task in self.lookups)

    @property
    def is_decided(self) -> bool:
        """Found; or denied: no such name, or no address in any family. Else nobody knows yet."""
        results = self.results()
        if any(isinstance(result, Answer | NameNotFound) for result in results):
            return True
        return self.is_done and all(isinstance(result, NoAddress) for result in results)

    async def wait(self, until: float) -> None:
        """Until it is decided, and the other family had the resolution delay; or all are done; or *until*."""
        while pending := [task for task in self.lookups if not task.done()]:
            limit = until - self._now()
            if self.is_found:
                await asyncio.wait(pending, timeout=max(0.0, min(limit, self._resolution_delay)))
                return
            if self.is_decided or limit <= 0:
                return
            await asyncio.wait(pending, timeout=limit, return_when=asyncio.FIRST_COMPLETED)


def _resting(error: ResolveError | None) -> ResolveError | None:
    """The same, once more, without having been asked."""
    return None if error is None else type(error)(*error.args, **{**vars(error), "is_resting": True})


def _result(task: asyncio.Task[Answer]) -> Answer | ResolveError:
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


def _merge(host: str, results: list[Answer | ResolveError]) -> Answer:
    """The addresses of all families; where there are none, the failure that says most."""
    answers = [result for result in results if isinstance(result, Answer)]
    if len(answers) == 1:
        return answers[0]._replace(ttl=None)
    if answers:
        addresses = tuple(dict.fromkeys(address for answer in answers for address in answer.addresses))
        return Answer(addresses, None, answers[0].source)
    for kind in (NameNotFound, ResolverFailure, ResolveTimeout, NoAddress):
        for result in results:
            if isinstance(result, kind):
                text = f"{host}: {_without(host, str(result))}"
                raise type(result)(text, **vars(result)) from result
    raise NoAddress(f"{host}: no address")


def _without(host: str, message: str) -> str:
    return message.removeprefix(f"{host}: ")
