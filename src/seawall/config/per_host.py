"""Policies by host."""

from __future__ import annotations

from collections.abc import Mapping

from .check import shown
from .hosts import canonical, find
from .policy import Policy

__all__ = ["check_patterns", "policy_for"]


def check_patterns(per_host: Mapping[str, Policy]) -> dict[str, Policy]:
    """
    *per_host* with its keys as hosts are spelt.

    Raises:
        ValueError: No host can match a key, or two keys mean the same host.
        TypeError: *per_host* isn't a mapping, or one of its values isn't a Policy.
    """
    if not isinstance(per_host, Mapping):
        raise TypeError(f"per_host must map names of hosts to a seawall.Policy each, not {shown(per_host)}")
    checked: dict[str, Policy] = {}
    for pattern, policy in per_host.items():
        name = canonical("per_host", pattern)
        if not isinstance(policy, Policy):
            raise TypeError(f"per_host[{pattern!r}] must be a seawall.Policy, not {shown(policy)}")
        if name in checked:
            raise ValueError(f"per_host: {pattern!r} is there twice, in two spellings")
        checked[name] = policy
    return checked


def policy_for(host: str, per_host: Mapping[str, Policy], base: Policy) -> Policy:
    """The policy of *host*, over *base*."""
    found = find(host, per_host)
    return base if found is None else found.over(base)
