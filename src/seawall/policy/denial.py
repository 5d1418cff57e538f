"""Why no further attempt is made: for code as a value, for people as a text."""

from __future__ import annotations

from typing import NamedTuple

from ..events import Denied

__all__ = ["Denial"]


class Denial(NamedTuple):
    """
    A retry that isn't made.

    Attributes:
        text: What to change, where something can be changed.
    """

    reason: Denied
    text: str
