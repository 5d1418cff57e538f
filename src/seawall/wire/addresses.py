"""
What is known of the addresses of a name: which failed, whose turn it is, and how much is under way to each.

Rules: nothing here is left out, only tried later: where all are bad, all are dialled. Of addresses that are as good as
each other, the one to which least is under way is next, and of these the one whose turn it is; where the record itself
has priorities and weights, they decide. That halves the latency at p99 where one of five is slow (``python -m
benchmarks simulate``), and has a price: who answers at once draws most of the calls. Ejection ends that for one that
answers 5xx; nothing does for one that answers 404, which is no failure here.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from random import Random
from typing import Protocol
from weakref import WeakValueDictionary

from ..dns.order import ordered
from ..dns.resolver import Answer
from ..origin import Address, Origin

__all__ = ["Addresses", "Ejections", "Load"]

BAD_FOR = 30.0  # s
MAX_KNOWN = 1024


class Ejections(Protocol):
    """Which addresses are left out for a while."""

    def record(self, origin: Origin, address: Address, *, is_failure: bool) -> bool: ...

    def usable(self, origin: Origin, addresses: Sequence[Address]) -> list[Address]: ...


class Load:
    """
    How much is under way to one address of an origin.

    Attributes:
        in_flight: HTTP/1.1 connections in use, and dials that begin with this address.
        has_others: The origin has more addresses than this one.
    """

    __slots__ = ("__weakref__", "has_others", "in_flight")

    def __init__(self, *, has_others: bool) -> None:
        self.in_flight = 0
        self.has_others = has_others


class Addresses:
    """Of all origins; the least recently dialled go first."""

    def __init__(self, *, now: Callable[[], float], rng: Random, ejections: Ejections) -> None:
        self._now = now
        self._rng = rng
        self._ejections = ejections
        self._bad: OrderedDict[tuple[str, int], float] = OrderedDict()
        self._turns: OrderedDict[Origin, int] = OrderedDict()  # dials so far, of names with several addresses
        self._several: dict[Origin, list[Address]] = {}  # those addresses
        self._loads: WeakValueDictionary[tuple[Origin, Address], Load] = WeakValueDictionary()

    def order(self, origin: Origin, answer: Answer, avoid: Sequence[Address]) -> list[Address]:
        """In which to dial them: what is left out, failed lately, or is in *avoid*, comes last."""
        if len(answer.addresses) == 1:
            self._several.pop(origin, None)
            return list(answer.addresses)
        if origin not in self._several:
            self._has_others_now(origin, answer.addresses)
        self._several[origin] = list(answer.addresses)
        turn = self._turns.pop(origin, -1) + 1
        self._turns[origin] = turn
        if len(self._turns) > MAX_KNOWN:
            oldest, _ = self._turns.popitem(last=False)
            self._several.pop(oldest, None)
        found = ordered(answer, turn, rng=self._rng)
        usable = frozenset(self._ejections.usable(origin, found))

        def badness(address: Address) -> tuple[bool, bool, bool]:
            return address not in usable, self.is_bad(origin, address), address in avoid

        if self._bad or avoid or len(usable) < len(found):
            found.sort(key=badness)
        if not answer.ranks and self._loads:
            best, is_ipv6 = badness(found[0]), found[0].is_ipv6
            equals = [each for each in found if each.is_ipv6 == is_ipv6 and badness(each) == best]
            least = min(equals, key=lambda each: self._in_flight(origin, each))
            at = found.index(least)
            found[0], found[at] = least, found[0]  # which leaves the families in turn
        return found

    def has_other(self, origin: Origin, avoid: Sequence[Address]) -> bool:
        """Whether there is a good address but those in *avoid*."""
        usable = self._ejections.usable(origin, self._several.get(origin, ()))
        return any(each not in avoid and not self.is_bad(origin, each) for each in usable)

    def note(self, origin: Origin, address: Address, *, is_failure: bool) -> bool:
        """How an attempt ended; whether *address* is left out from now on, and its connections with it."""
        if origin not in self._several:
            return False
        return self._ejections.record(origin, address, is_failure=is_failure)

    def load(self, origin: Origin, address: Address) -> Load:
        """Where what is under way is counted as long as somebody has it."""
        load = self._loads.get((origin, address))
        if load is None:
            load = self._loads[origin, address] = Load(has_others=origin in self._several)
        return load

    def mark_bad(self, origin: Origin, address: Address) -> None:
        """Try *address* last for a while: it refused, hung, or broke off."""
        key = (address.ip, address.port or origin.port)
        self._bad[key] = self._now() + BAD_FOR
        self._bad.move_to_end(key)
        while len(self._bad) > MAX_KNOWN:
            self._bad.popitem(last=False)

    def is_bad(self, origin: Origin, address: Address) -> bool:
        return self._bad.get((address.ip, address.port or origin.port), 0.0) > self._now()

    def _has_others_now(self, origin: Origin, addresses: Sequence[Address]) -> None:
        for address in addresses:
            if (load := self._loads.get((origin, address))) is not None:
                load.has_others = True

    def _in_flight(self, origin: Origin, address: Address) -> int:
        load = self._loads.get((origin, address))
        return 0 if load is None else load.in_flight
