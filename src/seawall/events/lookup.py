"""What happens to the name of a host."""

from __future__ import annotations

from typing import NamedTuple

from ..origin import Address

__all__ = ["LookupEnded", "ResolverFailed", "StaleServed"]


class StaleServed(NamedTuple):
    """DNS failed or was too slow for a name, and seawall used addresses past their TTL."""

    host: str
    addresses: tuple[Address, ...]


class ResolverFailed(NamedTuple):
    """A lookup failed: no answer in time, or no usable one. A name that doesn't exist is not a failure."""

    host: str
    reason: str


class LookupEnded(NamedTuple):
    """
    A lookup of a name ended: once per lookup, however many calls waited for it. Hits of the cache are not lookups.

    Attributes:
        host: The name.
        source: Where the addresses came from, as in `Answer.source`: "dns", "hosts", "system", ...; if there are none,
            "system" if the system's resolver was asked as the fallback, else empty.
        duration: Seconds from its start to its end.
        addresses: How many addresses were found.
        error: Name of the error's class ("NameNotFound"), or "cancelled" if the client was closed; None if
            addresses were found.
        ttl: Seconds that the resolver lets the addresses be kept, before `DNS.min_ttl` and `DNS.max_ttl` bound them;
            None if it doesn't say, or found none.
    """

    host: str
    source: str
    duration: float
    addresses: int
    error: str | None
    ttl: float | None
