"""
What listens to an engine for `Prometheus`: it feeds counters and histograms, and takes the gauges' levels.

It imports no library: a metric is whatever has ``labels(...)``, whose result has ``inc``, ``observe`` or ``set``.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import Context
from types import MappingProxyType
from typing import Any, Final, TypeAlias, TypeVar

from ..attempts import Attempt
from ..careful import Careful
from ..core.engine import Engine
from ..events import CallEnded, Event, LookupEnded, RetryScheduled
from ..stats import Stats
from . import _series as series
from ._engines import Watched
from ._labels import Hosts, Statuses
from ._measures import method_of, waits
from ._series import COUNTED, Metric

__all__ = ["Client", "Metrics", "Tap", "WritingTap"]

logger = Careful("seawall")

MAX_BOUND: Final = 2048  # series that are kept by what they are bound to, because many hosts share those of `_OTHER`
WRITE_AFTER: Final = 1.0  # s from an event until the gauges are written

K = TypeVar("K")
Metrics: TypeAlias = Mapping[Metric, Any]


class Client:
    """
    What all engines of one name share in one registry.

    Args:
        fed: Counters and histograms.
    Attributes:
        outcome: The value of a status or of the name of an error.
        attempts, calls: The series of the success path, by what they are bound to.
        written: Gauges that aren't 0, in multiprocess mode.
    """

    def __init__(self, name: str, fed: Metrics) -> None:
        self.name = name
        self.fed = fed
        self._known: set[str] = set()  # hosts that the settings of its engines name
        self._others = Hosts()
        self.outcome = Statuses()
        self.attempts: dict[tuple[str, str, int | None, str | None], Any] = {}
        self.calls: dict[tuple[str, str, str], Any] = {}
        self.written: set[tuple[Metric, tuple[str, ...]]] = set()
        self._taps: weakref.WeakSet[Tap] = weakref.WeakSet()
        self._lock = threading.Lock()  # a scrape may come from another thread

    def add(self, tap: Tap, known: Iterable[str]) -> None:
        """One more engine has this name; its settings name the hosts *known*."""
        with self._lock:
            self._taps.add(tap)
        if not self._known.issuperset(known := set(known)):
            self._known |= known
            self.attempts.clear()  # they may be bound to `_OTHER`
            self.calls.clear()

    def label(self, host: str) -> str:
        """The value of a host: its name if the settings have it, or if it is one of the first; else `_OTHER`."""
        return host if host in self._known else self._others(host)

    def taps(self) -> list[Tap]:
        """Those of its engines that are alive."""
        with self._lock:
            return list(self._taps)

    def levels(self, stats: Stats | None) -> Iterator[series.Sample]:
        """The gauges of one engine."""
        return iter(()) if stats is None else series.levels(stats, self.label)


class Tap(Watched):
    """Feeds the metrics with the events of one engine, and asks it for its levels."""

    def __init__(self, client: Client, engine: Engine) -> None:
        super().__init__(engine)
        self._client = client
        self._retried: set[int] = set()  # calls in flight that were retried
        self._cut: dict[int, Attempt] = {}  # the attempt, by its call, that ended without an outcome of its own
        client.add(self, engine.named_hosts)

    def on(self, event: Event) -> None:
        """Count *event*."""
        handler = HANDLERS.get(type(event))
        if handler is not None:
            handler(self, event)

    # What it does with each event

    def _inc(self, metric: Metric, host: str, *labels: str) -> None:
        client = self._client
        client.fed[metric].labels(client.name, host and client.label(host), *labels).inc()

    def _attempt(self, event: Attempt) -> None:
        if event.outcome == "cancelled":  # cut short, and the end of the call says by what
            self._cut[event.call] = event
        else:
            self._ended(event, event.outcome if event.status is None else event.error)

    def _ended(self, event: Attempt, error: str | None) -> None:
        client = self._client
        key = (event.origin.host, event.method, event.status, error)
        bound = client.attempts.get(key)
        if bound is None:
            host, method, status, _ = key
            labels = (
                client.label(host),
                method_of(method),
                "" if status is None else client.outcome(str(status)),
                error or "",
            )
            bound = self._bound(series.ATTEMPTS, labels, client.attempts, key)
        bound.observe(event.duration)
        if event.queued or event.delay or not event.is_reused:
            for at, took in waits(event):
                client.fed[series.WAITS].labels(client.name, client.label(event.origin.host), at).observe(took)
            if event.source not in ("", "literal"):
                self._inc(series.ANSWERS, event.origin.host, event.source)

    def _call(self, event: CallEnded) -> None:
        if self._cut and (attempt := self._cut.pop(event.call, None)) is not None:
            self._ended(attempt, "cancelled" if event.outcome.isdigit() else event.outcome)
        client, host = self._client, "" if event.origin is None else event.origin.host
        key = (host, event.method, event.outcome)
        bound = client.calls.get(key)
        if bound is None:
            labels = (host and client.label(host), method_of(event.method), client.outcome(event.outcome))
            bound = self._bound(series.CALLS, labels, client.calls, key)
        bound.observe(event.duration)
        if self._retried and event.call in self._retried:
            self._retried.discard(event.call)
            self._inc(series.RETRIED, host, client.outcome(event.outcome))

    def _retry(self, event: RetryScheduled) -> None:
        self._retried.add(event.call)
        self._inc(series.RETRIES, event.origin.host, self._client.outcome(event.reason))

    def _lookup(self, event: LookupEnded) -> None:
        client, error = self._client, event.error or ""
        client.fed[series.LOOKUPS].labels(client.name, event.source, error).observe(event.duration)
        if error:
            self._inc(series.LOOKUP_FAILURES, event.host, error)

    def _bound(self, metric: Metric, labels: tuple[str, ...], kept: dict[K, Any], key: K) -> Any:
        if len(kept) >= MAX_BOUND:
            kept.clear()
        bound = kept[key] = self._client.fed[metric].labels(self._client.name, *labels)
        return bound


def _counting(metric: Metric, labels_of: Callable[[Any], tuple[str, ...]]) -> Callable[[Tap, Any], None]:
    return lambda tap, event: tap._inc(metric, *labels_of(event))


HANDLERS: Final[Mapping[type, Callable[[Tap, Any], None]]] = MappingProxyType(
    {
        **{kind: _counting(*what) for kind, what in COUNTED.items()},
        Attempt: Tap._attempt,
        CallEnded: Tap._call,
        RetryScheduled: Tap._retry,
        LookupEnded: Tap._lookup,
    }
)


class WritingTap(Tap):
    """
    In multiprocess mode, where a scrape can't ask: it writes the gauges of its client too.

    Args:
        gauges: What is written.
    """

    def __init__(self, client: Client, engine: Engine, gauges: Metrics) -> None:
        super().__init__(client, engine)
        self._gauges = gauges
        self._taken: Stats | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._in_flight.on_closed.append(self._closed)

    def on(self, event: Event) -> None:
        """Count *event*, and write the gauges soon; at once if the client is being closed, because its loop may end."""
        Tap.on(self, event)
        if self._in_flight.is_closed:
            self._write()
        elif self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(
                WRITE_AFTER, self._write, context=Context()
            )  # not the caller's, which it keeps

    def _closed(self) -> None:
        """Write what is left of the gauges, because there may be no event any more."""
        try:
            self._write()
        except Exception:
            logger.exception("the gauges of a closed client weren't written")

    def _write(self) -> None:
        self._timer, self._taken, client = None, self.stats(), self._client
        sums: dict[tuple[Metric, tuple[str, ...]], float] = defaultdict(float)
        for tap in client.taps():
            if isinstance(tap, WritingTap) and not tap._in_flight.is_closed:
                for metric, labels, value in client.levels(tap._taken):  # those of other threads are a second old
                    sums[metric, labels] += value
        for metric, labels in client.written - sums.keys():  # which can't be removed
            self._gauges[metric].labels(client.name, *labels).set(0.0)
        for (metric, labels), value in sums.items():
            self._gauges[metric].labels(client.name, *labels).set(value)
        client.written = set(sums)
