"""Why no further attempt is made: a value for code, a text for people."""

from __future__ import annotations

from typing import NamedTuple

from ..events import Denied

__all__ = ["Denial"]


class Denial(NamedTuple):
    """
    A retry that isn't made.

    Attributes:
        text: The reason in words, with what to change where that helps.
    """

    reason: Denied
    text: str
