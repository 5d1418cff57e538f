"""The Retry-After header."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime

__all__ = ["parse_retry_after"]


def parse_retry_after(value: str | None, *, wall: Callable[[], float] = time.time) -> float | None:
    """
    Seconds that a Retry-After header asks to wait; a past date is 0, garbage None.

    Args:
        wall: The time of day, s since 1970: the header's date is one.
    Source: RFC 9110 section 10.2.3.
    """
    if value is None:
        return None
    value = value.strip()
    if value.isascii() and value.isdigit():
        return float(value) if len(value) < 16 else math.inf
    try:
        instant = parsedate_to_datetime(value).timestamp()
    except (TypeError, ValueError, OverflowError):
        return None
    return max(0.0, instant - wall())
