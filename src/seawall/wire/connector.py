"""
One attempt on the wire: an idle connection, or name → addresses → slot → dial → TLS; then send, and read.

Rules: a name is resolved before a slot of the client-wide cap is asked for: two hundred dead names must not hold up a
healthy host. The connect timeout covers resolving, dialling and TLS together. A connection is given back or closed
exactly once.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from ..dns.resolver import Answer
from ..errors import DialError, DialTimeout, HandshakeTimeout, ResolveTimeout, SeawallError, TLSError, WireError
from ..events import Phase
from ..origin import Address, Origin
from ..stats import NameStats
from .dial import Dialler
from .http1.answer import Head
from .http1.connection import Connection
from .message import Heads, Message
from .pool import Pool
from .progress import Progress
from .trace import Trace
from .upgrade import Facts, Tunnel

if TYPE_CHECKING:  # it needs the extra "http2"
    from .http2.stream import Channel

__all__ = ["Answered", "Names", "Wire"]

TIMEOUTS = {Phase.CONNECTING: DialTimeout, Phase.TLS: HandshakeTimeout}


class Names(Protocol):
    """What is known of names, and who asks about the others; see `CachingResolver`."""

    async def resolve(self, origin: Origin) -> Answer: ...

    def late(self, origin: Origin) -> Callable[[], Awaitable[list[Address]]] | None: ...

    async def is_still(self, origin: Origin, address: Address) -> bool | None: ...

    def recheck_in(self, origin: Origin, address: Address) -> float: ...

    def good_for(self, origin: Origin) -> float: ...

    def disprove(self, origin: Origin) -> None:
        """None of the addresses that were dialled took a connection: the name may have others by now."""

    def stats(self) -> Mapping[str, NameStats]: ...

    async def aclose(self) -> None: ...


class Answered:
    """A response whose head is there and whose body is on the wire."""

    __slots__ = ("_connection", "_origin", "_progress", "_trace", "_wire", "head")

    def __init__(
        self,
        head: Head,
        connection: Connection | Channel,
        origin: Origin,
        progress: Progress,
        wire: Wire,
        trace: Trace | None,
    ) -> None:
        self.head = head
        self._connection: Connection | Channel | None = connection
        self._origin = origin
        self._progress = progress
        self._wire = wire
        self._trace = trace

    @property
    def extensions(self) -> dict[str, Any]:
        """httpx's, of a response."""
        connection = self._connection
        assert connection is not None
        extensions = connection.extensions
        if isinstance(connection, Connection):
            extensions["network_stream"] = Tunnel(connection)
        else:
            extensions["network_stream"] = Facts(connection.connection)
        return extensions

    def take(self) -> bytes | None:
        """The whole body, if all of it is there; the connection is then back in the pool."""
        connection = self._connection
        if connection is None or connection.is_upgraded or self._trace is not None:
            return None
        whole = connection.whole()
        if whole is not None:
            if whole:
                self._progress.reached(Phase.BODY)
            self.close()
        return whole

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """The body's parts. Raises WireError; the connection is closed then, and on cancellation."""
        connection = self._connection
        if connection is None:
            return
        try:
            if self._trace is None:
                async for part in connection.body():
                    yield part
                return
            async with self._trace.step(f"{connection.name}.receive_response_body", request=self._trace.request):
                async for part in connection.body():
                    yield part
        except BaseException as error:
            if self._trace is not None and isinstance(error, Exception):
                async with self._trace.step(f"{connection.name}.response_closed"):
                    self.abandon()
            self.abandon()
            raise

    def close(self) -> None:
        """Back to the pool if all was read, else closed. May be called again."""
        connection, self._connection = self._connection, None
        if connection is not None:
            wire, status = self._wire, self.head.status
            if status < 500 or status == 501:
                wire.praise(self._origin, connection)
            connection.finish()
            if isinstance(connection, Connection):
                wire.pool.keep(connection, self._progress.now())

    async def aclose(self) -> None:
        """The same, for callers that await it."""
        connection = self._connection
        if connection is None:
            return
        upload = connection.upload
        if self._trace is None:
            self.close()
        else:
            async with self._trace.step(f"{connection.name}.response_closed"):
                self.close()
        if upload is not None:
            await upload.stopped()

    def abandon(self) -> None:
        """Close the connection, now."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


class _First:
    """Who dials where HTTP/2 is to be expected, and for how many more there is room on what comes of it."""

    __slots__ = ("is_shared", "room")

    def __init__(self, max_streams: int) -> None:
        self.is_shared: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.room = max_streams - 1


class Wire:
    """Our own exchange with a server, over the parts that it is given."""

    def __init__(
        self,
        pool: Pool,
        dialler: Dialler,
        names: Names,
        *,
        now: Callable[[], float],
        max_age: float | None = None,
    ) -> None:
        self.pool = pool
        self.names = names
        self.heads = Heads()
        self._dialler = dialler
        self._addresses = dialler.addresses
        self._now = now
        self._max_age = max_age
        self._first: dict[Origin, _First] = {}

    async def send(self, message: Message, progress: Progress) -> Answered:
        """
        Up to the response's head.

        **Cancellation:** the connection is closed, its slot given back.

        Raises:
            Unsent, WireError: By how far it got.
        """
        trace = Trace.of(message) if "trace" in message.extensions else None
        key = _key(message.origin, message.extensions) if "sni_hostname" in message.extensions else message.origin
        now = progress.started_at + progress.waited
        avoid = progress.avoid
        if avoid and not self._addresses.has_other(message.origin, avoid):
            avoid = ()
        connection = self.pool.take(key, now, avoid)
        if connection is not None and connection.good_until <= now:
            connection = await self._rechecked(connection, message.origin)
        if connection is None:
            connection = await self._connect(message, key, progress, trace)
        else:
            progress.is_reused = True
        progress.address = connection.address
        try:
            head = await connection.send(message, progress, trace)
        except WireError as error:
            if error.is_stale:
                self.pool.drop_idle(key)
            raise
        return Answered(head, connection, message.origin, progress, self, trace)

    def praise(self, origin: Origin, connection: Connection | Channel) -> None:
        """The address of *connection* has answered well."""
        if connection.address is not None:
            self._addresses.note(origin, connection.address, is_failure=False)

    def blame(self, origin: Origin, extensions: Mapping[str, Any], progress: Progress) -> None:
        """
        An attempt failed at its address; if that is ejected now, connections to it are used no more.

        The layers say when, because they know whose fault a failure was.
        """
        address = progress.address
        if address is None or progress.phase < Phase.SENDING:
            return
        if not progress.is_reused and progress.phase < Phase.HEADERS:
            # It took the connection and then broke it, or said nothing: others dial another first.
            self._addresses.mark_bad(origin, address)
        if self._addresses.note(origin, address, is_failure=True):
            self.pool.retire(_key(origin, extensions), address)

    async def aclose(self) -> None:
        self.pool.close()
        self.heads.clear()
        await self.names.aclose()

    async def _rechecked(self, connection: Connection | Channel, origin: Origin) -> Connection | Channel | None:
        """*connection*, unless its address has left the name's record: keep-alive is not to defeat a fail-over."""
        assert connection.address is not None
        try:
            is_still = await self.names.is_still(origin, connection.address)
        except BaseException:
            connection.close()
            raise
        if is_still is False or not connection.is_usable:
            connection.leave()
            return None
        if is_still:
            connection.good_until = self._now() + self.names.recheck_in(origin, connection.address)
        return connection

    async def _connect(
        self, message: Message, key: Origin, progress: Progress, trace: Trace | None
    ) -> Connection | Channel:
        """
        A new connection; or a stream of one that somebody else was just opening.

        Where HTTP/2 is to be expected, one dials and as many as might share it wait for what comes of it.
        """
        timeouts = message.timeouts
        connect, pool = timeouts.get("connect"), timeouts.get("pool")
        gives_up_at = None if connect is None or pool is None else self._now() + connect + pool
        while (max_streams := self._dialler.versions.streams(message.origin)) > 1:
            first = self._first.get(key)
            if first is None or first.room <= 0:
                return await self._open_first(_First(max_streams), message, key, progress, trace)
            progress.reached(Phase.CONNECTING)
            timeout = None if gives_up_at is None else gives_up_at - self._now()
            first.room -= 1
            try:
                await asyncio.wait([first.is_shared], timeout=timeout)
            finally:
                first.room += 1  # of no matter once it is there
            if not (first.is_shared.done() and first.is_shared.result()):
                break
            if (connection := self.pool.take(key, self._now())) is not None:
                return connection
        return await self._open(message, key, progress, trace)

    async def _open_first(
        self, first: _First, message: Message, key: Origin, progress: Progress, trace: Trace | None
    ) -> Connection | Channel:
        """For others too, who are told to go on alone where it can't be shared: it failed, or is HTTP/1.1."""
        self._first[key] = first
        is_alone = True
        try:
            connection = await self._open(message, key, progress, trace)
            is_alone = isinstance(connection, Connection)
            return connection
        except asyncio.CancelledError:
            is_alone = False  # which says nothing: another goes first
            raise
        finally:
            if self._first.get(key) is first:
                del self._first[key]
            first.is_shared.set_result(not is_alone)

    async def _open(
        self, message: Message, key: Origin, progress: Progress, trace: Trace | None
    ) -> Connection | Channel:
        origin, pool, timeouts = message.origin, self.pool, message.timeouts
        started_at, limit = self._now(), timeouts.get("connect")
        progress.reached(Phase.RESOLVING)
        timer = asyncio.timeout(limit)
        try:
            async with timer:
                answer = await self.names.resolve(origin)
                progress.source = answer.source
                connect_left = None if limit is None else limit - (self._now() - started_at)
        except TimeoutError as error:
            if not timer.expired():
                raise
            raise self._late(origin, progress, started_at, limit) from error.with_traceback(None)
        finally:
            del timer  # it holds the task, the task its error, and that this frame
        pool_timeout, began_at = timeouts.get("pool"), self._now()
        left = None if pool_timeout is None else max(0.0, pool_timeout - progress.waited)
        while (given := await pool.reserve(left, key)) is not None:
            if given.is_usable:
                progress.is_reused = True
                return given
            given.leave()  # it died on the way; its slot is somebody else's by now
            left = None if left is None else max(0.0, left - (self._now() - began_at))
            began_at = self._now()
        timer = asyncio.timeout(connect_left)
        try:
            async with timer:
                connection = await self._dialler.dial(
                    origin,
                    answer,
                    progress,
                    late=self.names.late(origin),
                    server_hostname=message.extensions.get("sni_hostname"),
                    trace=trace,
                )
        except BaseException as error:
            pool.cancel(key)
            if isinstance(error, TimeoutError) and timer.expired():
                assert limit is not None
                self._dialler.mark_late(origin, progress, limit)
                self.names.disprove(origin)
                raise self._late(origin, progress, started_at, limit) from error.with_traceback(None)
            if isinstance(error, DialError) and not isinstance(error, TLSError) and not error.is_shortage:
                self.names.disprove(origin)
            raise
        finally:
            del timer
        address, now = progress.address, self._now()
        assert address is not None
        connection.address, connection.good_until = address, now + self.names.recheck_in(origin, address)
        if isinstance(connection, Connection) and not answer.ranks:
            connection.load = self._addresses.load(origin, address)
        connection.origin = key
        if self._max_age is not None:
            connection.ends_at = now + self._max_age
        pool.add(connection)
        if isinstance(connection, Connection):
            return connection
        channel = connection.channel()
        connection.on_room(connection)  # for who queued for a slot meanwhile
        return channel

    def _late(self, origin: Origin, progress: Progress, started_at: float, limit: float | None) -> SeawallError:
        kind = TIMEOUTS.get(progress.phase, ResolveTimeout)
        address = f" at {progress.address}" if progress.address is not None else ""
        return kind(
            f"{origin}{address}: {progress.phase.name.lower()} took longer than the connect timeout of {limit:g} s",
            origin=origin,
            elapsed=self._now() - started_at,
        )


def _key(origin: Origin, extensions: Mapping[str, Any]) -> Origin:
    """
    What the pool keeps the connection under: one that was verified for a name (`sni_hostname`) serves requests for that
    name only.
    """
    name = extensions.get("sni_hostname")
    return origin if name is None or not origin.is_secure else origin.verified_as(name)
