"""A store's breaker: whether it is away, and which attempt probes it. Synchronous; time and chance are arguments."""

from __future__ import annotations

import math
from random import Random
from typing import Final

__all__ = ["Outage"]

OPEN_FOR: Final = 0.9  # s until the store is asked again, at most; each process draws its own, from half of it on


class Outage:
    """
    Attributes:
        since: When the store was found to be away; None while it answers.
        lasted: Seconds that the last outage took.
        ended_at: When the last outage ended; -inf if there was none.
        is_probing: An answer is awaited that tells whether it is back.
        retry_at: When it is asked again.
        reason: Why it is taken to be away.
    """

    __slots__ = ("_rng", "ended_at", "is_probing", "lasted", "reason", "retry_at", "since")

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self.is_probing = False
        self.since: float | None = None
        self.lasted = 0.0
        self.ended_at = -math.inf
        self.retry_at = -math.inf
        self.reason = ""

    @property
    def is_on(self) -> bool:
        return self.since is not None

    def may_ask(self, now: float) -> bool:
        """Whether the store may be asked now: one asks for all while it is away."""
        return self.since is None or (now >= self.retry_at and not self.is_probing)

    def asked(self) -> None:
        """Somebody asks the store."""
        self.is_probing = self.since is not None

    def failed(self, now: float, reason: str) -> bool:
        """
        It has not answered, or not in time.

        Returns:
            Whether that is news for attempts that wait: it is away since now, or a probe has failed.
        """
        is_news = self.since is None or self.is_probing
        self.since = now if self.since is None else self.since
        self.retry_at = now + OPEN_FOR * self._rng.uniform(0.5, 1.0)
        self.reason = reason
        self.is_probing = False
        return is_news

    def answered(self, now: float) -> bool:
        """It has answered in time; returns whether that is news: it was away."""
        if self.since is None:
            return False
        self.lasted, self.since, self.ended_at = now - self.since, None, now
        self.is_probing = False
        return True
