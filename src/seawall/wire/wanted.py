"""What a request wants of its connection: how it is checked before the dial, and the error where it takes too long."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Protocol

from ..dns.resolver import check_name, literal
from ..errors import (
    DialTimeout,
    HandshakeTimeout,
    NameNotFound,
    ProxyTimeout,
    ResolveTimeout,
    SeawallError,
    TunnelTimeout,
)
from ..events import Phase
from ..origin import Origin
from ..route import Proxy, Route
from .progress import Progress

__all__ = ["Wanted", "check_names", "late_error"]

TIMEOUTS: Final = {Phase.CONNECTING: DialTimeout, Phase.TLS: HandshakeTimeout}


class Wanted(Protocol):
    """What of a request decides about its connection."""

    @property
    def origin(self) -> Origin: ...

    @property
    def timeouts(self) -> Mapping[str, float | None]: ...

    @property
    def extensions(self) -> Mapping[str, Any]: ...

    @property
    def route(self) -> Route | None: ...


def check_names(message: Wanted, route: Route) -> None:
    """
    Refuse a name that TLS or a proxy can't be told, where no resolver is asked for it, and would refuse it.

    Raises:
        NameNotFound: See `check_name`.
    """
    origin, shown = message.origin, message.extensions.get("sni_hostname")
    if isinstance(shown, str) and origin.is_secure:
        try:
            check_name(shown.encode("idna").decode())  # as ssl does it
        except UnicodeError as error:
            raise NameNotFound(f"{shown!r} can't be a host name: {error}") from error
    if (route.proxy or (route.uds and origin.is_secure)) and literal(origin.host) is None:
        check_name(origin.host)


def late_error(origin: Origin, route: Route, progress: Progress, elapsed: float, limit: float | None) -> SeawallError:
    """The error of a dial that took *elapsed* s, longer than its connect timeout of *limit* s."""
    facts: dict[str, Any] = {"origin": origin, "elapsed": elapsed}
    tried = dict.fromkeys(str(dial.address) for dial in progress.dials) if progress.address is None else ()
    address = f" at {progress.address or ', '.join(tried)}" if progress.address or tried else ""
    if (proxy := route.proxy) is not None and progress.phase < Phase.TLS:
        text = f"{origin}: the proxy {proxy}{address} {_late_proxy(proxy, progress)} within the connect timeout"
        kind: type[SeawallError] = TunnelTimeout if progress.phase is Phase.TUNNEL else ProxyTimeout
        return kind(f"{text} of {limit:g} s", proxy=str(proxy), **facts)
    what = f"{progress.phase.name.lower()} took longer than the connect timeout of {limit:g} s"
    return TIMEOUTS.get(progress.phase, ResolveTimeout)(f"{origin}{address}: {what}", **facts)


def _late_proxy(proxy: Proxy, progress: Progress) -> str:
    """What it didn't do in time."""
    if progress.phase is Phase.TUNNEL:
        return f"gave no answer to {'SOCKS5' if proxy.is_socks else 'CONNECT'}"
    if progress.phase < Phase.CONNECTING:
        return "has no address"
    return "took no connection" if progress.address is None else "made no TLS"
