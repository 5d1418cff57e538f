"""The Retry-After header."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from datetime import UTC
from email.utils import parsedate_to_datetime

__all__ = ["parse_retry_after", "parse_retry_after_ms"]


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
        date = parsedate_to_datetime(value)
        if date.tzinfo is None:
            date = date.replace(tzinfo=UTC)  # asctime's form names no zone: it is GMT (RFC 9110 section 5.6.7)
        return max(0.0, date.timestamp() - wall())
    except (TypeError, ValueError, OverflowError):
        return None


def parse_retry_after_ms(value: str | None) -> float | None:
    """Seconds that a ``retry-after-ms`` header asks to wait; garbage is None. Source: Azure's and OpenAI's APIs."""
    try:
        delay = float(value) / 1000.0 if value is not None and value.isascii() and "_" not in value else -1.0
    except ValueError:
        return None
    return delay if delay >= 0.0 else None
