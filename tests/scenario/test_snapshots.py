"""`stats()` outside the event loop: in another thread, and after the loop has ended."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Callable

import pytest

import seawall
from seawall.policy.bulkhead import BulkheadState
from seawall.testing import FixedRandom, ScriptedWire, VirtualLoop

pytestmark = pytest.mark.anyio

URL = "http://api.test/"


def client(wire: ScriptedWire, **settings) -> seawall.AsyncClient:
    return seawall.AsyncClient(transport=wire, **{"rng": FixedRandom(), "retry": None} | settings)


def in_a_thread(do: Callable[[], object]) -> object:
    """What *do* returns there; this thread waits."""
    results: list[object] = []
    thread = threading.Thread(target=lambda: results.append(do()))
    thread.start()
    thread.join()
    (result,) = results
    return result


def loop_of_its_own(do: Callable[[], object]) -> object:
    async def main() -> object:
        return do()

    return asyncio.run(main())


@pytest.mark.parametrize("where", [in_a_thread, lambda do: in_a_thread(lambda: loop_of_its_own(do))])
async def test_a_thread_sees_what_the_loop_sees(where):
    """No origin is paused for ever, and a budget isn't filled by who looks at it."""
    async with client(ScriptedWire(503, 200), retry=seawall.Retry(max_attempts=2)) as c:
        await c.get(URL)
        (state,) = c.engine.layers.origins
        filled_at = state.budget._updated_at
        stats = where(c.stats)
        assert state.budget._updated_at == filled_at
        (there,), (here,) = stats.origins.values(), c.stats().origins.values()
    assert (there.paused_for, there.next_probe, there.away_for, there.ghosts) == (0.0, 0.0, 0.0, 0)
    assert there._replace(budget=here.budget) == here


async def test_instants_are_by_the_clock_of_asyncios_loops(monkeypatch):
    """Pauses, open breakers and ejections end there as they do in the loop."""
    async with client(ScriptedWire(500), breaker=seawall.Breaker(min_calls=1, open_for=10.0)) as c:
        await c.get(URL)
        (state,) = c.engine.layers.origins
        state.pause(0.0, 7.0)
        monkeypatch.setattr("time.monotonic", lambda: 3.0)
        (there,) = in_a_thread(c.stats).origins.values()
    assert (there.paused_for, there.next_probe) == (4.0, 8.0)


def test_after_the_loop_has_ended():
    """The last state is there; nothing is paused for ever."""

    async def main() -> seawall.AsyncClient:
        async with client(ScriptedWire(200)) as c:
            await c.get(URL)
        return c

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        stats = runner.run(main()).stats()
    (state,) = stats.origins.values()
    assert (state.paused_for, state.breaker, stats.totals.calls) == (0.0, "closed", 1)


async def test_what_changes_while_it_is_taken(monkeypatch):
    """The loop uses origins, makes new ones, and forgets some, between two that are looked at."""
    async with client(ScriptedWire(200)) as c:
        for number in range(5):
            await c.get(f"http://h{number}.test/")
        origins, statistics = c.engine.layers.origins, BulkheadState.statistics

        def changing(self: BulkheadState, now: float = -math.inf):
            origins.states.move_to_end(next(iter(origins.states)))
            origins[seawall.Origin("http", f"new{len(origins.states)}.test", 80)]
            return statistics(self, now)

        monkeypatch.setattr(BulkheadState, "statistics", changing)
        assert len(c.stats().origins) == 5
        assert {state.in_flight for state in c.stats().origins.values()} == {0}


async def test_table_that_changes_is_read_again(monkeypatch):
    """One that goes on changing is an error in the end, and no endless loop."""
    async with client(ScriptedWire(200)) as c:
        await c.get(URL)
        ledger, reads = c.engine.layers.ledger, []

        class Changing(dict):
            def items(self):
                reads.append(1)
                if len(reads) % 3:
                    raise RuntimeError("dictionary changed size during iteration")
                return super().items()

        ledger.denied = Changing()
        assert c.stats().totals.calls == 1
        assert len(reads) == 3
        monkeypatch.setattr(Changing, "items", lambda self: {}.popitem())
        with pytest.raises(KeyError):
            c.stats()


async def test_waiters_are_counted_and_left_alone():
    """Tidying the queue is the loop's business; another thread that did it could take away what the loop handles."""
    async with client(ScriptedWire(30.0), bulkhead=seawall.Bulkhead(max_concurrent=1)) as c:
        tasks = [asyncio.create_task(c.get(URL)) for _ in range(3)]
        await asyncio.sleep(1.0)
        (state,) = c.engine.layers.origins
        queue = next(iter(state.bulkhead._waiters.queues.values()))
        tasks[1].cancel()
        before = list(queue)
        (there,) = in_a_thread(c.stats).origins.values()
        assert list(queue) == before
        assert there.waiting == 2
        await asyncio.sleep(0)
        assert next(iter(c.stats().origins.values())).waiting == 1
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def test_breakers_can_be_listed_meanwhile(monkeypatch):
    """As `stats()`: the loop's thread uses origins between two that are listed."""
    async with client(ScriptedWire(200)) as c:
        for number in range(3):
            await c.get(f"http://h{number}.test/")
        states, text = c.engine.layers.origins.states, seawall.Origin.__str__

        def changing(self: seawall.Origin) -> str:
            states.move_to_end(next(iter(states)))
            return text(self)

        monkeypatch.setattr(seawall.Origin, "__str__", changing)
        assert len(list(c.breakers)) == 3
