"""
Spans: one for each attempt; one for the call over them once there is more to tell than one attempt.

Rules: an attempt's span must exist before the attempt is sent, because its server is told of it, and a span's parent
can't be changed afterwards. Nobody knows at that time whether a second attempt follows. So the call's span is begun
with the first retry, dated back to the call's start, and the first attempt's span is its sibling, which it links to.
Calls could all have a span from the start, as gRPC's have, but nearly all of them have one attempt, of which their span
would say nothing new, and each span costs 16 µs here and money where it is stored: ``spans="calls"`` does it. A call
without a span around it gets one from the start too, because its attempts would otherwise be traces of their own.

An attempt that failed keeps its span open until it is known what follows, so that the span can tell why nothing does.
Of a deadline only the call's end tells that it struck: the attempt was cancelled, as by a caller.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from opentelemetry import context, propagate, trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, TracerProvider

from ... import __version__
from ...attempts import Attempt
from ...config.hosts import find
from ...core.engine import Engine
from ...events import (
    AttemptStarted,
    BodyEnded,
    BreakerMoved,
    CallEnded,
    CallStarted,
    Event,
    LimitMoved,
    OriginAway,
    OriginPaused,
    Rejected,
    RetryDenied,
    RetryScheduled,
)
from ...origin import Origin
from . import names as n
from .records import error_of, is_error
from .saying import begun, contribs_span, describe, fail, inside, tell_open

__all__ = ["Spans", "Tracing"]


class Tracing:
    """
    What all engines of one observer share.

    Args:
        is_each_call: Every call has a span.
        told: Hosts that traces are propagated to, by pattern; None stands for all.
    """

    def __init__(self, provider: TracerProvider | None, *, is_each_call: bool, told: Mapping[str, bool] | None) -> None:
        self.tracer = trace.get_tracer("seawall", __version__, provider, n.SCHEMA)
        self.is_each_call = is_each_call
        self._told = told

    def headers(self, origin: Origin, of_span: Context) -> dict[str, str]:
        """The headers that tell *origin* of the span in *of_span*."""
        carrier: dict[str, str] = {}
        if self._told is None or find(origin.host, self._told):
            propagate.inject(carrier, of_span)
        return carrier


class _Failed(NamedTuple):
    """An attempt's span that can still be told of later events. *error*: empty if the attempt was cancelled."""

    span: Span
    error: str
    detail: str
    ended_at: int


class _Call:
    """
    A call in flight.

    Attributes:
        at: When it began, in nanoseconds since the epoch, as all of these.
        begins_at: When its next attempt begins, but for the delay before it; None if that isn't known.
        over: The span over the attempts; None until there is one.
        is_adopted: `over` is another instrumentation's.
        first: The first attempt's span.
        span: The span of the attempt in flight; None before it is about to be sent.
        token: Takes that span out of the task's context.
        hedge: The span of the attempt that is made beside it; None if there is none.
        rejection: A gate's refusal, of which no span has been told.
    """

    __slots__ = ("at", "begins_at", "failed", "first", "hedge", "is_adopted", "over", "rejection", "span", "token")

    def __init__(self, at: int) -> None:
        self.at = at
        self.begins_at: int | None = at
        self.over: Span | None = None
        self.is_adopted = False
        self.first: SpanContext | None = None
        self.span: Span | None = None
        self.token: Any = None
        self.hedge: Span | None = None
        self.failed: _Failed | None = None
        self.rejection: Rejected | None = None


class Spans:
    """The spans of one engine's calls."""

    def __init__(self, tracing: Tracing, engine: Engine) -> None:
        self._tracing = tracing
        self._tracer = tracing.tracer
        self._client: dict[str, str] = {n.CLIENT: engine.name} if engine.name else {}
        self._calls: dict[int, _Call] = {}

    def attempt_started(self, started: CallStarted, attempt: AttemptStarted) -> Mapping[str, str]:
        """Begin the span of *attempt*, in whose context it is sent; return the headers that tell the server of it."""
        call = self._calls.get(attempt.call)
        if call is None:
            return {}
        if attempt.is_hedge:
            return self._begin_hedge(call, attempt)
        self._settle(call)
        others = contribs_span()
        if others is not None and others is not call.over:
            return self._adopt(call, others, attempt)
        began_at = None
        if call.begins_at is not None:  # a virtual clock may have passed the real one
            began_at = min(call.begins_at + int(attempt.delay * 1e9), time.time_ns())
        span = self._begin(call, attempt, began_at)
        of_span = inside(span)
        call.token = context.attach(of_span)
        return self._tracing.headers(attempt.origin, of_span)

    def _begin_hedge(self, call: _Call, attempt: AttemptStarted) -> Mapping[str, str]:
        """The same beside the attempt in flight, whose span stays what it is."""
        beside = call.span
        call.hedge, call.span = self._begin(call, attempt, None), beside
        call.hedge.set_attribute(n.HEDGE, value=True)
        of_span = inside(call.hedge)
        context.attach(of_span)  # for good: it begins in a context of its own
        return self._tracing.headers(attempt.origin, of_span)

    def on(self, event: Event) -> None:
        """Tell spans of *event*."""
        kind = type(event)
        if kind in OF_CALLS:
            call = self._calls.get(event.call)  # type: ignore[union-attr]
            if call is not None:  # else it began before the engine was observed
                OF_CALLS[kind](self, call, event)
        elif kind in OF_OTHERS:
            OF_OTHERS[kind](self, event)

    # Beginning

    def _begin(self, call: _Call, attempt: AttemptStarted | Attempt, began_at: int | None) -> Span:
        """Begin the span of *attempt*, under the call's if there is one."""
        is_over = call.over is not None or self._tracing.is_each_call or attempt.number > 1
        if not is_over:
            is_over = not trace.get_current_span().get_span_context().is_valid
        parent = None
        if is_over and not call.is_adopted:
            parent = trace.set_span_in_context(self._over(call))
        name, attributes = begun(attempt)
        attributes |= self._client
        if attempt.number > 1:
            attributes[n.RESENDS] = attempt.number - 1
        span = call.span = self._tracer.start_span(
            name, parent, kind=SpanKind.CLIENT, attributes=attributes, start_time=began_at
        )
        if call.first is None:
            call.first = span.get_span_context()
        return span

    def _adopt(self, call: _Call, span: Span, attempt: AttemptStarted) -> Mapping[str, str]:
        """
        Let contrib's *span*, which is around all attempts of a hop, be the span of its first attempt.

        Its server has been told of it already.
        """
        call.over = call.span = span
        call.is_adopted = True
        if attempt.number > 1:
            span.set_attribute(n.RESENDS, attempt.number - 1)
        call.token = context.attach(inside(span))
        return {}

    def _over(self, call: _Call) -> Span:
        """The span over the attempts of *call*, begun now if there is none."""
        if call.over is None:
            links = None if call.first is None else [Link(call.first)]
            call.over = self._tracer.start_span(
                n.CALL_SPAN, kind=SpanKind.INTERNAL, attributes=self._client, links=links, start_time=call.at
            )
        return call.over

    # What it does with each event

    def _call_started(self, event: CallStarted) -> None:
        self._calls[event.call] = _Call(time.time_ns())

    def _attempt(self, call: _Call, event: Attempt) -> None:
        now = time.time_ns()
        began_at = now - int(event.duration * 1e9)
        if event.is_hedge and call.hedge is not None:
            span, call.hedge = call.hedge, None
        else:
            token, call.token = call.token, None
            if token is not None:
                context.detach(token)
            self._settle(call)
            span = call.span or self._begin(call, event, began_at)
            call.span = call.begins_at = None
        is_ours = span is not call.over
        if span.is_recording():
            describe(span, event, began_at, is_ours=is_ours)
            self._tell_rejection(call, span, event.number)
        if not is_ours:
            return
        is_cut = event.outcome == "cancelled"
        error = "" if is_cut else error_of(event)
        if event.is_superseded:
            if span.is_recording():
                span.set_attribute(n.SUPERSEDED, value=True)
                if error and error != "superseded":
                    fail(span, error, event.detail)
            span.end(now)
        elif error or is_cut:
            call.failed = _Failed(span, error, event.detail, now)
        else:
            span.end(now)

    def _retry(self, call: _Call, event: RetryScheduled) -> None:
        now = time.time_ns()
        self._settle(call)
        call.begins_at = now
        over = self._over(call)
        if over.is_recording():
            self._tell_rejection(call, over, event.number)
            over.add_event(n.RETRY, {n.DELAY: event.delay, n.REASON: event.reason}, now)

    def _denied(self, call: _Call, event: RetryDenied) -> None:
        over = call.over or (None if call.failed is None else call.failed.span)
        if over is not None:
            over.add_event(n.RETRY_DENIED, {n.DENIED: event.reason.value, n.DETAIL: event.detail})

    def _rejected(self, call: _Call, event: Rejected) -> None:
        call.rejection = event

    def _call_ended(self, call: _Call, event: CallEnded) -> None:
        del self._calls[event.call]
        self._settle(call, event.outcome)
        if call.is_adopted or (call.over is None and event.attempts):
            return
        over = self._over(call)
        if over.is_recording():
            over.set_attributes({n.ATTEMPTS: event.attempts, n.OUTCOME: event.outcome})
            self._tell_rejection(call, over, event.attempts + 1)
            if is_error(event.outcome):
                fail(over, event.outcome)
        over.end()

    def _body_ended(self, event: BodyEnded) -> None:
        """
        Give a body that broke off a span of its own, under whatever reads it, because the attempt's span has ended.

        The attempt's ends with the headers, because its event doesn't say whether a body follows.
        """
        if event.outcome in ("complete", "closed"):
            return
        now = time.time_ns()
        attributes = begun(event)[1] | self._client
        span = self._tracer.start_span(n.BODY_SPAN, attributes=attributes, start_time=now - int(event.duration * 1e9))
        if span.is_recording():
            fail(span, event.outcome, event.detail)
        span.end(now)

    # What an origin's events tell of the attempt that made it move

    def _breaker_moved(self, event: BreakerMoved) -> None:
        tell_open(n.BREAKER_MOVED, {n.PREVIOUS: event.previous, n.STATE: event.state, n.DETAIL: event.reason})

    def _limit_moved(self, event: LimitMoved) -> None:
        tell_open(n.LIMIT_MOVED, {n.LIMIT: event.limit, n.DETAIL: event.reason})

    def _paused(self, event: OriginPaused) -> None:
        tell_open(n.PAUSED, {n.DURATION: event.duration})

    def _away(self, event: OriginAway) -> None:
        tell_open(n.WENT_AWAY, {n.DETAIL: event.reason})

    # Ending

    def _settle(self, call: _Call, outcome: str = "cancelled") -> None:
        """End the span of a failed attempt, as of then. *outcome*: the call's, which tells why it was cancelled."""
        failed, call.failed = call.failed, None
        if failed is not None:
            span = failed.span
            if span.is_recording():
                cut = "cancelled" if outcome.isdigit() else outcome or "cancelled"
                fail(span, failed.error or cut, failed.detail)
            span.end(failed.ended_at)

    def _tell_rejection(self, call: _Call, span: Span, number: int) -> None:
        """Tell *span* which gate refused attempt *number*, if one did."""
        rejection = call.rejection
        if rejection is not None and rejection.number == number:
            call.rejection = None
            span.add_event(n.REJECTED, {n.GATE: rejection.by, n.DURATION: rejection.waited})


OF_CALLS: Final[dict[type, Callable[[Spans, _Call, Any], None]]] = {
    Attempt: Spans._attempt,
    CallEnded: Spans._call_ended,
    RetryScheduled: Spans._retry,
    RetryDenied: Spans._denied,
    Rejected: Spans._rejected,
}
OF_OTHERS: Final[dict[type, Callable[[Spans, Any], None]]] = {
    CallStarted: Spans._call_started,
    BodyEnded: Spans._body_ended,
    BreakerMoved: Spans._breaker_moved,
    LimitMoved: Spans._limit_moved,
    OriginPaused: Spans._paused,
    OriginAway: Spans._away,
}
