"""The tickets of a breaker: admissions, and the places of a half-open one's probes."""

from __future__ import annotations

from typing import Protocol

from .gate import Result, Ticket

__all__ = ["Admission", "Probe"]


class Breaking(Protocol):
    """A breaker, as its tickets look at it; see `BreakerState`."""

    state: str
    generation: int

    def release(self, generation: int) -> None: ...

    def record(
        self,
        generation: int,
        now: float,
        *,
        is_failure: bool,
        duration: float = 0.0,
        retry_after: float | None = None,
    ) -> None: ...

    def retract(self, generation: int, now: float, *, recorded_at: float, duration: float = 0.0) -> None: ...


class Admission(Ticket):
    """A closed breaker's ticket: attempts of one generation share it, because nothing tells them apart."""

    __slots__ = ("_breaker", "_generation")

    def __init__(self, breaker: Breaking, generation: int) -> None:
        self._breaker = breaker
        self._generation = generation

    def is_valid(self) -> bool:
        return self._breaker.generation == self._generation

    def end(self, result: Result | None, now: float) -> None:
        if result is None or (result.is_rejection and self._breaker.state == "closed"):  # a probe finds it well
            self._breaker.release(self._generation)
        else:
            outcome, is_failure, duration, *_ = result
            self._breaker.record(
                self._generation, now, is_failure=is_failure, duration=duration, retry_after=outcome.retry_after
            )

    def retract(self, now: float, *, ended_at: float, duration: float) -> None:
        self._breaker.retract(self._generation, now, recorded_at=ended_at, duration=duration)


class Probe(Admission):
    """A half-open breaker's ticket, which belongs to one attempt."""

    __slots__ = ()

    def end(self, result: Result | None, now: float) -> None:
        is_valid = self.is_valid()
        super().end(result, now)
        self._generation = self._breaker.generation if is_valid else -1  # the probe may have closed the breaker
