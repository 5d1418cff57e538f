"""How many attempts one origin may have in flight."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, Literal

from .check import count, number, shown
from .store import BulkheadStore, check_shared

__all__ = ["Bulkhead"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bulkhead:
    """
    How many attempts one origin may have in flight, and how long others wait.

    Args:
        max_concurrent: Permits per origin, >= 1. An attempt holds one until its response's body is closed. 64: at most
            a third of capacity x attempt timeout of a usual upstream, which recovers from overload in seconds.
        max_waiting: Waiters per origin before a call is refused at once. None disables it, because httpx's pool timeout
            bounds the wait.
        shed_after: Seconds that a waiter may wait where the queue has been standing for the pool timeout while at least
            10 % of the origin's attempts fail. Controlled delay: bursts drain, overload is shed.
        adaptive: Whether a request that was sent and given up holds its permit until something sent later is answered,
            and whether the limit falls while requests go unanswered. True, because a server still works on what was
            given up, and 64 more per timeout keep it from recovering. `max_concurrent` is the ceiling. False suits an
            origin of long polls.
        partition: A function of the ``httpx.Request`` that returns the part of the origin whose permits the request
            takes: a tenant, a route; anything that can be a key of a dict. None makes the origin one part.
        shared: Where processes count together, such as `seawall.integrations.redis.Redis`; then *max_concurrent* holds
            for all of them together, and what *adaptive* allows is each process' own bound below that: a permit of an
            abandoned request is one of the fleet's. Waiters queue in each process, at most *max_waiting* in each,
            besides those that wait for the store's answer. None counts in each engine alone.
        fallback: How many attempts may be in flight while the store of *shared* is away: "share" allows this process'
            share, *max_concurrent* over the number of processes that were seen in the last minute, at least 1; "open"
            allows *max_concurrent* in each process; "closed" allows no new ones, so attempts wait for the store.
        processes: How many processes there are as long as the store hasn't said, >= 1, for their shares.
    """

    max_concurrent: int = 64
    max_waiting: int | None = None
    shed_after: float = 0.1
    adaptive: bool = True
    partition: Callable[[Any], Hashable] | None = None
    shared: BulkheadStore | None = None
    fallback: Literal["share", "open", "closed"] = "share"
    processes: int = 1

    def __post_init__(self) -> None:
        count("Bulkhead", "max_concurrent", self.max_concurrent, low=1)
        if self.max_waiting is not None:
            count("Bulkhead", "max_waiting", self.max_waiting, low=0)
        number("Bulkhead", "shed_after", self.shed_after, low=0, above=True)
        if not isinstance(self.adaptive, bool):
            raise TypeError(f"Bulkhead.adaptive must be True or False, not {shown(self.adaptive)}")
        if self.partition is not None and not callable(self.partition):
            raise TypeError(
                f"Bulkhead.partition must be a function of the request or None, not {shown(self.partition)}"
            )
        check_shared("Bulkhead", self.shared, self.fallback, self.processes)
