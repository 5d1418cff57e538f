"""State machines, driven at random."""

from __future__ import annotations

from random import Random

import hypothesis
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from seawall.config import DNS, Breaker
from seawall.dns.cache import Cache
from seawall.dns.resolver import Answer, Found
from seawall.errors import NameNotFound, NoAddress, ResolverFailure
from seawall.origin import Address
from seawall.policy.breaker import BreakerState
from seawall.policy.budget import BudgetState

keys = st.tuples(st.sampled_from(["a", "b", "c", "d"]), st.sampled_from([0, 80]))


class CacheMachine(RuleBasedStateMachine):
    """Never fresh past its TTL, never stale past its limit or after a denial, never more than allowed."""

    def __init__(self) -> None:
        super().__init__()
        self.settings = DNS(max_entries=5, min_ttl=1, max_ttl=100, stale_ttl=50, stale_ttl_plain=10)
        self.cache = Cache(self.settings)
        self.now = 0.0
        self.model: dict[tuple[str, int], tuple[object, float]] = {}

    @rule(key=keys, ttl=st.floats(0, 1000))
    def found(self, key, ttl):
        answer = Found(Answer((Address("127.0.0.1"),), ttl, "dns"))
        self.cache.store(key, answer, self.now)
        self.model[key] = (answer, self.now + min(max(ttl, 1), 100))
        assert self.cache.failure(key, self.now) is None

    @rule(key=keys, kind=st.sampled_from([NameNotFound, NoAddress]))
    def denied(self, key, kind):
        error = kind("no")
        self.cache.store(key, error, self.now)
        self.model[key] = (error, self.now + 5)

    @rule(key=keys)
    def failed(self, key):
        """Replaces nothing; from the second one in a row on the name rests, 5 s at most."""
        before = self.cache.fresh(key, self.now)
        self.cache.fail(key, ResolverFailure("no"), self.now)
        assert self.cache.fresh(key, self.now) is before
        assert self.cache.failure(key, self.now + 5.01) is None

    @rule(seconds=st.floats(0, 60))
    def time_passes(self, seconds):
        self.now += seconds

    @rule(key=keys, is_secure=st.booleans())
    def asked(self, key, is_secure):
        fresh = self.cache.fresh(key, self.now)
        stale = self.cache.stale(key, self.now, is_secure=is_secure)
        what, until = self.model.get(key, (None, 0.0))
        if fresh is not None:
            assert fresh.found is what
            assert self.now < until
        if stale is not None:
            assert isinstance(what, Found)
            assert self.now < until + (50 if is_secure else 10)
            assert stale.source == "stale"

    @invariant()
    def bounded(self):
        assert len(self.cache) <= 5


class BudgetMachine(RuleBasedStateMachine):
    """0 <= balance <= max, and withdrawals never exceed what was put in."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.deposits = self.withdrawals = 0
        self.budget = BudgetState(ratio=0.1, rate=1.0, max_balance=30.0, now=0.0)

    @rule(seconds=st.floats(0, 100))
    def time_passes(self, seconds):
        self.now += seconds

    @rule()
    def deposit(self):
        self.deposits += 1
        self.budget.deposit(self.now)

    @rule()
    def withdraw(self):
        if self.budget.can_withdraw(self.now):
            self.withdrawals += 1
            self.budget.withdraw(self.now)

    @invariant()
    def bounded(self):
        assert 0 <= self.budget.balance(self.now) <= 30
        assert self.withdrawals <= 30 + 0.1 * self.deposits + self.now + 1e-6


class BreakerMachine(RuleBasedStateMachine):
    """Never more probes than allowed, never open without an end, and it can always be left."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.out: list[int] = []
        self.breaker = BreakerState(Breaker(min_calls=3), rng=Random(0), moved=lambda *_: None, now=lambda: self.now)

    @rule(seconds=st.floats(0, 70))
    def time_passes(self, seconds):
        self.now += seconds

    @rule()
    def acquire(self):
        generation = self.breaker.try_acquire(self.now)
        if generation is not None:
            self.out.append(generation)

    @rule(is_failure=st.booleans(), index=st.integers(0, 100))
    def record(self, is_failure, index):
        if self.out:
            self.breaker.record(self.out.pop(index % len(self.out)), self.now, is_failure=is_failure)

    @rule(index=st.integers(0, 100))
    def cancel(self, index):
        if self.out:
            self.breaker.release(self.out.pop(index % len(self.out)))

    @invariant()
    def probes_are_bounded(self):
        """Three each time that it opens, or that those before didn't end."""
        if self.breaker.state == "half-open":
            assert self.breaker._probes_out + self.breaker._probes_done <= 3 or self.breaker._probes_done >= 3

    @invariant()
    def open_ends(self):
        assert self.breaker.retry_after(self.now) <= 66

    def teardown(self):
        for generation in self.out:
            self.breaker.release(generation)
        for _ in range(4):
            probe = self.breaker.try_acquire(self.now + 100)
            if probe is not None:
                self.breaker.record(probe, self.now + 100, is_failure=False)
        assert self.breaker.try_acquire(self.now + 100) is not None


TestCache = CacheMachine.TestCase
TestCache.settings = hypothesis.settings(max_examples=250, stateful_step_count=40, deadline=None)  # 10,000 steps
TestBudget = BudgetMachine.TestCase
TestBreaker = BreakerMachine.TestCase
