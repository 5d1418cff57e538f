"""When a second attempt is worth its price."""

from __future__ import annotations

import math
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

import seawall
from seawall.policy.hedge import HedgeState


def filled(*took: float, at: float = 0.0) -> HedgeState:
    state = HedgeState(0.0)
    for each in took:
        state.began(each, at)
    return state


@pytest.mark.parametrize("quantile", [0.5, 0.9, 0.95, 0.99])
def test_the_quantile_is_at_most_two_percent_too_long(quantile):
    rng = Random(1)
    took = sorted(rng.lognormvariate(-4, 0.5) for _ in range(1000))
    exact = took[math.ceil(quantile * 1000) - 1]
    assert exact <= filled(*took).after(quantile, 0.0) <= exact * 1.0201


def test_fewer_than_fifty_samples_say_nothing():
    state = filled(*[0.01] * 49)
    assert state.after(0.95, 0.0) == math.inf
    state.began(0.01, 0.0)
    assert state.after(0.95, 0.0) == pytest.approx(0.01, rel=0.02)


def test_what_is_older_than_thirty_seconds_is_forgotten():
    state = filled(*[1.0] * 100)
    for at in (10.0, 20.0):
        state.began(0.01, at)
    assert state.after(0.5, 29.9) == pytest.approx(1.0, rel=0.03)
    for _ in range(50):
        state.began(0.01, 30.0)
    assert state.after(0.95, 33.0) == pytest.approx(0.01, rel=0.02)


def test_nothing_is_known_after_a_long_silence():
    assert filled(*[0.01] * 100).after(0.95, 1000.0) == math.inf


def test_what_is_slow_by_nature_has_no_hedge():
    """A report or a model that takes 2 s isn't in trouble, and a second attempt would double what it costs."""
    assert filled(*[2.5] * 100).after(0.95, 0.0) == math.inf


def test_a_quantile_holds_for_three_seconds():
    state = filled(*[0.01] * 100)
    assert state.after(0.95, 0.0) < 0.02
    for _ in range(1000):
        state.began(0.1, 0.0)
    assert state.after(0.95, 2.9) < 0.02
    assert state.after(0.95, 3.0) > 0.09


def test_attempts_that_were_given_up_keep_the_quantile_where_it_is():
    """The slow 5 % end as the hedge answers; without them the next quantile would be shorter, and the next after it."""
    state = filled()
    for second in range(1, 30):
        for _ in range(95):
            state.began(0.010, float(second))
        after = state.after(0.95, float(second))
        for _ in range(5):
            state.outlasted(0.021, float(second))
        assert second == 1 or after == pytest.approx(0.010, rel=0.03)
    assert state.after(0.97, 30.0) == pytest.approx(0.021, rel=0.03)


def test_an_attempt_that_was_given_up_early_says_nothing():
    """A caller that leaves after a millisecond doesn't make the origin quick."""
    state = filled(*[0.01] * 60)
    state.after(0.95, 0.0)
    for _ in range(1000):
        state.outlasted(0.001, 0.0)
    assert state.after(0.95, 3.0) == pytest.approx(0.01, rel=0.02)


@given(st.lists(st.booleans(), max_size=300), st.floats(0.01, 1.0))
def test_the_allowance_is_a_share_of_the_calls_over_any_span(wants, share):
    """From whichever call on one counts, but for the ten that may have been saved up."""
    state, spent = HedgeState(0.0), []
    for want in wants:
        state.deposit(share)
        is_hedged = want and state.allowance >= 1.0
        state.allowance -= is_hedged
        spent.append(is_hedged)
    assert sum(spent) <= share * len(spent) + 1e-6
    for begin in range(0, len(spent), 17):
        assert sum(spent[begin:]) <= share * len(spent[begin:]) + 10 + 1e-6


@pytest.mark.parametrize(
    ("settings", "error", "text"),
    [
        ({"after": "p5"}, ValueError, 'Hedge.after must be from "p50" to "p99.99", or a number of seconds, not \'p5\''),
        ({"after": "p100"}, ValueError, "Hedge.after"),
        ({"after": "95"}, ValueError, "Hedge.after"),
        ({"after": 0}, ValueError, "Hedge.after must be finite and > 0"),
        ({"after": None}, TypeError, "Hedge.after must be a number > 0"),
        ({"max_extra": 0}, ValueError, "Hedge.max_extra must be finite and > 0 and <= 1"),
        ({"max_extra": 1.1}, ValueError, "Hedge.max_extra"),
    ],
)
def test_impossible_settings(settings, error, text):
    with pytest.raises(error) as caught:
        seawall.Hedge(**settings)
    assert text in str(caught.value)


@pytest.mark.parametrize(("after", "quantile"), [("p50", 0.5), ("p95", 0.95), ("p99.9", 0.999), (0.25, None)])
def test_settings(after, quantile):
    assert seawall.Hedge(after=after).quantile == (None if quantile is None else pytest.approx(quantile))


def test_a_client_refuses_what_is_no_hedge():
    with pytest.raises(TypeError, match="hedge must be a seawall\\.Hedge or None"):
        seawall.AsyncClient(hedge=0.05)
