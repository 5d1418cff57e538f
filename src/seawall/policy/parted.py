"""The bulkheads of one origin: one, or one for each of its parts."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from typing import Any

from ..config import Bulkhead
from .adaptive import AdaptiveState
from .bulkhead import BulkheadState
from .fleet import Fleet
from .gate import Entrant, Gate, Ticket
from .memory import make_room
from .shared import Group, public

__all__ = ["Parted", "bulkhead_of"]

MAX_PARTS = 1024  # twice as many, if they remember something


class Parted(Gate):
    """
    One bulkhead for each part of an origin, made when the part is first seen.

    Args:
        partition: Returns the part that a request belongs to.
        make: Makes the bulkhead of a part.
    """

    __slots__ = ("_make", "_partition", "_parts")

    name = "bulkhead"

    def __init__(self, partition: Callable[[Any], Hashable], make: Callable[[Hashable], BulkheadState]) -> None:
        self._partition = partition
        self._make = make
        self._parts: OrderedDict[Hashable, BulkheadState] = OrderedDict()

    def __iter__(self) -> Iterator[BulkheadState]:
        return iter(self._parts.values())

    def try_enter(self, attempt: Entrant, now: float) -> Ticket | None:
        return self._part(attempt, now).try_enter(attempt, now)

    async def enter(self, attempt: Entrant, timeout: float | None) -> Ticket:
        return await self._part(attempt, asyncio.get_running_loop().time()).enter(attempt, timeout)

    def is_in_trouble(self, attempt: Entrant, now: float) -> bool:
        """As `BulkheadState.is_in_trouble`."""
        return self._part(attempt, now).is_in_trouble(attempt, now)

    def sheds(self, attempt: Entrant, now: float) -> bool:
        """As `BulkheadState.sheds`."""
        return self._part(attempt, now).sheds(attempt, now)

    @property
    def is_idle(self) -> bool:
        return all(part.is_idle for part in self)

    def remembers(self, now: float) -> bool:
        return any(part.remembers(now) for part in self)

    def _part(self, attempt: Entrant, now: float) -> BulkheadState:
        key = attempt.part(self._partition)
        found = self._parts.get(key)
        if found is None:
            make_room(
                self._parts,
                MAX_PARTS,
                is_busy=lambda part: not part.is_idle,
                remembers=lambda part: part.remembers(now),
            )
            found = self._parts[key] = self._make(key)
        else:
            self._parts.move_to_end(key)
        return found


def bulkhead_of(
    name: str,
    settings: Bulkhead,
    moved: Callable[[int, int, str], None],
    failures: Callable[[float], float] | None = None,
    group: Group | None = None,
) -> BulkheadState | Parted:
    """
    The gate that *settings* ask for.

    Args:
        name: The origin's name.
        moved: See `AdaptiveState`.
        failures: See `BulkheadState`.
        group: Where its permits are shared; None if they aren't.
    """

    def share(made: BulkheadState, part: Hashable) -> BulkheadState:
        if group is not None:
            key, most = f"permits:{public(part)}", settings.max_concurrent
            made.fleet = Fleet(group, made, key, max_concurrent=most, fallback=settings.fallback)
            made.lease(0)
        return made

    def make(name: str) -> BulkheadState:
        more: dict[str, Any] = {
            "setting": "Bulkhead.max_concurrent",
            "max_waiting": settings.max_waiting,
            "shed_after": settings.shed_after,
            "failures": failures,
        }
        if settings.adaptive:
            return AdaptiveState(name, settings.max_concurrent, moved=moved, **more)
        return BulkheadState(name, settings.max_concurrent, **more)

    if settings.partition is None:
        return share(make(name), None)
    mine = f"{name}, the call's part of the bulkhead"  # it doesn't name the part, which may be a caller's token
    return Parted(settings.partition, lambda part: share(make(mine), part))
