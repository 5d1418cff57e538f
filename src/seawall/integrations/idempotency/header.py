"""The header: one string of RFC 8941."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

__all__ = ["MAX_KEY", "HeaderError", "parse_key"]

MAX_KEY: Final = 255  # characters; as Stripe's

# Item (RFC 8941, section 3.3): a string, then parameters, which the draft doesn't define, so that they are ignored
STRING: Final = r'"(?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*"'
ITEM: Final = re.compile(rf" *({STRING})(?: *; *[a-z*][a-z0-9_\-.*]*(?:=(?:{STRING}|[^\s\",;=]+))?)* *")


class HeaderError(ValueError):
    """The header isn't one string; the text says what to change."""


def parse_key(values: Sequence[str]) -> str | None:
    """
    The key in the header's *values*; None without one.

    Raises:
        HeaderError: There are several, or the one isn't a string in quotes, or it is empty or too long.
    """
    if not values:
        return None
    item = ITEM.fullmatch(values[0]) if len(values) == 1 else None
    if item is None:
        raise HeaderError('Send one Idempotency-Key: a string in double quotes, such as "8e03978e-40d5-43dd-bc93".')
    key = re.sub(r"\\(.)", r"\1", item[1][1:-1])
    if not 0 < len(key) <= MAX_KEY:
        raise HeaderError(f"An Idempotency-Key has 1 to {MAX_KEY} characters; this one has {len(key)}.")
    return key
