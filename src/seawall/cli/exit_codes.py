"""The exit statuses of ``seawall get``, which are curl's."""

from __future__ import annotations

from enum import IntEnum

import httpx

from .. import errors
from ..errors import SeawallError

__all__ = ["ExitCode", "exit_code"]


class ExitCode(IntEnum):
    """Source: https://curl.se/docs/manpage.html#EXIT"""

    OK = 0
    UNSUPPORTED = 1  # a scheme other than http and https
    USAGE = 2
    MALFORMED_URL = 3
    PROXY = 5
    RESOLVE = 6
    CONNECT = 7
    WEIRD = 8  # what came isn't HTTP
    PARTIAL = 18  # the body ended early
    STATUS = 22  # --fail, and 400 or above
    WRITE = 23  # the output can't be written
    TIMEOUT = 28
    TLS = 35
    REDIRECTS = 47
    EMPTY = 52
    SEND = 55
    RECEIVE = 56
    CERTIFICATE = 60
    CODING = 61  # the body's content-encoding
    TOO_LARGE = 63
    AUTHORITIES = 77  # the certificates of authorities can't be read
    STREAM = 92  # of HTTP/2
    INTERRUPTED = 130


OURS: dict[type[Exception], ExitCode] = {
    errors.ProxyTimeout: ExitCode.TIMEOUT,
    errors.TunnelTimeout: ExitCode.TIMEOUT,
    errors.ProxyError: ExitCode.PROXY,
    errors.ResolveTimeout: ExitCode.TIMEOUT,
    errors.ResolveError: ExitCode.RESOLVE,
    errors.AddressNotAllowed: ExitCode.CONNECT,
    errors.CertificateError: ExitCode.CERTIFICATE,
    errors.HandshakeTimeout: ExitCode.TIMEOUT,
    errors.TLSError: ExitCode.TLS,
    errors.DialTimeout: ExitCode.TIMEOUT,
    errors.DialError: ExitCode.CONNECT,
    errors.StreamRefused: ExitCode.STREAM,
    errors.Rejected: ExitCode.CONNECT,
    errors.DeadlineExceeded: ExitCode.TIMEOUT,
    errors.ReadTimeout: ExitCode.TIMEOUT,
    errors.WriteTimeout: ExitCode.TIMEOUT,
    errors.UnsupportedScheme: ExitCode.UNSUPPORTED,
    errors.InvalidRequest: ExitCode.USAGE,
    errors.ResponseTooLarge: ExitCode.TOO_LARGE,
    errors.SendFailed: ExitCode.SEND,
}
"""The first that fits; what is not here depends on how much had come."""

THEIRS: dict[type[Exception], ExitCode] = {
    httpx.TooManyRedirects: ExitCode.REDIRECTS,
    httpx.DecodingError: ExitCode.CODING,
    httpx.InvalidURL: ExitCode.MALFORMED_URL,
}
"""The errors that httpx itself raises; all others come from our wire."""


def exit_code(error: Exception, *, bytes_in: int) -> ExitCode:
    """
    What the shell is told of *error*.

    Args:
        bytes_in: What had come of the response, in bytes.
    """
    while isinstance(error, errors.PartlySent):
        error = error.reason
    table = OURS if isinstance(error, SeawallError) else THEIRS
    if (code := next((code for kind, code in table.items() if isinstance(error, kind)), None)) is not None:
        return code
    if isinstance(error, errors.WireError | httpx.RemoteProtocolError):
        return _received(error, bytes_in)
    return ExitCode.RECEIVE


def _received(error: Exception, bytes_in: int) -> ExitCode:
    """How the response broke: curl tells apart nothing at all, too little, and what can't be read."""
    is_ended = not isinstance(error, errors.ConnectionLost) and any(
        words in str(error).lower() for words in ("closed connection without", "disconnected without")
    )
    if not bytes_in:
        return ExitCode.EMPTY if is_ended else ExitCode.RECEIVE
    if getattr(error, "received", None) is not None:
        return ExitCode.PARTIAL if is_ended else ExitCode.RECEIVE
    return ExitCode.WEIRD if isinstance(error, errors.BadAnswer) and not is_ended else ExitCode.RECEIVE
