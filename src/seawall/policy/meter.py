"""
The generic cell rate algorithm: a rate with a burst, kept as one instant. Synchronous; time is an argument.

Rules: in any span of t seconds, what is taken is at most ``rate * t + burst``. What costs more than the burst is let
through once nothing is owed, and delays what follows.

Source: ITU-T I.371; its form with a "theoretical arrival time" is that of https://brandur.org/rate-limiting.
"""

from __future__ import annotations

import math

from .turnstile import Turnstile

__all__ = ["Kept", "Meter"]


class Meter:
    """
    Args:
        rate: Per second, > 0.
        burst: What may be taken at once, >= 1.
    """

    __slots__ = ("_burst", "_due_at", "rate")

    def __init__(self, rate: float, burst: float) -> None:
        self.rate = rate
        self._burst = burst
        self._due_at = -math.inf  # when nothing is owed any more

    def wait(self, now: float, cost: float, ahead: float = 0.0) -> float:
        """Seconds until *cost* may be taken, if *ahead* is taken before, and nothing else; >= 0."""
        due_at = max(self._due_at, now) + ahead / self.rate if ahead else self._due_at
        credit = max(0.0, (self._burst - cost) / self.rate)
        return max(0.0, due_at - credit - now)

    def take(self, now: float, cost: float) -> None:
        """Take *cost*; ask `wait` before. A negative one gives back, but never more than was owed."""
        self._due_at = max(now, max(self._due_at, now) + cost / self.rate)

    def owes(self, now: float) -> bool:
        """Whether what was taken still counts."""
        return self._due_at > now

    def settle(self, now: float, more: float) -> None:
        """What was taken has cost so much *more*."""
        self.take(now, more)

    def change_rate(self, now: float, rate: float, burst: float | None = None) -> None:
        """Another *rate* from now on; what is owed takes as many requests as before, not as many seconds."""
        self._burst = self._burst if burst is None else burst
        owed = max(0.0, self._due_at - now) * self.rate
        self.rate = rate
        self._due_at = now + owed / rate


class Kept(Meter):
    """
    A meter that several draw on. It is kept as long as one of them holds it.

    Args:
        turnstile: Where lines wait for it; None makes one.
    """

    __slots__ = ("__weakref__", "turnstile")

    def __init__(self, rate: float, burst: float, turnstile: Turnstile | None = None) -> None:
        super().__init__(rate, burst)
        self.turnstile = Turnstile() if turnstile is None else turnstile
