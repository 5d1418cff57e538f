"""Whatever hosts, pieces of work and the consumer do, a fan-out gives each item's result once, and ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import NamedTuple

from hypothesis import example, given, settings
from hypothesis import strategies as st

from seawall.core.seat import SEAT, aside
from seawall.errors import BulkheadFull, LimitExceeded, OriginPaused
from seawall.fetch.fan_out import ASIDE, fan_out
from seawall.testing import run

SECONDS = st.sampled_from([0.0, 0.0, 0.1, 0.5, 3.0])
REFUSALS = {
    "limit": lambda: LimitExceeded("", retry_after=0.3),
    "pause": lambda: OriginPaused("", retry_after=2.0),
    "now": lambda: LimitExceeded("", retry_after=0.0),
    "full": lambda: BulkheadFull(""),
}


class Piece(NamedTuple):
    """What is done for an item: refusals until it is begun for good, works and waits in turn, and how it ends."""

    host: int
    refusals: list[str]
    steps: list[tuple[str | None, float]]
    end: str


class Plan(NamedTuple):
    pieces: list[Piece]
    delays: list[float]  # of the source before each item, in turn; none makes it a list
    pauses: list[float]  # of the consumer after each result, in turn
    concurrency: int
    is_ordered: bool
    leaves_after: int | None  # results


PIECES = st.builds(
    Piece,
    st.integers(0, 4),
    st.lists(st.sampled_from(sorted(REFUSALS)), max_size=2),
    st.lists(st.tuples(st.sampled_from([None, "limit", "breaker", "backoff", "twice"]), SECONDS), max_size=4),
    st.sampled_from(["good", "good", "error", "cancelled", "child left behind", "stubborn"]),
)
PLANS = st.builds(
    Plan,
    st.lists(PIECES, max_size=40),
    st.lists(SECONDS, max_size=3),
    st.lists(SECONDS, min_size=1, max_size=3),
    st.integers(1, 4),
    st.booleans(),
    st.none() | st.integers(0, 10),
)


class World:
    """Does the work of *plan*, and counts."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.begun = [0] * len(plan.pieces)
        self.working = self.tasks = self.most_working = self.most_tasks = 0
        self.children: set[asyncio.Task[None]] = set()

    async def items(self) -> AsyncIterator[int]:
        for number in range(len(self.plan.pieces)):
            await asyncio.sleep(self.plan.delays[number % len(self.plan.delays)])
            yield number

    async def work(self, number: int) -> int:
        piece = self.plan.pieces[number]
        self.begun[number] += 1
        self.working += 1
        self.tasks += 1
        self.most_working = max(self.most_working, self.working)
        self.most_tasks = max(self.most_tasks, self.tasks)
        try:
            if self.begun[number] <= len(piece.refusals):
                raise REFUSALS[piece.refusals[self.begun[number] - 1]]()
            for why, seconds in piece.steps:
                await self.step(why, seconds)
            match piece.end:
                case "error":
                    raise OSError(number)
                case "cancelled":
                    raise asyncio.CancelledError
                case "child left behind":
                    self.children.add(asyncio.create_task(self.wait("limit", 1.0)))
                    await asyncio.sleep(0)
            return number
        except asyncio.CancelledError:
            if piece.end == "stubborn":
                raise LimitExceeded("", retry_after=50.0) from None
            raise
        finally:
            self.working -= 1
            self.tasks -= 1

    async def step(self, why: str | None, seconds: float) -> None:
        if why is None:
            await asyncio.sleep(seconds)
            return
        self.working -= 1
        try:
            if why == "twice":  # two calls of one piece wait at once
                await asyncio.gather(self.wait("breaker", seconds), self.wait("limit", seconds / 2))
            else:
                await self.wait(why, seconds)
        finally:
            self.working += 1

    async def wait(self, why: str, seconds: float) -> None:
        assert SEAT.get() is not None
        with aside(why):
            await asyncio.sleep(seconds)


async def results_of(plan: Plan) -> tuple[World, list[tuple[int, int | None, BaseException | None]]]:
    world, given = World(plan), []
    items = world.items() if plan.delays else range(len(plan.pieces))
    results = fan_out(
        items,
        lambda number: plan.pieces[number].host,
        world.work,
        concurrency=plan.concurrency,
        ordered=plan.is_ordered,
    )
    async with aclosing(results):
        while plan.leaves_after is None or len(given) < plan.leaves_after:
            result = await anext(results, None)
            if result is None:
                break
            assert result.request == result.index
            given.append((result.index, result.response, result.error))
            await asyncio.sleep(plan.pauses[len(given) % len(plan.pauses)])
    assert (world.working, world.tasks) == (0, 0)
    assert asyncio.all_tasks() <= {asyncio.current_task(), *world.children}
    await asyncio.gather(*world.children)
    loop = asyncio.get_running_loop()
    assert not [timer for timer in loop._scheduled if not timer.cancelled()]  # type: ignore[attr-defined]
    return world, given


STUBBORN = Piece(1, [], [(None, 3.0)], "stubborn")  # it answers its cancellation with a refusal


@example(Plan([Piece(0, [], [], "good"), STUBBORN], [], [0.5], 2, is_ordered=False, leaves_after=1))
@given(PLANS)
@settings(max_examples=300)
def test_each_item_has_one_result(plan):
    """In order if that was asked for; at most so many seats are taken as work begins; no task and no timer is left."""
    world, given = run(results_of(plan), max_time=10_000.0)
    numbers = [number for number, _, _ in given]
    may_go_on = any(why is not None for piece in plan.pieces for why, _ in piece.steps)  # though no seat is free
    assert may_go_on or world.most_working <= plan.concurrency
    assert world.most_tasks <= plan.concurrency * (1 + ASIDE)
    if plan.leaves_after is None:
        assert sorted(numbers) == [*range(len(plan.pieces))]
        assert world.begun == [1 + len(piece.refusals) for piece in plan.pieces]
    assert len(set(numbers)) == len(numbers)
    assert numbers == sorted(numbers) or not plan.is_ordered
    errors = {"error": OSError, "cancelled": asyncio.CancelledError}
    for number, response, error in given:
        kind = errors.get(plan.pieces[number].end)
        assert (response, type(error)) == ((number, type(None)) if kind is None else (None, kind))
