"""
Room for a body that is wanted whole: the socket is read into it, so its bytes are copied only where the room must move.

Rules: a server that says a gigabyte may never send it, so the room grows with what has come.
"""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Final

__all__ = ["WORTHWHILE", "Room", "keep_memory"]

WORTHWHILE: Final = 64 * 1024  # B still to come; to copy fewer takes less time than to make a room
FIRST: Final = 1024 * 1024  # B; then as much as has come, and as much again
KEPT: Final = 8 * 1024 * 1024  # B; with ten bodies of 1 MB in flight 4 MiB are too few now and then


def keep_memory() -> None:
    """
    Have glibc keep free memory for the next body: up to twice `KEPT`.

    By itself it returns whatever is free beyond twice the largest block that it ever took from the system and gave
    back. Ten calls whose bodies have 1 MB cross that over and over, and each time the system clears the pages anew: 250
    page faults a call, which take longer than all else. Source: mallopt(3), M_MMAP_THRESHOLD; other C libraries don't
    mind.
    """
    bytearray(KEPT)  # nothing touches its pages, so it takes some µs


class Room:
    """
    Args:
        had: What of the body has come already.
        length: Of the body, in bytes.
        came: Called with the size of each piece that comes.
    Attributes:
        size: Bytes that are in it.
    """

    __slots__ = ("_bytes", "_end", "_length", "came", "size")

    def __init__(self, had: bytes, length: int, came: Callable[[int], None]) -> None:
        self._length = length
        self._bytes = BytesIO(had)
        self.size = self._end = len(had)
        self.came = came

    def left(self) -> memoryview:
        """Where the next bytes go; not kept, because a BytesIO that is collected with such a view complains."""
        if self.size == self._end:
            self._grow(min(self._length, max(FIRST, 2 * self.size)))
        return self._bytes.getbuffer()[self.size :]

    def _grow(self, end: int) -> None:
        try:
            _extend(self._bytes, end)
        except BufferError:  # asyncio's proactor loop holds the last place while it asks for the next
            self._bytes = BytesIO(self._bytes.getvalue())
            _extend(self._bytes, end)
        self._end = end

    @property
    def is_full(self) -> bool:
        return self.size == self._length

    def take(self) -> bytes:
        """The body, once it is complete; CPython hands out the memory itself."""
        return self._bytes.getvalue()


def _extend(file: BytesIO, end: int) -> None:
    """*file* has *end* bytes from now on; the new ones are 0."""
    file.seek(end - 1)
    file.write(b"\0")
