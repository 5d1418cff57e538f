"""Whether a failure is the origin's fault, and not an impatient caller's or one that was counted before."""

from __future__ import annotations

from collections.abc import Callable

from ..errors import WireError
from .outcome import Outcome, is_failure

__all__ = ["is_fault"]

GATEWAY_TIMEOUT = 504


def is_fault(
    outcome: Outcome, *, is_hurried: bool, is_hasty: Callable[[str], bool], is_first: Callable[[object], bool]
) -> bool | None:
    """
    Whether an attempt counts against its origin.

    Three failures don't: a timeout that the request set far shorter than its client's, a 504 of an origin that was told
    of little time, and the end of a connection that was counted for another of its streams.

    Args:
        is_hurried: The origin was told of less time than the client gives by itself.
        is_hasty: Whether a request's own "connect", "read" or "write" timeout is far shorter than its client's.
        is_first: Whether this end of a connection wasn't counted before.
    Returns:
        None if it says nothing about the origin.
    """
    failed = is_failure(outcome)
    if not failed:
        return failed
    error = outcome.error
    if error is None:
        return None if is_hurried and outcome.status == GATEWAY_TIMEOUT else True
    if outcome.expired is not None and is_hasty(outcome.expired):
        return None
    death = error.death if isinstance(error, WireError) else None
    return True if death is None or is_first(death) else None
