"""Server-sent events: a frame each second, to a bounded number of readers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from math import floor
from typing import Any, Final

from .view import Query, View

__all__ = ["LIFE", "Streams", "json_of"]

PING: Final = 15  # frames, so seconds
LIFE: Final = 20.0  # s; a server that shuts down waits for streams, and can't tell them
EARLY: Final = 0.001  # s by which a timer may be early
AGAIN: Final = "event: again\ndata: {}\n\n"  # the page then opens another stream at once


class Streams:
    """
    The streams that are open.

    Attributes:
        max_streams: The most at once.
    """

    def __init__(self, view: View, *, now: Callable[[], float], max_streams: int) -> None:
        self._view = view
        self._now = now
        self._open = 0
        self.max_streams = max_streams

    def try_open(self) -> bool:
        """Take a place for a stream, which `close` gives back; False if all are taken."""
        if self._open >= self.max_streams:
            return False
        self._open += 1
        return True

    def close(self) -> None:
        """Give a place back."""
        self._open -= 1

    async def frames(self, query: Query) -> AsyncIterator[str]:
        """
        Events of one stream, until it has lived for 20 s.

        A frame is made when its reader asks for it, and holds every second since the reader's last: so a slow reader
        gets fewer frames, and nothing queues for it.
        """
        yield "retry: 2000\n\n"
        known, query = frozenset[str](), replace(query, since=0)
        ends_at, number = self._now() + LIFE, 0
        while self._now() < ends_at:
            frame = self._view.frame(query, known)
            query = replace(query, since=frame["second"])
            known = frozenset(row["id"] for row in frame["origins"])
            number += 1
            yield f"data: {json_of(frame)}\n\n" if number % PING else f": ping\n\ndata: {json_of(frame)}\n\n"
            await self._next_second()
        yield AGAIN

    async def _next_second(self) -> None:
        now = self._now()
        await asyncio.sleep(floor(now + EARLY) + 1 - now)


def json_of(value: Any) -> str:
    """*value* on one line; ASCII, so no text of others ends an event."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False)
