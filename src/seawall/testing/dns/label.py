"""
Faults as text: the labels of a name, or the words of `Name.faults`.

Rules: the order of the words doesn't matter, because faults act in the order of `DNS_FAULTS`; where two contradict each
other, the later one in that table wins. The first labels of a name may be anything, to make it unique; after a fault
there may be only faults. A fault's name with a wrong argument, and ``word-number`` whose word resembles a fault's name,
are mistakes, not prefixes.
"""

from __future__ import annotations

import difflib

from .fault import BadFault, Fault
from .faults import DNS_FAULTS

__all__ = ["BY_NAME", "in_name", "parse"]

BY_NAME = {fault.name: fault for fault in DNS_FAULTS}
ORDER = {fault.name: place for place, fault in enumerate(DNS_FAULTS)}


def parse(words: tuple[str, ...]) -> tuple[tuple[Fault, float | None], ...]:
    """
    Each fault with its argument, in the order in which they act.

    Raises:
        BadFault: One doesn't exist, or has a wrong argument.
    """
    return tuple(sorted((_one(word) for word in words), key=lambda each: ORDER[each[0].name]))


def in_name(name: str, suffix: str) -> tuple[str, ...]:
    """
    The labels of *name* that are faults; none if the name isn't under *suffix*.

    Raises:
        BadFault: A label resembles a fault, or comes after a fault without being one.
    """
    if not name.endswith(f".{suffix}"):
        return ()
    found: list[str] = []
    for label in name.removesuffix(f".{suffix}").split("."):
        word, _, argument = label.partition("-")
        if word in BY_NAME:
            found.append(label)
        elif found or (argument.isdecimal() and _near(word, 0.8)):
            raise _unknown(word)
    return tuple(found)


def _one(text: str) -> tuple[Fault, float | None]:
    word, _, argument = text.partition("-")
    if word not in BY_NAME:
        raise _unknown(word)
    return BY_NAME[word], BY_NAME[word].read(argument)


def _near(word: str, likeness: float) -> list[str]:
    return difflib.get_close_matches(word, BY_NAME, n=3, cutoff=likeness)


def _unknown(word: str) -> BadFault:
    near = ", ".join(BY_NAME[name].form for name in _near(word, 0.5))
    return BadFault(f"unknown fault {word!r}" + (f"; near: {near}" if near else f"; all: {', '.join(BY_NAME)}"))
