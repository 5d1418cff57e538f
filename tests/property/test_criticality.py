"""A bulkhead with calls of all classes, driven at random beside a model that says who must have a permit."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import hypothesis
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from seawall.config.criticality import BACKGROUND, CRITICAL, DEFAULT, Criticality
from seawall.errors import BulkheadFull
from seawall.policy.bulkhead import BulkheadState
from seawall.policy.gate import Ticket
from seawall.testing import VirtualLoop
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
            for given in self.end(number):
                self.cancel(given)
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
