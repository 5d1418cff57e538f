"""The errors of a call itself: its deadline, its client, an origin that asked to wait, a last answer that was bad."""

from __future__ import annotations

from collections.abc import Callable

from ..errors import ClientClosed, DeadlineExceeded, OriginPaused, PartlySent, SeawallError, StatusError, Unsent
from ..events import History, Phase
from ..origin import Origin
from ..policy.outcome import Outcome
from .call import Call, Hop

__all__ = ["bad_status", "closed", "exceeded", "fail", "given_up", "paused"]


def exceeded(hop: Hop, now: float) -> DeadlineExceeded:
    """The deadline struck, or had passed before."""
    call, origin, progress = hop.call, hop.state.origin, hop.progress
    deadline_at = now if call.deadline_at is None else call.deadline_at
    elapsed, timeout = now - call.started_at, max(0.0, deadline_at - call.started_at)
    where = "backing off" if progress is None else progress.phase.name.lower()
    address = "" if progress is None or progress.address is None else f" with {progress.address}"
    kind = "deadline" if call.hard_at is not None and call.hard_at == deadline_at else "deadline from the timeouts"
    return DeadlineExceeded(
        f"{origin}: {kind} of {timeout:.3g} s exceeded after {elapsed:.3g} s, "
        f"attempt {max(1, len(call.attempts))}, {where}{address}; raise deadline=, or ask for less",
        origin=origin,
        elapsed=elapsed,
        timeout=timeout,
    )


def closed(origin: Origin) -> ClientClosed:
    return ClientClosed(f"{origin}: the client was closed", origin=origin)


def paused(origin: Origin, left: float) -> OriginPaused:
    """*left*: s that it takes no calls for."""
    return OriginPaused(
        f"{origin}: it asked its callers to wait, for another {left:.3g} s, which this call hasn't got; "
        "raise deadline=, or lower Retry.max_retry_after",
        origin=origin,
        retry_after=left,
    )


def bad_status(origin: Origin, outcome: Outcome, response: object, history: History) -> StatusError:
    """The answer of a last attempt, where one that is worth a retry is to be raised."""
    return StatusError(f"{origin}: {history}", origin=origin, response=response, status=outcome.status)


def given_up(origin: Origin, answer: Outcome, reason: Exception) -> PartlySent:
    """An *answer* of which the body wasn't kept, because a retry was to follow, which couldn't be sent."""
    return PartlySent(
        f"{origin}: the server answered {answer.name}, and the rest of that stream was closed to retry, but the retry "
        f"wasn't sent: {reason}; to get such answers, read them with get(), or stream them with retry=None",
        origin=origin,
        reason=reason,
    )


def fail(call: Call, error: BaseException, adopt: Callable[[SeawallError], Exception]) -> None:
    """
    Note what the caller gets of a call that ends with *error*.

    Args:
        adopt: Makes it an error of httpx's.
    Raises:
        PartlySent: In place of an `Unsent`, where a request of the call was sent.
    """
    if isinstance(error, Unsent) and call.has_sent:
        raise call.failed(adopt(_partly_sent(call, error))) from error
    call.failed(error)


def _partly_sent(call: Call, error: Unsent) -> PartlySent:
    """What *error* is where a request of the call was sent, or may have been."""
    history = error.attempts or History(call.attempts)
    is_handed_on = bool(history) and history[-1].phase >= Phase.SENDING
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
