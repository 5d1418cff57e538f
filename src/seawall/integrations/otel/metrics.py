"""
Metrics: what each event adds to a histogram or a counter.

Rules: on the way of a call that succeeds there are two measurements, one for its attempt and one for itself, because
each takes 6 to 8 µs in the SDK. The attributes of each are made once and looked up from then on.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, Final

from opentelemetry import metrics
from opentelemetry.metrics import MeterProvider

from ... import __version__
from ...attempts import Attempt
from ...core.engine import Engine
from ...events import (
    BodyEnded,
    BreakerMoved,
    CallEnded,
    Event,
    HedgeStarted,
    LimitDegraded,
    LookupEnded,
    Rejected,
    RetryDenied,
    RetryScheduled,
)
from ...origin import Origin
from .._labels import OTHER
from .._measures import method_of, waits
from . import names as n
from .levels import Attributes, Named, levels_of
from .records import error_of, is_error, version_of

__all__ = ["Instruments", "Metrics"]

MAX_SERIES: Final = 1024  # attributes that an engine's listener keeps at hand; most clients have a few dozen


class Instruments:
    """The instruments of one meter provider; None takes the global one."""

    def __init__(self, provider: MeterProvider | None) -> None:
        self.levels = levels_of(provider)
        meter = metrics.get_meter("seawall", __version__, provider, n.SCHEMA)
        self.fed: dict[n.Metric, Any] = {}
        for each in n.METRICS:
            if each.kind == "histogram":
                self.fed[each] = meter.create_histogram(
                    each.name, each.unit, each.text, explicit_bucket_boundaries_advisory=each.buckets
                )
            elif each.kind == "counter":
                self.fed[each] = meter.create_counter(each.name, each.unit, each.text)
            else:
                callback = partial(self.levels.observe, each)
                meter.create_observable_up_down_counter(each.name, [callback], each.unit, each.text)


class Metrics(Named):
    """Measures what happens in one engine."""

    def __init__(self, instruments: Instruments, engine: Engine) -> None:
        super().__init__(engine)
        self._levels = instruments.levels
        self._fed = fed = instruments.fed
        self._request: Callable[[float, Attributes], None] = fed[n.REQUESTS].record
        self._call: Callable[[float, Attributes], None] = fed[n.CALLS].record
        self._cut: dict[int, Attempt] = {}  # cancelled attempts; the end of their calls says by whom
        self._of_request = lru_cache(MAX_SERIES)(self._request_attributes)
        self._of_call = lru_cache(MAX_SERIES)(self._call_attributes)
        self._levels.add(engine, self)

    def on(self, event: Event) -> None:
        """Measure what *event* tells."""
        handler = HANDLERS.get(type(event))
        if handler is not None:
            handler(self, event)

    # What it does with each event

    def _attempt(self, event: Attempt) -> None:
        if event.outcome == "cancelled":
            self._cut[event.call] = event
        else:
            self._ended(event, error_of(event))

    def _ended(self, event: Attempt, error: str) -> None:
        origin = event.origin
        self._request(event.duration, self._of_request(origin, event.method, event.status, error, event.protocol))
        if event.queued or event.delay or not event.is_reused:
            self._waits(event)

    def _waits(self, event: Attempt) -> None:
        for what, seconds in waits(event):
            self._fed[n.WAITS].record(seconds, self._at(event.origin) | {n.WAIT: what})

    def _call_ended(self, event: CallEnded) -> None:
        outcome = event.outcome
        if self._cut and (cut := self._cut.pop(event.call, None)) is not None:
            self._ended(cut, "cancelled" if outcome.isdigit() else outcome or "cancelled")
        self._call(event.duration, self._of_call(event.origin, event.method, outcome, event.retries > 0))

    def _body_ended(self, event: BodyEnded) -> None:
        attributes = self._at(event.origin)
        if event.outcome in ("complete", "closed"):
            attributes[n.BODY] = event.outcome
        else:
            attributes |= {n.BODY: "failed", n.ERROR: event.outcome}
        self._fed[n.BODIES].record(event.duration, attributes)

    def _lookup_ended(self, event: LookupEnded) -> None:
        attributes = {n.SOURCE: event.source} | ({} if event.error is None else {n.ERROR: event.error})
        self._fed[n.LOOKUPS].record(event.duration, attributes | self.client)

    def _retry(self, event: RetryScheduled) -> None:
        self._fed[n.RETRIES].add(1, self._at(event.origin) | {n.REASON: self._levels.outcome(event.reason)})

    def _hedge(self, event: HedgeStarted) -> None:
        self._fed[n.HEDGES].add(1, self._at(event.origin))

    def _denied(self, event: RetryDenied) -> None:
        self._fed[n.DENIALS].add(1, self._at(event.origin) | {n.DENIED: event.reason.value})

    def _rejected(self, event: Rejected) -> None:
        self._fed[n.REJECTIONS].add(1, self._at(event.origin) | {n.GATE: event.by})

    def _breaker_moved(self, event: BreakerMoved) -> None:
        states = {n.PREVIOUS: event.previous, n.STATE: event.state}
        self._fed[n.TRANSITIONS].add(1, self._at(event.origin) | states)

    def _degraded(self, event: LimitDegraded) -> None:
        self._fed[n.DEGRADATIONS].add(1, self._at(event.origin))

    # Attributes

    def _at(self, origin: Origin) -> dict[str, str | int | bool]:
        return {n.ADDRESS: self._levels.address(origin.host), **self.client}

    def _request_attributes(
        self, origin: Origin, method: str, status: int | None, error: str, protocol: str
    ) -> Attributes:
        attributes = {n.METHOD: method_of(method), **self._levels.server(origin), **self.client}
        if status is not None and self._levels.outcome(str(status)) is not OTHER:
            attributes[n.STATUS] = status
        if error:
            attributes[n.ERROR] = self._levels.outcome(error)
        if protocol:
            attributes[n.VERSION] = version_of(protocol)
        return attributes

    def _call_attributes(self, origin: Origin | None, method: str, outcome: str, is_retried: bool) -> Attributes:
        attributes = {n.METHOD: method_of(method), **({} if origin is None else self._at(origin)), **self.client}
        value = self._levels.outcome(outcome)
        if value.isdigit():
            attributes[n.STATUS] = int(value)
        if is_error(outcome):
            attributes[n.ERROR] = value
        if is_retried:
            attributes[n.RETRIED] = True
        return attributes


HANDLERS: Final[dict[type, Callable[[Metrics, Any], None]]] = {
    Attempt: Metrics._attempt,
    CallEnded: Metrics._call_ended,
    BodyEnded: Metrics._body_ended,
    LookupEnded: Metrics._lookup_ended,
    RetryScheduled: Metrics._retry,
    HedgeStarted: Metrics._hedge,
    RetryDenied: Metrics._denied,
    Rejected: Metrics._rejected,
    BreakerMoved: Metrics._breaker_moved,
    LimitDegraded: Metrics._degraded,
}
