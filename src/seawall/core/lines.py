"""
The lines of the log: for each event its logger, its level, its text and its fields. Only data.

Fields have the names of OpenTelemetry's semantic conventions where these have one, else ``seawall.*``. A text takes its
values from the fields, so the two can't differ. No field has a URL's query or userinfo, a header or a body, because
events have none: `words` sees to the texts of errors.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any, Final, NamedTuple, TypeAlias

from ..events import Attempt, CallEnded, Event

__all__ = ["FIELDS", "LINES", "LOGGERS", "Line", "about", "kind"]

Value: TypeAlias = Callable[[Any], object]

LOGGERS: Final[Mapping[str, str]] = {
    "call": "calls, their attempts and bodies; a call that gave up or was rejected here",
    "retry": "retries, and why one wasn't made",
    "breaker": "breakers that change their state",
    "limit": "attempts that a gate refused, adaptive bulkheads, shared limits, origins that ask to wait",
    "pool": "connections and addresses, origins that are away",
    "dns": "lookups",
}
"""The children of the logger ``seawall``, and what each tells of."""

FIELDS: Final[Mapping[str, str]] = {
    "seawall.event": "which line it is",
    "seawall.client": "name of the client, if it has one",
    "seawall.call": "number of the call, unique in its client",
    "http.request.method": "its method, of the present hop",
    "url.scheme": "scheme of the origin",
    "server.address": "host of the origin",
    "server.port": "port of the origin",
    "url.path": "path of the URL, without the query",
    "seawall.attempt": "number of the attempt, from 1, over all hops",
    "http.request.resend_count": "how many attempts came before it, if any did",
    "seawall.max_attempts": "number of the last attempt, if each one until then fails",
    "seawall.attempts": "how many attempts were made",
    "seawall.retries": "how many of them were retries",
    "seawall.outcome": 'a status, the class of an error, "superseded", "cancelled"; of a body "complete" or "closed"',
    "http.response.status_code": "status, if there was a response",
    "error.type": "class of the error, or a status of 400 and above; of a retry, what led to it",
    "seawall.detail": "the error's text, or why no retry follows and what to change",
    "seawall.phase": "the last phase that the attempt reached",
    "seawall.duration": "how long it took, or will take, in seconds",
    "seawall.delay": "backoff before the attempt, in seconds",
    "seawall.waited": "how long the attempt had waited, in seconds",
    "seawall.note": "why no further attempt was made, if one might have been",
    "seawall.history": "the attempts in a line: how many, how long, and how each ended",
    "seawall.rejected_by": 'the gate on this side, or "deadline"',
    "seawall.denied": "why no retry follows: a value of `Denied`",
    "seawall.reason": "why, in words",
    "seawall.breaker.state": "state of the breaker",
    "seawall.breaker.previous": "its state before",
    "seawall.limit": "how many attempts may be in flight",
    "seawall.ghosts": "attempts that were given up and hold permits",
    "seawall.gate": "what was shared: a limit or a bulkhead",
    "seawall.fallback": "what holds while it isn't: share, open or closed",
    "seawall.processes": "how many processes share it, this one included",
    "seawall.back": "whether the origin is back, or no longer waited for",
    "network.peer.address": "IP address of the peer",
    "network.peer.port": "its port, if discovery named another than the origin's",
    "network.protocol.version": "version of HTTP",
    "dns.question.name": "the name that was looked up",
    "dns.answers": "its addresses",
    "seawall.addresses": "how many addresses were found",
    "seawall.source": 'where they came from: "dns", "system", ...',
    "seawall.ttl": "how long the resolver lets them be kept, in seconds",
    "seawall.repeated": "how many warnings like it were left out since the last one",
    "seawall.repeated_for": "how long ago that was, in seconds",
}
"""What each field means. A field without a value is left out."""

PORTS: Final = {"http": 80, "https": 443}


class Line(NamedTuple):
    """
    What the log says of a kind of event.

    Attributes:
        logger: A key of `LOGGERS`.
        text: Follows what `about` says; the %-format of `fields`.
        fields: Each field's value, of an event. None leaves it out.
        alike: The fields in which two warnings are the same, beside the kind.
    """

    logger: str
    level: int
    text: str
    fields: Mapping[str, Value]
    alike: tuple[str, ...] = ("server.address", "server.port")


def about(event: Any) -> str:
    """What *event* is about: ``GET https://api.example.com/orders``, an origin or a name."""
    origin = getattr(event, "origin", None)
    where = getattr(event, "host", "") if origin is None else origin.site
    if origin is not None and PORTS.get(origin.scheme) == origin.port:
        where = where.removesuffix(f":{origin.port}")
    way = f" through {origin.way}" if origin is not None and origin.way else ""
    if not hasattr(event, "method"):
        return f"{where}{way}"
    method = event.method if event.method.isprintable() else repr(event.method)  # a new line would forge a line
    return f"{method} {where}{event.path}{way}"


def kind(event: Event) -> str:
    """The key of its line in `LINES`."""
    if not isinstance(event, CallEnded):
        return type(event).__name__
    if event.rejected_by:
        return "CallLate" if event.rejected_by == "deadline" else "CallRejected"
    is_good = event.outcome.isdecimal() and not event.note
    return "CallEnded" if not event.retries or is_good or event.outcome in OTHERS else "CallGaveUp"


OTHERS: Final = ("cancelled", "CallerLeft", "ClientClosed")
"""Outcomes of calls that others ended."""


def _error_type(event: Attempt) -> str | None:
    """As the convention says: the error's class, or a status of 400 and above."""
    return event.error or (str(event.status) if event.status is not None and event.status >= 400 else None)


def _addresses(event: Any) -> str:
    return ", ".join(map(str, event.addresses))


def _of_origin(name: str) -> Value:
    return lambda event: None if event.origin is None else getattr(event.origin, name)


ORIGIN: Final[Mapping[str, Value]] = {
    "url.scheme": _of_origin("scheme"),
    "server.address": _of_origin("host"),
    "server.port": _of_origin("port"),
}
CALL: Final[Mapping[str, Value]] = {
    "seawall.call": attrgetter("call"),
    "http.request.method": attrgetter("method"),
    **ORIGIN,
    "url.path": attrgetter("path"),
}
ATTEMPT: Final[Mapping[str, Value]] = {
    **CALL,
    "seawall.attempt": attrgetter("number"),
    "http.request.resend_count": lambda event: event.number - 1 or None,
}
ENDED: Final[Mapping[str, Value]] = {
    **CALL,
    "seawall.attempts": attrgetter("attempts"),
    "seawall.retries": attrgetter("retries"),
    "seawall.outcome": attrgetter("outcome"),
    "seawall.duration": attrgetter("duration"),
    "seawall.note": attrgetter("note"),
}
ADDRESS: Final[Mapping[str, Value]] = {
    "network.peer.address": lambda event: None if event.address is None else event.address.ip,
    "network.peer.port": lambda event: None if event.address is None else event.address.port,
}
CONNECTION: Final[Mapping[str, Value]] = {
    **ORIGIN,
    **ADDRESS,
    "network.protocol.version": lambda event: event.protocol.partition("/")[2].removesuffix(".0"),
}
NAME: Final[Mapping[str, Value]] = {"dns.question.name": attrgetter("host")}
REASON: Final[Mapping[str, Value]] = {"seawall.reason": attrgetter("reason")}
DURATION: Final[Mapping[str, Value]] = {"seawall.duration": attrgetter("duration")}

DEBUG, INFO, WARNING = logging.DEBUG, logging.INFO, logging.WARNING

LINES: Final[Mapping[str, Line]] = {
    "CallStarted": Line("call", DEBUG, "call %(seawall.call)d begins", CALL),
    "Attempt": Line(
        "call",
        DEBUG,
        "attempt %(seawall.attempt)d: %(seawall.outcome)s after %(seawall.duration).3g s, in phase %(seawall.phase)s",
        {
            **ATTEMPT,
            **DURATION,
            **ADDRESS,
            "network.protocol.version": CONNECTION["network.protocol.version"],
            "http.response.status_code": attrgetter("status"),
            "error.type": _error_type,
            "seawall.outcome": attrgetter("outcome"),
            "seawall.phase": attrgetter("phase.name"),
            "seawall.detail": attrgetter("detail"),
        },
    ),
    "BodyEnded": Line(
        "call",
        DEBUG,
        "body of attempt %(seawall.attempt)d: %(seawall.outcome)s after %(seawall.duration).3g s",
        {**ATTEMPT, **DURATION, "seawall.outcome": attrgetter("outcome"), "seawall.detail": attrgetter("detail")},
    ),
    "CallEnded": Line("call", DEBUG, "call %(seawall.call)d ends: %(seawall.history)s", ENDED),
    "CallGaveUp": Line("call", WARNING, "gave up: %(seawall.history)s", ENDED),
    "CallRejected": Line(
        "call",
        WARNING,
        "rejected by %(seawall.rejected_by)s after %(seawall.duration).3g s: %(seawall.history)s",
        {**ENDED, "seawall.rejected_by": attrgetter("rejected_by")},
        alike=("server.address", "server.port", "seawall.rejected_by"),
    ),
    "CallLate": Line(
        "call",
        WARNING,
        "deadline exceeded after %(seawall.duration).3g s: %(seawall.history)s",
        {**ENDED, "seawall.rejected_by": attrgetter("rejected_by")},
    ),
    "RetryScheduled": Line(
        "retry",
        INFO,
        "attempt %(seawall.attempt)d of %(seawall.max_attempts)d in %(seawall.delay).3g s, after %(error.type)s",
        {
            **ATTEMPT,
            "seawall.max_attempts": attrgetter("max_attempts"),
            "seawall.delay": attrgetter("delay"),
            "error.type": attrgetter("reason"),
        },
    ),
    "HedgeStarted": Line(
        "retry",
        DEBUG,
        "attempt %(seawall.attempt)d beside a slow one, which has had no response for %(seawall.duration).3g s",
        {**ATTEMPT, "seawall.duration": attrgetter("after")},
    ),
    "RetryDenied": Line(
        "retry",
        DEBUG,
        "no attempt %(seawall.attempt)d: %(seawall.detail)s",
        {**ATTEMPT, "seawall.denied": attrgetter("reason.value"), "seawall.detail": attrgetter("detail")},
    ),
    "Rejected": Line(
        "limit",
        DEBUG,
        "attempt %(seawall.attempt)d rejected by %(seawall.rejected_by)s after %(seawall.waited).3g s",
        {**ATTEMPT, "seawall.rejected_by": attrgetter("by"), "seawall.waited": attrgetter("waited")},
    ),
    "BreakerMoved": Line(
        "breaker",
        WARNING,
        "breaker %(seawall.breaker.state)s, was %(seawall.breaker.previous)s: %(seawall.reason)s",
        {
            **ORIGIN,
            "seawall.breaker.state": attrgetter("state"),
            "seawall.breaker.previous": attrgetter("previous"),
            **REASON,
        },
        alike=("server.address", "server.port", "seawall.breaker.state"),
    ),
    "LimitMoved": Line(
        "limit",
        INFO,
        "%(seawall.limit)d attempts may be in flight: %(seawall.reason)s",
        {**ORIGIN, "seawall.limit": attrgetter("limit"), "seawall.ghosts": attrgetter("ghosts"), **REASON},
    ),
    "LimitDegraded": Line(
        "limit",
        WARNING,
        "the %(seawall.gate)s is no longer shared (processes: %(seawall.processes)d, fallback: %(seawall.fallback)s): "
        "%(seawall.reason)s",
        {
            **ORIGIN,
            "seawall.gate": attrgetter("gate"),
            "seawall.fallback": attrgetter("fallback"),
            "seawall.processes": attrgetter("processes"),
            **REASON,
        },
    ),
    "LimitRestored": Line(
        "limit",
        WARNING,
        "the %(seawall.gate)s is shared again, after %(seawall.duration).3g s",
        {**ORIGIN, "seawall.gate": attrgetter("gate"), **DURATION},
    ),
    "OriginPaused": Line("limit", INFO, "calls wait for %(seawall.duration).3g s", {**ORIGIN, **DURATION}),
    "OriginAway": Line("pool", WARNING, "away, so calls wait for it: %(seawall.reason)s", {**ORIGIN, **REASON}),
    "OriginBack": Line(
        "pool",
        WARNING,
        "%(seawall.back)s after %(seawall.duration).3g s",
        {
            **ORIGIN,
            **DURATION,
            "seawall.back": lambda event: "back" if event.has_answered else "no longer waited for",
        },
    ),
    "AddressEjected": Line(
        "pool",
        INFO,
        "%(network.peer.address)s failed too often, and is tried last for %(seawall.duration).3g s",
        {**ORIGIN, **ADDRESS, **DURATION},
    ),
    "AddressReadmitted": Line(
        "pool", INFO, "%(network.peer.address)s is used like the others again", {**ORIGIN, **ADDRESS}
    ),
    "ConnectionOpened": Line("pool", DEBUG, "connected to %(network.peer.address)s", CONNECTION),
    "ConnectionClosed": Line("pool", DEBUG, "disconnected from %(network.peer.address)s", CONNECTION),
    "StaleServed": Line("dns", INFO, "DNS has no answer; used: %(dns.answers)s", {**NAME, "dns.answers": _addresses}),
    "ResolverFailed": Line("dns", INFO, "a lookup failed: %(seawall.reason)s", {**NAME, **REASON}),
    "LookupEnded": Line(
        "dns",
        DEBUG,
        "a lookup gave %(seawall.addresses)d addresses after %(seawall.duration).3g s",
        {
            **NAME,
            **DURATION,
            "seawall.addresses": attrgetter("addresses"),
            "seawall.source": attrgetter("source"),
            "seawall.ttl": attrgetter("ttl"),
            "error.type": attrgetter("error"),
        },
    ),
}
"""By the name of the event's class; a call's end has four lines, by what ended it (see `kind`)."""
