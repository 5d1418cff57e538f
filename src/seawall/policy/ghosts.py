"""
Ghosts: attempts that were sent and given up without an answer. The server may still be at work on them.

Rules: a ghost ends when something that was sent later is answered, because a server's queue is first in, first out, or
nearly so. An attempt that was overtaken before it was given up leaves no ghost: it hangs by itself, not in
a queue. Synchronous; time is an argument.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort

__all__ = ["LASTS", "Ghosts"]

LASTS = 60.0  # seconds at most; a server that has answered nothing for so long has lost its queue, or never had one


class Ghosts:
    """
    The ghosts of one bulkhead.

    Those that an impatient caller left (by a cancel, or a deadline of its own) are as real at the server, but a caller
    could make any number of them within a moment, so they hold at most half of the permits.

    Args:
        most: How many there may be; a new one then takes the oldest one's place.
    Attributes:
        held: How many there are.
        newest: When the newest of the attempts that were answered had been sent; -inf before the first.
    """

    __slots__ = ("_callers", "_most", "_others", "held", "newest")

    def __init__(self, most: int) -> None:
        self._most = most
        self._others: list[tuple[float, float]] = []  # when each was sent, which they are sorted by, and when it ends
        self._callers: list[tuple[float, float]] = []  # those of impatient callers
        self.held = 0
        self.newest = -math.inf

    def holding(self, permits: int) -> int:
        """How many of so many *permits* they hold."""
        return _holding(len(self._others), len(self._callers), permits)

    def holding_at(self, now: float, permits: int) -> int:
        """How many of so many *permits* those hold that `expire` would leave."""
        if not self.held:
            return 0
        others, callers = (sum(ends_at > now for _, ends_at in ghosts) for ghosts in (self._others, self._callers))
        return _holding(others, callers, permits)

    def add(self, sent_at: float, now: float, *, is_fault: bool) -> int:
        """
        Take note that an attempt was given up.

        Args:
            is_fault: No impatient caller gave it up.
        Returns:
            How many of its kind there are now; 0 if it was overtaken.
        """
        if sent_at < self.newest:
            return 0
        mine = self._others if is_fault else self._callers
        insort(mine, (sent_at, now + LASTS))
        if len(self._callers) > self._most // 2:
            del self._callers[0]
        if len(self._others) + len(self._callers) > self._most:
            del min(filter(None, (self._others, self._callers)))[0]  # of the list whose first one is the oldest
        self._count()
        return len(mine)

    def overtaken(self, sent_at: float) -> None:
        """An attempt that was sent at *sent_at* is answered: those that were sent earlier end."""
        if sent_at > self.newest:
            self.newest = sent_at
            if self.held:
                for ghosts in (self._others, self._callers):
                    del ghosts[: bisect_left(ghosts, (sent_at, -math.inf))]
                self._count()

    def expire(self, now: float) -> None:
        """Those end that are too old."""
        if self.held:
            for ghosts in (self._others, self._callers):
                ghosts[:] = [ghost for ghost in ghosts if ghost[1] > now]
            self._count()

    def clear(self) -> None:
        """All end, because the server's process did, and its queue with it."""
        self._others.clear()
        self._callers.clear()
        self.held = 0

    def close(self) -> None:
        """All end, and there are no more."""
        self.clear()
        self.newest = math.inf

    def lasting(self, now: float) -> int:
        """How many there are that `expire` would leave."""
        return sum(ends_at > now for ghosts in (self._others, self._callers) for _, ends_at in ghosts)

    def _count(self) -> None:
        self.held = len(self._others) + len(self._callers)


def _holding(others: int, callers: int, permits: int) -> int:
    return min(others + min(callers, permits // 2), permits)
