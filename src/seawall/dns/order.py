"""
The order in which a name's addresses are dialled. Pure: the turn and chance are arguments.

Rules: priorities come first, the lowest number first; within a priority, weight and chance decide where there are
weights. Then come the groups of `Precedence`, the best first. Within a group each dial begins one address further on,
so that load is spread whatever the name server's order is. Families alternate, beginning with that of the best address.
Addresses without a route come last. Where only some of thousands are wanted they are taken at equal distances, because
neighbours fail together.

Source: RFC 2782 (priority and weight of SRV records), RFC 8305 section 4 (families; First Address Family Count is 1).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from random import Random
from typing import TypeAlias

from ..origin import Address
from .precedence import Group
from .resolver import Answer

__all__ = ["Ranked", "interleave", "ordered"]

_Family: TypeAlias = Sequence[Sequence[Address]]
"""Groups of one family, the best first."""


class Ranked:
    """Addresses in groups, divided by family once for many dials."""

    __slots__ = ("_first_unreachable", "_places", "_reachable", "_unreachable")

    def __init__(self, groups: Iterable[Group]) -> None:
        reachable: dict[bool, list[list[Address]]] = {}
        unreachable: dict[bool, list[list[Address]]] = {}
        self._places: dict[Address, int] = {}
        self._first_unreachable: float = math.inf
        for group in groups:
            if not group.is_reachable:
                self._first_unreachable = min(self._first_unreachable, len(self._places))
            families = reachable if group.is_reachable else unreachable
            parts: dict[bool, list[Address]] = {}
            for address in group.addresses:
                parts.setdefault(address.is_ipv6, []).append(address)
            for is_ipv6, part in parts.items():
                families.setdefault(is_ipv6, []).append(part)
                self._places.update(dict.fromkeys(part, len(self._places)))
        self._reachable = tuple(reachable.values())
        self._unreachable = tuple(unreachable.values())

    def place(self, address: Address) -> int:
        """A number that an address shares with its equals: those of its group and family."""
        return self._places[address]

    def is_unreachable(self, address: Address) -> bool:
        """Whether the machine has no route to it."""
        return self._places[address] >= self._first_unreachable

    def in_turn(self, turn: int, most: int | None = None) -> list[Address]:
        """
        The addresses in the order in which they are dialled at the given *turn*: families alternate.

        Args:
            most: At most so many of each family; None for all.
        """
        found = _in_turn(self._reachable, turn, most)
        if self._unreachable and (most is None or len(found) < most):
            found += _in_turn(self._unreachable, turn, most)
        return found

    def some(self, addresses: Iterable[Address]) -> Ranked:
        """The same for some of the addresses."""
        groups: dict[int, list[Address]] = {}
        for address in addresses:
            groups.setdefault(self._places[address], []).append(address)
        places = sorted(groups)
        return Ranked(Group(tuple(groups[place]), is_reachable=place < self._first_unreachable) for place in places)


def ordered(answer: Answer, known: Ranked, turn: int, *, rng: Random, most: int | None = None) -> list[Address]:
    """
    The addresses of an answer with ranks, in the order in which they are dialled.

    Args:
        known: The same addresses in groups.
        turn: How many dials of this name there were.
        most: The caller needs no more of them, but may get more; None for all.
    """
    groups: dict[int, dict[int, list[Address]]] = {}  # by priority, then by target
    weights: dict[int, dict[int, int]] = {}
    for address, rank in zip(answer.addresses, answer.ranks, strict=True):
        groups.setdefault(rank.priority, {}).setdefault(rank.target, []).append(address)
        weights.setdefault(rank.priority, {})[rank.target] = rank.weight
    found: list[Address] = []
    for priority in sorted(groups):
        targets = groups[priority]
        if any(weights[priority].values()):
            for target in _weighed(weights[priority], rng):
                found += known.some(targets[target]).in_turn(turn)
                if most is not None and len(found) >= most:
                    break
        else:
            together = [address for target in targets.values() for address in target]
            found += known.some(together).in_turn(turn, most)
        if most is not None and len(found) >= most:
            break
    return found


def interleave(first: Sequence[Address], second: Sequence[Address]) -> list[Address]:
    """One of each in turn, then the rest of the longer one."""
    both = [address for pair in zip(first, second, strict=False) for address in pair]
    return [*both, *first[len(second) :], *second[len(first) :]]


def _in_turn(families: Sequence[_Family], turn: int, most: int | None) -> list[Address]:
    taken = [_taken(family, turn, most) for family in families]
    return interleave(*taken) if len(taken) == 2 else [address for each in taken for address in each]


def _taken(groups: _Family, turn: int, most: int | None) -> list[Address]:
    """One family's groups one after another; of the group that reaches *most*, addresses at equal distances."""
    found: list[Address] = []
    for group in groups:
        count = len(group)
        some = count if most is None else min(count, most - len(found))
        if some <= 0:
            break
        found += [group[(turn + index * count // some) % count] for index in range(some)]
    return found


def _weighed(weights: dict[int, int], rng: Random) -> Iterator[int]:
    """Targets in random order, by weight; those of weight 0 come first in the sum, as in RFC 2782."""
    left = sorted(weights.items(), key=lambda each: each[1] > 0)
    total = sum(weights.values())
    while left:
        point = rng.uniform(0, total)
        chosen = len(left) - 1  # where rounding makes the sum too small
        for index, (_, weight) in enumerate(left):
            point -= weight
            if point <= 0:
                chosen = index
                break
        target, weight = left.pop(chosen)
        total -= weight
        yield target
