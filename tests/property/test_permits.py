"""Bulkhead and slots, driven at random on a virtual loop: none too many, none lost, first in first out."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter

import hypothesis
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from seawall.errors import BulkheadFull
from seawall.origin import Origin
from seawall.policy.bulkhead import BulkheadState
from seawall.policy.cap import Slots
from seawall.testing import VirtualLoop

ORIGINS = [Origin("http", name, 80) for name in "abc"]
index = st.integers(0, 1000)


class PermitMachine(RuleBasedStateMachine):
    """Who has a permit, who waits, who gave up; subclasses say what a permit is of."""

    MAX = 3

    def __init__(self) -> None:
        super().__init__()
        self.loop = VirtualLoop()
        self.waiting: list[tuple[asyncio.Task[None], Origin]] = []
        self.granted: list[Origin] = []
        self.made = self.make()

    def make(self):
        raise NotImplementedError

    async def acquire(self, origin: Origin, timeout: float | None) -> None:
        raise NotImplementedError

    def release(self, origin: Origin) -> None:
        raise NotImplementedError

    def settle(self, seconds: float = 0.0) -> None:
        self.loop.run_until_complete(asyncio.sleep(seconds))
        for task, origin in list(self.waiting):
            if task.done():
                self.waiting.remove((task, origin))
                if not task.cancelled() and task.exception() is None:
                    self.granted.append(origin)
                else:
                    with contextlib.suppress(BulkheadFull, asyncio.CancelledError):
                        task.result()

    @rule(origin=st.sampled_from(ORIGINS), timeout=st.sampled_from([None, 1.0, 5.0]))
    def arrive(self, origin, timeout):
        self.waiting.append((self.loop.create_task(self.acquire(origin, timeout)), origin))
        self.settle()

    @rule(index=index)
    def give_back(self, index):
        if self.granted:
            self.release(self.granted.pop(index % len(self.granted)))
            self.settle()

    @rule(index=index)
    def give_up(self, index):
        if self.waiting:
            self.waiting[index % len(self.waiting)][0].cancel()
            self.settle()

    @rule(index=index)
    def give_up_as_it_is_granted(self, index):
        """Cancelled between the hand-over and its use: it goes on to the next."""
        if self.granted and self.waiting:
            self.release(self.granted.pop(index % len(self.granted)))
            self.waiting[index % len(self.waiting)][0].cancel()
            self.settle()

    @rule(seconds=st.floats(0.1, 3.0))
    def time_passes(self, seconds):
        self.settle(seconds)

    @invariant()
    def none_too_many_and_none_idle(self):
        assert len(self.granted) <= self.MAX
        assert not self.waiting or len(self.granted) == self.MAX

    def teardown(self):
        while self.granted or self.waiting:
            self.give_back(0)
        self.loop.close()


class BulkheadMachine(PermitMachine):
    """In the order they came."""

    def make(self):
        return BulkheadState("b", self.MAX, setting="Bulkhead.max_concurrent")

    async def acquire(self, origin, timeout):
        await self.made.acquire(timeout)

    def release(self, origin):
        before = [task for task, _ in self.waiting]
        self.made.release()
        self.loop.run_until_complete(asyncio.sleep(0))
        done = [task for task in before if task.done() and not task.cancelled()]
        assert done in ([], before[:1])

    @invariant()
    def counted(self):
        statistics = self.made.statistics()
        assert (statistics.in_flight, statistics.waiting) == (len(self.granted), len(self.waiting))

    def teardown(self):
        super().teardown()
        assert self.made.is_idle


class SlotsMachine(PermitMachine):
    """In the order they came within an origin; to the origin that holds the fewest."""

    MAX = 4

    def make(self):
        return Slots(self.MAX)

    async def acquire(self, origin, timeout):
        await self.made.acquire(timeout, origin, lambda given: None)

    def release(self, origin):
        held, before = Counter([*self.granted, origin]), list(self.waiting)
        self.made.release(origin)
        self.loop.run_until_complete(asyncio.sleep(0))
        for task, mine in before:
            if task.done() and not task.cancelled() and task.exception() is None:
                assert held[mine] == min(held[other] for _, other in before)
                assert task is next(each for each, other in before if other == mine)

    @invariant()
    def counted(self):
        assert self.made.in_use == len(self.granted)
        assert bool(self.made.waiting) == bool(self.waiting)

    def teardown(self):
        super().teardown()
        assert (self.made.in_use, self.made.waiting, self.made._lines) == (0, 0, {})


TestBulkhead = BulkheadMachine.TestCase
TestSlots = SlotsMachine.TestCase
TestBulkhead.settings = TestSlots.settings = hypothesis.settings(max_examples=60, deadline=None)
