"""Differences from getaddrinfo that are meant; docs/reference/names.md has their reasons."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .outcome import Difference

__all__ = ["NAMED", "Named", "named"]

LOOPBACK = {"127.0.0.1", "::1"}


@dataclass(frozen=True, slots=True)
class Named:
    """
    Attributes:
        title: As in the docs.
        is_so: Whether a difference is of this kind; it must not be true of any other.
    """

    title: str
    is_so: Callable[[Difference], bool]


def named(found: Difference) -> Named | None:
    """Which of the kinds it is; None where nobody has accounted for it."""
    return next((each for each in NAMED if each.is_so(found)), None)


def _labels(found: Difference) -> list[str]:
    return found.machine.name.lower().removesuffix(".").split(".")


def _is_localhost(found: Difference) -> bool:
    is_loopback = found.got.what == "found" and set(found.got.addresses) <= LOOPBACK
    return found.resolver != "system" and _labels(found)[-1] == "localhost" and is_loopback


def _is_never_asked(found: Difference) -> bool:
    is_special = _labels(found)[-1] in ("invalid", "onion")
    return found.resolver != "system" and is_special and found.got.what == "NameNotFound"


NAMED = (
    Named("localhost is always loopback", _is_localhost),
    Named("invalid and onion are never asked of DNS", _is_never_asked),
)
