"""What upstreams are told of a call."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from .check import HEADER_NAME, number, shown
from .hosts import canonical

__all__ = ["ATTEMPT_HEADER", "CRITICALITY_HEADER", "TIMEOUT_HEADER", "Propagation", "check_header"]

TIMEOUT_HEADER = "X-Request-Timeout-Ms"
ATTEMPT_HEADER = "X-Request-Attempt"
CRITICALITY_HEADER = "X-Request-Criticality"
NOT_FREE = ("host", "content-length", "transfer-encoding", "connection", "expect", "upgrade", "te", "trailer")


def check_header(setting: str, name: object) -> None:
    """Refuse a *name* that isn't a header's, or that a request needs for itself (RFC 9110 section 5.1)."""
    is_one = isinstance(name, str) and re.fullmatch(HEADER_NAME, name)
    if not is_one or str(name).lower() in NOT_FREE:
        raise ValueError(
            f"{setting} must be the name of a header that is free, such as {TIMEOUT_HEADER!r}, not {shown(name)}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Propagation:
    """
    What upstreams are told with each attempt: how long the client waits for it, which attempt it is, and how much it
    matters.

    The time is relative, because clocks differ. It is computed anew for each attempt: the remainder of the call's
    deadline or the attempt's read timeout, whichever is shorter.

    Args:
        hosts: Hosts that are told: names, or ``*.suffix``. No other host is told, because third parties
            don't need to know your timeouts.
        timeout_header: Name of the header with the time left, in whole milliseconds. None: it isn't sent.
        attempt_header: Name of the header with the attempt's number, 1 for the first of a call. None: it isn't sent.
        criticality_header: Name of the header with "critical" or "background"; a "default" call has none. None: it
            isn't sent.
        margin: Seconds kept for the response's way back, but at most 10 % of the time that remains. 0.02: a round
            trip within a region, and the scheduling at both ends.
    """

    hosts: Collection[str]
    timeout_header: str | None = TIMEOUT_HEADER
    attempt_header: str | None = ATTEMPT_HEADER
    criticality_header: str | None = CRITICALITY_HEADER
    margin: float = 0.02

    def __post_init__(self) -> None:
        if isinstance(self.hosts, str) or not isinstance(self.hosts, Iterable):
            raise TypeError(f"Propagation.hosts must be a list of names, not {shown(self.hosts)}")
        hosts = frozenset(canonical("Propagation.hosts", host) for host in self.hosts)
        if not hosts:
            raise ValueError("Propagation.hosts must name at least one host; leave propagation out to tell nobody")
        object.__setattr__(self, "hosts", hosts)
        given = {name: getattr(self, name) for name in ("timeout_header", "attempt_header", "criticality_header")}
        for setting, name in given.items():
            if name is not None:
                check_header(f"Propagation.{setting}", name)
        names = [name.lower() for name in given.values() if name is not None]
        if len(set(names)) != len(names) or not names:
            raise ValueError(f"Propagation needs one of {', '.join(given)}, and different names where it has several")
        number("Propagation", "margin", self.margin, low=0)
