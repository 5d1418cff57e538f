"""A request's timeouts, which httpx takes as they are."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Real

import httpx

from ..config.check import MAX_COUNT, shown
from ..core.fronts import check_own

__all__ = ["check_timeouts"]


def check_timeouts(timeouts: Mapping[str, float | None]) -> None:
    """
    Check timeouts, because httpx takes anything as one, and fails later or never.

    Raises:
        ValueError: One is negative, NaN, or an int that no float can hold.
        TypeError: One isn't a number.
    """
    try:
        for value in timeouts.values():
            if value.__class__ is float and value >= 0.0:
                continue
            if value is not None:
                break  # rare, and below an abstract class is asked
        else:
            return
    except AttributeError:
        raise TypeError(f'extensions["timeout"] must map names to seconds or None, not {shown(timeouts)}') from None
    for name, value in timeouts.items():
        if value is None:
            continue
        check_own(httpx.__name__, timeout=value)
        if isinstance(value, bool) or not isinstance(value, Real):
            raise TypeError(f"timeout: {name} must be a number >= 0 s or None, not {shown(value)}")
        if not 0 <= value <= MAX_COUNT and value != math.inf:
            raise ValueError(f"timeout: {name} must be >= 0 s or None, not {shown(value)}")
