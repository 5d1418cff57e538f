"""
What came of an attempt, and whether it may be repeated.

Rules: the phase decides what is safe, not the class of the exception; what a user sets can make a retry rarer or more
frequent, but never unsafe.
"""

from __future__ import annotations

from typing import NamedTuple

from ..errors import (
    AddressRefused,
    BreakerOpen,
    BulkheadFull,
    CertificateError,
    ClientClosed,
    InvalidRequest,
    NameNotFound,
    NoAddress,
    UnsupportedScheme,
)
from ..events import Phase
from ..settings import Retry

__all__ = ["Outcome", "is_failure", "is_final", "is_safe", "is_worth_retrying"]

LOCAL = (BulkheadFull, BreakerOpen, ClientClosed, InvalidRequest, UnsupportedScheme)
"""We said no ourselves: says nothing of the origin's health, and asking again at once would not help."""

NEUTRAL = (*LOCAL, NameNotFound, NoAddress, AddressRefused)
"""Nothing was dialled: says nothing of the origin's health."""

FINAL = (*NEUTRAL, CertificateError)
"""Asking again gives the same."""


class Outcome(NamedTuple):
    """
    One attempt's end, without httpx.

    Attributes:
        retry_after: s that the answer asks to wait; None where it doesn't.
        is_stale: A connection from the pool died before a byte of the answer: the server had closed it.
    """

    phase: Phase
    error: Exception | None = None
    status: int | None = None
    retry_after: float | None = None
    is_stale: bool = False

    @property
    def name(self) -> str:
        return str(self.status) if self.error is None else type(self.error).__name__


def is_failure(outcome: Outcome) -> bool | None:
    """
    Whether the breaker counts it against the origin: transport failures, and 5xx but 501 (a fact, no fault).

    Returns:
        None where it says nothing of the origin: we refused, its name has no address, or an idle connection was gone.
    """
    if outcome.error is not None:
        is_nothing_new = outcome.is_stale or getattr(outcome.error, "is_resting", False) is True
        return None if is_nothing_new or isinstance(outcome.error, NEUTRAL) else True
    return outcome.status is not None and 500 <= outcome.status <= 599 and outcome.status != 501


def is_final(outcome: Outcome) -> bool:
    """Whether a second attempt is bound to end the same, so that nothing may ask for one."""
    is_said = any(getattr(outcome.error, name, False) is True for name in ("is_final", "is_resting"))
    return is_said or isinstance(outcome.error, FINAL)


def is_safe(outcome: Outcome, settings: Retry, *, is_idempotent: bool, is_replayable: bool) -> bool:
    """
    Whether a second attempt can't do harm.

    Source: RFC 9110 section 9.2.2: what isn't idempotent is repeated only where the first was never applied.
    """
    if not is_replayable:
        return False
    if is_idempotent or outcome.phase < Phase.SENDING:
        return True
    return outcome.error is None and outcome.status in settings.rejected_statuses


def is_worth_retrying(outcome: Outcome, settings: Retry) -> bool:
    """Whether a second attempt might end otherwise; the default that ``Retry(retry=...)`` replaces."""
    return outcome.error is not None or outcome.status in settings.statuses
