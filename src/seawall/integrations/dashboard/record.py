"""What is kept of one origin: counts by the second, times of the last minute, and its addresses."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, NamedTuple

from ...origin import Address
from .histogram import Histogram, bucket, middle, quantile
from .ring import Ring

__all__ = ["Record", "Summary"]

MINUTE: Final = 60  # s, of all figures but the rate
RATE: Final = 10  # s
PART: Final = 10  # s of the minute's times that are forgotten together
PARTS: Final = MINUTE // PART
MAX_ADDRESSES: Final = 16


class Summary(NamedTuple):
    """
    An origin's figures.

    Attributes:
        calls: Calls of the last five minutes.
        rate: Calls per second, over the last 10 s.
        good: The share of the last minute's calls that didn't fail; None if there were none.
        attempts: Attempts per call of the last minute; None if there were no calls.
    """

    calls: int
    rate: float
    good: float | None
    attempts: float | None


class Record:
    """
    One origin, or all of those that are too many to be kept apart.

    Attributes:
        total: Calls since the beginning.
        addresses: Those that attempts used, and whether the last attempt got an answer; last used comes last.
    """

    __slots__ = ("_part", "_times", "addresses", "ring", "total")

    def __init__(self, second: int) -> None:
        self.ring = Ring(second)
        self.total = 0
        self.addresses: OrderedDict[Address, bool] = OrderedDict()
        self._times = [Histogram() for _ in range(PARTS)]
        self._part = second // PART

    def called(self, second: int, duration: float | None, *, is_failed: bool) -> None:
        """A call ended; *duration* in seconds, None if its caller cancelled it."""
        self.total += 1
        number = None if duration is None else bucket(duration)
        self.ring.called(second, number, is_failed=is_failed)
        if number is not None:
            self._turn(second)
            self._times[self._part % PARTS].add(number)

    def attempted(self, second: int, address: Address | None, *, is_answered: bool) -> None:
        """An attempt ended."""
        self.ring.attempted(second)
        if address is not None:
            self.met(address, is_answered=is_answered)

    def met(self, address: Address, *, is_answered: bool) -> None:
        """*address* was dialled, or used."""
        self.addresses[address] = is_answered
        self.addresses.move_to_end(address)
        if len(self.addresses) > MAX_ADDRESSES:
            self.addresses.popitem(last=False)

    def summary(self, second: int) -> Summary:
        """Its figures as of *second*."""
        self.ring.advance(second)
        calls, failed, attempts = self.ring.sums(MINUTE)
        return Summary(
            calls=self.ring.calls,
            rate=self.ring.sums(RATE)[0] / min(RATE, max(1, second)),
            good=max(0.0, 1 - failed / calls) if calls else None,  # a stream may break after its minute
            attempts=attempts / calls if calls else None,
        )

    def percentiles(self, second: int) -> tuple[float | None, float | None]:
        """p50 and p99 of the last minute's calls, in seconds; None if there were none."""
        self._turn(second)
        counts = list(map(sum, zip(*(part.counts for part in self._times), strict=True)))
        p50, p99 = (quantile(counts, share) for share in (0.5, 0.99))
        return None if p50 is None else middle(p50), None if p99 is None else middle(p99)

    def add(self, other: Record) -> None:
        """Add all that *other* counted. The times of the last minute stay apart: they are of other origins."""
        self.ring.add(other.ring)
        self.total += other.total

    def _turn(self, second: int) -> None:
        """Forget the times of parts that are over a minute old."""
        part = second // PART
        for passed in range(max(self._part + 1, part - PARTS + 1), part + 1):
            self._times[passed % PARTS].clear()
        self._part = part
