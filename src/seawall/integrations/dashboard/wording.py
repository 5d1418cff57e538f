"""Values as JSON has them: no infinity, no long text, seconds to the microsecond."""

from __future__ import annotations

from math import isfinite
from typing import Any, Final

from ...attempts import Attempt
from ...events import CallEnded
from .failures import Failure

__all__ = ["finite", "of_failure", "seconds", "shortened"]

MAX_TEXT: Final = 300


def finite(value: float | None) -> float | None:
    """*value* to three decimals, or None if there is no limit."""
    return round(value, 3) if value is not None and isfinite(value) else None


def seconds(value: float | None) -> float | None:
    """A duration to the microsecond."""
    return round(value, 6) if value is not None and isfinite(value) else None


def shortened(text: str) -> str:
    """*text* in at most 300 characters."""
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"


def of_failure(failure: Failure, client: str) -> dict[str, Any]:
    """A call that failed."""
    event = failure.event
    return {
        "number": failure.number,
        "count": failure.count,
        "at": round(failure.at, 3),
        "client": client,
        "method": shortened(event.method),
        "path": shortened(event.path),
        "origin": None if event.origin is None else str(event.origin),
        "outcome": event.outcome,
        "note": shortened(event.note if isinstance(event, CallEnded) else event.detail),
        "duration": seconds(event.duration),
        "attempts": list(map(_of_attempt, failure.attempts)),
    }


def _of_attempt(attempt: Attempt) -> dict[str, Any]:
    return {
        "number": attempt.number,
        "origin": str(attempt.origin),
        "delay": seconds(attempt.delay),
        "duration": seconds(attempt.duration),
        "outcome": attempt.outcome,
        "detail": shortened(attempt.detail),
        "address": None if attempt.address is None else str(attempt.address),
        "is_reused": attempt.is_reused,
        "phase": attempt.phase.name.lower(),
        "marks": [[phase.name.lower(), seconds(at)] for phase, at in attempt.marks],
        "queued": [[gate, seconds(waited)] for gate, waited in attempt.queued],
    }
