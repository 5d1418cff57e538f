"""What OpenTelemetry wants to know of seawall's records."""

from __future__ import annotations

from ...attempts import Attempt

__all__ = ["error_of", "is_error", "version_of"]


def error_of(attempt: Attempt) -> str:
    """The ``error.type`` of an attempt; empty if all went well."""
    if attempt.error is not None:
        return attempt.error
    return attempt.outcome if attempt.status is None or attempt.status >= 400 else ""


def is_error(outcome: str) -> bool:
    """Whether a call's *outcome*, a status or a name, is an error."""
    return bool(outcome) and not (outcome.isdigit() and int(outcome) < 400)


def version_of(protocol: str) -> str:
    """ "1.1" of "HTTP/1.1"."""
    return protocol.partition("/")[2]
