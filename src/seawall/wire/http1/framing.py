"""
Where an HTTP/1.1 response ends, and what becomes of its connection: what llhttp is told, and what the headers say.
"""

from __future__ import annotations

import re
from typing import Final

import httptools

from ...errors import BadAnswer, ResponseTooLarge, WireError
from ...events import Phase
from ..message import Head
from ..progress import Progress

__all__ = ["MARGIN", "MIN_REST", "Bad", "TooLarge", "keep_alive", "llhttp", "rests_until", "says_body"]

MARGIN: Final = 1.0  # s that a request may take to get there; at most half of what the server says
MIN_REST: Final = 0.01  # s; less is the server's own jitter
MAX_REST: Final = 1.0  # s; what takes longer is the server's work, not the way to it
KEEP_ALIVE: Final = re.compile(rb"(timeout|max)\s*=\s*(\d{1,9})")


class Bad(Exception):
    """Raised through llhttp; its text says what is wrong with the response."""

    kind: type[WireError] = BadAnswer


class TooLarge(Bad):
    kind = ResponseTooLarge


def keep_alive(value: bytes) -> tuple[float | None, bool]:
    """The server's Keep-Alive (``timeout=5, max=100``): seconds, and whether the connection may be used again."""
    said = dict(KEEP_ALIVE.findall(value.lower()))
    return float(said[b"timeout"]) if b"timeout" in said else None, said.get(b"max") != b"0"


def rests_until(progress: Progress) -> float:
    """
    When a connection may be used again whose response had no body, in loop time: not for as long as the server took to
    response, a second at most.

    A server that breaks the rules sends a body after HEAD, 204 or 304; it comes right behind the headers, and would be
    the response to the next request. If it comes while nobody uses the connection, that ends it.
    """
    reached = dict(progress.each())
    answered_at = reached[Phase.HEADERS]
    took = answered_at - reached.get(Phase.SENT, reached[Phase.SENDING])
    return progress.started_at + answered_at + max(MIN_REST, min(took, MAX_REST))


def says_body(head: Head) -> bool:
    """Whether the headers announce a body, by a length that isn't 0 or by chunks."""
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and value.strip(b"0") != b"")
        for _, name, value in head.headers
    )


def llhttp(callbacks: object) -> httptools.HttpResponseParser:
    """llhttp, as lenient as aiohttp's client has it."""
    parser = httptools.HttpResponseParser(callbacks)
    parser.set_dangerous_leniencies(
        lenient_headers=True, lenient_optional_cr_before_lf=True, lenient_spaces_after_chunk_size=True
    )
    return parser
