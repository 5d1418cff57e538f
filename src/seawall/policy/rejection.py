"""
Tells a rejection from a fault: a server that is well, and takes no more at the moment, from one that drowns.

Rules: 429 says so by itself. A 503 does if it came as soon as good answers do, because nothing was waited for, and if
there are good answers beside it. A cached answer, or one that has nothing to do with rates, teaches nothing.
"""

from __future__ import annotations

from typing import Final

from .breaker import BreakerState
from .outcome import Outcome

__all__ = ["is_rejection"]

QUICK: Final = 0.05  # s; a rejection that comes within hasn't queued behind work, however long good answers take


def is_rejection(outcome: Outcome, breaker: BreakerState | None, now: float, *, duration: float) -> bool:
    """
    Whether the origin has rejected a request.

    Args:
        breaker: Knows the good answers of its window; without one, only 429 is a rejection.
        duration: Seconds from the attempt's first byte to its headers.
    """
    if outcome.error is not None or not outcome.teaches:
        return False
    if outcome.status == 429:
        return True
    if outcome.status != 503 or breaker is None or not breaker.good(now, breaker.window):
        return False
    return duration <= max(QUICK, breaker.usual)
