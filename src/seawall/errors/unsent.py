"""Errors that say that nothing was sent: refusals of ours, names, dials, TLS."""

from __future__ import annotations

from .base import Unsent

__all__ = [
    "BreakerOpen",
    "BulkheadFull",
    "CertificateError",
    "DialError",
    "DialTimeout",
    "HandshakeError",
    "HandshakeTimeout",
    "HostnameMismatch",
    "LimitExceeded",
    "NameNotFound",
    "NoAddress",
    "OriginPaused",
    "Rejected",
    "ResolveError",
    "ResolveTimeout",
    "ResolverFailure",
    "Shed",
    "StreamRefused",
    "TLSError",
]


class Rejected(Unsent):
    """
    A gate on this side refused the attempt, so no server heard of it.

    Attributes:
        by: Name of the gate: "bulkhead", "cap", "breaker", "limit", "pause", "proxy", "shed", or that of a user's own.
    """

    by: str = ""


class BulkheadFull(Rejected):
    """
    The attempt got no permit in time, because as many attempts are in flight as the setting allows.

    Attributes:
        max_concurrent: How many permits there are.
        waiting: How many attempts were waiting.
    """

    by = "bulkhead"
    max_concurrent: int | None
    waiting: int


class LimitExceeded(Rejected):
    """
    The limit of the origin has no turn for the attempt in time.

    Attributes:
        retry_after: Seconds until it would have had one.
    """

    by = "limit"
    retry_after: float


class BreakerOpen(Rejected):
    """
    The origin failed too often lately, so no attempt is made for a while.

    Attributes:
        retry_after: Seconds until the breaker lets a probe through; inf if it is held open by hand.
        reason: Why it opened.
        open_for: Seconds for which it has been open.
    """

    by = "breaker"
    retry_after: float
    reason: str
    open_for: float


class OriginPaused(Rejected):
    """
    The origin asked its callers to wait longer than this call can (``Retry(pause_origin=True)``).

    Attributes:
        retry_after: Seconds that the wait still takes.
    """

    by = "pause"
    retry_after: float


class Shed(Rejected):
    """
    The call is a background one, and the origin in trouble, so that others need what it can still answer.

    Attributes:
        retry_after: Seconds after which it may be worth another call.
    """

    by = "shed"
    retry_after: float


class StreamRefused(Unsent):
    """
    The HTTP/2 server says that it did nothing with the request (REFUSED_STREAM, GOAWAY): as good as unsent.

    Attributes:
        is_stale: The connection was going away, or had a limit that was not known yet, which is not a fault.
    """

    is_stale: bool = False


class ResolveError(Unsent):
    """
    The host's name gave no address.

    Attributes:
        is_resting: The name failed just before and was not asked for again, so this says nothing new.
    """

    is_resting: bool = False


class NameNotFound(ResolveError):
    """The name doesn't exist (NXDOMAIN), or can't."""


class NoAddress(ResolveError):
    """The name exists, but has neither A nor AAAA (NODATA), or none of the family of `local_address`."""


class ResolverFailure(ResolveError):
    """
    DNS servers fail (SERVFAIL, REFUSED), answer garbage, or can't be reached.

    Attributes:
        is_shortage: No descriptor was left to ask with, which says nothing about the name.
    """

    is_shortage: bool = False


class ResolveTimeout(ResolveError):
    """No DNS server answered in time."""


class DialError(Unsent):
    """
    None of the host's addresses accepted a connection. Several causes come as an ExceptionGroup.

    Attributes:
        is_shortage: No descriptor or local port was left for a socket, which says nothing about the origin.
        is_refused: All addresses refused at once, or said at once that they can't be reached.
        is_away: The origin answered a moment ago; this attempt, or others before it, have waited for it in vain.
        retry_at: When an origin that is away is dialled next, in loop time.
    """

    is_shortage: bool = False
    is_refused: bool = False
    is_away: bool = False
    retry_at: float | None = None


class DialTimeout(DialError):
    """No address accepted a connection within the connect timeout."""


class TLSError(DialError):
    """The connection was made, but TLS on it failed."""


class CertificateError(TLSError):
    """The certificate can't be trusted. Never retried, because a retry would meet the same one."""


class HostnameMismatch(CertificateError):
    """The certificate is good, but for another name."""


class HandshakeError(TLSError):
    """
    The peer broke off the handshake, or does not speak TLS.

    Attributes:
        is_final: Client and server don't agree (version, cipher, an alert, no TLS at all), and no other address does
            better, so a retry would fail too.
    """

    is_final: bool = False


class HandshakeTimeout(TLSError):
    """The handshake took longer than the connect timeout."""
