"""An HTTP/1.1 connection over a transport that only notes what it is told, on the virtual clock."""

from __future__ import annotations

import asyncio
import gc
import ssl
import weakref
from collections.abc import AsyncIterator
from contextvars import ContextVar

import httpcore
import pytest

from seawall._httpx.over_wire import Sent
from seawall.errors import BadAnswer, ConnectionLost, ReadTimeout, SendFailed, WireError, WriteTimeout
from seawall.origin import Origin
from seawall.testing.clock import VIRTUAL
from seawall.wire.http1.connection import HIGH_WATER, Connection
from seawall.wire.http1.framing import MARGIN
from seawall.wire.http1.parser import Parser
from seawall.wire.message import CONTINUE_TIMEOUT
from seawall.wire.progress import Progress
from seawall.wire.socket import SOFT_CLOSE
from seawall.wire.upgrade import Tunnel
from seawall.wire.upload import STOP_TIMEOUT

from .noted import Dripping, Noted, now, turns

pytestmark = pytest.mark.anyio

A = Origin("http", "a", 80)
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n"
EXPECT = (b"Expect", b"expect", b"100-continue")
CHUNKED = (b"Transfer-Encoding", b"transfer-encoding", b"chunked")


class Caller:
    """What a caller's context may hold."""


CALLER: ContextVar[Caller | None] = ContextVar("caller", default=None)


@pytest.fixture
def anyio_backend():
    return VIRTUAL


class Exchange:
    """One request on *connection*, whose answer is what `comes`."""

    def __init__(
        self,
        connection: Connection,
        *headers: tuple[bytes, bytes, bytes],
        method: bytes = b"GET",
        content: bytes | None = b"",
        body: AsyncIterator[bytes] | None = None,
        is_reused: bool = False,
        **timeouts: float,
    ) -> None:
        self.connection = connection
        if content:
            headers = (*headers, (b"Content-Length", b"content-length", b"%d" % len(content)))
        message = Sent(A, method, b"/", list(headers), content, body, {"timeout": timeouts})  # type: ignore[arg-type]
        self.progress = Progress(asyncio.get_running_loop().time, now())
        self.progress.is_reused = is_reused
        self.head = asyncio.create_task(connection.send(message, self.progress))

    async def comes(self, data: bytes) -> None:
        """*data* comes, and all tasks go on as far as they can."""
        await turns()
        self.connection.data_received(data)
        await turns()


@pytest.fixture
def transport() -> Noted:
    return Noted()


@pytest.fixture
async def connection(transport) -> AsyncIterator[Connection]:
    connection = Connection(A, memoryview(bytearray(1)))
    connection.connection_made(transport)
    yield connection
    connection.close()


@pytest.mark.parametrize(
    ("said", "keep_for"),
    [(b"timeout=60", 59.0), (b"timeout=5", 4.0), (b"timeout=1", 0.5), (b"timeout=0", 0), (b"", None)],
)
async def test_connection_is_kept_for_less_than_the_server_says(connection, said, keep_for):
    """By the second that a request may take to get there; of a short time half."""
    exchange = Exchange(connection)
    await exchange.comes(OK + b"keep-alive: " + said + b"\r\n\r\nok")
    assert connection.whole() == b"ok"
    connection.finish()
    assert (connection.keep_for, connection.is_usable) == (keep_for, True)
    assert MARGIN == 1.0


async def test_next_answer_may_say_nothing_of_how_long(connection):
    """What the last one said is forgotten then."""
    for said, keep_for in ((b"keep-alive: timeout=9\r\n", 8.0), (b"", None)):
        exchange = Exchange(connection)
        await exchange.comes(OK + said + b"\r\nok")
        connection.finish()
        assert connection.keep_for == keep_for


async def test_100_continue_is_not_waited_for_without_end(connection, transport):
    """A server that says nothing gets the body after a second, to the instant."""
    exchange = Exchange(connection, EXPECT, method=b"POST", content=b"body", read=5.0)
    await asyncio.sleep(CONTINUE_TIMEOUT - 0.001)
    assert transport.written.endswith(b"\r\n\r\n")
    await asyncio.sleep(0.002)
    assert transport.written.endswith(b"\r\n\r\nbody")
    await exchange.comes(OK + b"\r\nok")
    assert (await exchange.head).status == 200
    connection.finish()
    assert connection.is_usable


async def test_100_continue_ends_the_wait(connection, transport):
    """Within the same turn."""
    exchange = Exchange(connection, EXPECT, method=b"POST", content=b"body")
    await exchange.comes(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert transport.written.endswith(b"\r\n\r\nbody")
    assert now() == 0
    await exchange.comes(OK + b"\r\nok")
    assert (await exchange.head).status == 200


async def test_answer_in_place_of_100_continue(connection, transport):
    """No body is sent after it, so the connection is not used again: the server may still wait for one."""
    exchange = Exchange(connection, EXPECT, method=b"POST", content=b"body")
    await exchange.comes(OK + b"\r\nok")
    assert (await exchange.head).status == 200
    assert transport.written.endswith(b"\r\n\r\n")
    connection.finish()
    assert (connection.is_closed, transport.is_closing()) == (True, True)


async def test_connection_whose_request_is_not_all_sent_is_not_used_again(connection, transport):
    """Though its answer is complete: the next request would be taken for the rest of the body."""
    more = asyncio.Event()

    async def parts() -> AsyncIterator[bytes]:
        yield b"first"
        await more.wait()
        yield b"last"

    exchange = Exchange(connection, CHUNKED, method=b"POST", content=None, body=parts())
    await exchange.comes(OK + b"\r\nok")
    assert (await exchange.head).status == 200
    assert connection.whole() is None
    connection.finish()
    assert (connection.is_closed, connection.is_usable) == (True, False)
    await turns()
    assert b"last" not in transport.written


@pytest.mark.parametrize("rest", [b"", b"o"])
async def test_connection_whose_answer_is_not_all_there_is_not_used_again(connection, rest):
    """Its rest would be the next one's."""
    exchange = Exchange(connection)
    await exchange.comes(OK + b"\r\n" + rest)
    assert (await exchange.head).status == 200
    assert connection.whole() is None
    connection.finish()
    assert (connection.is_closed, connection.is_usable) == (True, False)


@pytest.mark.parametrize(
    ("request_headers", "answer"),
    [
        ([(b"Connection", b"connection", b"close")], OK + b"\r\nok"),
        ([], OK + b"connection: close\r\n\r\nok"),
        ([], OK + b"keep-alive: max=0\r\n\r\nok"),
        ([], OK + b"\r\nokHTTP/1.1 "),
    ],
)
async def test_connection_that_is_said_to_end_is_not_used_again(connection, request_headers, answer):
    """By either side; nor one on which more came than the answer."""
    exchange = Exchange(connection, *request_headers)
    await exchange.comes(answer)
    assert connection.whole() == b"ok"
    connection.finish()
    assert (connection.is_closed, connection.is_usable) == (True, False)


async def test_body_that_nobody_takes_is_not_read_on(connection, transport):
    """From the mark on; it is read on once somebody takes what is there."""
    size = HIGH_WATER + 10
    exchange = Exchange(connection)
    await exchange.comes(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size)
    await exchange.comes(b"x" * HIGH_WATER)
    assert transport.is_reading
    await exchange.comes(b"x")
    assert not transport.is_reading
    await exchange.head
    body = connection.body()
    assert len(await anext(body)) == HIGH_WATER + 1
    assert transport.is_reading
    await exchange.comes(b"x" * 9)
    assert [part async for part in body] == [b"x" * 9]
    connection.finish()
    assert connection.is_usable


async def test_next_exchange_reads_on(connection, transport):
    """A body that came whole, though nobody took it: its connection is used again."""
    exchange = Exchange(connection)
    await exchange.comes(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (HIGH_WATER + 1) + b"x" * (HIGH_WATER + 1))
    assert not transport.is_reading
    connection.finish()
    assert (connection.is_usable, transport.is_reading) == (True, True)


async def test_tunnel_that_nobody_reads_is_not_read_on(connection, transport):
    """As a body; the other protocol's bytes are handed out as many at a time as are asked for."""
    upgrade = (b"Upgrade", b"upgrade", b"x")
    exchange = Exchange(connection, upgrade, (b"Connection", b"connection", b"upgrade"))
    await exchange.comes(b"HTTP/1.1 101 X\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n" + b"x" * HIGH_WATER)
    assert (await exchange.head).status == 101
    assert transport.is_reading
    await exchange.comes(b"y")
    assert not transport.is_reading
    assert await connection.receive(HIGH_WATER, None) == b"x" * HIGH_WATER
    assert transport.is_reading
    assert await connection.receive(10, None) == b"y"
    connection.finish()
    assert connection.is_closed


@pytest.mark.parametrize("is_used", [False, True])
async def test_tunnel_over_tls_is_closed_at_once_if_nothing_was_written(transport, is_used):
    """Else what was written has a second to be sent."""
    connection = Connection(A, memoryview(bytearray(1)), is_secure=True)
    connection.connection_made(transport)
    await upgraded(connection)
    if is_used:
        await connection.transmit(b"hello", None)
    connection.finish()
    assert connection.is_closed != is_used
    await asyncio.sleep(SOFT_CLOSE)
    assert connection.is_closed


async def upgraded(connection: Connection) -> Tunnel:
    upgrade = (b"Upgrade", b"upgrade", b"x")
    exchange = Exchange(connection, upgrade, (b"Connection", b"connection", b"upgrade"))
    await exchange.comes(b"HTTP/1.1 101 X\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n")
    await exchange.head
    return connection.extensions["network_stream"]


async def test_tunnel_says_whether_there_is_something_to_read(connection):
    """As httpcore's streams do: bytes, or its end."""
    tunnel = await upgraded(connection)
    assert tunnel.get_extra_info("is_readable") is False
    connection.data_received(b"x")
    assert tunnel.get_extra_info("is_readable") is True
    assert await tunnel.read(10) == b"x"
    assert tunnel.get_extra_info("is_readable") is False
    connection.eof_received()
    assert tunnel.get_extra_info("is_readable") is True
    assert await tunnel.read(10) == b""


@pytest.mark.parametrize("is_waiting", [False, True])
@pytest.mark.parametrize("error", [None, ConnectionResetError("reset")])
async def test_tunnel_that_is_closed_takes_nothing(connection, transport, is_waiting, error):
    """Whoever writes hears of it, at once: by an error of httpcore's."""
    tunnel = await upgraded(connection)
    if is_waiting:
        connection.pause_writing()
        task = asyncio.create_task(tunnel.write(b"lost"))
        await turns()
        assert not task.done()
        connection.connection_lost(error)
    else:
        connection.connection_lost(error)
        task = asyncio.create_task(tunnel.write(b"lost"))
    with pytest.raises(httpcore.WriteError, match="reset" if error else "closed"):
        await task
    assert transport.written.endswith(b"lost") == is_waiting
    assert now() == 0


async def test_connection_that_was_not_upgraded_is_no_tunnel(connection, transport):
    """It goes on to serve others: nothing is read from it, written to it, or made of it."""
    exchange = Exchange(connection)
    await exchange.comes(OK + b"\r\nok")
    await exchange.head
    tunnel, written = connection.extensions["network_stream"], transport.written
    for error, use in (
        (httpcore.ReadError, tunnel.read(10)),
        (httpcore.WriteError, tunnel.write(b"x")),
        (httpcore.ConnectError, tunnel.start_tls(ssl.create_default_context())),
    ):
        with pytest.raises(error, match="didn't switch protocols"):
            await use
    await tunnel.aclose()
    assert (connection.is_closed, transport.written) == (False, written)


async def test_tunnel_that_is_slow_has_its_timeouts(connection):
    """Each read and each write its own."""
    tunnel = await upgraded(connection)
    with pytest.raises(httpcore.ReadTimeout, match="nothing came for 2 s"):
        await tunnel.read(10, timeout=2.0)
    assert now() == 2.0
    connection.pause_writing()
    with pytest.raises(httpcore.WriteTimeout, match="nothing was taken for 3 s"):
        await tunnel.write(b"x", timeout=3.0)
    assert now() == 5.0
    await tunnel.write(b"", timeout=3.0)
    connection.connection_lost(ConnectionResetError("reset"))
    with pytest.raises(httpcore.ReadError, match="reset"):
        await tunnel.read(10)


async def failure(exchange: Exchange) -> WireError:
    with pytest.raises(WireError) as caught:
        await exchange.head
    assert exchange.connection.is_closed
    return caught.value


@pytest.mark.parametrize("is_reused", [False, True])
async def test_read_timeout_never_says_that_a_connection_is_stale(connection, is_reused):
    """A slow server would get the same request again, at once; it comes at its instant."""
    error = await failure(Exchange(connection, is_reused=is_reused, read=2.0))
    assert (type(error), error.is_stale, now()) == (ReadTimeout, False, 2.0)


async def test_write_timeout_never_says_that_a_connection_is_stale(connection):
    """Nor does a server that takes nothing."""
    connection.pause_writing()
    error = await failure(Exchange(connection, method=b"PUT", content=b"x", is_reused=True, write=3.0))
    assert (type(error), error.is_stale, now()) == (WriteTimeout, False, 3.0)


@pytest.mark.parametrize("is_reused", [False, True])
@pytest.mark.parametrize("has_begun", [False, True])
@pytest.mark.parametrize("reset", [None, ConnectionResetError("reset")])
async def test_only_a_reused_connection_that_ends_before_the_answer_begins_is_stale(
    connection, is_reused, has_begun, reset
):
    """By an end or by a reset."""
    exchange = Exchange(connection, is_reused=is_reused)
    await turns()
    if has_begun:
        await exchange.comes(b"HTTP/1.1 2")
    connection.connection_lost(reset)
    error = await failure(exchange)
    assert type(error) is (BadAnswer if reset is None else ConnectionLost)
    assert error.is_stale == (is_reused and not has_begun)


async def test_timeouts_are_of_each_part(connection):
    """A body that comes in parts, each within the read timeout, has no limit of its own; a silence within it has."""
    exchange = Exchange(connection, read=2.0)
    await exchange.comes(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n")
    await exchange.head
    body = connection.body()
    for _ in range(5):
        waiter = asyncio.ensure_future(anext(body))
        await asyncio.sleep(1.9)
        await exchange.comes(b"x")
        assert await waiter == b"x"
    with pytest.raises(ReadTimeout):
        await anext(body)
    assert now() == 5 * 1.9 + 2.0


async def test_timer_of_a_connection_holds_nothing_of_a_call(connection):
    """It goes on ticking after the exchange that started it, and what the caller's context holds would live as long."""
    CALLER.set(Caller())
    caller = weakref.ref(CALLER.get())
    exchange = Exchange(connection, read=3600.0)
    CALLER.set(None)
    await exchange.comes(OK + b"\r\nok")
    await exchange.head
    connection.finish()
    del exchange
    gc.collect()
    assert connection.is_usable
    assert caller() is None


async def test_closed_connection_is_freed_before_its_timeout():
    """A timer that went on would hold the connection, and all that it holds, for the whole read timeout."""
    transport = Noted()
    connection = Connection(A, memoryview(bytearray(1)))
    connection.connection_made(transport)
    exchange = Exchange(connection, read=3600.0)
    await turns()
    connection.close()
    await asyncio.wait([exchange.head])
    assert isinstance(exchange.head.exception(), ConnectionLost)
    held = weakref.ref(transport)
    del connection, exchange, transport
    gc.collect()
    assert held() is None
    assert now() == 0


async def test_connection_that_was_taken_over_is_freed(transport):
    """A tunnel goes on as another connection; the one to the proxy goes at once."""
    through, beyond = (Connection(A, memoryview(bytearray(1))) for _ in range(2))
    through.connection_made(transport)
    beyond.take_over(through)

    def parsers() -> int:
        return sum(type(each) is Parser for each in gc.get_objects())

    before = parsers()
    gc.disable()
    try:
        del through
        assert parsers() == before - 1
    finally:
        gc.enable()
    assert not beyond.is_closed
    beyond.close()


@pytest.mark.parametrize("end", ["close", "eof_received"])
async def test_nothing_is_sent_on_a_connection_that_is_over(connection, transport, end):
    """Whichever side ended it; the request is sent again on another."""
    getattr(connection, end)()
    with pytest.raises(SendFailed) as caught:
        await Exchange(connection, is_reused=True).head
    assert (transport.written, caught.value.is_stale) == (b"", True)


async def test_nothing_of_an_exchange_is_kept(connection):
    """Its answer is the reader's, and as long-lived as that."""
    exchange = Exchange(connection)
    await exchange.comes(OK + b"\r\nok")
    answer = connection._parser.response
    connection.finish()
    assert connection._parser.response is not answer


async def test_connection_whose_request_was_sent_in_parts_is_used_again(connection, transport):
    """Once all of it is sent."""

    async def parts() -> AsyncIterator[bytes]:
        yield b"first"
        yield b"last"

    exchange = Exchange(connection, CHUNKED, method=b"POST", content=None, body=parts())
    await exchange.comes(OK + b"\r\nok")
    assert (await exchange.head).status == 200
    assert transport.written.endswith(b"5\r\nfirst\r\n4\r\nlast\r\n0\r\n\r\n")
    assert connection.whole() == b"ok"
    connection.finish()
    assert connection.is_usable


async def test_nothing_is_read_before_the_handshake(transport):
    """What comes first is TLS's."""
    connection = Connection(A, memoryview(bytearray(1)), is_secure=True)
    connection.connection_made(transport)
    assert not transport.is_reading
    connection.close()


REFUSED = b"HTTP/1.1 413 X\r\ncontent-length: 2\r\n\r\n"


async def test_early_refusal_is_not_held_up_by_the_clean_up_of_the_callers_iterator(connection):
    """The head and the body are handed over at once; only the body's end waits, and no longer than its bound."""
    parts = Dripping()
    exchange = Exchange(connection, CHUNKED, method=b"PUT", content=None, body=parts)
    await exchange.comes(REFUSED)
    assert (exchange.head.done(), parts.is_stopped, parts.is_closed) == (True, True, False)
    body = connection.body()
    await exchange.comes(b"no")
    assert (await anext(body), now(), connection.whole()) == (b"no", 0.0, None)
    assert [part async for part in body] == []
    assert now() == STOP_TIMEOUT
    connection.finish()
    assert connection.is_closed
    parts.go_on.set()
    await turns()
    assert (parts.is_closed, parts.cancellations) == (True, 1)


async def test_body_of_an_early_refusal_has_the_read_timeout(connection):
    """Though the iterator isn't closed yet: the server doesn't wait for a body that it has refused."""
    parts = Dripping()
    exchange = Exchange(connection, CHUNKED, method=b"PUT", content=None, body=parts, read=2.0)
    await exchange.comes(REFUSED)
    with pytest.raises(ReadTimeout):
        await anext(connection.body())
    assert now() == 2.0
    parts.go_on.set()


async def test_failure_is_not_held_up_by_the_clean_up_of_the_callers_iterator(connection):
    """Nor an error: it is raised when the clean-up is over, or its bound."""
    for is_quick, at in ((True, 0.0), (False, STOP_TIMEOUT)):
        one = Connection(A, memoryview(bytearray(1)))
        one.connection_made(Noted())
        parts = Dripping()
        exchange = Exchange(one, CHUNKED, method=b"PUT", content=None, body=parts)
        await turns()
        if is_quick:
            parts.go_on.set()
        one.connection_lost(ConnectionResetError("reset"))
        assert type(await failure(exchange)) is ConnectionLost
        assert (now(), parts.is_closed) == (at, is_quick)
        parts.go_on.set()


async def test_error_after_the_end_of_the_upload_is_of_no_matter(connection):
    """What the caller's iterator raises because it was stopped doesn't take the place of the answer."""
    parts = Dripping(error=OSError("can't remove the file"))
    exchange = Exchange(connection, CHUNKED, method=b"PUT", content=None, body=parts)
    await exchange.comes(REFUSED + b"no")
    parts.go_on.set()
    await turns()
    assert (await exchange.head).status == 413
    assert [part async for part in connection.body()] == [b"no"]


@pytest.mark.parametrize("end", ["finish", "close", "lost"])
@pytest.mark.parametrize("is_waiting", [False, True])
async def test_complete_answer_stands_though_the_upload_is_ended(connection, end, is_waiting):
    """By another task that closes the response, or by the connection's end; the reader waits for the upload's end."""
    parts = Dripping()
    exchange = Exchange(connection, CHUNKED, method=b"PUT", content=None, body=parts)
    await exchange.comes(OK + b"\r\nok")
    body = connection.body()
    assert await anext(body) == b"ok"
    rest = asyncio.ensure_future(anext(body, b"end"))
    if is_waiting:
        await turns()
    if end == "lost":
        connection.connection_lost(ConnectionResetError("reset"))
    else:
        getattr(connection, end)()
    await turns()
    assert (rest.done(), parts.is_stopped) == (False, True)
    parts.go_on.set()
    assert (await rest, now(), parts.is_closed) == (b"end", 0.0, True)


async def test_answer_that_is_cut_by_another_task_is_an_error(connection):
    """Its reader is told that what has come isn't all."""
    exchange = Exchange(connection)
    await exchange.comes(OK + b"\r\no")
    body = connection.body()
    assert await anext(body) == b"o"
    connection.finish()
    with pytest.raises(ConnectionLost, match="closed while it was read"):
        await anext(body)


@pytest.fixture
async def tunnel(connection) -> Connection:
    """It speaks another protocol from now on."""
    upgrade = (b"Upgrade", b"upgrade", b"x")
    exchange = Exchange(connection, upgrade, (b"Connection", b"connection", b"upgrade"))
    await exchange.comes(b"HTTP/1.1 101 X\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n")
    await exchange.head
    return connection


@pytest.mark.parametrize("is_lost", [False, True])
async def test_two_tasks_write_to_a_tunnel(tunnel, transport, is_lost):
    """Neither waits for ever: what each writes is whole, and both hear when the peer takes more, or of the end."""
    tunnel.pause_writing()
    writing = [asyncio.create_task(tunnel.transmit(data, None)) for data in (b"one", b"two", b"three")]
    await turns()
    writing[1].cancel()
    await turns()
    assert transport.written.endswith(b"onetwothree")
    assert [task.done() for task in writing] == [False, True, False]
    if is_lost:
        tunnel.connection_lost(ConnectionResetError("reset"))
        await turns()
        assert [type(writing[at].exception()) for at in (0, 2)] == [ConnectionResetError] * 2
    else:
        tunnel.resume_writing()
        await turns()
        assert [writing[at].result() for at in (0, 2)] == [True] * 2


async def test_each_write_to_a_tunnel_has_its_own_timeout(tunnel):
    """From when it began, however much the peer says meanwhile."""
    tunnel.pause_writing()
    writing = [asyncio.create_task(tunnel.transmit(b"x", timeout)) for timeout in (3.0, 1.0)]
    for _ in range(2):
        await asyncio.sleep(0.9)
        tunnel.data_received(b"chatter")
    assert [task.done() for task in writing] == [False, True]
    assert writing[1].result() is False
    assert await writing[0] is False
    assert now() == 3.0


async def test_two_tasks_read_from_a_tunnel(tunnel):
    """The second is told at once; the first gets what comes."""
    reading = asyncio.create_task(tunnel.receive(10, None))
    await turns()
    with pytest.raises(RuntimeError, match="two tasks read"):
        await tunnel.receive(10, None)
    tunnel.data_received(b"x")
    assert await reading == b"x"


async def test_read_from_a_tunnel_has_its_timeout_though_writes_go_on(tunnel):
    """What happens to the other direction doesn't put it off."""
    reading = asyncio.create_task(tunnel.receive(10, 1.0))
    for _ in range(3):
        await asyncio.sleep(0.4)
        tunnel.pause_writing()
        tunnel.resume_writing()
    assert reading.done()
    assert reading.result() is None


async def test_100_continue_is_waited_for_a_second_though_something_comes(connection, transport):
    """A server that dribbles interim answers puts the body off no further."""
    exchange = Exchange(connection, EXPECT, method=b"POST", content=b"body")
    for _ in range(2):
        await asyncio.sleep(0.6)
        await exchange.comes(b"HTTP/1.1 102 Processing\r\n\r\n")
    assert transport.written.endswith(b"\r\n\r\nbody")
    await exchange.comes(OK + b"\r\nok")
    assert (await exchange.head).status == 200


@pytest.mark.parametrize("chunked", [False, True])
async def test_bytes_of_an_exchange_are_counted(connection, transport, chunked):
    """All that went out and came in, heads and framing included, for each exchange anew."""
    answer = OK + b"\r\nok"

    async def parts() -> AsyncIterator[bytes]:
        yield b"x" * 100_000
        yield b"y"

    for _ in range(2):
        written = len(transport.written)
        headers, content = ((CHUNKED,), None) if chunked else ((), b"hello")
        exchange = Exchange(connection, *headers, method=b"POST", content=content, body=parts())
        await exchange.comes(answer[:20])
        await exchange.comes(answer[20:])
        assert exchange.progress.bytes_out == len(transport.written) - written > 0
        assert exchange.progress.bytes_in == len(answer)
        assert connection.whole() == b"ok"
        connection.finish()
    assert not connection.is_closed


async def test_tunnel_of_another_response_is_not_opened_by_a_later_upgrade(connection, transport):
    """Whoever still holds the stream of an earlier, plain response gets no byte of the protocol that came later."""
    exchange = Exchange(connection)
    await exchange.comes(OK + b"\r\nok")
    await exchange.head
    earlier = connection.extensions["network_stream"]
    assert connection.whole() == b"ok"
    connection.finish()
    tunnel = await upgraded(connection)
    connection.data_received(b"secret")
    written = transport.written
    with pytest.raises(httpcore.ReadError, match="didn't switch protocols"):
        await earlier.read(10)
    with pytest.raises(httpcore.WriteError, match="didn't switch protocols"):
        await earlier.write(b"x")
    await earlier.aclose()
    assert (connection.is_closed, transport.written) == (False, written)
    assert await tunnel.read(10) == b"secret"
