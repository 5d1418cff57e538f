"""Permits and the queue for them."""

from __future__ import annotations

import asyncio

import pytest

from seawall.errors import BulkheadFull
from seawall.policy.bulkhead import BulkheadState
from seawall.testing.clock import VIRTUAL

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return VIRTUAL


def make(permits: int, **more) -> BulkheadState:
    return BulkheadState("https://a:443", permits, setting="Bulkhead.max_concurrent", **more)


async def test_first_in_first_out():
    """Permits go to waiters in the order they came, and nobody overtakes."""
    bulkhead, order = make(1), []
    await bulkhead.acquire(None)

    async def wait(name: str) -> None:
        await bulkhead.acquire(None)
        order.append(name)

    waiters = [asyncio.create_task(wait(name)) for name in "abc"]
    await asyncio.sleep(0)
    for _ in range(3):
        bulkhead.release()
        assert not bulkhead.try_acquire()
        await asyncio.sleep(0)
    await asyncio.gather(*waiters)
    assert order == ["a", "b", "c"]
    bulkhead.release()
    assert bulkhead.is_idle


async def test_wait_ends_after_its_time():
    """At the exact instant, with an error that says how full it is; the queue is as before."""
    bulkhead = make(1)
    await bulkhead.acquire(None)
    with pytest.raises(BulkheadFull, match=r"no permit within 5 s: 1 of 1 permits in use, 0 waiting"):
        await bulkhead.acquire(5.0)
    assert asyncio.get_running_loop().time() == 5.0
    assert repr(bulkhead) == "<BulkheadState https://a:443 permits 1/1 waiting 0>"


async def test_permit_at_the_last_instant():
    """Freed in the turn in which the time is over: it is the waiter's, once."""
    bulkhead = make(1)
    await bulkhead.acquire(None)
    asyncio.get_running_loop().call_later(5.0, bulkhead.release)
    await bulkhead.acquire(5.0)
    assert repr(bulkhead) == "<BulkheadState https://a:443 permits 1/1 waiting 0>"
    bulkhead.release()
    assert bulkhead.is_idle


async def test_full_queue_refuses_at_once():
    """max_waiting=0 is a bulkhead without a queue."""
    bulkhead = make(1, max_waiting=0)
    await bulkhead.acquire(None)
    with pytest.raises(BulkheadFull, match="the queue is full"):
        await bulkhead.acquire(5.0)
    assert asyncio.get_running_loop().time() == 0.0


async def test_whoever_is_cancelled_after_the_hand_over_passes_it_on():
    """The classic lost wake-up."""
    bulkhead = make(1)
    await bulkhead.acquire(None)
    first, second = (asyncio.create_task(bulkhead.acquire(None)) for _ in range(2))
    await asyncio.sleep(0)
    bulkhead.release()  # handed to the first, which has not run yet
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    await asyncio.wait_for(second, 1)
    bulkhead.release()
    assert bulkhead.is_idle


async def test_cancelled_waiters_are_skipped():
    """Whoever left the queue gets nothing."""
    bulkhead = make(1)
    await bulkhead.acquire(None)
    waiters = [asyncio.create_task(bulkhead.acquire(None)) for _ in range(3)]
    await asyncio.sleep(0)
    waiters[0].cancel()
    waiters[1].cancel()
    await asyncio.sleep(0)
    assert bulkhead.statistics().waiting == 1
    bulkhead.release()
    await waiters[2]
    bulkhead.release()
    assert bulkhead.is_idle


async def test_whoever_is_cancelled_as_the_wait_expires_leaves_once():
    """Else the count of waiters goes below zero, and nobody gets a permit ever again."""
    bulkhead = make(1)
    await bulkhead.acquire(None)
    loop = asyncio.get_running_loop()
    waiter = asyncio.create_task(bulkhead.acquire(5.0))
    await asyncio.sleep(0)
    loop.call_at(5.0, waiter.cancel)  # in the same round as the expiry, after it
    with pytest.raises(asyncio.CancelledError):
        await waiter
    assert bulkhead.statistics().waiting == 0
    bulkhead.release()
    assert bulkhead.try_acquire()


async def test_holder_and_waiter_cancelled_in_one_turn():
    """The waiter has not run yet when the permit comes back: it goes to who still waits, or is free."""
    for others in (0, 1):
        bulkhead = make(1)
        await bulkhead.acquire(None)
        gone = asyncio.create_task(bulkhead.acquire(None))
        await asyncio.sleep(0)
        left = [asyncio.create_task(bulkhead.acquire(None)) for _ in range(others)]
        await asyncio.sleep(0)
        gone.cancel()
        bulkhead.release()
        assert bulkhead.try_acquire() is (others == 0)
        await asyncio.gather(*left)
        assert bulkhead.statistics().in_flight == 1
        await asyncio.gather(gone, return_exceptions=True)
        assert bulkhead.statistics()[1:3] == (1, 0)


async def test_more_permits_go_to_waiters_at_once():
    """One to each, as many as there are now."""
    bulkhead = make(1)
    await bulkhead.acquire(None)
    waiting = [asyncio.create_task(bulkhead.acquire(None)) for _ in range(4)]
    await asyncio.sleep(0)
    bulkhead.resize(4)
    await asyncio.sleep(0)
    assert [each.done() for each in waiting] == [True, True, True, False]
    assert repr(bulkhead) == "<BulkheadState https://a:443 permits 4/4 waiting 1>"
    bulkhead.release()
    await waiting[-1]
