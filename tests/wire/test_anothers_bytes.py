"""Nobody ever gets bytes of another request: whoever reads, closes, shares or cancels what, in any order."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

import httpcore
import httpx
import pytest
import trustme
from benchmarks.tags import PROTOCOLS, run
from hypothesis import given, settings
from hypothesis import strategies as st

import seawall
from seawall.errors import ConnectionLost
from seawall.testing import Request
from seawall.wire.http1 import framing
from seawall.wire.http1.parser import Parser
from seawall.wire.http1.response import NOTHING

pytestmark = pytest.mark.anyio

OK = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b"


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_body_is_of_its_own_request(protocol):
    """Tagged bodies, some 40 tasks over six connections; `python -m benchmarks tags` does 100,000 of them."""

    @settings(max_examples=4, deadline=None)
    @given(st.integers(0, 2**32))
    def holds(seed: int) -> None:
        found, stats = asyncio.run(run(protocol, 250, seed=seed))
        assert found.foreign == []
        assert found.seen["hangs"] == found.seen["not whole"] == 0
        assert [each.in_flight for each in stats.origins.values()] == [0]

    holds()


class Steps:
    """A server's answer to /a in two halves, the second once it is told to; to all others in one."""

    def __init__(self) -> None:
        self.rest = asyncio.Event()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            if b" /a " in head:
                writer.write(OK % (8, b"AAAA"))
                await self.rest.wait()
                writer.write(b"aaaa")
            else:
                writer.write(OK % (6, b"SECRET"))


async def until(condition: Any) -> None:
    """Until it holds, however long the machine takes."""
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0)


async def test_reader_that_holds_a_part_while_another_task_closes(listen):
    """It gets what had come of its own, the next request its answer, on the same connection."""
    server = Steps()
    url = await listen(server)
    async with seawall.AsyncClient(retry=None) as client:
        response = await client.send(client.build_request("GET", f"{url}/a"), stream=True)
        parts = response.aiter_raw()
        assert await anext(parts) == b"AAAA"
        server.rest.set()
        (connection,) = client.engine.wire.pool.connections
        await until(lambda: connection._response.is_complete)
        await response.aclose()
        assert (await client.get(f"{url}/b")).content == b"SECRET"
        assert [part async for part in parts] == [b"aaaa"]
        assert client.stats().connections == 1


async def test_reader_whose_response_is_closed_in_the_midst(listen):
    """It hears of it, at once, whether it waits for a part or holds one."""
    for is_waiting in (True, False):
        url = await listen(Steps())
        async with seawall.AsyncClient(retry=None) as client:
            response = await client.send(client.build_request("GET", f"{url}/a"), stream=True)
            parts = response.aiter_raw()
            assert await anext(parts) == b"AAAA"
            waiter = asyncio.ensure_future(anext(parts)) if is_waiting else None
            await asyncio.sleep(0)
            await response.aclose()
            with pytest.raises(ConnectionLost, match="closed"):
                await (anext(parts) if waiter is None else waiter)
            assert (await client.get(f"{url}/b")).content == b"SECRET"


async def test_two_readers_at_once_are_refused(listen):
    """Two tasks that wait for one response would share its parts, and one would wait for ever."""
    url = await listen(Steps())
    async with seawall.AsyncClient(retry=None) as client:
        response = await client.send(client.build_request("GET", f"{url}/a"), stream=True)
        first, second = aiter(response.stream), aiter(response.stream)
        assert await anext(first) == b"AAAA"
        waiter = asyncio.ensure_future(anext(first))
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="two tasks read one response"):
            await anext(second)
        with pytest.raises(ConnectionLost):
            await waiter
        assert client.stats().connections == 0


async def test_network_stream_of_a_plain_response_is_not_one(listen):
    """Who holds it after the response can't read, write or close what serves other requests by then."""
    url = await listen(Steps())
    async with seawall.AsyncClient() as client:
        response = await client.get(f"{url}/b")
        stream = response.extensions["network_stream"]
        with pytest.raises(httpcore.ReadError, match="switch protocols"):
            await stream.read(10)
        with pytest.raises(httpcore.WriteError, match="switch protocols"):
            await stream.write(b"GET /mine HTTP/1.1\r\n\r\n")
        with pytest.raises(httpcore.ConnectError, match="switch protocols"):
            await stream.start_tls(ssl.create_default_context())
        await stream.aclose()
        assert (await client.get(f"{url}/b")).content == b"SECRET"
        assert client.stats().connections == 1


LATE = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL"
BODILESS = [
    ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 42\r\n\r\n"),
    ("HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
    ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 42\r\n\r\n"),
    ("GET", b"HTTP/1.1 304 Not Modified\r\n\r\n"),
    ("DELETE", b"HTTP/1.1 204 No Content\r\n\r\n"),
    ("DELETE", b"HTTP/1.1 204 No Content\r\nContent-Length: 42\r\n\r\n"),
]


@pytest.mark.parametrize(("method", "head"), BODILESS, ids=str)
async def test_late_body_does_not_answer_the_next_request(serve, monkeypatch, method, head):
    """After an answer that has none by the rules, the connection rests."""
    monkeypatch.setattr(framing, "MIN_REST", 60.0)

    async def handler(request: Request) -> None:
        if request.connection == 1 and request.number == 1:
            await request.send(head)
        elif request.connection == 1:
            await request.send(LATE)
        else:
            await request.reply(body=b"good")

    server = await serve(handler)
    async with seawall.AsyncClient(retry=None) as client:
        await client.request(method, server.url)
        assert (await client.get(server.url)).content == b"good"
        assert server.connections == 2


async def test_rest_is_waited_for_at_the_cap(serve):
    """A new connection in its place would take no less, and each request would dial."""

    async def handler(request: Request) -> None:
        await request.reply()

    server = await serve(handler)
    async with seawall.AsyncClient(retry=None, limits=httpx.Limits(max_connections=1)) as client:
        await asyncio.gather(*(client.head(server.url) for _ in range(5)))
        await client.get(server.url)
        assert (server.connections, client.stats().connections) == (1, 1)


async def test_rest_is_bounded(serve, monkeypatch):
    """It begins with the headers, and `MAX_REST` bounds it, however long the server took."""
    monkeypatch.setattr(framing, "MIN_REST", 0.0)
    monkeypatch.setattr(framing, "MAX_REST", 0.0)

    async def handler(request: Request) -> None:
        await request.reply()

    server = await serve(handler)
    async with seawall.AsyncClient(retry=None) as client:
        await client.head(server.url)
        await client.get(server.url)
        assert server.connections == 1


@pytest.mark.parametrize("protocol", ["http/1.1", "h2"])
async def test_connection_serves_the_name_only_that_it_was_verified_for(listen, protocol):
    """`sni_hostname` differs from request to request, at one address."""
    authority, context, names = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), []
    authority.issue_cert("a.test", "b.test", "localhost").configure_cert(context)
    context.sni_callback = lambda _, name, __: names.append(name)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(OK % (2, b"ok"))

    url = await listen(handler, ssl=context)
    async with seawall.AsyncClient(verify=trusting, retry=None, http2=protocol == "h2") as client:
        for name in ("a.test", "b.test", "a.test", None):
            extensions = {} if name is None else {"sni_hostname": name}
            assert (await client.get(url, extensions=extensions)).status_code == 200
        with pytest.raises(seawall.errors.HostnameMismatch):
            await client.get(url, extensions={"sni_hostname": "c.test"})
        assert names == ["a.test", "b.test", "localhost", "c.test"]


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, MemoryError])
def test_interrupts_pass_through_the_parser(monkeypatch, kind):
    """What struck while llhttp called us is not the server's fault, and is raised as itself."""

    def struck(self: Parser, part: bytes) -> None:
        raise kind

    monkeypatch.setattr(Parser, "on_body", struck)
    parser = Parser()
    answer = parser.begin(b"GET")
    with pytest.raises(kind):
        parser.feed(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")
    assert answer.failure is None


def test_idle_parser_holds_nothing_of_the_last_answer():
    """An idle connection is there for as long as it may be used, and its last body may be large."""
    parser = Parser()
    answer = parser.begin(b"GET")
    parser.feed(OK % (2, b"ok"))
    parser.response = NOTHING
    assert parser.response is not answer
    assert answer.take() == b"ok"


def test_tiny_parts_are_joined():
    """A body of single bytes that nobody takes costs a few bytes each, and not fifty."""
    parser = Parser()
    answer = parser.begin(b"GET")
    parser.feed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 100_000)
    assert len(answer.parts) < 2048
    assert answer.take() == b"x" * 100_000


HTTP10 = b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n"


@pytest.mark.parametrize(
    ("head", "is_kept"),
    [
        (HTTP10 + b"Content-Length: 0\r\n\r\n", True),
        (HTTP10 + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", False),
        (HTTP10 + b"Transfer-Encoding: chunked\r\nKeep-Alive: timeout=5\r\n\r\n0\r\n\r\n", False),
        (b"HTTP/1.1 204 No Content\r\nContent-Length: 42\r\n\r\n", False),
        (b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", False),
        (b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", True),
        (b"HTTP/1.1 204 No Content\r\n\r\n", True),
    ],
)
def test_faulty_framing_ends_the_connection(head, is_kept):
    """HTTP/1.0 knows no chunks (RFC 9112 section 6.1), and 204 no length (RFC 9110 section 8.6)."""
    parser = Parser()
    answer = parser.begin(b"GET")
    parser.feed(head)
    assert (answer.is_complete, answer.is_kept) == (True, is_kept)


@pytest.mark.parametrize(
    "data",
    [
        b"RTSP/1.0 200 OK\r\n\r\n",
        b"ICE/1.0 200 OK\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nRTSP/1.0 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n X: y\r\n\r\n",
        b"HTTP/1.1 200 OK\n X: y\n\n",
        b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\n X: y\r\n\r\n",
    ],
)
@pytest.mark.parametrize("size", [1, 2, 1000])
def test_what_llhttp_would_take_and_is_not_http(data, size):
    """Another protocol's status line, and a first header line that begins with a space; in any pieces."""
    parser = Parser()
    answer = parser.begin(b"GET")
    for begin in range(0, len(data), size):
        parser.feed(data[begin : begin + size])
    assert answer.failure is not None
    assert not answer.has_head


@pytest.mark.parametrize("interim", [b"HTTP/1.0 100 Continue", b"HTTP/1.1 103 Hints\r\nConnection: close"])
@pytest.mark.parametrize("size", [1, 1000])
def test_interim_answers_that_say_the_end_are_skipped(interim, size):
    """A plain 1xx says nothing of the connection, whatever it says."""
    parser = Parser()
    answer = parser.begin(b"GET")
    data = interim + b"\r\n\r\n" + OK % (2, b"ok")
    for begin in range(0, len(data), size):
        parser.feed(data[begin : begin + size])
    assert (answer.status, answer.is_complete, answer.is_kept, answer.take()) == (200, True, True, b"ok")


@pytest.mark.parametrize("begin", [b"HTTP/1.1 103 X\r\nlink: ", b"HTTP/1.1 200 "])
def test_what_is_held_is_little(begin):
    """Until a message's beginning is known to be HTTP's; a piece that comes costs as much as what is held."""
    parser = Parser()
    answer = parser.begin(b"GET")
    parser.feed(begin)
    size = 0
    while answer.failure is None:
        parser.feed(b"x" * 8)
        size += 8
    assert size <= 16 * 1024
