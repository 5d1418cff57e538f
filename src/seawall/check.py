"""Numbers of settings: refused at once, with the setting's name and its range."""

from __future__ import annotations

import math

__all__ = ["count", "number"]


def number(owner: str, name: str, value: object, *, low: float, high: float = math.inf, above: bool = False) -> None:
    """Refuse what is not a finite number in [low, high], or (low, high] where *above*."""
    span = f"{'>' if above else '>='} {low:g}" + (f" and <= {high:g}" if high != math.inf else "")
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{owner}.{name} must be a number {span}, not {value!r}")
    if not math.isfinite(value) or value < low or value > high or (above and value == low):
        raise ValueError(f"{owner}.{name} must be finite and {span}, not {value!r}")


def count(owner: str, name: str, value: object, *, low: int) -> None:
    """Refuse what is not a whole number >= *low*."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{owner}.{name} must be a whole number >= {low}, not {value!r}")
    if value < low:
        raise ValueError(f"{owner}.{name} must be >= {low}, not {value!r}")
