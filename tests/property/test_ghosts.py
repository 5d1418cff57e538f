"""The adaptive bulkhead, driven at random: never too much at the server, always a way on, and every ghost ends."""

from __future__ import annotations

import asyncio

import hypothesis
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from seawall.errors import BulkheadFull
from seawall.events import Phase
from seawall.policy.adaptive import AdaptiveState
from seawall.policy.gate import Result, Unanswered
from seawall.policy.outcome import Outcome
from seawall.testing import VirtualLoop
from tests.entrants import ANY

index = st.integers(0, 1000)
MAX = 6


class AdaptiveMachine(RuleBasedStateMachine):
    """Attempts that are sent, answered, given up or cancelled in any order, and a model of their ghosts."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = VirtualLoop()
        self.moves: list[int] = []
        self.made = AdaptiveState(
            "b", MAX, setting="Bulkhead.max_concurrent", moved=lambda limit, *_: self.moves.append(limit)
        )
        self.out: list[tuple[float, object]] = []
        self.waiting: list[asyncio.Task] = []
        self.lost: list[float] = []  # when those that may still be ghosts were sent
        self.newest = -1.0

    @property
    def now(self) -> float:
        return self.loop.time()

    def settle(self, seconds: float = 0.0) -> None:
        self.loop.run_until_complete(asyncio.sleep(seconds))
        for task in [task for task in self.waiting if task.done()]:
            self.waiting.remove(task)
            if not task.cancelled() and task.exception() is None:
                self.out.append((self.now, task.result()))
            else:
                assert task.cancelled() or isinstance(task.exception(), BulkheadFull)

    def inside(self, tell, *what) -> None:
        """Call *tell* in the loop, as a client does."""

        async def call() -> None:
            tell(*what)

        self.loop.run_until_complete(call())

    @rule(timeout=st.sampled_from([None, 0.0, 1.0]))
    def arrive(self, timeout):
        self.waiting.append(self.loop.create_task(self.made.enter(ANY, timeout)))
        self.settle()

    @rule(index=index, status=st.sampled_from([200, 404, 500, 429, 503]))
    def answered(self, index, status):
        if self.out:
            sent_at, ticket = self.out.pop(index % len(self.out))
            result = Result(Outcome(Phase.HEADERS, status=status), status >= 500, 0.0, sent_at)
            self.inside(ticket.end, result, self.now)
            if status not in (429, 503) and sent_at > self.newest:
                self.newest = sent_at
            self.lost = [each for each in self.lost if each >= self.newest]
            self.settle()

    @rule(index=index, is_fault=st.booleans(), timeout=st.sampled_from([None, 0.2, 1.0, 5.0]))
    def given_up(self, index, is_fault, timeout):
        if self.out:
            sent_at, ticket = self.out.pop(index % len(self.out))
            result = Result(Outcome(Phase.SENT), True, 1.0, sent_at) if is_fault else None
            self.inside(ticket.unanswered, Unanswered(sent_at, timeout, is_fault), self.now)
            self.inside(ticket.end, result, self.now)
            if sent_at >= self.newest:
                self.lost.append(sent_at)
            self.settle()

    @rule(index=index)
    def leave(self, index):
        if self.waiting:
            self.waiting[index % len(self.waiting)].cancel()
            self.settle()

    @rule(index=index)
    def cancelled_unsent(self, index):
        if self.out:
            self.inside(self.out.pop(index % len(self.out))[1].end, None, self.now)
            self.settle()

    @rule(seconds=st.floats(0.01, 15.0))
    def time_passes(self, seconds):
        self.settle(seconds)

    @invariant()
    def bounded(self):
        found = self.made.statistics(self.now)
        assert found.in_flight == len(self.out)
        usable = max(0, self.made._max - found.in_flight)
        assert usable + found.ghosts + found.in_flight <= MAX + 1
        assert found.limit <= MAX
        assert found.limit >= 4
        assert self.made._ghosts.holding(found.limit) <= found.limit

    @invariant()
    def there_is_a_way_on(self):
        """One permit at least, or a timer that gives it."""
        assert self.made._max >= 1 or self.made._timer is not None

    @invariant()
    def ghosts_end(self):
        """All that the model doesn't have are free."""
        assert self.made.statistics(self.now).ghosts <= len(self.lost)

    @invariant()
    def moves_go_to_and_fro(self):
        """Trouble begins, and is over, in turn."""
        assert (self.made._trouble.since is not None) == (len(self.moves) % 2 == 1)

    def teardown(self):
        for task in self.waiting:
            task.cancel()
        self.settle()
        while self.out:
            self.cancelled_unsent(0)
        self.settle(1.0)
        self.loop.run_until_complete(self.made.enter(ANY, 0.0)).end(
            Result(Outcome(Phase.HEADERS, status=200), False, 0.0, self.now), self.now
        )
        assert self.made.statistics(self.now)[1:4] == (0, 0, 0)
        assert self.made._timer is None
        self.loop.close()


TestAdaptive = AdaptiveMachine.TestCase
TestAdaptive.settings = hypothesis.settings(max_examples=80, stateful_step_count=40, deadline=None)
