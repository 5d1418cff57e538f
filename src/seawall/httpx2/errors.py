# Written by scripts/twin.py from ../_httpx/errors.py: change that file, and run the script.
"""Our errors are httpx2's too: the table, one line each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import httpx2

from .. import errors
from ..core.adoption import adopted
from ..core.attempt import AttemptState
from ..errors import SeawallError
from ..events import Phase
from ..policy.outcome import Outcome
from .compat import request_of

__all__ = ["HTTPX", "as_httpx", "failure"]

UNSENT: Final = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.ProxyError)
"""If httpx2's own transport raises one of these, nothing of the request reached the server."""

EXPIRED: Final = {
    httpx2.ReadTimeout: "read",
    httpx2.WriteTimeout: "write",
    httpx2.ConnectTimeout: "connect",
}
"""Which of a request's timeouts an error tells of; ours have these classes too."""


HTTPX: Final[Mapping[type[SeawallError], type[httpx2.HTTPError]]] = {
    errors.Rejected: httpx2.PoolTimeout,
    errors.BulkheadFull: httpx2.PoolTimeout,
    errors.BreakerOpen: httpx2.ConnectError,
    errors.ProxyOpen: httpx2.ProxyError,
    errors.LimitExceeded: httpx2.PoolTimeout,
    errors.OriginPaused: httpx2.ConnectError,
    errors.Shed: httpx2.ConnectError,
    errors.UnsupportedScheme: httpx2.UnsupportedProtocol,
    errors.InvalidRequest: httpx2.LocalProtocolError,
    errors.ProxyError: httpx2.ProxyError,
    errors.ProxyUnreachable: httpx2.ProxyError,
    errors.ProxyTimeout: httpx2.ProxyError,
    errors.TunnelTimeout: httpx2.ProxyError,
    errors.StreamRefused: httpx2.RemoteProtocolError,
    errors.NameNotFound: httpx2.ConnectError,
    errors.NoAddress: httpx2.ConnectError,
    errors.AddressNotAllowed: httpx2.ConnectError,
    errors.ResolverFailure: httpx2.ConnectError,
    errors.ResolveTimeout: httpx2.ConnectTimeout,
    errors.DialError: httpx2.ConnectError,
    errors.DialTimeout: httpx2.ConnectTimeout,
    errors.CertificateError: httpx2.ConnectError,
    errors.HostnameMismatch: httpx2.ConnectError,
    errors.HandshakeError: httpx2.ConnectError,
    errors.HandshakeTimeout: httpx2.ConnectTimeout,
    errors.DeadlineExceeded: httpx2.TimeoutException,
    errors.StatusError: httpx2.HTTPStatusError,
    errors.BodySpent: httpx2.LocalProtocolError,
    errors.ClientClosed: httpx2.TransportError,
    errors.ReadTimeout: httpx2.ReadTimeout,
    errors.WriteTimeout: httpx2.WriteTimeout,
    errors.ConnectionLost: httpx2.ReadError,
    errors.SendFailed: httpx2.WriteError,
    errors.BadAnswer: httpx2.RemoteProtocolError,
    errors.ResponseTooLarge: httpx2.RemoteProtocolError,
}


ALSO: Final[Mapping[type[SeawallError], type[Exception]]] = {
    errors.BodySpent: httpx2.StreamConsumed,
    errors.ProxyOpen: httpx2.ConnectError,
    errors.ProxyUnreachable: httpx2.ConnectError,
    errors.ProxyTimeout: httpx2.ConnectTimeout,
    errors.TunnelTimeout: httpx2.ConnectTimeout,
}
"""What some are too: httpx2 raises the second class for the same failure, or it isn't an HTTPError there."""


def _theirs(error: Exception) -> tuple[type[Exception], ...]:
    """The httpx2 classes of *error*; for PartlySent, those of its reason."""
    if isinstance(error, errors.PartlySent):
        return _theirs(error.reason)
    if isinstance(error, SeawallError) and isinstance(error, httpx2.HTTPError):
        return error.theirs  # not its class, which may say that nothing was sent
    ours = next((cls for cls in type(error).__mro__ if cls in HTTPX), None)
    if ours is None:
        return (type(error) if isinstance(error, httpx2.HTTPError) else httpx2.TransportError,)
    return (ALSO[ours], HTTPX[ours]) if ours in ALSO else (HTTPX[ours],)


def as_httpx(error: SeawallError, request: httpx2.Request | None) -> SeawallError:
    """
    *error*, as a caller of this front gets it.

    An error of ours becomes a new one, which is httpx2's too. This happens once, where the call meets the error, so
    predicates, hooks, observers and the caller see the same object. One that is httpx2's already stays as it is.

    One that is another HTTP library's stays as it is too: a transport, an application or a body below has made a call
    with that library. As in httpx2, such an error is the caller's business and not an outcome of this call, so it isn't
    retried. But it may claim that nothing was sent; then the call ends with a PartlySent of this front, see `fail`.

    Args:
        request: What the error gets as its request, unless it has one.
    """
    if _is_anothers(error):
        return error
    if not isinstance(error, httpx2.HTTPError):
        error = adopted(error, *_theirs(error))
    if request_of(error) is None:
        error.request = request  # type: ignore[attr-defined]
    return error


def _is_anothers(error: SeawallError) -> bool:
    """Whether it is another HTTP library's, and not httpx2's."""
    return bool(error.theirs) and not isinstance(error, httpx2.HTTPError)


def failure(error: Exception, attempt: AttemptState, *, is_trusted: bool) -> Outcome | None:
    """
    What an error means; None: it isn't the transport's, and is raised as it is.

    Our own errors know how far the attempt got; of others, only the class tells, and only where it can be believed.

    Args:
        is_trusted: Whether the class of an httpx2 error tells if anything was sent.
    """
    expired = next((kind for expiry, kind in EXPIRED.items() if isinstance(error, expiry)), None)
    if isinstance(error, SeawallError):
        if _is_anothers(error):
            return None
        is_stale = getattr(error, "is_stale", False)
        return Outcome(attempt.phase, error=error, is_stale=is_stale, expired=expired)
    if not isinstance(error, httpx2.TransportError) or isinstance(
        error, httpx2.UnsupportedProtocol | httpx2.LocalProtocolError
    ):
        return None
    is_unsent = is_trusted and isinstance(error, UNSENT) and attempt.phase <= Phase.CONNECTING
    return Outcome(Phase.CONNECTING if is_unsent else max(attempt.phase, Phase.SENDING), error=error, expired=expired)
