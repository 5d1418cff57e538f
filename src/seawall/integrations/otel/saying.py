"""What a span says, and the context that it is current in."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from opentelemetry import context, trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, Status, StatusCode

from ... import errors
from ...attempts import Attempt
from ...events import AttemptStarted, BodyEnded
from ...origin import Address
from .._measures import method_of, resolved_in
from . import names as n
from .records import version_of

__all__ = ["begun", "contribs_span", "describe", "fail", "inside", "tell_open"]

CONTRIB: Final = "opentelemetry.instrumentation.httpx"
SUPPRESS: Final[str | None] = getattr(context, "_SUPPRESS_HTTP_INSTRUMENTATION_KEY", None)
"""Has contrib's instrumentations stand back. It isn't public; without it, an attempt has two spans beside contrib."""
OPEN: Final = context.create_key("seawall-span")
"""Holds the span of the attempt that a task is in, because events of an origin don't say which attempt they are of."""
PORTS: Final = {"http": 80, "https": 443}
OURS: Final = frozenset(errors.__all__)
"""Errors whose text is told. Another's may quote anything; one of the same class name only what `core.words` leaves."""


def begun(event: AttemptStarted | Attempt | BodyEnded) -> tuple[str, dict[str, Any]]:
    """Name and first attributes of a span."""
    origin = event.origin
    scheme, host, port, _ = origin
    name = method = method_of(event.method)
    site = origin.site
    if port == PORTS.get(scheme):
        site = site.rpartition(":")[0]
    attributes = {n.METHOD: method, n.ADDRESS: host, n.PORT: port, n.URL: site + event.path}
    if method != event.method:
        name, attributes[n.ORIGINAL_METHOD] = "HTTP", event.method
    return name, attributes


def inside(span: Span) -> Context:
    """The context that an attempt is sent in. Spans made there are children of *span*; contrib makes none."""
    of_span = trace.set_span_in_context(span)
    if span.is_recording():
        of_span = context.set_value(OPEN, span, of_span)
    if SUPPRESS is None or CONTRIB not in sys.modules:
        return of_span
    return context.set_value(SUPPRESS, True, of_span)


def contribs_span() -> Span | None:
    """The span that contrib's instrumentation has begun around this attempt; None if it hasn't."""
    if CONTRIB not in sys.modules:
        return None
    span = trace.get_current_span()
    scope = getattr(span, "instrumentation_scope", None)  # an SDK's span shows it
    return span if scope is not None and scope.name == CONTRIB else None


def tell_open(name: str, attributes: Mapping[str, Any]) -> None:
    """Tell the span of the attempt that this task is in; what happens outside one is told to nobody."""
    span = context.get_value(OPEN)
    if isinstance(span, Span):
        span.add_event(name, attributes)


def fail(span: Span, error: str, detail: str = "") -> None:
    """The span's operation failed with *error*, whose text is *detail*."""
    span.set_attribute(n.ERROR, error)
    span.set_status(Status(StatusCode.ERROR, detail if error in OURS and detail else None))


def describe(span: Span, attempt: Attempt, began_at: int, *, is_ours: bool) -> None:
    """Tell *span* how *attempt* went; if it is another instrumentation's, only what that doesn't know."""
    attributes: dict[str, Any] = {}
    if is_ours:
        if attempt.status is not None:
            attributes[n.STATUS] = attempt.status
        else:
            attributes[n.PHASE] = attempt.phase.name.lower()
        if attempt.protocol:
            attributes[n.VERSION] = version_of(attempt.protocol)
    if attempt.address is not None:
        attributes[n.PEER] = attempt.address.ip
        if (port := _port(attempt, attempt.address)) is not None:
            attributes[n.PEER_PORT] = port
    if attempt.source:
        attributes[n.SOURCE] = attempt.source
    span.set_attributes(attributes)

    def at(seconds: float) -> int:
        return began_at + int(seconds * 1e9)

    for gate, seconds in attempt.queued:
        span.add_event(n.WAITED, {n.WAIT: gate, n.DURATION: seconds}, at(0.0))
    if (resolved := resolved_in(attempt)) is not None:
        ended_at, seconds = resolved
        span.add_event(n.WAITED, {n.WAIT: "dns", n.DURATION: seconds, n.SOURCE: attempt.source}, at(ended_at))
    for dial in attempt.dials:
        peer: dict[str, Any] = {n.PEER: dial.address.ip}
        if (port := _port(attempt, dial.address)) is not None:
            peer[n.PEER_PORT] = port
        span.add_event(n.DIALLED, {**peer, n.OUTCOME: dial.outcome, n.DURATION: dial.duration}, at(dial.at))


def _port(attempt: Attempt, address: Address) -> int | None:
    """The port of *address*; of a proxy's, the one of its URL."""
    if address.port is not None:
        return address.port
    way = attempt.origin.way
    return urlsplit(way).port if "://" in way else attempt.origin.port
