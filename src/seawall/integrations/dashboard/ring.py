"""What an origin did in each of the last 300 seconds."""

from __future__ import annotations

from array import array
from operator import add
from typing import Final, NamedTuple

from .histogram import Histogram, middle, quantile

__all__ = ["SPAN", "Ring", "Series"]

SPAN: Final = 300  # s
SLOTS: Final = SPAN + 1  # with the second that isn't over yet
ZEROS: Final = bytes(array("I").itemsize * SLOTS)


class Series(NamedTuple):
    """Values of seconds that are over, one each; *p99* in seconds, None where no call ended."""

    calls: list[int]
    failed: list[int]
    p99: list[float | None]


class Ring:
    """
    Counts by the second. Its seconds are whole numbers, which may not fall.

    Attributes:
        at: The second that isn't over yet.
    """

    __slots__ = ("_attempts", "_calls", "_failed", "_p99", "_times", "at")

    def __init__(self, second: int) -> None:
        self.at = second
        self._calls, self._failed, self._attempts = (array("I", ZEROS) for _ in range(3))
        self._p99 = bytearray(SLOTS)  # a bucket's number + 1; 0 where no call ended
        self._times = Histogram()

    def called(self, second: int, bucket: int | None, *, is_failed: bool) -> None:
        """A call ended; *bucket* is that of its duration, or None if its caller cancelled it."""
        self.advance(second)
        slot = second % SLOTS
        self._calls[slot] += 1
        if is_failed:
            self._failed[slot] += 1
        if bucket is not None:
            self._times.add(bucket)

    def broke(self, second: int) -> None:
        """A call that counted as good failed after all."""
        self.advance(second)
        self._failed[second % SLOTS] += 1

    def attempted(self, second: int) -> None:
        """An attempt ended."""
        self.advance(second)
        self._attempts[second % SLOTS] += 1

    def advance(self, second: int) -> None:
        """Go on to *second*."""
        if second <= self.at:
            return
        p99 = quantile(self._times.counts, 0.99)
        if p99 is not None:
            self._p99[self.at % SLOTS] = p99 + 1
            self._times.clear()
        for passed in range(max(self.at + 1, second - SPAN), second + 1):
            slot = passed % SLOTS
            self._calls[slot] = self._failed[slot] = self._attempts[slot] = self._p99[slot] = 0
        self.at = second

    @property
    def calls(self) -> int:
        """Those of all its seconds."""
        return sum(self._calls)

    def sums(self, seconds: int) -> tuple[int, int, int]:
        """Calls, failed calls and attempts of the last *seconds* that are over."""
        begin, end = max(0, self.at - seconds) % SLOTS, self.at % SLOTS
        calls, failed, attempts = (
            sum(column[begin:end]) if begin <= end else sum(column[begin:]) + sum(column[:end])
            for column in (self._calls, self._failed, self._attempts)
        )
        return calls, failed, attempts

    def series(self, since: int) -> Series:
        """The seconds from *since* on that are over; at most `SPAN`."""
        slots = [second % SLOTS for second in range(max(0, since, self.at - SPAN), self.at)]
        return Series(
            [self._calls[slot] for slot in slots],
            [self._failed[slot] for slot in slots],
            [middle(self._p99[slot] - 1) if self._p99[slot] else None for slot in slots],
        )

    def add(self, other: Ring) -> None:
        """Add all counts of *other*; a second's p99 is then the higher of the two."""
        second = max(self.at, other.at)
        self.advance(second)
        other.advance(second)
        for name in ("_calls", "_failed", "_attempts"):
            setattr(self, name, array("I", map(add, getattr(self, name), getattr(other, name))))
        self._p99 = bytearray(map(max, self._p99, other._p99))
