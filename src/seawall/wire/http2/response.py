"""
What has come of one HTTP/2 stream; no I/O here.

Rules: a malformed response is its stream's matter, and harms no other stream. What fails after the response is complete
doesn't matter. More of a body than its head allows is kept from its reader. Source: RFC 9113 section 8.1.
"""

from __future__ import annotations

from ...errors import BadAnswer, ResponseTooLarge, WireError
from ..limits import MAX_HEAD, MAX_HEADERS, MAX_INTERIM, MAX_PARTS
from ..message import LENGTH, Head
from .compression import Field
from .fields import wrong_field

__all__ = ["Response"]


class Response:
    """
    Attributes:
        head: The final one, once it has come.
        owed: B of body that came and were not taken yet, so the server's window is smaller by them.
        has_body: By the request's method, there may be one.
        is_complete: Its end has come.
        is_continued: 100 Continue came.
        is_reset: By the server.
        is_stale: What failed says only that the connection was of no use any more.
        failure: Class and words of its fault, if it has one.
        refusal: Why the server did nothing of the request.
        death: What the errors of all streams that ended together have in common.
    """

    __slots__ = (
        "_head_size",
        "_interims",
        "_length",
        "_parts",
        "_size",
        "death",
        "failure",
        "has_body",
        "head",
        "is_complete",
        "is_continued",
        "is_reset",
        "is_stale",
        "owed",
        "refusal",
    )

    def __init__(self) -> None:
        self.head: Head | None = None
        self.owed = 0
        self.has_body = True
        self.is_complete = self.is_continued = self.is_reset = self.is_stale = False
        self.failure: tuple[type[WireError], str] | None = None
        self.refusal: str | None = None
        self.death: object | None = None
        self._parts: list[bytes] = []
        self._size = self._interims = 0
        self._length: int | None = None  # B of body, where the head says so
        self._head_size = 0  # B of headers, those of interim responses included

    @property
    def is_awaited(self) -> bool:
        """More of it is to come, and of use."""
        return not (self.is_complete or self.failure or self.refusal)

    @property
    def is_decided(self) -> bool:
        """Its head has come, or never will."""
        return self.head is not None or self.failure is not None or self.refusal is not None

    @property
    def has_begun(self) -> bool:
        return self.head is not None or self._interims > 0

    @property
    def has_parts(self) -> bool:
        """Some of its body has come, and was not taken yet."""
        return bool(self._parts)

    def take(self) -> bytes:
        """What has come of the body, once."""
        parts = self._parts
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        parts.clear()
        return data

    def got_fields(self, fields: tuple[Field, ...], *, is_end: bool) -> None:
        """Of its head, of an interim one, or its trailers, of which nothing is kept."""
        self._head_size += sum([len(name) + len(value) + 4 for name, value in fields])
        if self._head_size > MAX_HEAD or len(fields) > MAX_HEADERS:
            self.fail(ResponseTooLarge, f"headers of more than {MAX_HEAD} bytes, or more than {MAX_HEADERS} of them")
            return
        name, status = fields[0] if fields else (b"", b"")
        is_trailer = self.head is not None
        if is_trailer and not is_end:
            self.fail(BadAnswer, "headers in the midst of the body")
        elif not is_trailer and not (name == b":status" and len(status) == 3 and status.isdigit() and status >= b"100"):
            self.fail(BadAnswer, f"{name!r} {status!r} is not a status")
        elif (wrong := wrong_field(rest := fields if is_trailer else fields[1:])) is not None:
            self.fail(BadAnswer, f"a header that HTTP/2 can't have: {wrong!r}")
        elif is_trailer:
            pass
        elif status < b"200":
            self._got_interim(status, is_end=is_end)
        else:
            self._got_head(int(status), rest)

    def _got_head(self, status: int, fields: tuple[Field, ...]) -> None:
        lengths = [value for name, value in fields if name == b"content-length"]
        if lengths and (not LENGTH.fullmatch(lengths[0]) or lengths.count(lengths[0]) < len(lengths)):
            self.fail(BadAnswer, f"a content-length of {b', '.join(lengths)[:100]!r}")
            return
        if not self.has_body or status in (204, 304):
            self._length = 0
        elif lengths:
            self._length = int(lengths[0])
        self.head = head = Head()
        head.status, head.version = status, b"HTTP/2"
        head.headers = [(name, name, value) for name, value in fields]

    def _got_interim(self, status: bytes, *, is_end: bool) -> None:
        self.is_continued = self.is_continued or status == b"100"
        self._interims += 1
        if is_end:
            self.fail(BadAnswer, f"its end after an interim response, {status.decode()}")
        elif self._interims > MAX_INTERIM:
            self.fail(BadAnswer, f"more than {MAX_INTERIM} interim responses")

    def got_data(self, data: bytes) -> None:
        if self.head is None:
            self.fail(BadAnswer, "a body without a head")
        self.owed += len(data)
        self._size += len(data)
        if self._length is not None and self._size > self._length:
            self.fail(BadAnswer, f"a body of more than the {self._length} bytes that its head allows")
            return
        self._parts.append(data)
        if len(self._parts) >= MAX_PARTS:
            self._parts = [b"".join(self._parts)]

    def got_end(self) -> None:
        if not self.is_awaited:
            return
        if self._length is not None and self._size != self._length:
            self.fail(BadAnswer, f"a body of {self._size} bytes, where content-length says {self._length}")
        else:
            self.is_complete = True

    def refuse(self, why: str, *, is_stale: bool) -> None:
        """The server says that it did nothing of the request."""
        if self.head is not None:
            self.fail(BadAnswer, f"{why}, in the midst of its response")
        elif self.is_awaited:
            self.refusal, self.is_stale = why, is_stale

    def fail(self, kind: type[WireError], text: str, *, is_stale: bool = False, death: object | None = None) -> None:
        """The first failure or refusal counts, unless the response is complete."""
        if self.is_awaited:
            self.failure, self.is_stale, self.death = (kind, text), is_stale, death
