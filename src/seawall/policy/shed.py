"""
The gate that refuses background attempts while their bulkhead is in trouble, because all that the origin can still
answer is needed for the others.

Rules: it is the first of an origin's gates, and one of them only while there is trouble, because each attempt would pay
for it. Background attempts that wait when trouble begins are refused too. While nothing else is in flight, one of
them passes each second, because only an attempt can find out that the trouble is over. Nothing here waits.
"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

from ..config.criticality import BACKGROUND
from ..errors import Shed
from .gate import UNCOUNTED, Entrant, Gate, Ticket

__all__ = ["PROBE_AFTER", "ShedState", "Troubled", "shed"]

PROBE_AFTER: Final = 1.0  # s between two background attempts that pass; a breaker's second


class Troubled(Protocol):
    """The origin's bulkhead, or its bulkheads; see `BulkheadState`."""

    def sheds(self, attempt: Entrant, now: float) -> bool: ...


class ShedState(Gate):
    """
    Args:
        name: The origin's name.
        bulkhead: Knows whether it is in trouble.
    """

    __slots__ = ("_bulkhead", "_name")

    name = "shed"

    def __init__(self, name: str, bulkhead: Troubled) -> None:
        self._name = name
        self._bulkhead = bulkhead

    def __repr__(self) -> str:
        return f"<ShedState {self._name}>"

    def try_enter(self, attempt: Entrant, now: float) -> Ticket | None:
        is_shed = attempt.criticality is BACKGROUND and self._bulkhead.sheds(attempt, now)
        return None if is_shed else UNCOUNTED

    async def enter(self, attempt: Entrant, timeout: float | None) -> Ticket:
        """
        Refuse the attempt, unless its second has come meanwhile.

        Raises:
            Shed: The bulkhead is in trouble.
        """
        ticket = self.try_enter(attempt, asyncio.get_running_loop().time())
        if ticket is None:
            raise shed(self._name)
        return ticket


def shed(name: str) -> Shed:
    """*name*: The origin's, or that of its part."""
    return Shed(
        f"{name}: a background call was refused, because the origin answers so few of its requests that others "
        'need all of it; set criticality="default" for calls that are worth as much, or make it again later',
        retry_after=PROBE_AFTER,
    )
