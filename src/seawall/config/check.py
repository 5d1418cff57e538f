"""Checks of a setting's value, which name the setting and its range."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable
from typing import Any, Final

__all__ = ["HEADER_NAME", "MAX_COUNT", "collection", "count", "number", "shown"]

MAX_COUNT: Final = sys.maxsize  # C takes no more, and a float's arithmetic doesn't take any number of digits
HEADER_NAME: Final = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"  # a header's name (RFC 9110 section 5.6.2)
MAX_SHOWN: Final = 500  # characters of a value in an error's text


def number(owner: str, name: str, value: object, *, low: float, high: float = math.inf, above: bool = False) -> None:
    """
    Refuse a *value* that isn't a finite number in [low, high], or in (low, high] where *above*.

    Args:
        owner: The class that has the setting; "" for one that is an argument of clients too.
    """
    name = f"{owner}.{name}" if owner else name
    span = f"{'>' if above else '>='} {low:g}" + (f" and <= {high:g}" if high != math.inf else "")
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be a number {span}, not {shown(value)}")
    if not _is_finite(value) or value < low or value > high or (above and value == low):
        raise ValueError(f"{name} must be finite and {span}, not {shown(value)}")


def count(owner: str, name: str, value: object, *, low: int) -> None:
    """Refuse a *value* that isn't a whole number >= *low* (and <= `MAX_COUNT`, which nobody means to reach)."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{owner}.{name} must be a whole number >= {low}, not {shown(value)}")
    if value < low:
        raise ValueError(f"{owner}.{name} must be >= {low}, not {shown(value)}")
    if value > MAX_COUNT:
        raise ValueError(f"{owner}.{name} must be <= {MAX_COUNT}, not {shown(value)}")


def collection(name: str, value: object, what: str) -> frozenset[Any]:
    """The members of *value*, which must be *what* ("a set, such as {...}"); a text is not one."""
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        raise TypeError(f"{name} must be {what}, not {shown(value)}")
    try:
        return frozenset(value)
    except TypeError as error:  # a list within
        raise TypeError(f"{name} must be {what}, not {shown(value)}: {error}") from None


def shown(value: object) -> str:
    """*value* as an error's text shows it: its repr, unless that is too long, or Python refuses to write it out."""
    try:
        text = repr(value)
    except ValueError:  # an int of more than 4,300 digits, or a list of them
        text = ""
    return text if 0 < len(text) <= MAX_SHOWN else f"a {type(value).__name__} that is too long to be shown"


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an int that no float can hold
        return False
