"""
One attempt on the wire: an idle connection, or a new one; then send, and read.

Rules: a connection is given back or closed exactly once. The layers above decide whose fault a failure is, because only
they know what the call wanted.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Final
from weakref import WeakValueDictionary

from ..attempts import BODY, HEADERS, SENDING
from ..errors import WireError
from ..origin import Origin
from ..route import Destination, Endpoint, Route
from .connection import Channel, Gathered
from .dial import Dialler
from .message import Blocks, Head, Message
from .opening import Names, Opener
from .pool import Pool
from .progress import Progress
from .proxy import Passages
from .ready import Probers
from .trace import Trace

__all__ = ["Answered", "Wire"]

HELD: Final = 64  # endpoints beside those of open connections; each may hold a TLS context, of 0.5 MB


class Answered:
    """
    A response whose head has come, and whose body is on the wire.

    Attributes:
        extensions: httpx's, of a response.
    """

    __slots__ = ("_channel", "_origin", "_progress", "_trace", "_wire", "extensions", "head")

    def __init__(
        self, head: Head, channel: Channel, origin: Origin, progress: Progress, wire: Wire, trace: Trace | None
    ) -> None:
        self.head = head
        self.extensions = channel.extensions
        self._channel: Channel | None = channel
        self._origin = origin
        self._progress = progress
        self._wire = wire
        self._trace = trace

    def take(self) -> bytes | None:
        """The whole body, if all of it has come; the connection is then back in the pool."""
        channel = self._channel
        if channel is None or channel.is_upgraded or self._trace is not None:
            return None
        whole = channel.whole()
        if whole is not None:
            if whole:
                self._progress.reached(BODY)
            self.close()
        return whole

    def gather(self, came: Callable[[int], None], max_size: int | None) -> Gathered | None:
        """As `Channel.gather`."""
        return None if self._channel is None else self._channel.gather(came, max_size)

    def __aiter__(self) -> AsyncIterator[bytes]:
        """The body's parts. Raises WireError. Whoever reads it abandons it on any failure, and on cancellation."""
        channel = self._channel
        if channel is None:
            return _nothing()
        return channel.body() if self._trace is None else self._traced(channel, self._trace)

    async def _traced(self, channel: Channel, trace: Trace) -> AsyncIterator[bytes]:
        try:
            async with trace.step(f"{channel.name}.receive_response_body", request=trace.request):
                async for part in channel.body():
                    yield part
        except Exception:
            async with trace.step(f"{channel.name}.response_closed"):
                self.abandon()
            raise

    def close(self) -> None:
        """Back to the pool if all was read, else closed. May be called again."""
        channel, self._channel = self._channel, None
        if channel is not None:
            status = self.head.status
            if self._wire.addresses.several and (status < 500 or status == 501):
                self._wire.praise(self._origin, channel)
            channel.finish()

    async def aclose(self) -> None:
        """The same, for callers that await it."""
        channel = self._channel
        if channel is None:
            return
        upload = channel.upload
        if self._trace is None:
            self.close()
        else:
            async with self._trace.step(f"{channel.name}.response_closed"):
                self.close()
        if upload is not None:
            await upload.stopped()

    def abandon(self) -> None:
        """Close the connection, now."""
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.close()


class Wire:
    """
    Our own exchange with a server, over the parts that it is given.

    Args:
        now: Loop time.
        max_age: Seconds after which a connection is not used again; None disables it.
        passages: Lets dials through proxies.
    Attributes:
        blocks: The headers of the last requests, as bytes.
        addresses: What is known of addresses.
        probers: Dial origins that are away.
    """

    def __init__(
        self,
        pool: Pool,
        dialler: Dialler,
        names: Names,
        *,
        now: Callable[[], float],
        max_age: float | None = None,
        passages: Passages,
    ) -> None:
        self.pool = pool
        self.names = names
        self.blocks = Blocks()
        self.dialler = dialler
        self.addresses = dialler.addresses
        self._opener = Opener(pool, dialler, names, now=now, max_age=max_age, passages=passages)
        self.probers = Probers(pool, self._opener.probe, now=now)
        # Most calls go where the last few did.
        self._endpoint = functools.lru_cache(HELD)(functools.partial(_kept, WeakValueDictionary()))
        self._now = now

    async def send(self, message: Message, progress: Progress) -> Answered:
        """
        Up to the response's head.

        **Cancellation:** the connection is closed, its slot given back.

        Raises:
            Unsent, WireError: By how far it got.
        """
        trace = Trace.of(message) if "trace" in message.extensions else None
        origin, route = message.origin, message.route
        is_plain = route is None and "sni_hostname" not in message.extensions
        key = origin if is_plain else self._key(origin, message.extensions, route)
        peer = origin if route is None else route.peer(origin)
        now = progress.started_at + progress.waited
        avoid = progress.avoid
        if avoid and not self.addresses.has_other(peer, avoid):
            avoid = ()
        channel = self.pool.take(key, now, avoid)
        if channel is not None and channel.good_until <= now:
            channel = await self._opener.rechecked(channel, peer)
        if channel is None:
            channel = await self._opener.connect(message, key, progress, trace)
        else:
            progress.is_reused = True
        progress.address = channel.address
        try:
            head = await channel.send(message, progress, trace)
        except WireError as error:
            if error.is_stale:
                self.pool.drop_idle(key)
            raise
        progress.protocol = channel.protocol
        return Answered(head, channel, peer, progress, self, trace)

    def is_forwarded(self, origin: Origin, route: Route) -> bool:
        """Whether a request takes the form for a proxy that forwards it (RFC 9112 section 3.2.2)."""
        return self.dialler.versions.is_forwarded(origin, route)

    def praise(self, origin: Origin, channel: Channel) -> None:
        """The address of *channel* has answered well."""
        if channel.address is not None:
            self.addresses.note(origin, channel.address, is_failure=False)

    def blame(self, origin: Origin, extensions: Mapping[str, Any], route: Route | None, progress: Progress) -> None:
        """
        An attempt failed at its address; if that is ejected now, connections to it are not used any more.

        A proxy's address isn't to blame for what the origin behind it does.
        """
        address = progress.address
        if address is None or progress.phase < SENDING or (route is not None and route.proxy is not None):
            return
        if not progress.is_reused and progress.phase < HEADERS:
            # It took the connection and then broke it, or said nothing: others dial another first.
            self.addresses.mark_bad(origin, address)
        if self.addresses.note(origin, address, is_failure=True):
            self.pool.retire(self._key(origin, extensions, route), address)

    def close(self) -> None:
        """All connections, now; what is dialled is closed as soon as it is there."""
        self.probers.stop()
        self.pool.close()
        self.blocks.forget()

    async def aclose(self) -> None:
        self.close()
        try:
            await self.probers.aclose()
        finally:
            await self.names.aclose()

    def _key(self, origin: Origin, extensions: Mapping[str, Any], route: Route | None) -> Destination:
        """
        What the pool keeps the connection under: one that was verified for a name (`sni_hostname`) serves requests for
        that name only, and one through a proxy requests through that proxy only.
        """
        name = extensions.get("sni_hostname") if origin.is_secure else None
        if name is None and route is None:
            return origin
        return self._endpoint(origin, route, name or "")


def _kept(endpoints: WeakValueDictionary[tuple[Any, ...], Endpoint], *key: Any) -> Endpoint:
    """The endpoint of that origin, route and name: one object, for as long as something holds it."""
    endpoint = endpoints.get(key)
    if endpoint is None:
        endpoint = endpoints[key] = Endpoint(*key)
    return endpoint


async def _nothing() -> AsyncIterator[bytes]:
    return
    yield b""
