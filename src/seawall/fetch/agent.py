"""What a robots.txt calls a user agent by (RFC 9309 section 2.2.1)."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["TOKEN", "token_of"]

TOKEN: Final = re.compile(r"[A-Za-z_-]+")
_COMPATIBLE: Final = re.compile(r"compatible;\s*([A-Za-z_-]+)")


def token_of(user_agent: str) -> str:
    """The product token that a robots.txt calls *user_agent* by: its first word, or what it is "compatible" with."""
    found = _COMPATIBLE.search(user_agent) or TOKEN.search(user_agent)
    return "" if found is None else found[found.re.groups]
