"""Delays and Retry-After, without a clock."""

from __future__ import annotations

import time
from email.utils import formatdate
from random import Random

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.policy.retry_after import parse_retry_after, parse_retry_after_ms
from seawall.policy.tenacity import backoff

NOW = 1_700_000_000.0  # Tue, 14 Nov 2023 22:13:20 GMT


@given(st.integers(1, 10**6), st.floats(0, 100), st.floats(0, 1000), st.integers())
def test_backoff_is_within_its_bounds(attempt, base, more, seed):
    """0 <= delay <= cap, finite for every attempt."""
    cap = base + more
    assert 0 <= backoff(attempt, base=base, cap=cap, rng=Random(seed)) <= cap


def test_backoff_doubles():
    """The bound of the n-th is base x 2^(n-1), up to the cap: here at its top, by a fixed chance."""

    class Top(Random):
        def uniform(self, low: float, high: float) -> float:
            return high

    assert [backoff(n, base=0.1, cap=1.0, rng=Top()) for n in range(1, 7)] == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]
    with pytest.raises(ValueError, match="attempt"):
        backoff(0, base=1, cap=1, rng=Top())


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("0", 0),
        ("120", 120),
        ("\t42 ", 42),
        ("Tue, 14 Nov 2023 22:13:50 GMT", 30),
        ("Tuesday, 14-Nov-23 22:13:50 GMT", 30),
        ("Tue Nov 14 22:13:50 2023", 30),
        ("Tue, 14 Nov 2023 22:13:00 GMT", 0),
        ("-1", None),
        ("+1", None),
        ("1.5", 1.5),
        ("0.25", 0.25),
        ("1.", None),
        (".5", None),
        ("1e3", None),
        ("1_0", None),
        ("nan", None),
        ("inf", None),
        ("Infinity", None),
        ("1 0", None),
        ("5, 7", 7),
        ("7 ,5", 7),
        ("Tue, 14 Nov 2023 22:13:50 GMT, 5", 30),
        ("5, Tue, 14 Nov 2023 22:13:50 GMT", 30),
        ("40, Tuesday, 14-Nov-23 22:13:50 GMT", 40),
        ("Tue, 14 Nov 2023 22:13:20 GMT, Tue, 14 Nov 2023 22:13:30 GMT", 10),
        ("soon, 5", 5),
        ("5, -9", 5),
        ("-1, nan, 1e9", None),
        (",,", None),
        ("²", None),
        ("soon", None),
        ("", None),
        ("9" * 30, float("inf")),
    ],
)
def test_retry_after(value, seconds):
    """Seconds, the three forms of a date, the past, the largest of a list; not garbage. RFC 9110 section 10.2.3."""
    assert parse_retry_after(value, wall=lambda: NOW) == seconds


@given(st.text())
def test_retry_after_survives_anything(value):
    """Whatever a server writes there."""
    seconds = parse_retry_after(value, wall=lambda: NOW)
    assert seconds is None or seconds >= 0


NUMBERS = st.builds(lambda seconds: (f"{seconds:.3f}".rstrip("0").rstrip("."), seconds), st.integers(0, 10**6))
FRACTIONS = st.builds(lambda thousandths: (f"{thousandths / 1000:.3f}", thousandths / 1000), st.integers(0, 10**9))
DATES = st.builds(
    lambda seconds: (formatdate(NOW + seconds, usegmt=True), float(max(0, seconds))), st.integers(-(10**9), 10**9)
)
GARBAGE = st.sampled_from(["soon", "-5", "nan", "inf", "1e3", "1_0", "0x10", "", " ", "5 s", "٣"]).map(
    lambda text: (text, None)
)


@given(st.lists(st.one_of(NUMBERS, FRACTIONS, DATES, GARBAGE), min_size=1, max_size=8))
def test_the_largest_of_several_counts(values):
    """As the header came, once for each or in one line: numbers, dates with their commas, and garbage among them."""
    headers = httpx.Headers([(b"retry-after", text.encode()) for text, _ in values])
    seconds = parse_retry_after(headers.get("retry-after"), wall=lambda: NOW)
    expected = max((seconds for _, seconds in values if seconds is not None), default=None)
    assert seconds == pytest.approx(expected)


def test_a_long_header_is_no_work():
    """Of 64 kB of dates ten are looked at; a single long value is garbage."""
    calls = []
    parse_retry_after("Tue, 14 Nov 2023 22:13:50 GMT," * 2000, wall=lambda: calls.append(1) or NOW)
    assert len(calls) == 10
    assert parse_retry_after("Tue, 14 Nov 2023 22:13:50 " + "x" * 60000, wall=lambda: NOW) is None


@pytest.fixture
def _far_away(monkeypatch):
    """A machine whose clock is not Greenwich's."""
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("_far_away")
@pytest.mark.parametrize(
    "value", ["Tue, 14 Nov 2023 22:13:50 GMT", "Tuesday, 14-Nov-23 22:13:50 GMT", "Tue Nov 14 22:13:50 2023"]
)
def test_dates_are_of_greenwich(value):
    """asctime's names no zone, and means that one all the same."""
    assert parse_retry_after(value, wall=lambda: NOW) == 30


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("250", 0.25),
        ("0.5", 0.0005),
        ("-1", None),
        ("", None),
        ("1_0", None),
        (None, None),
        ("1e3", None),
        ("inf", None),
        ("5, 250", 0.25),
    ],
)
def test_retry_after_ms(value, seconds):
    """Milliseconds, with a fraction or without; garbage is ignored."""
    assert parse_retry_after_ms(value) == seconds
