"""The errors of a call itself: its deadline, its client, an origin that asked to wait, a last response that was bad."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from ..config import Policy, Retry
from ..errors import (
    CallerLeft,
    ClientClosed,
    DeadlineExceeded,
    OriginPaused,
    PartlySent,
    SeawallError,
    StatusError,
    Unsent,
)
from ..events import History, Phase
from ..origin import Origin
from ..policy.outcome import Outcome, is_refused, is_sent
from ..wire.body import Reading
from .attempt import Ended
from .call import Call, Hop
from .exchange import is_nested
from .ledger import Ledger

__all__ = ["closed", "conclude", "draining", "exceeded", "fail", "last_word", "paused", "refused"]


def exceeded(hop: Hop, now: float) -> DeadlineExceeded:
    """The deadline struck, or had passed before; or the caller has left."""
    call, origin, attempt = hop.call, hop.state.origin, hop.attempt
    if call.has_caller_left:
        elapsed = now - call.started_at
        text = f"{origin}: the inbound caller left, so the call was ended after {elapsed:.3g} s; see seawall.detached()"
        return CallerLeft(text, origin=origin, elapsed=elapsed, timeout=elapsed)
    deadline_at = now if call.deadline_at is None else call.deadline_at
    elapsed, timeout = now - call.started_at, max(0.0, deadline_at - call.started_at)
    if deadline_at <= call.started_at:
        text = "the deadline around this call had passed before the call began; seawall.detached() leaves it out"
    else:
        at = "" if attempt is None or attempt.address is None else f" at {attempt.address}"
        kind = "deadline" if call.hard_at is not None and call.hard_at == deadline_at else "deadline from the timeouts"
        text = f"{kind} of {timeout:.3g} s exceeded after {elapsed:.3g} s{at}; raise deadline=, or ask for less"
    return DeadlineExceeded(f"{origin}: {text}", origin=origin, elapsed=elapsed, timeout=timeout)


def closed(origin: Origin) -> ClientClosed:
    return ClientClosed(f"{origin}: the client was closed", origin=origin)


def struck(hop: Hop, *, is_closed: bool) -> Exception:
    """The error of a hop whose timer struck: its client was closed, or what `exceeded` says."""
    error = closed(hop.state.origin) if is_closed else exceeded(hop, hop.now())
    return hop.request.adopt(hop.ended(error))


def draining(origin: Origin) -> ClientClosed:
    text = f"{origin}: the client is draining: its calls in flight may end, and new ones are refused"
    return ClientClosed(text, origin=origin)


def paused(origin: Origin, left: float) -> OriginPaused:
    """*left*: Seconds for which the origin takes no calls."""
    return OriginPaused(
        f"{origin}: it asked its callers to wait another {left:.3g} s, which this call's deadline doesn't allow; "
        "raise deadline=, or lower Retry.max_retry_after",
        origin=origin,
        retry_after=left,
    )


def _bad_status(origin: Origin, outcome: Outcome, response: object, history: History) -> StatusError:
    """The error for a last response that was worth a retry, if such a response must be raised."""
    text = f"{origin}: the last response is {outcome.name}{f'; {history.note}' if history.note else ''}"
    return StatusError(text, origin=origin, response=response, status=outcome.status)


def _abandoned(origin: Origin, answer: Outcome, reason: Exception) -> PartlySent:
    """The error for a response whose body was closed for a retry that then couldn't be sent."""
    return PartlySent(
        f"{origin}: the server replied with {answer.name}, and the rest of that stream was closed to retry, but the "
        f"retry wasn't sent: {reason}; to get such responses, read them with get(), or stream them with retry=None",
        origin=origin,
        reason=reason,
    )


def fail(call: Call, error: BaseException, adopt: Callable[[SeawallError], Exception]) -> None:
    """
    Note what the caller gets from a call that ends with *error*.

    Args:
        adopt: Makes it an error of httpx's.
    Raises:
        PartlySent: In place of an `Unsent`, if a request of the call was sent.
    """
    if isinstance(error, Unsent) and call.has_sent:
        raise call.failed(adopt(_partly_sent(call, error))) from error
    call.failed(error)


def _partly_sent(call: Call, error: Unsent) -> PartlySent:
    """The error in place of *error*, if a request of the call was sent, or may have been."""
    own, history = call.attempts, error.attempts
    is_handed_on = bool(own) and own[-1].phase >= Phase.SENDING and own[-1].error == type(error).__name__
    if not history or (is_handed_on and history[-1] is not own[-1]):  # another library's has those of its own call
        history = History(own)
    why = (
        "a transport or an application below raised this, after it was given the request"
        if is_handed_on
        else "nothing of this request was sent, but an earlier one of the call was"
    )
    whole = PartlySent(
        f"{error} ({why})",
        origin=error.origin,
        reason=error,
        attempts=history,
    )
    whole.add_note(f"seawall: {history}")
    return whole


# What a hop ends with


def refused(hop: Hop, refusal: Exception) -> Ended:
    """
    What the hop ends with if *refusal* keeps an attempt from being begun.

    Raises:
        Exception: *refusal*, if there was no attempt before.
    """
    if hop.kept is None:
        try:
            raise hop.ended(refusal)
        finally:
            del refusal  # it holds this frame
    hop.later = Outcome(Phase.QUEUED, refusal)
    return hop.kept


def last_word(hop: Hop, this: Ended) -> Ended:
    """*This* attempt, the last; or the one that was kept, if this one wasn't sent and so says nothing about it."""
    outcome, kept = this.outcome, hop.kept
    assert kept is not None
    if outcome.error is None or is_sent(outcome) or not (is_refused(outcome) or is_sent(kept.outcome)):
        return this
    hop.later = outcome
    return kept


def conclude(hop: Hop, last: Ended, ledger: Ledger, reading: Reading) -> Any:
    """
    End the hop with what the caller gets.

    Args:
        reading: Of the body of a streamed response, see `Reply.own`.
    Returns:
        The response of the *last* attempt that counts, with its history attached.
    Raises:
        Exception: The error that it failed with; StatusError, PartlySent.
    """
    attempt, outcome, reply = last
    history, error, retries, request = hop.history(), outcome.error, hop.retries, hop.request
    history.retry_after = outcome.retry_after
    if retries is not None:
        if not is_nested():  # else the outer request decides
            history.note = "" if retries.denial is None else retries.denial.text
        history.statistics, history.balance = dict(retries.statistics), hop.balance
        hop.call.note = history.note
        if reply is not None and (retries.raises if hop.later is None else _raises(outcome, hop.policy)):
            error = request.adopt(_bad_status(request.origin, outcome, reply.shown(), history))
    earlier = hop.last_error if hop.last_error is not error else None
    if (later := hop.later) is not None:
        assert later.error is not None
        earlier = later.error
        history.note = hop.call.note = "; ".join(filter(None, (_why_not(later), history.note)))
        hop.call.outcome = outcome.name
        if error is None and reply is not None and not reply.is_whole:
            error = request.adopt(_abandoned(request.origin, outcome, later.error))
    if outcome.is_settled:
        history.note = hop.call.note = history.note or "a layer below has retried it"
    if error is None:
        assert reply is not None
        reply.attach(history)
        if not attempt.is_buffered:
            ledger.in_flight.bodies += 1
            reply.own(partial(ledger.body_ended, hop, attempt), reading)
        return reply.response
    attempt.end(attempt.result, hop.now())
    try:
        raise hop.ended(error, history) from (error.__cause__ or earlier)
    finally:
        del last, attempt, outcome, error, earlier, later  # they hold this frame


def _why_not(later: Outcome) -> str:
    """Why an attempt wasn't sent."""
    return f"a retry was refused: {later.error}" if is_refused(later) else f"a retry wasn't sent: {later.error!r}"


def _raises(outcome: Outcome, policy: Policy) -> bool:
    """Whether a response that no further attempt follows is raised."""
    settings = policy.retry
    return isinstance(settings, Retry) and settings.raise_on_status and outcome.status in settings.statuses
