"""
Which of a name's addresses to prefer: RFC 6724's destination address selection, as glibc's getaddrinfo does it.

Rules: pure; *source_of* gives the source address that the machine would use for a destination. Addresses that rules 1
to 8 don't tell apart are a group, within which dials take turns: the RFC lets rules 9 and 10 give way to better
knowledge, and the number of dials in flight to each address is better knowledge than the number of bits that it shares
with the machine's own. So rule 9 (longest prefix) orders a group and doesn't split it, because by it alone all load
would go to one of several servers in a subnet. For IPv4 glibc heeds it within the machine's own subnet only, because
elsewhere IPv4 prefixes say nothing about distance.

Source: RFC 6724 section 6; glibc 2.36, sysdeps/posix/getaddrinfo.c.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

from ..origin import Address
from .gai_conf import Table, as_number

__all__ = ["MAX_ASKED", "Group", "Precedence", "Source", "sort"]

MAX_ASKED = 64  # of each family, because to find a source takes some 10 µs; the others rank as their neighbours


class Source(NamedTuple):
    """
    The machine's own address that packets to a destination would carry.

    Attributes:
        number: The address as a 128-bit number, IPv4 mapped.
        prefix: The number of bits of its subnet; 0 where that isn't known.
        is_deprecated: Its preferred lifetime is over, or nobody has checked yet that it is unique.
        is_home: It is a Mobile IPv6 home address.
        is_native: Its interface is not a tunnel.
    """

    number: int
    prefix: int = 0
    is_deprecated: bool = False
    is_home: bool = False
    is_native: bool = True


class Group(NamedTuple):
    """
    Addresses that are as good as each other, in the order in which getaddrinfo would give them.

    Attributes:
        is_reachable: The machine has a source address for them, so there is a route.
    """

    addresses: tuple[Address, ...]
    is_reachable: bool


SourceOf: TypeAlias = Callable[[Address], Source | None]
_Key: TypeAlias = tuple[int, ...]


class Precedence:
    """This machine's preferences, by which clients order addresses."""

    def __init__(self, table: Table, source_of: SourceOf) -> None:
        self._table = table
        self._source_of = source_of

    def sort(self, addresses: Sequence[Address]) -> tuple[Group, ...]:
        """See `sort`."""
        return sort(addresses, source_of=self._source_of, table=self._table)


def sort(addresses: Sequence[Address], *, source_of: SourceOf, table: Table) -> tuple[Group, ...]:
    """
    *addresses* in groups, the best first.

    In a family with more than `MAX_ASKED` addresses that many are judged, at equal distances, and each of the others
    ranks as the last judged one before it, so a name with thousands costs a few milliseconds at most.
    """
    found: dict[_Key, list[tuple[int, list[Address]]]] = {}  # neighbours, and the bits that they share with us
    for is_ipv6 in (False, True):
        family = [each for each in addresses if each.is_ipv6 == is_ipv6]
        step = -(-len(family) // MAX_ASKED)
        for start in range(0, len(family), step or 1):
            key, shared = _judged(family[start], source_of, table)
            found.setdefault(key, []).append((shared, family[start : start + step]))
    groups = []
    for key in sorted(found):
        parts = sorted(found[key], key=lambda part: -part[0])  # rule 9; equal ones keep their order, which is rule 10
        members = [address for _, part in parts for address in part]
        if len({part[0].is_ipv6 for _, part in parts}) == 2:
            members = _as_they_came(members, addresses)
        groups.append(Group(tuple(members), is_reachable=key[0] == 0))
    return tuple(groups)


def _as_they_came(members: list[Address], addresses: Sequence[Address]) -> list[Address]:
    """Each family in its new order, in the places it had, because rule 9 compares addresses of one family only."""
    wanted = frozenset(members)
    families = {is_ipv6: iter([each for each in members if each.is_ipv6 == is_ipv6]) for is_ipv6 in (False, True)}
    return [next(families[each.is_ipv6], each) for each in addresses if each in wanted]


def _judged(address: Address, source_of: SourceOf, table: Table) -> tuple[_Key, int]:
    """Rules 1 to 8 as a key, the lower the better; and, for rule 9, the number of bits shared with the source."""
    destination = as_number(address.ip)
    if destination is None:
        return (1, 0, 0, 0, 0, 0, 0, 15), 0
    source = source_of(address)
    scope, precedence = table.scope(destination), table.precedence(destination)
    if source is None:
        return (1, 0, 0, 0, 0, -precedence, 0, scope), 0
    key = (
        0,
        scope != table.scope(source.number),
        source.is_deprecated,
        not source.is_home,
        table.label(destination) != table.label(source.number),
        -precedence,
        not source.is_native,
        scope,
    )
    differing = (destination ^ source.number).bit_length()
    if not address.is_ipv6 and differing > (32 - source.prefix if source.prefix else 0):
        return key, 0
    return key, 128 - differing
