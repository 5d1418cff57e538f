"""Frozen snapshots for dashboards and tests: `AsyncClient.stats`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from .origin import Address, Origin

__all__ = ["NameStats", "OriginStats", "Stats", "Totals"]


class OriginStats(NamedTuple):
    """
    One origin.

    Attributes:
        in_flight: Permits out; 0 if the bulkhead is off.
        max_concurrent: How many permits there are, in all its parts together; inf if the bulkhead is off.
        waiting: Attempts queueing for a permit.
        ghosts: Attempts that were sent and given up, and hold permits because the server may still be at work on them;
            they aren't in flight.
        limit: How many attempts may be in flight now, ghosts included: `max_concurrent`, or less while they get no
            answer; inf if the bulkhead is off.
        breaker: "closed", "open", "half-open", or "off".
        next_probe: Seconds until the breaker lets a probe through; 0 if it lets attempts through, inf if it is held
            open by hand.
        rate: The lowest rate that rejections have taught, in requests a second; inf if they taught none.
        limited: Attempts that wait for their turn by a limit.
        paused_for: Seconds for which the origin has asked all its callers to wait.
        budget: Retry tokens left; inf if the budget is off.
        max_budget: Retry tokens that the budget can hold; inf if it is off.
        idle: Connections kept alive.
        connections: Connections that are open or being dialled, idle ones included.
        ejected: Addresses that are tried last for a while.
        away_for: Seconds since it went away (see `seawall.Ready`); 0 if it isn't.
        awaited_by: Attempts that wait for it to come back.
    """

    in_flight: int
    max_concurrent: float
    waiting: int
    breaker: str
    next_probe: float
    rate: float
    limited: int
    paused_for: float
    budget: float
    max_budget: float
    idle: int
    connections: int
    ejected: tuple[Address, ...]
    ghosts: int = 0
    limit: float = math.inf
    away_for: float = 0.0
    awaited_by: int = 0


class NameStats(NamedTuple):
    """One host name: answers from the cache, stale answers, and lookups."""

    hits: int
    stale: int
    misses: int


class Totals(NamedTuple):
    """
    Counts since the client was made.

    Attributes:
        calls: Calls that began.
        attempts: By kind: "first", "retry" and "hedge".
        denied: Retries that weren't made, by reason; see `seawall.events.Denied`.
        rejected: Attempts that a gate refused, by the gate's name.
    """

    calls: int
    attempts: Mapping[str, int]
    denied: Mapping[str, int]
    rejected: Mapping[str, int]


class Stats(NamedTuple):
    """
    A client at one instant.

    Attributes:
        calls: Calls in flight.
        connections: Sockets open, idle ones included.
        max_connections: How many there may be; inf if there is no limit.
        waiting: Attempts waiting for a connection, because as many are open as there may be.
        budget: Retry tokens that all origins share; inf if the budget is off.
        origins: By origin; one through a proxy is another one than the same without.
        proxies: The states of the proxies' own breakers, as of an origin's, by URL without credentials.
    """

    calls: int
    connections: int
    max_connections: float
    waiting: int
    budget: float
    totals: Totals
    origins: Mapping[Origin, OriginStats]
    names: Mapping[str, NameStats]
    proxies: Mapping[str, str] = MappingProxyType({})
