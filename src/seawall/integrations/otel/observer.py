"""`OTel`, an observer that feeds OpenTelemetry's API."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import TracerProvider

from ...config.check import shown
from ...config.hosts import canonical
from ...core.engine import Engine
from ...events import Event
from .metrics import Instruments, Metrics
from .spans import Spans, Tracing

__all__ = ["OTel"]


class OTel:
    """
    Metrics and spans of clients: ``AsyncClient(observers=[OTel()], name="orders")``.

    One object may be given to many clients. Names, attributes and buckets: ``docs/reference/observability.md``.

    Beside OpenTelemetry's own instrumentation of httpx no attempt has two spans. Where that instruments all clients,
    its spans and metrics of attempts are suppressed, because they begin and end where no observer can add what they
    lack; with ``spans=None`` it goes on as before. Where it instruments one client, its span is around all attempts: it
    serves as the span of the first, and gets what it lacks.

    Args:
        meter_provider: None takes the global one, also if it is set later, because that is how applications set up
            OpenTelemetry.
        tracer_provider: The same for spans.
        spans: "attempts": each attempt has one, as the semantic conventions ask; a call has one only if it has
            several attempts, or none, or if it begins a trace. "calls": each call has one, over all its attempts, which
            costs as much again. None disables spans, and no trace is propagated.
        propagate_to: Hosts that are told of traces, as names or ``*.suffix``, with the headers that the global
            propagator writes: ``traceparent``, and ``baggage`` if there is any. None stands for all, as with
            OpenTelemetry's own instrumentations, because a trace that ends at the first host is of little use; name
            your own hosts if third parties must not see your baggage.
    Raises:
        TypeError, ValueError: A setting can't be; the message names it.
    """

    def __init__(
        self,
        *,
        meter_provider: MeterProvider | None = None,
        tracer_provider: TracerProvider | None = None,
        spans: Literal["attempts", "calls"] | None = "attempts",
        propagate_to: Iterable[str] | None = None,
    ) -> None:
        if spans not in ("attempts", "calls", None):
            raise ValueError(f'OTel.spans must be "attempts", "calls" or None, not {shown(spans)}')
        if isinstance(propagate_to, str) or not (propagate_to is None or isinstance(propagate_to, Iterable)):
            raise TypeError(f"OTel.propagate_to must be a list of names, or None, not {shown(propagate_to)}")
        told = None if propagate_to is None else {canonical("OTel.propagate_to", host): True for host in propagate_to}
        self._instruments = Instruments(meter_provider)
        self._tracing = None if spans is None else Tracing(tracer_provider, is_each_call=spans == "calls", told=told)

    def __call__(self, event: Event) -> None:
        """Nothing: what `watch` adds hears events, because an event doesn't say which client it comes from."""

    def watch(self, engine: Engine) -> None:
        """Observe *engine* without keeping it alive, and once if it has two observers with the same meter provider."""
        if self._instruments.levels.has(engine):
            return
        engine.observe(Metrics(self._instruments, engine).on)  # first, because an exemplar names the span that is open
        if self._tracing is not None:
            engine.observe(Spans(self._tracing, engine))
