"""Whether an origin is well, and if not, why."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import Enum
from math import inf
from typing import Final

from ...events import LimitDegraded
from ...stats import OriginStats
from .record import Summary

__all__ = ["Health", "judge"]

GOOD: Final = 0.99  # a share of the last minute's calls
HALF: Final = 0.5
SHUT: Final = ("open", "half-open", "forced open")


class Health(Enum):
    """An origin's health, as one word."""

    FAILING = "failing"
    STRAINED = "strained"
    WELL = "well"
    IDLE = "idle"  # no call in the last five minutes


def judge(
    summary: Summary | None,
    stats: OriginStats | None,
    lookup_error: str | None = None,
    degraded: Iterable[LimitDegraded] = (),
) -> tuple[Health, list[str]]:
    """
    Args:
        summary: None if it was never called since the dashboard began.
        stats: None if the client keeps no state of it any more.
        lookup_error: Class of the error with which the last lookup of its name ended.
        degraded: Its gates that are shared no longer.
    Returns:
        Its health, and the reasons if it isn't well.
    """
    failing, strained, found = Health.FAILING, Health.STRAINED, list[tuple[Health, str]]()
    if lookup_error is not None:
        found.append((strained, f"its name: {lookup_error}"))
    for each in degraded:
        found.append((strained, f"{each.gate} not shared ({each.fallback}): {each.reason}"))
    if stats is not None:
        found += _at_gates(stats)
    if summary is not None and summary.good is not None and summary.good < GOOD:
        share = f"{100 * (1 - summary.good):.3g} % failed"
        found.append((failing if summary.good < HALF else strained, share))
    for worst in (failing, strained):
        if any(health is worst for health, _ in found):
            return worst, [reason for _, reason in found]
    return (Health.WELL if summary is not None and summary.calls else Health.IDLE), []


def _at_gates(stats: OriginStats) -> Iterator[tuple[Health, str]]:
    failing, strained = Health.FAILING, Health.STRAINED
    if stats.breaker in SHUT:
        yield failing, f"breaker {stats.breaker}"
    if stats.away_for > 0:
        yield failing, f"away for {stats.away_for:.0f} s, {stats.awaited_by} attempts wait"
    if stats.paused_for > 0:
        yield strained, f"asks to wait for {stats.paused_for:.0f} s"
    if stats.limit < stats.max_concurrent:
        yield strained, f"limit lowered to {stats.limit:.0f} of {stats.max_concurrent:.0f}"
    if stats.rate < inf:
        yield strained, f"held to {stats.rate:.3g} calls/s"
    if stats.budget < 1:
        yield strained, "retry budget is empty"
    if stats.ejected:
        yield strained, f"ejected: {', '.join(map(str, stats.ejected))}"
