"""
A dial that other calls follow, because they may share the connection that it makes.

Rules: a call that follows fares no worse than if it dialled itself. So it follows a dial to its end if that ends within
the call's own connect timeout. If the dial may go on for longer, the call follows it for a part of its timeout; then it
dials itself, and others follow the new dial. A dial that fails says so to all, and each of them dials for itself.
"""

from __future__ import annotations

import asyncio
from enum import Enum, auto
from typing import Final

from ..route import Destination

__all__ = ["End", "First", "Firsts"]

PART: Final = 0.2  # of its connect timeout: 1 s of httpx's 5; most dials take less, and enough is left for its own


class End(Enum):
    """What those that followed a dial do next."""

    SHARED = auto()
    """They take a stream of the connection, or look again where it has none for them."""

    HTTP1 = auto()
    """Each dials for itself, because none can share the connection."""

    FAILED = auto()
    """Each dials for itself, in what its connect timeout leaves."""

    LEFT = auto()
    """They look again, because its call was cancelled, which says nothing."""

    LATE = auto()
    """It goes on, but one of them dials itself, and the others follow that."""

    QUEUES = auto()
    """They queue for a slot, as it must, because they would lose their places to those that come meanwhile."""


class First:
    """
    Args:
        max_streams: How many requests at once the connection is likely to take.
        by: When it is over at the latest, in loop time.
    Attributes:
        followers: Calls that wait for it.
    """

    __slots__ = ("_by", "_end", "_has_slot", "_max_followers", "followers")

    def __init__(self, max_streams: int, by: float) -> None:
        self.followers = 0
        self._max_followers = max_streams - 1
        self._by = by
        self._has_slot = False
        self._end: asyncio.Future[End] = asyncio.get_running_loop().create_future()

    def suits(self, *, is_queueing: bool) -> bool:
        """Whether another call may follow it; one that should queue for a slot follows only one that has it."""
        return self.followers < self._max_followers and (self._has_slot or not is_queueing)

    def is_over(self, by: float) -> bool:
        return self._by <= by

    async def followed(self, left: float, by: float) -> End:
        """How it ends, for a call that has *left* s for it, until *by*."""
        self.followers += 1
        end = self._end
        try:
            await asyncio.wait([end], timeout=None if self.is_over(by) else left * PART)
        finally:
            self.followers -= 1
        return end.result() if end.done() else End.LATE

    def begin(self, by: float) -> None:
        """It has a slot, so that it can be followed, even though it had to queue."""
        self._has_slot, self._by = True, by
        if self._end.done():
            self._end = asyncio.get_running_loop().create_future()

    def settle(self, end: End) -> None:
        if not self._end.done():
            self._end.set_result(end)


class Firsts:
    """
    Those of a client.

    Attributes:
        by_key: For each connection that others may wait for, by what the pool will keep it under, the latest dial.
    """

    def __init__(self) -> None:
        self.by_key: dict[Destination, First] = {}

    def settle(self, first: First, key: Destination, end: End) -> None:
        """Nobody follows *first* from now on."""
        if self.by_key.get(key) is first:
            del self.by_key[key]
        first.settle(end)

    def may_dial(self, first: First, key: Destination, by: float) -> bool:
        """It has a slot, and time until *by*; False where its call should follow another dial in place of that."""
        other = self.by_key.get(key)
        if other not in (None, first) and not first.followers and other.suits(is_queueing=True) and other.is_over(by):
            return False
        self.by_key[key] = first
        first.begin(by)
        return True
