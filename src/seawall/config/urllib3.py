"""urllib3's `Retry`, in our words."""

from __future__ import annotations

from random import Random
from typing import Any

from .check import count, number, shown

__all__ = ["Urllib3Backoff", "translated"]

COUNTS = ("connect", "read", "status", "other")


class Urllib3Backoff:
    """
    A tenacity strategy: urllib3's delays.

    0 after the first attempt; after the n-th ``factor * 2 ** (n - 1)`` s, with up to *jitter* s on top, at most *cap* s
    in all.
    """

    __slots__ = ("_cap", "_factor", "_jitter", "_rng")

    def __init__(self, factor: float, cap: float, jitter: float, rng: Random) -> None:
        self._factor = factor
        self._cap = cap
        self._jitter = jitter
        self._rng = rng

    def __repr__(self) -> str:
        return f"Urllib3Backoff(factor={self._factor:g}, cap={self._cap:g}, jitter={self._jitter:g})"

    def __call__(self, state: Any) -> float:
        """*state*: tenacity's RetryCallState."""
        attempt: int = state.attempt_number
        if attempt <= 1:
            return 0.0
        delay = self._factor * 2.0 ** min(attempt - 1, 1000)
        if self._jitter:
            delay += self._rng.uniform(0.0, self._jitter)
        return max(0.0, min(self._cap, delay))


def translated(retry: Any, rng: Random) -> dict[str, Any]:
    """
    Arguments of `seawall.Retry` that do what urllib3's *retry* does.

    Raises:
        TypeError: *retry* isn't a ``urllib3.util.Retry``.
        ValueError: It would retry for ever, or a number of it is out of range.
    """
    if not hasattr(retry, "status_forcelist") or not hasattr(retry, "backoff_factor"):
        raise TypeError(f"from_urllib3 takes a urllib3.util.Retry, not {shown(retry)}")
    counts = {name: _count(name, getattr(retry, name, None)) for name in COUNTS}
    respects = bool(retry.respect_retry_after_header)
    return {
        "max_attempts": 1 + _total(retry.total, counts),
        **{f"max_{name}_retries": count for name, count in counts.items()},
        "methods": retry.allowed_methods or None,  # an empty set too is any method
        "statuses": frozenset(retry.status_forcelist or ()),
        "retry_after_statuses": frozenset(retry.RETRY_AFTER_STATUS_CODES if respects and retry.total else ()),
        "rejected_statuses": frozenset(),  # urllib3 asks for the method first
        "respect_retry_after": respects,
        "max_retry_after": _seconds("retry_after_max", getattr(retry, "retry_after_max", 21600)),
        "raise_on_status": bool(retry.raise_on_status),
        "wait": Urllib3Backoff(
            _seconds("backoff_factor", retry.backoff_factor),
            _seconds("backoff_max", getattr(retry, "backoff_max", 120)),
            _seconds("backoff_jitter", getattr(retry, "backoff_jitter", 0.0)),
            rng,
        ),
    }


def _seconds(name: str, value: Any) -> float:
    number("urllib3.Retry", name, value, low=0)
    return float(value)


def _count(name: str, value: Any) -> int | None:
    """False stands for 0."""
    if value is None:
        return None
    retries = max(0, int(value)) if isinstance(value, int) else value
    count("urllib3.Retry", name, retries, low=0)
    return int(retries)


def _total(total: int | None, counts: dict[str, int | None]) -> int:
    if total is not None:
        retries = _count("total", total)
        assert retries is not None
        return retries
    given = [count for count in counts.values() if count is not None]
    if not given:
        raise ValueError("from_urllib3: total=None without any other count retries for ever; give total")
    return sum(given)
