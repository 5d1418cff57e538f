"""How much either side may send, of one stream or of all together. Source: RFC 9113 sections 5.2 and 6.9."""

from __future__ import annotations

from .frames import MAX_WINDOW, Code, Violation

__all__ = ["Credit"]


class Credit:
    """
    Attributes:
        window: B that we may send; below 0 where the server took back what we had used already.
        room: B that the server may send.
    """

    __slots__ = ("_taken", "room", "window")

    def __init__(self, window: int, room: int) -> None:
        self.window, self.room = window, room
        self._taken = 0  # B that the server doesn't know of yet that it may send them anew

    def widen(self, size: int) -> bool:
        """The server takes so many bytes more, or fewer; False where that is more than a window can be."""
        self.window += size
        return self.window <= MAX_WINDOW

    def spend(self, size: int) -> None:
        """So many bytes have come. Raises Violation where that was more than we allowed."""
        self.room -= size
        if self.room < 0:
            raise Violation(Code.FLOW_CONTROL_ERROR, "more bytes of a body than its window allows")

    def give_back(self, size: int) -> int:
        """
        So many of them were taken.

        Returns:
            How many to tell the server of; 0 as long as those would not double what it may send.
        """
        self._taken += size
        if self._taken < self.room or not self._taken:
            return 0
        taken, self._taken = self._taken, 0
        self.room += taken
        return taken
