"""What happens to a call and its attempts."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from ..origin import Origin

__all__ = [
    "AttemptStarted",
    "BodyEnd",
    "BodyEnded",
    "CallEnded",
    "CallStarted",
    "Denied",
    "HedgeStarted",
    "Rejected",
    "RetryDenied",
    "RetryScheduled",
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
    SHED = "shed"  # a background call to an origin in trouble


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
        is_hedge: It is made beside the attempt before it; *delay* is what it is later by.
    """

    call: int
    origin: Origin
    method: str
    path: str
    number: int
    delay: float
    is_hedge: bool = False


class RetryScheduled(NamedTuple):
    """
    An attempt will be repeated *delay* seconds from now; *reason* is the outcome that led to it.

    Attributes:
        path: The URL's path, without the query.
        number: The next attempt's number, from 1, over all hops of the call.
        max_attempts: The number that the last attempt has, if each one until then fails.
    """

    call: int
    origin: Origin
    method: str
    path: str
    number: int
    max_attempts: int
    delay: float
    reason: str


class HedgeStarted(NamedTuple):
    """
    A second attempt begins beside one that has got no response for *after* seconds.

    Attributes:
        path: The URL's path, without the query.
        number: The second attempt's number, from 1, over all hops of the call.
    """

    call: int
    origin: Origin
    method: str
    path: str
    number: int
    after: float


class RetryDenied(NamedTuple):
    """
    A verdict: no attempt follows, though one might have been worth it.

    Attributes:
        path: The URL's path, without the query.
        number: The number of the attempt that isn't made.
        detail: The reason in words, with what to change if that helps.
    """

    call: int
    origin: Origin
    method: str
    path: str
    number: int
    reason: Denied
    detail: str


class Rejected(NamedTuple):
    """
    A gate on this side refused an attempt, whose own event follows.

    Attributes:
        path: The URL's path, without the query.
        by: Name of the gate: "breaker", "bulkhead", "cap", "limit", "pause", "proxy", "shed", or a user's own.
        waited: Seconds that the attempt had waited.
    """

    call: int
    origin: Origin
    method: str
    path: str
    number: int
    by: str
    waited: float


class BodyEnded(NamedTuple):
    """
    The body of a streamed response ended: once per response of `stream()` or of a stock client.

    Attributes:
        path: The URL's path, without the query.
        number: The number of the attempt, which was reported when its headers had come.
        duration: Seconds from the attempt's start.
        outcome: "complete", "closed" (by its reader, before its end), or the class of an error ("ConnectionLost").
        detail: The error's text; empty if there was none.
        bytes_in: Bytes that came over the wire, the head included.
    """

    call: int
    origin: Origin
    method: str
    path: str
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
        method, path: Those of the last hop; of the first, if the call ended before it.
        attempts: How many attempts were made, over all hops.
        outcome: What the caller got: a status, the class of an error, or "cancelled".
        note: Why no further attempt was made, if one might have been; else empty.
        duration: Seconds from the call's start to its end, or to the headers of a streamed response.
        retries: How many of the attempts were retries.
        rejected_by: The gate on this side that ended the call, as in `Rejected`, or "deadline"; empty if none did.
    """

    call: int
    origin: Origin | None
    method: str
    path: str
    attempts: int
    outcome: str
    note: str
    duration: float
    retries: int = 0
    rejected_by: str = ""
