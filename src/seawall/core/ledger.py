"""Tells how an attempt ended: its tickets, its origin, the budget, the totals, and the observers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial

from ..attempts import CONNECTING, HEADERS
from ..errors import Rejected
from ..events import BodyEnd, BodyEnded, Denied, RetryDenied
from ..events import Rejected as AttemptRejected
from ..policy.denial import Denial
from ..policy.fault import is_fault
from ..policy.gate import Result
from ..policy.origins import Origins
from ..policy.outcome import Outcome, is_refused
from ..stats import Totals
from .attempt import AttemptState
from .call import Hop
from .emitter import Emitter
from .in_flight import InFlight
from .readiness import Readiness
from .words import said

__all__ = ["Ledger"]


class Ledger:
    """
    The counts of all calls of a client, since its beginning.

    Attributes:
        calls, attempts, retries, hedges: How many were made; a retry and a hedge are attempts too.
        denied: Retries that were not made, by reason.
        rejected: Attempts that a gate refused, by the gate's name.
        in_flight: Is told of each streamed body's end.
    """

    def __init__(self, origins: Origins, readiness: Readiness, emitter: Emitter, in_flight: InFlight) -> None:
        self._origins = origins
        self._readiness = readiness
        self._emitter = emitter
        self.in_flight = in_flight
        self.calls = self.attempts = self.retries = self.hedges = 0
        self.denied: Counter[Denied] = Counter()
        self.rejected: Counter[str] = Counter()

    def totals(self) -> Totals:
        """A frozen snapshot."""
        return Totals(
            self.calls,
            {"first": self.attempts - self.retries - self.hedges, "retry": self.retries, "hedge": self.hedges},
            {reason.value: number for reason, number in self.denied.items()},
            dict(self.rejected),
        )

    def ended(
        self,
        hop: Hop,
        attempt: AttemptState,
        outcome: Outcome | None,
        now: float,
        *,
        is_ours: bool,
        error: str | None,
        detail: str,
        is_superseded: bool = False,
    ) -> None:
        """
        *attempt* ended, or the headers of its streamed response have come.

        Args:
            outcome: How it ended; None if it was cancelled.
            is_ours: Its own deadline cancelled it.
            error, detail: Class and text of the error that it failed with.
            is_superseded: The call goes on with another attempt that was made beside it.
        """
        call, state, is_rejection = hop.call, hop.state, False
        status = None if outcome is None else outcome.status
        record = attempt.record(now, status, error, detail, is_superseded=is_superseded)
        call.attempts.append(record)
        self.attempts += 1
        self.hedges += attempt.is_hedge
        self.retries += hop.kept is not None and not attempt.is_hedge
        if outcome is None:
            failed = True if is_ours and hop.is_cut_by_fault(attempt, now) else None
        elif outcome.error is None and outcome.status is not None and outcome.status < 500 and outcome.status != 429:
            failed = False
            state.answered_at = now
            began_at = attempt.started_at + attempt.waited
            state.served_at = began_at if began_at > state.served_at else state.served_at
        elif outcome.error is None and self._readiness.is_told(state, attempt, outcome, now):
            failed = None
        else:
            is_rejection = hop.is_rejected = state.is_rejection(outcome, now, duration=attempt.answered_in(now))
            failed = False if is_rejection else _is_fault(hop, attempt, outcome)
        if failed:
            hop.exchange.blame(hop.request, attempt)
        result = None
        if failed is not None:
            duration = record.duration - attempt.waited
            # The constructor takes three times as long.
            fields = (outcome or Outcome(attempt.phase), failed, duration, attempt.sent_at, is_rejection)
            result = tuple.__new__(Result, fields)
            if is_rejection or state.limit is not None:
                state.learn(attempt, result, now)
        if failed is not False and attempt.phase < HEADERS and (outcome is None or outcome.expired == "read"):
            attempt.unanswered(now, is_fault=failed is True)
        if outcome is not None and outcome.error is None and not (call.is_buffered or is_superseded):
            attempt.headers_came(result, now)
            if failed:
                state.note(now, is_failure=True)
        else:
            attempt.end(result, now)
            if failed or (state.trouble and failed is not None):
                state.note(now, is_failure=failed)
        if (self._origins.has_spent or hop.has_token) and not attempt.is_hedge:
            self._settle(hop, attempt, now)
        if error is not None and outcome is not None and is_refused(outcome):
            self.refused(hop, outcome.error, attempt)
        if not call.is_silent:
            self._emitter.emit(record)

    def _settle(self, hop: Hop, attempt: AttemptState, now: float) -> None:
        """Put in what a first attempt earns; give back what a retry took that was never on the wire."""
        if hop.retries is None and attempt.phase >= CONNECTING:
            self._origins.deposit(hop.state, now)
        if hop.has_token:
            hop.has_token = False
            if attempt.phase < CONNECTING:
                self._origins.refund(hop.state, now)

    def body_ended(self, hop: Hop, attempt: AttemptState, end: BodyEnd, error: Exception | None) -> None:
        """The body of a streamed response ended, which is the outcome of its attempt."""
        self.in_flight.bodies -= 1
        if self.in_flight.is_draining:
            self.in_flight.ended()
        call, request, state, now, result = hop.call, hop.request, hop.state, hop.now(), attempt.result
        if result is not None and not result.is_failure:
            failed: bool | None = False
            fault = None if error is None or attempt.is_of_source(error) else error
            if fault is not None and (broken := hop.exchange.failure(fault, attempt)) is not None:
                failed = _is_fault(hop, attempt, broken)
                result = None if failed is None else Result(broken, failed, result.duration)
            if failed:
                hop.exchange.blame(hop.request, attempt)
                attempt.retract(now)
            if failed or (state.trouble and failed is not None):
                state.note(now, is_failure=failed)
        attempt.end(result, now)
        if error is not None:
            hop.ended(error)
        if not call.is_silent:
            name, detail = (end.value, "") if error is None else said(error)
            self._emitter.emit(
                BodyEnded(
                    call.number,
                    request.origin,
                    request.method,
                    request.path,
                    attempt.number,
                    now - attempt.started_at,
                    name,
                    detail,
                    attempt.bytes_in,
                )
            )

    def refused(self, hop: Hop, error: Exception | None, attempt: AttemptState | None) -> None:
        """A gate refused an attempt; *attempt* is None if it wasn't begun."""
        assert isinstance(error, Rejected)
        self.rejected[error.by] += 1
        call, request = hop.call, hop.request
        number, waited = (len(call.attempts) + 1, 0.0) if attempt is None else (attempt.number, attempt.waited)
        self._emitter.emit(
            AttemptRejected(call.number, request.origin, request.method, request.path, number, error.by, waited)
        )

    def denied_retry(self, hop: Hop, denial: Denial) -> None:
        """No attempt follows, though one might have been worth it."""
        self.denied[denial.reason] += 1
        call, request = hop.call, hop.request
        number = len(call.attempts) + 1
        self._emitter.emit(
            RetryDenied(call.number, request.origin, request.method, request.path, number, denial.reason, denial.text)
        )


def _is_fault(hop: Hop, attempt: AttemptState, outcome: Outcome) -> bool | None:
    is_hasty: Callable[[str], bool] = partial(hop.call.is_hasty, timeouts=hop.request.timeouts)
    return is_fault(outcome, is_hurried=attempt.is_hurried, is_hasty=is_hasty, is_first=hop.state.is_first)
