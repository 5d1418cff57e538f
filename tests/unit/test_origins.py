"""Origins and their states: how many are kept, which go first, and what a retry costs."""

from __future__ import annotations

from random import Random
from types import SimpleNamespace

import pytest

import seawall
from seawall.config import Policy
from seawall.config.criticality import DEFAULT
from seawall.events import Denied
from seawall.origin import Origin
from seawall.policy.denial import Denial
from seawall.policy.gate import Unanswered
from seawall.policy.memory import MAX_LOOKED_AT
from seawall.policy.origins import Origins


def make(per_host: dict[str, Policy] | None = None, now=lambda: 0.0, **settings) -> Origins:
    policy = {"retry": None, "bulkhead": seawall.Bulkhead(), "breaker": seawall.Breaker(), "budget": seawall.Budget()}
    base = Policy(deadline=None, **policy | settings)
    return Origins(base, per_host or {}, rng=Random(0), emit=lambda _: None, now=now)


def origin(number: int) -> Origin:
    return Origin("http", f"h{number}", 80)


def test_least_recently_used_goes_first():
    """1,024 are kept; one that was asked for again stays."""
    origins = make()
    first = origins[origin(0)]
    for number in range(1, origins.max_origins):
        origins[origin(number)]
    assert origins[origin(0)] is first
    origins[origin(5000)]
    assert len(list(origins)) == origins.max_origins
    assert origins[origin(0)] is first
    assert origin(1) not in {state.origin for state in origins}


def test_busy_and_forced_ones_stay():
    """One with a permit out, and one whose breaker was forced; where nobody can go, there are more for a while."""
    origins = make()
    busy, forced = origins[origin(0)], origins[origin(1)]
    assert busy.bulkhead.try_acquire()
    forced.breaker.force_open()
    for number in range(2, 2 * origins.max_origins):
        origins[origin(number)]
    kept = list(origins)
    assert len(kept) == origins.max_origins
    assert any(state is busy for state in kept)
    assert any(state is forced for state in kept)
    for state in kept:
        state.bulkhead.try_acquire()
    for number in range(MAX_LOOKED_AT):
        origins[origin(10**6 + number)].bulkhead.try_acquire()
    assert len(list(origins)) == origins.max_origins + MAX_LOOKED_AT


def open_breaker(state):
    for _ in range(20):
        state.breaker.record(state.breaker.generation, 0.0, is_failure=True, retry_after=40.0)


def pause(state):
    state.pause(0.0, 40.0)


def trouble(state):
    for second in range(0, 20, 5):
        state.note(float(second), is_failure=True)


def take_turns(state):
    for _ in range(41):
        assert state.limit.try_enter(Entrant(None), 0.0)


def retry(state):
    for _ in range(30):
        state.budget.withdraw(0.0)


@pytest.mark.parametrize("remember", [open_breaker, pause, trouble, take_turns, retry])
def test_strangers_erase_nothing_that_matters(remember):
    """
    While a breaker is open, a pause lasts, there is trouble, a limit owes or retries have spent; afterwards it goes as
    any other.
    """
    at = [0.0]
    origins = make(
        now=lambda: at[0], breaker=seawall.Breaker(max_open_for=60.0), limit=seawall.Limit(rate=1, burst=100)
    )
    known = origins[origin(0)]
    remember(known)
    for at[0] in (0.0, 20.0):
        for number in range(1, 1500):
            origins[Origin("http", f"s{number}-{at[0]}", 80)]
        assert len(list(origins)) == origins.max_origins
        assert any(state is known for state in origins)
    at[0] = 100.0
    for number in range(1500):
        origins[Origin("http", f"t{number}", 80)]
    assert not any(state is known for state in origins)


def test_table_is_bounded_though_all_remember_something():
    """Twice as many are kept then; the least recently used goes."""
    origins = make()
    for number in range(5000):
        pause(origins[origin(number)])
        assert number % 50 or len(list(origins)) <= 2 * origins.max_origins
    assert len(list(origins)) == 2 * origins.max_origins
    kept = {state.origin for state in origins}
    assert origin(4999) in kept
    assert origin(0) not in kept


class Entrant:
    """Of a tenant."""

    criticality = DEFAULT

    def __init__(self, tenant: object) -> None:
        self._request = SimpleNamespace(tenant=tenant, headers={})

    def part(self, partition):
        return partition(self._request)


def test_busy_parts_stay():
    """The same of the parts of a bulkhead."""
    state = make(bulkhead=seawall.Bulkhead(partition=lambda request: request.tenant))[origin(0)]
    permit = state.bulkhead.try_enter(Entrant("busy"), 0.0)
    for number in range(3000):
        state.bulkhead.try_enter(Entrant(number), 0.0).end(None, 0.0)
    assert len(state.bulkheads) == 1024
    assert sum(part.statistics().in_flight for part in state.bulkheads) == 1
    assert not state.is_idle
    permit.end(None, 0.0)
    assert state.is_idle


def test_part_that_knows_something_is_forgotten_last():
    """Else a caller that may name tenants lifts what holds permits for requests that the server may be at work on."""
    origins = make(bulkhead=seawall.Bulkhead(partition=lambda request: request.tenant))
    state = origins[origin(0)]
    permit = state.bulkhead.try_enter(Entrant("stuck"), 0.0)
    permit.unanswered(Unanswered(0.0, 5.0, is_fault=True), 5.0)
    permit.end(None, 5.0)
    assert state.is_idle
    for number in range(3000):
        state.bulkhead.try_enter(Entrant(number), 6.0).end(None, 6.0)
    assert sum(part.statistics(6.0).ghosts for part in state.bulkheads) == 1
    assert state.remembers(6.0)
    assert not state.remembers(66.0)


@pytest.mark.parametrize(
    ("settings", "arguments", "why"),
    [
        ({}, {}, ""),
        ({}, {"deadline_at": 1.0}, "a retry after 1 s could not finish before the deadline; raise deadline="),
        ({}, {"deadline_at": 1.1}, ""),
        ({"budget": None}, {}, ""),
        (
            {"budget": seawall.Budget(ratio=0, rate=0, max_balance=0.5)},
            {},
            "origin's retry budget is empty; raise Budget.rate",
        ),
        ({"budget": seawall.Budget(ratio=0, rate=0, max_balance=0.5)}, {"is_free": True}, ""),
        (
            {"budget": seawall.Budget(client_rate=0, max_client_balance=0)},
            {},
            "client's retry budget is empty; raise Budget.cl",
        ),
    ],
)
def test_what_a_retry_costs(settings, arguments, why):
    """A token of each budget, unless it is free; and what stands against it goes before that."""
    origins = make(**settings)
    state = origins[origin(0)]
    before = state.budget.balance(0.0) if state.budget else None
    said, is_charged = origins.afford(state, 0.0, 1.0, **{"deadline_at": None, "is_free": False} | arguments)
    assert (said is None) == (not why)
    assert said is None or why in said.text
    assert is_charged is (not why and not arguments.get("is_free", False))
    if before is not None:
        assert state.budget.balance(0.0) == before - is_charged
        if is_charged:
            origins.refund(state, 0.0)
            assert state.budget.balance(0.0) == before


def test_host_with_a_budget_of_its_own():
    """Where the client has none."""
    origins = make({"*.test": Policy(budget=seawall.Budget())}, budget=None)
    state = origins[seawall.Origin("http", "own.test", 80)]
    before = state.budget.balance(0.0)
    assert origins.withdraw(state, 0.0)
    assert state.budget.balance(0.0) == before - 1
    origins.refund(state, 0.0)
    assert state.budget.balance(0.0) == before


def test_no_retry_while_the_breaker_is_open_or_trouble_lasts():
    """Though the budget is full."""
    origins = make(breaker=seawall.Breaker(min_calls=100))
    state = origins[origin(0)]
    for second in range(7):
        state.note(float(second), is_failure=True)
    assert state.troubled_since == 3.0
    assert origins.afford(state, 7.9, 0.1, deadline_at=None, is_free=False) == (None, True)
    outage = (
        "most attempts at the origin have failed for 5 s or longer, so none is repeated until it recovers; budget=None "
        "repeats them anyway"
    )
    why = (Denial(Denied.OUTAGE, outage), False)
    assert origins.afford(state, 8.0, 0.1, deadline_at=None, is_free=False) == why
    assert origins.afford(state, 8.0, 0.1, deadline_at=None, is_free=True) == (None, False)
    for _ in range(5):
        state.note(8.0, is_failure=False)
    assert origins.afford(state, 8.0, 0.1, deadline_at=None, is_free=False) == why
    state.note(8.0, is_failure=False)
    assert origins.afford(state, 8.0, 0.1, deadline_at=None, is_free=False) == (None, True)
    state.breaker.force_open()
    why = (Denial(Denied.BREAKER, "the breaker is held open by hand; its reset() closes it"), False)
    assert origins.afford(state, 8.0, 0.1, deadline_at=None, is_free=True) == why


def test_retry_waits_for_a_breaker_that_the_deadline_can_hold():
    """Open for 1 s (here 1.1): with more time than that a retry is promised; with less it is not."""
    origins = make()
    state = origins[origin(0)]
    for _ in range(20):
        state.breaker.record(state.breaker.generation, 0.0, is_failure=True)
    length = state.breaker.retry_after(0.0)
    assert 0.9 <= length <= 1.1
    assert origins.afford(state, 0.0, 0.1, deadline_at=None, is_free=True) == (None, False)
    assert origins.afford(state, 0.0, 0.1, deadline_at=length + 0.01, is_free=True) == (None, False)
    why, is_charged = origins.afford(state, 0.0, 0.1, deadline_at=length, is_free=True)
    assert why.reason is Denied.BREAKER
    assert why.text.startswith(f"the breaker opened, and lets no attempt through for another {length:.3g} s, ")
    assert why.text.endswith("; raise deadline=, or lower Breaker.open_for")
    assert not is_charged


def test_deaths_are_counted_once():
    """Each connection's end once, among the last eight."""
    state = make()[origin(0)]
    deaths = [object() for _ in range(9)]
    for death in deaths:
        assert [state.is_first(death) for _ in range(3)] == [True, False, False]
    assert len(state.deaths) == 8
    assert [state.is_first(death) for death in deaths[:0:-1]] == [False] * 8
    assert state.is_first(deaths[0])


def test_three_failures_of_one_call_are_no_trouble():
    """The fourth in a row is."""
    state = make()[origin(0)]
    for _ in range(3):
        state.note(0.0, is_failure=True)
    assert state.troubled_since is None
    state.note(0.0, is_failure=True)
    assert state.troubled_since == 0.0
