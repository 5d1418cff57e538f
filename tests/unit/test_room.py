"""A body of HTTP/1.1 that is wanted whole is read to where it stays; on the virtual clock."""

from __future__ import annotations

import asyncio
import gc
import select
from collections.abc import AsyncIterator
from io import BytesIO

import pytest

from seawall.errors import BadAnswer, ConnectionLost, ReadTimeout
from seawall.testing.clock import VIRTUAL
from seawall.wire.http1.connection import HIGH_WATER, Connection
from seawall.wire.http1.framing import MIN_REST
from seawall.wire.http1.room import FIRST, WORTHWHILE, Room

from .noted import Dripping, Noted, now, turns
from .test_connection import CHUNKED, A, Exchange

pytestmark = pytest.mark.anyio

BODY = bytes(range(256)) * 2000  # 512 kB
HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n"


@pytest.fixture
def anyio_backend():
    return VIRTUAL


@pytest.fixture
def transport() -> Noted:
    return Noted()


@pytest.fixture
async def connection(transport) -> AsyncIterator[Connection]:
    connection = Connection(A, memoryview(bytearray(256 * 1024)))
    connection.connection_made(transport)
    yield connection
    connection.close()


def comes(connection: Connection, data: bytes) -> None:
    """As asyncio hands it over: what fits into the buffer, again and again."""
    while data:
        buffer = connection.get_buffer(-1)
        size = min(len(buffer), len(data))
        buffer[:size] = data[:size]
        del buffer
        connection.buffer_updated(size)
        data = data[size:]


async def begun(
    connection: Connection, data: bytes, *headers: tuple[bytes, bytes, bytes], **options: object
) -> Exchange:
    """An exchange whose response's head, and perhaps more, has come."""
    exchange = Exchange(connection, *headers, **options)  # type: ignore[arg-type]
    await turns()
    comes(connection, data)
    await exchange.head
    return exchange


async def all_of(connection: Connection) -> list[bytes]:
    return [part async for part in connection.body()]


def wanted_whole(connection: Connection) -> asyncio.Task[list[bytes]]:
    connection.gather(lambda size: None, None)
    return asyncio.ensure_future(all_of(connection))


@pytest.mark.parametrize("had", [0, 1, 100_000])
@pytest.mark.parametrize("step", [7_001, 100_000, 10**6])
async def test_body_is_one_part_in_its_own_room(connection, had, step):
    """Whatever came with the head; nothing of it passes through the buffer that connections share."""
    exchange = await begun(connection, HEAD % len(BODY) + BODY[:had])
    shared, sizes = connection.get_buffer(-1), []
    assert connection.gather(sizes.append, None)
    assert connection.get_buffer(-1).obj is not shared.obj
    reading = asyncio.ensure_future(all_of(connection))
    for start in range(had, len(BODY), step):
        await turns()
        assert not reading.done()
        comes(connection, BODY[start : start + step])
    assert await reading == [BODY]
    assert sum(sizes) == len(BODY)
    assert exchange.progress.bytes_in == len(HEAD % len(BODY)) + len(BODY)
    connection.finish()
    assert connection.is_usable
    assert connection.get_buffer(-1).obj is shared.obj


async def test_its_reader_is_woken_once(connection):
    """At the end, because each time would cost as much as all else of a piece."""
    await begun(connection, HEAD % len(BODY))
    reading = wanted_whole(connection)
    await turns()
    waiter = connection._waiter
    comes(connection, BODY[:-1])
    await turns()
    assert (connection._waiter, waiter.done()) == (waiter, False)
    comes(connection, BODY[-1:])
    assert await reading == [BODY]


async def test_each_piece_has_the_read_timeout(connection):
    await begun(connection, HEAD % len(BODY), read=2.0)
    reading = wanted_whole(connection)
    for number in range(5):
        await asyncio.sleep(1.9)
        comes(connection, BODY[number : number + 1])
    with pytest.raises(ReadTimeout, match="nothing came for 2 s"):
        await reading
    assert now() == 5 * 1.9 + 2.0


@pytest.mark.parametrize("reset", [None, ConnectionResetError("reset")])
async def test_body_that_is_cut(connection, reset):
    await begun(connection, HEAD % len(BODY))
    reading = wanted_whole(connection)
    await turns()
    comes(connection, BODY[:-1])
    connection.connection_lost(reset)
    with pytest.raises(BadAnswer if reset is None else ConnectionLost):
        await reading


async def test_body_that_another_task_closes(connection, transport):
    await begun(connection, HEAD % len(BODY))
    reading = wanted_whole(connection)
    await turns()
    comes(connection, BODY[:-1])
    connection.finish()
    assert transport.is_closing()
    with pytest.raises(ConnectionLost, match="closed while it was read"):
        await reading


async def test_what_comes_after_it_is_nobodys(connection):
    """The connection is not used again."""
    await begun(connection, HEAD % len(BODY))
    connection.gather(lambda size: None, None)
    comes(connection, BODY + b"x")
    assert await all_of(connection) == [BODY]
    connection.finish()
    assert not connection.is_usable


async def test_the_next_response_has_a_room_of_its_own(connection):
    for number in range(3):
        body = BODY[number:]
        await begun(connection, HEAD % len(body))
        assert connection.gather(lambda size: None, None)
        comes(connection, body)
        assert await all_of(connection) == [body]
        connection.finish()


async def test_reading_goes_on_where_it_was_paused(connection, transport):
    """Because more had come than anybody had taken."""
    body = bytes(3 * HIGH_WATER)
    await begun(connection, HEAD % len(body) + body[: HIGH_WATER + 1])
    assert not transport.is_reading
    connection.gather(lambda size: None, None)
    assert transport.is_reading
    comes(connection, body[HIGH_WATER + 1 :])
    assert await all_of(connection) == [body]
    assert transport.is_reading


@pytest.mark.parametrize(
    ("head", "max_size"),
    [
        (HEAD % (WORTHWHILE - 1), None),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", None),
        (b"HTTP/1.0 200 OK\r\n\r\n", None),
        (HEAD % 100_000, 99_999),
    ],
    ids=["small", "chunked", "until the end", "too large"],
)
async def test_parts_are_given_as_they_come(connection, head, max_size):
    await begun(connection, head)
    assert not connection.gather(lambda size: None, max_size)


async def test_body_that_came_whole_needs_no_room(connection):
    await begun(connection, HEAD % len(BODY) + BODY)
    assert not connection.gather(lambda size: None, None)
    assert connection.whole() == BODY


async def test_it_waits_for_the_upload(connection):
    """A response may be complete before its request is."""
    parts = Dripping()
    await begun(connection, HEAD % len(BODY), CHUNKED, method=b"PUT", content=None, body=parts)
    assert connection.gather(lambda size: None, None)
    reading = asyncio.ensure_future(all_of(connection))
    await turns()
    comes(connection, BODY)
    await turns()
    assert not reading.done()
    connection.upload.stop()
    parts.go_on.set()
    assert await reading == [BODY]


async def test_end_of_the_connection_right_behind_it(connection):
    """As servers close it that say so; the reader runs later."""
    await begun(connection, HEAD % len(BODY))
    connection.gather(lambda size: None, None)
    comes(connection, BODY)
    connection.eof_received()
    connection.connection_lost(None)
    assert await all_of(connection) == [BODY]


async def test_room_of_a_body_that_failed_is_given_up(connection):
    """Its error may be kept for long."""
    await begun(connection, HEAD % len(BODY))
    room = connection.gather(lambda size: None, None)
    comes(connection, BODY[:-1])
    head = connection._response
    assert head.room is room
    connection.close()
    assert (head.room, room.size) == (None, len(BODY) - 1)


@pytest.mark.parametrize("can_poll", [False, True])
async def test_bytes_behind_it_answer_nobody(connection, can_poll):
    """They are in the socket still; where no poll sees them, the connection rests until the loop has read them."""
    if not can_poll:
        connection._poll = None
    else:
        connection._poll = select.poll()
    await begun(connection, HEAD % len(BODY))
    connection.gather(lambda size: None, None)
    comes(connection, BODY)
    assert await all_of(connection) == [BODY]
    connection.finish()
    assert connection.rests_until == (0.0 if can_poll else MIN_REST)


def test_room_moves_where_its_last_place_is_held():
    """As asyncio's proactor loop does while it asks for the next one."""
    room = Room(b"", 3 * FIRST, lambda size: None)
    held = []
    for number in range(3):
        place = room.left()
        place[:] = bytes([number]) * len(place)
        held.append(place)
        room.size += len(place)
    assert room.take() == b"".join(bytes([number]) * FIRST for number in range(3))


def test_room_that_is_collected_is_silent(monkeypatch):
    """A body that failed may be in a cycle of its caller's."""
    complaints = []
    monkeypatch.setattr("sys.unraisablehook", complaints.append)
    room = Room(b"ab", 3 * FIRST, lambda size: None)
    room.left()
    room.came = [room].append
    del room
    gc.collect()
    assert complaints == []


def test_room_that_cannot_grow_is_still_one(monkeypatch):
    """The error ends the connection, which looks at the room once more."""

    class Full(BytesIO):
        def write(self, data) -> int:
            raise MemoryError

    monkeypatch.setattr("seawall.wire.http1.room.BytesIO", Full)
    room = Room(b"ab", 3 * FIRST, lambda size: None)
    for _ in range(2):
        with pytest.raises(MemoryError):
            room.left()
    assert room.take() == b"ab"


def test_room_grows_with_what_comes():
    """A server that says 10 GB gets 1 MiB at first, and never more than as much as it has sent."""
    room = Room(b"", 10**10, lambda size: None)
    rooms = []
    for _ in range(5):
        left = len(room.left())
        rooms.append(left)
        room.size += left
    assert rooms == [FIRST, FIRST, 2 * FIRST, 4 * FIRST, 8 * FIRST]


def test_room_is_as_large_as_the_body():
    room = Room(b"ab", FIRST + 5, lambda size: None)
    assert len(room.left()) == FIRST - 2
    room.left()[:] = bytes(FIRST - 2)
    room.size = FIRST
    assert len(room.left()) == 5
    room.left()[:] = b"vwxyz"
    room.size += 5
    assert room.take() == b"ab" + bytes(FIRST - 2) + b"vwxyz"
