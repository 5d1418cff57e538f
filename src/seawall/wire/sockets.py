"""Sockets as a route wants them: which addresses they can be connected to, and their options."""

from __future__ import annotations

import socket

from ..errors import NoAddress
from ..origin import Address, Origin
from ..route import Route

__all__ = ["family_of", "made", "unbindable"]


def made(family: socket.AddressFamily, route: Route) -> socket.socket:
    """
    A socket that doesn't block, with the options of *route*.

    Raises:
        OSError: No descriptor is left, or the system doesn't know an option.
    """
    sock = socket.socket(family, socket.SOCK_STREAM | getattr(socket, "SOCK_CLOEXEC", 0))
    try:
        sock.setblocking(False)
        for option in route.socket_options:
            sock.setsockopt(*option)
    except BaseException:
        sock.close()
        raise
    return sock


def family_of(route: Route) -> socket.AddressFamily | None:
    """The only one that sockets with the local address of *route* can be connected to; None if it has none."""
    return None if route.local_address is None else Address(route.local_address).family


def unbindable(peer: Origin, route: Route) -> NoAddress:
    """The error where no address of *peer* is of that family, which is no fault of its."""
    kind = "IPv6" if family_of(route) == socket.AF_INET6 else "IPv4"
    return NoAddress(f"{peer}: has no {kind} address, and local_address={route.local_address!r} is an {kind} one")
