"""
What each origin has: its policy, bulkhead, breaker and budget. At most 1,024 of them.

The least recently used goes first, but never one with permits out or waiters: a scraper sees a million hosts.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from random import Random

from ..errors import BreakerOpen
from ..events import BreakerMoved, Events
from ..origin import Origin
from ..settings import Breaker, Budget, Bulkhead, Policy
from .breaker import BreakerState
from .budget import BudgetState
from .bulkhead import BulkheadState
from .per_host import policy_for

__all__ = ["OriginState", "Origins"]

MAX_LOOKED_AT = 8  # states per new origin, in search of room: the cost must not grow with the number of busy ones
PAUSE_SPREAD = 0.1  # of a pause: over so much of its length again those start who were held back
SHED_SHARE = 0.1  # of the recent attempts failed: from here on, a standing queue is shed


@dataclass(slots=True)
class OriginState:
    """One origin's layers; None where one is switched off."""

    origin: Origin
    policy: Policy
    bulkhead: BulkheadState | None
    breaker: BreakerState | None
    budget: BudgetState | None
    now: Callable[[], float]
    paused_until: float = 0.0
    pause_spread: float = 0.0

    def enter(self, now: float) -> int | None:
        """
        The breaker's admission, to be given to `leave` once.

        Raises:
            BreakerOpen: It lets nobody through.
        """
        if self.breaker is None:
            return None
        generation = self.breaker.try_acquire(now)
        if generation is None:
            retry_after = self.breaker.retry_after(now)
            raise BreakerOpen(
                f"{self.origin}: breaker {self.breaker.state}: too many attempts failed; "
                f"next probe in {retry_after:.1f} s (Breaker.failure_rate, Breaker.open_for)",
                origin=self.origin,
                retry_after=retry_after,
            )
        return generation

    def enter_again(self, generation: int | None, now: float) -> int | None:
        """After the queue: the same admission if it still stands, else a new one, or BreakerOpen."""
        if self.breaker is None or generation is None or self.breaker.is_valid(generation):
            return generation
        return self.enter(now)

    def leave(self, generation: int | None, now: float, *, is_failure: bool | None) -> None:
        """End an admission; *is_failure* None: it says nothing of the origin."""
        if self.breaker is None or generation is None:
            return
        if is_failure is None:
            self.breaker.release(generation)
        else:
            self.breaker.record(generation, now, is_failure=is_failure)

    def is_shut(self, at: float) -> bool:
        """Whether the breaker, as things stand, will let nobody through at that instant."""
        return self.breaker is not None and self.breaker.retry_after(at) > 0

    def pause(self, now: float, length: float) -> None:
        """Hold back all new attempts for *length* s, and a little longer each, so that they don't come together."""
        if now + length > self.paused_until:
            self.paused_until = now + length
            self.pause_spread = length * PAUSE_SPREAD

    def try_acquire(self) -> bool:
        return self.bulkhead is None or self.bulkhead.try_acquire()

    async def acquire(self, timeout: float | None) -> float:
        """
        Wait for a permit: *timeout* s at most, less where a standing queue waits for a failing origin.

        Returns:
            s that it took.
        Raises:
            BulkheadFull: None in time.
        """
        assert self.bulkhead is not None
        began_at = self.now()
        if timeout is not None and isinstance(self.policy.bulkhead, Bulkhead):
            is_standing = self.bulkhead.standing_for(began_at) >= timeout
            if is_standing and self.breaker is not None and self.breaker.failure_share(began_at) >= SHED_SHARE:
                timeout = min(timeout, self.policy.bulkhead.shed_after)
        await self.bulkhead.acquire(timeout)
        return self.now() - began_at

    def release(self) -> None:
        if self.bulkhead is not None:
            self.bulkhead.release()


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
        self._budget: BudgetState | None = None  # made at first use: its clock is the loop's

    def __iter__(self) -> Iterator[OriginState]:
        return iter(self._states.values())

    def __getitem__(self, origin: Origin) -> OriginState:
        state = self._states.get(origin)
        if state is None:
            if self._budget is None and isinstance(self._base.budget, Budget):
                self._budget = _shared_budget(self._base.budget, self._now())
            self._make_room()
            state = self._states[origin] = self._new(origin)
        else:
            self._states.move_to_end(origin)
        return state

    def balance(self, now: float) -> float:
        """Retry tokens that all origins share; inf where there is no budget."""
        return float("inf") if self._budget is None else self._budget.balance(now)

    def deposit(self, state: OriginState, now: float) -> None:
        """A first attempt."""
        for budget in (state.budget, self._budget):
            if budget is not None:
                budget.deposit(now)

    def withdraw(self, state: OriginState, now: float) -> bool:
        """A token of the origin's and one of the client's, or none of either."""
        budgets = [budget for budget in (state.budget, self._budget) if state.budget is not None and budget is not None]
        if not all(budget.can_withdraw(now) for budget in budgets):
            return False
        for budget in budgets:
            budget.withdraw(now)
        return True

    def _make_room(self) -> None:
        for _ in range(MAX_LOOKED_AT):
            if len(self._states) < self.max_origins:
                return
            origin, state = next(iter(self._states.items()))
            if state.bulkhead is None or state.bulkhead.is_idle:
                del self._states[origin]
            else:
                self._states.move_to_end(origin)

    def _new(self, origin: Origin) -> OriginState:
        policy = policy_for(origin.host, self._per_host, self._base)
        now = self._now()
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
            BreakerState(breaker, rng=self._rng, moved=moved) if isinstance(breaker, Breaker) else None,
            BudgetState(ratio=budget.ratio, rate=budget.rate, max_balance=budget.max_balance, now=now)
            if isinstance(budget, Budget)
            else None,
            self._now,
        )


def _shared_budget(settings: Budget, now: float) -> BudgetState:
    return BudgetState(
        ratio=settings.ratio, rate=settings.client_rate, max_balance=settings.max_client_balance, now=now
    )
