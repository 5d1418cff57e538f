"""
The lines of one origin's limits, one for each credential and key, and the meters that they share.

Rules: a line that nobody waits in may be forgotten, the least recently used first, but last one that owes something,
because whoever comes back to a new one would find the limit unused.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterator
from typing import Final
from weakref import WeakValueDictionary

from ..config import Limit
from .lease import Leases
from .line import Line
from .memory import make_room
from .meter import Kept
from .shared import Group, public
from .supply import Supply
from .terms import Terms
from .turnstile import Turnstile

__all__ = ["MAX_LINES", "Lines"]

MAX_LINES: Final = 1024  # twice as many, if they owe something


class Lines:
    """
    Args:
        limits: Those that have a rate.
        group: Where the shared ones of them are; None if none is shared.
    """

    __slots__ = ("_group", "_limits", "_lines", "_meters", "_supplies", "_turnstiles")

    def __init__(self, limits: tuple[Limit, ...], group: Group | None) -> None:
        self._limits = limits
        self._group = group
        self._lines: OrderedDict[Hashable, Line] = OrderedDict()
        self._meters: WeakValueDictionary[tuple[int, Hashable], Kept] = WeakValueDictionary()
        self._supplies: WeakValueDictionary[tuple[Hashable, ...], Supply] = WeakValueDictionary()
        self._turnstiles: WeakValueDictionary[tuple[Hashable, Hashable], Turnstile] = WeakValueDictionary()

    def __iter__(self) -> Iterator[Line]:
        return iter(self._lines.values())

    def find(self, credential: bytes, parts: tuple[Hashable, ...], now: float) -> Line:
        """The line of a credential and of its parts, one for each limit."""
        key = (credential, *parts)
        line = self._lines.get(key)
        if line is None:
            make_room(
                self._lines,
                MAX_LINES,
                is_busy=lambda line: bool(line.waiters.queues),
                remembers=lambda line: self._owes_alone(line, now),
            )
            line = self._lines[key] = self._new(credential, parts)
        else:
            self._lines.move_to_end(key)
        return line

    def owes(self, now: float) -> bool:
        """Whether what was taken still counts."""
        lines = reversed(self._lines.values())  # the last ones owe most likely
        return any(meter.owes(now) for line in lines for meter in line.meters)

    def _owes_alone(self, line: Line, now: float) -> bool:
        """Whether a debt would be forgotten with *line*; that of the whole origin lives on in the other lines."""
        meters = zip(self._limits, line.meters, strict=True)
        return any(limit.key is not None and meter.owes(now) for limit, meter in meters)

    def _new(self, credential: bytes, parts: tuple[Hashable, ...]) -> Line:
        """A line; the meters of shared limits count only while the store is away."""
        meters = [self._meter(index, part) for index, part in enumerate(parts)]
        indexes = tuple(index for index, limit in enumerate(self._limits) if limit.shared is not None)
        if self._group is None or not indexes:
            return Line(credential, tuple(meters))
        supply = self._supply(self._group, indexes, tuple(parts[index] for index in indexes), meters)
        line = Line(credential, tuple(supply.meters.get(index, meter) for index, meter in enumerate(meters)))
        line.source = supply
        return line

    def _supply(
        self, group: Group, indexes: tuple[int, ...], parts: tuple[Hashable, ...], meters: list[Kept]
    ) -> Supply:
        """The supply of the shared limits for these parts. Lines share it, as they share meters."""
        supply = self._supplies.get(parts)
        if supply is None:
            terms = tuple(Terms.of(self._limits[index]) for index in indexes)
            leases = Leases(terms, tuple(meters[index] for index in indexes), group.store.outage)
            keys = tuple(f"{index}:{public(part)}" for index, part in zip(indexes, parts, strict=True))
            supply = self._supplies[parts] = Supply(group, leases, keys, indexes)
        return supply

    def _meter(self, index: int, part: Hashable) -> Kept:
        """
        The meter of a limit for a part. Lines share it, and it lives as long as one of them does, or an attempt that
        has taken of it: if it were forgotten earlier, the next line would begin a second one.
        """
        meter = self._meters.get((index, part))
        if meter is None:
            limit = self._limits[index]
            assert limit.rate is not None
            meter = Kept(limit.rate / limit.per, limit.size, self._turnstiles.get((limit.key, part)))
            self._meters[index, part], self._turnstiles[limit.key, part] = meter, meter.turnstile
        return meter
