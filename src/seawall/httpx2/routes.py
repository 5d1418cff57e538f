# Written by scripts/twin.py from ../_httpx/routes.py: change that file, and run the script.
"""httpx2's proxies, and what else its transports take of sockets, as routes of our wire."""

from __future__ import annotations

import base64
import functools
import importlib.util
import ipaddress
import re
import socket
import ssl
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

import httpx2

from ..config.check import HEADER_NAME, shown
from ..core.fronts import check_own
from ..route import Proxy, Route, SocketOption

if TYPE_CHECKING:
    from httpx2._types import ProxyTypes

__all__ = ["PROXY", "proxy_of", "route_of"]

PROXY: Final = "proxy"
"""The extension of a request that names a proxy of its own."""

PORTS: Final = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}
MAX_KEPT: Final = 128  # URLs of proxies with their credentials, as a process keeps them
MAX_FIELD: Final = 255  # B of a username or password for SOCKS (RFC 1929 section 2)
MAX_C_INT: Final = 2**31 - 1

AUTHORIZATION: Final = b"Proxy-Authorization"
NAME: Final = re.compile(HEADER_NAME.encode())
VALUE: Final = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")  # RFC 9110 section 5.5
CONTROL: Final = re.compile(rb"[\x00-\x1f\x7f]")
REQUESTS: Final = frozenset((b"host", b"content-length", b"transfer-encoding", b"expect", b"upgrade"))
"""Headers that each request has of its own: a proxy would take the request for another one."""


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
    port = PORTS[url.scheme] if url.port is None else url.port
    if not 1 <= port <= 65535:
        raise ValueError(f"proxy must have a port from 1 to 65535, not {shown(port)}")
    context = proxy.ssl_context
    if context is not None and not isinstance(context, ssl.SSLContext):
        raise TypeError(f"proxy must have an ssl.SSLContext as its ssl_context, not {shown(context)}")
    is_socks = url.scheme.startswith("socks5")
    if is_socks and importlib.util.find_spec("socksio") is None:
        raise ImportError('a SOCKS proxy needs the package socksio: pip install "seawall[socks]"')
    credentials = _credentials_of(proxy, is_socks=is_socks)
    return Proxy(
        scheme=url.scheme,
        host=url.raw_host.decode("ascii"),
        port=port,
        credentials=credentials if is_socks else None,
        headers=() if is_socks else _headers_of(proxy, credentials),
        context=context if url.scheme == "https" else None,  # connections are kept by it, so only where it is used
    )


def _credentials_of(proxy: httpx2.Proxy, *, is_socks: bool) -> tuple[bytes, bytes] | None:
    """
    Username and password; no error shows them.

    Raises:
        TypeError, ValueError: They can't be.
    """
    auth: Any = proxy.auth
    if auth is None:
        return None
    if not (isinstance(auth, tuple | list) and len(auth) == 2 and all(isinstance(each, str) for each in auth)):
        raise TypeError("proxy must have credentials of two texts, a username and a password")
    try:
        username, password = (each.encode() for each in auth)
    except UnicodeEncodeError:
        raise ValueError("proxy must have credentials that UTF-8 can encode, without lone surrogates") from None
    if CONTROL.search(username) or CONTROL.search(password):
        raise ValueError("proxy must have credentials without control characters, such as the end of a line")
    if is_socks and max(len(username), len(password)) > MAX_FIELD:
        raise ValueError(
            f"proxy must have credentials of at most {MAX_FIELD} bytes each, because SOCKS carries no more"
        )
    return username, password


def _headers_of(proxy: httpx2.Proxy, credentials: tuple[bytes, bytes] | None) -> tuple[tuple[bytes, bytes, bytes], ...]:
    """
    What an HTTP proxy is to hear, credentials included, unless a header has them; no error shows a value.

    Raises:
        ValueError: A header can't be sent, or belongs to the request.
    """
    headers = tuple((name, name.lower(), value) for name, value in proxy.headers.raw)
    for name, lower, value in headers:
        if not NAME.fullmatch(name):
            raise ValueError("proxy must have headers whose names are made of letters, digits and !#$%&'*+-.^_`|~")
        if not VALUE.fullmatch(value):
            raise ValueError(f"proxy must have headers without control characters; {name.decode()} has some")
        if lower in REQUESTS:
            raise ValueError(f"proxy must not have the header {name.decode()}, because each request has its own")
    if credentials is None or any(lower == AUTHORIZATION.lower() for _, lower, _ in headers):
        return headers
    basic = b"Basic " + base64.b64encode(b":".join(credentials))
    return ((AUTHORIZATION, AUTHORIZATION.lower(), basic), *headers)


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
            if not isinstance(local_address, str):
                raise ValueError
            ipaddress.ip_address(local_address)
        except ValueError:
            raise ValueError(
                f"local_address must be an IP address of this machine, not {shown(local_address)}"
            ) from None
    if socket_options is not None and (isinstance(socket_options, str) or not isinstance(socket_options, Iterable)):
        raise TypeError(f"socket_options must be a list of options, not {shown(socket_options)}")
    options = tuple(_option(each) for each in socket_options or ())
    route = Route(None if proxy is None else proxy_of(proxy), uds, local_address, options)
    return None if route == Route() else route


def _option(given: Any) -> SocketOption:
    """
    A socket's option as a part of a key: its bytes can't change.

    Raises:
        TypeError: `socket.setsockopt` can't take it.
        ValueError: A number is beyond what C's int holds.
    """
    option: Any = tuple(given) if isinstance(given, tuple | list) else ()
    match option:
        case (int(), int(), int() as value):
            pass
        case (int(), int(), bytes() | bytearray() | memoryview() as data):
            option, value = (*option[:2], bytes(data)), 0
        case (int(), int(), None, int() as value):
            pass
        case _:
            raise TypeError(
                "socket_options must hold (level, option, value) or (level, option, None, length), the arguments of "
                f"socket.setsockopt, not {shown(given)}"
            )
    least = 0 if len(option) == 4 else -MAX_C_INT - 1
    if not (0 <= option[0] <= MAX_C_INT and 0 <= option[1] <= MAX_C_INT and least <= value <= MAX_C_INT):
        raise ValueError(f"socket_options must hold numbers that C's int holds, not {shown(given)}")
    return option  # type: ignore[no-any-return]
