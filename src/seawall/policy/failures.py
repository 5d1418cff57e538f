"""
The table of all ways to fail: data that `outcome` reads and ``docs/reference/failures.md`` shows.

Rules: the first row that fits counts. What it says of safety holds for a request that was sent, with a body that can be
sent again; the phase decides beside the class, because a request that was never sent is safe, whatever the error is.
"""

from __future__ import annotations

from enum import Enum
from typing import Final, NamedTuple

from ..errors import (
    AddressNotAllowed,
    BadAnswer,
    BodySpent,
    BreakerOpen,
    BulkheadFull,
    CertificateError,
    ClientClosed,
    ConnectionLost,
    DeadlineExceeded,
    DialError,
    DialTimeout,
    HandshakeError,
    HandshakeTimeout,
    HostnameMismatch,
    InvalidRequest,
    LimitExceeded,
    NameNotFound,
    NoAddress,
    OriginPaused,
    ProxyError,
    ProxyOpen,
    ProxyRefused,
    ProxyTimeout,
    ProxyUnreachable,
    ReadTimeout,
    Rejected,
    ResolveError,
    ResolverFailure,
    ResolveTimeout,
    ResponseTooLarge,
    SendFailed,
    Shed,
    StreamRefused,
    TunnelFailed,
    TunnelTimeout,
    UnsupportedScheme,
    WireError,
    WriteTimeout,
)
from ..events import Phase

__all__ = ["FAILURES", "Failure", "Safe", "failure_of"]


class Safe(Enum):
    """Which requests can be sent again without harm."""

    NEVER = "no"
    IDEMPOTENT = "if idempotent, or with a key"
    ANY = "any method"


class Failure(NamedTuple):
    """
    One way to fail.

    Attributes:
        what: The failure in words.
        likely: How often it happens.
        error: Its class.
        safe: Which requests can be sent again without harm; NEVER also if a second attempt would end the same.
        does: What seawall does about it, beyond a retry after a backoff.
        flag: Attribute of the error that must be true.
        since: Phase that the attempt must have reached.
        is_fault: Whether the breaker counts it; None if it says nothing about the origin.
    """

    what: str
    likely: str
    error: type[Exception]
    safe: Safe
    does: str = ""
    flag: str = ""
    since: Phase = Phase.QUEUED
    is_fault: bool | None = True


NEVER, IDEMPOTENT, ANY = Safe.NEVER, Safe.IDEMPOTENT, Safe.ANY

FAILURES: Final = (
    # DNS
    Failure("the name does not exist", "a typo, a service that was removed", NameNotFound, NEVER,
            "raises at once; remembers it for `DNS.negative_ttl`", is_fault=None),
    Failure("the name has no address, or none of the family of `local_address`", "a wrong record or setting", NoAddress,
            NEVER, "raises at once; remembers what DNS said", is_fault=None),
    Failure("the name has an address that a guard refuses", "an attack, or a wrong record", AddressNotAllowed, NEVER,
            is_fault=None),
    Failure("the name failed twice just now, and is left alone", "in an outage of DNS", ResolveError, NEVER,
            "asks again after 0.25 s, doubling to 5 s; uses stale addresses meanwhile", "is_resting",
            is_fault=None),
    Failure("no DNS server answers", "at times", ResolveTimeout, ANY, "uses stale addresses, asks the system"),
    Failure("no descriptor is left to ask DNS with", "rarely: the process has used up its own", ResolverFailure, ANY,
            "closes idle connections first; says what to raise", "is_shortage", is_fault=None),
    Failure("DNS servers fail, or answer garbage", "at times", ResolverFailure, ANY,
            "uses stale addresses, asks the system"),
    # Connect
    Failure("no descriptor or local port is left for a socket", "rarely: the process has used them up", DialError, ANY,
            "closes idle connections to get a descriptor; says what to change", "is_shortage", is_fault=None),
    Failure("an origin that answered a moment ago refuses all dials, and isn't back in time", "at times: a restart",
            DialError, ANY, "waits for it as `Ready` says; retries when it is dialled next", "is_away", is_fault=None),
    Failure("the address doesn't respond", "often: a host or network that is down", DialTimeout, ANY,
            "tries the other addresses after 250 ms each; dials the bad one last for a while"),
    # A proxy: its own breaker counts what is its fault; from CONNECT on it is that of the origin through this proxy
    Failure("a proxy wants other credentials (407), or forbids the host (403)", "a wrong setting", ProxyRefused, NEVER,
            "raises at once; no breaker counts it", is_fault=None),
    Failure("a proxy whose name doesn't exist, or whose certificate can't be trusted", "a wrong setting",
            ProxyUnreachable, NEVER, "raises at once; no breaker counts it", "is_final", is_fault=None),
    Failure("a proxy, or DNS for its name, takes too long", "at times: overload, a restart", ProxyTimeout, ANY,
            "tries the proxy's other addresses; the proxy's breaker counts it", is_fault=None),
    Failure("a proxy refuses connections, or TLS with it fails", "at times: a restart, a wrong port", ProxyUnreachable,
            ANY, "tries the proxy's other addresses; the proxy's breaker counts it", is_fault=None),
    Failure("a proxy doesn't answer CONNECT: the tunnel hangs", "at times: an origin that is down, overload",
            TunnelTimeout, ANY, "counts for this origin through this proxy"),
    Failure("a proxy answers CONNECT with a 5xx, 408, 425 or 429, with garbage, or breaks off",
            "at times: an origin that is down, overload", TunnelFailed, ANY,
            "counts for this origin through this proxy"),
    Failure("another failure at a proxy", "", ProxyError, ANY, is_fault=None),
    # TLS
    Failure("a good certificate, but for another name", "a wrong setting", HostnameMismatch, NEVER, "raises at once"),
    Failure("a certificate that can't be trusted", "one that has expired", CertificateError, NEVER, "raises at once"),
    Failure("client and server don't agree on TLS, or the port has none", "a wrong setting", HandshakeError, NEVER,
            "tries the other addresses, then raises", "is_final"),
    Failure("the server breaks off the handshake", "at times: overload, a restart", HandshakeError, ANY,
            "tries another address first"),
    Failure("the handshake hangs", "at times: overload", HandshakeTimeout, ANY,
            "tries another address first"),
    Failure("refused, reset or unreachable", "often: a restart, a wrong port", DialError, ANY,
            "tries another address first"),
    # Our own refusals
    Failure("no permit in time", "under overload", BulkheadFull, NEVER, "says how many wait, and what to raise",
            is_fault=None),
    Failure("the limit has no turn in time", "where a rate is set, or rejections taught one", LimitExceeded, NEVER,
            "says when it would have one", is_fault=None),
    Failure("the breaker of the proxy is open", "while the proxy is down", ProxyOpen, NEVER,
            "says when it lets a probe through, or waits, with `waits=True`; other ways stay open", is_fault=None),
    Failure("the breaker is open", "while the origin is down", BreakerOpen, NEVER, "says when it lets a probe through",
            is_fault=None),
    Failure("the origin asked all callers to wait", "where `Retry(pause_origin=True)`", OriginPaused, NEVER,
            "says for how long", is_fault=None),
    Failure("a background call, and the origin is in trouble", "under overload", Shed, NEVER,
            "keeps what the origin still answers for other calls", is_fault=None),
    Failure("a gate of the user's own refuses", "where `gates=` has one", Rejected, NEVER, is_fault=None),
    Failure("a URL that is neither http nor https", "a bug", UnsupportedScheme, NEVER, is_fault=None),
    Failure("a request that HTTP can't carry", "a bug", InvalidRequest, NEVER, is_fault=None),
    Failure("a body that was begun before, and can't go back to its beginning", "after a redirect or a challenge",
            BodySpent, NEVER, "sends nothing; see `seawall.replayable`", is_fault=None),
    Failure("the client was closed", "at shutdown", ClientClosed, NEVER, is_fault=None),
    Failure("the call's deadline passed", "whenever the rest is slow", DeadlineExceeded, NEVER,
            "cancels the attempt; raises it from the last error"),
    # HTTP/2
    Failure("the connection takes no more requests (GOAWAY, its limit of streams)", "often: a restart, a maximum age",
            StreamRefused, ANY, "retries at once, on another connection", "is_stale", is_fault=None),
    Failure("the server did nothing with the request (REFUSED_STREAM)", "at times: overload", StreamRefused, ANY),
    Failure("headers (HTTP/1.1) or a body that is too large, or a bomb", "an attack, or a wrong URL", ResponseTooLarge,
            NEVER, "stops reading; limits a body by `max_response_size`, without it only one compressed beyond 200:1",
            is_fault=None),
    # Sending, and then waiting for the response
    Failure("a TLS alert after the request, such as for a client certificate", "a wrong setting", WireError, NEVER,
            "raises at once", "is_final"),
    Failure("a kept-alive connection that the server had closed", "often", WireError, IDEMPOTENT,
            "retries at once, on another connection", "is_stale", is_fault=None),
    Failure("the server stops taking the request", "rarely: it hangs", WriteTimeout, IDEMPOTENT),
    Failure("reset while the request is sent", "at times: a restart, a body that is too large", SendFailed, IDEMPOTENT,
            "returns a response that came before"),
    Failure("the rest of the body doesn't come", "at times", ReadTimeout, IDEMPOTENT,
            "sends the request again if the body is buffered; else says how much had come", since=Phase.HEADERS),
    Failure("no response comes", "often: overload, a hang", ReadTimeout, IDEMPOTENT),
    Failure("a reset in the midst of the body", "at times", ConnectionLost, IDEMPOTENT,
            "sends the request again if the body is buffered; else says how much had come", since=Phase.HEADERS),
    Failure("a reset before or inside the headers", "at times: a crash, a restart", ConnectionLost, IDEMPOTENT),
    Failure("the body is cut, or its framing broken", "at times", BadAnswer, IDEMPOTENT,
            "sends the request again if the body is buffered; else says how much had come", since=Phase.HEADERS),
    Failure("closed without a response, or what comes isn't HTTP", "at times: a crash; a wrong port", BadAnswer,
            IDEMPOTENT),
    # Another transport's
    Failure("another transport's error, once something was sent", "", Exception, IDEMPOTENT, since=Phase.SENDING),
    Failure("another transport's error before that", "", Exception, ANY),
)  # fmt: skip


def failure_of(error: Exception, phase: Phase) -> Failure:
    """The row of an attempt that ended with *error* in *phase*."""
    return next(
        row
        for row in FAILURES
        if isinstance(error, row.error)
        and phase >= row.since
        and (not row.flag or getattr(error, row.flag, False) is True)
    )
