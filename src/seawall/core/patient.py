"""What a patient attempt does where a gate refuses it for a while: it waits, as in that gate's queue."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import Final, Protocol

from ..errors import BreakerOpen, Rejected, Shed
from ..policy.gate import Gate, Result, Ticket
from .seat import aside

__all__ = ["LEAST", "Gated", "says_when", "wait_out"]

LEAST: Final = 0.01  # s; seawall would ask a user's gate that says 0 in each turn of the loop


class Gated(Protocol):
    """An origin and its gates; see `OriginState`."""

    gates: tuple[Gate, ...]

    @property
    def away(self) -> Gate | None: ...

    @property
    def shed(self) -> Gate | None: ...

    @property
    def breaker(self) -> Gate | None: ...

    def shut_for(self, now: float) -> float: ...

    async def sit_out(self, deadline_at: float | None, *, is_patient: bool) -> None: ...


class Refused(Protocol):
    """An attempt that a gate refused; see `AttemptState`."""

    tickets: list[Ticket]
    queued: tuple[tuple[str, float], ...]

    def now(self) -> float: ...

    def queued_at(self, gate: str, duration: float) -> None: ...

    def end(self, result: Result | None, now: float) -> None: ...


def says_when(error: Rejected) -> bool:
    """Whether it is worth waiting for: a breaker that is held open says inf, and a gate of the user's maybe nothing."""
    retry_after = getattr(error, "retry_after", None)
    return isinstance(retry_after, int | float) and retry_after < math.inf


async def wait_out(attempt: Refused, error: BreakerOpen | Shed, gates: Sequence[Gate], origin: Gated) -> None:
    """
    End what *attempt* has of *gates*, one of which refused it with *error*, and wait until it is worth asking again.

    The attempt's history has the wait as one at that gate, so that nobody takes it for the origin's time.

    Args:
        error: One that `says_when`.
    """
    passed = zip(gates, attempt.tickets, strict=False)
    has_passed = any(gate is origin.breaker and ticket.is_valid() for gate, ticket in passed)
    name: str = error.by
    began_at = attempt.now()
    attempt.end(None, began_at)
    try:
        with aside(name):
            # An attempt that the breaker let through must not wait for it, because it would hand its place on and on.
            if isinstance(error, BreakerOpen) and not has_passed and origin.shut_for(began_at) > 0:
                await origin.sit_out(None, is_patient=True)
            else:  # a gate of the user's says so, or there is trouble, whose end nobody knows
                await asyncio.sleep(max(LEAST, error.retry_after))
    finally:
        _note(attempt, name, attempt.now() - began_at)


def _note(attempt: Refused, gate: str, duration: float) -> None:
    """As one wait with the last, if that was at the same gate, because in trouble it is asked each second."""
    before = attempt.queued
    attempt.queued_at(gate, duration)
    if duration and before and before[-1][0] == gate:
        attempt.queued = (*before[:-1], (gate, before[-1][1] + duration))
