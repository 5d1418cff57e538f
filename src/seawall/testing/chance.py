"""Chance that isn't."""

from __future__ import annotations

from random import Random

from ..config.check import number

__all__ = ["FixedRandom"]


class FixedRandom(Random):
    """
    `uniform`, which is all that a client draws, gives the same share of its range every time:
    ``seawall.AsyncClient(rng=FixedRandom())`` waits for the longest that its jitter allows. All else is ``Random(0)``.

    For chance that varies and can be repeated there is ``random.Random(seed)``.

    Args:
        share: From 0, exactly the least, to 1, exactly the most.
    """

    def __init__(self, share: float = 1.0) -> None:
        number("FixedRandom", "share", share, low=0, high=1)
        super().__init__(0)
        self._share = float(share)

    def uniform(self, a: float, b: float) -> float:
        return a * (1.0 - self._share) + b * self._share
