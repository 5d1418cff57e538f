"""
What is known of the addresses of a name: which failed, whose turn it is, and how much is in flight to each.

Rules: no address is excluded, only tried later: where all are bad, all are dialled. Of addresses that RFC 6724 ranks
alike, the one with the least in flight is next, and of these the one whose turn it is; where the record itself has
priorities and weights, they decide. That halves the latency at p99 where one of five is slow (``python -m benchmarks
simulate``), and has a price: a server that answers at once draws most of the calls. Ejection ends that where it answers
5xx; nothing does where it answers 404, which isn't a failure here. Of a name with thousands of addresses only some are
looked at, so a dial costs no more for them.

An address is bad because it failed, or because another one that was dialled later connected so much sooner that it can
only be dead or far away. That it was dialled 10 ms before the winner connected is not its fault.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from random import Random
from typing import Protocol
from weakref import WeakValueDictionary

from ..dns.order import Ranked, interleave, ordered
from ..dns.precedence import Precedence
from ..dns.resolver import Answer
from ..origin import Address, Origin

__all__ = ["Addresses", "Ejections", "Load"]

BAD_FOR = 30.0  # s
MAX_KNOWN = 1024
LOOKED_AT = 64  # addresses of each family
FAR_SLOWER = 3.0  # times what the winner of a race needed: known at once to be dead, or far away


class Ejections(Protocol):
    """Which addresses are ejected for a while."""

    def record(self, origin: Origin, address: Address, *, is_failure: bool) -> bool: ...

    def usable(self, origin: Origin, addresses: Sequence[Address]) -> list[Address]: ...


class Load:
    """
    How much is in flight to one address of an origin.

    Attributes:
        in_flight: HTTP/1.1 connections in use, and dials that begin with this address.
        has_others: The origin has more addresses than this one.
    """

    __slots__ = ("__weakref__", "has_others", "in_flight")

    def __init__(self, *, has_others: bool) -> None:
        self.in_flight = 0
        self.has_others = has_others


class _Several:
    """
    The addresses of a name that has several: sorted once for each answer, and not for each dial.

    Attributes:
        ranked: Where the machine has a route, by RFC 6724.
        turn: Dials so far.
        refused: What a guard must look at again: all until it has, then the one that it refused, or nothing.
    """

    __slots__ = ("addresses", "ranked", "refused", "turn")

    def __init__(self, addresses: tuple[Address, ...], ranked: Ranked, turn: int) -> None:
        self.addresses = addresses
        self.ranked = ranked
        self.refused: Sequence[Address] = addresses
        self.turn = turn


class Addresses:
    """Of all origins; the least recently used go first."""

    def __init__(self, *, now: Callable[[], float], rng: Random, ejections: Ejections, precedence: Precedence) -> None:
        self._now = now
        self._rng = rng
        self._ejections = ejections
        self._precedence = precedence
        self._bad: OrderedDict[tuple[str, int], float] = OrderedDict()
        self._slow: OrderedDict[tuple[str, int], None] = OrderedDict()  # lost to a later one when last dialled
        self.several: OrderedDict[Origin, _Several] = OrderedDict()
        self._loads: WeakValueDictionary[tuple[Origin, Address], Load] = WeakValueDictionary()

    def order(self, origin: Origin, answer: Answer, avoid: Sequence[Address]) -> list[Address]:
        """
        Those to dial, in their order: an address that is ejected, failed lately, or is in *avoid* comes last.

        All of them, or some at equal distances where a family has more than `LOOKED_AT`.
        """
        if len(answer.addresses) == 1:
            self.several.pop(origin, None)
            return list(answer.addresses)
        several = self._several_of(origin, answer.addresses)
        several.turn += 1
        ranked = several.ranked
        if answer.ranks:
            found = ordered(answer, ranked, several.turn, rng=self._rng, most=LOOKED_AT)
        else:
            found = ranked.in_turn(several.turn, LOOKED_AT)
        usable = frozenset(self._ejections.usable(origin, found))

        def badness(address: Address) -> tuple[bool, bool, bool, bool]:
            return (
                ranked.is_unreachable(address),
                address not in usable,
                self.is_bad(origin, address),
                address in avoid,
            )

        if self._bad or avoid or len(usable) < len(found):
            found.sort(key=badness)
        if not answer.ranks and self._loads:
            best, place = badness(found[0]), ranked.place(found[0])
            equals = [each for each in found if ranked.place(each) == place and badness(each) == best]
            least = min(equals, key=lambda each: self._in_flight(origin, each))
            at = found.index(least)
            found[0], found[at] = least, found[0]  # which leaves the families in turn
        return found

    def joined(self, origin: Origin, left: Sequence[Address], late: Sequence[Address], last: Address) -> list[Address]:
        """
        Those that are *left* to be dialled, and those that came *late*, in one order.

        Args:
            last: Dialled last; the other family is next.
        """
        several = self.several.get(origin)
        ranked = self._ranked([*left, *late])
        found = ranked.in_turn(0 if several is None else several.turn, LOOKED_AT)
        others = [each for each in found if each.is_ipv6 != last.is_ipv6]
        found = interleave(others, [each for each in found if each.is_ipv6 == last.is_ipv6])
        found.sort(key=lambda each: (ranked.is_unreachable(each), self.is_bad(origin, each)))
        return found

    def to_check(self, origin: Origin, answer: Answer) -> Sequence[Address]:
        """Which of an answer's addresses a guard has to look at: once all, later only the one that it refused."""
        several = self.several.get(origin)
        return answer.addresses if several is None or several.addresses is not answer.addresses else several.refused

    def checked(self, origin: Origin, answer: Answer, refused: Sequence[Address]) -> None:
        """A guard looked at all of an answer's addresses, and *refused* these."""
        several = self.several.get(origin)
        if several is not None and several.addresses is answer.addresses:
            several.refused = refused

    def has_other(self, origin: Origin, avoid: Sequence[Address]) -> bool:
        """Whether there is a good address but those in *avoid*, among those that the next dial would look at."""
        several = self.several.get(origin)
        if several is None:
            return False
        usable = self._ejections.usable(origin, several.ranked.in_turn(several.turn + 1, LOOKED_AT))
        return any(each not in avoid and not self.is_bad(origin, each) for each in usable)

    def note(self, origin: Origin, address: Address, *, is_failure: bool) -> bool:
        """How an attempt ended; returns whether *address* is ejected from now on, and its connections with it."""
        if origin not in self.several:
            return False
        self.several.move_to_end(origin)  # in use, though it may not be dialled for long
        return self._ejections.record(origin, address, is_failure=is_failure)

    def load(self, origin: Origin, address: Address) -> Load:
        """The count of exchanges in flight; it lasts as long as something holds it."""
        load = self._loads.get((origin, address))
        if load is None:
            load = self._loads[origin, address] = Load(has_others=origin in self.several)
        return load

    def mark_bad(self, origin: Origin, address: Address) -> None:
        """Try *address* last for a while, because it refused, hung, or broke off; unless the name has only this one."""
        if origin not in self.several:
            return
        key = (address.ip, address.port or origin.port)
        self._slow.pop(key, None)
        self._bad[key] = self._now() + BAD_FOR
        self._bad.move_to_end(key)
        while len(self._bad) > MAX_KNOWN:
            self._bad.popitem(last=False)

    def outrun(self, origin: Origin, address: Address, *, ran: float, needed: float) -> None:
        """
        *address* had not connected after *ran* s, when one that was dialled later had, in *needed* s.

        It is bad if that was far longer, or if it happens twice in a row. So a dead address delays at most two dials,
        and a far one that is slower now and then has its turns.
        """
        key = (address.ip, address.port or origin.port)
        if ran >= FAR_SLOWER * needed or key in self._slow:
            self.mark_bad(origin, address)
        elif origin in self.several:
            self._slow[key] = None
            while len(self._slow) > MAX_KNOWN:
                self._slow.popitem(last=False)

    def connected(self, origin: Origin, address: Address) -> None:
        """*address* took a connection, so that it was outrun before doesn't matter."""
        if self._slow:
            self._slow.pop((address.ip, address.port or origin.port), None)

    def is_bad(self, origin: Origin, address: Address) -> bool:
        return self._bad.get((address.ip, address.port or origin.port), 0.0) > self._now()

    def _several_of(self, origin: Origin, addresses: tuple[Address, ...]) -> _Several:
        several = self.several.get(origin)
        if several is None:
            self._has_others_now(origin, addresses)
            several = self.several[origin] = _Several(addresses, self._ranked(addresses), -1)
            if len(self.several) > MAX_KNOWN:
                self.several.popitem(last=False)
        elif several.addresses is not addresses:
            several = self.several[origin] = _Several(addresses, self._ranked(addresses), several.turn)
        self.several.move_to_end(origin)
        return several

    def _ranked(self, addresses: Sequence[Address]) -> Ranked:
        return Ranked(self._precedence.sort(addresses))

    def _has_others_now(self, origin: Origin, addresses: tuple[Address, ...]) -> None:
        keys = [(origin, each) for each in addresses] if len(addresses) < len(self._loads) else list(self._loads)
        for key in keys:
            if key[0] == origin and (load := self._loads.get(key)) is not None:
                load.has_others = True

    def _in_flight(self, origin: Origin, address: Address) -> int:
        load = self._loads.get((origin, address))
        return 0 if load is None else load.in_flight
