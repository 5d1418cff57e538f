"""Whom a dial begins with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from seawall.dns import Address, Answer, Rank
from seawall.dns.order import Ranked, interleave, ordered
from seawall.dns.precedence import Group
from seawall.testing import FixedRandom

FOUR = [Address(f"10.0.0.{number}") for number in range(1, 4)]
SIX = [Address(f"2001:db8::{number}") for number in range(1, 3)]


def answer(*addresses: Address, ranks: list[tuple[int, int]] | None = None) -> Answer:
    """Each address is a target of its own."""
    return Answer(addresses, None, "dns", tuple(Rank(*rank, target) for target, rank in enumerate(ranks or ())))


def alike(addresses: Iterable[Address]) -> Ranked:
    """Each family a group, IPv6 the better one."""
    six, four = [], []
    for each in addresses:
        (six if each.is_ipv6 else four).append(each)
    return Ranked([Group(tuple(part), is_reachable=True) for part in (six, four)])


def dialled(found: Answer, turn: int, *, rng: Random, most: int | None = None) -> list[Address]:
    known = alike(found.addresses)
    return ordered(found, known, turn, rng=rng, most=most) if found.ranks else known.in_turn(turn, most)


def group(*addresses: Address, is_reachable: bool = True) -> Group:
    return Group(addresses, is_reachable)


def test_families_in_turn():
    """That of the best address first, whichever it is; then one of each; what is left of the longer one at the end."""
    assert Ranked([group(*SIX), group(*FOUR)]).in_turn(0) == [SIX[0], FOUR[0], SIX[1], FOUR[1], FOUR[2]]
    assert Ranked([group(*FOUR), group(*SIX)]).in_turn(0) == [FOUR[0], SIX[0], FOUR[1], SIX[1], FOUR[2]]
    assert Ranked([group(FOUR[0], *SIX, FOUR[1])]).in_turn(0) == [FOUR[0], SIX[0], FOUR[1], SIX[1]]
    assert Ranked([group(*FOUR)]).in_turn(0) == FOUR
    assert interleave(FOUR, SIX) == [FOUR[0], SIX[0], FOUR[1], SIX[1], FOUR[2]]


def test_better_groups_first():
    """Turns go within a group; the worse one comes after it in its family, and what has no route last of all."""
    known = Ranked([group(*FOUR[:2]), group(SIX[0]), group(FOUR[2]), group(SIX[1], is_reachable=False)])
    assert known.in_turn(0) == [FOUR[0], SIX[0], FOUR[1], FOUR[2], SIX[1]]
    assert known.in_turn(1) == [FOUR[1], SIX[0], FOUR[0], FOUR[2], SIX[1]]
    assert known.in_turn(0, 2) == [FOUR[0], SIX[0], FOUR[1]]
    assert [known.is_unreachable(each) for each in (*FOUR, *SIX)] == [False, False, False, False, True]
    assert known.place(FOUR[0]) == known.place(FOUR[1]) != known.place(FOUR[2])
    assert len({known.place(each) for each in (FOUR[0], FOUR[2], *SIX)}) == 4
    only = Ranked([group(*FOUR, is_reachable=False)])
    assert only.in_turn(1) == [FOUR[1], FOUR[2], FOUR[0]]
    assert only.is_unreachable(FOUR[0])


def test_targets_addresses_are_ranked_too():
    """Within a target of an SRV record, and within a priority without weights: the best group and its family first."""
    known = Ranked([group(FOUR[0]), group(SIX[0]), group(FOUR[1]), group(SIX[1], is_reachable=False)])
    addresses = (SIX[1], FOUR[1], SIX[0], FOUR[0])
    for weight in (0, 5):
        found = Answer(addresses, None, "srv", tuple(Rank(1, weight, 0) for _ in addresses))
        assert ordered(found, known, 0, rng=Random(0)) == [FOUR[0], SIX[0], FOUR[1], SIX[1]]
    found = Answer(addresses[:3], None, "srv", (Rank(1, 0, 0),) * 3)
    assert ordered(found, known, 0, rng=Random(0)) == [SIX[0], FOUR[1], SIX[1]]


def test_each_dial_begins_one_further_on():
    """In each family by itself: all get their share."""
    assert [dialled(answer(*FOUR), turn, rng=Random())[0] for turn in range(4)] == [*FOUR, FOUR[0]]
    firsts = [dialled(answer(*SIX, *FOUR), turn, rng=Random())[:2] for turn in range(6)]
    assert Counter(pair[0] for pair in firsts) == {SIX[0]: 3, SIX[1]: 3}
    assert Counter(pair[1] for pair in firsts) == dict.fromkeys(FOUR, 2)


def test_weights():
    """By chance in proportion, within the best priority; the others come after it."""
    ranks = [(1, 60), (1, 30), (2, 100)]
    rng = Random(7)
    firsts = Counter(dialled(answer(*FOUR, ranks=ranks), 0, rng=rng)[0] for _ in range(9000))
    assert 5700 < firsts[FOUR[0]] < 6300
    assert 2700 < firsts[FOUR[1]] < 3300
    assert dialled(answer(*FOUR, ranks=ranks), 0, rng=rng)[-1] == FOUR[2]


def test_weights_of_those_that_come_second():
    """In proportion among those that are left; one of weight 0 is last but for chance."""
    rng = Random(7)
    ranks = [(1, 900), (1, 60), (1, 30)]
    dials = [dialled(answer(*FOUR, ranks=ranks), 0, rng=rng) for _ in range(9000)]
    seconds = Counter(dial[1] for dial in dials if dial[0] == FOUR[0])
    assert 1.8 < seconds[FOUR[1]] / seconds[FOUR[2]] < 2.2
    lasts = [dialled(answer(*FOUR, ranks=[(1, 0), (1, 1), (1, 1)]), 0, rng=rng)[-1] for _ in range(100)]
    assert set(lasts) == {FOUR[0]}
    assert dialled(answer(*FOUR, ranks=[(1, 1), (1, 0), (1, 1)]), 0, rng=FixedRandom(0.0))[0] == FOUR[1]


def test_the_weight_is_the_targets():
    """However many addresses it has, and of whatever family they are."""
    addresses = (*FOUR, SIX[0])
    ranks = (Rank(1, 50, 0), Rank(1, 50, 0), Rank(1, 50, 0), Rank(1, 50, 1))
    rng = Random(7)
    dials = [dialled(Answer(addresses, None, "srv", ranks), turn, rng=rng) for turn in range(4000)]
    assert 1800 < sum(dial[0] == SIX[0] for dial in dials) < 2200
    assert {dial[0] for dial in dials} == set(addresses)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 65535)), min_size=1, max_size=20), st.integers(0, 10**6))
def test_nobody_is_lost(ranks, turn):
    """Each address once, priorities in their order."""
    addresses = [Address(f"10.0.{index}.1") for index in range(len(ranks))]
    found = dialled(answer(*addresses, ranks=ranks), turn, rng=Random(turn))
    assert sorted(found) == sorted(addresses)
    priorities = [ranks[addresses.index(address)][0] for address in found]
    assert priorities == sorted(priorities)
    assert sorted(dialled(answer(*addresses), turn, rng=Random(turn))) == sorted(addresses)


@given(st.integers(1, 300), st.integers(1, 50), st.integers(0, 10**6))
def test_some_of_many(count, most, turn):
    """At equal distances; over as many dials as there are, each is the first once."""
    addresses = [Address(f"10.0.{number // 250}.{number % 250}") for number in range(count)]
    found = dialled(answer(*addresses), turn, rng=Random(0), most=most)
    assert len(set(found)) == len(found) == min(count, most)
    places = sorted(addresses.index(each) for each in found)
    gaps = [after - before for before, after in zip(places, [*places[1:], places[0] + count], strict=True)]
    assert max(gaps) - min(gaps) <= 1
    assert {dialled(answer(*addresses), each, rng=Random(0), most=most)[0] for each in range(count)} == set(addresses)


def test_some_of_many_targets():
    """The best priority first, and no more than are wanted of four thousand."""
    ranks = [(number % 2000, 10) for number in range(4000)]
    addresses = [Address(f"10.0.{number // 250}.{number % 250}") for number in range(4000)]
    found = dialled(answer(*addresses, ranks=ranks), 0, rng=Random(0), most=8)
    assert [addresses.index(each) % 2000 for each in found] == [0, 0, 1, 1, 2, 2, 3, 3]
