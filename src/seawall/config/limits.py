"""How many connections a client may have."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Self

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

from .check import count, number

__all__ = ["Limits"]

MAX_CONNECTIONS: Final = 1000
SELECTED: Final = 512  # sockets that Windows' select() takes: FD_SETSIZE, as CPython builds it (Modules/selectmodule.c)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """
    How many connections a client may have.

    Args:
        max_connections: Connections in all; None disables it. 1000: httpx's 100 let two slow hosts starve the rest.
        max_keepalive: Idle connections that are kept; None keeps all. 1000: httpx's 20 churn at 50 in flight.
        keepalive_expiry: Seconds that an idle connection is kept; None keeps it for ever. 15: httpx's 5 churn too.
    """

    max_connections: int | None = MAX_CONNECTIONS
    max_keepalive: int | None = MAX_CONNECTIONS
    keepalive_expiry: float | None = 15.0

    def __post_init__(self) -> None:
        """The messages have httpx's names, because its ``Limits`` are what users write."""
        if self.max_connections is not None:
            count("Limits", "max_connections", self.max_connections, low=1)
        if self.max_keepalive is not None:
            count("Limits", "max_keepalive_connections", self.max_keepalive, low=0)
        if self.keepalive_expiry not in (None, math.inf):
            number("Limits", "keepalive_expiry", self.keepalive_expiry, low=0)

    @classmethod
    def fitting(cls) -> Self:
        """The defaults, but at most half as many connections as this process may have descriptors, or may select."""
        descriptors = _descriptors()
        most = MAX_CONNECTIONS if descriptors is None else max(1, min(MAX_CONNECTIONS, descriptors // 2))
        return cls(max_connections=most, max_keepalive=most)


def _descriptors() -> int | None:
    """How many this process may have (RLIMIT_NOFILE), on Windows its selector loop; None: any number."""
    if resource is None:
        return SELECTED
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if limit == resource.RLIM_INFINITY else limit
