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


def _words(text: str | None) -> set[str]:
    return set((text or "").split())


def _is_lame(found: Difference) -> bool:
    """A configured server is lame, and its empty answer was believed."""
    return found.resolver != "system" and "lame" in found.machine.servers and found.got.what == "NoAddress"


def _is_formerr(found: Difference) -> bool:
    """A server doesn't understand the query, which glibc takes for a denial."""
    says = [rcode for each in found.machine.zone.values() for rcode in (each.rcode_a, each.rcode_aaaa)]
    is_said = "formerr" in found.machine.servers or "FORMERR" in says
    return found.resolver != "system" and is_said and found.expected.what in ("NameNotFound", "NoAddress")


def _is_one_by_one(found: Difference) -> bool:
    """glibc gives the name up where its first question, for A, failed."""
    is_single = bool(_words(found.machine.resolv_conf) & {"single-request", "single-request-reopen"})
    return found.resolver != "system" and is_single and found.got.what == "found"


def _is_without_module(found: Difference) -> bool:
    """nsswitch.conf ends with a module that isn't installed."""
    return found.resolver != "system" and "EAI_SYSTEM" in found.expected.text and found.got.what != "failure"


NAMED = (
    Named("lame servers are believed", _is_lame),
    Named("FORMERR is no denial", _is_formerr),
    Named("single-request does not end a lookup early", _is_one_by_one),
    Named("a module that is not installed takes no name", _is_without_module),
    Named("localhost is always loopback", _is_localhost),
    Named("invalid and onion are never asked of DNS", _is_never_asked),
)
