"""Addresses that must not be dialled, and good ones."""

from __future__ import annotations

import pytest

import seawall.testing
from seawall import Guard, Origin
from seawall.dns import Address

ORIGIN = Origin("http", "hook.test", 80)

BAD = {
    "private": ["10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "fc00::1", "fec0::1"],
    "loopback": ["127.0.0.1", "127.255.255.254", "0.0.0.0", "0.1.2.3", "::", "::1"],
    "link-local": ["169.254.1.1", "fe80::1", "fe80::1%lo"],
    "metadata": ["169.254.169.254", "100.100.100.200", "192.0.0.192", "168.63.129.16", "fd00:ec2::254"],
    "shared or special": ["100.64.0.1", "192.0.0.1", "192.88.99.1", "198.18.0.1", "2001::1", "100::1", "5f00::1"],
    "documentation": ["192.0.2.1", "198.51.100.1", "203.0.113.1", "2001:db8::1", "3fff::1"],
    "multicast or reserved": ["224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255", "ff02::1", "4000::1"],
    "mapped or compatible": ["::ffff:127.0.0.1", "::ffff:100.64.0.1", "::ffff:8.8.8.8", "::ffff:0:7f00:1"],
    "NAT64 or 6to4": ["64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "2002:7f00:1::", "2002:808:808::1"],
    "no address": ["nonsense"],
}
GOOD = ["8.8.8.8", "1.1.1.1", "172.15.255.255", "172.32.0.1", "100.63.255.255", "198.17.0.1", "223.255.255.255"]
GOOD += ["2606:4700:4700::1111", "2a00:1450:4001::1", "2003::1", "64:ff9b::808:808"]


@pytest.mark.parametrize("ip", [ip for ips in BAD.values() for ip in ips])
def test_refuses(ip):
    """Loopback, private, metadata, special, multicast, reserved; in each of IPv6's disguises too."""
    assert Guard().refusal(ip)
    with pytest.raises(seawall.errors.AddressNotAllowed, match=r"hook\.test.*must not be dialled"):
        Guard().check(ORIGIN, [Address("8.8.8.8"), Address(ip)])


@pytest.mark.parametrize("ip", GOOD)
def test_lets_through(ip):
    """Public ones, NAT64 of public ones, and the neighbours of what is refused."""
    assert Guard().refusal(ip) is None
    Guard().check(ORIGIN, [Address(ip)])


def test_lists():
    """What is denied is bad even where it is allowed, and what is allowed is good whatever the table says."""
    guard = Guard(allow=["10.1.0.0/16", "::1"], deny=["10.1.2.0/24", "8.8.8.8"])
    assert guard.refusal("10.1.9.9") is None
    assert guard.refusal("::1") is None
    assert guard.refusal("10.1.2.3") == guard.refusal("8.8.8.8") == "Guard.deny has it"
    assert guard.refusal("10.2.0.1") == "private"
    assert guard.refusal("64:ff9b::808:808") == "Guard.deny has it"  # NAT64 of 8.8.8.8
    assert guard.refusal("64:ff9b::a01:909") is None


def test_denied_address_is_denied_in_each_form():
    """Though IPv6 is allowed, as which a machine dials IPv4 addresses too."""
    guard = Guard(allow=["::/0"], deny=["10.0.0.0/8"])
    for ip in ("10.1.1.1", "::ffff:10.1.1.1", "::ffff:10.1.1.1%lo", "64:ff9b::a01:101", "2002:a01:101::1"):
        assert guard.refusal(ip) == "Guard.deny has it"
    assert guard.refusal("::ffff:11.1.1.1") is guard.refusal("2002:b01:101::1") is None


SPELLINGS = [
    "127.0.0.1",
    "127.0.0.1.",
    "127.0.0.1..",
    "0x7f.1.",
    "0X7F.1",
    "2130706433.",
    "0177.0.0.1.",
    "::1",
    "::1%lo",
]
SPELLINGS += ["::ffff:169.254.169.254", "169.254.169.254.", "localhost", "localhost.", "localhost..", "a.LOCALHOST."]
SPELLINGS += ["ip6-localhost", "IP6-Loopback.", "localhost6", "localhost.localdomain", "loopback", "broadcasthost"]
SPELLINGS += ["%31%32%37.0.0.1", "127.0.0.1%2e", "127.1%20", "loc%61lhost", "127.0.0.1%00.x.test"]  # if it decodes
SPELLINGS += [
    "4294967297",
    "0x100000001",
    "127.0.0.257",
    "0.127.0.0.1",
    "0x.0x.0x.0x",
    "0189.1",
    "a.test.1",
]  # leniently


@pytest.mark.parametrize("host", SPELLINGS)
def test_hosts_for_a_proxy(host):
    """However an address is spelt that a proxy may take it for, the proxy isn't asked."""
    with pytest.raises(seawall.errors.AddressNotAllowed):
        Guard(trust_proxy=True).check_host(Origin("http", host, 80))


@pytest.mark.parametrize(
    "host", ["hook.test", "hook.test.", "8.8.8.8", "8.8.8.8.", "134744072.", "1.test", "0x7f.test", "x0x7f"]
)
def test_good_hosts_for_a_proxy(host):
    Guard(trust_proxy=True).check_host(Origin("http", host, 80))


def test_allowed_hosts_for_a_proxy():
    guard = Guard(trust_proxy=True, allow=["127.0.0.0/8", "::1"])
    for host in ("127.0.0.1.", "0x7f.1.", "localhost.", "ip6-localhost"):
        guard.check_host(Origin("http", host, 80))


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"allow": "10.0.0.0/8"}, TypeError),
        ({"deny": 5}, TypeError),
        ({"allow": ["localhost"]}, ValueError),
        ({"deny": ["10.0.0.1/8"]}, ValueError),
        ({"deny": ["300.0.0.1"]}, ValueError),
    ],
)
def test_bad_lists(arguments, error):
    """Named at once."""
    with pytest.raises(error, match=r"Guard\.(allow|deny)"):
        Guard(**arguments)


@pytest.mark.parametrize("arguments", [{"proxy": "http://127.0.0.1:1"}, {"transport": seawall.testing.ScriptedWire()}])
def test_not_with_what_it_cannot_see(arguments):
    """A proxy or another transport dials by itself."""
    with pytest.raises(ValueError, match="can't see"):
        seawall.AsyncClient(guard=Guard(), **arguments)
    with pytest.raises(TypeError, match=r"seawall\.Guard"):
        seawall.AsyncClient(guard=True)
