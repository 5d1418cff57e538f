"""
The lookups in flight, one for each key.

Rules: a lookup belongs to none of its waiters. It is a task of its own, in a context of its own, so a cancelled waiter,
the first one included, disturbs no other. It goes on after a waiter's time limit, because the answer of a slow server
serves the next caller.
"""

from __future__ import annotations

import asyncio
import contextvars
import math
from collections.abc import Callable
from typing import TypeAlias

from ..errors import NameNotFound, NoAddress, ResolveError, ResolverFailure, ResolveTimeout
from .cache import SYSTEM, Key
from .resolver import Found, Progressive, Rank, Resolver, literal, public

__all__ = ["Lookup", "Lookups", "result"]

CLOSE_TIMEOUT = 0.5  # seconds that cancelled lookups have to end
LINGER = 0.5  # seconds that a lookup goes on after its last waiter left, because a retry may come for its answer
MAX_LOOKUP = 5.0  # seconds that a lookup goes on while a caller waits: as long as a question to a name server


class Lookup:
    """
    One lookup in flight.

    Attributes:
        began_at: The instant when it began, in seconds.
        found: Its result, or the addresses that it has so far.
        told_at: The instant when it had those, in seconds.
        is_kept: The cache has them already.
        heard: Its result if nothing more comes.
        is_decided: Done once *found* is set.
    """

    __slots__ = (
        "_least", "_started_at", "_waiters", "began_at", "found", "heard", "is_decided", "is_kept", "limit", "task",
        "told_at",
    )  # fmt: skip

    def __init__(self, began_at: float, least: float) -> None:
        self._least = least  # seconds that it goes on, whether a caller waits or not
        self._started_at = asyncio.get_running_loop().time()
        self._waiters = 0
        self.limit: asyncio.Timeout | None = None  # set while it goes on
        self.began_at = self.told_at = began_at
        self.is_kept = False
        self.found: Found | ResolveError | None = None
        self.heard: ResolveError | None = None
        self.is_decided: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.task: asyncio.Task[Found]

    def tell(self, found: Found | ResolveError, now: float) -> None:
        """Note what the lookup knows before it has ended."""
        self.told_at = now
        if isinstance(found, Found):
            self.end(found)
        else:
            self.heard = found

    def hold(self) -> None:
        """A caller begins to wait, so the lookup may go on for `MAX_LOOKUP`."""
        self._waiters += 1
        self._reschedule()

    def release(self) -> None:
        """A caller no longer waits. Without any, the lookup goes on for `LINGER`."""
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
        """Set the result, and wake the waiters."""
        self.found = found
        if not self.is_decided.done():
            self.is_decided.set_result(None)


Told: TypeAlias = Callable[[Key, Lookup, Found], None]
Ended: TypeAlias = Callable[[Key, Lookup, Found | ResolveError, float], None]


class Lookups:
    """
    Begins lookups and tells how they end.

    Args:
        upstream: The resolver that is asked.
        fallback: The resolver that is asked under the port `SYSTEM`; None where there isn't one.
        timeout: Seconds that each lookup goes on at least.
        spare: Closes an idle connection where no descriptor is left to ask with; False where there isn't one.
        told: Called with addresses that a lookup has before it has ended.
        ended: Called once with the result of each lookup, and the instant that the result is from. The result of a
            lookup that only failed to find more than it had told is what it had told.
    """

    def __init__(
        self,
        upstream: Resolver,
        fallback: Resolver | None,
        *,
        timeout: float,
        now: Callable[[], float],
        spare: Callable[[], bool],
        told: Told,
        ended: Ended,
    ) -> None:
        self._upstream = upstream
        self._fallback = fallback
        self._timeout = timeout
        self._now = now
        self._spare = spare
        self._told = told
        self._ended = ended
        self._in_flight: dict[Key, Lookup] = {}

    def __len__(self) -> int:
        return len(self._in_flight)

    def get(self, key: Key) -> Lookup | None:
        """The lookup in flight, if there is one."""
        return self._in_flight.get(key)

    def begin(self, key: Key) -> Lookup:
        """The lookup in flight, else a new one."""
        lookup = self._in_flight.get(key)
        if lookup is None:
            lookup = self._in_flight[key] = Lookup(self._now(), self._timeout)
            lookup.task = asyncio.get_running_loop().create_task(
                self._run(key, lookup), context=contextvars.Context(), name=f"seawall dns {key[0]}"
            )
            lookup.task.add_done_callback(lambda _: self._finished(key, lookup))
        return lookup

    async def aclose(self) -> None:
        """Cancel the lookups in flight, and close what they ask."""
        tasks = [lookup.task for lookup in self._in_flight.values()]
        for task in tasks:
            task.cancel()
        try:
            if tasks:
                await asyncio.wait(tasks, timeout=CLOSE_TIMEOUT)
        finally:
            try:
                await self._upstream.aclose()
            finally:
                if self._fallback is not None:
                    await self._fallback.aclose()

    async def _run(self, key: Key, lookup: Lookup) -> Found:
        try:
            async with asyncio.timeout_at(lookup.ends_at) as lookup.limit:
                while True:
                    try:
                        return await self._ask(key, lookup)
                    except ResolverFailure as error:
                        if not (error.is_shortage and self._spare()):
                            raise
                    await asyncio.sleep(0)  # meanwhile the loop closes the connection's socket
        finally:
            lookup.limit = None

    async def _ask(self, key: Key, lookup: Lookup) -> Found:
        host, port = key
        if port == SYSTEM:
            assert self._fallback is not None
            return Found(await self._fallback.resolve(host, 0))
        if isinstance(self._upstream, Progressive):
            return _checked(
                host, await self._upstream.look_up(host, port, lambda found: self._tell(key, lookup, found))
            )
        return _checked(host, Found(await self._upstream.resolve(host, port)))

    def _tell(self, key: Key, lookup: Lookup, found: Found | ResolveError) -> None:
        lookup.tell(found, self._now())
        if isinstance(found, Found):
            self._told(key, lookup, found)

    def _finished(self, key: Key, lookup: Lookup) -> None:
        del self._in_flight[key]
        found, at = result(lookup.task), self._now()
        is_failure = isinstance(found, ResolverFailure | ResolveTimeout) and not lookup.task.cancelled()
        if is_failure and isinstance(lookup.found, Found):
            found, at = lookup.found, lookup.told_at  # only the rest failed, such as the other family
        try:
            self._ended(key, lookup, found, at)
        finally:
            del lookup.task  # because the error of a cancelled task holds frames that hold the lookup
            lookup.end(found)


def result(task: asyncio.Task[Found]) -> Found | ResolveError:
    """
    The result of a finished lookup. An error that is none of seawall's four kinds is the resolver's failure.

    So is one that is an HTTP library's too, because the resolver's own client met it, about another name.
    """
    if task.cancelled():
        return ResolverFailure("the lookup was cancelled")
    error = task.exception()
    if error is None:
        return task.result()
    if isinstance(error, NameNotFound | NoAddress | ResolverFailure | ResolveTimeout) and not error.theirs:
        return public(error)
    if isinstance(error, TimeoutError):
        return ResolveTimeout("no answer from DNS in time (DNS.timeout)")
    failure = ResolverFailure(f"the resolver failed: {error!r}")
    failure.__cause__ = error
    return failure


def _checked(host: str, found: Found) -> Found:
    """
    The answer of a resolver, which anybody may have written.

    Raises:
        NoAddress, ResolverFailure: A resolver may not answer this.
    """
    answer = found.answer
    answer = answer._replace(addresses=tuple(answer.addresses), ranks=tuple(answer.ranks))
    if not answer.addresses:
        raise NoAddress(f"{host}: the resolver gave no address")
    for address in answer.addresses:
        if literal(address.ip) is None:
            raise ResolverFailure(f"{host}: the resolver gave {address.ip!r}, which isn't an IP address")
        if address.port is not None and not (isinstance(address.port, int) and 1 <= address.port <= 65535):
            raise ResolverFailure(f"{host}: the resolver gave port {address.port!r}, which isn't one (1 to 65535)")
    if answer.ttl is not None and (not isinstance(answer.ttl, int | float) or math.isnan(answer.ttl)):
        raise ResolverFailure(f"{host}: the resolver gave the TTL {answer.ttl!r}, which must be seconds, or None")
    if answer.ranks and len(answer.ranks) != len(answer.addresses):
        raise ResolverFailure(
            f"{host}: the resolver gave {len(answer.ranks)} ranks for {len(answer.addresses)} addresses"
        )
    for rank in answer.ranks:
        if not isinstance(rank, Rank) or not all(isinstance(number, int | float) for number in rank):
            raise ResolverFailure(f"{host}: the resolver gave {rank!r}, which isn't a seawall.dns.Rank of numbers")
    return found._replace(answer=answer)
