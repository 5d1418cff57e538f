"""`Lines`: bytes cut into lines as they come."""

from __future__ import annotations

from typing import Final, NamedTuple

__all__ = ["MAX_LINE", "Line", "Lines"]

MAX_LINE: Final = 65_536  # bytes; a server rejects longer URLs anyway, most beyond 8,000


class Line(NamedTuple):
    """
    Attributes:
        number: From 1.
        text: Its bytes without the line's end; the first `MAX_LINE` of them.
        size: How many bytes it had.
    """

    number: int
    text: bytes
    size: int


class Lines:
    """Cuts bytes into lines, and keeps at most `MAX_LINE` bytes of one, however long it is."""

    def __init__(self) -> None:
        self._number = 1
        self._begun = b""
        self._size = 0

    def feed(self, data: bytes) -> list[Line]:
        """The lines that end in *data*."""
        first, *rest = data.split(b"\n")
        self._grow(first)
        if not rest:
            return []
        last = rest.pop()
        lines = [self._cut()]
        for number, text in enumerate(rest, self._number):
            lines.append(Line(number, text[:MAX_LINE].rstrip(b"\r"), len(text)))
        self._number += len(rest)
        self._grow(last)
        return lines

    def end(self) -> list[Line]:
        """The last line, where it has no end."""
        return [self._cut()] if self._size else []

    def _grow(self, more: bytes) -> None:
        self._size += len(more)
        if len(self._begun) < MAX_LINE:
            self._begun = (self._begun + more)[:MAX_LINE]

    def _cut(self) -> Line:
        line = Line(self._number, self._begun.rstrip(b"\r"), self._size)
        self._number += 1
        self._begun, self._size = b"", 0
        return line
