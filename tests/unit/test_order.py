"""Whom a dial begins with."""

from __future__ import annotations

from collections import Counter
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from seawall import Address, Answer, Rank
from seawall.dns.order import interleave, ordered

FOUR = [Address(f"10.0.0.{number}") for number in range(1, 4)]
SIX = [Address(f"2001:db8::{number}") for number in range(1, 3)]


def answer(*addresses: Address, ranks: list[tuple[int, int]] | None = None) -> Answer:
    """Each address is a target of its own."""
    return Answer(addresses, None, "dns", tuple(Rank(*rank, target) for target, rank in enumerate(ranks or ())))


def test_families_in_turn():
    """IPv6 first, then one of each; what is left of the longer one at the end."""
    assert interleave(FOUR + SIX) == [SIX[0], FOUR[0], SIX[1], FOUR[1], FOUR[2]]
    assert interleave(FOUR) == FOUR


def test_each_dial_begins_one_further_on():
    """In each family by itself: all get their share."""
    assert [ordered(answer(*FOUR), turn, rng=Random())[0] for turn in range(4)] == [*FOUR, FOUR[0]]
    firsts = [ordered(answer(*SIX, *FOUR), turn, rng=Random())[:2] for turn in range(6)]
    assert Counter(pair[0] for pair in firsts) == {SIX[0]: 3, SIX[1]: 3}
    assert Counter(pair[1] for pair in firsts) == dict.fromkeys(FOUR, 2)


def test_weights():
    """By chance in proportion, within the best priority; the others come after it."""
    ranks = [(1, 60), (1, 30), (2, 100)]
    rng = Random(7)
    firsts = Counter(ordered(answer(*FOUR, ranks=ranks), 0, rng=rng)[0] for _ in range(9000))
    assert 5700 < firsts[FOUR[0]] < 6300
    assert 2700 < firsts[FOUR[1]] < 3300
    assert ordered(answer(*FOUR, ranks=ranks), 0, rng=rng)[-1] == FOUR[2]


def test_weights_of_those_that_come_second():
    """In proportion among those that are left; one of weight 0 is last but for chance."""
    rng = Random(7)
    ranks = [(1, 900), (1, 60), (1, 30)]
    dials = [ordered(answer(*FOUR, ranks=ranks), 0, rng=rng) for _ in range(9000)]
    seconds = Counter(dial[1] for dial in dials if dial[0] == FOUR[0])
    assert 1.8 < seconds[FOUR[1]] / seconds[FOUR[2]] < 2.2
    lasts = [ordered(answer(*FOUR, ranks=[(1, 0), (1, 1), (1, 1)]), 0, rng=rng)[-1] for _ in range(100)]
    assert set(lasts) == {FOUR[0]}


def test_the_weight_is_the_targets():
    """However many addresses it has, and of whatever family they are."""
    addresses = (*FOUR, SIX[0])
    ranks = (Rank(1, 50, 0), Rank(1, 50, 0), Rank(1, 50, 0), Rank(1, 50, 1))
    rng = Random(7)
    dials = [ordered(Answer(addresses, None, "srv", ranks), turn, rng=rng) for turn in range(4000)]
    assert 1800 < sum(dial[0] == SIX[0] for dial in dials) < 2200
    assert {dial[0] for dial in dials} == set(addresses)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 65535)), min_size=1, max_size=20), st.integers(0, 10**6))
def test_nobody_is_lost(ranks, turn):
    """Each address once, priorities in their order."""
    addresses = [Address(f"10.0.{index}.1") for index in range(len(ranks))]
    found = ordered(answer(*addresses, ranks=ranks), turn, rng=Random(turn))
    assert sorted(found) == sorted(addresses)
    priorities = [ranks[addresses.index(address)][0] for address in found]
    assert priorities == sorted(priorities)
    assert sorted(ordered(answer(*addresses), turn, rng=Random(turn))) == sorted(addresses)


@given(st.integers(1, 300), st.integers(1, 50), st.integers(0, 10**6))
def test_some_of_many(count, most, turn):
    """At equal distances; over as many dials as there are, each is the first once."""
    addresses = [Address(f"10.0.{number // 250}.{number % 250}") for number in range(count)]
    found = ordered(answer(*addresses), turn, rng=Random(0), most=most)
    assert len(set(found)) == len(found) == min(count, most)
    places = sorted(addresses.index(each) for each in found)
    gaps = [after - before for before, after in zip(places, [*places[1:], places[0] + count], strict=True)]
    assert max(gaps) - min(gaps) <= 1
    assert {ordered(answer(*addresses), each, rng=Random(0), most=most)[0] for each in range(count)} == set(addresses)


def test_some_of_many_targets():
    """The best priority first, and no more than are wanted of four thousand."""
    ranks = [(number % 2000, 10) for number in range(4000)]
    addresses = [Address(f"10.0.{number // 250}.{number % 250}") for number in range(4000)]
    found = ordered(answer(*addresses, ranks=ranks), 0, rng=Random(0), most=8)
    assert [addresses.index(each) % 2000 for each in found] == [0, 0, 1, 1, 2, 2, 3, 3]
