"""What a dashboard shows: the counts of its recorders beside the statistics of its clients."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import log2
from typing import Any, Final

from ...core.engine import Engine
from ...origin import Origin
from ...stats import NameStats, OriginStats, Stats
from .health import Health, judge
from .record import Record, Summary
from .recorder import Recorder
from .ring import SPAN, Series
from .wording import finite, of_failure, seconds

__all__ = ["Query", "View", "Watched"]

MAX_ROWS: Final = 50
KEPT_FOR: Final = 0.5  # s that the clients' statistics serve for
OTHER: Final = "other origins"
SHARED: Final = ("limit", "bulkhead")
EMPTY: Final = Series([], [], [])


@dataclass(frozen=True, slots=True)
class Watched:
    """A client's engine, and what its recorder heard."""

    label: str
    engine: Engine
    recorder: Recorder


@dataclass(frozen=True, slots=True)
class Query:
    """
    What a reader asks for.

    Attributes:
        wanted: Text that an origin must contain, whatever its case.
        is_troubled: Only origins that aren't well.
        since: The first second that the reader doesn't have.
    """

    wanted: str = ""
    is_troubled: bool = False
    since: int = 0

    def matches(self, row: Row) -> bool:
        """Whether the reader wants *row*."""
        if self.is_troubled and row.health in (Health.WELL, Health.IDLE):
            return False
        return self.wanted.lower() in row.name.lower()


@dataclass(frozen=True, slots=True)
class Row:
    """One origin of one client; the origin is None for all that aren't kept apart."""

    client: int
    origin: Origin | None
    record: Record | None
    summary: Summary | None
    stats: OriginStats | None
    health: Health
    reasons: list[str]

    @property
    def name(self) -> str:
        return OTHER if self.origin is None else str(self.origin)

    @property
    def id(self) -> str:
        return f"{self.client} {self.name}"

    @property
    def rank(self) -> tuple[int, str]:
        """The lower, the more it was called of late, in steps of a half, so that rows seldom change places."""
        calls = 0 if self.summary is None else self.summary.calls
        return -round(2 * log2(calls + 1)), self.name


@dataclass(frozen=True, slots=True)
class Seen:
    """All rows at one instant, most called first, for all readers within the next half second."""

    at: float
    stats: Sequence[Stats]
    rows: Sequence[Row]


class View:
    """
    What the page, ``/stats`` and ``seawall top`` show of *clients*.

    Args:
        now: Seconds since the dashboard began.
    """

    def __init__(self, clients: Sequence[Watched], *, now: Callable[[], float], can_control: bool) -> None:
        self.clients = clients
        self.can_control = can_control
        self._now = now
        self._last: Seen | None = None

    def rows(self) -> Sequence[Row]:
        """All origins, most called first."""
        return self._seen().rows

    def frame(self, query: Query, known: frozenset[str] = frozenset()) -> dict[str, Any]:
        """
        One frame of the stream.

        Args:
            known: Identities of the rows whose seconds before *query.since* the reader has.
        """
        seen = self._seen()
        second = int(seen.at)
        matching = list(filter(query.matches, seen.rows))
        health = Counter(row.health for row in seen.rows if row.origin is not None)
        return {
            "version": 1,
            "at": round(self._now(), 3),
            "second": second,
            "since": query.since,
            "can_control": self.can_control,
            "health": {each.value: health[each] for each in Health},
            "matching": len(matching),
            "clients": [_of_client(each, stats) for each, stats in zip(self.clients, seen.stats, strict=True)],
            "origins": [
                self._of_row(row, seen, query.since if row.id in known else 0, second) for row in matching[:MAX_ROWS]
            ],
            "failures": [
                of_failure(failure, each.label)
                for each in self.clients
                for failure in each.recorder.failures
                if failure.at >= query.since - 1
            ],
        }

    def _seen(self) -> Seen:
        at, last = self._now(), self._last
        if last is None or at - last.at > KEPT_FOR or int(at) != int(last.at):
            stats = [each.engine.stats() for each in self.clients]
            rows = [
                row for number, each in enumerate(self.clients) for row in _rows(number, each, stats[number], int(at))
            ]
            rows.sort(key=lambda row: row.rank)
            last = self._last = Seen(at, stats, rows)
        return last

    def _of_row(self, row: Row, seen: Seen, since: int, second: int) -> dict[str, Any]:
        record, summary, recorder = row.record, row.summary, self.clients[row.client].recorder
        p50, p99 = (None, None) if record is None else record.percentiles(second)
        first = max(0, since, second - SPAN)
        series = EMPTY if record is None else record.ring.series(first)
        host = "" if row.origin is None else row.origin.host
        return {
            "id": row.id,
            "client": row.client,
            "origin": row.name,
            "health": row.health.value,
            "reasons": row.reasons,
            "total": 0 if record is None else record.total,
            "rate": 0.0 if summary is None else round(summary.rate, 2),
            "good": None if summary is None else seconds(summary.good),
            "attempts": None if summary is None else finite(summary.attempts),
            "p50": seconds(p50),
            "p99": seconds(p99),
            "gates": None if row.stats is None else _of_gates(row.stats),
            "dns": _of_name(recorder, seen.stats[row.client].names.get(host), host),
            "addresses": _of_addresses(record, row.stats),
            "series": {
                "from": first,
                "calls": series.calls,
                "failed": series.failed,
                "p99": [seconds(each) for each in series.p99],
            },
        }


def _rows(number: int, client: Watched, stats: Stats, second: int) -> list[Row]:
    recorder, rows = client.recorder, []
    for origin in {**stats.origins, **recorder.origins}:
        if origin.host:
            record, state = recorder.origins.get(origin), stats.origins.get(origin)
            summary = None if record is None else record.summary(second)
            lookup = recorder.lookups.get(origin.host)
            degraded = [recorder.degraded[key] for gate in SHARED if (key := (origin, gate)) in recorder.degraded]
            health = judge(summary, state, None if lookup is None else lookup.error, degraded)
            rows.append(Row(number, origin, record, summary, state, *health))
    if recorder.other is not None:
        summary = recorder.other.summary(second)
        rows.append(Row(number, None, recorder.other, summary, None, *judge(summary, None)))
    return rows


def _of_client(client: Watched, stats: Stats) -> dict[str, Any]:
    return {
        "name": client.label,
        "is_closed": client.engine.layers.in_flight.is_closed,
        "in_flight": stats.calls,
        "waiting": stats.waiting,
        "connections": stats.connections,
        "max_connections": finite(stats.max_connections),
        "budget": finite(stats.budget),
        "calls": stats.totals.calls,
        "attempts": dict(stats.totals.attempts),
        "denied": dict(stats.totals.denied),
        "rejected": dict(stats.totals.rejected),
    }


def _of_gates(stats: OriginStats) -> dict[str, Any]:
    return {
        "in_flight": stats.in_flight,
        "limit": finite(stats.limit),
        "max_concurrent": finite(stats.max_concurrent),
        "waiting": stats.waiting,
        "ghosts": stats.ghosts,
        "breaker": stats.breaker,
        "next_probe": finite(stats.next_probe),
        "budget": finite(stats.budget),
        "max_budget": finite(stats.max_budget),
        "rate": finite(stats.rate),
        "limited": stats.limited,
        "paused_for": finite(stats.paused_for),
        "away_for": finite(stats.away_for),
        "awaited_by": stats.awaited_by,
        "connections": stats.connections,
        "idle": stats.idle,
    }


def _of_name(recorder: Recorder, names: NameStats | None, host: str) -> dict[str, Any] | None:
    last = recorder.lookups.get(host)
    if last is None and names is None:
        return None
    return {
        "source": "" if last is None else last.source,
        "duration": None if last is None else seconds(last.duration),
        "error": None if last is None else last.error,
        "addresses": None if last is None else last.addresses,
        "ttl": None if last is None else finite(last.ttl),
        "hits": 0 if names is None else names.hits,
        "stale": 0 if names is None else names.stale,
        "misses": 0 if names is None else names.misses,
    }


def _of_addresses(record: Record | None, stats: OriginStats | None) -> list[dict[str, str]]:
    ejected = () if stats is None else stats.ejected
    met = {} if record is None else record.addresses
    states = {address: "good" if is_answered else "failing" for address, is_answered in met.items()}
    states |= dict.fromkeys(ejected, "ejected")
    return [{"address": str(address), "state": state} for address, state in states.items()]
