"""
One answer of HTTP/1.1: what has come of it, for whoever waits for it or reads it.

Rules: each exchange has an answer of its own, which nothing recycles: a reader may hold it long after another task has
closed the response, and must then see no byte of anybody else's. `parser` fills it.
"""

from __future__ import annotations

from typing import Final

from ...errors import WireError

__all__ = ["MAX_GAP", "MAX_HEAD", "MAX_HEADERS", "MAX_INTERIM", "MAX_PARTS", "Answer", "Head"]

MAX_HEAD: Final = 256 * 1024  # B; hyper's is 400 KiB, Go's 1 MiB; httpx takes 100 to 164 KiB, by how they arrive
MAX_HEADERS: Final = 1000  # Apache and Tomcat have 100, nginx and h11 no number
MAX_INTERIM: Final = 100  # 1xx answers to one request; Go: as much as fits its limit on headers
MAX_GAP: Final = 16 * 1024  # B of chunk sizes, extensions and trailers without a byte of body; Go's, for extensions
MAX_PARTS: Final = 1024  # of a body that nobody has taken; then they are joined, because each costs 40 B or more


class Head:
    """
    A response up to its body.

    Attributes:
        headers: Each name as it is written and in lower case, and its value.
    """

    __slots__ = ("headers", "reason", "status", "version")

    def __init__(self) -> None:
        self.status = 0
        self.version = b""
        self.reason = b""
        self.headers: list[tuple[bytes, bytes, bytes]] = []

    @property
    def raw(self) -> list[tuple[bytes, bytes]]:
        return [(name, value) for name, _, value in self.headers]


class Answer:
    """
    What has come of one exchange.

    Attributes:
        has_begun: Some byte of it has come.
        has_head: `head` is there, and the final one.
        is_complete: So is all of the body; `parts` and `size` are what was not taken yet.
        is_kept: By what it says, the connection may be used again.
        is_bodiless: It ended with its headers, by the rules of HTTP; a server that breaks them may still send a body.
        is_spoilt: More came than this answer.
        is_continued: 100 Continue came.
        is_upgraded: What follows is of another protocol; `rest` came with the head already.
        keep_for: Seconds that the server keeps the idle connection; None where it didn't say.
        failure: Class and words of what is wrong with it. Only what was taken before counts then.
    """

    __slots__ = (
        "failure",
        "has_begun",
        "has_head",
        "head",
        "is_bodiless",
        "is_complete",
        "is_continued",
        "is_kept",
        "is_spoilt",
        "is_upgraded",
        "keep_for",
        "parts",
        "rest",
        "size",
    )

    def __init__(self) -> None:
        self.has_begun = self.has_head = self.is_complete = False
        self.is_bodiless = self.is_spoilt = self.is_continued = self.is_upgraded = False
        self.is_kept = True
        self.keep_for: float | None = None
        self.failure: tuple[type[WireError], str] | None = None
        self.head = Head()
        self.parts: list[bytes] = []
        self.size = 0
        self.rest = b""

    def take(self) -> bytes:
        """What is there of the body, once."""
        parts = self.parts
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        parts.clear()
        self.size = 0
        return data

    def fail(self, kind: type[WireError], text: str) -> None:
        """The first failure counts."""
        if self.failure is None:
            self.failure = (kind, text)
