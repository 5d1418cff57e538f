"""Permits and the queue for them."""

from __future__ import annotations

import asyncio

import pytest

from seawall.config.criticality import BACKGROUND, CRITICAL, DEFAULT
from seawall.errors import BulkheadFull
from seawall.policy.bulkhead import BulkheadState
from seawall.policy.gate import Ticket
from seawall.testing.clock import VIRTUAL
from tests.entrants import entrant

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


class Holders:
    """Attempts at a bulkhead, by name. Attributes: had, in the order in which they got a permit."""

    def __init__(self, bulkhead: BulkheadState) -> None:
        self.bulkhead = bulkhead
        self.had: list[str] = []
        self.tickets: dict[str, Ticket] = {}
        self.errors: dict[str, Exception] = {}

    async def come(self, *names: str, timeout: float | None = None) -> None:
        """Attempts whose names begin with their class; they get a permit, or wait."""
        for name in names:
            asyncio.create_task(self._enter(name, timeout))  # noqa: RUF006 - the loop holds it until it is done
            await asyncio.sleep(0)
            await asyncio.sleep(0)

    async def end(self, *names: str) -> None:
        for name in names:
            self.tickets.pop(name).end(None, 0.0)
            await asyncio.sleep(0)
            await asyncio.sleep(0)

    async def _enter(self, name: str, timeout: float | None) -> None:
        attempt = entrant({"c": CRITICAL, "d": DEFAULT, "b": BACKGROUND}[name[0]])
        ticket = self.bulkhead.try_enter(attempt, 0.0)
        try:
            self.tickets[name] = await self.bulkhead.enter(attempt, timeout) if ticket is None else ticket
        except BulkheadFull as error:
            self.errors[name] = error
        else:
            self.had.append(name)


async def test_background_has_half():
    """The rest stays free for others, who don't wait behind it; a permit that it gives back goes to its next."""
    calls = Holders(make(5))
    await calls.come("b1", "b2", "b3", "b4")
    assert (calls.had, calls.bulkhead.statistics().waiting) == (["b1", "b2"], 2)
    await calls.come("d1", "c1", "d2")
    assert calls.had[2:] == ["d1", "c1", "d2"]
    await calls.end("d1", "c1")
    assert calls.bulkhead.statistics()[1:3] == (3, 2)
    await calls.end("b1")
    assert calls.had[5:] == ["b3"]
    await calls.end("d2", "b2", "b3", "b4")
    assert calls.bulkhead.is_idle
    assert calls.bulkhead._background == 0


@pytest.mark.parametrize("permits", [1, 2, 3])
async def test_background_has_one_at_least(permits):
    """Even where half would be none."""
    calls = Holders(make(permits))
    await calls.come("b1", "b2")
    assert calls.had == ["b1"]


async def test_a_permit_goes_to_what_matters_most():
    """Not to those that came first."""
    calls = Holders(make(1))
    await calls.come("d0", "b1", "d1", "c1", "c2")
    await calls.end("d0", "c1", "c2", "d1")
    assert calls.had == ["d0", "c1", "c2", "d1", "b1"]


async def test_the_tenth_permit_goes_to_the_first_comer():
    """However many come that matter more."""
    calls = Holders(make(1))
    await calls.come("c", "b1", *(f"c{number}" for number in range(20)))
    await calls.end("c", *(f"c{number}" for number in range(9)))
    assert calls.had[10:] == ["b1"]
    await calls.end("b1")
    assert calls.had[11:] == ["c9"]


async def test_more_permits_mean_more_for_background():
    """At once; fewer take effect as permits come back."""
    calls = Holders(make(2))
    await calls.come(*(f"b{number}" for number in range(6)))
    assert len(calls.had) == 1
    calls.bulkhead.resize(8)
    await asyncio.sleep(0)
    assert len(calls.had) == 4
    calls.bulkhead.resize(4)
    await calls.end("b0", "b1")
    assert len(calls.had) == 4
    await calls.end("b2")
    assert calls.had[4:] == ["b4"]


async def test_full_queue_drops_what_matters_less():
    """The last that came of that; among equals, the newcomer is refused."""
    calls = Holders(make(1, max_waiting=2))
    await calls.come("d0", "b1", "b2", "b3")
    assert list(calls.errors) == ["b3"]
    await asyncio.sleep(1.0)
    await calls.come("d1")
    assert list(calls.errors) == ["b3", "b2"]
    assert "an attempt that matters more came" in str(calls.errors["b2"])
    assert "1 of 1 permits in use, 0 by background calls, which may have 1, 2 waiting" in str(calls.errors["b3"])
    assert [error.elapsed for error in calls.errors.values()] == [0.0, 1.0]
    await calls.come("c1", "d2", "b4", "c2", "c3")
    assert list(calls.errors) == ["b3", "b2", "b1", "d2", "b4", "d1", "c3"]
    assert calls.bulkhead.statistics().waiting == 2


async def test_each_class_has_a_queue_that_stands():
    """One that waits because of its class doesn't make the wait of the others shorter."""
    calls = Holders(make(1, shed_after=0.1, failures=lambda _: 1.0))
    await calls.come("d0", "b1")
    await asyncio.sleep(6.0)
    await calls.come("c1", "b2", timeout=5.0)
    await asyncio.sleep(0.2)
    assert list(calls.errors) == ["b2"]
    await asyncio.sleep(5.0)
    assert list(calls.errors) == ["b2", "c1"]


async def test_background_cancelled_after_the_hand_over():
    """Its permit and its place in half of them go to the next."""
    calls = Holders(make(2))
    await calls.come("b1")
    second, third = (asyncio.create_task(calls.bulkhead.acquire(None, BACKGROUND)) for _ in range(2))
    await asyncio.sleep(0)
    calls.tickets["b1"].end(None, 0.0)
    second.cancel()
    await asyncio.wait([second, third])
    assert (second.cancelled(), third.exception()) == (True, None)
    assert (calls.bulkhead.statistics().in_flight, calls.bulkhead._background) == (1, 1)
    calls.bulkhead.release_background()
    assert calls.bulkhead.is_idle
