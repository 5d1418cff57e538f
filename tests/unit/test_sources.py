"""The machine's own address for a destination, as the kernel says."""

from __future__ import annotations

import socket
import struct

import pytest

from seawall.dns import sources
from seawall.dns.gai_conf import as_number
from seawall.dns.sources import KNOWN_FOR, Sources
from seawall.origin import Address

from .noted import At

LOOPBACK = as_number("127.0.0.1")


@pytest.fixture
def clock() -> At:
    return At()


def test_loopback(clock):
    """127.0.0.1 for all of it; the port doesn't matter."""
    for address in (Address("127.0.0.1"), Address("127.8.8.8", 1)):
        found = Sources(now=clock)(address)
        assert found is not None
        assert (found.number, found.is_deprecated, found.is_native) == (LOOPBACK, False, True)


@pytest.mark.parametrize("ip", ["fe80::1%nowhere9", "fe80::1", "255.255.255.255", "not an address"])
def test_none(ip, clock):
    """Where the kernel wouldn't send, and where there is no such zone."""
    assert Sources(now=clock)(Address(ip)) is None


def test_no_descriptor(monkeypatch, clock):
    """None: all addresses are then alike."""

    def none(*_):
        raise OSError(24, "too many open files")

    monkeypatch.setattr(socket, "socket", none)
    assert Sources(now=clock)(Address("127.0.0.1")) is None


def test_kernel_that_tells_nothing(monkeypatch, clock):
    """A sandbox, or not Linux: the source is known, and what it is like is not."""
    monkeypatch.delattr(socket, "AF_NETLINK", raising=False)
    found = Sources(now=clock)(Address("127.0.0.1"))
    assert found is not None
    assert (found.number, found.prefix, found.is_native) == (LOOPBACK, 0, True)


def test_kernel_is_asked_once_a_second(monkeypatch, clock):
    """For all names together."""
    asked = []

    def addresses():
        asked.append(clock.now)
        return {LOOPBACK: sources._Own(12, sources.IFA_F_DEPRECATED | sources.IFA_F_HOMEADDRESS, 1)}

    monkeypatch.setattr(sources, "_addresses", addresses)
    known = Sources(now=clock)
    for clock.now in (0.0, KNOWN_FOR / 2, KNOWN_FOR, KNOWN_FOR * 1.5):
        found = known(Address("127.0.0.1"))
        assert found is not None
        assert (found.prefix, found.is_deprecated, found.is_home) == (12, True, True)
    assert asked == [0.0, KNOWN_FOR]


def test_unknown_source(monkeypatch, clock):
    """Beside others that are known it is no better than a tunnel, as for glibc."""
    monkeypatch.setattr(sources, "_addresses", lambda: {1: sources._Own(128, 0, 1)})
    found = Sources(now=clock)(Address("127.0.0.1"))
    assert found is not None
    assert not found.is_native


def message(family: int, prefix: int, flags: int, interface: int, *attributes: tuple[int, bytes]) -> bytes:
    body = struct.pack("=BBBBi", family, prefix, flags, 0, interface)
    each = (struct.pack("=HH", 4 + len(data), kind) + data for kind, data in attributes)
    return body + b"".join(attribute + bytes(-len(attribute) % 4) for attribute in each)


def test_what_the_kernel_says(monkeypatch):
    """Our own end of a point-to-point link counts, not the other; the rest of the families is skipped."""
    four, peer, six = (socket.inet_aton("10.0.0.1"), socket.inet_aton("10.0.0.2"), as_packed("2001:db8::1"))
    said = [
        message(socket.AF_INET, 24, 0x80, 2, (3, b"some\0"), (1, peer), (2, four)),
        message(socket.AF_INET6, 64, 0x20, 3, (1, six), (6, bytes(16))),
        message(7, 0, 0, 1),
    ]
    monkeypatch.setattr(sources, "_dumped", lambda: said)
    assert sources._addresses() == {
        as_number("10.0.0.1"): (24, 0x80, 2),
        as_number("2001:db8::1"): (64, 0x20, 3),
    }
    said[1] = message(socket.AF_INET6, 128, 0x80, 1, (1, as_packed("::1")))
    assert sources._addresses() == {}  # glibc asks no further where IPv6 is loopback only
    said[1] = b"\1"
    assert sources._addresses() == {}


def as_packed(ip: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6, ip)
