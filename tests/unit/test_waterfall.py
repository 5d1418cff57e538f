"""The bars of ``seawall get --timing``, line by line."""

from __future__ import annotations

from seawall.cli.waterfall import hops_of, waterfall
from seawall.events import Attempt, Phase
from seawall.origin import Address, Origin
from seawall.server_timing import ServerTiming

NEW = {Phase.RESOLVING: 0.0, Phase.CONNECTING: 0.1, Phase.TLS: 0.2, Phase.SENDING: 0.3, Phase.SENT: 0.3}


def attempt(number: int, status: int | None, marks: dict[Phase, float], duration: float, **facts) -> Attempt:
    """One of GET https://a.test/p."""
    given = {
        "call": 1,
        "origin": Origin("https", "a.test", 443),
        "method": "GET",
        "path": "/p",
        "number": number,
        "delay": 0.0,
        "duration": duration,
        "phase": max(marks, default=Phase.QUEUED),
        "status": status,
        "error": None if status else "ReadTimeout",
        "detail": "",
        "address": Address("192.0.2.1"),
        "protocol": "HTTP/1.1" if status else "",
        "is_reused": False,
        "marks": tuple(marks.items()),
        "source": "dns",
        "dials": (),
        "queued": (),
        "bytes_out": 0,
        "bytes_in": 0,
    }
    return Attempt(**{**given, **facts})


def drawn(attempts: list[Attempt], *timings: ServerTiming) -> list[str]:
    """At 49 columns, of which 20 are the bars'."""
    hops = hops_of(attempts)
    hops[-1] = hops[-1]._replace(timings=timings)
    return [line.plain for line in waterfall(hops, width=49)]


def test_a_phase_is_as_long_as_it_took():
    """And begins where the one before it ended; the server's share is in the middle of its wait."""
    first = attempt(1, 200, {**NEW, Phase.HEADERS: 0.9}, 1.0)
    assert drawn(
        [first], ServerTiming("db", 0.2, "query"), ServerTiming("miss", None, ""), ServerTiming("all", 0.3, "")
    ) == [
        "GET https://a.test/p",
        "  #1 200  192.0.2.1, HTTP/1.1",
        "    DNS            100.0 ms  ━━",
        "    connect        100.0 ms    ━━",
        "    TLS            100.0 ms      ━━",
        "    first byte     600.0 ms        ━━━━━━━━━━━━",
        "      server       300.0 ms           ━━━━━━",
        "      server: db 200.0 ms (query), all 300.0 ms",
        "    transfer       100.0 ms                    ━━",
        "total                1.00 s  1 attempt",
    ]


def test_a_phase_that_never_came_has_no_line():
    """Of an address no DNS, of http no TLS, of a connection that was open neither; nothing after a failure."""
    marks = {Phase.RESOLVING: 0.0, Phase.CONNECTING: 0.0, Phase.SENDING: 0.1, Phase.SENT: 0.1}
    failed = attempt(1, None, marks, 0.5, source="literal")
    reused = {Phase.SENDING: 0.0, Phase.SENT: 0.0, Phase.HEADERS: 0.1}
    assert drawn([failed, attempt(2, 204, reused, 0.1, delay=0.4, is_reused=True)]) == [
        "GET https://a.test/p",
        "  #1 read timeout  192.0.2.1",
        "    connect        100.0 ms  ━━",
        "    first byte     400.0 ms    ━━━━━━━━",
        "  wait             400.0 ms            ┄┄┄┄┄┄┄┄",
        "  #2 204  192.0.2.1, kept alive, HTTP/1.1",
        "    first byte     100.0 ms                    ━━",
        "    transfer         0.0 ms                     ━",
        "total                1.00 s  2 attempts",
    ]


def test_a_queue_and_an_upload():
    """They have lines only if they took time."""
    marks = {Phase.SENDING: 0.2, Phase.SENT: 0.6, Phase.HEADERS: 0.8}
    lines = drawn([attempt(1, 200, marks, 1.0, queued=(("bulkhead", 0.2),))])
    assert [line.split()[0] for line in lines[2:-1]] == ["queue", "send", "first", "transfer"]


def test_a_redirect_begins_a_hop():
    """And a retry doesn't."""
    reused = {Phase.SENDING: 0.0, Phase.SENT: 0.0, Phase.HEADERS: 0.1}
    hops = hops_of([attempt(number, status, reused, 0.1) for number, status in enumerate((503, 302, 200), 1)])
    assert [[each.status for _, each in hop.attempts] for hop in hops] == [[503, 302], [200]]


def test_an_attempt_that_was_refused_at_once():
    """It came to no phase, and took no time."""
    assert drawn([attempt(1, None, {}, 0.0, error="BulkheadFull", address=None)]) == [
        "GET https://a.test/p",
        "  #1 bulkhead full",
        "total                0.0 ms  1 attempt",
    ]


def test_no_line_is_wider():
    """A long URL is cut, and the sign for it shown."""
    lines = drawn([attempt(1, 200, {**NEW, Phase.HEADERS: 0.9}, 1.0, path="/" + "p" * 90)])
    assert lines[0].endswith("…")
    assert max(map(len, lines)) == 49
