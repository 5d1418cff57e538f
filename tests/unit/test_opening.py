"""Calls that wait for a connection which they may share: on the virtual clock, over a dialler that only takes time."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from types import SimpleNamespace

import pytest

from seawall.dns.resolver import Answer
from seawall.errors import BulkheadFull, DialTimeout
from seawall.events import Phase
from seawall.origin import Address, Origin
from seawall.policy.cap import Slots
from seawall.testing.clock import VIRTUAL
from seawall.wire.connection import Channel
from seawall.wire.http2.connection import Multiplexed
from seawall.wire.known import Known
from seawall.wire.message import Message
from seawall.wire.opening import Opener
from seawall.wire.pool import Pool
from seawall.wire.progress import Progress
from seawall.wire.sharing import PART

from .noted import Noted, now

pytestmark = pytest.mark.anyio

A, OTHER = Origin("http", "a", 80), Origin("http", "other", 80)
ADDRESS = Address("10.0.0.1")
STREAMS = 4
NEVER = math.inf


@pytest.fixture
def anyio_backend():
    return VIRTUAL


class Dialler:
    """Takes as long as *takes* says, one entry a dial, the last for all that follow."""

    def __init__(self, *takes: float) -> None:
        self.known = Known()
        self.known.max_streams = STREAMS
        self.versions = SimpleNamespace(streams=lambda _: self.known.max_streams)
        self.takes = list(takes)
        self.dials = 0

    async def dial(self, origin: Origin, answer: Answer, progress: Progress, **_: object) -> Multiplexed:
        self.dials += 1
        progress.reached(Phase.CONNECTING)
        delay = self.takes.pop(0) if len(self.takes) > 1 else self.takes[0]
        await (asyncio.sleep(delay) if delay < NEVER else asyncio.get_running_loop().create_future())
        progress.address = ADDRESS
        connection = Multiplexed(origin, memoryview(bytearray(1)), self.known)
        connection.connection_made(Noted())
        connection.begin(can_fall_back=False)
        return connection

    def mark_late(self, *_: object) -> None:
        pass


class Names:
    async def resolve(self, _: Origin) -> Answer:
        await asyncio.sleep(0)
        return Answer((ADDRESS,), None, "dns")

    def late(self, _: Origin) -> None:
        return None

    def recheck_in(self, *_: object) -> float:
        return NEVER

    def disprove(self, _: Origin) -> None:
        pass


class Client:
    def __init__(self, *takes: float, max_connections: int | None = 1) -> None:
        loop = asyncio.get_running_loop()
        self.slots, self.dialler = Slots(max_connections), Dialler(*takes)
        self.pool = Pool(self.slots, max_idle=None, expiry=None, now=loop.time)
        self.opener = Opener(self.pool, self.dialler, Names(), now=loop.time, max_age=None, passages=None)  # type: ignore[arg-type]
        self.waited: list[float] = []  # s of each call, until it had a channel
        self.progress: list[Progress] = []

    async def call(self, *, connect: float | None = 5.0, pool: float | None = 5.0) -> Channel:
        began_at = now()
        timeouts = {"connect": connect, "pool": pool}
        message = Message(A, b"GET", b"/", [(b"Host", b"host", b"a")], b"", None, {"timeout": timeouts})  # type: ignore[arg-type]
        progress = Progress(now, began_at)
        self.progress.append(progress)
        try:
            channel = self.pool.take(A, began_at)
            return channel or await self.opener.connect(message, A, progress, None)
        finally:
            self.waited.append(now() - began_at)

    def calls(self, count: int, **timeouts: float | None) -> list[asyncio.Task[Channel]]:
        return [asyncio.create_task(self.call(**timeouts)) for _ in range(count)]


@pytest.fixture
async def clients() -> AsyncIterator[list[Client]]:
    clients: list[Client] = []
    yield clients
    for client in clients:
        client.pool.close()


async def test_calls_at_the_cap_are_served_in_their_order(clients):
    """None waits for longer than those before it take, though others come all the while."""
    clients.append(client := Client(0.0))

    async def work() -> None:
        for _ in range(50):
            channel = await client.call(pool=60)
            await asyncio.sleep(0.02)
            channel.put_back()

    await asyncio.gather(*(work() for _ in range(10 * STREAMS)))
    assert len(client.waited) == 50 * 10 * STREAMS
    assert max(client.waited) <= 0.02 * 10
    assert client.dialler.dials == 1


async def test_pool_timeout_is_each_calls_own(clients):
    """A call that no stream comes free for is refused after it, and has queued for so long."""
    clients.append(client := Client(0.0))
    held = [await client.call() for _ in range(STREAMS)]
    calls = client.calls(3 * STREAMS, pool=1.0)
    async with asyncio.timeout(1.5):
        await asyncio.wait(calls)
    assert {type(call.exception()) for call in calls} == {BulkheadFull}
    assert client.waited[STREAMS:] == pytest.approx([1.0] * len(calls))
    assert [each.queued for each in client.progress[STREAMS:]] == [(("cap", pytest.approx(1.0)),)] * len(calls)
    for channel in held:
        channel.put_back()


@pytest.mark.parametrize(("connect", "pool"), [(1.0, None), (1.0, 5.0), (None, 1.0)])
async def test_dial_of_a_patient_call_that_hangs(clients, connect, pool):
    """It holds up others for a part of their own connect timeout; then one dials for all, and all fail in time."""
    for takes in ((NEVER, 0.1), (NEVER,)):
        clients.append(client := Client(*takes, max_connections=10))
        patient = client.calls(1, connect=None)
        await asyncio.sleep(0.5)
        calls = client.calls(STREAMS - 1, connect=connect, pool=pool)
        await asyncio.wait(calls, timeout=1.01)
        if connect is None:
            assert client.dialler.dials == 1  # they are as patient
        elif len(takes) == 1:
            assert {type(call.exception()) for call in calls} == {DialTimeout}
            assert "connect timeout of 1 s" in str(calls[0].exception())
            assert client.waited == pytest.approx([1.0] * (STREAMS - 1))
        else:
            assert {call.result().is_usable for call in calls} == {True}
            assert client.waited == pytest.approx([PART + 0.1] * (STREAMS - 1))
        assert client.dialler.dials <= 2
        for call in (*patient, *calls):
            call.cancel()
        await asyncio.wait([*patient, *calls])


async def test_dial_of_a_patient_call_is_shared(clients):
    """As long as it takes no longer than dials do."""
    clients.append(client := Client(0.9 * PART, max_connections=10))
    calls = [*client.calls(1, connect=None), *client.calls(STREAMS - 1, connect=1.0)]
    await asyncio.gather(*calls)
    assert client.dialler.dials == 1


async def test_failed_dial_counts_for_those_that_followed_it(clients):
    """The connect timeout is over once, not once more for a dial of their own."""
    clients.append(client := Client(NEVER, max_connections=10))
    calls = client.calls(1)
    await asyncio.sleep(0.1)
    calls += client.calls(STREAMS - 1)
    await asyncio.wait(calls)
    assert {type(call.exception()) for call in calls} == {DialTimeout}
    assert client.waited == pytest.approx([5.0] * STREAMS)


async def test_slot_that_comes_free_during_a_dial(clients):
    """Goes to others: calls that queued for it follow the dial, because one connection does for them."""
    clients.append(client := Client(1.0, max_connections=2))
    for _ in range(2):
        assert client.pool.try_reserve(OTHER)
    calls = client.calls(STREAMS)
    await asyncio.sleep(0.5)
    assert (client.slots.waiting, client.dialler.dials) == (STREAMS, 0)
    for _ in range(2):
        client.pool.cancel(OTHER)
        await asyncio.sleep(0.25)
    assert client.slots.in_use == 1
    await asyncio.gather(*calls)
    assert (client.slots.in_use, client.dialler.dials) == (1, 1)
    assert client.waited == pytest.approx([1.5] * STREAMS)


async def test_call_that_dials_first_is_cancelled(clients):
    """Another goes first, and the others follow it."""
    clients.append(client := Client(1.0, max_connections=10))
    first, *others = client.calls(STREAMS)
    await asyncio.sleep(0.5)
    first.cancel()
    await asyncio.gather(*others)
    assert client.dialler.dials == 2
    assert client.waited == pytest.approx([0.5, *[1.5] * (STREAMS - 1)])
