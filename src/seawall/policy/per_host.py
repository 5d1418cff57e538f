"""Policies by host: a name, or ``*.suffix``."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping

from ..settings import Policy

__all__ = ["check_patterns", "policy_for"]

_LABEL = r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?"
_PATTERN = re.compile(rf"(\*\.)?{_LABEL}(\.{_LABEL})*\.?")


def check_patterns(per_host: Mapping[str, Policy]) -> dict[str, Policy]:
    """
    *per_host* with lower-case keys.

    Raises:
        ValueError: A key that no host can match: a URL, a port, a wildcard that isn't the first label.
        TypeError: A value that is no Policy.
    """
    checked = {}
    for pattern, policy in per_host.items():
        name = pattern.lower()
        if not _PATTERN.fullmatch(name) and not _is_literal(name):
            raise ValueError(
                f"per_host: no host can match {pattern!r}; use a name such as api.example.com, "
                "or *.example.com for all names below it, without scheme, port or path"
            )
        if not isinstance(policy, Policy):
            raise TypeError(f"per_host[{pattern!r}] must be a seawall.Policy, not {policy!r}")
        checked[name.rstrip(".")] = policy
    return checked


def _is_literal(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def policy_for(host: str, per_host: Mapping[str, Policy], base: Policy) -> Policy:
    """The policy of *host*: its own name's before the longest ``*.suffix``'s, over *base*."""
    name = host.rstrip(".")
    found = per_host.get(name)
    while found is None and "." in name:
        name = name.partition(".")[2]
        found = per_host.get(f"*.{name}")
    return base if found is None else found.over(base)
