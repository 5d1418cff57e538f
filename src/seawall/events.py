"""
What happened: frozen records.

Records hold origins, addresses, numbers and the text of errors; never a URL's userinfo, never headers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum, IntEnum
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

from .origin import Address, Origin

__all__ = [
    "Attempt",
    "BodyEnd",
    "BodyEnded",
    "BreakerMoved",
    "CallEnded",
    "Dial",
    "Event",
    "History",
    "Listener",
    "Phase",
    "ResolverFailed",
    "RetryScheduled",
    "StaleServed",
]


class Phase(IntEnum):
    """How far an attempt got. From SENDING on, the server may have seen something of it."""

    QUEUED = 0
    RESOLVING = 1
    CONNECTING = 2
    TLS = 3
    SENDING = 4
    SENT = 5
    HEADERS = 6
    BODY = 7


class BodyEnd(Enum):
    """How a streamed response's body ended."""

    COMPLETE = "complete"
    CLOSED = "closed"  # by its reader, before its end
    FAILED = "failed"


class Dial(NamedTuple):
    """
    One address that was dialled.

    Attributes:
        at: When, s since the attempt's start.
        duration: Seconds until it was connected, failed, or was abandoned because another was faster.
        outcome: "connected", "abandoned", or the system's words.
    """

    address: Address
    at: float
    duration: float
    outcome: str


class Attempt(NamedTuple):
    """
    One request on the wire.

    Attributes:
        number: From 1, over all hops of the call.
        delay: Backoff before it, s.
        duration: From its start (queueing included) to its end, s.
        phase: The last one reached.
        outcome: A status ("503") or the class of an error ("ReadTimeout").
        detail: The error's text; empty where there was none.
        is_reused: On a connection that was there already.
        marks: When each phase was reached, s since the attempt's start.
        source: Where the addresses came from: "dns", "system", "stale", "literal", ...; empty where none were needed.
        dials: In the order in which they ended.
    """

    origin: Origin
    number: int
    delay: float
    duration: float
    phase: Phase
    outcome: str
    detail: str
    address: Address | None
    is_reused: bool
    marks: tuple[tuple[Phase, float], ...]
    source: str
    dials: tuple[Dial, ...]


class History(tuple[Attempt, ...]):
    """
    The attempts of a call, in order: ``response.extensions["seawall"]`` and ``error.attempts``.

    As a text it is what a log needs: ``3 attempts in 1.2 s: 503, ReadTimeout, 503``.

    Attributes:
        note: Why no further attempt was made, where one might have been; else empty.
        retry_after: s that the last answer asks to wait; None where it doesn't.
        idempotency_key: The Idempotency-Key that seawall made for the call and the origin where the call ended; None
            where it made none. The caller's request doesn't show it.
        balance: Retry tokens that the origin had left after a failure; None where nothing failed or the budget is off.
        statistics: tenacity's, of the last hop; empty where nothing failed.
    """

    note: str = ""
    retry_after: float | None = None
    idempotency_key: str | None = None
    balance: float | None = None
    statistics: Mapping[str, Any] = MappingProxyType({})

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        return tuple(self)

    def __str__(self) -> str:
        count = "1 attempt" if len(self) == 1 else f"{len(self)} attempts"
        elapsed = sum(attempt.delay + attempt.duration for attempt in self)
        parts = [f"{count} in {elapsed:.3g} s: {', '.join(attempt.outcome for attempt in self)}"]
        if self.balance is not None:
            parts.append(f"budget left {self.balance:.1f}")
        if self.note:
            parts.append(self.note)
        return "; ".join(parts)


class RetryScheduled(NamedTuple):
    """A verdict: again, *delay* s from now; *reason* is the outcome that led to it."""

    origin: Origin
    number: int
    delay: float
    reason: str


class CallEnded(NamedTuple):
    """
    A call ended: once per call, whatever ended it.

    Attributes:
        origin: The last hop's; None where the call ended before its first hop.
        attempts: How many were made, over all hops.
        outcome: What the caller got: a status, the class of an error, or "cancelled".
        note: Why no further attempt was made, where one might have been; else empty.
    """

    origin: Origin | None
    attempts: int
    outcome: str
    note: str


class BodyEnded(NamedTuple):
    """
    The body of a streamed response ended: once per response that `stream()` or a stock client was given.

    Attributes:
        number: Of the attempt, which was reported when its headers were there.
        duration: s from the attempt's start.
        outcome: "complete", "closed" (by its reader, before its end), or the class of an error ("ConnectionLost").
        detail: The error's text; empty where there was none.
    """

    origin: Origin
    number: int
    duration: float
    outcome: str
    detail: str


class BreakerMoved(NamedTuple):
    """A breaker's state changed: closed, open, half-open."""

    origin: Origin
    previous: str
    state: str
    reason: str


class StaleServed(NamedTuple):
    """DNS failed or was too slow for a name, and addresses were used whose time is over."""

    host: str
    addresses: tuple[Address, ...]


class ResolverFailed(NamedTuple):
    """A lookup of a name failed: no answer in time, or none that is to be used. Not: there is no such name."""

    host: str
    reason: str


Event: TypeAlias = Attempt | BodyEnded | RetryScheduled | CallEnded | BreakerMoved | StaleServed | ResolverFailed
Listener: TypeAlias = Callable[[Event], None]
