"""RFC 6724's rules, one by one; tests/wire/test_precedence.py compares them with getaddrinfo."""

from __future__ import annotations

from random import Random

import pytest

from seawall.dns.gai_conf import GLIBC, RFC6724, Table, as_number, parse
from seawall.dns.precedence import MAX_ASKED, Group, Precedence, Source, sort
from seawall.dns.resolver import Answer, Rank
from seawall.origin import Address, Origin
from seawall.policy.ejection import Ejections
from seawall.wire.addresses import Addresses

ORIGIN = Origin("http", "two.test", 80)


def source(ip: str, **flags) -> Source:
    number = as_number(ip)
    assert number is not None
    return Source(number, **flags)


def sorted_by(sources: dict[str, Source | None], table: Table = GLIBC) -> list[list[str]]:
    """Groups of IPs."""
    groups = sort([Address(ip) for ip in sources], source_of=lambda address: sources[address.ip], table=table)
    return [[address.ip for address in group.addresses] for group in groups]


MINE = source("2001:db8::9", prefix=64)
FOUR = source("198.51.100.9", prefix=24)


@pytest.mark.parametrize(
    ("rule", "better", "worse"),
    [
        (1, ("10.0.0.1", FOUR), ("2600::1", None)),
        (2, ("2600::1", MINE), ("fe80::1", MINE)),
        (2, ("10.0.0.1", FOUR), ("2600::1", source("fe80::9"))),
        (3, ("2600::1", MINE), ("2600::2", MINE._replace(is_deprecated=True))),
        (4, ("2600::1", MINE._replace(is_home=True)), ("2600::2", MINE)),
        (5, ("10.0.0.1", FOUR), ("2600::1", source("fd00::9"))),
        (5, ("2002::1", source("2002::9")), ("2600::1", source("2002::9"))),
        (6, ("2600::1", MINE), ("10.0.0.1", FOUR)),
        (6, ("2600::1", MINE), ("2002::1", source("2002::9"))),
        (7, ("2600::1", MINE), ("2600::2", MINE._replace(is_native=False))),
        (8, ("fe80::1", source("fe80::9")), ("2600::1", MINE)),
        (8, ("127.0.0.1", source("127.0.0.1")), ("10.0.0.1", FOUR)),
    ],
)
def test_rules(rule, better, worse):
    """Whatever their order was; each makes groups of its own."""
    assert sorted_by(dict([better, worse])) == sorted_by(dict([worse, better])) == [[better[0]], [worse[0]]], rule


def test_rule_nine_within_a_group():
    """Of IPv6 always; of IPv4 within our own subnet, as glibc; it orders a group and doesn't split it."""
    six = {"2600::1": MINE, "2001:db8:0:1::1": MINE, "2001:db8::1": MINE, "2001:db9::1": MINE}
    assert sorted_by(six) == [["2001:db8::1", "2001:db8:0:1::1", "2001:db9::1", "2600::1"]]
    near, far = "198.51.100.8", "198.51.100.200"
    four = {"198.51.101.9": FOUR, "1.1.1.1": FOUR, far: FOUR, near: FOUR}
    assert sorted_by(four) == [[near, far, "198.51.101.9", "1.1.1.1"]]
    assert sorted_by({far: FOUR._replace(prefix=0), near: FOUR._replace(prefix=0)}) == [[far, near]]


def test_rule_ten():
    """What nothing tells apart stays as it came; families that rank alike too, each in its own order."""
    assert sorted_by({"10.0.0.2": FOUR, "10.0.0.1": FOUR, "10.0.0.3": FOUR}) == [["10.0.0.2", "10.0.0.1", "10.0.0.3"]]
    alike = parse(b"precedence ::/0 40\n")
    mixed = {"10.0.0.2": FOUR, "2600::1": MINE, "198.51.100.8": FOUR, "2001:db8::1": MINE}
    assert sorted_by(mixed, alike) == [["198.51.100.8", "2001:db8::1", "10.0.0.2", "2600::1"]]


def test_tables_decide():
    """A unique local IPv6 address goes before IPv4 by glibc's table, and after it by the RFC's."""
    both = {"10.0.0.1": FOUR, "fd00::1": source("fd00::9")}
    assert sorted_by(both) == [["fd00::1"], ["10.0.0.1"]]
    assert sorted_by(both, RFC6724) == [["10.0.0.1"], ["fd00::1"]]
    assert sorted_by({"2600::1": MINE, "10.0.0.1": FOUR}, parse(b"precedence ::ffff:0:0/96 100")) == [
        ["10.0.0.1"],
        ["2600::1"],
    ]


def test_unreachable_ones_are_ranked_too():
    """By precedence and scope; what is no usual form of an address is last, and nobody is asked about it."""
    none = dict.fromkeys(("10.0.0.1", "2600::1", "fec0::1"))
    groups = sorted_by({"127.1": None, **none, "10.0.0.2": FOUR})
    assert groups == [["10.0.0.2"], ["fec0::1"], ["2600::1"], ["10.0.0.1"], ["127.1"]]
    one, two = Address("10.0.0.1"), Address("10.0.0.2")
    found = sort([one, two], source_of=lambda address: FOUR if address is two else None, table=GLIBC)
    assert found == (Group((two,), is_reachable=True), Group((one,), is_reachable=False))


def test_thousands_of_addresses():
    """The sources of so many of each family are asked for; their neighbours rank as they do, and nobody is lost."""
    asked: list[Address] = []

    def source_of(address: Address) -> Source | None:
        asked.append(address)
        return FOUR if "." in address.ip else None

    many = [Address(f"10.0.{number // 250}.{number % 250}") for number in range(1000)]
    many += [Address(f"2600::{number:x}") for number in range(1000)] + [Address("::1")]
    four, six = sort(many, source_of=source_of, table=GLIBC)
    assert len(asked) <= 2 * MAX_ASKED
    assert (four.is_reachable, four.addresses) == (True, tuple(many[:1000]))
    assert (six.is_reachable, six.addresses) == (False, tuple(many[1000:]))
    asked.clear()
    sort(many[:MAX_ASKED], source_of=source_of, table=GLIBC)
    assert asked == many[:MAX_ASKED]


def test_answers():
    """In getaddrinfo's order; one that has ranks keeps its own, and for a single address no source is asked for."""
    asked = []

    def source_of(address: Address) -> Source | None:
        asked.append(address)
        return MINE if address.is_ipv6 else FOUR

    precedence = Precedence(GLIBC, source_of)
    four, six = Address("10.0.0.1"), Address("2600::1", 8080)
    single, ranked = Answer((four,), None, "dns"), Answer((four, six), None, "srv", (Rank(1, 1, 0), Rank(2, 1, 1)))
    ejections = Ejections(now=lambda: 0.0, rng=Random(1))
    known = Addresses(now=lambda: 0.0, rng=Random(1), ejections=ejections, precedence=precedence)
    assert known.order(ORIGIN, single, ()) == [four]
    assert asked == []
    assert known.order(ORIGIN, ranked, ()) == [four, six]
    asked.clear()
    assert known.order(ORIGIN, Answer((four, six), 5.0, "dns"), ()) == [six, four]
    assert asked == [four, six]
