"""
What an HTTP/2 server may send beside its responses: frames that carry nothing are counted.

Rules: a frame that a stream's window or the bounds on headers pay for isn't counted, except that a byte or two a frame
costs some. What we send earns frames in reply, because a server returns the window of an upload frame by frame. A
connection without a stream has little to say. Decisions only: the reader of the frames closes the connection. Source:
RFC 9113 section 10.5.
"""

from __future__ import annotations

from typing import Final

__all__ = ["Chatter"]

BUSY: Final = (2000, 500)  # frames at once, and a second; each costs 20 to 50 µs
IDLE: Final = (100, 10)  # the same where no stream is open: PING, SETTINGS, GOAWAY
REQUEST: Final = 10  # frames that a request earns: its RST_STREAM, windows, a PING
UPDATED: Final = 256  # B of an upload that earn a frame; some servers return 512 B of the stream's and the connection's
MAX_EARNED: Final = 2**15  # frames, as for 8 MiB that are returned late
MAX_LATE: Final = 16 * 1024 * 1024  # B that are on the way when streams are reset; more than TCP's windows hold
SMALLEST: Final = 256  # B that a late frame counts for at least


class Chatter:
    """The count of one connection's frames that carry nothing."""

    __slots__ = ("_count", "_counted_at", "_late")

    def __init__(self) -> None:
        self._count = 0.0  # below 0: earned
        self._counted_at = 0.0
        self._late = 0

    def asked(self) -> None:
        """A request was sent."""
        self._earn(REQUEST)

    def uploaded(self, size: int) -> None:
        """So many bytes of a request's body were sent."""
        self._earn(2 + size // UPDATED)

    def abandoned(self, window: int) -> None:
        """A stream was reset, for which the server may have sent as much as *window* already."""
        self._late = min(self._late + window, MAX_LATE)

    def is_late(self, size: int) -> bool:
        """Whether *size* bytes for a stream that is over may have been sent before the server knew."""
        self._late = max(0, self._late - max(size, SMALLEST))
        return self._late > 0

    def is_too_much(self, cost: float, now: float, *, is_idle: bool) -> bool:
        """Count frames that carry nothing; returns whether the server has sent too many of them."""
        at_once, per_second = IDLE if is_idle else BUSY
        count = max(self._count, 0.0) if is_idle else self._count
        if count > 0:
            count = max(0.0, count - (now - self._counted_at) * per_second)
        self._count, self._counted_at = count + cost, now
        return self._count > at_once

    def _earn(self, frames: int) -> None:
        self._count = max(self._count - frames, -MAX_EARNED)
