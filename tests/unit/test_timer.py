"""Deadlines that are only noted until they have been there for a while."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest

from seawall.core.timer import TICK, Timer, Timers
from seawall.testing import run


def timers() -> Timers:
    made = Timers()
    made.loop = asyncio.get_running_loop()
    return made


async def struck(after: float | None, sleep: float = 100.0) -> float:
    """The instant at which a timer *after* s ends a sleep."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    timer = Timer(timers(), None if after is None else begun + after)
    with pytest.raises(TimeoutError), timer:
        await asyncio.sleep(sleep)
    assert timer.is_expired
    return round(loop.time() - begun, 9)


@pytest.mark.parametrize("after", [0.0, TICK / 2, TICK, 2 * TICK, 2.5 * TICK, 3.0, 50.0])
def test_strikes_at_its_instant(after):
    """Whether it was noted first or armed at once."""
    assert run(struck(after)) == after


def test_what_ends_in_time_leaves_nothing():
    """No handle with the loop but the one tick; and that one ends with the timers."""

    async def main():
        loop, made = asyncio.get_running_loop(), timers()
        for _ in range(1000):
            with Timer(made, loop.time() + 30):
                await asyncio.sleep(0)
        assert len([handle for handle in loop._scheduled if not handle.cancelled()]) == 1
        await asyncio.sleep(3 * TICK)
        assert not [handle for handle in loop._scheduled if not handle.cancelled()]

    run(main())


@pytest.mark.parametrize("moved", [0.01, 7.0, 20.0])
@pytest.mark.parametrize("at", [0.0, 2.0, 4.99])
def test_can_be_moved_until_it_strikes(moved, at):
    """Ahead or back, noted or armed; then never again."""

    async def main():
        loop = asyncio.get_running_loop()
        timer = Timer(timers(), 5.0)

        async def move():
            await asyncio.sleep(at)
            timer.reschedule(at + moved)

        task = asyncio.create_task(move())
        with pytest.raises(TimeoutError), timer:
            await asyncio.sleep(100)
        await task
        timer.reschedule(1000.0)
        assert timer.is_expired
        return round(loop.time(), 9)

    assert run(main()) == round(at + moved, 9)


def test_never_where_there_is_no_instant():
    """None is no deadline, from the first or by rescheduling."""

    async def main():
        made = timers()
        for first in (None, 1.0, 0.06):
            timer = Timer(made, first and asyncio.get_running_loop().time() + first)
            with timer:
                timer.reschedule(None)
                await asyncio.sleep(50)
            assert not timer.is_expired

    run(main())


def test_an_instant_that_has_come_stays():
    """What closes a client strikes, whatever a body that comes in says of the deadline."""

    async def main():
        timer = Timer(timers(), 30.0)

        async def close():
            timer.reschedule(0.0)
            timer.reschedule(60.0)
            await asyncio.sleep(100)

        with pytest.raises(TimeoutError), timer:
            await close()
        return asyncio.get_running_loop().time()

    assert run(main()) == 0.0


def test_a_cancellation_from_outside_is_none_of_ours():
    """Also where both come at once: the task was cancelled, and not only late."""

    async def main(*, is_late: bool):
        timer = Timer(timers(), 1.0)

        async def work():
            with timer:
                await asyncio.sleep(100)

        task = asyncio.create_task(work())
        await asyncio.sleep(0.5)
        if is_late:
            timer.reschedule(0.0)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    run(main(is_late=False))
    run(main(is_late=True))


def test_it_holds_nothing_of_the_caller():
    """A handle keeps its context, and what hangs on it, alive; ours have one of their own."""

    async def main():
        with Timer(timers(), 30.0):
            await asyncio.sleep(1)  # armed by now
            handles = [h for h in asyncio.get_running_loop()._scheduled if h._callback.__name__ in ("_strike", "_tick")]
            assert handles
            assert not any(len(handle._context) for handle in handles)

    run(main())


def test_threads_keep_out_of_each_others_way():
    """A loop in each of them: what strikes in one is not lost for being in another's context."""

    def strike(_: int) -> float:
        async def main() -> float:
            loop = asyncio.get_running_loop()
            made = timers()
            late = 0.0
            for _ in range(20):
                when = loop.time() + 0.001
                with pytest.raises(TimeoutError), Timer(made, when):
                    await asyncio.wait_for(asyncio.sleep(100), 30)
                late = max(late, loop.time() - when)
            return late

        return asyncio.run(main())

    with ThreadPoolExecutor(8) as threads:
        assert max(threads.map(strike, range(8))) < 10


def test_no_two_handles_share_a_context():
    """For a thread that is in one keeps all others out of it."""

    async def main():
        made, loop = timers(), asyncio.get_running_loop()
        handles = {}
        for after in (0.01, 0.02, 30.0):
            timer = Timer(made, loop.time() + after)
            with timer:
                handles |= {id(handle): handle for handle in loop._scheduled}
                timer.reschedule(None)
        assert len({id(handle._context) for handle in handles.values()}) == len(handles) == 3

    run(main())


def test_strikes_at_once_after_the_loop_was_blocked():
    """What became due meanwhile doesn't wait for another tick."""

    async def main() -> float:
        loop = asyncio.get_running_loop()
        made = timers()

        async def work() -> None:
            loop._virtual_now += 6 * TICK  # what a blocked loop looks like from inside
            await asyncio.sleep(100)

        with pytest.raises(TimeoutError), Timer(made, loop.time() + 2.2 * TICK):
            await work()
        return round(loop.time() / TICK, 6)

    assert run(main()) == 6.0
