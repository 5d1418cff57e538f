"""
Levels: what a collection reads of the engines. Calls don't pay for them.

An SDK registers the callbacks of the first instrument of a name only, and a process may make an observer for each
client; so all observers of one meter provider share what reads, and the bound on hosts.
"""

from __future__ import annotations

import math
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, TypeAlias

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation

from ...core.engine import Engine
from ...origin import Origin
from ...stats import OriginStats, Stats
from .._engines import Watched, answers
from .._labels import OTHER, Hosts, Statuses
from .._measures import STATES
from . import names as n

__all__ = ["Attributes", "Levels", "Named", "levels_of"]

MAX_PORTS: Final = 200  # pairs of host and port that keep the port

Attributes: TypeAlias = Mapping[str, str | int | bool]
Series: TypeAlias = tuple[tuple[str, str | int | bool], ...]


class Named(Watched):
    """
    One engine.

    Attributes:
        client: Its name as an attribute; empty if it has none.
    """

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self.client: dict[str, str | int | bool] = {n.CLIENT: engine.name} if engine.name else {}


class Snapshot(threading.local):
    """
    What one collection reads: an SDK collects in one thread, and several readers may collect at once.

    Attributes:
        served: The metrics that were read of it; None: there is none.
    """

    levels: Mapping[n.Metric, Mapping[Series, float]]
    served: set[n.Metric] | None = None


class Levels:
    """
    Reads the levels of the engines that one meter provider's observers watch.

    Attributes:
        address: The value of a host.
        outcome: The value of a status or of the name of an error.
    """

    def __init__(self) -> None:
        self.address = Hosts()
        self.outcome = Statuses()
        self._authority = Hosts(limit=MAX_PORTS)
        self._engines: weakref.WeakSet[Engine] = weakref.WeakSet()
        self._watched: weakref.WeakSet[Named] = weakref.WeakSet()
        self._lock = threading.Lock()  # never held while an event loop is waited for, because its thread may want it
        self._snapshot = Snapshot()

    def has(self, engine: Engine) -> bool:
        """Whether *engine* is watched."""
        with self._lock:
            return engine in self._engines

    def add(self, engine: Engine, watched: Named) -> None:
        """Read the levels of one more engine, whose settings' hosts keep their names."""
        self.address.add(engine.named_hosts)
        with self._lock:
            self._engines.add(engine)
            self._watched.add(watched)

    def server(self, origin: Origin) -> dict[str, str | int]:
        """Address and port of *origin*, within the bounds."""
        address = self.address(origin.host)
        if address is OTHER or self._authority(f"{address}:{origin.port}") is OTHER:
            return {n.ADDRESS: address}
        return {n.ADDRESS: address, n.PORT: origin.port}

    def observe(self, metric: n.Metric, options: CallbackOptions) -> Iterable[Observation]:
        """
        The levels of all engines for *metric*.

        A collection asks for each metric in turn, and one snapshot serves it; a metric that is asked for again belongs
        to the next collection.
        """
        snapshot = self._snapshot
        if snapshot.served is None or metric in snapshot.served:
            with self._lock:
                watched = list(self._watched)
            snapshot.levels, snapshot.served = self._read(watched), set()
        snapshot.served.add(metric)
        return [Observation(value, dict(series)) for series, value in snapshot.levels.get(metric, {}).items()]

    def _read(self, watched: list[Named]) -> dict[n.Metric, dict[Series, float]]:
        found: dict[n.Metric, dict[Series, float]] = {}
        for each, stats in zip(watched, answers(each.ask() for each in watched), strict=True):
            if stats is not None:
                for metric, attributes, value in self._of(stats):
                    series = tuple((attributes | each.client).items())
                    of_metric = found.setdefault(metric, {})
                    of_metric[series] = of_metric.get(series, 0) + value
        return found

    def _of(self, stats: Stats) -> Iterator[tuple[n.Metric, dict[str, str | int | bool], float]]:
        """Each level of one engine. What is infinite, because a setting switches it off, is left out."""
        yield n.IN_FLIGHT, {}, stats.calls
        for origin, of in stats.origins.items():
            server: dict[str, str | int | bool] = {**self.server(origin)}
            address = {n.ADDRESS: server[n.ADDRESS]}
            yield n.CONNECTIONS, server | {n.CONNECTION: "idle"}, of.idle
            yield n.CONNECTIONS, server | {n.CONNECTION: "active"}, max(0, of.connections - of.idle)
            for metric, level in LEVELS.items():
                if math.isfinite(value := level(of)):
                    yield metric, address, value
            if of.breaker != "off":
                for state in STATES:
                    yield n.BREAKERS, address | {n.STATE: state}, int(of.breaker == state)


LEVELS: Final[dict[n.Metric, Callable[[OriginStats], float]]] = {
    n.PERMITS: lambda of: of.in_flight,
    n.PERMITS_LIMIT: lambda of: of.limit,
    n.GHOSTS: lambda of: of.ghosts,
    n.WAITING: lambda of: of.waiting,
    n.LIMITED: lambda of: of.limited,
    n.BALANCE: lambda of: of.budget,
    n.MAX_BALANCE: lambda of: of.max_budget,
    n.EJECTED: lambda of: len(of.ejected),
    n.AWAY: lambda of: int(of.away_for > 0),
}


_levels: weakref.WeakKeyDictionary[MeterProvider, Levels] = weakref.WeakKeyDictionary()
"""Global, because a meter can't be asked which instruments it has."""
_by_default: Final = Levels()
"""That of the global provider, which may be set later than the first observer is made."""


def levels_of(provider: MeterProvider | None) -> Levels:
    """Those of *provider*; None takes the global one."""
    if provider is None or provider is metrics.get_meter_provider():
        return _by_default
    return _levels.setdefault(provider, Levels())
