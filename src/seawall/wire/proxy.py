"""
The way through a proxy: TLS to it, where it wants that, then CONNECT or SOCKS5; and how each step fails.

Rules: nothing of the request is sent here, so every failure is a `ProxyError`, and safe to retry. Which of them is
final is decided by the proxy's answer. Bytes that a proxy sends before the origin may speak end the connection, because
the client would take them for the origin's.

Source: RFC 9110 section 9.3.6 and RFC 9112 section 3.2.3 (CONNECT); RFC 1928 and RFC 1929 (SOCKS5).
"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

from ..dns.resolver import literal
from ..errors import (
    CertificateError,
    DialTimeout,
    HandshakeError,
    HandshakeTimeout,
    NameNotFound,
    NoAddress,
    ProxyRefused,
    ProxyTimeout,
    ProxyUnreachable,
    ResolveTimeout,
    TunnelFailed,
    Unsent,
    WireError,
)
from ..origin import Origin
from ..route import Proxy
from .http1.connection import Connection
from .message import Message, slices
from .progress import Progress

__all__ = ["Crossing", "Passage", "Passages", "tunnel", "unreachable"]

PASSING: Final = frozenset({408, 425, 429})
"""Answers of 3xx and 4xx to CONNECT that the proxy may not repeat a moment later."""

MAX_SHOWN: Final = 100  # characters of what a proxy says


class Passage(Protocol):
    """A dial that was let through."""

    def end(self, error: BaseException | None) -> None:
        """The proxy leads to the origin, with whom there is no TLS yet; or the way there failed."""

    def withdraw(self) -> None:
        """There was no dial after all."""


class Passages(Protocol):
    """What lets dials through proxies, see `seawall.policy.proxies`."""

    def enter(self, proxy: Proxy, origin: Origin) -> Passage:
        """Raises BreakerOpen."""


class Crossing:
    """The passage of one dial, which ends once; none where the dial needs no proxy."""

    __slots__ = ("_origin", "_passage", "_passages", "_proxy")

    def __init__(self, passages: Passages, proxy: Proxy | None, origin: Origin) -> None:
        self._passages = passages
        self._proxy = proxy
        self._origin = origin
        self._passage: Passage | None = None

    def begin(self) -> None:
        """The dial begins, or goes on. Raises BreakerOpen."""
        if self._proxy is not None and self._passage is None:
            self._passage = self._passages.enter(self._proxy, self._origin)

    def end(self, error: BaseException | None = None) -> None:
        """It stands, so what comes next is between the origin and us; or it failed. May be called again."""
        passage, self._passage = self._passage, None
        if passage is not None:
            passage.end(error)

    def withdraw(self) -> None:
        """The dial waits for what the proxy has no part in, or isn't needed any more."""
        passage, self._passage = self._passage, None
        if passage is not None:
            passage.withdraw()


def unreachable(origin: Origin, proxy: Proxy, error: Unsent) -> ProxyUnreachable:
    """The error of a request for *origin* where *error* says that *proxy* can't be reached."""
    is_late = isinstance(error, ResolveTimeout | DialTimeout | HandshakeTimeout)
    made = (ProxyTimeout if is_late else ProxyUnreachable)(
        f"{origin}: the proxy can't be reached: {error}",
        origin=origin,
        proxy=str(proxy),
        is_final=isinstance(error, NameNotFound | NoAddress | CertificateError)
        or (isinstance(error, HandshakeError) and error.is_final)
        or getattr(error, "is_resting", False),
        is_shortage=getattr(error, "is_shortage", False),
    )
    made.__cause__ = error
    return made


async def tunnel(connection: Connection, proxy: Proxy, origin: Origin) -> None:
    """
    Have *connection*, which leads to *proxy*, lead to *origin*. The caller limits its time, and closes it on failure.

    Raises:
        ProxyRefused: The next attempt would end the same, because a setting is wrong.
        TunnelFailed: The proxy gave no connection, which may pass.
    """
    await (_socks(connection, proxy, origin) if proxy.is_socks else _connect(connection, proxy, origin))
    if connection.tunnelled:
        raise _failed(origin, proxy, "it sent bytes before the origin could have")
    if connection.is_closed:
        raise _failed(origin, proxy, "it closed the connection at once")


async def _connect(connection: Connection, proxy: Proxy, origin: Origin) -> None:
    loop = asyncio.get_running_loop()
    authority = origin.authority.encode()
    headers = [(b"Host", b"host", authority), *proxy.headers]
    message = Message(origin, b"CONNECT", authority, headers, b"", slices(b""), {})
    try:
        head = await connection.send(message, Progress(loop.time, loop.time()))
    except WireError as error:
        raise _failed(origin, proxy, _shown(str(error))) from error.__cause__
    if 200 <= head.status < 300:
        return
    said = f"{head.status} {_shown(head.reason.decode('latin-1'))}".rstrip()
    if 300 <= head.status < 500 and head.status not in PASSING:
        raise _refused(origin, proxy, said, status=head.status)
    raise _failed(origin, proxy, said, status=head.status)


async def _socks(connection: Connection, proxy: Proxy, origin: Origin) -> None:
    from . import socks  # an extra

    connection.is_upgraded = True  # it speaks no HTTP yet
    known = literal(origin.host)
    host = origin.host.encode() if known is None else known.addresses[0].ip.partition("%")[0]
    try:
        await socks.connect(connection, host, origin.port, proxy.credentials)
    except socks.Failed as error:
        raise (_refused if error.is_final else _failed)(origin, proxy, str(error)) from error.__cause__
    except OSError as error:
        raise _failed(origin, proxy, str(error) or type(error).__name__) from error.with_traceback(None)
    connection.is_upgraded = False


def _refused(origin: Origin, proxy: Proxy, why: str, *, status: int | None = None) -> ProxyRefused:
    return ProxyRefused(
        f"{origin}: the proxy {proxy} refused to connect: {why}; check its credentials and what it allows",
        origin=origin,
        proxy=str(proxy),
        status=status,
    )


def _failed(origin: Origin, proxy: Proxy, why: str, *, status: int | None = None) -> TunnelFailed:
    text = f"{origin}: the proxy {proxy} gave no connection: {why}"
    return TunnelFailed(text, origin=origin, proxy=str(proxy), status=status)


def _shown(text: str) -> str:
    """What a proxy said, as an error may have it: on one line of a log, and without a terminal's control characters."""
    return "".join(each for each in text[:MAX_SHOWN] if each.isprintable())
