"""
What each origin has: its policy, bulkhead, breaker and budget. At most 1,024 of them.

The least recently used goes first, but never one with permits out or waiters: a scraper sees a million hosts.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from random import Random

from ..events import BreakerMoved, Events
from ..origin import Origin
from ..settings import Breaker, Budget, Bulkhead, Policy, policy_for
from .breaker import BreakerState
from .budget import BudgetState
from .bulkhead import BulkheadState

__all__ = ["OriginState", "Origins"]


@dataclass(slots=True)
class OriginState:
    """One origin's layers; None where one is switched off."""

    origin: Origin
    policy: Policy
    bulkhead: BulkheadState | None
    shed_after: float
    breaker: BreakerState | None
    budget: BudgetState | None


class Origins:
    """Origin → its state, made at first sight."""

    max_origins = 1024

    def __init__(
        self, base: Policy, per_host: Mapping[str, Policy], *, rng: Random, events: Events, now: Callable[[], float]
    ) -> None:
        self._base = base
        self._per_host = per_host
        self._rng = rng
        self._events = events
        self._now = now
        self._states: OrderedDict[Origin, OriginState] = OrderedDict()

    def __iter__(self) -> Iterator[OriginState]:
        return iter(self._states.values())

    def __getitem__(self, origin: Origin) -> OriginState:
        state = self._states.get(origin)
        if state is None:
            self._make_room()
            state = self._states[origin] = self._new(origin)
        else:
            self._states.move_to_end(origin)
        return state

    def _make_room(self) -> None:
        if len(self._states) < self.max_origins:
            return
        for origin, state in self._states.items():
            if state.bulkhead is None or state.bulkhead.is_idle:
                del self._states[origin]
                return

    def _new(self, origin: Origin) -> OriginState:
        policy = policy_for(origin.host, self._per_host, self._base)
        bulkhead, breaker, budget = policy.bulkhead, policy.breaker, policy.budget

        def moved(previous: str, state: str, reason: str) -> None:
            self._events.emit(BreakerMoved(origin, previous, state, reason))

        return OriginState(
            origin,
            policy,
            BulkheadState(
                str(origin),
                bulkhead.max_concurrent,
                setting="Bulkhead.max_concurrent",
                max_waiting=bulkhead.max_waiting,
            )
            if isinstance(bulkhead, Bulkhead)
            else None,
            bulkhead.shed_after if isinstance(bulkhead, Bulkhead) else 0.0,
            BreakerState(breaker, rng=self._rng, moved=moved) if isinstance(breaker, Breaker) else None,
            BudgetState(ratio=budget.ratio, rate=budget.rate, max_balance=budget.max_balance, now=self._now())
            if isinstance(budget, Budget)
            else None,
        )
