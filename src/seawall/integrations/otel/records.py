"""What OpenTelemetry wants to know of seawall's records."""

from __future__ import annotations

from ...attempts import Attempt, Phase

__all__ = ["error_of", "is_error", "resolved_in", "version_of"]


def error_of(attempt: Attempt) -> str:
    """The ``error.type`` of an attempt; empty if all went well."""
    if attempt.error is not None:
        return attempt.error
    return "cancelled" if attempt.status is None else str(attempt.status) if attempt.status >= 400 else ""


def is_error(outcome: str) -> bool:
    """Whether a call's *outcome*, a status or a name, is an error."""
    return bool(outcome) and not (outcome.isdigit() and int(outcome) < 400)


def version_of(protocol: str) -> str:
    """ "1.1" of "HTTP/1.1"."""
    return protocol.partition("/")[2]


def resolved_in(attempt: Attempt) -> tuple[float, float] | None:
    """
    When the attempt had its addresses, in seconds since its start, and how long it had waited for them.

    None if its URL has an address, or its connection was open already.
    """
    began_at = dict(attempt.marks).get(Phase.RESOLVING)
    if began_at is None or attempt.source == "literal":
        return None
    ended_at = next((at for phase, at in attempt.marks if phase > Phase.RESOLVING), attempt.duration)
    return ended_at, ended_at - began_at
