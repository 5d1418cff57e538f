"""
Which HTTP each origin speaks, by what it chose and said last.

Rules: what is known is for the connections to come, and is theirs to correct; where it is wrong, that costs a round
trip. Where HTTP/2 is not switched on, nothing is kept.
"""

from __future__ import annotations

import ssl
from collections import OrderedDict
from typing import TYPE_CHECKING

from ..origin import Origin
from .http1.connection import Connection

if TYPE_CHECKING:  # it needs the extra "http2"
    from .http2.connection import Multiplexed

__all__ = ["Known", "Versions"]

READ_SIZE = 256 * 1024  # B; asyncio's, which allocates as much for each read: a page fault or two, or a system call
MAX_ORIGINS = 1024
MAX_STREAMS = 100  # until the server has said; what RFC 9113 section 6.5.2 asks servers to allow


class Known:
    """
    What is known of one origin.

    Attributes:
        chooses_http1: It was asked, and chose HTTP/1.1.
        requires_http1: It speaks HTTP/2, and asked for HTTP/1.1.
        max_streams: At once on one connection, by its last SETTINGS.
    """

    __slots__ = ("chooses_http1", "max_streams", "requires_http1")

    def __init__(self) -> None:
        self.chooses_http1 = self.requires_http1 = False
        self.max_streams = MAX_STREAMS


class Versions:
    """Of all origins; the least recently dialled go first."""

    def __init__(self, *, http1: bool, http2: bool) -> None:
        self._http1 = http1
        self._multiplexed = _multiplexed() if http2 else None
        self._known: OrderedDict[Origin, Known] = OrderedDict()
        self._buffer = memoryview(bytearray(READ_SIZE))

    def stream(self, origin: Origin) -> Connection | Multiplexed:
        """What is to be dialled: it offers HTTP/2 or does not."""
        if self._multiplexed is not None and (origin.is_secure or not self._http1):
            known = self._known.setdefault(origin, Known())
            self._known.move_to_end(origin)
            if len(self._known) > MAX_ORIGINS:
                self._known.popitem(last=False)
            if not known.requires_http1:
                return self._multiplexed(origin, self._buffer, known, is_secure=origin.is_secure)
        return Connection(origin, self._buffer, is_secure=origin.is_secure)

    def agreed(self, stream: Connection | Multiplexed) -> Connection | Multiplexed:
        """As what the server chose by ALPN (RFC 7301), or as HTTP/2 where nothing else is spoken here."""
        tls = stream.info("ssl_object")
        is_chosen = tls is not None and tls.selected_alpn_protocol() == "h2"
        if isinstance(stream, Connection):
            if is_chosen:
                raise ssl.SSLError("the server chose HTTP/2: somebody else offers it with the same ssl.SSLContext")
            return stream
        stream.known.chooses_http1 = not is_chosen and self._http1
        if not stream.known.chooses_http1:
            stream.begin(can_fall_back=self._http1)
            return stream
        plain = Connection(stream.origin, self._buffer, is_secure=True)
        plain.take_over(stream)
        return plain

    def streams(self, origin: Origin) -> int:
        """How many requests at once a connection to *origin* is likely to take; 1 of HTTP/1.1."""
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
        raise ImportError('http2=True needs the package h2: pip install "seawall[http2]"') from error
    return Multiplexed
