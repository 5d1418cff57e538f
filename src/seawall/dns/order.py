"""
In which order a name's addresses are dialled. Pure: the turn and chance are arguments.

Rules: priorities first, the lowest number best; within one, by weight and chance where there are weights, else each
dial begins one further on, so that load is spread whatever order the name server has; then families in turn. Where only
some of thousands are wanted they are taken at equal distances, because neighbours go down together.

Source: RFC 2782 (priority and weight of SRV records), RFC 8305 section 4 (families).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

from ..origin import Address
from .resolver import Answer

__all__ = ["by_family", "in_turn", "interleave", "ordered"]


def ordered(answer: Answer, turn: int, *, rng: Random, most: int | None = None) -> list[Address]:
    """
    An answer's addresses, the first to be dialled first.

    Args:
        turn: How many dials of this name there were.
        most: Of each family without ranks; with ranks of all together, and no fewer where there are as many. None: all.
    """
    if not answer.ranks:
        return in_turn(by_family(answer.addresses), turn, most)
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
                found += in_turn(by_family(targets[target]), turn)
                if most is not None and len(found) >= most:
                    break
        else:
            together = [address for target in targets.values() for address in target]
            found += in_turn(by_family(together), turn, most)
        if most is not None and len(found) >= most:
            break
    return found


def by_family(addresses: Sequence[Address]) -> tuple[list[Address], list[Address]]:
    """IPv6, and IPv4, each in its order."""
    return [each for each in addresses if ":" in each.ip], [each for each in addresses if ":" not in each.ip]


def in_turn(families: Sequence[Sequence[Address]], turn: int, most: int | None = None) -> list[Address]:
    """
    Families in turn, each from the address whose *turn* it is: with one address of it, it is that one's turn always.

    Args:
        most: At most so many of each family, at equal distances. None: all.
    """
    found: list[Address] = []
    for family in families:
        count = len(family)
        some = count if most is None else min(count, most)
        found += [family[(turn + index * count // some) % count] for index in range(some)]
    return interleave(found)


def interleave(addresses: Sequence[Address]) -> list[Address]:
    """Families in turn, each in its order, IPv6 first: First Address Family Count is 1."""
    six, four = by_family(addresses)
    if not six or not four:
        return list(addresses)
    both = [address for pair in zip(six, four, strict=False) for address in pair]
    return both + six[len(four) :] + four[len(six) :]


def _weighed(weights: dict[int, int], rng: Random) -> Iterator[int]:
    """One target after the other by chance, in proportion; those of weight 0 come first in the sum, as in RFC 2782."""
    left = sorted(weights.items(), key=lambda each: each[1] > 0)
    total = sum(weights.values())
    while left:
        point = rng.uniform(0, total)
        chosen = len(left) - 1  # where the sum is short by rounding
        for index, (_, weight) in enumerate(left):
            point -= weight
            if point <= 0:
                chosen = index
                break
        target, weight = left.pop(chosen)
        total -= weight
        yield target
