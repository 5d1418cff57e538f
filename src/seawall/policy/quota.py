"""
What servers say of their limits in headers: how much is left, and until when.

Rules: one table, a line for each dialect; what isn't known, garbled, negative or huge is ignored. A reset may be a
number of seconds, an instant since 1970, a duration such as "6m0s", or a date of RFC 3339.

Sources: IETF draft-ietf-httpapi-ratelimit-headers-11 and its older form up to -07; the references of GitHub, OpenAI,
Anthropic, X, Discord and Shopify.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Final, NamedTuple

__all__ = ["Quota", "quotas"]

MAX_ITEMS: Final = 8  # policies of one header
MAX_VALUE: Final = 128  # characters of a value
EPOCH: Final = 1e7  # a larger number of seconds is an instant since 1970
MILLISECONDS: Final = 1e11  # and a larger one is in ms
MAX_RESET: Final = 3600.0 * 24  # s; a longer one says nothing for the calls of today

DIALECTS: Final = (
    # remaining, reset: pairs of header names
    ("ratelimit-remaining", "ratelimit-reset"),
    ("x-ratelimit-remaining", "x-ratelimit-reset-after"),
    ("x-ratelimit-remaining", "x-ratelimit-reset"),
    ("x-rate-limit-remaining", "x-rate-limit-reset"),
    ("x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"),
    ("anthropic-ratelimit-requests-remaining", "anthropic-ratelimit-requests-reset"),
)

ITEM: Final = re.compile(r'\s*"[^"]{0,64}"((?:\s*;\s*[a-z]+=[^;,]{1,32})*)\s*(?:,|$)')
PARAMETER: Final = re.compile(r";\s*([a-z]+)=([^;,]+)")
NUMBER: Final = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,9})?")
DURATION: Final = re.compile(
    r"(?:(\d{1,4})d)?(?:(\d{1,4})h)?(?:(\d{1,5})m)?(?:(\d{1,7}(?:\.\d{1,9})?)s)?(?:(\d{1,9}(?:\.\d{1,9})?)ms)?"
)
UNITS: Final = (86400.0, 3600.0, 60.0, 1.0, 0.001)
USED: Final = re.compile(r"(\d{1,9})/(\d{1,9})")
LEAK: Final = 2.0  # requests a second that Shopify's bucket leaks


class Quota(NamedTuple):
    """
    Attributes:
        remaining: Requests that the server still takes, >= 0.
        reset: Seconds until it takes more, >= 0.
    """

    remaining: float
    reset: float


def quotas(headers: Mapping[str, str], *, wall: float) -> list[Quota]:
    """
    Every quota of requests that *headers* tell of.

    Args:
        headers: Of a response; names in any case.
        wall: The time of day, in seconds since 1970, because some resets are instants.
    """
    found = list(_structured(headers.get("ratelimit", "")))
    for remaining_name, reset_name in DIALECTS:
        remaining, reset = _number(headers.get(remaining_name)), _reset(headers.get(reset_name), wall)
        if remaining is not None and reset is not None:
            found.append(Quota(remaining, reset))
    used = USED.fullmatch(headers.get("x-shopify-shop-api-call-limit", "").strip())
    if used is not None and (left := int(used[2]) - int(used[1])) >= 0:
        found.append(Quota(left, 1.0 / LEAK if left == 0 else 0.0))
    return found


def _structured(value: str) -> Iterator[Quota]:
    """The items of the draft's ``RateLimit``: ``"default";r=50;t=30``. Only those of requests, the default unit."""
    if len(value) > MAX_VALUE * MAX_ITEMS:
        return
    for count, item in enumerate(ITEM.finditer(value)):
        if count == MAX_ITEMS:
            return
        parameters = dict(PARAMETER.findall(item[1]))
        remaining, reset = _number(parameters.get("r")), _number(parameters.get("t"))
        if remaining is not None and reset is not None and reset <= MAX_RESET:
            yield Quota(remaining, reset)


def _number(value: str | None) -> float | None:
    """A finite number >= 0."""
    value = (value or "").strip()
    return float(value) if NUMBER.fullmatch(value) else None


def _reset(value: str | None, wall: float) -> float | None:
    """Seconds until an instant that is given in one of many forms; None for garbage, the past and the far future."""
    value = (value or "").strip()
    if not 0 < len(value) <= MAX_VALUE:
        return None
    seconds = _number(value)
    if seconds is not None:
        if seconds >= MILLISECONDS:
            seconds /= 1000.0
        if seconds >= EPOCH:
            seconds -= wall
    elif (parts := DURATION.fullmatch(value)) is not None and any(parts.groups()):
        seconds = sum(unit * float(part) for unit, part in zip(UNITS, parts.groups(), strict=True) if part)
    else:
        try:
            date = datetime.fromisoformat(value)
        except ValueError:
            return None
        seconds = math.nan if date.tzinfo is None else date.timestamp() - wall
    return seconds if 0.0 <= seconds <= MAX_RESET else None
