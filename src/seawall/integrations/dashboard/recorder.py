"""`Recorder`: the observer that a dashboard has at each of its clients."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from ...events import Attempt, BodyEnd, BodyEnded, CallEnded, Event, LimitDegraded, LimitRestored, LookupEnded
from ...origin import Origin
from .failures import BY_CALLER, Failures, is_failure
from .record import Record

__all__ = ["Recorder"]

MAX_LOOKUPS: Final = 1000
WELL: Final = (BodyEnd.COMPLETE.value, BodyEnd.CLOSED.value)


class Recorder:
    """
    Counts what happens at each origin.

    Args:
        now: Seconds since the dashboard began.
        max_origins: The most that are kept apart; beyond them, the fifth that was called least becomes `other`.
    Attributes:
        other: All that aren't kept apart.
        lookups: The last lookup of each host.
        degraded: The gates that are shared no longer, because their store is away.
    """

    def __init__(self, *, now: Callable[[], float], max_origins: int) -> None:
        self._now = now
        self._max_origins = max_origins
        self.origins: dict[Origin, Record] = {}
        self.other: Record | None = None
        self.lookups: OrderedDict[str, LookupEnded] = OrderedDict()
        self.degraded: OrderedDict[tuple[Origin, str], LimitDegraded] = OrderedDict()
        self.failures = Failures()

    def on(self, event: Event) -> None:
        """Take note of *event*."""
        kind = type(event)
        if kind is Attempt:
            self._attempted(event)  # type: ignore[arg-type]
        elif kind is CallEnded:
            self._ended(event)  # type: ignore[arg-type]
        elif kind is BodyEnded:
            self._body_ended(event)  # type: ignore[arg-type]
        elif kind is LookupEnded:
            self._looked_up(event)  # type: ignore[arg-type]
        elif kind is LimitDegraded or kind is LimitRestored:
            self._shared(event)  # type: ignore[arg-type]

    def _attempted(self, event: Attempt) -> None:
        self.failures.attempted(event)
        record = self.origins.get(event.origin) or self._new(event.origin)
        for dial in event.dials:
            record.met(dial.address, is_answered=dial.outcome in ("connected", "abandoned"))
        address = None if event.outcome == "cancelled" else event.address  # which says nothing about it
        record.attempted(int(self._now()), address, is_answered=event.status is not None)

    def _ended(self, event: CallEnded) -> None:
        at, is_failed = self._now(), is_failure(event.outcome)
        self.failures.ended(event, at, is_failed=is_failed)
        if event.origin is not None:
            record = self.origins.get(event.origin) or self._new(event.origin)
            duration = None if event.outcome in BY_CALLER else event.duration
            record.called(int(at), duration, is_failed=is_failed)

    def _body_ended(self, event: BodyEnded) -> None:
        at, is_failed = self._now(), event.outcome not in WELL
        self.failures.body_ended(event, at, is_failed=is_failed)
        if is_failed:
            (self.origins.get(event.origin) or self._new(event.origin)).ring.broke(int(at))

    def _looked_up(self, event: LookupEnded) -> None:
        self.lookups[event.host] = event
        self.lookups.move_to_end(event.host)
        if len(self.lookups) > MAX_LOOKUPS:
            self.lookups.popitem(last=False)

    def _shared(self, event: LimitDegraded | LimitRestored) -> None:
        self.degraded.pop((event.origin, event.gate), None)
        if isinstance(event, LimitDegraded):
            self.degraded[event.origin, event.gate] = event
            if len(self.degraded) > MAX_LOOKUPS:
                self.degraded.popitem(last=False)

    def _new(self, origin: Origin) -> Record:
        second = int(self._now())
        if len(self.origins) >= self._max_origins:
            self._merge(second)
        record = self.origins[origin] = Record(second)
        return record

    def _merge(self, second: int) -> None:
        """Merge the origins that were called least of late into `other`; many at once, because it costs as much."""
        ranks = {origin: (record.summary(second).calls, record.total) for origin, record in self.origins.items()}
        least = sorted(ranks, key=ranks.__getitem__)[: max(1, len(ranks) // 5)]
        if self.other is None:
            self.other = Record(second)
        for origin in least:
            self.other.add(self.origins.pop(origin))
