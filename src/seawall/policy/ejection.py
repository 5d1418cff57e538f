"""
Addresses of a name that are left out for a while, because what they answer is bad.

Rules: only of names with several addresses. Never more than half of them: where more are bad, it is not the addresses
(panic), and all are used. An address that comes back is judged anew; one that is bad again is left out for longer.
Left out is tried last: if no other can be reached, a call is better off there than nowhere. A failure is what the
breaker counts as one, so a caller's impatience ejects no address.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from random import Random

from ..origin import Address, Origin
from .memory import make_room

__all__ = ["Ejections"]

MAX_FAILURES = 5  # in a row; Envoy's consecutive_5xx, Finagle's failure accrual
EJECTED_FOR = 30.0  # s, times how often it was; Envoy's base_ejection_time
MAX_EJECTED_FOR = 300.0  # s; Envoy's max_ejection_time
JITTER = 0.1  # of it, on top: they don't all come back at once
MAX_KNOWN = 1024


class _Health:
    """Of one address of an origin."""

    __slots__ = ("ejected_until", "ejections", "failures")

    def __init__(self) -> None:
        self.failures = 0  # in a row
        self.ejections = 0
        self.ejected_until = 0.0


class Ejections:
    """
    What is known of addresses; the least recently heard of goes first, and what is left out last.

    Args:
        now: s on the loop's clock.
    Source: Envoy's outlier detection.
    """

    def __init__(self, *, now: Callable[[], float], rng: Random) -> None:
        self._now = now
        self._rng = rng
        self._known: OrderedDict[tuple[Origin, Address], _Health] = OrderedDict()

    def record(self, origin: Origin, address: Address, *, is_failure: bool) -> bool:
        """
        Note how an attempt at *address* ended.

        Returns:
            Whether that was one failure too many: its connections are not to be used any more.
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
        health.ejected_until = now + length * self._rng.uniform(1.0, 1.0 + JITTER)
        return True

    def usable(self, origin: Origin, addresses: Sequence[Address]) -> list[Address]:
        """*addresses* without those that are left out; all of them, where that would be more than half."""
        if not self._known:
            return list(addresses)
        now = self._now()
        good = [address for address in addresses if not self._is_out(origin, address, now)]
        return good if 2 * len(good) >= len(addresses) else list(addresses)

    def _is_out(self, origin: Origin, address: Address, now: float) -> bool:
        health = self._known.get((origin, address))
        return health is not None and now < health.ejected_until
