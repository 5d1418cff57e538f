"""Errors of a call as a whole."""

from __future__ import annotations

from typing import Any

from .base import SeawallError

__all__ = [
    "AddressNotAllowed",
    "BodySpent",
    "CallerLeft",
    "ClientClosed",
    "DeadlineExceeded",
    "InvalidRequest",
    "StatusError",
    "UnsupportedScheme",
]


class UnsupportedScheme(SeawallError):
    """The URL is neither http nor https, or has no host."""


class InvalidRequest(SeawallError):
    """HTTP can't express the request: illegal bytes in a header, a wrong content-length. A bug; a retry fails too."""


class AddressNotAllowed(SeawallError):
    """
    A guard refused the address; a retry doesn't change that.

    Not an `Unsent`, because a redirect may lead there, after a request that was sent.
    """


class DeadlineExceeded(SeawallError):
    """
    The call as a whole took too long, whatever it was doing.

    Attributes:
        timeout: Seconds that it was given.
    """

    timeout: float


class CallerLeft(DeadlineExceeded):
    """The inbound caller, for whom a service made the call, left before it had an answer; see the middlewares."""


class StatusError(SeawallError):
    """
    The last attempt's status was worth a retry, but no further attempt follows.

    Attributes:
        response: The ``httpx.Response``; closed, if it was streamed.
        status: The response's status.
    """

    response: Any
    status: int


class BodySpent(SeawallError):
    """
    The request's body can't be sent from its beginning, because an earlier attempt, hop or call has begun it.

    Give a function that begins it anew: ``content=seawall.replayable(function)``.
    """


class ClientClosed(SeawallError, RuntimeError):
    """The client was closed before the call or while it was in flight, or it is being drained."""
