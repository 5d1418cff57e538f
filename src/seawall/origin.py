"""Where a request goes: an origin (scheme, host, port), and the addresses that its host has."""

from __future__ import annotations

import socket
from typing import NamedTuple, TypeAlias

__all__ = ["Address", "Elsewhere", "Holder", "Origin"]


class Origin(NamedTuple):
    """
    Scheme, host and port: what a bulkhead, a breaker, a budget and a pool are kept for.

    A tuple, so that looking one up in a dict hashes in C.

    Source: RFC 6454 section 4.
    """

    scheme: str
    host: str
    port: int

    @property
    def is_secure(self) -> bool:
        return self.scheme == "https"

    def verified_as(self, name: str) -> Origin:
        """
        What the pool keeps connections under that TLS has verified for another *name* than the host's.

        A space can't be in a host, so no request goes there of itself.
        """
        return self._replace(host=f"{self.host} as {name}")

    @property
    def server_name(self) -> str:
        """The host as its certificate has it: without the final dot, and without a zone, which others do not know."""
        return self.host.partition("%")[0].removesuffix(".")

    @property
    def authority(self) -> str:
        """What CONNECT asks for. Source: RFC 9112 section 3.2.3; RFC 6874 section 4 for the zone."""
        host = self.host.partition("%")[0]
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


class Elsewhere(NamedTuple):
    """An origin behind another transport: its slots stand for connections of that one, and it can use none of ours."""

    origin: Origin

    def __str__(self) -> str:
        return str(self.origin)


Holder: TypeAlias = Origin | Elsewhere
"""Whom a slot of the client-wide cap is counted for."""


class Address(NamedTuple):
    """An IP address as text; *port* only if discovery named one (else the origin's port is dialled)."""

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
        As sockets of its family take it, with its own port or else *port*.

        Raises:
            OSError: There is no interface of its zone's name.
        """
        host, _, zone = self.ip.partition("%")
        if not self.is_ipv6:
            return host, self.port or port
        scope = int(zone) if zone.isdigit() else socket.if_nametoindex(zone) if zone else 0
        return host, self.port or port, 0, scope
