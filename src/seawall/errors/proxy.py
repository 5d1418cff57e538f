"""Errors of the way through a proxy: nothing of the request was sent, and the origin isn't to blame."""

from __future__ import annotations

from .base import Unsent
from .unsent import BreakerOpen

__all__ = [
    "ProxyError",
    "ProxyOpen",
    "ProxyRefused",
    "ProxyTimeout",
    "ProxyUnreachable",
    "TunnelFailed",
    "TunnelTimeout",
]


class ProxyError(Unsent):
    """
    There was no way through the proxy.

    The origin's breaker doesn't count it. The proxy has a breaker of its own, and so has each origin behind it.

    Attributes:
        proxy: The proxy's URL, without credentials.
    """

    proxy: str = ""


class ProxyRefused(ProxyError):
    """
    A proxy wants other credentials (407), forbids the host (403), or says otherwise that it won't connect.

    Attributes:
        status: The proxy's response status; None if it is a SOCKS proxy.
    """

    status: int | None = None


class ProxyUnreachable(ProxyError):
    """
    The proxy's name can't be resolved, none of its addresses takes a connection, or TLS to it fails: see ``__cause__``.

    Attributes:
        is_final: A wrong setting (the name doesn't exist, its certificate can't be trusted), so a retry would fail too.
        is_shortage: No descriptor or local port was left for a socket, which says nothing about the proxy.
    """

    is_final: bool = False
    is_shortage: bool = False


class ProxyTimeout(ProxyUnreachable):
    """The proxy, or DNS for its name, took longer than the connect timeout."""


class TunnelFailed(ProxyError):
    """
    The proxy didn't give a connection to the origin: it answered with trouble (a 5xx, 408, 425 or 429), or broke off.

    Attributes:
        status: The proxy's response status; None if it is a SOCKS proxy, or didn't answer.
    """

    status: int | None = None


class TunnelTimeout(TunnelFailed):
    """The proxy gave no connection to the origin within the connect timeout."""


class ProxyOpen(BreakerOpen):
    """
    The proxy failed too often lately, so it isn't dialled for a while; the origin isn't to blame.

    Attributes:
        proxy: The proxy's URL, without credentials.
    """

    by = "proxy"
    proxy: str = ""
