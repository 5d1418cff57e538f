"""Whether an origin is well, and if not, why."""

from __future__ import annotations

from enum import Enum
from math import inf
from typing import Final

from ...stats import OriginStats
from .record import Summary

__all__ = ["Health", "judge"]

SHUT: Final = ("open", "half-open", "forced open")


class Health(Enum):
    """An origin's health, as one word."""

    FAILING = "failing"
    STRAINED = "strained"
    WELL = "well"
    IDLE = "idle"  # no call in the last five minutes


def judge(summary: Summary | None, stats: OriginStats | None) -> tuple[Health, list[str]]:
    """
    Args:
        summary: None if it was never called since the dashboard began.
        stats: None if the client keeps no state of it any more.
    Returns:
        Its health, and the reasons if it isn't well.
    """
    failing, strained = [], []
    if stats is not None:
        if stats.breaker in SHUT:
            failing.append(f"breaker {stats.breaker}")
        if stats.away_for > 0:
            failing.append(f"away for {stats.away_for:.0f} s, {stats.awaited_by} attempts wait")
        if stats.paused_for > 0:
            strained.append(f"asks to wait for {stats.paused_for:.0f} s")
        if stats.limit < stats.max_concurrent:
            strained.append(f"limit lowered to {stats.limit:.0f} of {stats.max_concurrent:.0f}")
        if stats.rate < inf:
            strained.append(f"held to {stats.rate:.3g} calls/s")
        if stats.budget < 1:
            strained.append("retry budget is empty")
        if stats.ejected:
            strained.append(f"ejected: {', '.join(map(str, stats.ejected))}")
    if summary is not None and summary.good is not None and summary.good < 0.99:
        (failing if summary.good < 0.5 else strained).append(f"{100 * (1 - summary.good):.3g} % of calls failed")
    if failing:
        return Health.FAILING, failing + strained
    if strained:
        return Health.STRAINED, strained
    return (Health.WELL if summary is not None and summary.calls else Health.IDLE), []
