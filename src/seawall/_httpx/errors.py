"""Our errors are httpx's too: the table, one line each."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, Final

import httpx

from .. import errors
from ..core.attempt import AttemptState
from ..errors import SeawallError
from ..events import Phase
from ..policy.outcome import Outcome

__all__ = ["HTTPX", "as_httpx", "failure"]

UNSENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)
"""If httpx's own transport raises one of these, nothing of the request reached the server."""

EXPIRED: Final = {
    httpx.ReadTimeout: "read",
    httpx.WriteTimeout: "write",
    httpx.ConnectTimeout: "connect",
}
"""Which of a request's timeouts an error tells of; ours have these classes too."""


class StreamConsumed(httpx.StreamConsumed, httpx.LocalProtocolError):
    """httpx's class for a generator that would have to be sent twice, which in httpx isn't an HTTPError."""


HTTPX: Final[Mapping[type[SeawallError], type[httpx.HTTPError]]] = {
    errors.Rejected: httpx.PoolTimeout,
    errors.BulkheadFull: httpx.PoolTimeout,
    errors.BreakerOpen: httpx.ConnectError,
    errors.OriginPaused: httpx.ConnectError,
    errors.UnsupportedScheme: httpx.UnsupportedProtocol,
    errors.InvalidRequest: httpx.LocalProtocolError,
    errors.ProxyRefused: httpx.ProxyError,
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
    errors.BodySpent: StreamConsumed,
    errors.ClientClosed: httpx.TransportError,
    errors.ReadTimeout: httpx.ReadTimeout,
    errors.WriteTimeout: httpx.WriteTimeout,
    errors.ConnectionLost: httpx.ReadError,
    errors.SendFailed: httpx.WriteError,
    errors.BadAnswer: httpx.RemoteProtocolError,
    errors.ResponseTooLarge: httpx.RemoteProtocolError,
}


@functools.cache
def _both(neutral: type[SeawallError], theirs: type[httpx.HTTPError]) -> type[SeawallError]:
    """The class that is *neutral* and its httpx class, under the neutral name."""
    names = {"__module__": neutral.__module__, "__doc__": neutral.__doc__, "__reduce__": _reduce, "_neutral": neutral}
    return type(neutral.__name__, (neutral, theirs), names)


def _theirs(error: Exception) -> type[httpx.HTTPError]:
    """The httpx class of *error*; for PartlySent, the class of its reason."""
    if isinstance(error, errors.PartlySent):
        return _theirs(error.reason)
    ours = next((HTTPX[cls] for cls in type(error).__mro__ if cls in HTTPX), None)
    return ours or (type(error) if isinstance(error, httpx.HTTPError) else httpx.TransportError)


def _reduce(error: Any) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    facts = {name: value for name, value in error.__dict__.items() if name != "_request"}
    return _restore, (error._neutral, error.args, facts, error._request)


def _restore(
    neutral: type[SeawallError], args: tuple[str], facts: dict[str, Any], request: httpx.Request | None
) -> Exception:
    return as_httpx(neutral(*args, **facts), request)


def as_httpx(error: SeawallError, request: httpx.Request | None) -> Exception:
    """
    *error*, from now on an instance of its httpx class too.

    The object stays the same, so its traceback, cause and notes do.
    """
    if not isinstance(error, httpx.HTTPError):
        error.__class__ = _both(type(error), _theirs(error))  # type: ignore[arg-type]
    error._request = request  # type: ignore[attr-defined]
    return error


def failure(error: Exception, attempt: AttemptState, *, is_trusted: bool) -> Outcome | None:
    """
    What an error means; None: it isn't the transport's, and is raised as it is.

    Our own errors know how far the attempt got; of others, only the class tells, and only where it is to be believed.

    Args:
        is_trusted: Whether the class of an httpx error tells if anything was sent.
    """
    expired = next((kind for expiry, kind in EXPIRED.items() if isinstance(error, expiry)), None)
    if isinstance(error, SeawallError):
        is_stale = getattr(error, "is_stale", False)
        return Outcome(attempt.phase, error=error, is_stale=is_stale, expired=expired)
    if not isinstance(error, httpx.TransportError) or isinstance(
        error, httpx.UnsupportedProtocol | httpx.LocalProtocolError
    ):
        return None
    is_unsent = is_trusted and isinstance(error, UNSENT) and attempt.phase <= Phase.CONNECTING
    return Outcome(Phase.CONNECTING if is_unsent else max(attempt.phase, Phase.SENDING), error=error, expired=expired)
