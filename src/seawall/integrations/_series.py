"""
The series that seawall has in Prometheus: names, labels, and the levels that a snapshot of a client gives.

Rules: seconds, not ms; a counter's name ends in ``_total``; a label has only values that `Hosts`, the classes of errors
or the settings bound. It imports no library.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from ..events import (
    AddressEjected,
    BodyEnded,
    BreakerMoved,
    ConnectionClosed,
    ConnectionOpened,
    HedgeStarted,
    LimitDegraded,
    OriginAway,
    OriginPaused,
    Rejected,
    RetryDenied,
    StaleServed,
)
from ..stats import OriginStats, Stats
from ._measures import ATTEMPT_BUCKETS, CALL_BUCKETS, STATES, WAIT_BUCKETS

__all__ = ["COUNTED", "METRICS", "Metric", "Sample", "levels"]


@dataclass(frozen=True, slots=True, eq=False)
class Metric:
    """
    One metric, which is equal to itself only, because it is a key on the way of each call.

    Attributes:
        kind: "counter", "gauge" or "histogram".
        help: What it counts, in a sentence without a final dot.
        labels: Its labels, after ``client``, which each has.
        buckets: A histogram's upper bounds in seconds, without infinity.
    """

    kind: str
    name: str
    help: str
    labels: tuple[str, ...] = ("host",)
    buckets: tuple[float, ...] = ()


def _counter(name: str, text: str, *labels: str) -> Metric:
    return Metric("counter", name, text, labels)


def _gauge(name: str, text: str, *labels: str) -> Metric:
    return Metric("gauge", name, text, labels)


ATTEMPTS = Metric(
    "histogram",
    "seawall_attempt_duration_seconds",
    "Attempts, each from its start, queueing included, to its end; of a streamed response to its headers",
    ("host", "method", "status", "error"),
    ATTEMPT_BUCKETS,
)
CALLS = Metric(
    "histogram",
    "seawall_call_duration_seconds",
    "Calls, retries and redirects included; of a streamed response to its headers",
    ("host", "method", "outcome"),
    CALL_BUCKETS,
)
WAITS = Metric(
    "histogram",
    "seawall_wait_duration_seconds",
    "Waits of attempts before anything was sent: at each gate, at the cap of connections, for DNS, and for backoff",
    ("host", "at"),
    WAIT_BUCKETS,
)
LOOKUPS = Metric(
    "histogram",
    "seawall_dns_lookup_duration_seconds",
    "DNS lookups, not counting answers from the cache; without the name, which would make too many series",
    ("source", "error"),
    ATTEMPT_BUCKETS,
)
RETRIES = _counter("seawall_retries_total", "Retries that were scheduled, by the outcome before them", "host", "reason")
HEDGES = _counter("seawall_hedges_total", "Second attempts that were made beside a slow one", "host")
RETRIED = _counter("seawall_retried_calls_total", "Calls that were retried, by what the caller got", "host", "outcome")
DENIED = _counter(
    "seawall_retries_denied_total", "Retries that weren't made though one might have helped, by why", "host", "reason"
)
REJECTED = _counter("seawall_rejected_total", "Attempts that a gate on this side refused", "host", "gate")
BODIES = _counter("seawall_streamed_bodies_total", "Bodies of streamed responses, by how they ended", "host", "outcome")
MOVES = _counter(
    "seawall_breaker_transitions_total",
    "Changes of a breaker's state, by the old and the new",
    "host",
    "previous",
    "state",
)
OPENED = _counter("seawall_connections_opened_total", "Connections that were dialled and secured", "host", "protocol")
CLOSED = _counter("seawall_connections_closed_total", "Connections that either side closed", "host", "protocol")
EJECTIONS = _counter("seawall_address_ejections_total", "Addresses that failed too often and were ejected", "host")
ABSENCES = _counter(
    "seawall_origin_absences_total", "Times that an origin went away, so that calls waited for it", "host"
)
DEGRADATIONS = _counter(
    "seawall_limit_degradations_total",
    "Times that the store of a shared limit didn't answer, so its fallback held",
    "host",
)
PAUSES = _counter("seawall_origin_pauses_total", "Times that an origin asked all its callers to wait", "host")
ANSWERS = _counter(
    "seawall_dns_answers_total",
    "Answers that attempts got when they needed a new connection, by where from",
    "host",
    "source",
)
LOOKUP_FAILURES = _counter("seawall_dns_lookup_failures_total", "DNS lookups that gave no address", "host", "error")
STALE = _counter("seawall_dns_stale_total", "Times that DNS failed and addresses past their TTL were used", "host")

CALLS_NOW = _gauge("seawall_calls_in_flight", "Calls in flight")
CAP = _gauge("seawall_max_connections", "Connections that the client may have; missing if it has no limit")
CAP_WAITING = _gauge("seawall_connections_waiting", "Attempts that wait for a connection because of that limit")
SHARED_BUDGET = _gauge(
    "seawall_client_budget_tokens", "Retry tokens that all origins share; missing if the budget is off"
)
CONNECTIONS = _gauge("seawall_connections", 'Connections; those being dialled are "active"', "host", "state")
IN_FLIGHT = _gauge("seawall_bulkhead_in_flight", "Attempts that hold a permit", "host")
GHOSTS = _gauge(
    "seawall_bulkhead_ghosts",
    "Attempts that were given up and hold a permit, because the server may work on them",
    "host",
)
LIMIT = _gauge("seawall_bulkhead_limit", "Permits that there are now, those of ghosts included", "host")
MAX_CONCURRENT = _gauge("seawall_bulkhead_max_concurrent", "Permits that the settings allow", "host")
WAITING = _gauge("seawall_bulkhead_waiting", "Attempts that queue for a permit", "host")
BREAKER = _gauge(
    "seawall_breaker_state", "1 for the state that the breaker is in, else 0; sums count breakers", "host", "state"
)
BUDGET = _gauge("seawall_budget_tokens", "Retry tokens that the origin has left", "host")
MAX_BUDGET = _gauge("seawall_budget_max_tokens", "Retry tokens that the origin can have", "host")
RATE = _gauge(
    "seawall_learned_rate", "Requests a second that rejections have taught; missing if they taught none", "host"
)
LIMITED = _gauge("seawall_limit_waiting", "Attempts that wait for their turn by a limit", "host")
EJECTED = _gauge("seawall_addresses_ejected", "Addresses that are ejected now", "host")
AWAY = _gauge(
    "seawall_origins_away", "1 while calls wait for an origin that is away, else 0; sums count origins", "host"
)
AWAITING = _gauge("seawall_origins_away_waiting", "Attempts that wait for an origin that is away", "host")

METRICS: Final = (
    ATTEMPTS, CALLS, RETRIES, HEDGES, RETRIED, DENIED, REJECTED, BODIES, WAITS, MOVES, ABSENCES, PAUSES, DEGRADATIONS,
    LOOKUPS, LOOKUP_FAILURES, ANSWERS, STALE, OPENED, CLOSED, EJECTIONS, CALLS_NOW, IN_FLIGHT, GHOSTS, LIMIT,
    MAX_CONCURRENT, WAITING, BREAKER, BUDGET, MAX_BUDGET, SHARED_BUDGET, RATE, LIMITED, AWAY, AWAITING, CONNECTIONS,
    CAP, CAP_WAITING, EJECTED,
)  # fmt: skip

COUNTED: Final[Mapping[type, tuple[Metric, Callable[[Any], tuple[str, ...]]]]] = MappingProxyType(
    {
        HedgeStarted: (HEDGES, lambda event: (event.origin.host,)),
        RetryDenied: (DENIED, lambda event: (event.origin.host, event.reason.value)),
        Rejected: (REJECTED, lambda event: (event.origin.host, event.by)),
        BodyEnded: (BODIES, lambda event: (event.origin.host, event.outcome)),
        BreakerMoved: (MOVES, lambda event: (event.origin.host, event.previous, event.state)),
        ConnectionOpened: (OPENED, lambda event: (event.origin.host, event.protocol)),
        ConnectionClosed: (CLOSED, lambda event: (event.origin.host, event.protocol)),
        AddressEjected: (EJECTIONS, lambda event: (event.origin.host,)),
        OriginAway: (ABSENCES, lambda event: (event.origin.host,)),
        LimitDegraded: (DEGRADATIONS, lambda event: (event.origin.host,)),
        OriginPaused: (PAUSES, lambda event: (event.origin.host,)),
        StaleServed: (STALE, lambda event: (event.host,)),
    }
)
"""Events that are counted and no more: the metric, and the host with the values of the labels after it."""

OF_AN_ORIGIN: Final[tuple[tuple[Metric, Callable[[OriginStats], float]], ...]] = (
    (IN_FLIGHT, lambda of: of.in_flight),
    (GHOSTS, lambda of: of.ghosts),
    (LIMIT, lambda of: of.limit),
    (MAX_CONCURRENT, lambda of: of.max_concurrent),
    (WAITING, lambda of: of.waiting),
    (BUDGET, lambda of: of.budget),
    (MAX_BUDGET, lambda of: of.max_budget),
    (RATE, lambda of: of.rate),
    (LIMITED, lambda of: of.limited),
    (EJECTED, lambda of: len(of.ejected)),
    (AWAY, lambda of: of.away_for > 0),
    (AWAITING, lambda of: of.awaited_by),
)

Sample: TypeAlias = tuple[Metric, tuple[str, ...], float]
"""A metric, the values of its labels after ``client``, and a number to add to what the series has."""


def levels(stats: Stats, label: Callable[[str], str]) -> Iterator[Sample]:
    """
    The gauges of a client at one instant. What is infinite, because a setting switches it off, is left out.

    Args:
        label: Gives a host its value. Origins with the same value are added up.
    """
    for metric, value in (
        (CALLS_NOW, stats.calls),
        (CAP, stats.max_connections),
        (CAP_WAITING, stats.waiting),
        (SHARED_BUDGET, stats.budget),
    ):
        if math.isfinite(value):
            yield metric, (), value
    groups: dict[str, list[OriginStats]] = defaultdict(list)
    for origin, of in stats.origins.items():
        groups[label(origin.host)].append(of)
    for host, group in groups.items():
        for metric, read in OF_AN_ORIGIN:
            values = [value for value in map(read, group) if math.isfinite(value)]
            if values:
                yield metric, (host,), sum(values)
        idle = sum(of.idle for of in group)
        yield CONNECTIONS, (host, "idle"), idle
        yield CONNECTIONS, (host, "active"), max(0, sum(of.connections for of in group) - idle)
        states = [of.breaker for of in group if of.breaker != "off"]
        if states:
            yield from ((BREAKER, (host, state), states.count(state)) for state in STATES)
