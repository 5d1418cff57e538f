"""What metrics of every kind measure alike: values, buckets, and what an attempt waited for. It imports no library."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ..attempts import Attempt, Phase
from ..policy.breaker import FORCED
from ._labels import OTHER

__all__ = ["ATTEMPT_BUCKETS", "CALL_BUCKETS", "METHODS", "STATES", "WAIT_BUCKETS", "method_of", "resolved_in", "waits"]

ATTEMPT_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
"""In seconds. Source: OpenTelemetry's semantic conventions, ``http.client.request.duration``."""
CALL_BUCKETS: Final = (*ATTEMPT_BUCKETS, 15.0, 30.0, 60.0)  # s; the longest deadline that is derived is 30 s
WAIT_BUCKETS: Final = (0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)  # s

METHODS: Final = frozenset(("CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"))
"""
Methods that keep their names; others are `OTHER`, because a caller may make one of whatever it is sent.

Source: RFC 9110, RFC 5789, RFC 10008, as OpenTelemetry's semantic conventions ask.
"""
STATES: Final = ("closed", "open", "half-open", *FORCED)
"""The states that a breaker can be in."""


def method_of(method: str) -> str:
    """The value of a *method*: its name, or `OTHER`."""
    return method if method in METHODS else OTHER


def waits(attempt: Attempt) -> Iterator[tuple[str, float]]:
    """What made an *attempt* wait before anything was sent, with the seconds."""
    yield from attempt.queued
    if attempt.delay and not attempt.is_hedge:
        yield "backoff", attempt.delay
    if (resolved := resolved_in(attempt)) is not None:
        yield "dns", resolved[1]


def resolved_in(attempt: Attempt) -> tuple[float, float] | None:
    """
    When the *attempt* had its addresses, in seconds since its start, and how long it had waited for them.

    None if its URL has an address, or its connection was open already.
    """
    began_at = dict(attempt.marks).get(Phase.RESOLVING)
    if began_at is None or attempt.source == "literal":
        return None
    ended_at = next((at for phase, at in attempt.marks if phase > Phase.RESOLVING), attempt.duration)
    ended_at -= sum(took for gate, took in attempt.queued if gate == "cap")  # which comes between DNS and the dial
    return ended_at, max(0.0, ended_at - began_at)
