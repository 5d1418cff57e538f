"""An HTTP/2 connection over a transport that only notes what it is told; h2 is the server, on the virtual clock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.settings
import pytest

from seawall.errors import (
    BadAnswer,
    ConnectionLost,
    InvalidRequest,
    ReadTimeout,
    ResponseTooLarge,
    StreamRefused,
    WriteTimeout,
)
from seawall.events import Phase
from seawall.origin import Origin
from seawall.testing.clock import VIRTUAL
from seawall.wire.http2 import session as http2
from seawall.wire.http2.compression import Encoder
from seawall.wire.http2.connection import TINY, TURN, Multiplexed
from seawall.wire.http2.sending import HELD_UP_FOR
from seawall.wire.http2.session import (
    DOUBT_AFTER,
    FULL_FOR,
    GATHERED,
    LAST_CHANCE,
    PING_AFTER,
    PONG_WITHIN,
    QUICK,
    SILENT_FOR,
    STREAM_WINDOW,
)
from seawall.wire.http2.stream import Stream
from seawall.wire.known import Known
from seawall.wire.limits import MAX_HEAD, MAX_INTERIM
from seawall.wire.message import CONTINUE_TIMEOUT, Message
from seawall.wire.progress import Progress
from seawall.wire.trace import Trace
from seawall.wire.upload import STOP_TIMEOUT

from .noted import Dripping, Noted, now, turns

pytestmark = pytest.mark.anyio

A = Origin("http", "a", 80)
OK = [(":status", "200")]
EXPECT = (b"Expect", b"expect", b"100-continue")
CHUNKED = (b"Transfer-Encoding", b"transfer-encoding", b"chunked")
REFUSED_STREAM = 0x7


@pytest.fixture
def anyio_backend():
    return VIRTUAL


class Repeatable(Progress):
    def can_be_repeated(self) -> bool:
        return True


class Peer:
    """AsyncClient and server of one connection; what either sends, the other gets in `turn`."""

    def __init__(self, window: int, known: Known | None = None, *, shared: int = 2**30) -> None:
        self.transport, self.known = Noted(), known or Known()
        self.client = Multiplexed(A, memoryview(bytearray(1)), self.known)
        self.server = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        self.seen: list[h2.events.Event] = []
        self.body = b""
        self.idle = self.room = 0
        self.client.connection_made(self.transport)
        self.client.on_idle = self._is_idle
        self.client.on_room = self._has_room
        self.client.begin(can_fall_back=False)
        self.server.local_settings = h2.settings.Settings(client=False, initial_values={4: window})
        self.server.initiate_connection()
        if shared:
            self.server.increment_flow_control_window(shared)

    def _is_idle(self, _: Multiplexed, now: float) -> None:
        self.idle += 1

    def _has_room(self, _: Multiplexed) -> None:
        self.room += 1

    async def turn(self) -> list[h2.events.Event]:
        """What the server saw."""
        await turns()
        sent, self.transport.written = self.transport.written, b""
        seen = self.server.receive_data(sent)
        self.seen += seen
        self.body += b"".join(event.data for event in seen if isinstance(event, h2.events.DataReceived))
        if (data := self.server.data_to_send()) and not self.client.is_closed:
            self.client.data_received(data)
        await turns()
        return seen

    async def answer(self, stream: int, fields=OK, *, is_end: bool = False) -> None:
        await self.turn()
        self.server.send_headers(stream, fields, end_stream=is_end)
        await self.turn()

    def request(
        self,
        *headers: tuple[bytes, bytes, bytes],
        method: bytes = b"GET",
        content: bytes | None = b"",
        body: AsyncIterator[bytes] | None = None,
        is_reused: bool = False,
        is_repeatable: bool = False,
        trace: Trace | None = None,
        **timeouts: float,
    ) -> tuple[Stream, asyncio.Task]:
        if content:
            headers = (*headers, (b"Content-Length", b"content-length", b"%d" % len(content)))
        message = Message(A, method, b"/", [(b"Host", b"host", b"a"), *headers], content, body, {"timeout": timeouts})  # type: ignore[arg-type]
        kind = Repeatable if is_repeatable else Progress
        channel, progress = self.client.channel(), kind(asyncio.get_running_loop().time, now())
        progress.is_reused = is_reused
        return channel, asyncio.create_task(channel.send(message, progress, trace))

    def saw(self, kind: type[h2.events.Event]) -> int:
        return sum(isinstance(event, kind) for event in self.seen)


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    peer = Peer(2**20)
    await peer.turn()
    peer.room = 0
    yield peer
    peer.client.close()


async def test_window_is_given_back_as_the_body_is_taken(peer):
    """A server whose answer nobody reads waits after 1 MiB; what is taken may be sent again, and not before."""
    channel, sent = peer.request()
    await peer.answer(1)
    await sent
    sent_size = 0
    while room := min(peer.server.local_flow_control_window(1), peer.server.max_outbound_frame_size):
        peer.server.send_data(1, b"x" * room)
        await peer.turn()
        sent_size += room
        assert sent_size <= STREAM_WINDOW
    body = channel.body()
    assert len(await anext(body)) == STREAM_WINDOW
    await peer.turn()
    assert peer.server.local_flow_control_window(1) == STREAM_WINDOW
    peer.server.send_data(1, b"end", end_stream=True)
    await peer.turn()
    assert [part async for part in body] == [b"end"]
    channel.finish()
    assert (peer.idle, peer.client.streams, peer.saw(h2.events.StreamReset)) == (1, 0, 0)


async def test_streams_that_are_left_give_their_bytes_back_to_the_connection(monkeypatch):
    """And are reset, because the server need not go on with them; else the connection's own window would be used up."""
    monkeypatch.setattr(http2, "CONNECTION_WINDOW", 2**17)
    peer = Peer(2**16)
    await peer.turn()
    for number in range(1, 41, 2):
        channel, sent = peer.request()
        await peer.answer(number)
        await sent
        peer.server.send_data(number, b"x" * 16384)
        await peer.turn()
        channel.finish()
        channel.finish()
        await peer.turn()
    assert (peer.saw(h2.events.StreamReset), peer.idle, peer.client.is_usable) == (20, 20, True)
    peer.client.close()


def more_than(size: int) -> bytes:
    """DATA of so many bytes and one more, as h2 wouldn't send it."""
    return (size + 1).to_bytes(3, "big") + b"\0\0\0\0\0\1" + b"x" * size + b"!"


@pytest.mark.parametrize(
    ("method", "status", "length"),
    [(b"HEAD", b"200", 0), (b"GET", b"204", 0), (b"GET", b"304", 0), (b"GET", b"200", 5)],
)
async def test_more_of_a_body_than_the_head_allows(peer, method, status, length):
    """The reader gets none of it and an error at once, though the server goes on; the connection stays in use."""
    channel, sent = peer.request(method=method)
    await peer.turn()
    block = b"\x08\3" + status + b"\x0f\x0d\0015"  # content-length: 5
    peer.client.data_received(len(block).to_bytes(3, "big") + b"\1\4\0\0\0\1" + block)
    assert (await sent).status == int(status)
    body = channel.body()
    peer.client.data_received(more_than(length))
    with pytest.raises(BadAnswer, match=f"more than the {length} bytes"):
        await anext(body)
    assert channel.response.owed == length + 1
    channel.close()
    await peer.turn()
    assert (peer.client.streams, peer.client.is_usable, peer.saw(h2.events.StreamReset)) == (0, True, 1)


@pytest.mark.parametrize("lengths", [[b"04"], [b"4", b"4"]], ids=str)
async def test_length_that_is_odd_but_right(peer, lengths):
    """Zeros before it, or the same twice (RFC 9110 section 8.6)."""
    channel, sent = peer.request()
    fields = [(b":status", b"200"), *((b"content-length", length) for length in lengths)]
    block = Encoder().encode(fields)
    await peer.turn()
    peer.client.data_received(len(block).to_bytes(3, "big") + b"\1\4\0\0\0\1" + block)
    peer.client.data_received(b"\0\0\4\0\1\0\0\0\1body")
    await sent
    assert channel.whole() == b"body"


async def test_100_continue_is_not_waited_for_without_end(peer):
    """A server that says nothing gets the body after a second, to the instant; one that does, at once."""
    _, sent = peer.request(EXPECT, method=b"POST", content=b"body")
    await peer.turn()
    await asyncio.sleep(CONTINUE_TIMEOUT - 0.001)
    await peer.turn()
    assert peer.body == b""
    await asyncio.sleep(0.002)
    await peer.turn()
    assert peer.body == b"body"
    await peer.answer(1, is_end=True)
    assert (await sent).status == 200
    began_at = now()
    _, sent = peer.request(EXPECT, method=b"POST", content=b"soon")
    await peer.turn()
    peer.server.send_headers(3, [(":status", "100")])
    await peer.turn()
    await peer.turn()
    assert (peer.body, now()) == (b"bodysoon", began_at)
    sent.cancel()


async def test_100_continue_is_waited_for_a_second_though_something_comes(peer):
    """Windows of other streams, for example, put the body off no further."""
    _, sent = peer.request(EXPECT, method=b"POST", content=b"body")
    await peer.turn()
    for _ in range(2):
        await asyncio.sleep(0.6)
        peer.server.increment_flow_control_window(10)
        await peer.turn()
    await peer.turn()
    assert peer.body == b"body"
    sent.cancel()


async def test_connect_is_not_sent_over_http2(peer):
    """Its stream would be a tunnel, which is not made here; the caller hears of it before anything is sent."""
    _, sent = peer.request(method=b"CONNECT")
    with pytest.raises(InvalidRequest, match=r"CONNECT needs HTTP/1\.1"):
        await sent
    await peer.turn()
    assert peer.saw(h2.events.RequestReceived) == 0
    assert (peer.client.streams, peer.client.is_usable) == (0, True)


async def test_connection_whose_stream_numbers_are_used_up(peer):
    """The request is sent again on another connection, and this one takes no more."""
    peer.client.dialogue.last = 2**31 - 1
    channel, sent = peer.request(is_reused=True)
    with pytest.raises(StreamRefused, match="used up") as caught:
        await sent
    assert (caught.value.is_stale, channel.is_usable, peer.client.is_closed) == (True, False, True)


async def test_error_of_the_body_sent_is_raised_by_the_read(peer):
    """Though the answer is complete: a caller whose iterator fails is told, and not that all is well."""
    more = asyncio.Event()

    async def parts() -> AsyncIterator[bytes]:
        yield b"first"
        await more.wait()
        raise ZeroDivisionError

    chunked = (b"Transfer-Encoding", b"transfer-encoding", b"chunked")
    channel, sent = peer.request(chunked, method=b"POST", content=None, body=parts())
    await peer.answer(1, is_end=True)
    assert (await sent).status == 200
    assert channel.whole() is None
    reader = asyncio.ensure_future(anext(channel.body()))
    await turns()
    assert not reader.done()
    more.set()
    with pytest.raises(ZeroDivisionError):
        await reader
    channel.finish()
    await peer.turn()
    assert peer.saw(h2.events.StreamReset) == 1


async def test_socket_that_takes_no_more_holds_up_an_upload(peer):
    """Nothing is written until it takes more; then the rest is, or after the write timeout nothing is."""
    peer.client.pause_writing()
    channel, sent = peer.request(method=b"PUT", content=b"x" * 100, write=2.0)
    await asyncio.sleep(1.9)
    await peer.turn()
    assert peer.body == b""
    before = peer.transport.written
    peer.client.resume_writing()
    assert peer.transport.written == before  # a write that failed there would end asyncio's transport twice
    await peer.turn()
    assert peer.body == b"x" * 100
    await peer.answer(1, is_end=True)
    await sent
    channel.finish()
    began_at = now()
    peer.client.pause_writing()
    _, sent = peer.request(method=b"PUT", content=b"x" * 100, write=2.0, is_reused=True)
    with pytest.raises(WriteTimeout, match="nothing was taken for 2 s") as caught:
        await sent
    assert (now() - began_at, caught.value.is_stale, peer.client.is_closed) == (2.0, False, False)


async def test_window_of_the_server_holds_up_an_upload():
    """Each part that it takes has the write timeout for itself."""
    peer = Peer(10)
    await peer.turn()
    channel, sent = peer.request(method=b"PUT", content=b"x" * 25, write=2.0)
    for taken in (10, 20, 25):
        await peer.turn()
        assert len(peer.body) == taken
        await asyncio.sleep(1.9)
        peer.server.increment_flow_control_window(10, 1)
        await peer.turn()
    assert peer.saw(h2.events.StreamEnded) == 1
    await peer.answer(1, is_end=True)
    assert (await sent).status == 200
    assert channel.whole() == b""
    peer.client.close()


USED_UP = 65_536  # B: the first window of a connection, which SETTINGS don't change, and one more
FRAME = 16_384  # B


@pytest.fixture
async def narrow() -> AsyncIterator[Peer]:
    """The connection's window is small, those of its streams aren't; a large body has used it up."""
    peer = Peer(2**20, shared=0)
    await peer.turn()
    _, large = peer.request(method=b"PUT", content=b"x" * 2**20)
    await widen(peer, 1)  # so that it waits at the begin of a part
    assert len(peer.body) == USED_UP
    yield peer
    large.cancel()
    await asyncio.wait([large])
    peer.client.close()


def of_stream(peer: Peer, number: int) -> int:
    """B of its body that the server has."""
    seen = [event for event in peer.seen if isinstance(event, h2.events.DataReceived)]
    return sum(len(event.data) for event in seen if event.stream_id == number)


async def widen(peer: Peer, size: int) -> None:
    """The server takes so many B more, and sees what it gets for that."""
    peer.server.increment_flow_control_window(size)
    await peer.turn()
    await peer.turn()


async def test_small_bodies_have_their_turn_beside_a_large_one(narrow):
    """One that has been in line for longer is first, with one frame, and then those behind it."""
    others = [narrow.request(method=b"POST", content=b"0123456789")[1] for _ in range(3)]
    await narrow.turn()
    await widen(narrow, FRAME)
    assert [of_stream(narrow, number) for number in (1, 3, 5, 7)] == [USED_UP + FRAME, 0, 0, 0]
    await widen(narrow, 25)
    assert [of_stream(narrow, number) for number in (3, 5, 7)] == [10, 10, 5]
    await widen(narrow, 100)  # for the large one again, because the last had a part of its turn
    assert of_stream(narrow, 1) == USED_UP + FRAME + 100
    await widen(narrow, 100)
    assert narrow.saw(h2.events.StreamEnded) == 3
    assert of_stream(narrow, 1) == USED_UP + FRAME + 195
    for other in others:
        other.cancel()


async def test_large_bodies_share_what_is_wide_enough_for_either():
    """None goes on until the window is used up because it was woken first, or sees it first."""
    peer = Peer(2**20, shared=0)
    await peer.turn()
    uploads = [peer.request(method=b"PUT", content=b"x" * 2**20)[1] for _ in range(2)]
    await widen(peer, 1)
    assert of_stream(peer, 1) + of_stream(peer, 3) == USED_UP
    peer.seen.clear()
    for times in range(1, 4):
        peer.server.increment_flow_control_window(2**18)
        for _ in range(5):
            await peer.turn()
        first, second = of_stream(peer, 1), of_stream(peer, 3)
        assert abs(first - second) <= 2 * FRAME
        assert first + second == times * 2**18
    for upload in uploads:
        upload.cancel()
    await asyncio.wait(uploads)
    peer.client.close()


async def test_socket_that_takes_little_is_shared_in_turns(peer):
    """As the window is: each time that it takes more, another body has a frame of it."""
    uploads = [peer.request(method=b"PUT", content=b"x" * 2**20)[1] for _ in range(3)]
    write = peer.transport.write

    def fills(data: bytes) -> None:
        write(data)
        peer.client.pause_writing()

    peer.transport.write = fills
    await peer.turn()
    for _ in range(12):
        peer.client.resume_writing()
        await peer.turn()
    sizes = [of_stream(peer, number) for number in (1, 3, 5)]
    assert max(sizes) - min(sizes) <= FRAME
    assert min(sizes) >= 3 * FRAME
    for upload in uploads:
        upload.cancel()
    await asyncio.wait(uploads)


async def test_body_that_is_wanted_no_more_leaves_the_line(narrow):
    """Cancelled, answered or reset: the next has what it would have had."""
    left, sent = narrow.request(method=b"PUT", content=b"x" * FRAME)
    _, answered = narrow.request(method=b"PUT", content=b"x" * FRAME)
    _, other = narrow.request(method=b"PUT", content=b"x" * FRAME)
    await widen(narrow, FRAME)  # for the large one, which then stands behind them
    sent.cancel()
    await narrow.answer(5, [(":status", "413")])
    await widen(narrow, FRAME)
    assert [of_stream(narrow, number) for number in (3, 5, 7)] == [0, 0, FRAME]
    assert left.is_closed
    assert (await answered).status == 413
    assert narrow.saw(h2.events.StreamEnded) == 1
    other.cancel()


async def test_body_that_has_its_turn_as_its_time_is_over_goes_on(narrow):
    """A server that has taken bytes meanwhile isn't one that takes nothing."""
    await widen(narrow, FRAME)
    _, sent = narrow.request(method=b"POST", content=b"x" * 20, write=2.0)
    await narrow.turn()
    loop = asyncio.get_running_loop()

    def widens() -> None:
        narrow.server.increment_flow_control_window(FRAME + 10)
        narrow.client.data_received(narrow.server.data_to_send())

    loop.call_at(now() + 2.0, widens)
    await asyncio.sleep(3.0)
    await narrow.turn()
    assert (of_stream(narrow, 3), sent.done()) == (10, False)
    with pytest.raises(WriteTimeout):
        await sent


@pytest.mark.parametrize("lacks", ["connection's window", "its own window", "socket", "its turn"])
async def test_connection_whose_window_is_lost_takes_no_more_streams(lacks):
    """Else each retry would wait there in vain; what a stream itself lacks says nothing of the connection."""
    own = 5 if lacks == "its own window" else 2**20
    peer = Peer(own, shared=2**20 if lacks in ("its own window", "socket") else 0)
    await peer.turn()
    reader, asked = peer.request()
    await peer.answer(1)
    await asked
    larges = [peer.request(method=b"PUT", content=b"x" * 2**19)[1] for _ in range(2)]
    await peer.turn()
    if lacks == "socket":
        peer.client.pause_writing()
    _, sent = peer.request(method=b"POST", content=b"0123456789", write=2.0)
    for at in range(21):  # and PINGs are answered meanwhile
        await peer.turn()
        if lacks == "its turn" and at == 10:
            await widen(peer, FRAME)
        await asyncio.sleep(0.1)
    with pytest.raises(WriteTimeout, match="nothing was taken for 2 s"):
        await sent
    assert peer.client.is_usable == (lacks != "connection's window")
    assert not peer.client.is_closed  # those in flight go on
    if lacks == "its turn":
        await widen(peer, 1)
    for large in larges:
        large.cancel()
    await asyncio.wait(larges)
    reader.finish()
    assert peer.client.is_closed == (lacks == "connection's window")
    peer.client.close()


@pytest.mark.parametrize(
    ("waits", "is_widened"), [(HELD_UP_FOR, False), (0.9 * HELD_UP_FOR, False), (HELD_UP_FOR, True)]
)
async def test_caller_that_no_longer_waits_for_a_window_that_is_lost(narrow, waits, is_widened):
    """A deadline may be shorter than the write timeout, and would else end call after call on this connection."""
    _, sent = narrow.request(method=b"POST", content=b"0123456789")
    await narrow.turn()
    await asyncio.sleep(waits / 2)
    await narrow.turn()
    if is_widened:
        await widen(narrow, FRAME)
    await asyncio.sleep(waits / 2)
    await narrow.turn()
    sent.cancel()
    await asyncio.wait([sent])
    assert narrow.client.is_usable == (is_widened or waits < HELD_UP_FOR)


async def test_silent_connection_is_asked_whether_anybody_is_there(peer):
    """By a PING, where a call that was cancelled heard nothing for a while; no stream is begun until it is answered."""
    for wait, is_asked in ((DOUBT_AFTER, False), (DOUBT_AFTER + 0.001, True)):
        _, sent = peer.request()
        await peer.turn()
        await asyncio.sleep(wait)
        sent.cancel()
        await asyncio.wait([sent])
        assert peer.client.has_room != is_asked
        seen = await peer.turn()
        assert any(isinstance(event, h2.events.PingReceived) for event in seen) == is_asked
    await peer.turn()
    assert peer.client.has_room
    await asyncio.sleep(5 * PONG_WITHIN)
    assert peer.client.is_usable


async def test_connection_that_answers_no_ping_takes_no_more_streams(peer):
    """1 s later it is closed, or left to those that are on it."""
    _, first = peer.request()
    _, second = peer.request()
    await turns()
    await asyncio.sleep(0.2)
    first.cancel()
    await asyncio.wait([first])
    await asyncio.sleep(PONG_WITHIN - 0.01)
    assert peer.client.is_usable
    await asyncio.sleep(0.02)
    assert (peer.client.is_usable, peer.client.is_closed) == (False, False)
    second.cancel()
    await asyncio.wait([second])
    assert peer.client.is_closed


async def pings(peer: Peer, seconds: float, *, answers: bool = True) -> list[float]:
    """When the server was asked in so many *seconds*."""
    asked = []
    for _ in range(round(seconds * 20)):
        await turns()
        if peer.transport.written:
            if any(
                isinstance(event, h2.events.PingReceived) for event in peer.server.receive_data(peer.transport.written)
            ):
                asked.append(round(now(), 6))
            peer.transport.written = b""
        if answers and (data := peer.server.data_to_send()):
            peer.client.data_received(data)
        await asyncio.sleep(0.05)
    return asked


async def test_server_that_says_nothing_while_streams_wait_is_asked(peer):
    """After 0.5 s, then ever more rarely, because some servers count PINGs; anew once a part of a response has come."""
    stream, sent = peer.request()
    assert await pings(peer, 20.0) == [0.5, 1.5, 3.5, 7.5, 15.5]
    await peer.answer(1)
    await sent
    reading = asyncio.create_task(anext(aiter(stream.body())))
    assert await pings(peer, 2.0) == [20.5, 21.5]
    reading.cancel()
    await asyncio.wait([reading])
    stream.close()
    assert await pings(peer, 60.0) == [22.0]  # by the call that was given up; nobody waits afterwards
    _, sent = peer.request()
    began_at = now()
    assert await pings(peer, 1.0) == pytest.approx([began_at + PING_AFTER])
    sent.cancel()


async def test_silence_is_counted_from_the_first_request_that_waits(peer):
    """However many come after it, as on a connection that was cut silently; the new ones go elsewhere at once."""
    _, first = peer.request()
    await peer.answer(1, is_end=True)
    await first
    await asyncio.sleep(10.0)
    began_at = now()
    sent = []
    for _ in range(9):
        sent.append(peer.request()[1])
        await turns()
        await asyncio.sleep(0.06)
    assert now() > began_at + PING_AFTER
    assert not peer.client.has_room
    for each in sent:
        each.cancel()


async def test_server_that_answers_no_ping_is_left():
    """Once another connection hears of it, what can be repeated breaks off; the rest waits on."""
    peer = Peer(2**16)
    _, lost = peer.request(is_repeatable=True)
    kept_stream, kept = peer.request(method=b"POST", content=b"x")
    taken = peer.client.channel()  # but not used yet
    await asyncio.sleep(PING_AFTER + PONG_WITHIN + 1.0)
    assert (peer.client.is_usable, peer.client.is_closed, lost.done()) == (False, False, False)
    other = Peer(2**16, peer.known)
    await other.turn()
    with pytest.raises(ConnectionLost, match=r"stream 1: the server has said nothing for 2\.75 s here, and answers"):
        await lost
    assert now() == PING_AFTER + PONG_WITHIN + 1.0 + LAST_CHANCE
    assert (peer.client.is_closed, kept.done()) == (False, False)
    taken.close()
    other.client.close()
    await peer.turn()
    await peer.answer(3, is_end=True)
    assert (await kept).status == 200
    kept_stream.finish()
    assert peer.client.is_closed
    assert not peer.known.silent


async def test_server_that_was_frozen_answers_all():
    """It goes on on all its connections at once, and a new one may be heard first."""
    peer = Peer(2**16)
    stream, sent = peer.request(is_repeatable=True)
    await asyncio.sleep(PING_AFTER + PONG_WITHIN + 0.1)
    other = Peer(2**16, peer.known)
    await other.turn()
    await peer.answer(1, is_end=True)
    await asyncio.sleep(2 * LAST_CHANCE)
    assert (await sent).status == 200
    stream.finish()
    assert (peer.client.is_closed, peer.known.silent) == (True, {})
    other.client.close()


async def test_slow_link_that_takes_what_was_written_is_no_silence(monkeypatch):
    """The PING waits behind an upload, so the second for its answer begins anew as long as less of that is left."""
    peer = Peer(2**16)
    left = [3000, 2000, 1000, 1000]
    monkeypatch.setattr(http2, "backlog", lambda transport: left.pop(0))
    _, sent = peer.request(is_repeatable=True)
    await asyncio.sleep(PING_AFTER + 3 * PONG_WITHIN - 0.01)
    assert peer.client.is_usable
    await asyncio.sleep(0.02)
    assert (peer.client.is_usable, left) == (False, [])
    sent.cancel()


async def test_calls_that_queued_meanwhile_are_served_after_the_pong(peer):
    """A connection without room for the time of a PING says that it has room again."""
    _, sent = peer.request()
    await peer.turn()
    await asyncio.sleep(PING_AFTER + 0.01)
    assert (peer.client.has_room, peer.room) == (False, 0)
    await peer.turn()
    assert (peer.client.has_room, peer.room) == (True, 1)
    sent.cancel()


@pytest.mark.parametrize("has_progress", [False, True])
async def test_stream_that_was_silent_for_its_read_timeout(peer, has_progress):
    """Its connection has no room for a second, so that a retry goes elsewhere; unless another's answer came in.

    A PING is none.
    """
    other, others = peer.request()
    await peer.answer(1)
    await others
    await asyncio.sleep(1.0)
    _, sent = peer.request(is_reused=True, read=2.0)
    await peer.turn()
    await asyncio.sleep(1.0)
    if has_progress:
        peer.server.send_data(1, b"x" * 100)
    else:
        peer.server.ping(b"are you?")
    await peer.turn()
    with pytest.raises(ReadTimeout, match="nothing came for 2 s") as caught:
        await sent
    assert (now(), caught.value.is_stale) == (3.0, False)
    await peer.turn()
    await peer.turn()
    assert peer.client.has_room == has_progress
    await asyncio.sleep(SILENT_FOR)
    assert peer.client.has_room
    assert other.is_closed is False


async def test_refused_stream_says_that_the_connection_is_full_for_a_moment(peer):
    """Nothing was done of it; others dial anew for 0.1 s."""
    _, sent = peer.request(method=b"POST", content=b"order")
    await peer.turn()
    peer.server.reset_stream(1, REFUSED_STREAM)
    await peer.turn()
    with pytest.raises(StreamRefused) as caught:
        await sent
    assert caught.value.is_stale is False
    assert (peer.client.has_room, peer.client.is_usable) == (False, True)
    peer.room = 0
    await asyncio.sleep(FULL_FOR)
    assert (peer.client.has_room, peer.room) == (True, 1)


async def test_surplus_of_what_the_server_says_meanwhile_is_sent_again_at_once(peer):
    """Two streams, of which it allows one by the time that it sees them."""
    sent = [peer.request()[1] for _ in range(2)]
    await turns()
    peer.client.max_streams = 1
    await peer.turn()
    peer.server.reset_stream(3, REFUSED_STREAM)
    await peer.turn()
    with pytest.raises(StreamRefused) as caught:
        await sent[1]
    assert caught.value.is_stale
    sent[0].cancel()


async def test_streams_beyond_the_goaway_are_sent_again(peer):
    """Those up to its number are answered, and then the connection ends."""
    sent = [peer.request()[1] for _ in range(2)]
    await peer.turn()
    peer.client.data_received(b"\0\0\x08\x07\0\0\0\0\0" + (1).to_bytes(4, "big") + bytes(4))
    with pytest.raises(StreamRefused, match="GOAWAY") as caught:
        await sent[1]
    assert (caught.value.is_stale, peer.client.is_usable, peer.client.is_closed) == (True, False, False)
    await peer.answer(1, is_end=True)
    assert (await sent[0]).status == 200


@pytest.mark.parametrize("is_one", [False, True])
@pytest.mark.parametrize("kind", ["HEADERS", "PUSH_PROMISE"])
async def test_what_comes_behind_a_refusal(peer, is_one, kind):
    """The refusal counts, however the bytes arrive: not a response that contradicts it, nor the connection's end."""
    _, sent = peer.request(method=b"POST", content=b"order")
    await peer.turn()
    refusal, more = frame_of("GOAWAY", 0), frame_of(kind, 1)
    for data in [refusal + more] if is_one else [refusal, more]:
        peer.client.data_received(data)
        await turns()
    with pytest.raises(StreamRefused, match="GOAWAY") as caught:
        await sent
    assert caught.value.is_stale


@pytest.mark.parametrize("more", [0, 1])
async def test_headers_up_to_the_limit_are_taken(peer, more):
    """256 KiB in all, interim responses included; a byte more is an error of that stream."""
    _, sent = peer.request()
    await peer.turn()
    fields = [(":status", "103"), ("a", "x" * 1000)]
    size = 2 * (len(":status") + 3 + 4) + len("a") + 1000 + 4
    left = MAX_HEAD - size
    last = [(f"b{number:03}", "y" * 8000) for number in range(30)]
    left -= sum(len(name) + len(value) + 4 for name, value in last)
    last.append(("c", "z" * (left - 5 + more)))
    peer.server.send_headers(1, fields)
    await peer.turn()
    peer.server.send_headers(1, [*OK, *last], end_stream=True)
    await peer.turn()
    if more:
        with pytest.raises(ResponseTooLarge):
            await sent
    else:
        assert (await sent).status == 200
    assert peer.client.is_usable


@pytest.mark.parametrize("count", [MAX_INTERIM, MAX_INTERIM + 1])
async def test_interim_answers_are_bounded(peer, count):
    """A hundred are passed over."""
    _, sent = peer.request()
    await peer.turn()
    for _ in range(count):
        peer.server.send_headers(1, [(":status", "103")])
    peer.server.send_headers(1, OK, end_stream=True)
    await peer.turn()
    if count > MAX_INTERIM:
        with pytest.raises(BadAnswer, match="interim"):
            await sent
    else:
        assert (await sent).status == 200


@pytest.mark.parametrize("is_reused", [False, True])
@pytest.mark.parametrize("has_begun", [False, True])
async def test_end_of_the_connection(peer, is_reused, has_begun):
    """It says that a reused one was stale, unless the answer had begun; each stream dies the same death."""
    channels = [peer.request(is_reused=is_reused) for _ in range(2)]
    await peer.turn()
    if has_begun:
        for number in (1, 3):
            peer.server.send_headers(number, [(":status", "103")])
        await peer.turn()
    peer.client.connection_lost(ConnectionResetError("reset"))
    errors = []
    for _, sent in channels:
        with pytest.raises(ConnectionLost) as caught:
            await sent
        errors.append(caught.value)
    assert [error.is_stale for error in errors] == [is_reused and not has_begun] * 2
    assert errors[0].death is errors[1].death is peer.client.death


async def test_last_stream_leaves_an_idle_connection_and_others_leave_room(peer):
    """Each is told once."""
    pairs = [peer.request() for _ in range(2)]
    for number in (1, 3):
        await peer.answer(number, is_end=True)
    for (channel, sent), told in zip(pairs, ((1, 0), (1, 1)), strict=True):
        await sent
        channel.finish()
        assert (peer.room, peer.idle) == told
    peer.client.retire()
    assert peer.client.is_closed


async def test_phases_are_reached_in_order(peer):
    """What an attempt's history says of it."""
    channel, sent = peer.request(method=b"PUT", content=b"x")
    await peer.turn()
    assert channel.progress.phase == Phase.SENT
    await peer.answer(1)
    await sent
    assert channel.progress.phase == Phase.HEADERS
    peer.server.send_data(1, b"x", end_stream=True)
    await peer.turn()
    assert [part async for part in channel.body()] == [b"x"]
    assert [phase for phase, _ in channel.progress.each()] == [Phase.SENDING, Phase.SENT, Phase.HEADERS, Phase.BODY]


async def test_server_is_told_why_the_connection_ends(peer):
    """By a GOAWAY, where a frame can't be; all streams fail, and no timer is left."""
    _, sent = peer.request()
    _, silent = peer.request()
    await peer.turn()
    await asyncio.sleep(1.0)
    silent.cancel()
    await asyncio.wait([silent])
    peer.client.data_received(b"\0\0\0\x08" + bytes(5))  # WINDOW_UPDATE without a number
    with pytest.raises(BadAnswer):
        await sent
    assert (peer.client.is_closed, peer.client._probe) == (True, None)
    seen = peer.server.receive_data(peer.transport.written)
    assert any(isinstance(event, h2.events.ConnectionTerminated) for event in seen)


async def test_closing_ends_all_streams(peer):
    """Those that wait hear of it, whoever closes."""
    _, sent = peer.request()
    await peer.turn()
    peer.client.close()
    with pytest.raises(ConnectionLost, match="closed on this side"):
        await sent


async def test_what_came_before_the_end_counts(peer):
    """An answer, and behind it more frames than one turn takes, and the end of the connection."""
    channel, sent = peer.request()
    await peer.turn()
    peer.server.send_headers(1, OK)
    for _ in range(3 * TURN):
        peer.server.send_data(1, b"x" * TINY)
    peer.server.end_stream(1)
    peer.client.data_received(peer.server.data_to_send())
    assert not peer.transport.is_reading
    peer.client.eof_received()
    peer.client.connection_lost(None)
    assert (await sent).status == 200
    assert b"".join([part async for part in channel.body()]) == b"x" * TINY * 3 * TURN


async def test_data_on_the_way_when_its_stream_was_reset_is_free(peer):
    """As many bytes as the server may have sent before it knew; then they count."""
    _, sent = peer.request()
    await peer.answer(1)
    frame = bytes(1024)
    assert peer.client._cost(0, 0, frame, None) > 0
    channel = peer.client.dialogue.lanes[1].listener
    await sent
    channel.finish()
    costs = [peer.client._cost(0, 0, frame, None) for _ in range(STREAM_WINDOW // 1024)]
    assert set(costs[:-1]) == {0}
    assert costs[-1] > 0


@pytest.mark.parametrize(
    ("kind", "flags", "size", "is_known", "cost"),
    [
        ("DATA", 0, 100, True, 0),
        ("DATA", 0, TINY, True, 0),
        ("DATA", 0, TINY - 1, True, 0.25),
        ("DATA", 0, 0, True, 1),
        ("DATA", 1, 0, True, 0),  # END_STREAM
        ("DATA", 8, 200, True, 0),  # PADDED, by 0 bytes
        ("DATA", 8, 1, True, 1),
        ("DATA", 0, 512, False, 3),
        ("HEADERS", 4, 512, True, 0),
        ("HEADERS", 4, 512, False, 5),
        ("CONTINUATION", 4, 256, False, 3),
        ("RST_STREAM", 0, 4, True, 0),
        ("RST_STREAM", 0, 4, False, 1),
        ("SETTINGS", 0, 60, False, 11),
        ("PING", 0, 8, False, 1),
        ("WINDOW_UPDATE", 0, 4, True, 1),
    ],
)
async def test_frames_that_carry_nothing_are_counted(peer, kind, flags, size, is_known, cost):
    """By what they cost: parts of an answer that is awaited are free, a large one counts for several."""
    _, sent = peer.request()
    await turns()
    types = {"DATA": 0, "HEADERS": 1, "RST_STREAM": 3, "SETTINGS": 4, "PING": 6, "WINDOW_UPDATE": 8, "CONTINUATION": 9}
    number = types[kind]
    stream = peer.client.dialogue.lanes[1].listener if is_known else None
    assert peer.client._cost(number, flags, bytes(size), stream) == cost
    sent.cancel()


async def test_early_refusal_is_not_held_up_by_the_clean_up_of_the_callers_iterator(peer):
    """The head and the body are handed over at once; only the body's end waits, and no longer than its bound."""
    parts = Dripping()
    channel, sent = peer.request(CHUNKED, method=b"PUT", content=None, body=parts)
    await peer.turn()
    peer.server.send_headers(1, [(":status", "413")])
    await peer.turn()
    assert ((await sent).status, now(), parts.is_stopped, parts.is_closed) == (413, 0.0, True, False)
    peer.server.send_data(1, b"no", end_stream=True)
    await peer.turn()
    body = channel.body()
    assert (channel.whole(), await anext(body), now()) == (None, b"no", 0.0)
    assert [part async for part in body] == []
    assert now() == STOP_TIMEOUT
    channel.finish()
    await peer.turn()
    assert peer.saw(h2.events.StreamReset) == 1
    parts.go_on.set()
    await turns()
    assert (parts.is_closed, parts.cancellations) == (True, 1)


async def test_body_of_an_early_refusal_has_the_read_timeout(peer):
    """Though the iterator isn't closed yet: the server doesn't wait for a body that it has refused."""
    parts = Dripping()
    channel, sent = peer.request(CHUNKED, method=b"PUT", content=None, body=parts, read=2.0)
    await peer.turn()
    peer.server.send_headers(1, [(":status", "413")])
    await peer.turn()
    await sent
    with pytest.raises(ReadTimeout):
        await anext(channel.body())
    assert now() == 2.0
    parts.go_on.set()


class Untold(Trace):
    """Of a caller whose function does nothing."""

    def __init__(self) -> None:
        self.request = None

    async def _callback(self, name: str, facts: object) -> None:
        pass


@pytest.mark.parametrize("trace", [None, Untold()], ids=["plain", "traced"])
@pytest.mark.parametrize("is_quick", [False, True])
async def test_failure_is_not_held_up_by_the_clean_up_of_the_callers_iterator(peer, is_quick, trace):
    """Nor an error: it is raised when the clean-up is over, or its bound."""
    parts = Dripping()
    _, sent = peer.request(CHUNKED, method=b"PUT", content=None, body=parts, trace=trace)
    await peer.turn()
    if is_quick:
        parts.go_on.set()
    peer.client.connection_lost(ConnectionResetError("reset"))
    with pytest.raises(ConnectionLost):
        await sent
    assert (now(), parts.is_closed) == (0.0 if is_quick else STOP_TIMEOUT, is_quick)
    parts.go_on.set()


@pytest.mark.parametrize("end", ["finish", "close", "lost", "reset"])
@pytest.mark.parametrize("is_waiting", [False, True])
async def test_complete_answer_stands_though_the_upload_is_ended(peer, end, is_waiting):
    """By another task that closes the response, by the connection's end or by RST_STREAM; the reader waits for it."""
    parts = Dripping()
    channel, sent = peer.request(CHUNKED, method=b"PUT", content=None, body=parts)
    await peer.turn()
    peer.server.send_headers(1, OK)
    peer.server.send_data(1, b"ok", end_stream=True)
    await peer.turn()
    await sent
    body = channel.body()
    assert await anext(body) == b"ok"
    rest = asyncio.ensure_future(anext(body, b"end"))
    if is_waiting:
        await turns()
    if end == "lost":
        peer.client.connection_lost(ConnectionResetError("reset"))
    elif end == "reset":
        peer.server.reset_stream(1, 0)
        await peer.turn()
    else:
        getattr(channel, end)()
    await turns()
    assert (rest.done(), parts.is_stopped) == (False, True)
    parts.go_on.set()
    assert (await rest, now(), parts.is_closed) == (b"end", 0.0, True)


TYPES = {
    "DATA": 0x0,
    "HEADERS": 0x1,
    "PRIORITY": 0x2,
    "RST_STREAM": 0x3,
    "PUSH_PROMISE": 0x5,
    "GOAWAY": 0x7,
    "WINDOW_UPDATE": 0x8,
    "CONTINUATION": 0x9,
    "ALTSVC": 0xA,
}
STATUS_200 = b"\x88"  # RFC 7541 appendix A
BODIES = {"DATA": b"x" * TINY, "HEADERS": STATUS_200, "PUSH_PROMISE": b"\0\0\0\2" + STATUS_200, "PRIORITY": bytes(5)}
BODIES |= {"WINDOW_UPDATE": b"\0\0\0\1", "GOAWAY": bytes(8), "CONTINUATION": STATUS_200, "ALTSVC": bytes(2)}


def frame_of(kind: str, number: int) -> bytes:
    """The end of a stream, where it can be one."""
    body, flags = BODIES.get(kind, b"\0\0\0\x08"), {"DATA": 1, "HEADERS": 5, "PUSH_PROMISE": 4}.get(kind, 0)
    return len(body).to_bytes(3, "big") + bytes([TYPES[kind], flags]) + number.to_bytes(4, "big") + body


@pytest.mark.parametrize("number", [2, 4, 7, 2**31 - 1])
@pytest.mark.parametrize("kind", ["DATA", "HEADERS", "RST_STREAM", "WINDOW_UPDATE", "CONTINUATION", "PUSH_PROMISE"])
@pytest.mark.parametrize("is_idle", [False, True])
async def test_stream_that_nobody_has_begun(peer, kind, number, is_idle):
    """Of the server's numbers or of ours: a frame for it ends the connection at once, with a PROTOCOL_ERROR."""
    channel, sent = peer.request()
    await peer.answer(1, is_end=True)
    await sent
    channel.finish()
    waiting = None if is_idle else peer.request()[1]
    await peer.turn()
    peer.client.data_received(frame_of(kind, number))
    await turns()
    assert (peer.client.is_closed, now()) == (True, 0.0)
    (end,) = peer.server.receive_data(peer.transport.written)
    assert isinstance(end, h2.events.ConnectionTerminated)
    assert end.error_code == h2.errors.ErrorCodes.PROTOCOL_ERROR
    if waiting is not None:
        with pytest.raises(BadAnswer, match="PUSH|push" if kind == "PUSH_PROMISE" else f"for stream {number}, which"):
            await waiting


async def test_stream_to_come_is_not_begun(peer):
    """The number that our next request would have is nobody's yet."""
    _, sent = peer.request()
    await peer.turn()
    peer.client.data_received(frame_of("RST_STREAM", 3))
    with pytest.raises(BadAnswer, match="for stream 3, which we have not begun"):
        await sent


@pytest.mark.parametrize("number", [1, 2])
async def test_goaway_of_a_stream(peer, number):
    """It is the connection's (RFC 9113 section 6.8), and what it says of streams is not believed."""
    _, sent = peer.request()
    await peer.turn()
    peer.client.data_received(frame_of("GOAWAY", number))
    with pytest.raises(BadAnswer):
        await sent


async def test_settings_behind_a_goaway(peer):
    """The connection is closed, because nobody uses it, and offers the pool no room."""
    settings = b"\0\0\6\4\0\0\0\0\0" + b"\0\3\0\0\0\5"
    peer.client.data_received(frame_of("GOAWAY", 0) + settings)
    assert (peer.client.is_closed, peer.room) == (True, 0)


async def one_ended(peer):
    """What a second request waits for, on stream 3, after stream 1 has ended."""
    channel, sent = peer.request()
    await peer.answer(1, is_end=True)
    await sent
    channel.finish()
    _, sent = peer.request()
    await peer.turn()
    return sent


@pytest.mark.parametrize("kind", ["DATA", "RST_STREAM", "WINDOW_UPDATE", "PRIORITY", "ALTSVC"])
async def test_late_frame_of_a_stream_that_has_ended(peer, kind):
    """It may have been on the way; the others on the connection go on."""
    sent = await one_ended(peer)
    peer.client.data_received(frame_of(kind, 1))
    if kind in ("PRIORITY", "ALTSVC"):  # RFC 9113 section 5.1: for streams in any state
        peer.client.data_received(frame_of(kind, 9))
    await peer.answer(3, is_end=True)
    assert (await sent).status == 200
    assert peer.client.is_usable


async def test_headers_of_a_stream_that_has_ended(peer):
    """The server goes back to it (RFC 9113 section 5.1): that ends the connection, and says what for."""
    sent = await one_ended(peer)
    peer.client.data_received(frame_of("HEADERS", 1))
    with pytest.raises(BadAnswer, match="for stream 1, which has ended"):
        await sent


@pytest.mark.parametrize("content", [b"", b"hello", b"x" * 100_000])
async def test_bytes_of_a_stream_are_counted(peer, content):
    """Its own frames, and no other stream's."""
    sizes = {b"": 0, b"hello": 9 + 5, b"x" * 100_000: 100_000 + 9 * 8}  # two slices, each in frames of 16 KiB
    _, other = peer.request()
    channel, sent = peer.request(method=b"POST", content=content)
    await peer.turn()
    head = channel.progress.bytes_out - sizes[content]
    assert 9 < head < 100
    peer.server.send_headers(1, OK)
    peer.server.send_data(1, b"not mine", end_stream=True)
    peer.server.send_headers(3, OK)
    peer.server.send_data(3, b"mine", end_stream=True)
    await peer.turn()
    await asyncio.gather(sent, other)
    assert 9 + 9 + 4 < channel.progress.bytes_in < 50
    assert channel.whole() == b"mine"


class Worker:
    """Makes requests one after the other, and does its *work* between two."""

    def __init__(self, peer: Peer, work: Callable[[], None] | None = None) -> None:
        self.peer, self.work = peer, work
        self.task = asyncio.create_task(self.run())

    async def run(self) -> None:
        message = Message(A, b"GET", b"/", [(b"Host", b"host", b"a")], b"", None, {})  # type: ignore[arg-type]
        while True:
            channel = self.peer.client.channel()
            await channel.send(message, Progress(asyncio.get_running_loop().time, now()))
            channel.finish()
            if self.work is not None:
                self.work()


def takes(seconds: float) -> None:
    """Work of so many seconds, in which the loop does nothing else."""
    asyncio.get_running_loop()._virtual_now += seconds


async def sizes_of_writes(peer: Peer, *works: float, rounds: int = 1) -> list[int]:
    """How many requests each write had, of workers whose responses came together, in the last of so many rounds."""
    workers = [Worker(peer, partial(takes, work)) for work in works]
    await peer.turn()
    for number in range(rounds):
        writes: list[bytes] = []
        peer.transport.write = writes.append
        for at in range(len(works)):
            peer.server.send_headers(2 * (number * len(works) + at) + 1, OK, end_stream=True)
        peer.client.data_received(peer.server.data_to_send())
        await turns()
        seen = [peer.server.receive_data(write) for write in writes]
    for worker in workers:
        worker.task.cancel()
    await asyncio.wait([worker.task for worker in workers])
    return [sum(isinstance(event, h2.events.RequestReceived) for event in events) for events in seen]


@pytest.mark.parametrize(
    ("count", "expected"), [(1, [1]), (2, [2]), (GATHERED, [GATHERED]), (2 * GATHERED + 3, [GATHERED, GATHERED, 3])]
)
async def test_requests_of_tasks_that_were_woken_together_go_out_together(peer, count, expected):
    """A few at a time, and in the loop's turn in which they are made; one alone goes out at once."""
    assert await sizes_of_writes(peer, *[0.0] * count) == expected


async def test_requests_do_not_wait_for_the_work_of_others(peer):
    """Where the tasks that were woken together took long the last time, each request goes out at once."""
    assert await sizes_of_writes(peer, 0.0, *[QUICK] * 3, rounds=2) == [4]
    other = Peer(2**20)
    await other.turn()
    assert await sizes_of_writes(other, 0.0, *[2 * QUICK] * 3, rounds=2) == [1] * 4
    other.client.close()


async def test_what_is_said_goes_out_in_its_order(peer):
    """An acknowledgement of a smaller table doesn't overtake requests that were made with the larger one."""
    settings: list[bytes] = []
    workers = [Worker(peer), Worker(peer), Worker(peer, lambda: peer.client.data_received(settings.pop()))]
    await peer.turn()
    for number in (1, 3, 5):
        peer.server.send_headers(number, OK, end_stream=True)
    answers = peer.server.data_to_send()
    peer.server.update_settings({h2.settings.SettingCodes.HEADER_TABLE_SIZE: 0})
    settings.append(peer.server.data_to_send())
    peer.client.data_received(answers)
    await turns()
    seen = [type(event) for event in peer.server.receive_data(peer.transport.written)]
    asked, agreed = h2.events.RequestReceived, h2.events.SettingsAcknowledged
    assert [kind for kind in seen if kind in (asked, agreed)] == [asked, asked, agreed, asked]
    for worker in workers:
        worker.task.cancel()
    await asyncio.wait([worker.task for worker in workers])


async def test_requests_that_wait_for_each_other_are_lost_with_their_connection(peer):
    """And hear of it; nothing is written to a connection that is closed."""
    workers = [Worker(peer) for _ in range(3)]
    await peer.turn()
    for number in (1, 3, 5):
        peer.server.send_headers(number, OK, end_stream=True)
    asyncio.get_running_loop().call_soon(peer.client.connection_lost, ConnectionResetError("reset"))
    peer.client.data_received(peer.server.data_to_send())
    await turns()
    assert all(isinstance(worker.task.exception(), ConnectionLost | StreamRefused) for worker in workers)


async def test_small_body_goes_out_with_its_head(peer):
    """In one write, because a write costs a third of a request."""
    writes: list[bytes] = []
    peer.transport.write = writes.append
    _, sent = peer.request(method=b"POST", content=b"hello")
    await turns()
    assert len(writes) == 1
    assert any(isinstance(event, h2.events.StreamEnded) for event in peer.server.receive_data(writes[0]))
    sent.cancel()
