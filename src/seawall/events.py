"""
Frozen records of what happened, and the observers that hear of them.

Records hold origins, paths, addresses, numbers and the text of errors; never a URL's query or userinfo, never headers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from typing import NamedTuple, Protocol, TypeAlias

from .attempts import Attempt, Dial, History, Phase
from .origin import Address, Origin

__all__ = [
    "AddressEjected",
    "AddressReadmitted",
    "Attempt",
    "AttemptStarted",
    "BodyEnd",
    "BodyEnded",
    "BreakerMoved",
    "CallEnded",
    "CallStarted",
    "ConnectionClosed",
    "ConnectionOpened",
    "Denied",
    "Dial",
    "Event",
    "History",
    "LimitMoved",
    "Listener",
    "LookupEnded",
    "Observer",
    "OriginAway",
    "OriginBack",
    "OriginPaused",
    "Phase",
    "Rejected",
    "ResolverFailed",
    "RetryDenied",
    "RetryScheduled",
    "StaleServed",
]


class BodyEnd(Enum):
    """How a streamed response's body ended."""

    COMPLETE = "complete"
    CLOSED = "closed"  # by its reader, before its end
    FAILED = "failed"


class Denied(Enum):
    """Why no further attempt is made, though one might have been worth it."""

    UNSAFE = "unsafe"  # the request isn't idempotent, and some of it was sent
    BODY = "body"  # the body can't be sent from its beginning again
    MAX_ATTEMPTS = "max_attempts"
    MAX_RETRIES = "max_retries"  # the limit for failures of this kind
    STOP = "stop"  # a strategy of the user's stopped
    RETRY_AFTER = "retry_after"  # the server asks for a longer wait than the setting allows
    DEADLINE = "deadline"
    BREAKER = "breaker"
    OUTAGE = "outage"  # the origin has been failing for so long that a retry would only add load
    BUDGET = "budget"


class CallStarted(NamedTuple):
    """
    A call began: once per call.

    Attributes:
        call: The call's number, the same in all its events and unique within a client.
        origin: The first hop's origin; None if the URL names no host.
        path: The URL's path, without the query.
    """

    call: int
    method: str
    origin: Origin | None
    path: str


class AttemptStarted(NamedTuple):
    """
    An attempt is about to be sent; `Observer.attempt_started` is told.

    Attributes:
        path: The URL's path, without the query.
        number: The attempt's number, from 1, over all hops of the call.
        delay: Backoff before it, in seconds.
    """

    call: int
    origin: Origin
    method: str
    path: str
    number: int
    delay: float


class RetryScheduled(NamedTuple):
    """An attempt will be repeated *delay* seconds from now; *reason* is the outcome that led to it."""

    call: int
    origin: Origin
    number: int
    delay: float
    reason: str


class RetryDenied(NamedTuple):
    """
    A verdict: no attempt follows, though one might have been worth it.

    Attributes:
        number: The number of the attempt that isn't made.
        detail: The reason in words, with what to change if that helps.
    """

    call: int
    origin: Origin
    number: int
    reason: Denied
    detail: str


class Rejected(NamedTuple):
    """
    A gate on this side refused an attempt, whose own event follows.

    Attributes:
        by: Name of the gate: "breaker", "bulkhead", "cap", "pause", or that of a user's own.
        waited: Seconds that the attempt had waited.
    """

    call: int
    origin: Origin
    number: int
    by: str
    waited: float


class BodyEnded(NamedTuple):
    """
    The body of a streamed response ended: once per response of `stream()` or of a stock client.

    Attributes:
        number: The number of the attempt, which was reported when its headers had come.
        duration: Seconds from the attempt's start.
        outcome: "complete", "closed" (by its reader, before its end), or the class of an error ("ConnectionLost").
        detail: The error's text; empty if there was none.
        bytes_in: Bytes that came over the wire, the head included.
    """

    call: int
    origin: Origin
    number: int
    duration: float
    outcome: str
    detail: str
    bytes_in: int


class CallEnded(NamedTuple):
    """
    A call ended: once per call, whatever ended it.

    Attributes:
        origin: The last hop's origin; None if the call ended before its first hop.
        attempts: How many attempts were made, over all hops.
        outcome: What the caller got: a status, the class of an error, or "cancelled".
        note: Why no further attempt was made, if one might have been; else empty.
        duration: Seconds from the call's start to its end, or to the headers of a streamed response.
    """

    call: int
    origin: Origin | None
    attempts: int
    outcome: str
    note: str
    duration: float


class ConnectionOpened(NamedTuple):
    """A connection was dialled and secured, and can be used. *protocol*: "HTTP/1.1" or "HTTP/2"."""

    origin: Origin
    address: Address
    protocol: str


class ConnectionClosed(NamedTuple):
    """A connection was closed, by whichever side."""

    origin: Origin
    address: Address
    protocol: str


class BreakerMoved(NamedTuple):
    """A breaker's state changed: closed, open, half-open."""

    origin: Origin
    previous: str
    state: str
    reason: str


class LimitMoved(NamedTuple):
    """
    An origin's trouble began, or is over: an adaptive bulkhead has another limit now (``Bulkhead(adaptive=True)``).

    Attributes:
        limit: How many attempts may be in flight; while trouble lasts, it may move further every second.
        ghosts: Attempts that were sent and given up, and hold a permit because the server may still be at work on them.
    """

    origin: Origin
    limit: int
    ghosts: int
    reason: str


class OriginPaused(NamedTuple):
    """An origin asked all its callers to wait, for *duration* seconds (``Retry(pause_origin=True)``)."""

    origin: Origin
    duration: float


class OriginAway(NamedTuple):
    """
    An origin that answered a moment ago refuses all dials now, or its gateway finds no server, and calls wait for it.

    Source: `seawall.Ready`.
    """

    origin: Origin
    reason: str


class OriginBack(NamedTuple):
    """
    Calls no longer wait for an origin that was away for *duration* seconds.

    Attributes:
        has_answered: It has answered, or takes connections and is only slow; else it was waited for long enough.
    """

    origin: Origin
    duration: float
    has_answered: bool = True


class AddressEjected(NamedTuple):
    """An address of a name that has several failed too often: it is tried last for *duration* seconds."""

    origin: Origin
    address: Address
    duration: float


class AddressReadmitted(NamedTuple):
    """An ejected address is used like the others again; noticed when the next connection is dialled."""

    origin: Origin
    address: Address


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


Event: TypeAlias = (
    CallStarted
    | Attempt
    | RetryScheduled
    | RetryDenied
    | Rejected
    | BodyEnded
    | CallEnded
    | ConnectionOpened
    | ConnectionClosed
    | BreakerMoved
    | LimitMoved
    | OriginPaused
    | OriginAway
    | OriginBack
    | AddressEjected
    | AddressReadmitted
    | StaleServed
    | ResolverFailed
    | LookupEnded
)
Listener: TypeAlias = Callable[[Event], None]


class Observer(Protocol):
    """
    Hears every event: ``AsyncClient(observers=[...])``. A function of an event is an observer too.

    It is called in the task of the call, so it must be quick. One that raises is logged, and breaks no call. One with a
    method ``watch`` is given the new `Engine`, whose `stats()` it may read later; it should hold the engine weakly.
    """

    def attempt_started(self, call: CallStarted, attempt: AttemptStarted) -> Mapping[str, str] | None:
        """Return headers for this attempt alone, such as a trace's; the caller's request stays as it is."""

    def on(self, event: Event) -> None:
        """Take note that something happened."""
