"""Policies by host: a name, or ``*.suffix``."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping

from ..settings import Policy

__all__ = ["check_patterns", "policy_for"]

_LABEL = r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?"
_PATTERN = re.compile(rf"(\*\.)?{_LABEL}(\.{_LABEL})*")


def check_patterns(per_host: Mapping[str, Policy]) -> dict[str, Policy]:
    """
    *per_host* with lower-case keys.

    Raises:
        ValueError: A key that no host can match: a URL, a port, a wildcard that isn't the first label.
        TypeError: A value that is no Policy.
    """
    checked: dict[str, Policy] = {}
    for pattern, policy in per_host.items():
        name = _canonical(pattern)
        if not isinstance(policy, Policy):
            raise TypeError(f"per_host[{pattern!r}] must be a seawall.Policy, not {policy!r}")
        if name in checked:
            raise ValueError(f"per_host: {pattern!r} is there twice, in two spellings")
        checked[name] = policy
    return checked


def _canonical(pattern: str) -> str:
    """As hosts of requests are spelt: lower case, IDNA, an address in its shortest form."""
    try:
        return str(ipaddress.ip_address(pattern))
    except ValueError:
        pass
    star, name = ("*.", pattern[2:]) if pattern.startswith("*.") else ("", pattern)
    try:
        name = star + name.encode("idna").decode().lower().rstrip(".")
    except UnicodeError:
        name = ""
    if not _PATTERN.fullmatch(name):
        raise ValueError(
            f"per_host: no host can match {pattern!r}; use a name such as api.example.com, "
            "or *.example.com for all names below it, without scheme, port or path"
        )
    return name


def policy_for(host: str, per_host: Mapping[str, Policy], base: Policy) -> Policy:
    """The policy of *host*: its own name's before the longest ``*.suffix``'s, over *base*."""
    name = host.rstrip(".")
    found = per_host.get(name)
    while found is None and "." in name:
        name = name.partition(".")[2]
        found = per_host.get(f"*.{name}")
    return base if found is None else found.over(base)
