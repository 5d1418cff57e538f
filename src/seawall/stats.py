"""Frozen snapshots for dashboards and tests: `AsyncClient.stats`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from .origin import Origin

__all__ = ["NameStats", "OriginStats", "Stats"]


class OriginStats(NamedTuple):
    """
    One origin.

    Attributes:
        in_flight: Permits out; 0 where the bulkhead is off.
        waiting: Attempts queueing for one.
        breaker: "closed", "open", "half-open", or "off".
        budget: Tokens left; inf where the budget is off.
        idle: Connections kept alive.
    """

    in_flight: int
    waiting: int
    breaker: str
    budget: float
    idle: int


class NameStats(NamedTuple):
    """One host name: answers from the cache, stale ones among them apart, and lookups."""

    hits: int
    stale: int
    misses: int


class Stats(NamedTuple):
    """
    A client at one instant.

    Attributes:
        calls: Calls in flight.
        connections: Sockets open, idle ones included.
        budget: Retry tokens that all origins share; inf where the budget is off.
    """

    calls: int
    connections: int
    budget: float
    origins: Mapping[Origin, OriginStats]
    names: Mapping[str, NameStats]
