"""`Prometheus`, an observer whose metrics a registry of prometheus_client exports."""

from __future__ import annotations

import os
import threading
import weakref
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.core import Metric as Family
from prometheus_client.registry import Collector

from ..core.engine import Engine
from ..events import Event
from ._engines import answers
from ._series import METRICS, Metric
from ._tap import Client, Tap, WritingTap

__all__ = ["Prometheus"]


class Prometheus:
    """
    Exports metrics of clients: ``AsyncClient(observers=[Prometheus()], name="orders")``.

    One object may be given to many clients, and one registry may have many objects: they share its metrics, whose
    label ``client`` has the client's name. A scrape reads the gauges from `stats()`; a closed client has none.

    In multiprocess mode (``PROMETHEUS_MULTIPROC_DIR``) a scrape can't ask the other processes. There a process writes
    its gauges a second after an event, and the sum over all living processes is exported.

    Args:
        registry: By default the one that prometheus_client exports by default.
    Raises:
        ValueError: Another collector of the registry has one of the names.
    """

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self._exporter = _exporter_of(registry)

    def __call__(self, event: Event) -> None:
        """Nothing: what `watch` adds counts events, because an event doesn't say which client it comes from."""

    def watch(self, engine: Engine) -> None:
        """Export the metrics of *engine*, without keeping it alive."""
        tap = self._exporter.tap(engine)
        if tap is not None:
            engine.observe(tap.on)


class _Exporter(Collector):
    """
    The metrics of one registry: it has each name once, however many objects and clients there are.

    Attributes:
        fed: Counters and histograms, which events feed.
        written: Gauges, which are written in multiprocess mode; None if a scrape reads them.
    """

    def __init__(self) -> None:
        self.fed: dict[Metric, Any] = {}
        self.written: dict[Metric, Any] | None = {} if "PROMETHEUS_MULTIPROC_DIR" in os.environ else None
        self._clients: dict[str, Client] = {}
        self._engines: weakref.WeakSet[Engine] = weakref.WeakSet()
        for metric in METRICS:
            what = (metric.name, metric.help, ("client", *metric.labels))
            if metric.kind == "counter":
                self.fed[metric] = Counter(*what, registry=None)
            elif metric.kind == "histogram":
                self.fed[metric] = Histogram(*what, registry=None, buckets=metric.buckets)
            elif self.written is not None:
                self.written[metric] = Gauge(*what, registry=None, multiprocess_mode="livesum")

    def tap(self, engine: Engine) -> Tap | None:
        """A listener for one more engine; None if it has one, because it would be counted twice."""
        if engine in self._engines:
            return None
        self._engines.add(engine)
        name = engine.name
        client = self._clients.get(name) or self._clients.setdefault(name, Client(name, self.fed))
        return Tap(client, engine) if self.written is None else WritingTap(client, engine, self.written)

    def describe(self) -> Iterator[Family]:
        """The names, for which the registry asks once."""
        for each in self.fed.values():
            yield from each.describe()
        yield from _families().values()

    def collect(self) -> Iterator[Family]:
        """All series, at a scrape."""
        for each in (*self.fed.values(), *(self.written or {}).values()):
            yield from each.collect()
        if self.written is None:
            yield from self._levels()

    def _levels(self) -> Iterable[Family]:
        taps = [(client, tap) for client in list(self._clients.values()) for tap in client.taps()]
        sums: dict[tuple[Metric, str, tuple[str, ...]], float] = defaultdict(float)
        for (client, _), stats in zip(taps, answers(tap.ask() for _, tap in taps), strict=True):
            for metric, labels, value in client.levels(stats):
                sums[metric, client.name, labels] += value
        families = _families()
        for (metric, name, labels), value in sums.items():
            families[metric].add_metric([name, *labels], value)
        return families.values()


def _families() -> dict[Metric, GaugeMetricFamily]:
    return {
        metric: GaugeMetricFamily(metric.name, metric.help, labels=("client", *metric.labels))
        for metric in METRICS
        if metric.kind == "gauge"
    }


_exporters: weakref.WeakKeyDictionary[CollectorRegistry, _Exporter] = weakref.WeakKeyDictionary()
"""Global, because a registry refuses a name that it has, and can't be asked which collector has it."""
_making = threading.Lock()


def _exporter_of(registry: CollectorRegistry) -> _Exporter:
    """The registry's exporter, registered again if somebody has emptied the registry."""
    with _making:
        known = _exporters.get(registry)
        exporter = known or _Exporter()
        try:
            registry.register(exporter)
        except ValueError:
            if known is None:
                raise
        _exporters[registry] = exporter
        return exporter
