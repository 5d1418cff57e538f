"""The state of one origin: its policy, its gates, its budget, and its recent trouble."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from ..config import Policy, Retry
from ..origin import Origin
from .breaker import FORCED, BreakerState
from .budget import BudgetState
from .bulkhead import BulkheadState
from .gate import Entrant, Gate, Result
from .hedge import HedgeState
from .limit import LimitState
from .outcome import Outcome
from .parted import Parted
from .ready import ReadyState
from .rejection import is_rejection
from .shed import ShedState
from .unserved import Refusals, Unserved

__all__ = ["OriginState", "max_shut"]

TROUBLE_WEIGHT = 0.2  # weight of the last attempt: four failures in a row are trouble, the three of one call are not
TROUBLE_BEGINS = 0.5  # share of failures, as the breaker's
TROUBLE_ENDS = 0.25
TROUBLE_LASTS = 30.0  # seconds without news; then trouble is forgotten
HOPELESS_AFTER = 5.0  # seconds in trouble: as long as a breaker is open, and longer than a restart or a blip
HOPE_LASTS = 10.0  # seconds without an accepted request, in which retries of rejected ones are free
MAX_SHUT = (
    30.0  # seconds that a rejection may hold back others where retries are off; `Retry.max_retry_after`'s default
)
PAUSE_SPREAD = 0.1  # share of a pause's length over which the calls that it held back start again
MAX_DEATHS = 8  # dead connections that are remembered, because their streams' errors may still come


@dataclass(slots=True)
class OriginState:
    """
    One origin's layers; one that is switched off is None.

    Attributes:
        gates: The gates that an attempt passes, in this order: the breaker, the user's own, the limit, the bulkhead.
            While the origin is away, the gate at which calls wait for it comes before them; while it is in trouble,
            the one that refuses background attempts is the first of all.
        limit: None until one is set or learned, because each attempt would pay for it.
        served_at: When the last request began that was served, and not refused by a gateway that finds no server.
        answered_at: When the last response to such a request came, in loop time.
        refused_at: When a gateway last refused one.
        refusals: The answers of its gateway that it has no server; None until there is one.
        away: The gate at which calls wait for it; None unless it is away.
        hedge: None until a call could have a second attempt.
        shed: The gate that refuses background attempts in trouble; None while there is none.
    """

    origin: Origin
    policy: Policy
    gates: tuple[Gate, ...]
    breaker: BreakerState | None
    bulkhead: BulkheadState | Parted | None
    limit: LimitState | None
    budget: BudgetState | None
    now: Callable[[], float]
    trouble: float = 0.0  # share of failures among the last few attempts
    troubled_since: float | None = None
    noted_at: float = 0.0
    paused_until: float = 0.0
    pause_spread: float = 0.0
    deaths: tuple[object, ...] = ()  # the last ends of connections that were counted
    served_at: float = -math.inf
    answered_at: float = -math.inf
    refused_at: float = -math.inf
    refusals: Refusals | None = None
    away: ReadyState | Unserved | None = None
    hedge: HedgeState | None = None
    shed: ShedState | None = None

    def is_first(self, death: object) -> bool:
        """Whether this end of a connection wasn't counted before: only the first error of its streams counts."""
        if death in self.deaths:
            return False
        self.deaths = (*self.deaths[1 - MAX_DEATHS :], death)
        return True

    def shut_for(self, now: float) -> float:
        """Seconds until the breaker may let an attempt through; inf if it is forced open."""
        return 0.0 if self.breaker is None else self.breaker.shut_for(now)

    async def sit_out(self, deadline_at: float | None, *, is_patient: bool) -> None:
        """
        Wait until the breaker may let an attempt through: a retry waits, because it was promised earlier.

        As `Bench.sit_out`.
        """
        if self.breaker is not None:
            await self.breaker.sit_out(deadline_at, is_patient=is_patient)

    def is_hopeless(self, now: float) -> bool:
        """
        Whether it has been in trouble for so long that a retry would only add load.

        What the breaker sees in many attempts, this sees in few: a thousand clients that each call every three seconds
        never use up their budgets, and together are the outage.
        """
        if self.troubled_since is None or now - self.noted_at >= TROUBLE_LASTS:
            return False
        return now - self.troubled_since >= HOPELESS_AFTER

    def is_well(self, now: float) -> bool:
        """Whether nothing says that it has more to do than it can."""
        if self.away is not None or self.troubled_since is not None or now < self.paused_until:
            return False
        if self.breaker is not None and self.breaker.state not in ("closed", FORCED[1]):
            return False
        if self.limit is not None and self.limit.has_learned(now):
            return False
        return not any(each.remembers(now) for each in self.bulkheads)

    def note(self, now: float, *, is_failure: bool) -> None:
        """Note how an attempt ended; a success changes nothing if there is no `trouble`."""
        if not is_failure and not self.trouble:
            return
        if now - self.noted_at >= TROUBLE_LASTS:
            self.trouble, self.troubled_since = 0.0, None
        self.noted_at = now
        self.trouble += ((1.0 if is_failure else 0.0) - self.trouble) * TROUBLE_WEIGHT
        if self.trouble >= TROUBLE_BEGINS:
            self.troubled_since = now if self.troubled_since is None else self.troubled_since
        elif not is_failure and self.trouble < TROUBLE_ENDS:
            self.trouble, self.troubled_since = 0.0, None

    # An origin that is away

    def went_away(self, away: ReadyState | Unserved) -> None:
        """Calls wait at *away* from now on, before all other gates."""
        self.away = away
        self.gates = (away, *self.gates) if self.shed is None else (self.shed, away, *self.gates[1:])

    def was_restarted(self) -> None:
        """The breaker begins anew, because what failed as the old server ended says nothing about the new one."""
        if self.breaker is not None:
            self.breaker.forget("the origin is restarted")

    def came_back(self) -> ReadyState | Unserved:
        """Calls no longer wait; returns the gate at which they did."""
        away, self.away = self.away, None
        assert away is not None
        if self.limit is not None:
            self.limit.was_away()
        self.gates = tuple(gate for gate in self.gates if gate is not away)
        return away

    # Trouble, as its bulkhead has it

    def is_in_trouble(self, attempt: Entrant, now: float) -> bool:
        """Whether background attempts are refused, and not repeated."""
        return self.shed is not None and self.bulkhead is not None and self.bulkhead.is_in_trouble(attempt, now)

    def trouble_moved(self) -> None:
        """Trouble of one of its bulkheads has begun, or is over."""
        is_on = any(bulkhead.has_trouble for bulkhead in self.bulkheads)
        if is_on and self.shed is None:
            assert self.bulkhead is not None
            self.shed = ShedState(str(self.origin), self.bulkhead)
            self.gates = (self.shed, *self.gates)
        elif not is_on and self.shed is not None:
            self.gates, self.shed = tuple(gate for gate in self.gates if gate is not self.shed), None

    # Rejections

    def is_rejection(self, outcome: Outcome, now: float, *, duration: float) -> bool:
        """Whether the origin, which is well, told an attempt to come later."""
        return is_rejection(outcome, self.breaker, now, duration=duration)

    def learn(self, attempt: Entrant, result: Result, now: float) -> None:
        """
        Learn from an answer how fast it takes requests, from the first rejection on, unless limits are off.

        While the origin is away there is nothing to learn, because calls wait for another reason.
        """
        if self.policy.limit is None or self.away is not None:
            return
        if not result.is_rejection:
            if self.limit is not None and result.outcome.status is not None:
                self.limit.accepted(attempt, now)
            return
        if self.limit is None:
            self.limit = LimitState(str(self.origin), (), max_shut=max_shut(self.policy), now=self.now)
            self.gates = _with_limit(self.gates, self.limit, self.bulkhead)
        has_accepted = self.breaker is not None and self.breaker.good(now, 1.0) > 0
        self.limit.rejected(attempt, now, retry_after=result.outcome.retry_after, has_accepted=has_accepted)

    def is_held_back(self, attempt: Entrant | None, now: float) -> bool:
        """Whether the limit spares the origin retries after its rejections, so that they need no budget."""
        return self.limit is not None and attempt is not None and self.limit.is_hopeful(attempt, now, within=HOPE_LASTS)

    # A pause that the origin asked for

    def pause(self, now: float, length: float) -> bool:
        """
        Hold back all new attempts for *length* seconds, and each a little longer, so that they don't come together.

        Returns:
            Whether that made the pause longer.
        """
        if now + length <= self.paused_until:
            return False
        self.paused_until = now + length
        self.pause_spread = length * PAUSE_SPREAD
        return True

    @property
    def bulkheads(self) -> list[BulkheadState]:
        """All its bulkheads: one, or one for each part."""
        return [*self.bulkhead] if isinstance(self.bulkhead, Parted) else [self.bulkhead] if self.bulkhead else []

    @property
    def is_idle(self) -> bool:
        """Whether nothing of it is in use and nothing was set by hand, so that it may be forgotten."""
        return all(gate.is_idle for gate in self.gates)

    def remembers(self, now: float) -> bool:
        """
        Whether a gate knows something, retries have spent of the budget, or a pause or trouble is on, so that it is
        forgotten last.
        """
        if now < self.paused_until or (self.troubled_since is not None and now - self.noted_at < TROUBLE_LASTS):
            return True
        if self.budget is not None and self.budget.is_spent(now):
            return True
        return any(gate.remembers(now) for gate in self.gates)


def max_shut(policy: Policy) -> float:
    """Seconds that a rejection may hold back others."""
    return policy.retry.max_retry_after if isinstance(policy.retry, Retry) else MAX_SHUT


def _with_limit(gates: tuple[Gate, ...], limit: LimitState, bulkhead: Gate | None) -> tuple[Gate, ...]:
    """*gates*, with the *limit* before the bulkhead, because an attempt that waits for it must hold no permit."""
    before = tuple(gate for gate in gates if gate is not bulkhead)
    return (*before, limit) if bulkhead is None else (*before, limit, bulkhead)
