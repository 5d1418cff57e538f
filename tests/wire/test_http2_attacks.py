"""Frames that carry nothing, small ones, large ones: what a hostile HTTP/2 server can't do to us."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator

import hpack
import httpx
import pytest
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

import seawall
from seawall.wire.http2.connection import MAX_UNSENT, TURN, Multiplexed
from seawall.wire.http2.session import STREAM_WINDOW
from seawall.wire.known import Known
from seawall.wire.limits import MAX_HEADERS
from seawall.wire.message import Message
from seawall.wire.progress import Progress

from .peer import Peer

pytestmark = pytest.mark.anyio

ONCE = seawall.options(retry=None)
PING = PingFrame(0, opaque_data=b"12345678")


class Many(SettingsFrame):
    """With as many settings as there is room for, one and the same."""

    def serialize_body(self) -> bytes:
        return struct.pack("!HI", 4, 65535) * 2730


class Unknown(Frame):
    """Of a type that nobody knows."""

    type = 0xBE

    def __init__(self, size: int) -> None:
        super().__init__(1)
        self.size = size

    def serialize_body(self) -> bytes:
        return bytes(self.size)


FLOODS = {
    "PING": PING,
    "SETTINGS": SettingsFrame(0),
    "SETTINGS with thousands in one": Many(0),
    "DATA without any": DataFrame(1, b""),
    "padding alone": DataFrame(1, b"", pad_length=9, flags=["PADDED"]),
    "WINDOW_UPDATE of a stream": WindowUpdateFrame(1, window_increment=1),
    "WINDOW_UPDATE of the connection": WindowUpdateFrame(0, window_increment=1),
    "PRIORITY": PriorityFrame(1),
    "a small frame of an unknown type": Unknown(100),
    "a large frame of an unknown type": Unknown(16_000),
    "GOAWAY": GoAwayFrame(0, last_stream_id=2**31 - 1),
}


@pytest.fixture
async def client(stack) -> AsyncIterator[seawall.AsyncClient]:
    """Speaks HTTP/2 without TLS, and retries at once."""
    made = seawall.AsyncClient(http1=False, http2=True, retry=seawall.Retry(backoff=0), breaker=None, timeout=30)
    return await stack.enter_async_context(made)


def connection_of(client: seawall.AsyncClient) -> Multiplexed:
    """The only one."""
    (connection,) = client.engine.wire.pool.connections
    return connection


@pytest.mark.parametrize("what", FLOODS)
async def test_flood_beside_a_stream(client, by_hand, what):
    """After 2,000 frames that carry nothing the call fails, and the connection is closed."""
    is_cut_off = asyncio.get_running_loop().create_future()

    async def script(peer: Peer) -> None:
        peer.send(peer.head(await peer.request()))
        is_cut_off.set_result(await peer.is_cut_off(*[FLOODS[what]] * 100))

    with pytest.raises(seawall.errors.BadAnswer, match="carry nothing"):
        await client.get(await by_hand(script), extensions=ONCE)
    assert await is_cut_off
    assert client.stats().connections == 0


@pytest.mark.parametrize("what", [*FLOODS, "DATA after the end", "HEADERS after the end", "RST_STREAM after the end"])
async def test_flood_on_an_idle_connection(client, by_hand, what):
    """A connection without a stream is closed after 100 frames that carry nothing."""
    answered, is_cut_off = asyncio.Event(), asyncio.get_running_loop().create_future()

    async def script(peer: Peer) -> None:
        number = await peer.request()
        late = {
            "DATA after the end": DataFrame(number, b"x"),
            "HEADERS after the end": peer.head(number, is_end=True),
            "RST_STREAM after the end": RstStreamFrame(number, error_code=7),
        }
        peer.send(peer.head(number, is_end=True))
        await answered.wait()
        is_cut_off.set_result(await peer.is_cut_off(late.get(what) or FLOODS[what], at_most=110))

    await client.get(await by_hand(script))
    answered.set()
    assert await is_cut_off
    assert client.stats().connections == 0


async def test_flood_for_a_stream_that_has_ended(client, by_hand):
    """Beside one that is open: late frames are borne, but not for ever."""
    is_cut_off = asyncio.get_running_loop().create_future()

    async def script(peer: Peer) -> None:
        first = await peer.request()
        peer.send(peer.head(first, is_end=True))
        peer.send(peer.head(await peer.request()))
        is_cut_off.set_result(await peer.is_cut_off(*[RstStreamFrame(first, error_code=7)] * 100))

    url = await by_hand(script)
    await client.get(url)
    with pytest.raises(seawall.errors.BadAnswer, match="carry nothing"):
        await client.get(url, extensions=ONCE)
    assert await is_cut_off


async def test_idle_connection_may_say_a_little(client, by_hand):
    """PING to keep it alive, SETTINGS and windows are answered, and it is used again."""

    async def script(peer: Peer) -> None:
        while True:
            peer.send(peer.head(await peer.request(), is_end=True))
            for _ in range(10):
                peer.send(PING, SettingsFrame(0, settings={3: 100}), WindowUpdateFrame(0, window_increment=1000))
            await peer.is_answered()
            idle.set()

    url, idle = await by_hand(script), asyncio.Event()
    for _ in range(2):
        await client.get(url)
        await idle.wait()
        idle.clear()
    assert client.stats().connections == 1


@pytest.mark.parametrize("what", ["interim answers", "headers that don't end", "empty headers that don't end"])
async def test_headers_without_an_end(client, by_hand, what):
    """One stream's error, after a number of them."""
    ended = asyncio.Event()

    async def script(peer: Peer) -> None:
        number = await peer.request()
        early = HeadersFrame(number, hpack.Encoder().encode([(":status", "103")]), flags=["END_HEADERS"])
        peer.send(HeadersFrame(number, hpack.Encoder().encode([(":status", "200")]))) if "end" in what else None
        more = ContinuationFrame(number, b"\0\1a\1b" if what == "headers that don't end" else b"")
        await peer.is_cut_off(early if what == "interim answers" else more)
        ended.set()

    with pytest.raises(seawall.errors.BadAnswer):
        await client.get(await by_hand(script), extensions=ONCE)
    await ended.wait()
    assert client.stats().connections == 0


async def test_windows_that_an_upload_earns(client, by_hand):
    """A server that returns an upload's window by 512 bytes, of the stream and of the connection, is no flood."""
    returned = 0

    async def script(peer: Peer) -> None:
        nonlocal returned
        number = await peer.request()
        size = 0
        while size < 2_000_000:
            frame = await peer.frame()
            if isinstance(frame, DataFrame):
                size += len(frame.data)
                for _ in range(len(frame.data) // 512):
                    peer.send(*(WindowUpdateFrame(each, window_increment=512) for each in (0, number)))
                    returned += 2
                rest = len(frame.data) % 512
                if rest:
                    peer.send(*(WindowUpdateFrame(each, window_increment=rest) for each in (0, number)))
        peer.send(peer.head(number, is_end=True))

    assert (await client.post(await by_hand(script), content=b"x" * 2_000_000, extensions=ONCE)).status_code == 200
    assert returned > 5000


@pytest.mark.parametrize("size", [1, 16_000])
async def test_late_data_of_a_stream_that_was_reset(client, by_hand, size):
    """What its window allows may be on the way, and harms no neighbour; what goes on for ever ends the connection."""
    is_reset, is_cut_off = asyncio.Event(), asyncio.get_running_loop().create_future()

    async def script(peer: Peer) -> None:
        first, second = await peer.request(), await peer.request()
        peer.send(peer.head(first), peer.head(second), DataFrame(second, b"x"))
        while not isinstance(await peer.frame(), RstStreamFrame):
            pass
        for _ in range(min(3000, STREAM_WINDOW // size - 1)):
            peer.send(DataFrame(second, bytes(size)))
            await peer.writer.drain()
        await peer.is_answered()
        peer.send(DataFrame(first, b"neighbour", flags=["END_STREAM"]))
        await is_reset.wait()
        is_cut_off.set_result(await peer.is_cut_off(DataFrame(second, bytes(size))))

    url = await by_hand(script)
    neighbour = asyncio.create_task(client.get(url))
    await asyncio.sleep(0)
    async with client.stream("GET", url) as response:
        async for _ in response.aiter_raw():
            break
    assert (await neighbour).text == "neighbour"
    is_reset.set()
    assert await is_cut_off


async def test_body_in_tiny_parts(client, by_hand):
    """One byte a frame is slow, but no flood: it is paid for by the window."""

    async def script(peer: Peer) -> None:
        number = await peer.request()
        peer.send(peer.head(number), *[DataFrame(number, b"x")] * 5000, DataFrame(number, b"", flags=["END_STREAM"]))

    assert (await client.get(await by_hand(script), extensions=ONCE)).content == b"x" * 5000


async def test_body_in_tiny_parts_without_end(client, by_hand):
    """Two bytes a frame, as fast as they go, would keep the loop busy for as long as the window lasts."""
    is_cut_off = asyncio.get_running_loop().create_future()

    async def script(peer: Peer) -> None:
        number = await peer.request()
        peer.send(peer.head(number), *[DataFrame(number, b"ab")] * 20_000)
        is_cut_off.set_result(await peer.is_cut_off(DataFrame(number, b"ab")))

    with pytest.raises(seawall.errors.BadAnswer, match="next to nothing"):
        await client.get(await by_hand(script), extensions=ONCE)
    assert await is_cut_off


# Headers


def block(*fields: tuple[str, str]) -> bytes:
    return hpack.Encoder().encode([(":status", "200"), *fields])


def headers(number: int, data: bytes) -> list[Frame]:
    """A block of headers, in as many frames as it needs."""
    pieces = [data[at : at + 16_000] for at in range(0, len(data), 16_000)]
    frames = [HeadersFrame(number, pieces[0]), *(ContinuationFrame(number, piece) for piece in pieces[1:])]
    frames[-1].flags.add("END_HEADERS")
    return frames


TOO_LARGE = {
    "in all": block(*[("x", "y" * 4000)] * 70),
    "too many": block(*[("x", "y")] * (MAX_HEADERS + 1)),
}


@pytest.mark.parametrize("what", TOO_LARGE)
async def test_headers_too_large_are_their_streams_matter(client, by_hand, what):
    """A ResponseTooLarge, and the neighbour on the connection goes on."""

    async def script(peer: Peer) -> None:
        first, second = await peer.request(), await peer.request()
        peer.send(*headers(second, TOO_LARGE[what]), DataFrame(second, b"x", flags=["END_STREAM"]))
        peer.send(HeadersFrame(first, b"\x88", flags=["END_HEADERS"]), DataFrame(first, b"ok", flags=["END_STREAM"]))

    url = await by_hand(script)
    neighbour = asyncio.create_task(client.get(url, extensions=ONCE))
    await asyncio.sleep(0)
    with pytest.raises(seawall.errors.ResponseTooLarge):
        await client.get(url, extensions=ONCE)
    assert (await neighbour).text == "ok"


DECODED_TOO_MUCH = {
    "more bytes than are decoded": block() + (b"\0\1a\x7f\xe1\x5d" + b"x" * 12_128) * 25,
    "more fields than are decoded": block() + b"\0\1a\0" * 20_000,
    "size updates": b"\x20" * 20_000,
}


@pytest.mark.parametrize("what", DECODED_TOO_MUCH)
async def test_headers_too_large_to_be_decoded(client, by_hand, what):
    """They end the connection, since the next ones can't be decoded: one ResponseTooLarge, and one death."""

    async def script(peer: Peer) -> None:
        await peer.request()
        peer.send(*headers(await peer.request(), DECODED_TOO_MUCH[what]))

    url = await by_hand(script)
    calls = [asyncio.create_task(client.get(url, extensions=ONCE)) for _ in range(2)]
    neighbour, too_large = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(too_large, seawall.errors.ResponseTooLarge)
    assert isinstance(neighbour, seawall.errors.BadAnswer)
    assert neighbour.death is too_large.death is not None


@pytest.mark.parametrize("values", [1, 30])
async def test_headers_of_120_kb(client, by_hand, values):
    """In one value or in many, they are taken, as over HTTP/1.1."""

    async def script(peer: Peer) -> None:
        number = await peer.request()
        data = block(*[("x", "y" * (120_000 // values))] * values)
        peer.send(*headers(number, data), DataFrame(number, b"", flags=["END_STREAM"]))

    response = await client.get(await by_hand(script), extensions=ONCE)
    assert sum(len(value) for value in response.headers.get_list("x")) == 120_000


async def test_settings_behind_the_end_of_a_connection(by_hand):
    """
    They are read a turn after a PONG could not be sent, so the pool has given its slot to another origin's call.

    The response behind them is read to its end; its reader doesn't wait for its timeout.
    """
    has_begun = asyncio.Event()

    async def script(peer: Peer) -> None:
        number = await peer.request()
        peer.send(peer.head(number))
        await has_begun.wait()
        peer.send(PING, *[DataFrame(number, bytes(16))] * 250, SettingsFrame(0, settings={3: 50}))
        peer.send(DataFrame(number, b"end", flags=["END_STREAM"]))
        sock = peer.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.writer.transport.abort()

    async def other(peer: Peer) -> None:
        peer.send(peer.head(await peer.request(), is_end=True))
        await peer.request()

    url, others = await by_hand(script), [await by_hand(other) for _ in range(2)]
    limits = httpx.Limits(max_connections=1)
    async with seawall.AsyncClient(http1=False, http2=True, limits=limits, timeout=30) as client:
        async with client.stream("GET", url, extensions=ONCE) as response:
            calls = [asyncio.create_task(client.get(each)) for each in others]
            while client.stats().waiting < 2:
                await asyncio.sleep(0)
            has_begun.set()
            assert (await response.aread()).endswith(b"end")
        assert [(await call).status_code for call in calls] == [200, 200]


async def test_host_in_an_answer(client, by_hand):
    """No error, as in httpx: RFC 9113 section 8.2.2 doesn't name it."""

    async def script(peer: Peer) -> None:
        peer.send(peer.head(await peer.request(), ("host", "a.test"), is_end=True))

    assert (await client.get(await by_hand(script), extensions=ONCE)).headers["host"] == "a.test"


# The connection alone, and what comes in one piece


class AsyncTransport(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.is_paused = self.is_aborted = False

    def write(self, data: bytes) -> None:
        self.written += data

    def pause_reading(self) -> None:
        assert not self.is_paused
        self.is_paused = True

    def resume_reading(self) -> None:
        assert self.is_paused
        self.is_paused = False

    def abort(self) -> None:
        self.is_aborted = True


@pytest.fixture
async def connection() -> Multiplexed:
    """To a server that has sent its SETTINGS; `AsyncTransport` is below it."""
    made = Multiplexed(seawall.Origin("http", "a.test", 80), memoryview(bytearray(1024)), Known())
    made.connection_made(AsyncTransport())
    made.begin(can_fall_back=False)
    return made


async def begun(connection: Multiplexed) -> tuple[asyncio.Task, object]:
    """A stream, and the task that waits for its answer."""
    channel = connection.channel()
    headers = [(b"Host", b"host", b"a.test")]
    message = Message(connection.origin, b"GET", b"/", headers, b"", slices_of_nothing(), {"timeout": {"read": 30}})
    task = asyncio.create_task(channel.send(message, Progress(asyncio.get_running_loop().time, 0.0)))
    await asyncio.sleep(0)
    return task, channel


async def slices_of_nothing() -> AsyncIterator[bytes]:
    return
    yield b""


async def test_a_turn_of_the_loop_after_so_many_frames(connection):
    """Others run meanwhile, and nothing more is read from the server; nothing is lost, even if it ends there."""
    _, channel = await begun(connection)
    head = HeadersFrame(1, block(), flags=["END_HEADERS"]).serialize()
    frames = [DataFrame(1, b"%d" % (each % 10)).serialize() for each in range(3 * TURN)]
    connection.data_received(head + b"".join(frames))
    transport = connection._transport
    assert transport.is_paused
    assert sum(map(len, channel.response._parts)) == TURN - 1
    connection.eof_received()
    connection.data_received(DataFrame(1, b"end", flags=["END_STREAM"]).serialize())
    turns = 0
    while transport.is_paused:
        await asyncio.sleep(0)
        turns += 1
    assert 2 <= turns <= 5
    assert channel.response.is_complete
    assert b"".join(channel.response._parts) == b"".join(b"%d" % (each % 10) for each in range(3 * TURN)) + b"end"
    connection.close()


async def test_what_is_closed_here_is_not_read_on(connection):
    """Frames of the next turn count for nothing."""
    _, channel = await begun(connection)
    connection.data_received(
        HeadersFrame(1, block(), flags=["END_HEADERS"]).serialize() + DataFrame(1, b"x").serialize() * 2 * TURN
    )
    connection.close()
    await asyncio.sleep(0)
    assert sum(map(len, channel.response._parts)) == TURN - 1
    assert not channel.response.is_complete


async def test_server_that_reads_none_of_our_answers(connection):
    """However slowly it makes us answer, there is a bound on what waits to be sent."""
    connection.pause_writing()
    now, loop = 0.0, asyncio.get_running_loop()
    connection._loop = type("Later", (), {"time": lambda self: now, "call_soon": loop.call_soon})()
    connection.channel()
    transport = connection._transport
    begin = len(transport.written)
    while not transport.is_aborted:
        now += 1.0
        connection.data_received(PING.serialize() * 100)
        assert len(transport.written) - begin <= MAX_UNSENT + 100
    assert now > 30
    connection.resume_writing()


async def test_table_is_ours_to_size(connection):
    """Whatever the server allows, 4 KiB; a smaller one is heeded, and what is to be said of it doesn't pile up."""
    for size in [2**32 - 1, 0, 2**20] * 200:
        connection.dialogue.receive(4, 0, 0, SettingsFrame(0, settings={1: size}).serialize_body())
    encoder = connection.dialogue._encoder
    assert encoder.size == 4096
    assert len(encoder.changes) == 2
    decoder = hpack.Decoder()
    fields = [(b"x-%d" % number, b"y" * 100) for number in range(100)]
    for _ in range(3):
        assert decoder.decode(encoder.encode(fields), raw=True) == fields
    assert 3000 < encoder._table._current_size <= 4096
    assert decoder.header_table.maxsize == 4096


async def test_settings_that_nobody_knows(connection):
    """Are not kept, for there are 65,536 of them."""
    connection.channel()
    connection.data_received(SettingsFrame(0, settings={3: 8}).serialize())
    for code in range(100, 200):
        connection.data_received(SettingsFrame(0, settings={code: 1, 3: 7}).serialize())
    assert connection.max_streams == 7
    assert not connection.is_closed


async def test_small_parts_are_joined(connection):
    """A body that nobody reads takes little more memory than it has bytes."""
    task, channel = await begun(connection)
    connection.data_received(HeadersFrame(1, block(), flags=["END_HEADERS"]).serialize())
    await task
    for number in range(100_000):
        channel.got_data(b"%02d" % (number % 100), 2, is_end=False)
    assert len(channel.response._parts) <= 1024
    assert b"".join(channel.response._parts) == b"".join(b"%02d" % (number % 100) for number in range(100_000))
    connection.close()


# What ends a connection, and who reads


@pytest.mark.parametrize(
    ("end", "error"), [("reset", seawall.errors.ConnectionLost), ("close", seawall.errors.BadAnswer)]
)
@pytest.mark.parametrize("when", ["before the answer", "in its body"])
async def test_end_of_the_connection(client, by_hand, end, error, when):
    """A TCP reset is a ConnectionLost, as over HTTP/1.1; a clean end in the midst is a server that broke off."""

    async def script(peer: Peer) -> None:
        number = await peer.request()
        if when == "in its body":
            peer.send(peer.head(number), DataFrame(number, b"x"))
            await peer.is_answered()
        if end == "reset":
            linger = struct.pack("ii", 1, 0)
            peer.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        peer.writer.close()

    with pytest.raises(error):
        await client.get(await by_hand(script), extensions=ONCE)


@pytest.mark.parametrize("answers_ping", [True, False])
@pytest.mark.parametrize("when", ["before the answer", "in its body"])
async def test_retry_after_silence_goes_elsewhere(client, by_hand, answers_ping, when):
    """A ReadTimeout, and nothing heard on the connection: the next attempt dials, even if PINGs are still answered."""
    connections = 0

    async def script(peer: Peer) -> None:
        nonlocal connections
        connections += 1
        is_first = connections == 1
        number = await peer.request()
        if not is_first:
            peer.send(peer.head(number, is_end=True))
            return
        if when == "in its body":
            peer.send(peer.head(number), DataFrame(number, b"x"))
        while answers_ping:
            frame = await peer.frame()
            if isinstance(frame, PingFrame):
                peer.send(PingFrame(0, opaque_data=frame.opaque_data, flags=["ACK"]))
            elif isinstance(frame, HeadersFrame):
                returned.append(frame)

    returned: list[Frame] = []
    often = seawall.options(retry=seawall.Retry(max_attempts=20, backoff=0))  # the others may be too slow at times
    response = await client.get(await by_hand(script), timeout=httpx.Timeout(5.0, read=0.05), extensions=often)
    outcomes = [attempt.outcome for attempt in response.extensions["seawall"]]
    assert (outcomes[0], outcomes[-1]) == ("ReadTimeout", "200")
    assert connections >= 2
    assert not returned


@pytest.mark.parametrize("when", ["before the answer", "in its body", "in the request"])
async def test_stream_that_is_cancelled_in_silence(client, by_hand, monkeypatch, when):
    """Its connection has said something once, but nothing lately: it is asked by PING, and the next call dials."""
    monkeypatch.setattr("seawall.wire.http2.session.DOUBT_AFTER", 0)
    is_waiting = asyncio.Event()

    async def script(peer: Peer) -> None:
        number = await peer.request()
        if client.stats().connections > 1:
            peer.send(peer.head(number, is_end=True))
            return
        if when == "in its body":
            peer.send(peer.head(number), DataFrame(number, b"x"))
        await peer.is_answered()
        is_waiting.set()

    url, content = await by_hand(script), b"x" * 200_000 if when == "in the request" else None
    call = asyncio.create_task(client.request("PUT", url, content=content))
    await is_waiting.wait()
    call.cancel()
    await asyncio.wait([call])
    assert (await client.get(url, extensions=ONCE)).status_code == 200
    assert client.stats().connections == 2


async def test_response_closed_while_it_is_read(client, by_hand):
    """A reader that holds a part gets what had come of its own answer, then an error, whatever else was asked since."""

    async def script(peer: Peer) -> None:
        number = await peer.request()
        peer.send(peer.head(number), DataFrame(number, b"mine"))
        number = await peer.request()
        peer.send(peer.head(number), DataFrame(number, b"other", flags=["END_STREAM"]))

    url = await by_hand(script)
    async with client.stream("GET", url) as response:
        parts = response.aiter_raw()
        assert await anext(parts) == b"mine"
        await response.aclose()
        await response.aclose()
        assert (await client.get(url)).text == "other"
        with pytest.raises(seawall.errors.ConnectionLost, match="closed while it was read"):
            await anext(parts)
    assert client.stats().connections == 1


async def test_second_reader_of_one_response(connection):
    """Hears of it at once, and the first goes on."""
    task, channel = await begun(connection)
    connection.data_received(HeadersFrame(1, block(), flags=["END_HEADERS"]).serialize())
    await task
    first, second = (asyncio.ensure_future(anext(channel.body())) for _ in range(2))
    with pytest.raises(RuntimeError, match="two tasks"):
        await second
    connection.data_received(DataFrame(1, b"x").serialize())
    assert await first == b"x"
    connection.close()


async def test_stream_that_is_over_is_released_once(connection):
    """However often it is closed, and by whom: others have its place."""
    rooms = []
    connection.on_room = rooms.append
    (task, channel), (other, _) = await begun(connection), await begun(connection)
    connection.data_received(HeadersFrame(1, block(), flags=["END_HEADERS", "END_STREAM"]).serialize())
    await task
    for _ in range(3):
        channel.finish()
        channel.close()
    assert len(rooms) == 1
    assert connection.streams == 1
    other.cancel()
    await asyncio.wait([other])
    assert connection.streams == 0
    connection.close()
