"""What the dashboard keeps: percentiles, seconds, origins, failures; how it judges them. No clock runs here."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import random
import re
import statistics
import sys

import pytest

from seawall import Origin
from seawall.dns import Address
from seawall.events import Attempt, BodyEnded, CallEnded, LimitDegraded, LimitRestored, LookupEnded, Phase
from seawall.integrations.dashboard.failures import MAX_ATTEMPTS, MAX_STREAMS, is_failure
from seawall.integrations.dashboard.health import Health, judge
from seawall.integrations.dashboard.histogram import SIZE, Histogram, bucket, middle, quantile
from seawall.integrations.dashboard.page import page
from seawall.integrations.dashboard.record import Record, Summary
from seawall.integrations.dashboard.recorder import MAX_LOOKUPS, Recorder
from seawall.integrations.dashboard.ring import SPAN, Ring
from seawall.stats import OriginStats

ORIGIN = Origin("https", "api.test", 443)
WELL = OriginStats(
    in_flight=1, max_concurrent=64, waiting=0, breaker="closed", next_probe=0, rate=math.inf, limited=0, paused_for=0,
    budget=30, max_budget=30, idle=1, connections=2, ejected=(), limit=64,
)  # fmt: skip


class Hand:
    """A clock that is set by hand, and a recorder that reads it."""

    def __init__(self, max_origins: int = 10) -> None:
        self.now = 0.0
        self.recorder = Recorder(now=lambda: self.now, max_origins=max_origins)
        self.calls = 0

    def call(self, outcome: str = "200", *, origin: Origin = ORIGIN, attempts: int = 1, duration: float = 0.1) -> int:
        self.calls += 1
        for number in range(1, attempts + 1):
            self.recorder.on(attempt(self.calls, outcome, origin=origin, number=number))
        self.recorder.on(CallEnded(self.calls, origin, "GET", "/a", attempts, outcome, "", duration))
        return self.calls


def attempt(call: int, outcome: str, *, origin: Origin = ORIGIN, number: int = 1, **fields: object) -> Attempt:
    status = int(outcome) if outcome.isdecimal() else None
    error = None if status is not None or outcome == "cancelled" else outcome
    made = Attempt(
        call=call, origin=origin, method="GET", path="/a", number=number, delay=0, duration=0.1, phase=Phase.BODY,
        status=status, error=error, detail="", address=Address("127.0.0.1"), protocol="HTTP/1.1", is_reused=False,
        marks=(), source="dns", dials=(), queued=(), bytes_out=0, bytes_in=0,
    )  # fmt: skip
    return made._replace(**fields)


# Percentiles


def test_a_percentile_is_off_by_nine_percent_at_most():
    """From 0.1 ms to 100 s, whatever the distribution."""
    rng = random.Random(1)
    times = [10 ** rng.uniform(-3.9, 1.9) for _ in range(10_000)]
    histogram = Histogram()
    for each in times:
        histogram.add(bucket(each))
    for share in (0.5, 0.9, 0.99):
        found = quantile(histogram.counts, share)
        assert found is not None
        assert middle(found) == pytest.approx(statistics.quantiles(times, n=100)[round(share * 100) - 1], rel=0.1)


@pytest.mark.parametrize(("count", "is_slow"), [(1, False), (2, True)])
def test_p99_is_the_nearest_rank(count, is_slow):
    """Of 100 times, one slow one is beyond it, and of two the first is it."""
    histogram = Histogram()
    for each in [0.001] * (100 - count) + [1.0] * count:
        histogram.add(bucket(each))
    assert (quantile(histogram.counts, 0.99) == bucket(1.0)) is is_slow


def test_what_no_bucket_holds():
    """Nothing at all has no percentile; what is shorter or longer than all buckets counts in the outermost."""
    assert quantile(Histogram().counts, 0.5) is None
    assert (bucket(0.0), bucket(1e9)) == (0, SIZE - 1)
    assert SIZE < 255  # one byte, with 0 for none
    assert middle(SIZE - 1) == pytest.approx(104.9, abs=0.1)


# Seconds


def test_ring_has_the_seconds_that_are_over():
    """The second in progress is in none of the sums or series, because it would look like a fall."""
    ring = Ring(0)
    for second in (0, 0, 2):
        ring.called(second, bucket(0.1), is_failed=second == 2)
    ring.attempted(2)
    assert ring.series(0) == ([2, 0], [0, 0], [pytest.approx(0.1, rel=0.1), None])
    assert ring.sums(10) == (2, 0, 0)
    ring.advance(3)
    assert ring.sums(10) == (3, 1, 1)
    assert ring.series(2).calls == [1]


def test_ring_forgets_after_five_minutes():
    """Each second has one value at each instant, and after a long silence all are 0."""
    ring = Ring(0)
    for second in range(1000):
        ring.called(second, None, is_failed=False)
        assert ring.sums(60) == (min(60, second), 0, 0)
    ring.advance(1000)
    assert ring.series(0).calls == [1] * SPAN
    ring.advance(1000 + SPAN - 1)
    assert sum(ring.series(0).calls) == 1
    ring.advance(10**9)
    assert (sum(ring.series(0).calls), len(ring.series(0).calls), ring.calls) == (0, SPAN, 0)


def test_two_rings_are_added():
    """Second by second, though one was asked last a while ago."""
    one, other = Ring(0), Ring(0)
    one.called(5, bucket(0.1), is_failed=True)
    for _ in range(2):
        other.called(7, bucket(1.0), is_failed=False)
    other.advance(9)
    one.add(other)
    series = one.series(5)
    assert (series.calls, series.failed) == ([1, 0, 2, 0], [1, 0, 0, 0])
    assert series.p99[0] == pytest.approx(0.1, rel=0.1)
    assert series.p99[2] == pytest.approx(1.0, rel=0.1)


def test_figures_of_an_origin():
    """The rate is of the last 10 s, or of all if that is less; the rest of the last minute."""
    record = Record(0)
    for second in range(5):
        for number in range(4):
            record.called(second, 0.1 if number else 2.0, is_failed=number == 0)
            record.attempted(second, None, is_answered=True)
            record.attempted(second, None, is_answered=True)
    assert record.summary(5) == Summary(calls=20, rate=4.0, good=0.75, attempts=2.0)
    assert record.percentiles(5) == (pytest.approx(0.1, rel=0.1), pytest.approx(2.0, rel=0.1))
    assert record.summary(20) == Summary(calls=20, rate=0.0, good=0.75, attempts=2.0)
    assert record.summary(65) == Summary(calls=20, rate=0.0, good=None, attempts=None)
    assert record.percentiles(65) == (None, None)


def test_a_cancelled_call_has_neither_time_nor_fault():
    """Its caller's impatience says nothing about the origin."""
    hand = Hand()
    hand.call("200", duration=0.1)
    hand.call("cancelled", duration=30.0)
    record = hand.recorder.origins[ORIGIN]
    assert record.summary(1).good == 1.0
    assert record.percentiles(1)[1] == pytest.approx(0.1, rel=0.1)


# Origins


def test_origins_are_bounded():
    """The least called are shown as one, and nothing of theirs is lost from the sums."""
    hand = Hand(max_origins=100)
    hand.now = 10.0
    often = Origin("http", "often.test", 80)
    for _ in range(50):
        hand.call(origin=often)
    for number in range(1000):
        hand.call(origin=Origin("http", f"{number}.test", 80))
    recorder = hand.recorder
    assert len(recorder.origins) <= 100
    assert recorder.origins[often].total == 50
    assert recorder.other is not None
    assert recorder.other.total + sum(each.total for each in recorder.origins.values()) == 1050
    assert recorder.other.summary(11).calls == recorder.other.total


def test_memory_of_an_origin():
    """Some 8 kB, however often it is called, so that a thousand origins take 8 MB."""
    record = Record(0)
    for second in range(2000):
        for number in range(20):
            record.called(second, number / 10, is_failed=False)
            record.attempted(second, Address(f"10.0.{second % 256}.{number}"), is_answered=True)
    ring = record.ring
    arrays = [ring._calls, ring._failed, ring._attempts, ring._p99, ring._times.counts]
    size = sum(map(sys.getsizeof, arrays)) + sum(sys.getsizeof(each.counts) for each in record._times)
    assert size < 10_000
    assert len(record.addresses) == 16


def test_addresses_and_lookups():
    """The last attempt on an address tells its state, a cancelled one doesn't; lookups are bounded too."""
    hand = Hand()
    recorder, one, two = hand.recorder, Address("10.0.0.1"), Address("10.0.0.2")
    for address, outcome in ((one, "200"), (two, "ConnectionLost"), (two, "cancelled"), (one, "cancelled")):
        recorder.on(attempt(1, outcome, address=address))
    assert recorder.origins[ORIGIN].addresses == {one: True, two: False}
    for number in range(2 * MAX_LOOKUPS):
        recorder.on(LookupEnded(f"{number}.test", "dns", 0.1, 1, None, 60.0))
    assert len(recorder.lookups) == MAX_LOOKUPS


# Failures


@pytest.mark.parametrize(
    ("outcome", "is_one"),
    [("200", False), ("404", False), ("429", True), ("501", True), ("503", True), ("ReadTimeout", True),
     ("BreakerOpen", True), ("cancelled", False), ("CallerLeft", False), ("", False)],
)  # fmt: skip
def test_what_a_failure_is(outcome, is_one):
    """The server's or the network's, or a refusal of ours; neither an answer that says no, nor a caller that leaves."""
    assert is_failure(outcome) is is_one


def test_the_last_twenty_failures():
    """With their attempts, latest last; those that fail alike are one, which shows the last of them."""
    hand = Hand()
    for number in range(30):
        hand.now = float(number)
        hand.call("503", origin=ORIGIN._replace(port=number), attempts=2)
        hand.call("200")
    for _ in range(5):
        hand.call("ReadTimeout", attempts=3)
    kept = list(hand.recorder.failures)
    assert len(kept) == 20
    assert [each.event.origin.port for each in kept[:-1]] == list(range(11, 30))
    assert (kept[-1].event.outcome, kept[-1].count, len(kept[-1].attempts)) == ("ReadTimeout", 5, 3)
    assert len({each.number for each in kept}) == 20


def test_a_call_with_many_attempts():
    """The first ten and the last ten are kept, because a batch may make thousands."""
    hand = Hand()
    hand.call("503", attempts=1000)
    (failure,) = hand.recorder.failures
    numbers = [each.number for each in failure.attempts]
    assert len(numbers) == MAX_ATTEMPTS
    assert numbers[0] == 1
    assert numbers[-1] == 1000


def test_a_body_that_breaks_off():
    """A streamed call that counted as good failed after all; one whose reader stops didn't."""
    hand = Hand()
    for call, outcome in ((1, "ConnectionLost"), (2, "closed"), (3, "complete")):
        hand.recorder.on(attempt(call, "200", phase=Phase.HEADERS))
        hand.recorder.on(CallEnded(call, ORIGIN, "GET", "/events", 1, "200", "", 0.1))
        hand.recorder.on(BodyEnded(call, ORIGIN, "GET", "/events", 1, 5.0, outcome, "cut", 100))
    (failure,) = hand.recorder.failures
    assert failure.event == BodyEnded(1, ORIGIN, "GET", "/events", 1, 5.0, "ConnectionLost", "cut", 100)
    assert len(failure.attempts) == 1
    assert hand.recorder.origins[ORIGIN].summary(1).good == pytest.approx(2 / 3)


def test_calls_and_streams_in_flight_are_bounded():
    """A call is forgotten at its end; of streams that nobody ends, the oldest."""
    hand = Hand()
    for call in range(2 * MAX_STREAMS):
        hand.recorder.on(attempt(call, "200", phase=Phase.HEADERS))
        hand.recorder.on(CallEnded(call, ORIGIN, "GET", "/events", 1, "200", "", 0.1))
    assert len(hand.recorder.failures._streams) == MAX_STREAMS
    assert len(hand.recorder.failures._attempts) == 0


@pytest.mark.parametrize("outcome", ["200", "503"])
def test_a_stream_that_ended_before_its_call_takes_no_place(outcome):
    """Its body was in memory; where the call failed, its attempts are shown."""
    hand = Hand()
    hand.recorder.on(attempt(1, outcome, phase=Phase.HEADERS))
    hand.recorder.on(BodyEnded(1, ORIGIN, "GET", "/events", 1, 0.1, "complete", "", 100))
    hand.recorder.on(CallEnded(1, ORIGIN, "GET", "/events", 1, outcome, "", 0.1))
    failures = hand.recorder.failures
    assert not failures._streams
    assert not failures._attempts
    shown = [[each.outcome for each in failure.attempts] for failure in failures]
    assert shown == ([["503"]] if outcome == "503" else [])


def test_a_cancelled_call_takes_no_streams_place():
    """It was cancelled while its body was read, after the headers."""
    hand = Hand()
    hand.recorder.on(attempt(1, "cancelled", phase=Phase.HEADERS))
    hand.recorder.on(CallEnded(1, ORIGIN, "GET", "/", 1, "cancelled", "", 0.1))
    assert not hand.recorder.failures._streams


# Health


@pytest.mark.parametrize(
    ("changes", "good", "health", "said"),
    [
        ({}, 1.0, Health.WELL, ""),
        ({}, 0.995, Health.WELL, ""),
        ({}, 0.9, Health.STRAINED, "10 % failed"),
        ({}, 0.2, Health.FAILING, "80 % failed"),
        ({"breaker": "open"}, 1.0, Health.FAILING, "breaker open"),
        ({"breaker": "forced closed"}, 1.0, Health.WELL, ""),
        ({"away_for": 2.0, "awaited_by": 3}, 1.0, Health.FAILING, "away for 2 s, 3 attempts wait"),
        ({"limit": 12}, 1.0, Health.STRAINED, "limit lowered to 12 of 64"),
        ({"rate": 10.0}, 1.0, Health.STRAINED, "held to 10 calls/s"),
        ({"budget": 0.5}, 1.0, Health.STRAINED, "retry budget is empty"),
        ({"paused_for": 3.0}, 1.0, Health.STRAINED, "asks to wait for 3 s"),
        ({"ejected": (Address("10.0.0.1"),)}, 1.0, Health.STRAINED, "ejected: 10.0.0.1"),
    ],
)
def test_health(changes, good, health, said):
    """The worst of what is seen, and each reason in words."""
    found, reasons = judge(Summary(100, 1.0, good, 1.0), WELL._replace(**changes))
    assert (found, " · ".join(reasons)) == (health, said)


def test_health_of_what_is_hardly_known():
    """Without calls an origin is idle; one whose name can't be resolved says so first."""
    assert judge(None, None) == (Health.IDLE, [])
    assert judge(None, WELL) == (Health.IDLE, [])
    found = judge(Summary(9, 1.0, 0.0, 1.0), WELL._replace(breaker="open"), "ResolveTimeout")
    assert found == (Health.FAILING, ["its name: ResolveTimeout", "breaker open", "100 % failed"])


def test_gate_that_is_shared_no_longer():
    """The origin is strained until the store answers again, which each gate notices by itself; that is bounded too."""
    recorder = Hand().recorder
    for gate in ("limit", "bulkhead"):
        recorder.on(LimitDegraded(ORIGIN, gate, "share", 4, "no answer within 50 ms"))
    recorder.on(LimitRestored(ORIGIN, "limit", 2.0))
    found = judge(Summary(9, 1.0, 1.0, 1.0), WELL, None, recorder.degraded.values())
    assert found == (Health.STRAINED, ["bulkhead not shared (share): no answer within 50 ms"])
    for port in range(2 * MAX_LOOKUPS):
        recorder.on(LimitDegraded(ORIGIN._replace(port=port), "limit", "open", 1, "refused"))
    assert len(recorder.degraded) == MAX_LOOKUPS


# The page


def test_the_policy_lets_the_page_run_and_nothing_else():
    """Its hashes are those of the one style and the one script; nothing is inline elsewhere, or from another host."""
    html, policy = page()
    text = html.decode()
    for tag, directive in (("style", "style-src"), ("script", "script-src")):
        (inline,) = re.findall(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()
        assert f"{directive} 'sha256-{digest}';" in policy
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"<[^>]+\s(style|on\w+)=", text)
    assert set(re.findall(r"https?://[\w.]+", text)) == {"http://www.w3.org"}  # SVG's name space
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", text)


def test_the_page_is_small():
    """60 kB at most, and that is all a browser loads."""
    assert len(page().html) <= 60_000


def test_events_are_what_json_holds():
    """No value of a failure is a number that JSON doesn't have, or a text without bound."""
    from seawall.integrations.dashboard.wording import of_failure

    hand = Hand()
    hand.recorder.on(attempt(1, "ReadTimeout", detail="x" * 10_000, marks=((Phase.SENT, 0.1),), queued=(("cap", 1.0),)))
    hand.recorder.on(CallEnded(1, ORIGIN, "GET", "/" + "a" * 10_000, 1, "ReadTimeout", "n" * 10_000, math.inf))
    (failure,) = hand.recorder.failures
    text = json.dumps(of_failure(failure, "orders"), allow_nan=False)
    assert len(text) < 2000
