"""How connections get to their origins, where that isn't straight: a proxy, a Unix socket, a local address."""

from __future__ import annotations

import ssl
from typing import Any, Final, NamedTuple, TypeAlias

from .origin import Origin

__all__ = ["Destination", "Elsewhere", "Endpoint", "Holder", "Proxy", "Route", "SocketOption", "origin_of"]

SocketOption: TypeAlias = tuple[int, int, int] | tuple[int, int, bytes | bytearray] | tuple[int, int, None, int]
"""The arguments of `socket.setsockopt`."""

SOCKS: Final = ("socks5", "socks5h")


class Proxy(NamedTuple):
    """
    A proxy, and what it wants to hear. It is a tuple, because the pool's keys contain it.

    `str` and `repr` show neither credentials nor headers.

    Attributes:
        scheme: "http", "https" (TLS to the proxy), "socks5" or "socks5h"; all of them resolve the origins' names.
        credentials: Username and password, for SOCKS; an HTTP proxy has them in *headers*.
        headers: Sent to the proxy: name, name in lower case, value.
        context: For TLS to the proxy; None takes a default one, which verifies, whatever the client's does.
    """

    scheme: str
    host: str
    port: int
    credentials: tuple[bytes, bytes] | None = None
    headers: tuple[tuple[bytes, bytes, bytes], ...] = ()
    context: ssl.SSLContext | None = None

    @property
    def is_socks(self) -> bool:
        return self.scheme in SOCKS

    @property
    def origin(self) -> Origin:
        """Where it is dialled. As an origin it has a breaker of its own."""
        return Origin("https" if self.scheme == "https" else "http", self.host, self.port)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    def __repr__(self) -> str:
        return f"<Proxy {self}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return Proxy, (self.scheme, self.host, self.port)  # an error that is pickled takes no password along


class Route(NamedTuple):
    """
    The way to an origin.

    Attributes:
        uds: Path of the Unix socket that is dialled whatever the URL's host and port are; such a route has no proxy.
        local_address: IP address that connections are bound to; addresses of the other family aren't dialled then.
        socket_options: Set on each socket before it is connected.
    """

    proxy: Proxy | None = None
    uds: str | None = None
    local_address: str | None = None
    socket_options: tuple[SocketOption, ...] = ()

    def peer(self, origin: Origin) -> Origin:
        """The origin whose name is resolved, and whose addresses are dialled, for *origin*."""
        return origin if self.proxy is None else self.proxy.origin

    @property
    def way(self) -> str:
        """As `Origin.way`: "" if the origin itself is dialled, whatever the socket's own address and options."""
        if self.proxy is not None:
            return str(self.proxy)
        return "" if self.uds is None else f"unix:{self.uds}"


class Endpoint:
    """
    What the pool keeps connections for, where that is more than an origin; one object for the same arguments.

    It is compared by identity, because a tuple would hash the whole route anew at each step of a call.

    Attributes:
        route: None if it leads straight there.
        name: The name that TLS has verified in place of the host's (`sni_hostname`); else "".
    """

    __slots__ = ("__weakref__", "name", "origin", "route")

    def __init__(self, origin: Origin, route: Route | None, name: str) -> None:
        self.origin = origin
        self.route = route
        self.name = name

    @property
    def is_secure(self) -> bool:
        return self.origin.is_secure

    def __str__(self) -> str:
        return f"{self.origin} as {self.name}" if self.name else str(self.origin)

    __repr__ = __str__


Destination: TypeAlias = Origin | Endpoint
"""What the pool keeps connections by."""


def origin_of(destination: Destination) -> Origin:
    return destination if isinstance(destination, Origin) else destination.origin


class Elsewhere(NamedTuple):
    """An origin behind another transport: its slots stand for that transport's connections, and it can't use ours."""

    origin: Origin

    def __str__(self) -> str:
        return str(self.origin)


Holder: TypeAlias = Destination | Elsewhere
"""The holder that a slot of the client-wide cap is counted for."""
