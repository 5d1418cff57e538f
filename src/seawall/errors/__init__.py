"""
What can go wrong, on the axis "was anything sent?".

::

    SeawallError (never raised itself; "+" is the httpx class that callers can catch as well)
    ├─ Unsent (nothing was sent: safe to repeat)
    │  ├─ Rejected + PoolTimeout   a gate of ours refused
    │  │  ├─ BulkheadFull + PoolTimeout
    │  │  ├─ BreakerOpen + ConnectError
    │  │  │  └─ ProxyOpen + ProxyError and ConnectError
    │  │  ├─ LimitExceeded + PoolTimeout
    │  │  ├─ OriginPaused + ConnectError
    │  │  └─ Shed + ConnectError
    │  ├─ ProxyError + ProxyError
    │  │  ├─ ProxyRefused          it wants other credentials, or forbids the host
    │  │  ├─ ProxyUnreachable + ProxyError and ConnectError
    │  │  │  └─ ProxyTimeout + ProxyError and ConnectTimeout
    │  │  └─ TunnelFailed          it gave no connection to the origin
    │  │     └─ TunnelTimeout + ProxyError and ConnectTimeout
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

from .base import (
    SeawallError,
    Unsent,
)
from .call import (
    AddressNotAllowed,
    BodySpent,
    CallerLeft,
    ClientClosed,
    DeadlineExceeded,
    InvalidRequest,
    StatusError,
    UnsupportedScheme,
)
from .proxy import (
    ProxyError,
    ProxyOpen,
    ProxyRefused,
    ProxyTimeout,
    ProxyUnreachable,
    TunnelFailed,
    TunnelTimeout,
)
from .unsent import (
    BreakerOpen,
    BulkheadFull,
    CertificateError,
    DialError,
    DialTimeout,
    HandshakeError,
    HandshakeTimeout,
    HostnameMismatch,
    LimitExceeded,
    NameNotFound,
    NoAddress,
    OriginPaused,
    Rejected,
    ResolveError,
    ResolverFailure,
    ResolveTimeout,
    Shed,
    StreamRefused,
    TLSError,
)
from .wire import (
    BadAnswer,
    ConnectionLost,
    PartlySent,
    ReadTimeout,
    ResponseTooLarge,
    SendFailed,
    WireError,
    WriteTimeout,
)

__all__ = [
    "AddressNotAllowed", "BadAnswer", "BodySpent", "BreakerOpen", "BulkheadFull", "CallerLeft", "CertificateError",
    "ClientClosed", "ConnectionLost", "DeadlineExceeded", "DialError", "DialTimeout", "HandshakeError",
    "HandshakeTimeout", "HostnameMismatch", "InvalidRequest", "LimitExceeded", "NameNotFound", "NoAddress",
    "OriginPaused", "PartlySent", "ProxyError", "ProxyOpen", "ProxyRefused", "ProxyTimeout", "ProxyUnreachable",
    "ReadTimeout", "Rejected", "ResolveError", "ResolveTimeout", "ResolverFailure", "ResponseTooLarge", "SeawallError",
    "SendFailed", "Shed", "StatusError", "StreamRefused", "TLSError", "TunnelFailed", "TunnelTimeout", "Unsent",
    "UnsupportedScheme", "WireError", "WriteTimeout",
]  # fmt: skip

for _name in __all__:
    globals()[_name].__module__ = __name__  # where users import them from, and where pickle looks
