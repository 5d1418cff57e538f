"""When an origin is left alone."""

from __future__ import annotations

from dataclasses import dataclass

from .check import count, number

__all__ = ["Breaker"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """
    When the breaker leaves an origin alone.

    Failures are transport errors, timeouts and 5xx but 501; 429 is not a failure, nor is anything that we rejected
    ourselves.

    Args:
        min_calls: Attempts in the window before the breaker can open. 20: Hystrix; Polly's 100 never trips for small
            hosts.
        failure_rate: Share of failures that opens it, > 0 and <= 1. 0.5: Hystrix, resilience4j.
        window: Seconds that the breaker looks back. 10: Hystrix.
        open_for: Seconds before probes, jittered by 10 %. 1: the end of an outage is noticed that soon, however long
            the outage was. Where the upstream hangs, up to an attempt's timeout later.
        max_open_for: Upper bound when Retry-After extends *open_for*, in seconds.
        probes: Attempts that decide. 3: one may be luck, ten (resilience4j) are a burden.
        slow_call: Seconds from which an attempt counts as slow, without its time in the queue or waiting for its
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
