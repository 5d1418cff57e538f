"""
A seat: the place that a call takes in a fan-out, which has a number of them.

A call that waits here, for a gate, a pause or its backoff, leaves its seat, because another call can use it meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final, Protocol

__all__ = ["BACKOFF", "PAUSE", "SEAT", "Seat", "aside"]

BACKOFF: Final = "backoff"
PAUSE: Final = "pause"


class Seat(Protocol):
    """Whoever gives seats."""

    def leave(self, why: str) -> None:
        """The call waits now; *why* is the gate's name, or a constant of this module."""

    def take(self) -> None:
        """It goes on, even if no seat is free, because it may hold what others wait for."""


SEAT: ContextVar[Seat | None] = ContextVar("seawall_seat", default=None)
"""The seat of the calls that this task makes; read only where a call waits, so others don't pay for it."""


@contextmanager
def aside(why: str) -> Iterator[None]:
    """The call waits in this block."""
    seat = SEAT.get()
    if seat is None:
        yield
        return
    seat.leave(why)
    try:
        yield
    finally:
        seat.take()
