"""Where a request goes: an origin (scheme, host, port), and the addresses that its host has."""

from __future__ import annotations

import socket
from typing import NamedTuple

__all__ = ["Address", "Origin"]


class Origin(NamedTuple):
    """
    Scheme, host and port; each origin has its own bulkhead, breaker, budget and connections.

    It is a tuple, because a dict then hashes it in C.

    Source: RFC 6454 section 4.

    Attributes:
        way: A proxy's URL without credentials, or "unix:" and a path; "" if the origin itself is dialled. Another way
            makes another origin, because what a proxy does must not count for calls that don't use it.
    """

    scheme: str
    host: str
    port: int
    way: str = ""

    @property
    def is_secure(self) -> bool:
        return self.scheme == "https"

    @property
    def server_name(self) -> str:
        """The host as its certificate has it: without the final dot, and without a zone, which others don't know."""
        return self.host.partition("%")[0].removesuffix(".")

    @property
    def authority(self) -> str:
        """The target of a CONNECT. Source: RFC 9112 section 3.2.3; RFC 6874 section 4 for the zone."""
        host = self.host.partition("%")[0]
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"

    @property
    def netloc(self) -> str:
        """As `authority`, without a port that the scheme has anyway: a proxy may make another Host of it."""
        default = ":443" if self.is_secure else ":80"
        return self.authority.removesuffix(default)

    def through(self, way: str) -> Origin:
        """The same origin by another *way*."""
        return Origin(self.scheme, self.host, self.port, way)

    @property
    def site(self) -> str:
        """As a URL begins: without the way."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.site} through {self.way}" if self.way else self.site


class Address(NamedTuple):
    """
    An IP address as text; *port* only if discovery named one, else the origin's port is dialled.

    Of an attempt or a connection over a Unix socket, *ip* is the socket's path.
    """

    ip: str
    port: int | None = None

    def __str__(self) -> str:
        if self.port is None:
            return self.ip
        return f"[{self.ip}]:{self.port}" if self.is_ipv6 else f"{self.ip}:{self.port}"

    @property
    def is_ipv6(self) -> bool:
        return ":" in self.ip

    @property
    def family(self) -> socket.AddressFamily:
        return socket.AF_INET6 if self.is_ipv6 else socket.AF_INET

    def at(self, port: int) -> tuple[str, int] | tuple[str, int, int, int]:
        """
        The address as sockets of its family take it, with its own port or else *port*.

        Raises:
            OSError: No interface has its zone's name.
        """
        host, _, zone = self.ip.partition("%")
        if not self.is_ipv6:
            return host, self.port or port
        scope = int(zone) if zone.isdigit() else socket.if_nametoindex(zone) if zone else 0
        return host, self.port or port, 0, scope
