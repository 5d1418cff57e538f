"""The lines of the log as data, and the warnings that repeat."""

from __future__ import annotations

import logging
import typing

import pytest

from seawall import Origin, events
from seawall.attempts import Phase
from seawall.core.lines import FIELDS, LINES, LOGGERS, about
from seawall.core.log import MAX_KINDS, Log, Repeats
from seawall.origin import Address

API = Origin("https", "api.example.com", 443)
IPV6 = Origin("http", "::1", 8080)
CALL = (7, API, "GET", "/orders")
PEER = Address("10.0.0.1")
ATTEMPT = events.Attempt(
    *CALL, 2, 0.1, 0.25, Phase.HEADERS, 503, None, "", PEER, "HTTP/1.1", False, (), "dns", (), (), 10, 20
)

TOLD: list[tuple[events.Event, str, str]] = [
    (events.CallStarted(7, "GET", API, "/orders"), "call", "GET https://api.example.com/orders: call 7 begins"),
    (
        ATTEMPT,
        "call",
        "GET https://api.example.com/orders: attempt 2: 503 after 0.25 s, in phase HEADERS",
    ),
    (
        ATTEMPT._replace(status=None, error="DialError", address=None, protocol=""),
        "call",
        "GET https://api.example.com/orders: attempt 2: DialError after 0.25 s, in phase HEADERS",
    ),
    (
        events.BodyEnded(*CALL, 1, 3.0, "closed", "", 10),
        "call",
        "GET https://api.example.com/orders: body of attempt 1: closed after 3 s",
    ),
    (
        events.CallEnded(7, API, "GET", "/orders", 1, "503", "", 0.25),
        "call",
        "GET https://api.example.com/orders: call 7 ends: 1 attempt in 0.35 s: 503",
    ),
    (
        events.CallEnded(7, None, "GET", "/there", 0, "UnsupportedScheme", "", 0.0),
        "call",
        "GET /there: call 7 ends: 1 attempt in 0.35 s: 503",
    ),
    (
        events.CallEnded(7, API, "GET", "/orders", 1, "503", "why not", 0.25, 1),
        "call",
        "GET https://api.example.com/orders: gave up: 1 attempt in 0.35 s: 503",
    ),
    (
        events.CallEnded(7, IPV6, "GET", "/", 1, "BulkheadFull", "", 0.25, 0, "bulkhead"),
        "call",
        "GET http://[::1]:8080/: rejected by bulkhead after 0.25 s: 1 attempt in 0.35 s: 503",
    ),
    (
        events.CallEnded(7, API, "GET", "/orders", 1, "DeadlineExceeded", "", 0.25, 2, "deadline"),
        "call",
        "GET https://api.example.com/orders: deadline exceeded after 0.25 s: 1 attempt in 0.35 s: 503",
    ),
    (
        events.RetryScheduled(*CALL, 2, 3, 0.3, "503"),
        "retry",
        "GET https://api.example.com/orders: attempt 2 of 3 in 0.3 s, after 503",
    ),
    (
        events.HedgeStarted(*CALL, 2, 0.25),
        "retry",
        "GET https://api.example.com/orders: attempt 2 beside a slow one, which has had no response for 0.25 s",
    ),
    (
        events.RetryDenied(*CALL, 2, events.Denied.UNSAFE, "not safe"),
        "retry",
        "GET https://api.example.com/orders: no attempt 2: not safe",
    ),
    (
        events.Rejected(*CALL, 1, "bulkhead", 2.0),
        "limit",
        "GET https://api.example.com/orders: attempt 1 rejected by bulkhead after 2 s",
    ),
    (
        events.BreakerMoved(API, "closed", "open", "too bad"),
        "breaker",
        "https://api.example.com: breaker open, was closed: too bad",
    ),
    (events.LimitMoved(API, 5, 2, "slow"), "limit", "https://api.example.com: 5 attempts may be in flight: slow"),
    (
        events.LimitDegraded(API, "bulkhead", "share", 4, "no answer within 50 ms"),
        "limit",
        "https://api.example.com: the bulkhead is no longer shared (processes: 4, fallback: share): "
        "no answer within 50 ms",
    ),
    (events.LimitRestored(API, "limit", 2.0), "limit", "https://api.example.com: the limit is shared again, after 2 s"),
    (events.OriginPaused(API, 2.0), "limit", "https://api.example.com: calls wait for 2 s"),
    (events.OriginAway(API, "refused"), "pool", "https://api.example.com: away, so calls wait for it: refused"),
    (events.OriginBack(API, 2.0), "pool", "https://api.example.com: back after 2 s"),
    (events.OriginBack(API, 2.0, False), "pool", "https://api.example.com: no longer waited for after 2 s"),
    (
        events.AddressEjected(API, PEER, 2.0),
        "pool",
        "https://api.example.com: 10.0.0.1 failed too often, and is tried last for 2 s",
    ),
    (
        events.AddressReadmitted(API, PEER),
        "pool",
        "https://api.example.com: 10.0.0.1 is used like the others again",
    ),
    (events.ConnectionOpened(API, PEER, "HTTP/2"), "pool", "https://api.example.com: connected to 10.0.0.1"),
    (events.ConnectionClosed(API, PEER, "HTTP/2"), "pool", "https://api.example.com: disconnected from 10.0.0.1"),
    (events.StaleServed("a.test", (PEER, PEER)), "dns", "a.test: DNS has no answer; used: 10.0.0.1, 10.0.0.1"),
    (events.ResolverFailed("a.test", "SERVFAIL"), "dns", "a.test: a lookup failed: SERVFAIL"),
    (
        events.LookupEnded("a.test", "dns", 0.5, 2, None, 60.0),
        "dns",
        "a.test: a lookup gave 2 addresses after 0.5 s",
    ),
]


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Log:
    for name in LOGGERS:
        caplog.set_level(logging.DEBUG, f"seawall.{name}")
    return Log("", now=lambda: 0.0)


@pytest.mark.parametrize(("event", "logger", "text"), TOLD, ids=lambda each: type(each).__name__)
def test_each_event_has_a_line(log, caplog, event, logger, text):
    """With its logger and text; every field of the record is one that JSON can carry, and none is None."""
    log.write(event, (lambda: events.History([ATTEMPT])) if isinstance(event, events.CallEnded) else None)
    (record,) = caplog.records
    assert (record.name, record.getMessage()) == (f"seawall.{logger}", text)
    fields = {name: value for name, value in vars(record).items() if "." in name}
    assert {type(value) for value in fields.values()} <= {str, int, float}


def test_a_call_without_an_attempt(log, caplog):
    """Its history says so, and how it ended."""
    log.write(events.CallEnded(7, API, "GET", "/", 0, "OriginPaused", "", 0.0, 0, "pause"), events.History)
    assert caplog.messages == [
        "GET https://api.example.com/: rejected by pause after 0 s: no attempt: OriginPaused",
    ]


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (events.ResolverFailed("api.test", ""), "api.test: a lookup failed: "),
        (
            events.CallEnded(7, API, "GET", "/", 0, "", "", 0.0),
            "GET https://api.example.com/: call 7 ends: no attempt: ",
        ),
    ],
)
def test_a_field_that_is_empty(log, caplog, event, text):
    """Somebody's resolver may raise an error without a text; the line is written all the same."""
    log.write(event, events.History if isinstance(event, events.CallEnded) else None)
    (record,) = caplog.records
    assert record.getMessage() == text
    assert "" not in vars(record).values()


def test_no_event_is_left_out():
    """A new kind of event without a line would break its call."""
    kinds = {event.__name__ for event in typing.get_args(events.Event)}
    assert kinds <= LINES.keys()
    assert kinds == {type(event).__name__ for event, _, _ in TOLD}
    extra = {"seawall.event", "seawall.client", "seawall.history", "seawall.repeated", "seawall.repeated_for"}
    assert {name for line in LINES.values() for name in line.fields} | extra == FIELDS.keys()
    assert {line.logger for line in LINES.values()} == LOGGERS.keys()


def test_an_application_without_a_log_is_left_alone(capsys):
    """The standard library would write its lines to standard error; only what `seawall` itself says comes there."""
    root, handlers = logging.getLogger(), logging.getLogger().handlers[:]
    root.handlers.clear()
    try:
        for name in LOGGERS:
            logging.getLogger(f"seawall.{name}").warning("a line")
        assert capsys.readouterr().err == ""
        logging.getLogger("seawall").error("a bug of the application's")
    finally:
        root.handlers[:] = handlers
    assert capsys.readouterr().err == "a bug of the application's\n"


def test_warnings_outside_a_loop_are_all_written(caplog):
    """Where there is no time, as when a breaker is opened by hand."""

    def now() -> float:
        raise RuntimeError("no running event loop")

    log = Log("", now=now)
    for _ in range(3):
        log.write(events.OriginAway(API, "refused"))
    assert len(caplog.records) == 3


def test_what_repeats_is_counted():
    """Told at once, then at most once a second, with how often it happened between, and since when."""
    repeats = Repeats()
    assert repeats.count("a", 10.0) == (0, 1.0)
    assert [repeats.count("a", at) for at in (10.0, 10.5, 10.999)] == [None] * 3
    assert repeats.count("b", 10.5) == (0, 1.0)
    assert repeats.count("a", 11.0) == (3, 1.0)
    assert repeats.count("a", 20.0) == (0, 9.0)


def test_memory_of_what_repeats_is_bounded():
    """Of a million origins the newest are remembered."""
    repeats = Repeats()
    for number in range(10 * MAX_KINDS):
        repeats.count(number, 0.0)
    assert len(repeats._told) == MAX_KINDS
    assert repeats.count(10 * MAX_KINDS - 1, 0.5) is None
    assert repeats.count(0, 0.5) == (0, 1.0)


@pytest.mark.parametrize(
    ("way", "moved", "ended"),
    [
        ("", "https://a.test", "GET https://a.test/b"),
        ("http://proxy:1", "https://a.test through http://proxy:1", "GET https://a.test/b through http://proxy:1"),
    ],
)
def test_a_line_says_the_way(way, moved, ended):
    """After the URL, which is otherwise the same, because people search for it."""
    origin = Origin("https", "a.test", 443, way)
    assert about(events.BreakerMoved(origin, "closed", "open", "why")) == moved
    assert about(ATTEMPT._replace(origin=origin, method="GET", path="/b")) == ended
