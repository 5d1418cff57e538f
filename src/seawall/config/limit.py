"""How fast one origin is asked."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, Final, Literal

from .check import number, shown
from .store import LimitStore, check_shared

__all__ = ["Limit"]

DEFAULTS: Final = (None, 1.0, None, None, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """
    How many requests (or tokens) a second an origin is sent. Attempts wait for their turn, first in, first out.

    In any span of t seconds, attempts take at most ``rate * t / per + burst``. One that costs more than *burst* is let
    through once nothing is owed.

    Args:
        rate: What may be taken in *per* seconds, > 0. None sets no rate: then the limit is only what the origin's
            rejections teach.
        per: Seconds, > 0.
        burst: What may be taken at once after a pause, >= 1. None stands for a tenth of *rate*, at least 1, because a
            server that counts in fixed windows of a second forgives that much.
        cost: What an attempt takes, > 0: a number, or a function of the library's request.
        settle: A function of a good response that returns what the attempt took in truth, such as an LLM's tokens; the
            difference is charged or given back. Not asked for streams. None leaves it at *cost*.
        key: A function of the library's request that returns whose limit it is: a tenant, an API key; anything that
            can be a key of a dict. None makes it the origin's.
        max_wait: Longest wait for a turn, in seconds, >= 0; math.inf waits as long as the deadline allows. An attempt
            that would have to wait longer is refused at once. None stands for the request's pool timeout.
        learn: Wait where the origin's ``RateLimit`` or ``x-ratelimit-*`` headers say that nothing is left, until when
            they say, before it rejects anything. Without it only rejections (429, or a 503 at once) teach.
        shared: Where processes count together, such as `seawall.integrations.redis.Redis`; then *rate* and *burst* are
            those of all of them. None counts in each engine alone.
        fallback: What is let through while the store of *shared* is away: "share" lets through this process' share, the
            rate over the number of processes that were seen in the last minute; "open" lets through everything;
            "closed" lets through nothing, so attempts wait for the store.
        processes: How many processes there are as long as the store hasn't said, >= 1, for their shares.
    """

    rate: float | None = None
    per: float = 1.0
    burst: float | None = None
    cost: float | Callable[[Any], float] = 1.0
    settle: Callable[[Any], float] | None = None
    key: Callable[[Any], Hashable] | None = None
    max_wait: float | None = None
    learn: bool = False
    shared: LimitStore | None = None
    fallback: Literal["share", "open", "closed"] = "share"
    processes: int = 1

    def __post_init__(self) -> None:
        if self.rate is not None:
            number("Limit", "rate", self.rate, low=0, above=True)
        number("Limit", "per", self.per, low=0, above=True)
        if self.burst is not None:
            number("Limit", "burst", self.burst, low=1)
        if not callable(self.cost):
            number("Limit", "cost", self.cost, low=0, above=True)
        for name in ("settle", "key"):
            if (value := getattr(self, name)) is not None and not callable(value):
                raise TypeError(f"Limit.{name} must be a function or None, not {shown(value)}")
        if self.max_wait is not None and self.max_wait != math.inf:
            number("Limit", "max_wait", self.max_wait, low=0)
        if self.rate is None and (self.burst, self.cost, self.settle, self.key, self.shared) != DEFAULTS:
            raise ValueError("Limit.burst, cost, settle, key and shared need a rate")
        check_shared("Limit", self.shared, self.fallback, self.processes)
        if not isinstance(self.learn, bool):
            raise TypeError(f"Limit.learn must be True or False, not {shown(self.learn)}")

    @property
    def size(self) -> float:
        """The burst in force."""
        if self.burst is not None or self.rate is None:
            return self.burst or 1.0
        return max(1.0, self.rate / self.per / 10)
