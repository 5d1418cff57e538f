"""
Which HTTP version each origin speaks, by what its server chose and said last.

Rules: what is known helps the connections to come, and they correct it; where it is wrong, that costs a round trip.
Nothing is kept where HTTP/2 is switched off. This is the one place that loads HTTP/2, because that needs an extra.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from ..origin import Origin
from ..route import Route
from .connection import Pooled
from .http1.connection import Connection
from .http1.room import keep_memory
from .known import MAX_STREAMS, Known

if TYPE_CHECKING:  # it needs the extra "http2"
    from .http2.connection import Multiplexed

__all__ = ["Versions"]

READ_SIZE = 256 * 1024  # B; asyncio's, which allocates as much for each read: a page fault or two, or a system call
MAX_ORIGINS = 1024


class Versions:
    """Of all origins; the least recently dialled are forgotten first."""

    def __init__(self, *, http1: bool, http2: bool) -> None:
        self._http1 = http1
        self._multiplexed = _multiplexed() if http2 else None
        self._known: OrderedDict[Origin, Known] = OrderedDict()
        self._buffer = memoryview(bytearray(READ_SIZE))
        keep_memory()

    def connection(self, origin: Origin) -> Pooled:
        """A connection to be dialled: one that offers HTTP/2, or one that doesn't."""
        if self._multiplexed is not None and (origin.is_secure or not self._http1):
            known = self._known.setdefault(origin, Known())
            self._known.move_to_end(origin)
            if len(self._known) > MAX_ORIGINS:
                self._known.popitem(last=False)
            if not known.requires_http1:
                return self._multiplexed(origin, self._buffer, known, is_secure=origin.is_secure)
        return Connection(origin, self._buffer, is_secure=origin.is_secure)

    def plain(self, origin: Origin) -> Connection:
        """A connection to a proxy, which speaks HTTP/1.1, or SOCKS before it does."""
        return Connection(origin, self._buffer, is_secure=origin.is_secure)

    def is_forwarded(self, origin: Origin, route: Route) -> bool:
        """Whether a proxy is sent requests for *origin* to forward, and not asked for a tunnel."""
        proxy = route.proxy
        return proxy is not None and not (proxy.is_socks or origin.is_secure) and self._http1

    def agreed(self, connection: Pooled) -> Pooled:
        """*connection* as what the server chose by ALPN (RFC 7301). Raises ssl.SSLError."""
        tls = connection.info("ssl_object")
        chosen = None if tls is None else tls.selected_alpn_protocol()
        if connection.agrees(chosen, can_fall_back=self._http1):
            return connection
        plain = Connection(connection.origin, self._buffer, is_secure=True)
        plain.take_over(connection)
        return plain

    def streams(self, origin: Origin) -> int:
        """How many requests at once a connection to *origin* is likely to take; 1 where it speaks HTTP/1.1."""
        if self._multiplexed is None or not (origin.is_secure or not self._http1):
            return 1
        known = self._known.get(origin)
        if known is None:
            return MAX_STREAMS
        return 1 if known.chooses_http1 or known.requires_http1 else known.max_streams


def _multiplexed() -> type[Multiplexed]:
    try:
        from .http2.connection import Multiplexed
    except ImportError as error:
        raise ImportError('http2=True needs the package hpack: pip install "seawall[http2]"') from error
    return Multiplexed
