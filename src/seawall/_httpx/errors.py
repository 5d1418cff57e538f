"""Our errors are httpx's too: the table, one line each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import httpx

from .. import errors
from ..core.adoption import adopted
from ..core.attempt import AttemptState
from ..errors import SeawallError
from ..events import Phase
from ..policy.outcome import Outcome
from .compat import request_of

__all__ = ["HTTPX", "as_httpx", "failure"]

UNSENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)
"""If httpx's own transport raises one of these, nothing of the request reached the server."""

EXPIRED: Final = {
    httpx.ReadTimeout: "read",
    httpx.WriteTimeout: "write",
    httpx.ConnectTimeout: "connect",
}
"""Which of a request's timeouts an error tells of; ours have these classes too."""


HTTPX: Final[Mapping[type[SeawallError], type[httpx.HTTPError]]] = {
    errors.Rejected: httpx.PoolTimeout,
    errors.BulkheadFull: httpx.PoolTimeout,
    errors.BreakerOpen: httpx.ConnectError,
    errors.ProxyOpen: httpx.ProxyError,
    errors.LimitExceeded: httpx.PoolTimeout,
    errors.OriginPaused: httpx.ConnectError,
    errors.Shed: httpx.ConnectError,
    errors.UnsupportedScheme: httpx.UnsupportedProtocol,
    errors.InvalidRequest: httpx.LocalProtocolError,
    errors.ProxyError: httpx.ProxyError,
    errors.ProxyUnreachable: httpx.ProxyError,
    errors.ProxyTimeout: httpx.ProxyError,
    errors.TunnelTimeout: httpx.ProxyError,
    errors.StreamRefused: httpx.RemoteProtocolError,
    errors.NameNotFound: httpx.ConnectError,
    errors.NoAddress: httpx.ConnectError,
    errors.AddressNotAllowed: httpx.ConnectError,
    errors.ResolverFailure: httpx.ConnectError,
    errors.ResolveTimeout: httpx.ConnectTimeout,
    errors.DialError: httpx.ConnectError,
    errors.DialTimeout: httpx.ConnectTimeout,
    errors.CertificateError: httpx.ConnectError,
    errors.HostnameMismatch: httpx.ConnectError,
    errors.HandshakeError: httpx.ConnectError,
    errors.HandshakeTimeout: httpx.ConnectTimeout,
    errors.DeadlineExceeded: httpx.TimeoutException,
    errors.StatusError: httpx.HTTPStatusError,
    errors.BodySpent: httpx.LocalProtocolError,
    errors.ClientClosed: httpx.TransportError,
    errors.ReadTimeout: httpx.ReadTimeout,
    errors.WriteTimeout: httpx.WriteTimeout,
    errors.ConnectionLost: httpx.ReadError,
    errors.SendFailed: httpx.WriteError,
    errors.BadAnswer: httpx.RemoteProtocolError,
    errors.ResponseTooLarge: httpx.RemoteProtocolError,
}


ALSO: Final[Mapping[type[SeawallError], type[Exception]]] = {
    errors.BodySpent: httpx.StreamConsumed,
    errors.ProxyOpen: httpx.ConnectError,
    errors.ProxyUnreachable: httpx.ConnectError,
    errors.ProxyTimeout: httpx.ConnectTimeout,
    errors.TunnelTimeout: httpx.ConnectTimeout,
}
"""What some are too: httpx raises the second class for the same failure, or it isn't an HTTPError there."""


def _theirs(error: Exception) -> tuple[type[Exception], ...]:
    """The httpx classes of *error*; for PartlySent, those of its reason."""
    if isinstance(error, errors.PartlySent):
        return _theirs(error.reason)
    if isinstance(error, SeawallError) and isinstance(error, httpx.HTTPError):
        return error.theirs  # not its class, which may say that nothing was sent
    ours = next((cls for cls in type(error).__mro__ if cls in HTTPX), None)
    if ours is None:
        return (type(error) if isinstance(error, httpx.HTTPError) else httpx.TransportError,)
    return (ALSO[ours], HTTPX[ours]) if ours in ALSO else (HTTPX[ours],)


def as_httpx(error: SeawallError, request: httpx.Request | None) -> SeawallError:
    """
    *error*, as a caller of this front gets it.

    An error of ours becomes a new one, which is httpx's too. This happens once, where the call meets the error, so
    predicates, hooks, observers and the caller see the same object. One that is httpx's already stays as it is.

    One that is another HTTP library's stays as it is too: a transport, an application or a body below has made a call
    with that library. As in httpx, such an error is the caller's business and not an outcome of this call, so it isn't
    retried. But it may claim that nothing was sent; then the call ends with a PartlySent of this front, see `fail`.

    Args:
        request: What the error gets as its request, unless it has one.
    """
    if _is_anothers(error):
        return error
    if not isinstance(error, httpx.HTTPError):
        error = adopted(error, *_theirs(error))
    if request_of(error) is None:
        error.request = request  # type: ignore[attr-defined]
    return error


def _is_anothers(error: SeawallError) -> bool:
    """Whether it is another HTTP library's, and not httpx's."""
    return bool(error.theirs) and not isinstance(error, httpx.HTTPError)


def failure(error: Exception, attempt: AttemptState, *, is_trusted: bool) -> Outcome | None:
    """
    What an error means; None: it isn't the transport's, and is raised as it is.

    Our own errors know how far the attempt got; of others, only the class tells, and only where it can be believed.

    Args:
        is_trusted: Whether the class of an httpx error tells if anything was sent.
    """
    expired = next((kind for expiry, kind in EXPIRED.items() if isinstance(error, expiry)), None)
    if isinstance(error, SeawallError):
        if _is_anothers(error):
            return None
        is_stale = getattr(error, "is_stale", False)
        return Outcome(attempt.phase, error=error, is_stale=is_stale, expired=expired)
    if not isinstance(error, httpx.TransportError) or isinstance(
        error, httpx.UnsupportedProtocol | httpx.LocalProtocolError
    ):
        return None
    is_unsent = is_trusted and isinstance(error, UNSENT) and attempt.phase <= Phase.CONNECTING
    return Outcome(Phase.CONNECTING if is_unsent else max(attempt.phase, Phase.SENDING), error=error, expired=expired)
