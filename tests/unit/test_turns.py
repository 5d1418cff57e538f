"""Whose turn it is among waiters of different criticality."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from seawall.config.criticality import BACKGROUND, CRITICAL, DEFAULT
from seawall.policy.turns import Turns

CLASSES = {"c": CRITICAL, "d": DEFAULT, "b": BACKGROUND}


def joined(names: str) -> Turns[str]:
    """Waiters that came in this order; the first letter is the class, and a number follows."""
    turns: Turns[str] = Turns()
    for number, name in enumerate(names):
        turns.join(f"{name}{number}", CLASSES[name])
    return turns


def taken(turns: Turns[str], count: int = 1000) -> list[str]:
    """Those that have the next *count* turns."""
    order = []
    while len(order) < count and (found := turns.next()) is not None:
        turns.leave(found[1])
        turns.took()
        order.append(found[1])
    return order


def test_what_matters_most_goes_first():
    """Within a class, in the order in which they came."""
    assert taken(joined("bdcbdc")) == ["c2", "c5", "d1", "d4", "b0", "b3"]


def test_tenth_turn_is_the_first_comer_s():
    """It may be of any class, so nobody waits for ever; the twentieth may, too."""
    order = taken(joined("bdb" + "c" * 30))
    assert order[:9] == [f"c{number}" for number in range(3, 12)]
    assert (order[9], order[19], order[29]) == ("b0", "d1", "b2")
    assert order[30:] == ["c30", "c31", "c32"]


def test_one_class_is_first_in_first_out():
    """Whatever the count of turns is."""
    assert taken(joined("d" * 50)) == [f"d{number}" for number in range(50)]


def test_class_that_may_not_have_it_is_passed_over():
    """Though the tenth turn is its own; that one then goes to the first comer of the others."""
    turns = joined("bdcc")
    for _ in range(9):
        turns.took()
    assert turns.next() == (BACKGROUND, "b0")
    assert turns.next(DEFAULT) == (DEFAULT, "d1")
    assert turns.next(CRITICAL) == (CRITICAL, "c2")
    assert joined("b").next(DEFAULT) is None
    assert joined("").next() is None


def test_last_is_what_matters_least():
    """The last that came of it."""
    turns = joined("bdbcd")
    assert turns.last() == (BACKGROUND, "b2")
    assert (turns.leave("b2"), turns.leave("b2")) == (True, False)
    assert turns.leave("b0")
    assert turns.last() == (DEFAULT, "d4")
    assert (len(turns), turns.waiting(DEFAULT), turns.waiting(BACKGROUND)) == (3, 2, 0)
    assert ("d4" in turns, "b0" in turns) == (True, False)


@given(st.text("cdb", max_size=60), st.integers(0, 9))
def test_order_is_that_of_the_turns(names, begun):
    """`in_order` says beforehand who is next, and changes nothing."""
    turns = joined(names)
    for _ in range(begun):
        turns.took()
    foreseen = list(turns.in_order())
    assert foreseen == taken(turns)
    assert not turns.queues
