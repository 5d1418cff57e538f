"""What an application's OpenTelemetry SDK gets of clients."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from opentelemetry.context import Context
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Sampler

from seawall.integrations.otel import OTel

__all__ = ["Seen", "ids", "parents"]


class Open(SpanProcessor):
    """The spans that have begun and not ended."""

    def __init__(self) -> None:
        self.spans: set[int] = set()

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        self.spans.add(span.get_span_context().span_id)

    def on_end(self, span: ReadableSpan) -> None:
        self.spans.discard(span.context.span_id)


class Seen:
    """
    Providers of an SDK that keep in memory what they are given.

    Attributes:
        open: The spans that haven't ended.
    """

    def __init__(self, sampler: Sampler = ALWAYS_ON) -> None:
        self._exporter = InMemorySpanExporter()
        self._reader = InMemoryMetricReader()
        self.meter_provider = MeterProvider([self._reader])
        self.tracer_provider = TracerProvider(sampler=sampler)
        self.tracer_provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracer_provider.add_span_processor(processor := Open())
        self.open = processor.spans

    def otel(self, **settings: Any) -> OTel:
        """An observer that feeds them."""
        return OTel(meter_provider=self.meter_provider, tracer_provider=self.tracer_provider, **settings)

    @contextmanager
    def caller(self) -> Iterator[Any]:
        """The span of whatever makes calls inside."""
        with self.tracer_provider.get_tracer("app").start_as_current_span("caller") as span:
            yield span

    @property
    def spans(self) -> list[ReadableSpan]:
        """Those of seawall and contrib that have ended, in the order of their beginning."""
        found = [span for span in self._exporter.get_finished_spans() if span.name != "caller"]
        return sorted(found, key=lambda span: (span.start_time, span.name == "GET"))

    def attempts(self) -> list[ReadableSpan]:
        return [span for span in self.spans if span.kind.name == "CLIENT"]

    def one(self, name: str) -> ReadableSpan:
        (span,) = (span for span in self.spans if span.name == name)
        return span

    def metrics(self) -> list[Any]:
        """All metrics, as they are now."""
        data = self._reader.get_metrics_data()
        return [
            metric
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
        ]

    def points(self, name: str) -> list[tuple[dict[str, Any], Any]]:
        """Each series of a metric: its attributes, and its value or count."""
        return [
            (dict(point.attributes), point.count if hasattr(point, "count") else point.value)
            for metric in self.metrics()
            if metric.name == name
            for point in metric.data.data_points
        ]

    def buckets(self, name: str) -> tuple[float, ...]:
        """The upper bounds of a histogram."""
        (bounds,) = {
            point.explicit_bounds
            for metric in self.metrics()
            if metric.name == name
            for point in metric.data.data_points
        }
        return tuple(bounds)

    def values(self, name: str, attribute: str) -> dict[Any, Any]:
        """The series of a metric by one of its attributes."""
        found: dict[Any, Any] = {}
        for attributes, value in self.points(name):
            key = attributes.get(attribute)
            found[key] = found.get(key, 0) + value
        return found

    def everything(self) -> str:
        """All of it as text."""
        data = self._reader.get_metrics_data()
        return "\n".join(span.to_json() for span in self._exporter.get_finished_spans()) + (
            data.to_json() if data else ""
        )


def ids(spans: Iterable[Any]) -> list[int]:
    """What identifies each."""
    return [span.context.span_id for span in spans]


def parents(spans: Iterable[ReadableSpan]) -> list[int | None]:
    """What identifies the parent of each."""
    return [span.parent.span_id if span.parent else None for span in spans]
