"""
The machine's own address for a destination: a connected UDP socket knows it, and sends nothing.

More facts about that address (its subnet, whether it is deprecated, its interface) come from the kernel by rtnetlink,
on Linux. Elsewhere, and where a sandbox forbids it, the rules that need them don't decide. Nor do they on a machine
whose only IPv6 address is ::1, because glibc doesn't ask for the addresses there.

Source: rtnetlink(7); glibc 2.36, sysdeps/unix/sysv/linux/check_pf.c and check_native.c.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple

from ..origin import Address
from .gai_conf import MAPPED, as_number
from .precedence import Source

__all__ = ["Sources"]

KNOWN_FOR = 1.0  # seconds, because a machine may have thousands of addresses, and a client many names
DISCARD = 9  # the most harmless port, although nothing is sent

RTM_NEWADDR, RTM_GETADDR = 20, 22
NLM_F_REQUEST_DUMP = 0x301
NLMSG_ERROR, NLMSG_DONE = 2, 3
IFA_ADDRESS, IFA_LOCAL = 1, 2
IFA_F_OPTIMISTIC, IFA_F_HOMEADDRESS, IFA_F_DEPRECATED = 0x04, 0x10, 0x20
TUNNELS = ("768", "769", "776")  # ARPHRD_TUNNEL, ARPHRD_TUNNEL6, ARPHRD_SIT


class _Own(NamedTuple):
    """One of the machine's addresses."""

    prefix: int
    flags: int
    interface: int


class Sources:
    """Finds the source address for a destination."""

    def __init__(self, *, now: Callable[[], float]) -> None:
        self._now = now
        self._own: dict[int, _Own] = {}
        self._tunnels: dict[int, bool] = {}
        self._until = float("-inf")

    def __call__(self, address: Address) -> Source | None:
        """The source address that would be used; None where there is no route."""
        found = _source(address)
        if found is None:
            return None
        if self._now() >= self._until:
            self._own, self._tunnels, self._until = _addresses(), {}, self._now() + KNOWN_FOR
        own = self._own.get(found)
        if own is None:
            return Source(found, is_native=not self._own)  # in glibc, an unknown one isn't better than a tunnel
        return Source(
            found,
            own.prefix,
            is_deprecated=bool(own.flags & (IFA_F_DEPRECATED | IFA_F_OPTIMISTIC)),
            is_home=bool(own.flags & IFA_F_HOMEADDRESS),
            is_native=not self._is_tunnel(own.interface),
        )

    def _is_tunnel(self, interface: int) -> bool:
        if (known := self._tunnels.get(interface)) is None:
            known = self._tunnels[interface] = _is_tunnel(interface)
        return known


def _source(address: Address) -> int | None:
    try:
        with socket.socket(address.family, socket.SOCK_DGRAM) as sock:
            sock.connect(Address(address.ip).at(DISCARD))
            return as_number(sock.getsockname()[0])
    except OSError:
        return None


def _addresses() -> dict[int, _Own]:
    """The machine's addresses; none where the kernel doesn't tell, or the only IPv6 address is ::1."""
    found: dict[int, _Own] = {}
    try:
        for message in _dumped():
            family, prefix, flags, _, interface = struct.unpack_from("=BBBBi", message)
            if family not in (socket.AF_INET, socket.AF_INET6):
                continue
            own = dict(_attributes(message, 8))
            packed = own.get(IFA_LOCAL, own.get(IFA_ADDRESS, b""))
            mapped = MAPPED if family == socket.AF_INET else 0
            found[mapped | int.from_bytes(packed)] = _Own(prefix, flags, interface)
    except (AttributeError, OSError, struct.error):
        return {}
    return found if any(number >> 32 != 0xFFFF and number != 1 for number in found) else {}


def _dumped() -> Iterator[bytes]:
    """The kernel's messages about addresses, without their headers."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as sock:
        sock.setblocking(False)  # the kernel has answered once it has taken the question
        sock.send(struct.pack("=IHHIIB3x", 20, RTM_GETADDR, NLM_F_REQUEST_DUMP, 1, 0, socket.AF_UNSPEC))
        while True:
            data = sock.recv(1 << 16)
            at = 0
            while at < len(data):
                length, kind = struct.unpack_from("=IH", data, at)
                if kind in (NLMSG_DONE, NLMSG_ERROR) or length < 16:
                    return
                if kind == RTM_NEWADDR:
                    yield data[at + 16 : at + length]
                at += length + 3 & ~3


def _attributes(message: bytes, at: int) -> Iterator[tuple[int, bytes]]:
    while at + 4 <= len(message):
        length, kind = struct.unpack_from("=HH", message, at)
        if length < 4:
            return
        yield kind, message[at + 4 : at + length]
        at += length + 3 & ~3


def _is_tunnel(interface: int) -> bool:
    try:
        with open(f"/sys/class/net/{socket.if_indextoname(interface)}/type") as file:
            return file.read().strip() in TUNNELS
    except OSError:
        return False
