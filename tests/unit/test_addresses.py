"""The order in which a name's addresses are dialled."""

from __future__ import annotations

import gc

import pytest

from seawall.dns.gai_conf import GLIBC, as_number
from seawall.dns.precedence import Precedence, Source
from seawall.dns.resolver import Answer
from seawall.origin import Address, Origin
from seawall.policy.ejection import Ejections
from seawall.testing import FixedRandom
from seawall.wire.addresses import BAD_FOR, LOOKED_AT, MAX_KNOWN, Addresses, Load

from .noted import At

ORIGIN = Origin("http", "many.test", 80)
A, B, C, SIX, SEVEN = (Address(ip) for ip in ("192.0.2.1", "192.0.2.2", "192.0.2.3", "2001:db8::1", "2001:db8::2"))
OWN = {True: Source(as_number("2001:db8::9")), False: Source(as_number("198.51.100.9"))}
HERE = Precedence(GLIBC, lambda address: OWN[address.is_ipv6])  # a machine with both families


@pytest.fixture
def clock() -> At:
    return At()


@pytest.fixture
def known(clock) -> Addresses:
    rng = FixedRandom(0.0)
    return Addresses(now=clock, rng=rng, ejections=Ejections(now=clock, rng=rng), precedence=HERE)


def order(known: Addresses, *addresses: Address, avoid: tuple[Address, ...] = ()) -> list[Address]:
    return known.order(ORIGIN, Answer(addresses, None, "dns"), avoid)


def load(known: Addresses, address: Address, in_flight: int) -> Load:
    found = known.load(ORIGIN, address)
    found.in_flight = in_flight
    return found


def test_turns_where_nothing_is_known(known):
    """Each dial begins one further on."""
    assert [order(known, A, B, C)[0] for _ in range(4)] == [A, B, C, A]


def test_least_is_first(known):
    """The one to which least is under way; among equals, whose turn it is. It changes places with that one."""
    order(known, A, B, C)
    held = [load(known, A, 2), load(known, B, 1), load(known, C, 3)]
    assert [order(known, A, B, C) for _ in range(3)] == [[B, C, A], [B, A, C], [B, A, C]]
    held[1].in_flight = 2
    assert [order(known, A, B, C)[0] for _ in range(3)] == [B, A, A]


def test_what_was_under_way_counts_once_there_are_others(known):
    """To the only address of a name, before it had a second one: else that would get nothing."""
    order(known, A)
    held = load(known, A, 1)
    assert not held.has_others
    assert [order(known, A, B)[0] for _ in range(3)] == [B, B, B]
    assert held.has_others
    assert known.load(ORIGIN, B).has_others


def test_load_lasts_as_long_as_its_connections(known):
    order(known, A, B)
    held = load(known, A, 5)
    assert order(known, A, B)[0] == B
    del held
    gc.collect()
    assert [order(known, A, B)[0] for _ in range(2)] == [A, B]


def test_families_stay_in_turn(known):
    """IPv6 goes first however busy it is (RFC 8305 section 4); of its addresses the least busy."""
    order(known, A, B, SIX, SEVEN)
    held = [load(known, SIX, 7), load(known, SEVEN, 9)]
    assert all(held)
    orders = [order(known, A, B, SIX, SEVEN) for _ in range(4)]
    assert [[each.is_ipv6 for each in found] for found in orders] == [[True, False, True, False]] * 4
    assert [found[0] for found in orders] == [SIX] * 4


def test_better_group_is_first(known):
    """However busy it is: a unique local address, whose label isn't that of our source, comes after a global one."""
    local = Address("fd00::1")
    held = [*(load(known, each, 9) for each in (SIX, SEVEN)), load(known, local, 0)]
    assert [order(known, local, SIX, SEVEN) for _ in range(2)] == [[SIX, SEVEN, local], [SEVEN, SIX, local]]
    assert len(held) == 3
    known.mark_bad(ORIGIN, SIX)
    known.mark_bad(ORIGIN, SEVEN)
    assert order(known, local, SIX, SEVEN)[0] == local


def test_answer_is_sorted_once():
    """And not for each dial: another answer is sorted anew, and its turn goes on."""
    asked = []

    def source_of(address: Address) -> Source:
        asked.append(address)
        return OWN[address.is_ipv6]

    clock, rng = At(), FixedRandom(0.0)
    ejections = Ejections(now=clock, rng=rng)
    known = Addresses(now=clock, rng=rng, ejections=ejections, precedence=Precedence(GLIBC, source_of))
    answer = Answer((A, B), None, "dns")
    assert [known.order(ORIGIN, answer, ())[0] for _ in range(3)] == [A, B, A]
    assert asked == [A, B]
    assert known.order(ORIGIN, Answer((A, B), None, "dns"), ())[0] == B
    assert asked == [A, B, A, B]
    known.order(ORIGIN, Answer((C,), None, "dns"), ())
    assert asked == [A, B, A, B]


def test_bad_ones_stay_last(known, clock):
    """However little is under way to them: what failed lately, and where the call failed before."""
    order(known, A, B, C)
    held = [load(known, A, 1), load(known, B, 5), load(known, C, 9)]
    known.mark_bad(ORIGIN, A)
    assert order(known, A, B, C) == [B, C, A]
    assert order(known, A, B, C, avoid=(B,)) == [C, B, A]
    clock.now = BAD_FOR
    assert order(known, A, B, C)[0] == A
    for _ in range(5):
        known.note(ORIGIN, A, is_failure=True)
    assert order(known, A, B, C)[0] == B
    assert len(held) == 3


def test_priorities_are_kept(known):
    """Of SRV records: who runs the service has said whom to ask first (RFC 2782)."""
    from seawall.dns.resolver import Rank

    answer = Answer((A, B), None, "srv", (Rank(1, 0, 0), Rank(2, 0, 1)))
    known.order(ORIGIN, answer, ())
    held = load(known, A, 100)
    assert [known.order(ORIGIN, answer, ())[0] for _ in range(3)] == [A] * 3
    assert held.in_flight == 100


class Counted(Addresses):
    """Counts the addresses that were looked at."""

    looked_at = 0

    def is_bad(self, origin: Origin, address: Address) -> bool:
        self.looked_at += 1
        return super().is_bad(origin, address)


class Counting(tuple):
    """Counts how often all of it is gone through."""

    times = 0

    def __iter__(self):
        Counting.times += 1
        return super().__iter__()


@pytest.mark.parametrize("has_six", [False, True])
def test_dial_costs_no_more_for_four_thousand_addresses(clock, has_six):
    """They are gone through once for each answer; of the few of a dial the bad ones come last, and all have turns."""
    rng = FixedRandom(0.0)
    known = Counted(now=clock, rng=rng, ejections=Ejections(now=clock, rng=rng), precedence=HERE)
    many = [Address(f"10.0.{number // 250}.{number % 250}") for number in range(4000)]
    if has_six:
        many[::2] = [Address(f"2001:db8::{number:x}") for number in range(2000)]
    answer = Answer(Counting(many), None, "dns")
    known.order(ORIGIN, answer, ())
    Counting.times, begun = 0, set()
    for address in many[:300]:  # neighbours that are down together
        known.mark_bad(ORIGIN, address)
    for _ in range(4000):
        known.looked_at = 0
        found = known.order(ORIGIN, answer, ())
        begun.add(found[0])
        assert known.looked_at <= 4 * LOOKED_AT
        assert len(set(found)) == len(found) >= LOOKED_AT
        assert not any(known.is_bad(ORIGIN, address) for address in found[:8])
    known.looked_at = 0
    assert known.has_other(ORIGIN, found[:2])
    assert known.looked_at <= 2 * LOOKED_AT
    assert Counting.times == 0
    assert len(begun) >= 1700


def test_name_in_use_is_remembered(known):
    """Though it is not dialled for long, and a thousand others are: its addresses are judged as before."""
    order(known, A, B)
    for number in range(2 * MAX_KNOWN):
        known.note(ORIGIN, A, is_failure=False)
        known.order(Origin("http", f"h{number}", 80), Answer((A, B), None, "dns"), ())
    assert known.has_other(ORIGIN, (A,))
    assert [known.note(ORIGIN, A, is_failure=True) for _ in range(5)] == [False] * 4 + [True]


def test_strangers_with_one_address_make_no_bad_one_good(known):
    """What can't be tried last is not marked at all."""
    order(known, A, B)
    known.mark_bad(ORIGIN, A)
    for number in range(2 * MAX_KNOWN):
        known.mark_bad(Origin("http", f"h{number}", 80), Address(f"10.0.0.{number}"))
    assert known.is_bad(ORIGIN, A)


def test_two_in_a_row_are_counted_anew_after_an_address_was_bad(known, clock):
    """An address that is a little slower once, long after it was bad, has its turns."""
    order(known, A, B)
    for is_bad in (False, True):
        known.outrun(ORIGIN, A, ran=0.2, needed=0.1)
        assert known.is_bad(ORIGIN, A) is is_bad
    clock.now = BAD_FOR
    for is_bad in (False, True):
        known.outrun(ORIGIN, A, ran=0.2, needed=0.1)
        assert known.is_bad(ORIGIN, A) is is_bad
