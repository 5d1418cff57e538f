"""Sockets as a route wants them: which addresses they can be connected to, and their options."""

from __future__ import annotations

import asyncio
import errno
import socket
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Final

from ..dns.resolver import ADVICE, SHORTAGES
from ..errors import DialError, NoAddress
from ..origin import Address, Origin
from ..route import Route
from .race import reason
from .trace import Trace, traced

__all__ = ["bind", "family_of", "made", "to_unix", "unbindable"]

IP_BIND_ADDRESS_NO_PORT: Final = 24  # of Linux, which Python names from 3.12 on

FIRST_PAUSE: Final = 0.005  # s before a Unix socket whose backlog is full is asked again; it doubles each time
LONGEST_PAUSE: Final = 0.1  # s; what a server that takes a connection again is noticed within


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


def bind(sock: socket.socket, route: Route) -> None:
    """
    Bind *sock* to the local address of *route*, if that has one.

    Linux chooses the port only when the socket connects, because a port that is chosen before can't be any other
    connection's, whatever its peer. Source: ip(7), IP_BIND_ADDRESS_NO_PORT.

    Raises:
        OSError: The address isn't this machine's; elsewhere than on Linux also if no port is left.
    """
    if route.local_address is not None:
        if sys.platform == "linux":
            with suppress(OSError):  # an emulated Linux may not know it
                sock.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        sock.bind(Address(route.local_address).at(0))


def family_of(route: Route) -> socket.AddressFamily | None:
    """The only one that sockets with the local address of *route* can be connected to; None if it has none."""
    return None if route.local_address is None else Address(route.local_address).family


def unbindable(peer: Origin, route: Route) -> NoAddress:
    """The error where no address of *peer* is of that family, for which the peer isn't to blame."""
    kind = "IPv6" if family_of(route) == socket.AF_INET6 else "IPv4"
    return NoAddress(f"{peer}: has no {kind} address, and local_address={route.local_address!r} is an {kind} one")


async def to_unix(
    origin: Origin,
    route: Route,
    trace: Trace | None,
    with_descriptor: Callable[[Callable[[], socket.socket]], Awaitable[socket.socket]],
) -> socket.socket:
    """
    A socket that is connected to the Unix socket of *route*. The caller limits the time.

    Args:
        with_descriptor: Makes a socket, and where no descriptor is left for it gives up idle connections.
    **Cancellation:** it is closed.

    Raises:
        DialError: It can't be made, there is no Unix socket, or nobody listens.
    """
    assert route.uds is not None
    sock: socket.socket | None = None
    try:
        sock = await with_descriptor(lambda: made(socket.AF_UNIX, route))
        await traced(trace, partial(connect_unix, sock, route.uds), "connect_unix_socket", path=route.uds)
    except BaseException as error:
        if sock is not None:
            sock.close()
        if isinstance(error, OSError):
            is_shortage = error.errno in SHORTAGES
            text = f"{origin}: can't connect to the Unix socket {route.uds!r}: {reason(error)}"
            text += f", and no connection is idle: {ADVICE}" if is_shortage else ""
            raise DialError(text, origin=origin, is_shortage=is_shortage) from error
        raise
    return sock


async def connect_unix(sock: socket.socket, path: str) -> None:
    """
    Connect *sock* to the Unix socket at *path*; while its backlog is full, wait. The caller limits the time.

    asyncio's `sock_connect` would take a full backlog for a connection that is being made, and the request would be
    written to a socket that has no peer. Source: connect(2), EAGAIN.

    Raises:
        OSError: There is none, or nobody listens.
    """
    pause = FIRST_PAUSE
    while True:
        try:
            sock.connect(path)
        except BlockingIOError as error:
            if error.errno != errno.EAGAIN:  # systems other than Linux may need a while
                return await asyncio.get_running_loop().sock_connect(sock, path)
        else:
            return None
        await asyncio.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)
