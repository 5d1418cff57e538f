"""
In which order a name's addresses are dialled. Pure: the turn and chance are arguments.

Rules: priorities first, the lowest number best; within one, by weight and chance where there are weights, else each
dial begins one further on, so that load is spread whatever order the name server has; then families in turn.

Source: RFC 2782 (priority and weight of SRV records), RFC 8305 section 4 (families).
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from ..origin import Address
from .resolver import Answer

__all__ = ["interleave", "ordered"]


def ordered(answer: Answer, turn: int, *, rng: Random) -> list[Address]:
    """
    All of an answer's addresses, the first to be dialled first.

    Args:
        turn: How many dials of this name there were.
    """
    if not answer.ranks:
        return interleave(_rotated(answer.addresses, turn))
    found: list[Address] = []
    for priority in sorted({rank.priority for rank in answer.ranks}):
        targets: dict[int, list[Address]] = {}
        weights: dict[int, int] = {}
        for address, rank in zip(answer.addresses, answer.ranks, strict=True):
            if rank.priority == priority:
                targets.setdefault(rank.target, []).append(address)
                weights[rank.target] = rank.weight
        if any(weights.values()):
            for target in _weighed(weights, rng):
                found += interleave(_rotated(targets[target], turn))
        else:
            found += interleave(_rotated([address for target in targets.values() for address in target], turn))
    return found


def interleave(addresses: Sequence[Address]) -> list[Address]:
    """Families in turn, each in its order, IPv6 first: First Address Family Count is 1."""
    six = [address for address in addresses if address.is_ipv6]
    four = [address for address in addresses if not address.is_ipv6]
    if not six or not four:
        return list(addresses)
    both = [address for pair in zip(six, four, strict=False) for address in pair]
    return both + six[len(four) :] + four[len(six) :]


def _rotated(addresses: Sequence[Address], turn: int) -> list[Address]:
    """Each family by itself: with one address of it, it is that one's turn always."""
    found: list[Address] = []
    for is_six in (True, False):
        family = [address for address in addresses if address.is_ipv6 == is_six]
        begin = turn % len(family) if family else 0
        found += family[begin:] + family[:begin]
    return found


def _weighed(weights: dict[int, int], rng: Random) -> list[int]:
    """One target after the other by chance, in proportion; those of weight 0 come first in the sum, as in RFC 2782."""
    left = sorted(weights.items(), key=lambda each: each[1] > 0)
    found: list[int] = []
    while left:
        point = rng.uniform(0, sum(weight for _, weight in left))
        chosen = len(left) - 1  # where the sum is short by rounding
        for index, (_, weight) in enumerate(left):
            point -= weight
            if point <= 0:
                chosen = index
                break
        found.append(left.pop(chosen)[0])
    return found
