"""
Addresses that must not be dialled, for clients that fetch untrusted URLs.

Rules: the guard checks the address that is about to be dialled, so the name can't be resolved again in between, and
neither a redirect nor an odd spelling of an address gets round it. The table is seawall's own, because
``ipaddress.is_global`` changes with each patch release, and lets some addresses through that lead inside. A name with
one bad address is refused as a whole, because only an attacker mixes them with good ones.

Source: IANA's special-purpose address registries (RFC 6890); of IPv6, only the assigned 2000::/3 is let through.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from ..config.check import shown
from ..errors import AddressNotAllowed
from ..origin import Address, Origin
from .resolver import literal

__all__ = ["Guard"]

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
IP: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

FOUR: Final = {
    "0.0.0.0/8": "this host",
    "10.0.0.0/8": "private",
    "100.64.0.0/10": "carrier-grade NAT, and Alibaba's metadata",
    "127.0.0.0/8": "loopback",
    "168.63.129.16/32": "Azure's host",
    "169.254.0.0/16": "link-local, and the clouds' metadata",
    "172.16.0.0/12": "private",
    "192.0.0.0/24": "special, and Oracle's metadata",
    "192.0.2.0/24": "documentation",
    "192.88.99.0/24": "6to4 relay",
    "192.168.0.0/16": "private",
    "198.18.0.0/15": "benchmarking",
    "198.51.100.0/24": "documentation",
    "203.0.113.0/24": "documentation",
    "224.0.0.0/4": "multicast",
    "240.0.0.0/4": "reserved, broadcast",
}
SIX: Final = {
    "2001::/23": "special: Teredo, ORCHID and others",
    "2001:db8::/32": "documentation",
    "2002::/16": "6to4: an IPv4 address within",
    "3fff::/20": "documentation",
}
NUMBER: Final = re.compile(r"(?:^|\.)(?:[0-9]+|0x[0-9a-f]*)$")
"""The end of a host that is an IPv4 address or nothing. Source: WHATWG URL, "ends in a number checker"."""

OWN: Final = {
    "localhost": "127.0.0.1",
    "localhost.localdomain": "127.0.0.1",
    "localhost4": "127.0.0.1",
    "localhost4.localdomain4": "127.0.0.1",
    "localhost6": "::1",
    "localhost6.localdomain6": "::1",
    "loopback": "127.0.0.1",
    "ip6-localhost": "::1",
    "ip6-loopback": "::1",
    "ip6-localnet": "fe00::",
    "ip6-mcastprefix": "ff00::",
    "ip6-allnodes": "ff02::1",
    "ip6-allrouters": "ff02::2",
    "broadcasthost": "255.255.255.255",
}
"""Names that a machine has for itself. Source: /etc/hosts of Debian, Fedora, Solaris and macOS, as installed."""

TABLE: Final = {  # by version; numbers, because they compare fast and a name may have thousands of addresses
    version: tuple(
        (int(network.netmask), int(network.network_address), what)
        for network, what in ((ipaddress.ip_network(text), what) for text, what in table.items())
    )
    for version, table in ((4, FOUR), (6, SIX))
}
ASSIGNED: Final = ipaddress.ip_network("2000::/3")
NAT64: Final = ipaddress.ip_network("64:ff9b::/96")  # RFC 6052; the addresses that DNS64 gives good names


@dataclass(frozen=True, slots=True)
class Guard:
    """
    Lets a client dial public addresses only: ``seawall.AsyncClient(guard=seawall.Guard())``.

    Private, loopback, link-local, metadata, multicast and reserved addresses, and IPv6 forms of them (mapped, NAT64,
    6to4, Teredo), raise `AddressNotAllowed`. A guard doesn't see what a proxy or another transport dials, so a client
    can't have both, unless you trust the proxy. If your network has a NAT64 prefix of its own, deny that.

    Args:
        allow: Addresses or networks to let through as well, such as "10.1.2.0/24".
        deny: Addresses or networks to refuse as well, even where *allow* has them.
        trust_proxy: A proxy resolves the names, and refuses those that lead inside; the guard then checks only hosts
            that are addresses themselves, and names that a machine has for itself, such as "localhost" and
            "ip6-localhost". The proxy's own address isn't checked in either case.
    Raises:
        ValueError, TypeError: An item isn't an address or a network.
    """

    allow: Sequence[str] = ()
    deny: Sequence[str] = ()
    trust_proxy: bool = False
    _allow: tuple[Network, ...] = field(init=False, repr=False, compare=False)
    _deny: tuple[Network, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.trust_proxy, bool):
            raise TypeError(f"Guard.trust_proxy must be True or False, not {shown(self.trust_proxy)}")
        for name in ("allow", "deny"):
            given = getattr(self, name)
            if isinstance(given, str) or not isinstance(given, Iterable):
                raise TypeError(f"Guard.{name} must be a list of addresses or networks, not {shown(given)}")
            networks = tuple(_network(name, each) for each in given)
            object.__setattr__(self, name, tuple(map(str, networks)))
            object.__setattr__(self, f"_{name}", networks)

    def check(self, origin: Origin, addresses: Iterable[Address]) -> None:
        """
        Raises:
            AddressNotAllowed: One of *addresses* must not be dialled.
        """
        for address in self.refused(addresses):
            raise AddressNotAllowed(
                f"{origin}: {address.ip} must not be dialled: {self.refusal(address.ip)} "
                "(seawall.Guard; allow= lets it through)",
                origin=origin,
            )

    def check_host(self, origin: Origin) -> None:
        """
        Check a host whose name a trusted proxy resolves.

        A host that is neither a name nor an address for us is refused, whatever *allow* has: a proxy may differ.

        Raises:
            AddressNotAllowed: It is an address that must not be dialled, however it is spelt, or the machine itself.
        """
        host = origin.host.lower().rstrip(".")
        if (known := literal(host)) is not None:
            self.check(origin, known.addresses)
        elif (own := "127.0.0.1" if host.endswith(".localhost") else OWN.get(host)) is not None:
            self.check(origin, (Address(own),))
        elif "%" in host or NUMBER.search(host):
            raise AddressNotAllowed(
                f"{origin}: the host isn't a name, and a proxy may take it for an address that must not be dialled "
                "(seawall.Guard)",
                origin=origin,
            )

    def refused(self, addresses: Iterable[Address]) -> tuple[Address, ...]:
        """The first of *addresses* that must not be dialled; else nothing."""
        return next(((address,) for address in addresses if self.refusal(address.ip) is not None), ())

    def refusal(self, ip: str) -> str | None:
        """Why an address must not be dialled; None where it may be."""
        try:
            address = ipaddress.ip_address(ip.partition("%")[0])
        except ValueError:
            return "it isn't an address"
        within = _within(address)
        if any(_is_in(each, self._deny) for each in (address, within, _meant(address))):
            return "Guard.deny has it"
        return None if _is_in(address, self._allow) or _is_in(within, self._allow) else _refusal(address)


def _within(address: IP) -> IP:
    """The IPv4 address that a NAT64 address stands for; any other address as it is."""
    is_nat64 = address.version == 6 and address in NAT64
    return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF) if is_nat64 else address


def _meant(address: IP) -> IP:
    """The IPv4 address that an IPv6 form of it leads to where such forms are allowed; any other address as it is."""
    return (address.ipv4_mapped or address.sixtofour or address) if address.version == 6 else address


def _refusal(address: IP) -> str | None:
    if (within := _within(address)) is not address:
        what = _refusal(within)
        return None if what is None else f"NAT64 of an address that is {what}"
    if address.version == 6 and address not in ASSIGNED:
        return "not a public IPv6 address"
    number = int(address)
    return next((what for mask, network, what in TABLE[address.version] if number & mask == network), None)


def _is_in(address: IP, networks: Iterable[Network]) -> bool:
    return any(address in network for network in networks)


def _network(name: str, given: object) -> Network:
    what = f'Guard.{name} must hold addresses or networks such as "10.1.2.0/24", not {shown(given)}'
    if not isinstance(given, str | Network | IP):
        raise TypeError(what)
    try:
        return ipaddress.ip_network(given)
    except ValueError as error:
        raise ValueError(f"{what}: {error}") from None
