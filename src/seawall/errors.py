"""
What can go wrong, on the axis "was anything sent?".

::

    SeawallError (never raised itself; "+" is the httpx class that callers can catch as well)
    ├─ Unsent (nothing was sent: safe to repeat)
    │  ├─ Rejected + PoolTimeout   by a gate of ours
    │  │  ├─ BulkheadFull + PoolTimeout
    │  │  ├─ BreakerOpen + ConnectError
    │  │  └─ OriginPaused + ConnectError
    │  ├─ ProxyRefused + ProxyError
    │  ├─ StreamRefused + RemoteProtocolError
    │  ├─ ResolveError + ConnectError
    │  │  ├─ NameNotFound          the name does not exist
    │  │  ├─ NoAddress             the name exists, but has no address
    │  │  ├─ ResolverFailure       no DNS server gave a usable answer
    │  │  └─ ResolveTimeout + ConnectTimeout
    │  └─ DialError + ConnectError
    │     ├─ DialTimeout + ConnectTimeout
    │     └─ TLSError
    │        ├─ CertificateError   expired, self-signed, unknown issuer, ...
    │        ├─ HostnameMismatch   a good certificate, but for another name
    │        ├─ HandshakeError     the peer broke off, or does not speak TLS
    │        └─ HandshakeTimeout + ConnectTimeout
    ├─ UnsupportedScheme + UnsupportedProtocol
    ├─ InvalidRequest + LocalProtocolError
    ├─ AddressNotAllowed + ConnectError
    ├─ DeadlineExceeded + TimeoutException
    ├─ StatusError + HTTPStatusError (only with Retry(raise_on_status=True))
    ├─ BodySpent + LocalProtocolError and StreamConsumed
    ├─ ClientClosed + TransportError (and RuntimeError, as httpx raises after aclose())
    └─ WireError (something was sent: only what is idempotent is repeated)
       ├─ ReadTimeout + ReadTimeout
       ├─ WriteTimeout + WriteTimeout
       ├─ ConnectionLost + ReadError
       ├─ SendFailed + WriteError
       ├─ BadAnswer + RemoteProtocolError
       ├─ ResponseTooLarge + RemoteProtocolError
       └─ PartlySent             (+ the class of its reason) an earlier request of the call was sent, the last was not

This module knows no httpx: ``_httpx/errors.py`` holds the table behind the "+".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .events import Attempt
    from .origin import Origin

__all__ = [
    "AddressNotAllowed", "BadAnswer", "BodySpent", "BreakerOpen", "BulkheadFull", "CertificateError", "ClientClosed",
    "ConnectionLost", "DeadlineExceeded", "DialError", "DialTimeout", "HandshakeError", "HandshakeTimeout",
    "HostnameMismatch", "InvalidRequest", "NameNotFound", "NoAddress", "OriginPaused", "PartlySent", "ProxyRefused",
    "ReadTimeout", "Rejected", "ResolveError", "ResolveTimeout", "ResolverFailure", "ResponseTooLarge",
    "SeawallError", "SendFailed", "StatusError", "StreamRefused", "TLSError", "Unsent", "UnsupportedScheme",
    "WireError", "WriteTimeout",
]  # fmt: skip


class SeawallError(Exception):
    """
    The root of all errors. Facts are attributes, set by keyword; the message repeats them for people.

    Attributes:
        attempts: Every attempt of the call, in order; empty where none was made.
        origin: Whom the request was for, where that is known.
        elapsed: How long it took to fail, s, where that was measured.
    """

    attempts: tuple[Attempt, ...] = ()
    origin: Origin | None = None
    elapsed: float | None = None

    def __init__(self, message: str, **facts: object) -> None:
        super().__init__(message)
        self.__dict__.update(facts)


class Unsent(SeawallError):
    """The call sent no byte of any request, so any method may be repeated."""


class Rejected(Unsent):
    """
    A gate on this side refused the attempt, so no server heard of it.

    Attributes:
        by: Name of the gate: "bulkhead", "cap", "breaker", "pause", or of one of the user's own.
    """

    by: str = ""


class BulkheadFull(Rejected):
    """
    The attempt got no permit in time, because as many are in flight as the setting allows.

    Attributes:
        max_concurrent: Permits that there are.
        waiting: How many others were waiting.
    """

    by = "bulkhead"
    max_concurrent: int | None
    waiting: int


class BreakerOpen(Rejected):
    """
    The origin failed too often lately, so no attempt is made for a while.

    Attributes:
        retry_after: s until the breaker lets a probe through; inf where it is held open by hand.
        reason: Why it opened.
        open_for: s for which it has been so.
    """

    by = "breaker"
    retry_after: float
    reason: str
    open_for: float


class OriginPaused(Rejected):
    """
    The origin asked its callers to wait, for longer than this call can (``Retry(pause_origin=True)``).

    Attributes:
        retry_after: s that it asked for, from now on.
    """

    by = "pause"
    retry_after: float


class ProxyRefused(Unsent):
    """
    A proxy wants other credentials (407), forbids the host (403), or says otherwise that it won't connect.

    Attributes:
        status: Its answer's; None: it is a SOCKS proxy.
    """

    status: int | None = None


class StreamRefused(Unsent):
    """
    The HTTP/2 server says that it did nothing of the request (REFUSED_STREAM, GOAWAY): as good as unsent.

    Attributes:
        is_stale: The connection was going away, or had a limit that was not known yet, which is no fault.
    """

    is_stale: bool = False


class ResolveError(Unsent):
    """
    The host's name gave no address.

    Attributes:
        is_resting: It failed just before, and was not asked for again: this says nothing new.
    """

    is_resting: bool = False


class NameNotFound(ResolveError):
    """The name doesn't exist (NXDOMAIN), or can't."""


class NoAddress(ResolveError):
    """The name exists, but has neither A nor AAAA (NODATA)."""


class ResolverFailure(ResolveError):
    """
    DNS servers fail (SERVFAIL, REFUSED), answer garbage, or can't be reached.

    Attributes:
        is_shortage: No descriptor was left to ask with, which says nothing of the name.
    """

    is_shortage: bool = False


class ResolveTimeout(ResolveError):
    """No DNS server answered in time."""


class DialError(Unsent):
    """
    None of the host's addresses accepted a connection. Several causes come as an ExceptionGroup.

    Attributes:
        is_shortage: No descriptor was left for a socket, which says nothing of the origin.
    """

    is_shortage: bool = False


class DialTimeout(DialError):
    """No address answered within the connect timeout."""


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
        is_final: The two don't agree (version, cipher, an alert, no TLS at all), and no other address is any better, so
            asking again gives the same.
    """

    is_final: bool = False


class HandshakeTimeout(TLSError):
    """The handshake took longer than the connect timeout."""


class UnsupportedScheme(SeawallError):
    """The URL is neither http nor https, or has no host."""


class InvalidRequest(SeawallError):
    """HTTP can't express the request: illegal bytes in a header, a wrong content-length. A bug; a retry fails too."""


class AddressNotAllowed(SeawallError):
    """
    A guard refused the address; a repetition doesn't change that.

    Not an `Unsent`, because it may be a redirect that leads there, after a request that was sent.
    """


class DeadlineExceeded(SeawallError):
    """
    The call as a whole took too long, whatever it was doing.

    Attributes:
        timeout: What it had, s.
    """

    timeout: float


class StatusError(SeawallError):
    """
    The last attempt's status was worth a retry, but no further attempt follows.

    Attributes:
        response: The answer, an ``httpx.Response``; of a stream, closed.
        status: Its status.
    """

    response: Any
    status: int


class BodySpent(SeawallError):
    """
    The request's body can't be sent from its beginning, because an earlier attempt, hop or call has begun it.

    Give a function that begins it anew: ``content=seawall.replayable(function)``.
    """


class ClientClosed(SeawallError, RuntimeError):
    """The client was closed before the call, or while it was in flight."""


class WireError(SeawallError):
    """
    The call sent at least a byte, so the server may have acted on it.

    Attributes:
        is_stale: On a connection from the pool, before a byte of the answer: the server had most likely closed it.
        is_final: By a TLS alert, such as for a client certificate that it wants: asking again gives the same.
        received: Bytes of the response's body that had come; None: it had not begun.
        death: The same object for every stream that one HTTP/2 connection's end took with it, so that who counts
            failures can count that end once; None where the error is this exchange's alone.
    """

    is_stale: bool = False
    is_final: bool = False
    death: object | None = None
    received: int | None = None


class ReadTimeout(WireError):
    """The server sent no byte for the read timeout."""


class WriteTimeout(WireError):
    """The server took no byte for the write timeout."""


class ConnectionLost(WireError):
    """The connection was reset or closed while the client waited for the response."""


class SendFailed(WireError):
    """The connection was reset while the request was being sent."""


class BadAnswer(WireError):
    """The response isn't HTTP, or is cut short; or it is a redirect whose Location isn't a URL."""


class ResponseTooLarge(WireError):
    """The headers (HTTP/1.1) are too large, or the body: beyond ``max_response_size``, or a bomb."""


class PartlySent(WireError):
    """
    Nothing of the call's last request was sent, but an earlier one was, so the call as a whole isn't safe to repeat.

    Three ways lead here: a redirect or a step of an authentication was answered, and its next request couldn't be sent;
    the answer to an earlier attempt of a stream was given up for a retry, which could not be sent; or a transport or an
    application below raised an `Unsent` after it was given the request, which tells of another request than this one.

    Attributes:
        reason: Why the last request wasn't sent: an `Unsent`, or a transport's own error that says as much. This error
            is of its httpx class too.
    """

    reason: Exception
