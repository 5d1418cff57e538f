"""
Leases of a shared limit: what this process has booked of it, what it should book next, and what it does without.
Synchronous; time is an argument, and nothing here knows where the limit is kept.

Rules: a lease may be used from an instant on, and dies soon after. The store books with `Terms.booked_burst`, and a
lease lives for as long as the rest of the burst takes at the rate; so in any span of t seconds, all processes together
take at most ``rate * t + burst``, however many leases there are and whoever holds them, if all are as far from the
store. Limits that hold together are leased together. While the store is away, each limit's fallback decides.

Source: Doorman's leases, https://github.com/youtube/doorman/blob/master/doc/design.md; the bound is ours.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import chain, repeat
from typing import Any, Final, NamedTuple

from ..config.store import Booking
from .meter import Kept
from .outage import Outage
from .terms import LEASE, Terms
from .turnstile import Turnstile

__all__ = ["Lease", "Leased", "Leases", "Order"]

MAX_LEASES: Final = 2  # one in use, one to come
MAX_ASKED: Final = 8  # questions in flight, where the store is further away than a lease lives
MEMORY: Final = 0.5  # s over which this process' own rate is measured
UNKNOWN: Final = 1e-6  # s: a wait that only the store knows
WEIGHT: Final = 0.2  # of the last answer's time in the usual one
MIN_FASTEST: Final = 0.005  # s
HELD: Final = 0.01  # s before a store is asked again that has refused without naming a wait
CRUMB: Final = 1e-9  # less of a lease is what rounding left


class Order(NamedTuple):
    """
    What to ask the store for.

    Attributes:
        amounts, charges: One for each limit, as in `Share`.
        max_wait: As in `OpenStore.book`.
        follows: Another question is in flight, which tells whether the store is away; this one may have to wait for a
            connection of its own.
    """

    amounts: tuple[float, ...]
    charges: tuple[float, ...]
    max_wait: float
    follows: bool = False


class Lease:
    """What was booked at once; *amounts* are what is left of it."""

    __slots__ = ("amounts", "dies_at", "receipt", "usable_at")

    def __init__(self, amounts: Sequence[float], usable_at: float, dies_at: float, receipt: Any) -> None:
        self.amounts = list(amounts)
        self.usable_at = usable_at
        self.dies_at = dies_at
        self.receipt = receipt


class Leases:
    """
    The leases of the lines that draw on the same limits.

    Args:
        terms: Of each limit.
        fallbacks: The meter of each, for this process' share.
        outage: Whether the store is away.
    Attributes:
        lease: What the attempt that is being let through has taken from.
    """

    __slots__ = (
        "_asked", "_asked_at", "_charges", "_costs", "_fastest", "_held_until", "_horizon", "_leases", "_life",
        "_outage", "_refused_until", "_seen", "_seen_at", "_shared_by", "_usual", "fallbacks", "lease", "terms",
    )  # fmt: skip

    def __init__(self, terms: tuple[Terms, ...], fallbacks: tuple[Kept, ...], outage: Outage) -> None:
        self.terms = terms
        self.fallbacks = fallbacks
        self._outage = outage
        self._life = min(each.life for each in terms)
        self._horizon = min(LEASE, self._life / 2)
        self._fastest = 0.0  # s of the fastest answer, as far as is known
        self._usual = 0.0  # s of a usual one
        self._leases: list[Lease] = []
        self.lease: Lease | None = None
        self._charges = [0.0] * len(terms)
        self._costs = (1.0,) * len(terms)  # of the last attempt
        self._asked: list[Order] = []  # those in flight
        self._asked_at = -math.inf
        self._refused_until = self._held_until = -math.inf
        self._seen = 0.0  # attempts, each of which counts less as time passes
        self._seen_at = 0.0
        self._shared_by = 0

    # What an attempt finds

    def wait(self, index: int, now: float, cost: float, ahead: float) -> float:
        """As `Meter.wait`; what only the store knows is taken to be as short as it can be."""
        terms = self.terms[index]
        if self._outage.is_on:
            return self._wait_without(index, now, cost, ahead)
        usable_at, left = self._leased(index, now, cost, ahead)
        if left <= 0.0:
            return usable_at - now
        known = max(usable_at, self._refused_until) - now
        return max(UNKNOWN, known, known + (left - max(cost, terms.burst)) / terms.rate)

    def covers(self, now: float, costs: tuple[float, ...]) -> bool:
        """Whether the wait of an attempt is known."""
        if self._outage.is_on:
            return now < self._outage.retry_at or all(each.fallback != "closed" for each in self.terms)
        return all(self._leased(index, now, cost)[1] <= 0.0 for index, cost in enumerate(costs))

    def take(self, index: int, now: float, cost: float) -> None:
        """As `Meter.take`. A negative one is what `give_back` is for, except for the fallback."""
        if self._outage.is_on:
            self.fallbacks[index].take(now, cost)
            return
        for lease in self._leases:
            if cost <= 0.0:
                return
            if lease.usable_at <= now <= lease.dies_at:
                part = min(cost, lease.amounts[index])
                lease.amounts[index] -= part
                cost -= part
                if part and not (self.lease and self.lease.dies_at < lease.dies_at):
                    self.lease = lease

    def used(self, now: float, costs: tuple[float, ...]) -> Lease | None:
        """
        An attempt has been let through that has taken this.

        Returns:
            The lease from which it took; of several the one that dies first. None if the store is away.
        """
        self._seen, self._seen_at, self._costs = self._recent(now) + 1.0, now, costs
        lease, self.lease = self.lease, None
        return lease

    def give_back(self, now: float, lease: Lease, costs: tuple[float, ...]) -> None:
        """An attempt wasn't sent: what it took may be used as long as *lease* lives, and is lost afterwards."""
        if lease.dies_at >= now:
            lease.amounts = [left + cost for left, cost in zip(lease.amounts, costs, strict=True)]
            if lease not in self._leases:
                self._leases.insert(0, lease)

    def settle(self, index: int, now: float, more: float) -> None:
        """As `Meter.settle`: the store is told with the next order."""
        if self._outage.is_on:
            self.fallbacks[index].settle(now, more)
        else:
            self._charges[index] += more

    def owes(self, index: int, now: float) -> bool:
        """Whether something would be lost with it: what the fallback has let through, or what the store isn't told."""
        return self.fallbacks[index].owes(now) or self._charges[index] > 0.0

    def resize(self, now: float, processes: int) -> None:
        """So many processes share the limit: each one's fallback is its part."""
        if processes != self._shared_by:
            self._shared_by = processes
            for terms, meter in zip(self.terms, self.fallbacks, strict=True):
                meter.change_rate(now, terms.rate / processes, max(1.0, terms.burst / processes))

    def share(self, index: int) -> Kept | None:
        """What attempts take of in place of leases; None if that isn't this process' share."""
        is_shared = self._outage.is_on and self.terms[index].fallback == "share"
        return self.fallbacks[index] if is_shared else None

    def _wait_without(self, index: int, now: float, cost: float, ahead: float) -> float:
        match self.terms[index].fallback:
            case "open":
                return 0.0
            case "closed":
                return max(UNKNOWN, self._outage.retry_at - now)
        return self.fallbacks[index].wait(now, cost, ahead)

    # What the store is asked for

    def next_at(self, now: float) -> float:
        """When to ask again, if nothing is asked now; inf if the answer to a question in flight decides that."""
        if self._outage.is_on:
            return math.inf if self._outage.is_probing else self._outage.retry_at
        return self._held_until if now < self._held_until else self._follows_at

    @property
    def _follows_at(self) -> float:
        """
        When a question may follow one in flight, because that one's lease will be dead before another is here; inf if
        it may not.
        """
        is_far = self._usual > self._horizon and not self._outage.is_on
        return self._asked_at + self._horizon if is_far and 0 < len(self._asked) < MAX_ASKED else math.inf

    def order(
        self, now: float, ahead: Sequence[float], waiting: Iterable[tuple[float, ...]], max_wait: float
    ) -> Order | None:
        """
        What to book now, if anything; `ended` must follow, and before it `booked` if there is an answer in time.

        Args:
            ahead: What all waiters together will take.
            waiting: What each of them will, the first one first.
            max_wait: The first one's longest wait, in seconds; inf if there is none.
        """
        if not self._outage.may_ask(now) or (self._asked and now < self._follows_at):
            return None
        if self._outage.is_on:
            return self._ordered(now, (0.0,) * len(self.terms), max_wait)  # a probe, which books nothing
        if now < self._held_until:
            return self._charged(now, max_wait)
        self._leases = [each for each in self._leases if each.dies_at >= now and max(each.amounts) > CRUMB]
        if self._asked and any(each.usable_at > now for each in self._leases):
            return None  # the rate is used up, so another question would only make the line of bookings longer
        held: list[Lease | Order] = [*self._leases, *self._asked]
        leased = [sum([each.amounts[index] for each in held]) for index in range(len(self.terms))]
        rate, on_way = self._recent(now) / MEMORY, min(self._usual, self._life / 2)
        expected = math.ceil(rate * self._horizon) if self._asked else int(rate * (self._horizon + on_way))
        is_backlog = any(mine > has + CRUMB for mine, has in zip(ahead, leased, strict=True))
        rest = iter(waiting)
        first = next(rest, None)
        is_urgent = first is not None and not self.covers(now, first)
        if self._asked and first is not None:
            is_urgent = any(cost > has + CRUMB for cost, has in zip(first, leased, strict=True))
        if (is_backlog or is_urgent) and now + max_wait < self._refused_until:
            return None  # it is about to be refused here
        is_low = expected > 0 and leased[0] < rate * (self._horizon / 2 + on_way) * self._costs[0]
        if is_urgent:  # all that the first one costs, because what is held may be dead before the rest is there
            leased = [0.0] * len(leased)
        elif self._asked:  # what is on its way will be used up, or dead, when this one's answer comes
            leased = [min(has, mine) for has, mine in zip(leased, ahead, strict=True)]
        elif not is_urgent and (len(self._leases) >= MAX_LEASES or not (is_backlog or is_low)):
            return self._charged(now, max_wait)
        attempts = chain(() if first is None else (first,), rest, repeat(self._costs, expected))
        amounts = self._amounts(leased, attempts)
        return self._ordered(now, amounts, max_wait) if any(amounts) else None

    def booked(self, order: Order, now: float, booking: Booking, *, asked_at: float) -> None:
        """
        The store has answered *order*.

        Args:
            asked_at: When it was asked. A lease dies as if the store had booked at once and answered as fast as it can,
                because an answer may have lain here unread.
        """
        took = now - asked_at
        late, self._usual = took - self._fastest, self._usual + (took - self._usual) * WEIGHT
        if late <= 0.0 or late > self._life / 2:  # it is nearer than it was, or further away
            self._fastest = min(took, 4.0 * self._fastest + MIN_FASTEST)
        if not any(order.amounts):
            return
        if not booking.is_booked:
            self._refused_until = now + booking.wait
            if booking.wait <= order.max_wait:  # it knows only yes and no; another store would have booked ahead
                self._refused_until = self._held_until = now + max(booking.wait, HELD)
        else:
            usable_at = now + booking.wait
            dies_at = usable_at + self._life - max(0.0, late)
            self._leases.append(Lease(order.amounts, usable_at, dies_at, booking.receipt))

    def ended(self, order: Order, *, is_charged: bool) -> None:
        """The store was asked for *order*, and has answered or failed."""
        self._asked.remove(order)
        if not is_charged:
            self._charges = [mine + told for mine, told in zip(self._charges, order.charges, strict=True)]

    def unused(self, now: float) -> list[Any]:
        """The receipts of leases that aren't usable yet, and no longer needed, because their waiters have left."""
        given_back = [each for each in self._leases if each.usable_at > now]
        self._leases = [each for each in self._leases if each not in given_back]
        return [each.receipt for each in reversed(given_back)]

    def _charged(self, now: float, max_wait: float) -> Order | None:
        """The charges that the store isn't told yet, if there are any."""
        return self._ordered(now, (0.0,) * len(self.terms), max_wait) if any(self._charges) else None

    def _ordered(self, now: float, amounts: tuple[float, ...], max_wait: float) -> Order:
        self._outage.asked()
        order = Order(amounts, tuple(self._charges), max_wait, bool(self._asked))
        self._charges = [0.0] * len(self.terms)
        self._asked.append(order)
        self._asked_at = now
        return order

    def _amounts(self, leased: Sequence[float], costs: Iterable[tuple[float, ...]]) -> tuple[float, ...]:
        """What the attempts cost that no lease covers: as many as one lease may hold, but at least one."""
        total, amounts = [0.0] * len(leased), (0.0,) * len(leased)
        for cost in costs:
            total = [before + each for before, each in zip(total, cost, strict=True)]
            more = tuple(max(0.0, each - has) for each, has in zip(total, leased, strict=True))
            if any(amounts) and any(each > terms.most for each, terms in zip(more, self.terms, strict=True)):
                break
            amounts = more
        return amounts

    def _leased(self, index: int, now: float, cost: float, ahead: float = 0.0) -> tuple[float, float]:
        """When an attempt of *cost* has its leases, of which none may be dead by then, and how much it lacks then."""
        usable_at, left = now, ahead + cost - CRUMB
        for last in self._leases:
            if left > 0.0 and last.dies_at >= now:
                usable_at = max(usable_at, last.usable_at)
                alive_at = now if ahead else usable_at  # what dies until then is for those ahead
                usable = (each for each in self._leases if each.usable_at <= usable_at and each.dies_at >= alive_at)
                left = ahead + cost - CRUMB - sum(each.amounts[index] for each in usable)
        return usable_at, left

    def _recent(self, now: float) -> float:
        return self._seen * math.exp((self._seen_at - now) / MEMORY)


class Leased:
    """One of the limits that are leased together, in a meter's place; lines wait for it at *turnstile*."""

    __slots__ = ("_index", "_leases", "_turnstile", "rate")

    def __init__(self, leases: Leases, index: int, turnstile: Turnstile) -> None:
        self._leases = leases
        self._index = index
        self.rate = leases.terms[index].rate
        self._turnstile = turnstile

    @property
    def turnstile(self) -> Turnstile:
        share = self._leases.share(self._index)  # which lines may have in common that have other leases
        return self._turnstile if share is None else share.turnstile

    def wait(self, now: float, cost: float, ahead: float = 0.0) -> float:
        return self._leases.wait(self._index, now, cost, ahead)

    def take(self, now: float, cost: float) -> None:
        self._leases.take(self._index, now, cost)

    def owes(self, now: float) -> bool:
        return self._leases.owes(self._index, now)

    def settle(self, now: float, more: float) -> None:
        self._leases.settle(self._index, now, more)
