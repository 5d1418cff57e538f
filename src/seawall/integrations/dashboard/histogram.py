"""A histogram of durations in logarithmic buckets, and its percentiles."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Sequence
from typing import Final

__all__ = ["Histogram", "bucket", "middle", "quantile"]

PER_DOUBLING: Final = 4  # so a percentile is off by at most 9 %
SHORTEST: Final = 1e-4  # s
DOUBLINGS: Final = 20  # up to 105 s
EDGES: Final = tuple(SHORTEST * 2 ** (step / PER_DOUBLING) for step in range(DOUBLINGS * PER_DOUBLING + 1))
SIZE: Final = len(EDGES) + 1  # of a histogram; a bucket's number fits into a byte
ZEROS: Final = bytes(array("I").itemsize * SIZE)


class Histogram:
    """How many durations fell into each bucket."""

    __slots__ = ("counts",)

    def __init__(self) -> None:
        self.counts = array("I", ZEROS)

    def add(self, bucket: int) -> None:
        """Count one duration of *bucket*."""
        self.counts[bucket] += 1

    def clear(self) -> None:
        """Count from 0 again."""
        self.counts = array("I", ZEROS)


def bucket(duration: float) -> int:
    """The number of the bucket that holds *duration*, in seconds."""
    return bisect_left(EDGES, duration)


def middle(bucket: int) -> float:
    """The duration, in seconds, that stands for all of *bucket*: the geometric mean of its edges."""
    if bucket in (0, SIZE - 1):
        return EDGES[0] if bucket == 0 else EDGES[-1]
    return float((EDGES[bucket - 1] * EDGES[bucket]) ** 0.5)


def quantile(counts: Sequence[int], share: float) -> int | None:
    """
    The bucket that holds the duration which a *share* of all, from 0 to 1, don't exceed; None if there are none.

    Args:
        counts: How many durations each bucket holds.
    Source: the nearest rank: of 100 durations, the 99th in order is the p99.
    """
    left = share * sum(counts)
    for number, count in enumerate(counts):
        left -= count
        if count and left <= 1e-9:  # 0.99 * 100 isn't a whole number
            return number
    return None
