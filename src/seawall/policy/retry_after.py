"""The Retry-After header."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC
from email.utils import parsedate_to_datetime
from itertools import islice
from typing import Final

__all__ = ["parse_retry_after", "parse_retry_after_ms"]

WEEKDAY: Final = r"(?:Mon|Tues?|Wed(?:nes)?|Thu(?:rs)?|Fri|Sat(?:ur)?|Sun)(?:day)?"
ITEM: Final = re.compile(rf"(?:\s*{WEEKDAY},)?[^,]+")
"""One value of a comma-separated list; a comma also stands after a date's weekday."""
NUMBER: Final = re.compile(r"[0-9]+(?:\.[0-9]+)?")
DIGITS: Final = 15  # a longer number means for ever
MAX_ITEMS: Final = 10  # values that are read, because a header of 64 kB could hold thousands
MAX_ITEM: Final = 64  # characters; a date has 33


def parse_retry_after(value: str | None, *, wall: Callable[[], float] = time.time) -> float | None:
    """
    Seconds that a Retry-After header asks to wait; a past date is 0, garbage None.

    A fraction counts, though the RFC has none, because servers send it. If there are several values (the header came
    twice, and httpx joins them with a comma), the largest counts, because then each part of the server is heeded.

    Args:
        wall: The time of day, in seconds since 1970, because the header may hold a date.
    Source: RFC 9110 section 10.2.3.
    """
    found = [delay for item in _items(value) if (delay := _delay(item, wall)) is not None]
    return max(found, default=None)


def parse_retry_after_ms(value: str | None) -> float | None:
    """Seconds that a ``retry-after-ms`` header asks to wait; garbage is None. Source: Azure's and OpenAI's APIs."""
    found = [number / 1000.0 for item in _items(value) if (number := _number(item)) is not None]
    return max(found, default=None)


def _items(value: str | None) -> Iterator[str]:
    for match in islice(ITEM.finditer(value or ""), MAX_ITEMS):
        item = match[0].strip()
        if len(item) <= MAX_ITEM:
            yield item


def _number(item: str) -> float | None:
    if not NUMBER.fullmatch(item):
        return None
    return float(item) if len(item.partition(".")[0]) <= DIGITS else math.inf


def _delay(item: str, wall: Callable[[], float]) -> float | None:
    if (number := _number(item)) is not None:
        return number
    try:
        date = parsedate_to_datetime(item)
        if date.tzinfo is None:
            date = date.replace(tzinfo=UTC)  # asctime's form names no zone, and means GMT (RFC 9110 section 5.6.7)
        return max(0.0, date.timestamp() - wall())
    except (TypeError, ValueError, OverflowError):
        return None
