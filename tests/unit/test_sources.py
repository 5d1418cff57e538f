"""The machine's own address for a destination, as the kernel says."""

from __future__ import annotations

import socket

import pytest

from seawall.dns import sources
from seawall.dns.gai_conf import as_number
from seawall.dns.sources import KNOWN_FOR, Sources
from seawall.origin import Address

LOOPBACK = as_number("127.0.0.1")


class At:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> At:
    return At()


def test_loopback(clock):
    """127.0.0.1 for all of it, whose subnet has 8 bits; the port doesn't matter."""
    for address in (Address("127.0.0.1"), Address("127.8.8.8", 1)):
        found = Sources(now=clock)(address)
        assert found is not None
        assert (found.number, found.prefix, found.is_deprecated, found.is_native) == (LOOPBACK, 8, False, True)


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
