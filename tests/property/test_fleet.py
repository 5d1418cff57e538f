"""Whatever calls, cancellations and pauses processes make, they share their permits, and no call waits in vain."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from seawall.policy.ghosts import LASTS
from seawall.testing import run
from tests.books import Books
from tests.scenario.test_fleet import URL, Served

PATIENCE = 600.0  # s; a call that waits for longer waits in vain


class Burst(NamedTuple):
    """Calls that one process makes at once, some time after those before have ended; some are cancelled."""

    after: float
    calls: int
    takes: float
    cancelled: int
    cancelled_after: float


BURSTS = st.builds(
    Burst,
    st.sampled_from([0.0, 0.01, 0.3, 2.0, 8.0]),
    st.integers(1, 8),
    st.sampled_from([0.01, 0.05, 0.5, 3.0]),
    st.integers(0, 4),
    st.sampled_from([0.0, 0.001, 0.02, 0.3]),
)


async def share(permits: int, delays: list[float], processes: list[list[Burst]]) -> None:
    store, served = Books(), Served()

    async def shift() -> None:
        while True:
            for delay in delays:
                store.delay = delay
                await asyncio.sleep(0.1)

    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(served.client(store, permits)) for _ in processes]

        async def work(number: int) -> None:
            for burst in processes[number]:
                await asyncio.sleep(burst.after)
                served.duration = burst.takes
                calls = [asyncio.create_task(clients[number].get(URL)) for _ in range(burst.calls)]
                await asyncio.sleep(burst.cancelled_after)
                for call in calls[: burst.cancelled]:
                    call.cancel()
                await asyncio.wait(calls)

        shifts = asyncio.create_task(shift())
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*map(work, range(len(processes))))
        assert served.most <= permits
        await asyncio.sleep(LASTS + 5.0)
        assert not any(held for part in store.held.values() for held, *_ in part.values())
        shifts.cancel()


@given(
    st.integers(1, 6),
    st.lists(st.sampled_from([0.0, 0.005, 0.04]), min_size=1, max_size=4),
    st.lists(st.lists(BURSTS, max_size=5), min_size=1, max_size=4),
)
@settings(max_examples=60)
def test_processes_share(permits, delays, processes):
    """Never more in flight than there are permits, an end of all calls, and nothing held once all are idle."""
    run(share(permits, delays, processes), max_time=5000.0)
