"""
How an attempt ended, and whether it may be repeated.

Rules: the phase decides what is safe, not the class of the exception; a user's settings can make a retry rarer or more
frequent, but never unsafe. `failures` has the table of errors; the settings say which statuses are worth a retry.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, NamedTuple

from ..config import Retry
from ..config.retry import IN_PROGRESS, THROTTLED
from ..errors import BadAnswer, ConnectionLost, DialError, Rejected, SendFailed, StreamRefused
from ..events import Denied, Phase
from .denial import Denial
from .failures import Safe, failure_of
from .retry_after import parse_retry_after, parse_retry_after_ms

__all__ = [
    "THROTTLED",
    "Kind",
    "Outcome",
    "Request",
    "answered",
    "is_away_until",
    "is_cut",
    "is_failure",
    "is_final",
    "is_refused",
    "is_sent",
    "is_transparent",
    "is_worth_retrying",
    "kind_of",
    "why_unsafe",
]


class Outcome(NamedTuple):
    """
    How one attempt ended.

    Attributes:
        phase: The last phase that it reached.
        error: The error that it failed with; None if there is a response.
        status: The response's status.
        retry_after: Seconds that the response asks to wait; None if it doesn't.
        is_stale: A connection from the pool died before a byte of the response, because the server had closed it.
        is_settled: Another layer of seawall, below, has decided that there is no further attempt.
        response: An ``httpx.Response``; if the call reads bodies at once, its body is there.
        teaches: A rejection says how fast the origin takes requests; a cache's doesn't, nor one for another reason.
        expired: Which of the request's timeouts ended it: "connect", "read" or "write"; None if something else did.
    """

    phase: Phase
    error: Exception | None = None
    status: int | None = None
    retry_after: float | None = None
    is_stale: bool = False
    is_settled: bool = False
    response: Any = None
    expired: str | None = None
    teaches: bool = True

    @property
    def name(self) -> str:
        return str(self.status) if self.error is None else type(self.error).__name__


class Request(NamedTuple):
    """
    The facts of a request that decide whether it may be repeated.

    Attributes:
        is_idempotent: Its method is idempotent.
        has_key: It carries an Idempotency-Key.
        is_replayable: Its body can be sent from its beginning.
    """

    is_idempotent: bool
    has_key: bool
    is_replayable: bool


class Kind(Enum):
    """The kinds that retries are counted by, in urllib3's words."""

    CONNECT = "connect"
    READ = "read"
    STATUS = "status"
    OTHER = "other"


def answered(phase: Phase, status: int, headers: Mapping[str, str], *, is_settled: bool) -> Outcome:
    """The outcome of a response that may be a rejection, by its *headers*."""
    retry_after = parse_retry_after_ms(headers.get("retry-after-ms"))
    if retry_after is None:
        retry_after = parse_retry_after(headers.get("retry-after"))
    teaches = headers.get("age", "0") == "0" and headers.get("stripe-rate-limited-reason") != "lock_timeout"
    return Outcome(phase, status=status, retry_after=retry_after, is_settled=is_settled, teaches=teaches)


def is_failure(outcome: Outcome) -> bool | None:
    """
    Whether the breaker counts it against the origin: transport failures, and 5xx but 501 (a fact, not a fault).

    Returns:
        None if it says nothing about the origin: we refused, its name has no address, or an idle connection was closed.
    """
    if outcome.error is not None:
        return failure_of(outcome.error, outcome.phase).is_fault
    return outcome.status is not None and 500 <= outcome.status <= 599 and outcome.status != 501


def is_final(outcome: Outcome) -> bool:
    """Whether a second attempt must end the same, so that nothing may ask for one."""
    if outcome.error is None:
        return outcome.is_settled
    return failure_of(outcome.error, outcome.phase).safe is Safe.NEVER


def is_sent(outcome: Outcome) -> bool:
    """Whether the server may have seen anything of the request."""
    return outcome.phase >= Phase.SENDING


def is_refused(outcome: Outcome) -> bool:
    """Whether a layer of ours refused it, so that it says nothing new."""
    return isinstance(outcome.error, Rejected) and not is_sent(outcome)


def is_transparent(outcome: Outcome) -> bool:
    """Whether a healthy server did nothing with the request: a stale connection, GOAWAY, REFUSED_STREAM."""
    return outcome.is_stale or isinstance(outcome.error, StreamRefused)


def is_away_until(outcome: Outcome) -> float | None:
    """When an origin that is away is dialled next, in loop time; None if that isn't why the attempt failed."""
    error = outcome.error
    return error.retry_at if isinstance(error, DialError) and error.is_away else None


def is_cut(outcome: Outcome) -> bool:
    """Whether its connection broke while it was in use, as it does where a server is restarted."""
    return isinstance(outcome.error, ConnectionLost | SendFailed | BadAnswer) and not outcome.is_stale


def is_worth_retrying(outcome: Outcome, settings: Retry, *, has_key: bool) -> bool:
    """Whether a second attempt might end differently; the default that ``Retry(retry=...)`` replaces."""
    if outcome.error is not None or outcome.status in settings.statuses:
        return True
    if outcome.status in settings.retry_after_statuses and settings.respect_retry_after:
        return outcome.retry_after is not None
    return has_key and outcome.status == IN_PROGRESS


def why_unsafe(outcome: Outcome, settings: Retry, request: Request) -> Denial | None:
    """
    Why a second attempt could do harm; None if it can't.

    Source: RFC 9110 section 9.2.2: a request that isn't idempotent is repeated only if the first was never applied.
    """
    if not request.is_replayable:
        return Denial(Denied.BODY, "its body can't be sent again (see seawall.replayable)")
    if request.is_idempotent or request.has_key:
        return None
    if outcome.error is not None:
        is_unsent = outcome.phase < Phase.SENDING
    else:
        is_unsent = outcome.status in settings.rejected_statuses
    return None if is_unsent else Denial(Denied.UNSAFE, "not safe to repeat")


def kind_of(outcome: Outcome, settings: Retry, *, has_key: bool) -> Kind:
    """The kind that a retry after it is counted as."""
    if outcome.error is not None:
        return Kind.CONNECT if outcome.phase < Phase.SENDING else Kind.READ
    return Kind.STATUS if is_worth_retrying(outcome, settings, has_key=has_key) else Kind.OTHER
