"""Errors that say that something was sent."""

from __future__ import annotations

from .base import SeawallError

__all__ = [
    "BadAnswer",
    "ConnectionLost",
    "PartlySent",
    "ReadTimeout",
    "ResponseTooLarge",
    "SendFailed",
    "WireError",
    "WriteTimeout",
]


class WireError(SeawallError):
    """
    The call sent at least a byte, so the server may have acted on it.

    Attributes:
        is_stale: A connection from the pool failed before a byte of the response; the server had most likely closed it.
        is_final: A TLS alert ended it, such as one that wants a client certificate, so a retry would fail too.
        received: Bytes of the response's body that had come; None if it had not begun.
        death: The same object for every stream that one HTTP/2 connection's end took with it, so that an observer can
            count that end once; None if the error is this request's alone.
    """

    is_stale: bool = False
    is_final: bool = False
    death: object | None = None
    received: int | None = None


class ReadTimeout(WireError):
    """The server sent no byte within the read timeout."""


class WriteTimeout(WireError):
    """The server took no byte within the write timeout."""


class ConnectionLost(WireError):
    """The connection was reset or closed while the client waited for the response."""


class SendFailed(WireError):
    """The connection was reset while the request was being sent."""


class BadAnswer(WireError):
    """The response isn't HTTP, or is cut short; or it is a redirect whose Location isn't a URL."""


class ResponseTooLarge(WireError):
    """The headers (HTTP/1.1) are too large, or the body is: beyond ``max_response_size``, or a bomb."""


class PartlySent(WireError):
    """
    Nothing of the call's last request was sent, but an earlier one was, so the call as a whole isn't safe to repeat.

    Three ways lead here: a redirect or a step of an authentication came, and its next request couldn't be sent;
    the response to an earlier attempt of a stream was abandoned for a retry that couldn't be sent; or a transport or an
    application below raised an `Unsent` after it was given the request, and so means another request than this one.

    Attributes:
        reason: Why the last request wasn't sent: an `Unsent`, or a transport's own error that says the same. This error
            is of its httpx class too.
    """

    reason: Exception
