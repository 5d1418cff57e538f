"""
Server-sent events: their parser, which waits for nothing.

Source: WHATWG HTML standard, section 9.2 (9.2.5 the grammar, 9.2.6 what it means).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["UNSENDABLE", "Parser", "ServerSentEvent", "TooLarge"]

END: Final = re.compile(rb"[\r\n]")
BOM: Final = b"\xef\xbb\xbf"
DIGITS: Final = re.compile(rb"[0-9]+")
UNSENDABLE: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")  # no header can have it (RFC 9110 section 5.5)
MAX_DIGITS: Final = 15  # a longer number means for ever, which no client waits


@dataclass(frozen=True, slots=True)
class ServerSentEvent:
    """
    One event, under the names of httpx-sse's class.

    Attributes:
        event: Its type; "message" if the server named none.
        data: Its lines, joined by a newline.
        id: The last id that the stream gave, of this event or one before; empty if it gave none. One with a control
            character but the tab counts as none, because no request could name it; the standard says so of NULL.
        retry: Milliseconds, as the server wrote them, if the event came with a ``retry:``; None if not.
    """

    event: str = "message"
    data: str = ""
    id: str = ""
    retry: int | None = None

    def json(self) -> Any:
        """Its data, parsed as JSON."""
        return json.loads(self.data)


class TooLarge(Exception):
    """An event has more bytes than it may."""


class Parser:
    """
    Makes events of the bytes of one stream, in whatever pieces they come.

    Memory is bounded by *max_size*, and the time for a byte doesn't grow with what came before.

    Args:
        max_size: Bytes that an event may have, its field names included; and a comment.
        last_id: The id that the stream before this one ended with.
    Attributes:
        last_id: The id to go on from: that of the last event that was complete.
        retry: Milliseconds to wait before a reconnection, as the server said last; None if it didn't.
        is_alive: A byte has come.
    """

    def __init__(self, *, max_size: int, last_id: str = "") -> None:
        self._max_size = max_size
        self._line = bytearray()
        self._data: list[str] = []
        self._size = 0  # of the event's lines that are complete
        self._event = ""
        self._retry: int | None = None
        self._id = self.last_id = last_id
        self._is_first = True  # nothing of the stream was read, so that a byte order mark may come
        self._is_after_cr = False
        self.retry: int | None = None
        self.is_alive = False

    def feed(self, data: bytes) -> Iterator[ServerSentEvent]:
        """
        The events that *data* completes, in order; to be exhausted before the next call.

        Raises:
            TooLarge: An event, complete or not, has more than `max_size` bytes.
        """
        self.is_alive = self.is_alive or bool(data)
        start = 0
        for found in END.finditer(data):
            end = found.start()
            if self._is_after_cr and end == start == 0 and data[0:1] == b"\n":
                self._is_after_cr, start = False, 1
                continue
            if end == start > 0 and data[end : end + 1] == b"\n" and data[end - 1 : end] == b"\r":
                start = end + 1
                continue
            self._take(data[start:end])
            event = self._ended()
            start = end + 1
            if event is not None:
                yield event
        self._take(data[start:])
        if data:
            self._is_after_cr = data.endswith(b"\r")

    def _take(self, part: bytes) -> None:
        self._line += part
        if self._size + len(self._line) > self._max_size:
            raise TooLarge

    def _ended(self) -> ServerSentEvent | None:
        """The line is complete."""
        line = bytes(self._line)
        self._line.clear()
        if self._is_first:
            self._is_first = False
            line = line.removeprefix(BOM)
        if not line:
            return self._dispatched()
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._size += len(line) + 1
            self._data.append(value.decode("utf-8", "replace"))
        elif name == b"event":
            self._event = value.decode("utf-8", "replace")
        elif name == b"id":
            given = value.decode("utf-8", "replace")
            self._id = self._id if UNSENDABLE.search(given) else given
        elif name == b"retry" and DIGITS.fullmatch(value):
            self._retry = self.retry = int(value[:MAX_DIGITS])
        return None

    def _dispatched(self) -> ServerSentEvent | None:
        """The event is complete; one without data is none."""
        data, event, retry = self._data, self._event, self._retry
        self._data, self._event, self._retry, self._size = [], "", None, 0
        self.last_id = self._id
        return ServerSentEvent(event or "message", "\n".join(data), self._id, retry) if data else None
