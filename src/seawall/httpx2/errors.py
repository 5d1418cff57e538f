# Written by scripts/twin.py from ../_httpx/errors.py: change that file, and run the script.
"""Our errors are httpx2's too: the table, one line each."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, Final

import httpx2

from .. import errors
from ..core.attempt import AttemptState
from ..errors import SeawallError
from ..events import Phase
from ..policy.outcome import Outcome

__all__ = ["HTTPX", "as_httpx", "failure"]

UNSENT: Final = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.ProxyError)
"""If httpx2's own transport raises one of these, nothing of the request reached the server."""

EXPIRED: Final = {
    httpx2.ReadTimeout: "read",
    httpx2.WriteTimeout: "write",
    httpx2.ConnectTimeout: "connect",
}
"""Which of a request's timeouts an error tells of; ours have these classes too."""


class StreamConsumed(httpx2.StreamConsumed, httpx2.LocalProtocolError):
    """httpx2's class for a generator that would have to be sent twice, which in httpx2 isn't an HTTPError."""


HTTPX: Final[Mapping[type[SeawallError], type[httpx2.HTTPError]]] = {
    errors.Rejected: httpx2.PoolTimeout,
    errors.BulkheadFull: httpx2.PoolTimeout,
    errors.BreakerOpen: httpx2.ConnectError,
    errors.OriginPaused: httpx2.ConnectError,
    errors.UnsupportedScheme: httpx2.UnsupportedProtocol,
    errors.InvalidRequest: httpx2.LocalProtocolError,
    errors.ProxyRefused: httpx2.ProxyError,
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
    errors.BodySpent: StreamConsumed,
    errors.ClientClosed: httpx2.TransportError,
    errors.ReadTimeout: httpx2.ReadTimeout,
    errors.WriteTimeout: httpx2.WriteTimeout,
    errors.ConnectionLost: httpx2.ReadError,
    errors.SendFailed: httpx2.WriteError,
    errors.BadAnswer: httpx2.RemoteProtocolError,
    errors.ResponseTooLarge: httpx2.RemoteProtocolError,
}


@functools.cache
def _both(neutral: type[SeawallError], theirs: type[httpx2.HTTPError]) -> type[SeawallError]:
    """The class that is *neutral* and its httpx2 class, under the neutral name."""
    names = {"__module__": neutral.__module__, "__doc__": neutral.__doc__, "__reduce__": _reduce, "_neutral": neutral}
    return type(neutral.__name__, (neutral, theirs), names)


def _theirs(error: Exception) -> type[httpx2.HTTPError]:
    """The httpx2 class of *error*; for PartlySent, the class of its reason."""
    if isinstance(error, errors.PartlySent):
        return _theirs(error.reason)
    ours = next((HTTPX[cls] for cls in type(error).__mro__ if cls in HTTPX), None)
    return ours or (type(error) if isinstance(error, httpx2.HTTPError) else httpx2.TransportError)


def _reduce(error: Any) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    facts = {name: value for name, value in error.__dict__.items() if name != "_request"}
    return _restore, (error._neutral, error.args, facts, error._request)


def _restore(
    neutral: type[SeawallError], args: tuple[str], facts: dict[str, Any], request: httpx2.Request | None
) -> Exception:
    return as_httpx(neutral(*args, **facts), request)


def as_httpx(error: SeawallError, request: httpx2.Request | None) -> Exception:
    """
    *error*, from now on an instance of its httpx2 class too.

    The object stays the same, so its traceback, cause and notes do.
    """
    if not isinstance(error, httpx2.HTTPError):
        error.__class__ = _both(type(error), _theirs(error))  # type: ignore[arg-type]
    error._request = request  # type: ignore[attr-defined]
    return error


def failure(error: Exception, attempt: AttemptState, *, is_trusted: bool) -> Outcome | None:
    """
    What an error means; None: it isn't the transport's, and is raised as it is.

    Our own errors know how far the attempt got; of others, only the class tells, and only where it is to be believed.

    Args:
        is_trusted: Whether the class of an httpx2 error tells if anything was sent.
    """
    expired = next((kind for expiry, kind in EXPIRED.items() if isinstance(error, expiry)), None)
    if isinstance(error, SeawallError):
        is_stale = getattr(error, "is_stale", False)
        return Outcome(attempt.phase, error=error, is_stale=is_stale, expired=expired)
    if not isinstance(error, httpx2.TransportError) or isinstance(
        error, httpx2.UnsupportedProtocol | httpx2.LocalProtocolError
    ):
        return None
    is_unsent = is_trusted and isinstance(error, UNSENT) and attempt.phase <= Phase.CONNECTING
    return Outcome(Phase.CONNECTING if is_unsent else max(attempt.phase, Phase.SENDING), error=error, expired=expired)
