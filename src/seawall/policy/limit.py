"""
The limit of one origin: a gate that admits attempts at a rate, set by the user or learned from rejections.

Rules: first in, first out for each key and class; `turns` says which class is next. A waiter holds no permit. Its wait
is known when it comes, unless others follow that matter more, so one that can't end in time is refused at once. Several
limits admit an attempt together or not at all. What wasn't sent is given back.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from ..config import Limit
from ..errors import LimitExceeded
from ..events import Phase
from .gate import Entrant, Gate, Result, Ticket
from .learned import Learned
from .lease import Lease
from .line import Line
from .lines import MAX_LINES, Lines
from .memory import make_room
from .quota import quotas
from .shared import Group

__all__ = ["LimitState", "LimitStatistics"]

LEAST: Final = 1e-6  # of a shared limit; for less the store isn't asked, which alone knows when the turn is
CREDENTIALS: Final = ("authorization", "x-api-key", "api-key")


class LimitStatistics(NamedTuple):
    """
    Attributes:
        rate: The lowest learned rate, in requests a second; inf if nothing was learned.
        waiting: Attempts that wait for their turn.
    """

    rate: float
    waiting: int


class Turn(Ticket):
    """A ticket of one attempt."""

    __slots__ = ("_attempt", "_costs", "_lease", "_line", "_state", "held_until")

    def __init__(
        self, state: LimitState, line: Line, costs: tuple[float, ...], lease: Lease | None, attempt: Entrant
    ) -> None:
        self._state = state
        self._line = line
        self._costs = costs
        self._lease = lease
        self._attempt = attempt
        self.held_until = Phase.BODY if state.settles else Phase.HEADERS
        state.out += 1

    def end(self, result: Result | None, now: float) -> None:
        line = self._line
        self._state.out -= 1
        if self._is_unsent(result):
            self._state.give_back(line, now, self._costs, self._lease)
            return
        if result is None:
            return
        response = result.outcome.response
        if response is None:
            return
        self._state.told(self._attempt, response.headers, now)
        if response.is_success and self._attempt.is_buffered and self._state.settles:
            self._settle(response, now)

    def _settle(self, response: Any, now: float) -> None:
        """Charge what the attempt has taken of each limit beyond its cost, or give back what it hasn't."""
        line, more = self._line, [0.0] * len(self._costs)
        try:
            for index, (limit, cost) in enumerate(zip(self._state.limits, self._costs, strict=True)):
                if limit.settle is not None:
                    taken = _checked("settle", limit.settle(response))
                    more[index] = min(taken - cost, line.meters[index].rate * self._state.max_shut)
        finally:  # one of the functions may raise
            line.settle(now, more)

    def _is_unsent(self, result: Result | None) -> bool:
        if result is not None:
            return result.outcome.phase < Phase.SENDING
        return self._attempt.phase < Phase.SENDING and self._attempt.sent_at == -math.inf


class LimitState(Gate):
    """
    The live state of an origin's limits, those that it has taught included.

    Args:
        name: The origin's name.
        limits: Those that the user set.
        max_shut: Seconds for which the origin can hold back a request at most, whatever it says.
        now: Loop time.
        wall: The time of day, in seconds since 1970, because headers hold instants.
        group: Where the shared ones of them are; None if none is shared.
    Attributes:
        settles: What an attempt has taken is known only from its answer.
        out: Attempts that were let through and haven't ended.
    """

    __slots__ = (
        "_learned", "_learns", "_lines", "_name", "_now", "_secret", "_wall",
        "is_watching", "limits", "max_shut", "max_wait", "out", "settles",
    )  # fmt: skip

    name = "limit"

    def __init__(
        self,
        name: str,
        limits: tuple[Limit, ...],
        *,
        max_shut: float,
        now: Callable[[], float],
        wall: Callable[[], float] = time.time,
        group: Group | None = None,
    ) -> None:
        self._name = name
        self.limits = tuple(limit for limit in limits if limit.rate is not None)
        self.max_shut = max_shut
        self._now = now
        self._wall = wall
        self._learns = any(limit.learn for limit in limits)
        self._lines = Lines(self.limits, group)
        self._learned: OrderedDict[bytes, Learned] = OrderedDict()
        self._secret = secrets.token_bytes(16)
        waits = [limit.max_wait for limit in limits if limit.max_wait is not None]
        self.max_wait = min(waits) if waits else None
        self.is_watching = any(limit.learn or limit.settle for limit in limits)
        self.settles = any(limit.settle for limit in self.limits)
        self.out = 0

    def __repr__(self) -> str:
        return f"<LimitState {self._name} {self.statistics()}>"

    def statistics(self) -> LimitStatistics:
        rates = [learned.rate for learned in self._learned.values()]
        return LimitStatistics(min(rates, default=math.inf), sum(len(line.waiters) for line in self._lines))

    @property
    def is_idle(self) -> bool:
        if self.settles and self.out:
            return False
        return not any(line.waiters.queues for line in self._lines)

    def has_learned(self, now: float) -> bool:
        """Whether the origin has lately rejected requests, or has said that nothing is left."""
        return any(not learned.is_forgotten(now) for learned in self._learned.values())

    def remembers(self, now: float) -> bool:
        return self.has_learned(now) or self._lines.owes(now)

    # As a gate

    def try_enter(self, attempt: Entrant, now: float) -> Ticket | None:
        try:
            line, costs = self._line(attempt, now), self._costs(attempt)
        except Exception:  # noqa: BLE001  # a function of the user's has raised, which `enter` lets the caller hear
            return None
        if line.waiters.queues or line.wait(now, costs) or line.is_behind:
            return None
        lease = line.take(now, costs)
        line.ask()
        return Turn(self, line, costs, lease, attempt)

    async def enter(self, attempt: Entrant, timeout: float | None) -> Ticket:
        """
        Wait for the attempt's turn.

        **Cancellation:** leaves the line.
        **Fairness:** FIFO for each key and class; see `turns`.

        Raises:
            LimitExceeded: The turn would come later than the deadline, or than the longest wait; or it didn't come,
                because others that matter more did.
        """
        now = self._now()
        line, costs = self._line(attempt, now), self._costs(attempt)
        longest = timeout if self.max_wait is None else self.max_wait
        left = attempt.left(now)
        if left is not None:
            longest = left if longest is None else min(longest, left)
        ends_at = math.inf if longest is None else now + longest
        waiter, began_at = line.join(costs, attempt.criticality, ends_at), now
        try:
            turn_at = now + line.wait_of(waiter, now)
            line.ask()
            while not (is_next := line.is_next(waiter, now)) or turn_at > now:
                if turn_at > ends_at or now >= ends_at:
                    wait = turn_at - now if turn_at > now else line.wait_of(waiter, now)  # others have come before it
                    raise self._exceeded(line, wait, now - began_at)
                is_known = is_next and line.is_known(costs)
                if is_next and not is_known:
                    line.ask()  # again, because it may be the next only now
                until = turn_at if is_known else ends_at  # another one that leaves, or the store's answer, wakes it
                await asyncio.wait([waiter.moved], timeout=None if until == math.inf else until - now)
                now = self._now()
                if waiter.moved.done():
                    waiter.moved = asyncio.get_running_loop().create_future()
                if line.first is waiter:
                    line.ask()
                    turn_at = now + line.wait(now, costs, shut_until=waiter.shut_until)
            lease = line.take(now, costs)
            line.passed()
        finally:
            line.leave(waiter)
        return Turn(self, line, costs, lease, attempt)

    def give_back(self, line: Line, now: float, costs: tuple[float, ...], lease: Lease | None) -> None:
        """An attempt that was let through wasn't sent."""
        line.give_back(now, costs, lease)

    # What it is taught, by attempts without a ticket too, because they were in flight when the first was rejected

    def accepted(self, attempt: Entrant, now: float) -> None:
        """The origin has answered *attempt*, whatever it said, and didn't reject it."""
        if self._learned and (learned := self._learned.get(self._credential(attempt))) is not None:
            learned.accepted(now, sent_at=attempt.sent_at)

    def rejected(self, attempt: Entrant, now: float, *, retry_after: float | None, has_accepted: bool) -> None:
        """
        The origin has rejected *attempt*: learn from it.

        Args:
            retry_after: Seconds that it asks to wait.
            has_accepted: It has accepted others in the last second.
        """
        if retry_after is not None:
            retry_after = min(retry_after, self.max_shut)
        learned = self._learned_of(attempt, now, has_accepted=has_accepted)
        learned.rejected(now, retry_after=retry_after, sent_at=attempt.sent_at)

    def was_away(self) -> None:
        """The origin was away, so that what has been counted says nothing of a rate."""
        for learned in self._learned.values():
            learned.was_away()

    def told(self, attempt: Entrant, headers: Mapping[str, str], now: float) -> None:
        """The origin's answer to *attempt* may say how many more requests it takes."""
        if self._learns and headers.get("age", "0") == "0":  # a cache's answer tells of another time
            for quota in quotas(headers, wall=self._wall()):
                if quota.remaining < 1:  # else there is nothing to learn
                    self._learned_of(attempt, now, has_accepted=True).told(now, quota, max_shut=self.max_shut)

    def is_hopeful(self, attempt: Entrant, now: float, *, within: float) -> bool:
        """Whether waiting helps a request of the same credential, by what *within* so many seconds has taught."""
        learned = self._learned.get(self._credential(attempt))
        return learned is not None and learned.is_hopeful(now, within)

    def _learned_of(self, attempt: Entrant, now: float, *, has_accepted: bool) -> Learned:
        """What the origin teaches for the credential of *attempt*, from now on for those too that wait already."""
        key = self._credential(attempt)
        learned = self._learned.get(key)
        if learned is None:
            make_room(self._learned, MAX_LINES, remembers=lambda known: not known.is_forgotten(now))
            learned = self._learned[key] = Learned(now, has_accepted=has_accepted)
            for line in self._lines:
                if line.credential == key:
                    line.learned = learned
        return learned

    def _line(self, attempt: Entrant, now: float) -> Line:
        """The line in which *attempt* stands."""
        credential = self._credential(attempt)
        parts = tuple([None if limit.key is None else attempt.part(limit.key) for limit in self.limits])
        line = self._lines.find(credential, parts, now)
        learned = self._learned.get(credential)
        if learned is not None and learned.is_forgotten(now):
            del self._learned[credential]
            learned = None
        line.learned = learned
        return line

    def _costs(self, attempt: Entrant) -> tuple[float, ...]:
        return tuple([self._cost(attempt, limit) for limit in self.limits])

    def _cost(self, attempt: Entrant, limit: Limit) -> float:
        cost = limit.cost if not callable(limit.cost) else _checked("cost", attempt.part(limit.cost))
        return cost if limit.shared is None else max(cost, LEAST)

    def _credential(self, attempt: Entrant) -> bytes:
        """A keyed hash of an attempt's credentials, which aren't kept themselves."""
        found = attempt.part(self._hashed)
        assert isinstance(found, bytes)
        return found

    def _hashed(self, request: Any) -> bytes:
        found = "\n".join(request.headers.get(name, "") for name in CREDENTIALS)
        return hashlib.blake2s(found.encode(), digest_size=8, key=self._secret).digest() if found.strip() else b""

    def _exceeded(self, line: Line, wait: float, waited: float) -> LimitExceeded:
        return LimitExceeded(
            f"{self._name}: the limit has a turn for it only in {wait:.3g} s, at least {line.others} others wait; "
            "raise Limit.max_wait, the pool timeout or deadline=, or send less",
            retry_after=wait,
            elapsed=waited,
        )


def _checked(name: str, value: object) -> float:
    """What a function of the user's returned."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 <= value < math.inf:
        raise ValueError(f"Limit.{name} must return a finite number >= 0, not {value!r}")
    return float(value)
