"""What is known of the HTTP versions of one origin: dials ask it, connections correct it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

__all__ = ["MAX_STREAMS", "Known"]

MAX_STREAMS: Final = 100  # until the server has said; what RFC 9113 section 6.5.2 asks servers to allow


class Known:
    """
    What is known of one origin.

    Attributes:
        chooses_http1: The server was offered both versions, and chose HTTP/1.1.
        requires_http1: The server speaks HTTP/2, and asked for HTTP/1.1.
        max_streams: At once on one connection, by its last SETTINGS.
        silent: Connections on which no PING is answered, and what to call once another connection hears of the server.
    """

    __slots__ = ("chooses_http1", "max_streams", "requires_http1", "silent")

    def __init__(self) -> None:
        self.chooses_http1 = self.requires_http1 = False
        self.max_streams = MAX_STREAMS
        self.silent: dict[object, Callable[[], None]] = {}
