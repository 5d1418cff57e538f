"""A random generator that isn't random."""

from __future__ import annotations

from random import Random

from ..config.check import number

__all__ = ["FixedRandom"]


class FixedRandom(Random):
    """
    A generator whose `uniform`, the only method that a client uses, returns the same share of its range every time.

    ``seawall.AsyncClient(rng=FixedRandom())`` waits as long as its jitter allows. All other methods are those of
    ``Random(0)``. For values that vary, and are the same in each run, use ``random.Random(seed)``.

    Args:
        share: From 0, the lower end of the range, to 1, the upper end.
    """

    def __init__(self, share: float = 1.0) -> None:
        number("FixedRandom", "share", share, low=0, high=1)
        super().__init__(0)
        self._share = float(share)

    def uniform(self, a: float, b: float) -> float:
        return a * (1.0 - self._share) + b * self._share
