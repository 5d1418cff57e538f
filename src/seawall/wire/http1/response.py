"""
What has come of one exchange over HTTP/1.1.

Rules: each exchange has a response of its own, which nothing recycles: a reader may hold it long after another task has
closed the response, and must then see no byte of anybody else's.
"""

from __future__ import annotations

from typing import Final

from ...errors import WireError
from ..limits import MAX_PARTS
from ..message import Head, Triples
from .room import Room

__all__ = ["NOTHING", "Response"]


class Response(Head):
    """
    What has come of one exchange: its head, whose fields are final once `has_head`, and its body.

    Attributes:
        has_begun: Some byte of it has come.
        has_head: The final head has come.
        is_complete: All of the body has come; `parts` and `size` are what was not taken yet.
        is_kept: By what it says, the connection may be used again.
        is_bodiless: It ended with its headers, by the rules of HTTP; a server that breaks them may still send a body.
        is_spoilt: More came than this response.
        is_continued: 100 Continue came.
        is_upgraded: What follows is of another protocol; `rest` came with the head already.
        keep_for: Seconds that the server keeps the idle connection; None where it didn't say.
        room: Where the body is read to, if it is wanted whole; it isn't in `parts` then, nor in `size` before its end.
        failure: Class and words of its fault, if it has one. Only what was taken before counts then.
    """

    __slots__ = (
        "failure",
        "has_begun",
        "has_head",
        "is_bodiless",
        "is_complete",
        "is_continued",
        "is_kept",
        "is_spoilt",
        "is_upgraded",
        "keep_for",
        "parts",
        "rest",
        "room",
        "size",
    )

    def __init__(self) -> None:  # without the head's, because each call of ours costs each request
        self.status = self.size = 0
        self.version = self.reason = self.rest = b""
        self.headers: Triples = []
        self.has_begun = self.has_head = self.is_complete = False
        self.is_bodiless = self.is_spoilt = self.is_continued = self.is_upgraded = False
        self.is_kept = True
        self.keep_for: float | None = None
        self.failure: tuple[type[WireError], str] | None = None
        self.parts: list[bytes] = []
        self.room: Room | None = None

    def add(self, data: bytes) -> None:
        """Some more of the body has come."""
        parts = self.parts
        parts.append(data)
        self.size += len(data)
        if len(parts) >= MAX_PARTS:
            self.parts = [b"".join(parts)]

    def take(self) -> bytes:
        """What has come of the body, once."""
        if (room := self.room) is not None:
            self.room, self.size = None, 0
            return room.take()
        parts = self.parts
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        parts.clear()
        self.size = 0
        return data

    def fail(self, kind: type[WireError], text: str) -> None:
        """The first failure counts."""
        if self.failure is None:
            self.failure = (kind, text)


NOTHING: Final = Response()
NOTHING.is_complete = True
