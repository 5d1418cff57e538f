# Written by scripts/twin.py from ../_httpx/routes.py: change that file, and run the script.
"""httpx2's proxies, and what else its transports take of sockets, as routes of our wire."""

from __future__ import annotations

import base64
import functools
import importlib.util
import ipaddress
import socket
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

import httpx2

from ..config.check import shown
from ..core.fronts import check_own
from ..route import Proxy, Route, SocketOption

if TYPE_CHECKING:
    from httpx2._types import ProxyTypes

__all__ = ["PROXY", "proxy_of", "route_of"]

PROXY: Final = "proxy"
"""The extension of a request that names a proxy of its own."""

PORTS: Final = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}
MAX_KEPT: Final = 1024  # URLs of proxies


def proxy_of(given: ProxyTypes) -> Proxy:
    """
    A proxy as httpx2's users name it: a URL, or an ``httpx2.Proxy``.

    Raises:
        TypeError, ValueError: It is neither, or its URL can't be a proxy's.
        ImportError: A SOCKS proxy needs an extra that isn't installed.
    """
    return _proxy_at(given) if isinstance(given, str) else _proxy_of(given)


@functools.lru_cache(MAX_KEPT)
def _proxy_at(url: str) -> Proxy:
    return _proxy_of(url)


def _proxy_of(given: ProxyTypes) -> Proxy:
    check_own(httpx2.__name__, proxy=given)
    if not isinstance(given, httpx2.Proxy | httpx2.URL | str):
        raise TypeError(f"proxy must be a URL or an httpx2.Proxy, not {shown(given)}")
    proxy = given if isinstance(given, httpx2.Proxy) else httpx2.Proxy(url=given)
    url = proxy.url
    if not url.host:
        raise ValueError(f"proxy must have a host, such as http://proxy.example.com:3128, not {shown(str(url))}")
    is_socks = url.scheme.startswith("socks5")
    if is_socks and importlib.util.find_spec("socksio") is None:
        raise ImportError('a SOCKS proxy needs the package socksio: pip install "seawall[socks]"')
    headers = [(name, name.lower(), value) for name, value in proxy.headers.raw]
    auth = proxy.raw_auth
    if auth is not None and not is_socks:
        basic = b"Basic " + base64.b64encode(b":".join(auth))
        headers = [(b"Proxy-Authorization", b"proxy-authorization", basic), *headers]
    return Proxy(
        scheme=url.scheme,
        host=url.raw_host.decode("ascii"),
        port=url.port or PORTS[url.scheme],
        credentials=auth if is_socks else None,
        headers=() if is_socks else tuple(headers),
        context=proxy.ssl_context,
    )


def route_of(
    *,
    proxy: ProxyTypes | None = None,
    uds: str | None = None,
    local_address: str | None = None,
    socket_options: Iterable[Any] | None = None,
) -> Route | None:
    """
    The route that the arguments of ``httpx2.AsyncHTTPTransport`` mean; None if that is straight.

    Raises:
        TypeError, ValueError, ImportError: One of them can't be.
    """
    if uds is not None and (proxy is not None or local_address is not None):
        raise ValueError("uds: a Unix socket has neither a proxy nor a local address, so give one of them")
    if uds is not None and not (isinstance(uds, str) and uds):
        raise TypeError(f"uds must be the path of a Unix socket, not {shown(uds)}")
    if uds is not None and not hasattr(socket, "AF_UNIX"):
        raise ValueError("uds: Python has no Unix sockets on this system")
    if local_address is not None:
        try:
            ipaddress.ip_address(local_address)
        except ValueError:
            raise ValueError(
                f"local_address must be an IP address of this machine, not {shown(local_address)}"
            ) from None
    options = tuple(_option(each) for each in socket_options or ())
    route = Route(None if proxy is None else proxy_of(proxy), uds, local_address, options)
    return None if route == Route() else route


def _option(given: Any) -> SocketOption:
    option: Any = tuple(given) if isinstance(given, tuple | list) else ()
    if len(option) not in (3, 4):
        raise TypeError(
            f"socket_options must hold (level, option, value), the arguments of socket.setsockopt, not {shown(given)}"
        )
    return option  # type: ignore[no-any-return]
