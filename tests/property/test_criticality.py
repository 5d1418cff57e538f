"""A bulkhead and a limit with calls of all classes, driven at random beside models that say whose turn it is."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from itertools import accumulate
from typing import NamedTuple

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from seawall.config import Limit
from seawall.config.criticality import BACKGROUND, CRITICAL, DEFAULT, Criticality
from seawall.errors import BulkheadFull, LimitExceeded
from seawall.events import Phase
from seawall.policy.bulkhead import BulkheadState
from seawall.policy.gate import Ticket
from seawall.policy.limit import LimitState
from seawall.testing import VirtualLoop, run
from tests.entrants import entrant

index = st.integers(0, 20)
classes = st.sampled_from([CRITICAL, DEFAULT, BACKGROUND])


@dataclass(eq=False)
class Held:
    """An attempt: it has a permit, waits, or has gone."""

    criticality: Criticality
    ends_at: float
    number: int
    task: asyncio.Task[Ticket]


@dataclass
class Model:
    """The rules in the plainest words."""

    permits: int
    in_flight: list[Held] = field(default_factory=list)
    waiting: list[Held] = field(default_factory=list)
    handed_over: int = 0

    def may_have(self, held: Held) -> bool:
        background = sum(each.criticality is BACKGROUND for each in self.in_flight)
        has_room = held.criticality is not BACKGROUND or background < max(1, self.permits // 2)
        return len(self.in_flight) < self.permits and has_room

    def comes(self, held: Held) -> None:
        (self.in_flight if self.may_have(held) else self.waiting).append(held)

    def hand_over(self) -> list[Held]:
        given = []
        while able := [each for each in self.waiting if self.may_have(each)]:
            is_tenth = self.handed_over % 10 == 9
            first = min(able, key=lambda each: each.number if is_tenth else (each.criticality, each.number))
            self.waiting.remove(first)
            self.in_flight.append(first)
            self.handed_over += 1
            given.append(first)
        return given


class ClassesMachine(RuleBasedStateMachine):
    """After each step, those have a permit who have one in the model."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = VirtualLoop()
        self.model = Model(3)
        self.made = BulkheadState("b", 3, setting="Bulkhead.max_concurrent")
        self.number = 0

    def settle(self, seconds: float = 0.0) -> None:
        self.loop.run_until_complete(asyncio.sleep(seconds))
        for _ in range(3):
            self.loop.run_until_complete(asyncio.sleep(0))

    @rule(burst=st.lists(classes, min_size=1, max_size=8), timeout=st.sampled_from([None, None, 1.0, 5.0]))
    def arrive(self, burst, timeout):
        async def enter(criticality: Criticality) -> Ticket:
            ticket = self.made.try_enter(entrant(criticality), self.loop.time())
            return await self.made.enter(entrant(criticality), timeout) if ticket is None else ticket

        ends_at = float("inf") if timeout is None else self.loop.time() + timeout
        for criticality in burst:
            self.number += 1
            self.model.comes(Held(criticality, ends_at, self.number, self.loop.create_task(enter(criticality))))
            self.settle()

    @rule(indexes=st.lists(index, min_size=1, max_size=12))
    def give_back(self, indexes):
        for number in indexes:
            self.end(number)
            self.settle()

    @rule(indexes=st.lists(index, min_size=1, max_size=12))
    def give_up_as_it_is_granted(self, indexes):
        """Cancelled between the hand-over and its use: it goes on to the next."""
        for number in indexes:
            for one in self.end(number):
                self.cancel(one)
            self.settle()

    def end(self, number: int) -> list[Held]:
        """An attempt ends; returns those who get its permit."""
        ready = [each for each in self.model.in_flight if each.task.done()]
        if not ready:
            return []
        left = ready[number % len(ready)]
        self.model.in_flight.remove(left)
        left.task.result().end(None, self.loop.time())
        return self.model.hand_over()

    @rule(index=index)
    def give_up(self, index):
        if self.model.waiting:
            self.cancel(self.model.waiting[index % len(self.model.waiting)])
            self.settle()

    def cancel(self, held):
        held.task.cancel()
        if held in self.model.waiting:
            self.model.waiting.remove(held)
        else:
            self.model.in_flight.remove(held)
            self.model.hand_over()

    @rule(permits=st.sampled_from([0, 1, 1, 2, 3, 4, 5, 9]))
    def resize(self, permits):
        self.model.permits = permits
        self.made.resize(permits)
        self.model.hand_over()
        self.settle()

    @rule(seconds=st.floats(0.1, 3.0))
    def time_passes(self, seconds):
        self.settle(seconds)
        now = self.loop.time()
        for held in [each for each in self.model.waiting if each.ends_at <= now]:
            self.model.waiting.remove(held)
            assert isinstance(held.task.exception(), BulkheadFull)

    @invariant()
    def as_in_the_model(self):
        assert all(each.task.done() and not each.task.cancelled() for each in self.model.in_flight)
        assert not any(each.task.done() for each in self.model.waiting)

    @invariant()
    def counted(self):
        statistics = self.made.statistics()
        assert (statistics.in_flight, statistics.waiting) == (len(self.model.in_flight), len(self.model.waiting))
        background = [each for each in self.model.in_flight if each.criticality is BACKGROUND]
        assert self.made._background == len(background)

    def teardown(self):
        self.resize(4)
        while self.model.in_flight:
            self.give_back([0])
        assert not self.model.waiting
        assert self.made.is_idle
        assert self.made._background == 0
        self.loop.close()


TestClasses = ClassesMachine.TestCase
TestClasses.settings = hypothesis.settings(max_examples=50, stateful_step_count=30, deadline=None)


# The limit


class Arrival(NamedTuple):
    """An attempt that comes *after* the one before, and leaves by itself or because of its deadline, in seconds."""

    after: float
    criticality: Criticality
    deadline: float
    leaves: float


ARRIVALS = st.builds(
    Arrival,
    st.sampled_from([0.0, 0.0, 0.0, 0.3, 2.0]),
    classes,
    st.sampled_from([500.0, 500.0, 500.0, 1.7, 5.7, 11.3, 14.1]),
    st.sampled_from([*[1000.0] * 7, 1.1, 4.9]),
)


class Entrant:
    """An attempt, as far as a limit looks at it."""

    phase, sent_at, is_buffered = Phase.QUEUED, float("-inf"), True

    def __init__(self, criticality: Criticality, ends_at: float) -> None:
        self.criticality = criticality
        self.ends_at = ends_at

    def part(self, partition: object) -> bytes:
        return b""

    def left(self, now: float) -> float:
        return self.ends_at - now


def foreseen(arrivals: list[Arrival]) -> list[tuple[str, float]]:
    """What must become of each, and when: one turn a second, by the rules in the plainest words."""
    came = list(accumulate((each.after + 0.001 for each in arrivals), initial=0.0))[1:]
    ends: dict[int, tuple[str, float]] = {}
    waiting: list[int] = []
    free_at, handed_over = 0.0, 0

    def first(among: list[int], turns: int) -> int:
        return min(among) if turns % 10 == 9 else min(among, key=lambda each: (arrivals[each].criticality, each))

    def ends_at(each: int) -> float:
        return came[each] + arrivals[each].deadline

    def refuse_first(now: float) -> None:
        """Whoever is the first has a look at when its turn is."""
        while waiting and max(now, free_at) > ends_at(mine := first(waiting, handed_over)):
            waiting.remove(mine)
            ends[mine] = "refused", now

    def pass_time(until: float) -> None:
        nonlocal free_at, handed_over
        while waiting:
            following = [
                (free_at, "turn", first(waiting, handed_over)),
                *((ends_at(each), "refused", each) for each in waiting),
                *((came[each] + arrivals[each].leaves, "left", each) for each in waiting),
            ]
            now, what, mine = min(following)
            if now > until:
                return
            was_first = mine == first(waiting, handed_over)
            waiting.remove(mine)
            ends[mine] = what, now
            if what == "turn":
                free_at, handed_over = now + 1.0, handed_over + 1
            if was_first:
                refuse_first(now)

    for mine, now in enumerate(came):
        pass_time(now)
        if not waiting and free_at <= now:
            ends[mine], free_at = ("turn", now), now + 1.0
            continue
        waiting.append(mine)
        order, rest, turns = [], list(waiting), handed_over
        while mine not in order:
            order.append(first(rest, turns))
            rest.remove(order[-1])
            turns += 1
        if free_at + len(order) - 1 > ends_at(mine):
            waiting.remove(mine)
            ends[mine] = "refused", now
    pass_time(float("inf"))
    return [ends[each] for each in range(len(arrivals))]


async def seen(arrivals: list[Arrival]) -> list[tuple[str, float]]:
    """What becomes of each, and when."""
    loop = asyncio.get_running_loop()
    made = LimitState("a", (Limit(rate=1, burst=1),), max_shut=30.0, now=loop.time)

    async def enter(criticality: Criticality, deadline: float) -> tuple[str, float]:
        attempt = Entrant(criticality, loop.time() + deadline)
        try:
            if made.try_enter(attempt, loop.time()) is None:
                await made.enter(attempt, None)
        except LimitExceeded:
            return "refused", loop.time()
        except asyncio.CancelledError:
            return "left", loop.time()
        return "turn", loop.time()

    tasks = []
    for each in arrivals:
        await asyncio.sleep(each.after + 0.001)
        tasks.append(asyncio.create_task(enter(each.criticality, each.deadline)))
        loop.call_later(each.leaves, tasks[-1].cancel)
    ends = await asyncio.gather(*tasks)
    (line,) = made._lines
    assert made.is_idle
    assert (line.ahead, line._costs, bool(line.meters[0].turnstile)) == ((0.0,), {}, False)
    return ends


@given(st.lists(ARRIVALS, min_size=1, max_size=8) | st.lists(ARRIVALS, min_size=20, max_size=30))
@hypothesis.settings(max_examples=60, deadline=None)
def test_turns_of_a_limit(arrivals):
    """Each attempt has its turn, is refused or leaves at the instant at which the model says so."""
    found = run(seen(arrivals), max_time=5000.0)
    assert [what for what, _ in found] == [what for what, _ in foreseen(arrivals)]
    assert [at for _, at in found] == pytest.approx([at for _, at in foreseen(arrivals)], abs=1e-6)
