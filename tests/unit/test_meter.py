"""The generic cell rate algorithm: its bound holds in every span, and a wait is known to the instant."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.policy.meter import Meter


def test_burst_then_an_even_pace():
    """Three at once, then one each tenth of a second."""
    meter, now, instants = Meter(10.0, 3.0), 5.0, []
    for _ in range(6):
        now += meter.wait(now, 1.0)
        meter.take(now, 1.0)
        instants.append(round(now, 9))
    assert instants == [5.0, 5.0, 5.0, 5.1, 5.2, 5.3]


def test_cost_above_the_burst():
    """It goes once nothing is owed, and what follows waits for all of it."""
    meter = Meter(10.0, 2.0)
    meter.take(0.0, 1.0)
    assert meter.wait(0.0, 50.0) == pytest.approx(0.1)
    meter.take(0.1, 50.0)
    assert meter.wait(0.1, 1.0) == pytest.approx(4.9)


def test_those_ahead():
    """A wait counts what others take before."""
    meter = Meter(10.0, 1.0)
    assert meter.wait(0.0, 1.0) == 0.0
    assert meter.wait(0.0, 1.0, ahead=3.0) == pytest.approx(0.3)


def test_giving_back():
    """What wasn't used is there again, but never more than was owed."""
    meter = Meter(10.0, 1.0)
    meter.take(0.0, 1.0)
    meter.take(0.0, -1.0)
    meter.take(0.0, -100.0)
    assert meter.wait(0.0, 1.0) == 0.0
    meter.take(0.0, 1.0)
    assert meter.wait(0.0, 1.0) == pytest.approx(0.1)


def test_slower():
    """What is owed takes as many requests as before."""
    meter = Meter(10.0, 1.0)
    for _ in range(5):
        meter.take(0.0, 1.0)
    meter.change_rate(0.0, 1.0)
    assert meter.wait(0.0, 1.0) == pytest.approx(5.0)


@given(
    rate=st.floats(0.01, 1000),
    burst=st.floats(1, 50),
    steps=st.lists(st.tuples(st.floats(0, 10), st.floats(0.01, 50)), max_size=60),
)
def test_bound_in_every_span(rate, burst, steps):
    """In any span of t seconds at most rate x t + burst, or + the dearest one, is taken; nobody waits in vain."""
    meter, now, taken = Meter(rate, burst), 0.0, []
    for pause, cost in steps:
        now += pause
        now += meter.wait(now, cost)
        assert meter.wait(now, cost) <= 1e-6
        meter.take(now, cost)
        taken.append((now, cost))
    room = max([burst, *(cost for _, cost in taken)])
    for first, (begin, _) in enumerate(taken):
        for last in range(first, len(taken)):
            total = sum(cost for _, cost in taken[first : last + 1])
            assert total <= rate * (taken[last][0] - begin) + room + 1e-3 * max(1.0, total)
