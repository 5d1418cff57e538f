"""Whose idle connection is given up where the cap binds; connections here have no sockets."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextvars import ContextVar

import pytest

from seawall.errors import BulkheadFull
from seawall.origin import Address, Origin
from seawall.policy.cap import Slots
from seawall.route import Elsewhere
from seawall.testing.clock import VIRTUAL
from seawall.wire.addresses import Load
from seawall.wire.http1.connection import Connection
from seawall.wire.http2.connection import Multiplexed
from seawall.wire.known import Known
from seawall.wire.pool import LOOKED_AT, WARM_FOR, Pool

pytestmark = pytest.mark.anyio

A, B, C = (Origin("http", host, 80) for host in "abc")
CALLER: ContextVar[str] = ContextVar("caller", default="nobody")


@pytest.fixture
def anyio_backend():
    return VIRTUAL


class Counted(Slots):
    """Counts how many connections were asked about."""

    asked = 0

    def owes(self, origin) -> bool:
        self.asked += 1
        return super().owes(origin)


def open_by_origin(pool: Pool) -> dict[Origin, int]:
    return dict(Counter(connection.origin for connection in pool.connections))


def make(slots: Slots, *, expiry: float | None = 15.0, max_idle: int | None = None) -> Pool:
    return Pool(slots, max_idle=max_idle, expiry=expiry, now=asyncio.get_running_loop().time)


def now() -> float:
    return asyncio.get_running_loop().time()


async def opened(pool: Pool, origin: Origin, kind: type[Connection | Multiplexed] = Connection):
    """A new connection, in use."""
    assert await pool.reserve(0.0, origin) is None
    buffer = memoryview(bytearray(1))
    connection = Multiplexed(origin, buffer, Known()) if kind is Multiplexed else kind(origin, buffer)
    pool.add(connection)
    return connection


async def idle(pool: Pool, origin: Origin, count: int = 1, *, keep_for: float | None = None) -> list[Connection]:
    """New connections, used once; *keep_for* is what the server said."""
    connections = [await opened(pool, origin) for _ in range(count)]
    for connection in connections:
        connection.keep_for = keep_for
        pool.keep(connection, now())
    return connections


async def waiting(pool: Pool, origin: Origin, timeout: float | None = None) -> asyncio.Task:
    task = asyncio.create_task(pool.reserve(timeout, origin))
    await asyncio.sleep(0)
    return task


async def test_surplus_is_given_up_in_time_where_connections_were_idle_before():
    """The timer that was started while nobody waited is moved up once somebody does."""
    pool = make(Slots(2))
    await idle(pool, A)
    await idle(pool, B)
    used, other = pool.take(A, now()), pool.take(B, now())
    waiter = await waiting(pool, A)
    pool.keep(other, now())
    await asyncio.sleep(1.1 * WARM_FOR)
    assert waiter.done()
    pool.cancel(A)
    used.close()


async def test_idle_connections_expire():
    """Each at its own time, 15 s after it was used last, and its slot is free then."""
    slots = Slots(3)
    pool = make(slots)
    await idle(pool, A)
    await asyncio.sleep(5)
    await idle(pool, B, 2)
    await asyncio.sleep(5)
    connection = pool.take(B, now())
    pool.keep(connection, now())
    for until, left in ((14.9, (1, 2, 3)), (15.1, (0, 2, 2)), (19.9, (0, 2, 2)), (20.1, (0, 1, 1)), (25.1, (0, 0, 0))):
        await asyncio.sleep(until - now())
        assert (pool.idle(A), pool.idle(B), slots.in_use) == left
    assert connection.is_closed


async def test_without_an_expiry_idle_connections_stay():
    """As long as nobody waits for a slot."""
    pool = make(Slots(3), expiry=None)
    await idle(pool, A, 2)
    await asyncio.sleep(86400)
    assert pool.idle(A) == 2


async def test_no_more_are_idle_than_is_wanted():
    """Of all origins together; the one that was idle for longest is closed."""
    pool = make(Slots(None), max_idle=2)
    (first,) = await idle(pool, A)
    (second,) = await idle(pool, B)
    assert (pool.idle(A), pool.idle(B), pool.open) == (1, 1, 2)
    await idle(pool, B)
    assert (pool.idle(A), pool.idle(B), pool.open) == (0, 2, 2)
    assert (first.is_closed, second.is_closed) == (True, False)


@pytest.mark.parametrize(("max_idle", "has_unseen"), [(0, False), (None, True)])
async def test_what_would_not_be_kept_is_not_handed_over(monkeypatch, max_idle, has_unseen):
    """None is kept, or bytes or an end came behind the response: who waits for a slot dials."""
    pool = make(Slots(1), max_idle=max_idle)
    connection = await opened(pool, A)
    task = await waiting(pool, A)
    monkeypatch.setattr(Connection, "has_unseen", lambda self: has_unseen)
    pool.keep(connection, now())
    assert await task is None
    assert (connection.is_closed, pool.open) == (True, 0)


async def test_a_connection_that_comes_after_the_end_is_closed():
    """The dial was under way when the pool was closed."""
    slots = Slots(1)
    pool = make(slots)
    assert await pool.reserve(0.0, A) is None
    pool.close()
    connection = Connection(A, memoryview(bytearray(1)))
    pool.add(connection)
    assert (connection.is_closed, pool.open, slots.in_use) == (True, 0, 0)


async def test_none_is_idle_where_none_is_wanted():
    """It is closed as soon as its exchange ends."""
    pool = make(Slots(None), max_idle=0)
    (connection,) = await idle(pool, A)
    assert (connection.is_closed, pool.idle(A), pool.open) == (True, 0, 0)


async def test_last_one_in_is_the_first_one_out():
    """So one call at a time needs one connection, and the surplus of a burst expires."""
    pool = make(Slots(None))
    connections = await idle(pool, A, 3)
    for _ in range(20):
        await asyncio.sleep(1)
        connection = pool.take(A, now())
        assert connection is connections[2]
        pool.keep(connection, now())
    assert pool.idle(A) == 1
    assert [each.is_closed for each in connections] == [True, True, False]


@pytest.mark.parametrize(
    ("said", "expiry", "expires_at"),
    [(4.0, 15.0, 4.0), (100.0, 15.0, 15.0), (15.0, 15.0, 15.0), (100.0, None, 100.0), (0.0, 15.0, 0.0)],
)
async def test_keep_alive_of_the_server_is_heeded_where_it_is_shorter(said, expiry, expires_at):
    """It doesn't make a connection last for longer than the client's own setting, where there is one."""
    pool = make(Slots(None), expiry=expiry)
    (connection,) = await idle(pool, A, keep_for=said)
    if expires_at:
        await asyncio.sleep(expires_at - 0.1)
        assert pool.idle(A) == 1
        await asyncio.sleep(0.2)
    assert (connection.is_closed, pool.idle(A), pool.open) == (True, 0, 0)


async def test_connection_in_use_does_not_expire():
    """What the server said of its idle time counts from the next time that it is idle."""
    pool = make(Slots(None))
    (connection,) = await idle(pool, A, keep_for=4.0)
    await asyncio.sleep(3)
    assert pool.take(A, now()) is connection
    await asyncio.sleep(30)
    assert not connection.is_closed
    pool.keep(connection, now())
    await asyncio.sleep(3.9)
    assert (pool.idle(A), connection.is_closed) == (1, False)
    await asyncio.sleep(0.2)
    assert (pool.idle(A), connection.is_closed) == (0, True)


@pytest.mark.parametrize("expiry", [15.0, None])
async def test_host_that_hangs_leaves_a_healthy_one_its_connection(expiry):
    """While it is used every now and then: neither taken as it lies idle, nor as its exchange ends."""
    pool = make(Slots(4), expiry=expiry)
    await idle(pool, B)
    for _ in range(3):
        await opened(pool, A)
    more = [await waiting(pool, A) for _ in range(5)]
    for _ in range(50):
        await asyncio.sleep(0.9 * WARM_FOR)
        connection = pool.take(B, now())
        assert connection is not None
        await asyncio.sleep(0.5)
        pool.keep(connection, now())
        assert not any(task.done() for task in more)
    await asyncio.sleep(0.9 * WARM_FOR)
    assert pool.idle(B) == 1
    await asyncio.sleep(0.2 * WARM_FOR)  # now it is surplus
    assert (pool.idle(B), more[0].done(), more[1].done()) == (0, True, False)
    for task in more[1:]:
        task.cancel()
    await asyncio.gather(*more, return_exceptions=True)
    pool.cancel(A)


@pytest.mark.parametrize("expiry", [15.0, None])
async def test_call_that_waits_gets_the_slot_of_what_becomes_surplus(expiry):
    """A second after its last use, though nobody waited when it was put by, and its own time is far from over."""
    pool = make(Slots(2), expiry=expiry)
    await idle(pool, B)
    await opened(pool, A)
    await asyncio.sleep(0.5 * WARM_FOR)
    task = await waiting(pool, A)
    await asyncio.sleep(0.4 * WARM_FOR)
    assert (task.done(), pool.idle(B)) == (False, 1)
    assert await task is None
    assert (now(), pool.idle(B)) == (WARM_FOR, 0)
    pool.cancel(A)


@pytest.mark.parametrize("kind", [Connection, Multiplexed])
async def test_connection_that_is_too_old_is_not_used_again(kind):
    """From the instant on that its age says; it is closed."""
    pool = make(Slots(None))
    connection = await opened(pool, A, kind)
    connection.ends_at = 10.0
    pool.keep(connection, now())
    for instant in (5.0, 9.9):
        await asyncio.sleep(instant - now())
        used = pool.take(A, now())
        assert used is not None
        if used is not connection:
            used.finish()  # a stream, which tells the pool
        else:
            pool.keep(connection, now())
    await asyncio.sleep(10.0 - now())
    assert pool.take(A, now()) is None
    assert (connection.is_closed, pool.open) == (True, 0)


async def test_connection_rests_before_it_is_used_again():
    """Until its time is over, and its Keep-Alive goes on meanwhile; what the server closes then is gone."""
    pool = make(Slots(None))
    first, second = await opened(pool, A), await opened(pool, A)
    for connection in (first, second):
        connection.keep_for, connection.rests_until = 4.0, 0.5
        pool.keep(connection, now())
    assert (pool.idle(A), pool.open) == (0, 2)
    second.close()
    await asyncio.sleep(0.4)
    assert pool.take(A, now()) is None
    await asyncio.sleep(0.2)
    assert (pool.idle(A), pool.open, first.is_closed) == (1, 1, False)
    await asyncio.sleep(3.3)
    assert not first.is_closed
    await asyncio.sleep(0.2)
    assert first.is_closed


async def test_call_that_waits_gets_a_connection_once_it_has_rested():
    """Not a new one, whose dial would take no less; and not sooner."""
    pool = make(Slots(1))
    connection = await opened(pool, A)
    task = await waiting(pool, A)
    connection.rests_until = 0.5
    pool.keep(connection, now())
    await asyncio.sleep(0.4)
    assert not task.done()
    assert await task is connection
    assert now() == 0.5


async def test_timers_of_the_pool_hold_nothing_of_a_call():
    """What closes a connection later runs in no caller's context, which would live as long."""
    seen = []

    class Noting(Connection):
        def close(self) -> None:
            seen.append(CALLER.get())
            super().close()

    CALLER.set("somebody")
    pool = make(Slots(None))
    for keep_for in (None, 4.0):
        connection = await opened(pool, A, Noting)
        connection.keep_for = keep_for
        pool.keep(connection, now())
    await asyncio.sleep(20)
    assert seen == ["nobody", "nobody"]


async def test_idle_connection_that_nobody_used_lately_goes_first():
    """The oldest one, whoever holds how many, and without a wait."""
    pool = make(Slots(4))
    await idle(pool, B)
    await asyncio.sleep(WARM_FOR)
    await idle(pool, C)
    for _ in range(2):
        await opened(pool, A)
    assert await pool.reserve(0.0, A) is None
    assert (pool.idle(B), pool.idle(C)) == (0, 1)
    with pytest.raises(BulkheadFull):
        await pool.reserve(0.0, A)
    assert pool.idle(C) == 1


async def test_origin_that_holds_the_most_gives_up_first():
    """Of those that were all used just now; to an origin that holds two fewer, and no sooner."""
    pool = make(Slots(6))
    await idle(pool, B, 2)
    await idle(pool, A, 4)
    for left in (3, 2):
        await opened(pool, C)
        assert (pool.idle(A), pool.idle(B)) == (left, 2)
    task = await waiting(pool, C, timeout=0.5)
    assert (pool.idle(A), pool.idle(B)) == (2, 2)
    await asyncio.gather(task, return_exceptions=True)
    assert isinstance(task.exception(), BulkheadFull)


async def test_origin_that_holds_none_gets_the_only_one():
    """Though it was used just now: nobody is to wait for ever."""
    pool = make(Slots(1))
    await idle(pool, A)
    await opened(pool, B)
    assert (pool.idle(A), pool.open) == (0, 1)


async def test_what_is_given_up_goes_to_whoever_is_next():
    """And not to the one that came last: the line knows whose turn it is."""
    pool = make(Slots(3))
    await idle(pool, B)
    for _ in range(2):
        await opened(pool, A)
    greedy = await waiting(pool, A)
    modest = await waiting(pool, C)
    assert (modest.done(), greedy.done(), pool.idle(B)) == (True, False, 0)
    greedy.cancel()
    await asyncio.gather(greedy, return_exceptions=True)
    pool.cancel(C)


async def test_own_connection_is_given_up_before_any_other():
    """One to an address that is to be avoided, for one to another address."""
    pool = make(Slots(2))
    await idle(pool, B)
    connection = await opened(pool, A)
    connection.address = Address("192.0.2.1")
    pool.keep(connection, now())
    assert pool.take(A, now(), [connection.address]) is None
    assert await pool.reserve(0.0, A) is None
    assert (pool.idle(A), pool.idle(B)) == (0, 1)
    pool.cancel(A)


async def test_cost_of_giving_up_is_bounded():
    """Of a thousand idle connections, as many are looked at as of twenty."""
    slots = Counted(1000)
    pool = make(slots)
    for number in range(998):
        await idle(pool, Origin("http", f"h{number}", 80))
    await opened(pool, A)
    await opened(pool, A)
    slots.asked = 0
    task = await waiting(pool, A, timeout=0.5)
    await asyncio.gather(task, return_exceptions=True)
    assert 0 < slots.asked <= LOOKED_AT


async def test_descriptor_is_spared_by_the_oldest():
    """One at a time, as long as there are any."""
    pool = make(Slots(None))
    await idle(pool, A)
    await asyncio.sleep(1)
    await idle(pool, B)
    assert pool.spare()
    assert (pool.idle(A), pool.idle(B)) == (0, 1)
    assert pool.spare()
    assert not pool.spare()
    assert pool.open == 0


async def test_slot_for_another_transport_brings_no_connection_of_ours():
    """Which goes to the next that can use it, or keeps its place; the slot is given back once."""
    slots = Slots(1)
    pool = make(slots)
    connection = await opened(pool, A)
    elsewhere = asyncio.create_task(pool.wait_for_slot(None, Elsewhere(A)))
    await asyncio.sleep(0)
    ours = await waiting(pool, A)
    pool.keep(connection, now())
    await elsewhere
    assert connection.is_closed
    assert not ours.done()
    pool.cancel(Elsewhere(A))
    assert await ours is None
    pool.cancel(A)
    assert (slots.in_use, slots._lines) == (0, {})


async def test_stream_is_of_a_connection_that_has_room_and_is_not_avoided():
    """Else there is none, and another is dialled."""
    pool = make(Slots(None))
    connection = await opened(pool, A, Multiplexed)
    connection.address, connection.max_streams = Address("192.0.2.1"), 2
    assert pool.take(A, now(), [connection.address]) is None
    assert pool.take(A, now(), [Address("192.0.2.2")]) is not None
    assert pool.take(A, now()) is not None
    assert pool.take(A, now()) is None
    assert connection.is_usable


async def test_stream_waits_for_nobody_elsewhere():
    """A call that waits for a slot for another origin holds up no stream of a connection that is open."""
    pool = make(Slots(2))
    first = (await opened(pool, B, Multiplexed)).channel()
    await opened(pool, A)
    task = await waiting(pool, A)
    second = pool.take(B, now())
    assert second is not None
    first.close()
    second.close()
    assert pool.idle(B) == 1
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_stream_waits_for_those_of_its_origin():
    """First in, first out, among the calls that wait for room on it."""
    pool = make(Slots(1))
    connection = await opened(pool, B, Multiplexed)
    connection.max_streams = 1
    first = connection.channel()
    task = await waiting(pool, B)
    connection.max_streams = 2
    assert pool.take(B, now()) is None
    first.close()
    given = await task
    assert given is not None
    assert pool.take(B, now()) is not None


async def test_streams_that_wait_get_room_whoever_is_next_for_a_slot():
    """An origin that waits for its first connection has no use for room on another's."""
    pool = make(Slots(1))
    connection = await opened(pool, B, Multiplexed)
    connection.max_streams = 2
    streams = [connection.channel() for _ in range(2)]
    tasks = [await waiting(pool, A), await waiting(pool, B)]
    streams[0].close()
    await asyncio.sleep(0)
    assert [task.done() for task in tasks] == [False, True]
    streams[1].close()
    (await tasks[1]).close()
    assert await tasks[0] is None
    assert connection.is_closed
    pool.cancel(A)


async def test_one_of_several_connections_drains_for_an_origin_that_holds_too_few():
    """It takes no new streams, so its slot is free with the last; the others go on."""
    pool = make(Slots(3))
    connections = [await opened(pool, B, Multiplexed) for _ in range(3)]
    streams = [connection.channel() for connection in connections]
    task = await waiting(pool, A)
    more = [pool.take(B, now()) for _ in range(4)]
    assert {stream.connection for stream in more} == {connections[1]}
    streams[0].close()
    assert await task is None
    assert [connection.is_closed for connection in connections] == [True, False, False]
    assert pool.take(B, now()).connection is connections[1]


async def test_connection_that_is_handed_over_is_not_idle_any_more():
    """It had no room for a stream, as its server said; then it has, and is in use for longer than idle ones last."""
    pool = make(Slots(1))
    connection = await opened(pool, B, Multiplexed)
    first = connection.channel()
    connection.max_streams = 0
    first.close()
    assert pool.idle(B) == 1
    task = await waiting(pool, B)
    connection.max_streams = 1
    connection.on_room(connection)
    stream = await task
    assert (stream.connection, pool.idle(B)) == (connection, 0)
    await asyncio.sleep(60)
    assert not connection.is_closed
    stream.close()
    assert pool.idle(B) == 1


async def test_load_of_an_address_is_what_is_in_use():
    """Idle connections aren't, nor closed ones, however they were closed; so the least loaded one is found."""
    pool, load = make(Slots(None)), Load(has_others=True)

    async def loaded() -> Connection:
        connection = Connection(A, memoryview(bytearray(1)))
        connection.load = load
        assert await pool.reserve(0.0, A) is None
        pool.add(connection)
        return connection

    first, second, third = [await loaded() for _ in range(3)]
    assert load.in_flight == 3
    for _ in range(3):
        pool.keep(first, now())
        assert load.in_flight == 2
        assert pool.take(A, now()) is first
        assert load.in_flight == 3
    pool.keep(first, now())
    second.close()
    assert load.in_flight == 1
    first.close()
    assert load.in_flight == 1
    pool.keep(third, now())
    await asyncio.sleep(20)
    assert (third.is_closed, load.in_flight) == (True, 0)


async def test_connections_to_an_address_that_is_left_out_end():
    """Those that are idle now, those in use once they are not; those to other addresses and of others stay."""
    pool = make(Slots(None))
    bad, good = Address("192.0.2.1"), Address("192.0.2.2")
    connections = [await opened(pool, origin) for origin in (A, A, A, A, B)]
    for connection, address in zip(connections, (bad, bad, good, good, bad), strict=True):
        connection.address = address
    for connection in connections[::2]:
        pool.keep(connection, now())
    shared = await opened(pool, A, Multiplexed)
    shared.address, stream = bad, shared.channel()
    pool.retire(A, bad)
    assert [each.is_closed for each in connections] == [True, False, False, False, False]
    assert not shared.is_usable
    for connection in connections[1:4:2]:
        pool.keep(connection, now())
    assert [each.is_closed for each in connections] == [True, True, False, False, False]
    assert not shared.is_closed
    stream.close()
    assert shared.is_closed
    assert (pool.idle(A), pool.idle(B), pool.open) == (2, 1, 3)


@pytest.mark.parametrize("kind", [Connection, Multiplexed])
async def test_pool_tells_of_each_connection_once(kind):
    """When it is open, and when it is closed, whoever closed it; until then it is counted for its origin."""
    told: list[tuple[object, ...]] = []
    pool = Pool(
        Slots(None),
        max_idle=None,
        expiry=1.0,
        now=asyncio.get_running_loop().time,
        on_opened=lambda *facts: told.append(("opened", *facts)),
        on_closed=lambda *facts: told.append(("closed", *facts)),
    )
    first, second = [await opened(pool, A, kind) for _ in range(2)]
    other = await opened(pool, B, kind)
    facts = (A, None, "HTTP/1.1" if kind is Connection else "HTTP/2")
    assert told == [("opened", *facts)] * 2 + [("opened", B, *facts[1:])]
    assert (open_by_origin(pool), pool.open) == ({A: 2, B: 1}, 3)
    told.clear()
    first.close()
    first.close()
    assert told == [("closed", *facts)]
    assert open_by_origin(pool) == {A: 1, B: 1}
    pool.keep(second, now())
    await asyncio.sleep(2.0)
    assert told == [("closed", *facts)] * 2
    other.connection_lost(None)
    pool.close()
    assert told[2:] == [("closed", B, *facts[1:])]
    assert open_by_origin(pool) == {}


async def test_pool_tells_of_a_connection_that_was_closed_before_it_was_added():
    """Both, in their order."""
    told: list[str] = []
    slots = Slots(None)
    pool = Pool(
        slots,
        max_idle=None,
        expiry=None,
        now=asyncio.get_running_loop().time,
        on_opened=lambda *_: told.append("opened"),
        on_closed=lambda *_: told.append("closed"),
    )
    connection = Connection(A, memoryview(bytearray(1)))
    connection.close()
    assert await pool.reserve(0.0, A) is None
    pool.add(connection)
    assert (told, pool.open, slots.in_use) == (["opened", "closed"], 0, 0)
