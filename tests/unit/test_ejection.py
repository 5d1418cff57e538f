"""Addresses that are ejected for a while."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from seawall.events import AddressEjected, AddressReadmitted
from seawall.origin import Address, Origin
from seawall.policy.ejection import MAX_KNOWN, Ejections
from seawall.testing import FixedRandom

from .noted import At

ORIGIN = Origin("http", "a", 80)
ADDRESSES = [Address(f"127.0.0.{n}") for n in range(1, 5)]


def make() -> tuple[Ejections, At]:
    clock = At()
    return Ejections(now=clock, rng=FixedRandom(0.0)), clock


def fail(ejections: Ejections, address: Address, times: int = 5) -> list[bool]:
    return [ejections.record(ORIGIN, address, is_failure=True) for _ in range(times)]


def test_five_in_a_row():
    """Not four, and not five with a good one between."""
    ejections, _ = make()
    assert fail(ejections, ADDRESSES[0], 4) == [False] * 4
    ejections.record(ORIGIN, ADDRESSES[0], is_failure=False)
    assert fail(ejections, ADDRESSES[0]) == [False] * 4 + [True]
    assert ejections.usable(ORIGIN, ADDRESSES) == ADDRESSES[1:]
    assert ejections.usable(Origin("http", "b", 80), ADDRESSES) == ADDRESSES


def test_for_longer_each_time():
    """30 s, 60, 90, ... 300 at most; judged anew when it is back."""
    ejections, clock = make()
    for times in range(1, 15):
        fail(ejections, ADDRESSES[0])
        length = min(300.0, 30.0 * times)
        clock.now += length - 0.1
        assert ADDRESSES[0] not in ejections.usable(ORIGIN, ADDRESSES)
        clock.now += 0.1
        assert ADDRESSES[0] in ejections.usable(ORIGIN, ADDRESSES)


def test_what_ends_later_changes_nothing():
    """Attempts that were under way when it was left out."""
    ejections, clock = make()
    fail(ejections, ADDRESSES[0])
    fail(ejections, ADDRESSES[0], 20)
    clock.now = 30.0
    assert ADDRESSES[0] in ejections.usable(ORIGIN, ADDRESSES)


def test_panic():
    """Half may be left out; more, and it isn't the addresses."""
    ejections, _ = make()
    fail(ejections, ADDRESSES[0])
    fail(ejections, ADDRESSES[1])
    assert ejections.usable(ORIGIN, ADDRESSES) == ADDRESSES[2:]
    fail(ejections, ADDRESSES[2])
    assert ejections.usable(ORIGIN, ADDRESSES) == ADDRESSES
    assert ejections.usable(ORIGIN, ADDRESSES[:1]) == ADDRESSES[:1]


def test_bounded():
    """A name whose addresses change all the time."""
    ejections, _ = make()
    for number in range(2 * MAX_KNOWN):
        ejections.record(ORIGIN, Address(str(number)), is_failure=True)
    assert len(ejections._known) == MAX_KNOWN


def test_strangers_bring_nobody_back():
    """Three thousand other addresses that fail: one that is left out stays so; where all are, the table is bounded."""
    ejections, _ = make()
    fail(ejections, ADDRESSES[0])
    for number in range(3000):
        ejections.record(ORIGIN, Address(str(number)), is_failure=True)
    assert ADDRESSES[0] not in ejections.usable(ORIGIN, ADDRESSES)
    assert len(ejections._known) == MAX_KNOWN
    for number in range(3000):
        fail(ejections, Address(str(number)))
    assert len(ejections._known) == 2 * MAX_KNOWN


def test_observers_are_told_once_each_way():
    """When an address is ejected, with for how long, and when it is first used like the others again."""
    clock, told = At(), []
    ejections = Ejections(now=clock, rng=FixedRandom(0.0), emit=told.append)
    fail(ejections, ADDRESSES[0])
    assert told == [AddressEjected(ORIGIN, ADDRESSES[0], 30.0)]
    assert ejections.ejected(clock.now) == {ORIGIN: (ADDRESSES[0],)}
    clock.now += 29.0
    ejections.usable(ORIGIN, ADDRESSES)
    assert len(told) == 1
    clock.now += 1.0
    for _ in range(2):
        ejections.usable(ORIGIN, ADDRESSES)
    assert told[1:] == [AddressReadmitted(ORIGIN, ADDRESSES[0])]
    assert ejections.ejected(clock.now) == {}


@given(st.lists(st.tuples(st.sampled_from(ADDRESSES), st.booleans(), st.floats(0, 40)), max_size=200))
def test_never_the_last_one(events):
    """Whatever happens, at least half of them are used, and in their order."""
    ejections, clock = make()
    for address, is_failure, seconds in events:
        clock.now += seconds
        ejections.record(ORIGIN, address, is_failure=is_failure)
        usable = ejections.usable(ORIGIN, ADDRESSES)
        assert 2 * len(usable) >= len(ADDRESSES)
        assert usable == [each for each in ADDRESSES if each in usable]
