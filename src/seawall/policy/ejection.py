"""
Addresses of a name that are ejected for a while, because attempts at them fail.

Rules: only a name with several addresses has ejected ones, and never more than half of them: if more are bad, the
addresses aren't the reason (panic), and all are used. An address that comes back is judged anew; one that is bad again
is ejected for longer. An ejected address is tried last, because a call is better off there than nowhere. A failure is
what the breaker counts as one, so an impatient caller ejects no address.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from random import Random

from ..events import AddressEjected, AddressReadmitted, Listener
from ..origin import Address, Origin
from .memory import make_room

__all__ = ["Ejections"]

MAX_FAILURES = 5  # in a row; Envoy's consecutive_5xx, Finagle's failure accrual
EJECTED_FOR = 30.0  # seconds, times the number of ejections; Envoy's base_ejection_time
MAX_EJECTED_FOR = 300.0  # s; Envoy's max_ejection_time
JITTER = 0.1  # share that chance adds, so that addresses don't all come back at once
MAX_KNOWN = 1024


class _Health:
    """What is known of one address of an origin."""

    __slots__ = ("ejected_until", "ejections", "failures", "is_ejected")

    def __init__(self) -> None:
        self.failures = 0  # in a row
        self.ejections = 0
        self.ejected_until = 0.0
        self.is_ejected = False  # what observers were last told


class Ejections:
    """
    What is known of addresses; the one least recently heard from is forgotten first, an ejected one last.

    Args:
        now: Seconds on the loop's clock.
    Source: Envoy's outlier detection.
    """

    def __init__(self, *, now: Callable[[], float], rng: Random, emit: Listener = lambda _: None) -> None:
        self._emit = emit
        self._now = now
        self._rng = rng
        self._known: OrderedDict[tuple[Origin, Address], _Health] = OrderedDict()

    def record(self, origin: Origin, address: Address, *, is_failure: bool) -> bool:
        """
        Note how an attempt at *address* ended.

        Returns:
            Whether that was one failure too many, so that its connections must not be used any more.
        """
        key = (origin, address)
        health = self._known.get(key)
        if health is None:
            if not is_failure:
                return False
            now = self._now()
            make_room(self._known, MAX_KNOWN, remembers=lambda each: now < each.ejected_until)
            health = self._known[key] = _Health()
        self._known.move_to_end(key)
        if not is_failure:
            health.failures = 0
            return False
        health.failures += 1
        now = self._now()
        if health.failures < MAX_FAILURES or now < health.ejected_until:
            return False
        health.failures = 0
        health.ejections += 1
        length = min(MAX_EJECTED_FOR, EJECTED_FOR * health.ejections)
        length *= self._rng.uniform(1.0, 1.0 + JITTER)
        health.ejected_until = now + length
        health.is_ejected = True
        self._emit(AddressEjected(origin, address, length))
        return True

    def usable(self, origin: Origin, addresses: Sequence[Address]) -> list[Address]:
        """*addresses* without the ejected ones; all of them, if more than half are ejected."""
        if not self._known:
            return list(addresses)
        now = self._now()
        good = [address for address in addresses if not self._is_ejected(origin, address, now)]
        return good if 2 * len(good) >= len(addresses) else list(addresses)

    def ejected(self, now: float) -> dict[Origin, tuple[Address, ...]]:
        """The addresses that are ejected at *now*."""
        found: dict[Origin, tuple[Address, ...]] = {}
        for (origin, address), health in self._known.items():
            if now < health.ejected_until:
                found[origin] = (*found.get(origin, ()), address)
        return found

    def _is_ejected(self, origin: Origin, address: Address, now: float) -> bool:
        health = self._known.get((origin, address))
        if health is None:
            return False
        if now < health.ejected_until:
            return True
        if health.is_ejected:
            health.is_ejected = False
            self._emit(AddressReadmitted(origin, address))
        return False
