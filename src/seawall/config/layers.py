"""Bulkhead, breaker and budget of an origin."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

from .check import count, number, shown

__all__ = ["Breaker", "Budget", "Bulkhead"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bulkhead:
    """
    How many attempts one origin may have in flight, and who waits.

    Args:
        max_concurrent: Permits per origin, >= 1; one is held until the response's body is closed. 64: at most a third
            of capacity x attempt timeout of a usual upstream, which recovers from overload in seconds.
        max_waiting: Waiters per origin before a call is refused at once; None: any number (the wait is bounded by
            httpx's pool timeout).
        shed_after: s that a waiter gets where the queue has been standing for the pool timeout while at least 10 % of
            the origin's attempts fail. Controlled delay: bursts drain, overload is shed.
        partition: A function of the ``httpx.Request`` that returns the part of the origin whose permits it takes: a
            tenant, a route; anything that can be a key of a dict. None: one part.
    """

    max_concurrent: int = 64
    max_waiting: int | None = None
    shed_after: float = 0.1
    partition: Callable[[Any], Hashable] | None = None

    def __post_init__(self) -> None:
        count("Bulkhead", "max_concurrent", self.max_concurrent, low=1)
        if self.max_waiting is not None:
            count("Bulkhead", "max_waiting", self.max_waiting, low=0)
        number("Bulkhead", "shed_after", self.shed_after, low=0, above=True)
        if self.partition is not None and not callable(self.partition):
            raise TypeError(
                f"Bulkhead.partition must be a function of the request or None, not {shown(self.partition)}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """
    When an origin is left alone.

    Failures are transport errors, timeouts and 5xx but 501; 429 is none, nor is anything that we rejected ourselves.

    Args:
        min_calls: Attempts in the window before it can open. 20: Hystrix; Polly's 100 never trips for small hosts.
        failure_rate: Share of failures that opens it, > 0 and <= 1. 0.5: Hystrix, resilience4j.
        window: s looked back. 10: Hystrix.
        open_for: s before probes, jittered by 10 %. 1: so soon an outage's end is noticed, however long it was.
            Where the upstream hangs, up to an attempt's timeout later.
        max_open_for: Bound of what a Retry-After may make of it, s.
        probes: Attempts let through to decide. 3: one is luck, ten (resilience4j) are a burden.
        slow_call: s from which on an attempt counts as slow, without its time in the queue or waiting for its
            caller. None disables it, because what is slow is the upstream's own; 80 % of the read timeout is
            a good choice.
        slow_rate: Share of slow attempts that opens it, > 0 and <= 1. 1: resilience4j.
    """

    min_calls: int = 20
    failure_rate: float = 0.5
    window: float = 10.0
    open_for: float = 1.0
    max_open_for: float = 60.0
    probes: int = 3
    slow_call: float | None = None
    slow_rate: float = 1.0

    def __post_init__(self) -> None:
        count("Breaker", "min_calls", self.min_calls, low=1)
        number("Breaker", "failure_rate", self.failure_rate, low=0, high=1, above=True)
        number("Breaker", "window", self.window, low=0, above=True)
        number("Breaker", "open_for", self.open_for, low=0, above=True)
        number("Breaker", "max_open_for", self.max_open_for, low=self.open_for)
        count("Breaker", "probes", self.probes, low=1)
        if self.slow_call is not None:
            number("Breaker", "slow_call", self.slow_call, low=0, above=True)
        number("Breaker", "slow_rate", self.slow_rate, low=0, high=1, above=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """
    Allowance of retries: a token bucket per origin and one per client; a retry needs a token of both.

    Where most attempts at an origin have failed for 5 s, none is repeated: many clients of few calls each would not use
    up their buckets, and together keep up the outage (``python -m benchmarks simulate``).

    Args:
        ratio: Tokens that a first attempt deposits, >= 0 and <= 1. 0.1: SRE book.
        rate: Tokens a second per origin. 1: a client with few calls may still retry.
        max_balance: Most tokens per origin; it starts full.
        client_rate: Tokens a second for all origins together.
        max_client_balance: Most tokens for all origins together; it starts full.
    """

    ratio: float = 0.1
    rate: float = 1.0
    max_balance: float = 30.0
    client_rate: float = 10.0
    max_client_balance: float = 100.0

    def __post_init__(self) -> None:
        number("Budget", "ratio", self.ratio, low=0, high=1)
        for name in ("rate", "max_balance", "client_rate", "max_client_balance"):
            number("Budget", name, getattr(self, name), low=0)
