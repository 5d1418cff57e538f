"""
A new connection for a request: name → addresses → slot → dial → TLS.

Rules: a name is resolved before a slot of the client-wide cap is asked for, because two hundred dead names must not
hold up a healthy host. The connect timeout covers resolving, dialling and TLS together, and stands still in the queue
for a slot. Where HTTP/2 is expected, one request dials, and as many as may share the connection follow it; one that
must queue for a slot is followed by none, because all calls stand in the queue in the order in which they came.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, NamedTuple, Protocol

from ..dns.resolver import Answer
from ..errors import (
    DialError,
    DialTimeout,
    ProxyUnreachable,
    ResolveError,
    SeawallError,
    TLSError,
)
from ..events import Phase
from ..origin import Address, Origin
from ..route import Destination, Route
from ..stats import NameStats
from .connection import Channel, Pooled
from .dial import STRAIGHT, Dialler
from .message import Message
from .pool import Pool
from .progress import Progress
from .proxy import Crossing, Passages, unreachable
from .ready import DIAL_TIMEOUT
from .sharing import End, First, Firsts
from .trace import Trace
from .wanted import Wanted, check_names, late_error

__all__ = ["Names", "Opener"]

QUICK: Final = 1.0  # s within which refusals come from a host that is there; an ARP request fails after 3


class Names(Protocol):
    """What is known of names, and what asks about the others; see `CachingResolver`."""

    async def resolve(self, origin: Origin) -> Answer: ...

    def late(self, origin: Origin) -> Callable[[], Awaitable[list[Address]]] | None: ...

    async def is_still(self, origin: Origin, address: Address) -> bool | None: ...

    def recheck_in(self, origin: Origin, address: Address) -> float: ...

    def good_for(self, origin: Origin) -> float: ...

    def disprove(self, origin: Origin) -> None:
        """None of the addresses that were dialled took a connection: the name may have others by now."""

    def stats(self) -> Mapping[str, NameStats]: ...

    async def aclose(self) -> None: ...


class _Probe(NamedTuple):
    """Stands in for a request where a connection is opened to see whether that goes."""

    origin: Origin
    timeouts: Mapping[str, float | None] = {"connect": DIAL_TIMEOUT, "pool": DIAL_TIMEOUT}
    extensions: Mapping[str, Any] = {}
    route: Route | None = None


class Opener:
    """
    Args:
        now: Loop time.
        max_age: Seconds after which a connection is not used again; None disables it.
        passages: Lets dials through proxies.
    """

    def __init__(
        self,
        pool: Pool,
        dialler: Dialler,
        names: Names,
        *,
        now: Callable[[], float],
        max_age: float | None,
        passages: Passages,
    ) -> None:
        self._pool = pool
        self._dialler = dialler
        self._names = names
        self._now = now
        self._max_age = max_age
        self._passages = passages
        self._firsts = Firsts()

    async def connect(self, message: Message, key: Destination, progress: Progress, trace: Trace | None) -> Channel:
        """
        A new connection; or a stream of one that another request was just opening.

        Args:
            key: What the pool keeps the connection under.
        """
        limit, spent, is_queueing = message.timeouts.get("connect"), 0.0, False
        late: First | None = None
        while (max_streams := self._dialler.versions.streams(message.origin)) > 1:
            began_at, left = self._now(), math.inf if limit is None else limit - spent
            first = self._firsts.by_key.get(key)
            if first is None or first is late or not first.suits(is_queueing=is_queueing):
                first, late = First(max_streams, began_at + left), None
                if (channel := await self._open_first(first, message, key, progress, trace, spent)) is not None:
                    return channel
                continue  # another has begun to dial meanwhile
            progress.reached(Phase.CONNECTING)
            end = await first.followed(left, began_at + left)
            if end in (End.FAILED, End.LEFT, End.LATE):
                spent += self._now() - began_at
            if end in (End.FAILED, End.HTTP1):
                break
            if end is End.SHARED and (channel := self._pool.take(key, self._now())) is not None:
                return channel
            late, is_queueing = first if end is End.LATE else None, end is End.QUEUES
        opened = await self._open(message, key, progress, trace, None, spent)
        assert opened is not None  # because it could follow no other
        return opened

    async def _open_first(
        self,
        first: First,
        message: Message,
        key: Destination,
        progress: Progress,
        trace: Trace | None,
        spent: float,
    ) -> Channel | None:
        """For others too, which are told how it ended; see `_open`."""
        self._firsts.by_key[key] = first
        end = End.FAILED
        try:
            channel = await self._open(message, key, progress, trace, first, spent)
            end = End.SHARED if channel is None or channel.is_multiplexed else End.HTTP1
            return channel
        except asyncio.CancelledError:
            end = End.LEFT
            raise
        finally:
            self._firsts.settle(first, key, end)

    async def probe(self, origin: Origin) -> DialError | None:
        """
        Leave a new connection of *origin* in the pool.

        Returns:
            How it refused, or that it said nothing; None also if it failed otherwise, which calls must see themselves.
        """
        try:
            channel = await self._open(_Probe(origin), origin, Progress(self._now, self._now()), None, None, 0.0)
        except DialError as error:
            return error if error.is_refused or isinstance(error, DialTimeout) else None
        except SeawallError:
            return None
        if channel is not None:
            channel.put_back()
        return None

    async def _open(
        self,
        message: Wanted,
        key: Destination,
        progress: Progress,
        trace: Trace | None,
        first: First | None,
        spent: float,
    ) -> Channel | None:
        """
        A new connection; through a proxy, if its breaker lets it be dialled.

        Args:
            first: The dial that others follow; None if this call dials for itself, whatever others do.
            spent: Seconds of its connect timeout in which the call has followed others.
        Returns:
            None where another has begun to dial while it waited for a slot.
        """
        route = message.route or STRAIGHT
        check_names(message, route)
        crossing = Crossing(self._passages, route.proxy, message.origin)
        try:
            return await self._dialled(message, key, progress, trace, route, crossing, first, spent)
        except BaseException as error:
            crossing.end(error)
            raise

    async def _dialled(
        self,
        message: Wanted,
        key: Destination,
        progress: Progress,
        trace: Trace | None,
        route: Route,
        crossing: Crossing,
        first: First | None,
        spent: float,
    ) -> Channel | None:
        origin, started_at, limit = message.origin, self._now() - spent, message.timeouts.get("connect")
        peer = route.peer(origin)
        if limit is not None and progress.queued:
            waited = progress.waited_for_origin()
            limit -= waited if waited < limit else 0.0  # who may wait for longer has all of it for the dial
        crossing.begin()
        progress.reached(Phase.RESOLVING)
        answer = None if route.uds is not None else await self._resolved(origin, route, progress, started_at, limit)
        left = None if limit is None else limit - (self._now() - started_at)
        if not self._pool.try_reserve(key):
            crossing.withdraw()  # the proxy has no part in the wait
            if first is not None:
                self._firsts.settle(first, key, End.QUEUES)
            if (given := await self._slot(message, key, peer, progress)) is not None:
                progress.is_reused = True
                return given
        by = math.inf if left is None else self._now() + left
        if first is not None and not self._firsts.may_dial(first, key, by):
            crossing.withdraw()
            self._pool.cancel(key)
            return None
        began_at, timer = self._now(), asyncio.timeout(left)
        try:
            crossing.begin()
            async with timer:
                server_hostname = message.extensions.get("sni_hostname")
                if answer is None:
                    connection = await self._dialler.dial_unix(
                        origin, progress, route, server_hostname=server_hostname, trace=trace
                    )
                else:
                    connection = await self._dialler.dial(
                        origin,
                        answer,
                        progress,
                        route=route,
                        late=self._names.late(peer),
                        server_hostname=server_hostname,
                        trace=trace,
                        crossed=crossing.end,
                    )
        except BaseException as error:
            self._pool.cancel(key)
            if isinstance(error, TimeoutError) and timer.expired():
                assert limit is not None
                if route.proxy is None or progress.phase < Phase.TUNNEL:
                    self._dialler.mark_late(peer, progress, limit)
                    self._names.disprove(peer)
                elapsed = self._now() - started_at
                raise late_error(origin, route, progress, elapsed, limit) from error.with_traceback(None)
            # By a function of its own, because a name for the cause would hold this frame.
            self._refused(error.__cause__ if isinstance(error, ProxyUnreachable) else error, peer, began_at)
            raise
        finally:
            del timer
        return self._added(connection, peer, key, answer, progress)

    def _refused(self, error: BaseException | None, peer: Origin, began_at: float) -> None:
        """None of the addresses of *peer* took a connection: the name may have others, and the peer may be away."""
        if isinstance(error, DialError) and not isinstance(error, TLSError) and not error.is_shortage:
            self._names.disprove(peer)
            error.is_refused = error.is_refused and self._now() - began_at < QUICK

    async def _resolved(
        self, origin: Origin, route: Route, progress: Progress, started_at: float, limit: float | None
    ) -> Answer:
        """The addresses that are dialled for *origin*."""
        timer = asyncio.timeout(None if limit is None else limit - (self._now() - started_at))
        try:
            async with timer:
                answer = await self._names.resolve(route.peer(origin))
        except TimeoutError as error:
            if not timer.expired():
                raise
            raise late_error(origin, route, progress, self._now() - started_at, limit) from error.with_traceback(None)
        except ResolveError as error:
            if route.proxy is None:
                raise
            raise unreachable(origin, route.proxy, error) from error
        finally:
            del timer  # it holds the task, the task its error, and that this frame
        progress.source = answer.source
        return answer

    async def rechecked(self, channel: Channel, peer: Origin) -> Channel | None:
        """*channel*, unless its address has left the name's record, because keep-alive must not defeat a fail-over."""
        assert channel.address is not None
        try:
            is_still = await self._names.is_still(peer, channel.address)
        except BaseException:
            channel.close()
            raise
        if is_still is False or not channel.is_usable:
            channel.leave()
            return None
        if is_still:
            channel.good_until = self._now() + self._names.recheck_in(peer, channel.address)
        return channel

    async def _slot(self, message: Wanted, key: Destination, peer: Origin, progress: Progress) -> Channel | None:
        """
        A slot for a new connection, once there is one: None; or a connection of the same origin that became free.

        Raises:
            BulkheadFull: Neither within the pool timeout.
        """
        timeout, began_at = message.timeouts.get("pool"), self._now()
        given_up_at = None if timeout is None else began_at + max(0.0, timeout - progress.waited_in_queues())
        try:
            while True:
                left = None if given_up_at is None else max(0.0, given_up_at - self._now())
                given = await self._pool.reserve(left, key)
                if given is not None and given.is_usable and given.good_until <= self._now():
                    given = await self.rechecked(given, peer)
                    if given is None:
                        continue  # its slot is somebody else's by now
                if given is None or given.is_usable:
                    return given
                given.leave()  # it died on the way
        finally:
            progress.queued_at("cap", self._now() - began_at)

    def _added(
        self, connection: Pooled, peer: Origin, key: Destination, answer: Answer | None, progress: Progress
    ) -> Channel:
        """*connection* is the pool's from now on; a channel of it for the request that had it dialled."""
        address, now = progress.address, self._now()
        assert address is not None
        connection.origin, connection.address = key, address
        if answer is not None:  # else it is a Unix socket's
            connection.good_until = now + self._names.recheck_in(peer, address)
            if not (connection.is_multiplexed or answer.ranks):
                connection.load = self._dialler.addresses.load(peer, address)
        if self._max_age is not None:
            connection.ends_at = now + self._max_age
        self._pool.add(connection)
        channel = connection.channel()
        connection.on_room(connection)  # for those that queued for a slot meanwhile
        return channel
