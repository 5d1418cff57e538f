"""
Origins and their states: at most 1,024 of them.

The least recently used is forgotten first, because a scraper sees a million hosts; but never one with permits out or
waiters, and last one whose breaker is open, that asked for a pause, that is in trouble, whose limit owes something, or
whose retries have spent of the budget.
"""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from random import Random

from ..config import Breaker, Budget, Bulkhead, Limit, Policy
from ..config.per_host import policy_for
from ..config.store import BulkheadStore, LimitStore
from ..events import BreakerMoved, Denied, LimitDegraded, LimitMoved, LimitRestored, Listener
from ..origin import Origin
from .breaker import BreakerState
from .budget import BudgetState
from .denial import Denial
from .gate import Gate
from .limit import LimitState
from .memory import make_room
from .origin import HOPELESS_AFTER, OriginState, max_shut
from .parted import bulkhead_of
from .shared import Group, SharedStore

__all__ = ["Origins"]


class Origins:
    """
    Maps an origin to its state, which is made when the origin is first seen.

    Attributes:
        states: The states, in the order of their last use.
        has_spent: Some retry has taken a token, so budgets may have room for deposits.
        max_origins: States that are kept if they remember nothing; twice as many, if they remember something.
    """

    max_origins = 1024

    def __init__(
        self,
        base: Policy,
        per_host: Mapping[str, Policy],
        *,
        rng: Random,
        emit: Listener,
        now: Callable[[], float],
        gates: Iterable[Callable[[Origin], Gate | None]] = (),
    ) -> None:
        self._base = base
        self._per_host = per_host
        self._rng = rng
        self._emit = emit
        self._now = now
        self._gates = tuple(gates)
        self._stores: dict[LimitStore | BulkheadStore, SharedStore] = {}
        self.states: OrderedDict[Origin, OriginState] = OrderedDict()
        self.has_spent = False
        self._budget: BudgetState | None = None  # made at first use, because its clock is the loop's

    def __iter__(self) -> Iterator[OriginState]:
        return iter(self.states.values())

    def __getitem__(self, origin: Origin) -> OriginState:
        state = self.states.get(origin)
        if state is None:
            if self._budget is None and isinstance(self._base.budget, Budget):
                self._budget = _shared_budget(self._base.budget, self._now())
            now = self._now()
            make_room(
                self.states,
                self.max_origins,
                is_busy=lambda state: not state.is_idle,
                remembers=lambda state: state.remembers(now),
            )
            state = self.states[origin] = self._new(origin)
        else:
            self.states.move_to_end(origin)
        return state

    def forget_ghosts(self) -> None:
        """The client is closed."""
        for state in self:
            for bulkhead in state.bulkheads:
                bulkhead.forget()

    def balance(self, now: float) -> float:
        """Retry tokens that all origins share; inf if there is no budget."""
        return float("inf") if self._budget is None else self._budget.balance(now)

    def deposit(self, state: OriginState, now: float) -> None:
        """Put in what a first attempt earns that was on the wire."""
        for budget in (state.budget, self._budget):
            if budget is not None:
                budget.deposit(now)

    def afford(
        self, state: OriginState, now: float, delay: float, *, deadline_at: float | None, is_free: bool
    ) -> tuple[Denial | None, bool]:
        """
        Decide whether a retry may follow *delay* seconds from now; charge the budget for it, unless it *is_free*.

        Returns:
            Why it may not (None if it may), and whether a token was taken, which `refund` gives back.
        """
        wait = max(delay, state.paused_until - now)
        if deadline_at is not None and wait >= deadline_at - now:
            late = f"a retry after {wait:.3g} s could not finish before the deadline; raise deadline="
            return Denial(Denied.DEADLINE, late), False
        shut_for = state.shut_for(now)
        if shut_for == math.inf:
            return Denial(Denied.BREAKER, "the breaker is held open by hand; its reset() closes it"), False
        if deadline_at is not None and max(wait, shut_for) >= deadline_at - now:
            shut = (
                f"the breaker opened, and lets no attempt through for another {shut_for:.3g} s, "
                "which is past the deadline; raise deadline=, or lower Breaker.open_for"
            )
            return Denial(Denied.BREAKER, shut), False
        if is_free:
            return None, False
        if state.budget is not None and state.is_hopeless(now):
            hopeless = (
                f"most attempts at the origin have failed for {HOPELESS_AFTER:g} s or longer, so none is repeated "
                "until it recovers; budget=None repeats them anyway"
            )
            return Denial(Denied.OUTAGE, hopeless), False
        return (None, True) if self.withdraw(state, now) else (_empty(state, now), False)

    def withdraw(self, state: OriginState, now: float) -> bool:
        """Take a token of the origin's and one of the client's, or none of either."""
        budgets = [budget for budget in (state.budget, self._budget) if state.budget is not None and budget is not None]
        if not all(budget.can_withdraw(now) for budget in budgets):
            return False
        for budget in budgets:
            budget.withdraw(now)
        self.has_spent = True
        return True

    def refund(self, state: OriginState, now: float) -> None:
        """Give back what `withdraw` took, for a retry that was never on the wire."""
        for budget in (state.budget, self._budget):
            if state.budget is not None and budget is not None:
                budget.refund(now)

    async def aclose(self) -> None:
        """Close the stores of shared limits and bulkheads."""
        stores = [store.aclose() for store in self._stores.values()]
        for end in await asyncio.gather(*stores, return_exceptions=True):  # at once, because one may hang or raise
            if isinstance(end, BaseException):
                raise end

    def _group(self, origin: Origin, gate: str, settings: Sequence[Limit | Bulkhead]) -> Group | None:
        """The origin's shared limits, or its shared bulkheads."""
        shared = [each for each in settings if each.shared is not None]
        if not shared:
            return None
        key = shared[0].shared
        assert key is not None
        if key not in self._stores:
            self._stores[key] = SharedStore(key, rng=self._rng)
        fallback = ", ".join(sorted({each.fallback for each in shared}))
        return Group(
            str(origin),
            self._stores[key],
            processes=max(each.processes for each in shared),
            now=self._now,
            degraded=lambda processes, reason: self._emit(LimitDegraded(origin, gate, fallback, processes, reason)),
            restored=lambda duration: self._emit(LimitRestored(origin, gate, duration)),
        )

    def _new(self, origin: Origin) -> OriginState:
        policy = policy_for(origin.host, self._per_host, self._base)
        now = self._now()
        budget = policy.budget

        def moved(previous: str, state: str, reason: str) -> None:
            self._emit(BreakerMoved(origin, previous, state, reason))

        def adapted(limit: int, ghosts: int, reason: str) -> None:
            made.trouble_moved()
            self._emit(LimitMoved(origin, limit, ghosts, reason))

        breaker = bulkhead = None
        if isinstance(policy.breaker, Breaker):
            breaker = BreakerState(policy.breaker, rng=self._rng, moved=moved, now=self._now)
        if isinstance(policy.bulkhead, Bulkhead):
            failures = None if breaker is None else breaker.failure_share
            group = self._group(origin, "bulkhead", (policy.bulkhead,))
            bulkhead = bulkhead_of(str(origin), policy.bulkhead, adapted, failures, group)
        given = policy.limit if isinstance(policy.limit, tuple) else (policy.limit,)
        limits = tuple(each for each in given if isinstance(each, Limit))
        limit = None
        if any(each.rate is not None or each.learn for each in limits):
            limit = LimitState(
                str(origin),
                limits,
                max_shut=max_shut(policy),
                now=self._now,
                group=self._group(origin, "limit", limits),
            )
        theirs = [make(origin) for make in self._gates]
        made = OriginState(
            origin,
            policy,
            tuple(gate for gate in (breaker, *theirs, limit, bulkhead) if gate is not None),
            breaker,
            bulkhead,
            limit,
            BudgetState(ratio=budget.ratio, rate=budget.rate, max_balance=budget.max_balance, now=now)
            if isinstance(budget, Budget)
            else None,
            self._now,
        )
        return made


def _empty(state: OriginState, now: float) -> Denial:
    """Which budget is empty, and which setting raises it."""
    if state.budget is None or state.budget.can_withdraw(now):
        text = "the client's retry budget is empty; raise Budget.client_rate or Budget.max_client_balance"
    else:
        text = "the origin's retry budget is empty; raise Budget.rate, Budget.ratio or Budget.max_balance"
    return Denial(Denied.BUDGET, text)


def _shared_budget(settings: Budget, now: float) -> BudgetState:
    return BudgetState(
        ratio=settings.ratio, rate=settings.client_rate, max_balance=settings.max_client_balance, now=now
    )
