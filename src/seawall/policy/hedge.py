"""
When a second attempt is worth its price: the times in which an origin's responses begin, and the allowance.

Rules: there are at most *max_extra* second attempts for each call that could have one, over any span of time, because
the allowance is empty at first and only calls fill it. An attempt that was cancelled for a faster one counts with the
time that it had taken, because the quantile would otherwise fall with each hedge, and hedging feed itself.
Synchronous; time is an argument.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import Final

__all__ = ["HedgeState"]

WINDOWS: Final = 3
WINDOW: Final = 10.0  # seconds
MIN_SAMPLES: Final = 50  # below it, a quantile says little: 2 or 3 samples are above p95
LASTS: Final = 3.0  # seconds for which a quantile is good, because to find it takes 20 us
MAX_AFTER: Final = 2.0  # seconds; what takes longer is slow by nature, and costs its server much
MAX_ALLOWANCE: Final = 10.0  # hedges that may come together, if none came for a while
STEP: Final = math.log(1.02)  # of the histogram: a quantile is at most 2 % too long
QUICKEST: Final = 1e-4  # seconds; nothing is told apart below


class HedgeState:
    """
    What is known of one origin.

    Attributes:
        allowance: Second attempts that may be made now.
    """

    __slots__ = ("_begun_at", "_found", "_found_at", "_of", "_windows", "allowance")

    def __init__(self, now: float) -> None:
        self.allowance = 0.0
        self._windows: list[Counter[int]] = [Counter()]  # the last one is filled
        self._begun_at = now
        self._of = self._found = math.inf  # a quantile, and how long it is
        self._found_at = -math.inf

    def deposit(self, max_extra: float) -> None:
        """A call that could have a second attempt was begun."""
        self.allowance = min(MAX_ALLOWANCE, self.allowance + max_extra)

    def began(self, took: float, now: float) -> None:
        """A good response began *took* seconds after its request."""
        self._pass_time(now)
        self._windows[-1][math.floor(math.log(max(took, QUICKEST)) / STEP)] += 1

    def outlasted(self, took: float, now: float) -> None:
        """An attempt was given up *took* seconds after its request; it only counts if that was long."""
        if took >= self._found:
            self.began(took, now)

    def after(self, quantile: float, now: float) -> float:
        """Seconds that a share of *quantile* of the responses take at most to begin; inf if a hedge isn't worth it."""
        if quantile == self._of and now - self._found_at < LASTS:
            return self._found
        self._pass_time(now)
        counts = sum(self._windows, Counter())
        total = counts.total()
        if total < MIN_SAMPLES:
            return math.inf
        self._of, self._found_at, above = quantile, now, total
        for step in sorted(counts):
            above -= counts[step]
            if above <= (1 - quantile) * total:
                break
        found = math.exp((step + 1) * STEP)
        self._found = found if found <= MAX_AFTER else math.inf
        return self._found

    def _pass_time(self, now: float) -> None:
        passed = int((now - self._begun_at) // WINDOW)
        if passed > 0:
            self._begun_at += passed * WINDOW
            added: list[Counter[int]] = [Counter() for _ in range(min(passed, WINDOWS))]
            self._windows = [*self._windows, *added][-WINDOWS:]
