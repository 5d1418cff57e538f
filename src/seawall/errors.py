"""
What can go wrong, on the axis "was anything sent?".

::

    SeawallError (never raised itself; "+" is the httpx class that callers can catch as well)
    ├─ Unsent (nothing was sent: safe to repeat)
    │  ├─ Rejected + PoolTimeout   a gate of ours refused
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
    │  └─ CallerLeft              the inbound caller, for whom a service made the call
    ├─ StatusError + HTTPStatusError (only with Retry(raise_on_status=True))
    ├─ BodySpent + LocalProtocolError and StreamConsumed
    ├─ ClientClosed + TransportError (and RuntimeError, as httpx raises after aclose())
    └─ WireError (something was sent: only an idempotent request is repeated)
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

from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from .events import Attempt
    from .origin import Origin

__all__ = [
    "AddressNotAllowed", "BadAnswer", "BodySpent", "BreakerOpen", "BulkheadFull", "CallerLeft", "CertificateError",
    "ClientClosed", "ConnectionLost", "DeadlineExceeded", "DialError", "DialTimeout", "HandshakeError",
    "HandshakeTimeout", "HostnameMismatch", "InvalidRequest", "NameNotFound", "NoAddress", "OriginPaused",
    "PartlySent", "ProxyRefused", "ReadTimeout", "Rejected", "ResolveError", "ResolveTimeout", "ResolverFailure",
    "ResponseTooLarge", "SeawallError", "SendFailed", "StatusError", "StreamRefused", "TLSError", "Unsent",
    "UnsupportedScheme", "WireError", "WriteTimeout",
]  # fmt: skip


class SeawallError(Exception):
    """
    The root of all errors. Facts are attributes, set by keyword; the message repeats them for people.

    Attributes:
        attempts: Every attempt of the call, in order; empty if none was made.
        origin: The origin that the request was for, if it is known.
        elapsed: Seconds until it failed, if they were measured.
        theirs: The classes of an HTTP library that it has too; empty until a call of that library's client meets it.
    """

    theirs: ClassVar[tuple[type[Exception], ...]] = ()
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
        by: Name of the gate: "bulkhead", "cap", "breaker", "pause", or that of a user's own.
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


class ProxyRefused(Unsent):
    """
    A proxy wants other credentials (407), forbids the host (403), or says otherwise that it won't connect.

    Attributes:
        status: The proxy's response status; None if it is a SOCKS proxy.
    """

    status: int | None = None


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
    """The name exists, but has neither A nor AAAA (NODATA)."""


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
        is_shortage: No descriptor was left for a socket, which says nothing about the origin.
    """

    is_shortage: bool = False


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
    """The client was closed before the call, or while it was in flight."""


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
