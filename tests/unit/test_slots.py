"""The client-wide cap, and turns among origins."""

from __future__ import annotations

import asyncio

import pytest

from seawall.errors import BulkheadFull
from seawall.origin import Origin
from seawall.policy.cap import Slots
from seawall.testing.clock import VIRTUAL

pytestmark = pytest.mark.anyio

A, B = Origin("http", "a", 80), Origin("http", "b", 80)


@pytest.fixture
def anyio_backend():
    return VIRTUAL


async def waiting(slots: Slots, origin: Origin, undone: list[object] | None = None, timeout: float | None = None):
    task = asyncio.create_task(slots.acquire(timeout, origin, (undone or []).append))
    await asyncio.sleep(0)
    return task


async def test_holder_and_waiters_cancelled_in_one_turn():
    """Whoever has not run yet waits no more: the slot goes to another origin that still does."""
    slots = Slots(1)
    assert slots.try_acquire(A)
    gone, left = await waiting(slots, A), await waiting(slots, B)
    gone.cancel()
    assert not slots.is_next(A)
    slots.release(A)
    assert await left is None
    await asyncio.gather(gone, return_exceptions=True)
    slots.release(B)
    assert (slots.in_use, slots.waiting, slots._lines) == (0, 0, {})
    assert slots.try_acquire(A)


async def test_all_waiters_cancelled_in_one_turn():
    """The slot is free at once."""
    slots = Slots(1)
    slots.try_acquire(A)
    tasks = [await waiting(slots, origin) for origin in (A, B)]
    for task in tasks:
        task.cancel()
    slots.release(A)
    assert slots.in_use == 0
    assert slots.try_acquire(B)
    await asyncio.gather(*tasks, return_exceptions=True)
    assert (slots.in_use, slots.waiting) == (1, 0)


async def test_connection_that_was_handed_over_to_the_cancelled():
    """It is taken back by who knows what to do with it."""
    slots, undone = Slots(1), []
    slots.try_acquire(A)
    task = asyncio.create_task(slots.acquire(None, A, undone.append))
    await asyncio.sleep(0)
    slots.hand_over(A, "connection")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert undone == ["connection"]


async def test_slot_that_was_granted_to_the_cancelled_goes_on():
    """To the next."""
    slots = Slots(1)
    slots.try_acquire(A)
    first, second = await waiting(slots, A), await waiting(slots, A)
    slots.release(A)
    first.cancel()
    assert await second is None
    assert (slots.in_use, slots.waiting) == (1, 0)


async def test_freed_connection_is_its_own_origins():
    """Unless another holds none, or two fewer: moving a slot costs a dial."""
    slots = Slots(4)
    for origin in (A, A, A, B):
        slots.try_acquire(origin)
    tasks = [await waiting(slots, A), await waiting(slots, B)]
    assert not slots.is_next(A)  # 3 to 1
    assert slots.is_next(B)
    slots.release(A)
    assert await tasks[1] is None
    tasks.append(await waiting(slots, B))
    assert slots.is_next(A)  # 2 to 2: its own, and it has waited longest
    assert slots.is_next(B)
    slots.release(B)
    await asyncio.sleep(0)
    slots.release(A)
    await asyncio.gather(*tasks)


async def test_origin_that_holds_nothing_is_next():
    """Though one slot moves to and fro: else it would wait for ever behind an origin that is busy with its only one."""
    slots = Slots(1)
    slots.try_acquire(A)
    tasks = [await waiting(slots, A), await waiting(slots, B)]
    assert not slots.is_next(A)
    slots.release(A)
    assert await tasks[1] is None
    slots.release(B)
    await tasks[0]


async def test_too_late():
    """It says how many there are, how many of these are this origin's, and what to raise."""
    slots = Slots(1)
    slots.try_acquire(A)
    task = await waiting(slots, B, timeout=2.0)
    with pytest.raises(
        BulkheadFull, match=r"b:80: no connection within 2 s: 1 of 1 are in use, 0 of them .* 0 waiting"
    ):
        await task
    assert repr(slots) == "<Slots 1/1 waiting 0>"
    slots.release(A)
    assert slots._lines == {}


async def test_slot_at_the_last_instant():
    """Freed in the turn in which the time is over: it is the waiter's, once."""
    slots = Slots(1)
    slots.try_acquire(A)
    asyncio.get_running_loop().call_later(2.0, slots.release, A)
    task = await waiting(slots, B, timeout=2.0)
    assert await task is None
    slots.release(B)
    assert (slots.in_use, slots.waiting, slots._lines) == (0, 0, {})


async def test_outdated_turns_are_forgotten():
    """However often slots change hands while others wait."""
    slots = Slots(1)
    slots.try_acquire(A)
    for _ in range(500):
        tasks = [await waiting(slots, A), await waiting(slots, B)]
        slots.release(A)
        await tasks[1]
        slots.release(B)
        await tasks[0]
    assert len(slots._turns) < 100


async def test_without_a_cap():
    """There is always one."""
    slots = Slots(None)
    assert all(slots.try_acquire(A) for _ in range(5000))


async def test_cancelled_after_it_expired():
    """It has left already; nothing is counted twice."""
    slots = Slots(1)
    slots.try_acquire(A)
    task = await waiting(slots, A, timeout=1.0)
    others = [await waiting(slots, A) for _ in range(2)]
    others[0].cancel()
    await asyncio.sleep(0)
    asyncio.get_running_loop().call_later(1.0, task.cancel)
    await asyncio.sleep(1.0)
    await asyncio.gather(task, others[0], return_exceptions=True)
    slots.release(A)
    assert await others[1] is None
    assert (slots.in_use, slots.waiting) == (1, 0)
