"""
What has come of one HTTP/2 stream; no I/O here.

Rules: what h2 lets through is looked at again, because a bad header is its stream's matter, and h2 would end the
connection. What fails after the response is complete doesn't matter. Source: RFC 9113.
"""

from __future__ import annotations

import h2.errors

from ...errors import BadAnswer, ResponseTooLarge, WireError
from ..limits import MAX_HEAD, MAX_HEADERS, MAX_INTERIM, MAX_PARTS
from ..message import Head
from .fields import wrong_field

__all__ = ["Response", "name_of"]


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
        failure: Class and words of what is wrong with it.
        refusal: Why the server did nothing of the request.
        death: What the errors of all streams that ended together have in common.
    """

    __slots__ = (
        "_head_size",
        "_interims",
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
        data = b"".join(self._parts)
        self._parts.clear()
        return data

    def got_fields(self, fields: list[tuple[bytes, bytes]]) -> None:
        """Of its head, or of an interim one."""
        self._head_size += sum(len(name) + len(value) + 4 for name, value in fields)
        if self._head_size > MAX_HEAD or len(fields) > MAX_HEADERS:
            self.fail(ResponseTooLarge, f"headers of more than {MAX_HEAD} bytes, or more than {MAX_HEADERS} of them")
            return
        pseudo = {name: value for name, value in fields if name[:1] == b":"}
        status = pseudo.get(b":status", b"")
        if not (len(status) == 3 and status.isdigit() and status[:1] != b"0"):
            self.fail(BadAnswer, f"{status!r} is not a status")
        elif (wrong := wrong_field(fields)) is not None:
            self.fail(BadAnswer, f"a header that HTTP/2 can't have: {wrong!r}")
        elif status[:1] == b"1":
            self.is_continued = self.is_continued or status == b"100"
            self._interims += 1
            if self._interims > MAX_INTERIM:
                self.fail(BadAnswer, f"more than {MAX_INTERIM} interim responses")
        else:
            head = Head()
            head.status, head.version = int(status), b"HTTP/2"
            head.headers = [(name, name, value) for name, value in fields if name[:1] != b":"]
            self.head = head

    def got_data(self, data: bytes) -> None:
        self.owed += len(data)
        self._size += len(data)
        self._parts.append(data)
        if len(self._parts) >= MAX_PARTS:
            self._parts = [b"".join(self._parts)]

    def got_end(self) -> None:
        head, said = self.head, None
        if head is not None and self.has_body and head.status not in (204, 304):
            said = next((value for _, name, value in head.headers if name == b"content-length"), None)
        if said is not None and said != b"%d" % self._size:
            self.fail(BadAnswer, f"a body of {self._size} bytes, where content-length says {said!r}")
        else:
            self.is_complete = True

    def refuse(self, why: str, *, is_stale: bool) -> None:
        """The server says that it did nothing of the request."""
        if self.head is not None:
            self.fail(BadAnswer, f"{why}, in the midst of its response")
        else:
            self.refusal, self.is_stale = why, is_stale

    def fail(self, kind: type[WireError], text: str, *, is_stale: bool = False, death: object | None = None) -> None:
        """The first failure counts, unless the response is complete."""
        if not self.is_complete and self.failure is None:
            self.failure, self.is_stale, self.death = (kind, text), is_stale, death


def name_of(code: int) -> str:
    """An error code as RFC 9113 section 7 names it."""
    try:
        return h2.errors.ErrorCodes(code).name
    except ValueError:
        return str(code)
