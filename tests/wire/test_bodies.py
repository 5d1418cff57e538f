"""Bodies that are compressed, cut, or too large."""

from __future__ import annotations

import asyncio
import gc
import gzip
import random
import zlib
from collections.abc import AsyncIterator

import httpx
import pytest

import seawall
from seawall.testing import Body, FaultServer, Request
from seawall.testing.leaks import held
from seawall.wire.decoder import FREE
from seawall.wire.http1.room import Room
from tests.bodies import CODINGS, NAMES, encoded, raw_deflate

pytestmark = pytest.mark.anyio

TEXT = b"seawall " * 20_000  # 160 kB
LIMIT = 100_000


@pytest.fixture
async def server() -> AsyncIterator[FaultServer]:
    async with FaultServer() as server:
        yield server


def answering(body: bytes, coding: str = "", *, is_chunked: bool = False):
    """A step with this body."""

    async def step(request: Request) -> None:
        headers = {"content-encoding": coding} if coding else {}
        if is_chunked:
            said = f"content-encoding: {coding}" if coding else "x: y"
            head = f"HTTP/1.1 200 OK\r\n{said}\r\ntransfer-encoding: chunked"
            chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:5000], body[5000:]) if part)
            await request.send(head.encode() + b"\r\n\r\n" + chunks + b"0\r\n\r\n")
        else:
            await request.reply(200, body, headers)

    return step


async def drained(client: seawall.AsyncClient, url: str) -> bytes:
    async with client.stream("GET", url) as response:
        return b"".join([part async for part in response.aiter_bytes()])


async def both_ways(client: seawall.AsyncClient, url: str) -> list[bytes]:
    """Read at once, the short way of a second call, and streamed."""
    return [(await client.get(url)).content for _ in range(2)] + [await drained(client, url)]


@pytest.mark.parametrize("is_chunked", [False, True])
@pytest.mark.parametrize(
    ("coding", "encode"),
    [
        ("gzip", gzip.compress),
        ("x-gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("deflate", raw_deflate),
        ("gzip, deflate", lambda data: zlib.compress(gzip.compress(data))),
        ("gzip", lambda data: gzip.compress(data[:1000]) + gzip.compress(data[1000:])),
        ("gzip", lambda data: gzip.compress(data) + bytes(512)),
        ("br", CODINGS["br"]),
        ("zstd", CODINGS["zstd"]),
        ("zstd, br", lambda data: encoded(["zstd", "br"], data)),
        ("zstd, gzip", lambda data: encoded(["zstd", "gzip"], data)),
        ("identity", lambda data: data),
        ("unheard-of", lambda data: data),
    ],
    ids=[
        "gzip",
        "x-gzip",
        "deflate",
        "raw deflate",
        "two",
        "members",
        "padded",
        "br",
        "zstd",
        "zstd-br",
        "zstd-gzip",
        "identity",
        "unknown",
    ],
)
async def test_codings(server, coding, encode, is_chunked):
    """All that servers send, small and large, in one part or many."""
    for data in (b"", b"short", TEXT, bytes(range(256)) * 400):
        url = server.script("k", answering(encode(data), coding, is_chunked=is_chunked))
        async with seawall.AsyncClient() as client:
            assert await both_ways(client, url) == [data] * 3


@pytest.mark.parametrize("coding", NAMES)
@pytest.mark.parametrize("size", [1, 12, 100])
async def test_compressed_body_that_ends_too_early(server, coding, size):
    """Its length is right; its data isn't all there."""
    url = server.script("k", answering(encoded([coding], bytes(range(256)) * 4)[:-size], coding))
    async with seawall.AsyncClient() as client:
        for _ in range(2):
            with pytest.raises(httpx.DecodingError, match="ends before"):
                await client.get(url)
        async with client.stream("GET", url) as response:
            with pytest.raises(httpx.DecodingError, match="ends before"):
                await response.aread()


@pytest.mark.parametrize("coding", NAMES)
async def test_part_of_a_compressed_body(server, coding):
    """206: what is there is decoded, however it is read."""
    data = random.Random(5).randbytes(300_000)
    body = encoded([coding], data)[:-100]

    async def step(request: Request) -> None:
        await request.reply(206, body, {"content-encoding": coding, "content-range": f"bytes 0-{len(body) - 1}/*"})

    async with seawall.AsyncClient() as client:
        parts = await both_ways(client, server.script("k", step))
    assert len({*parts}) == 1
    assert data.startswith(parts[0])
    assert len(parts[0]) > 100_000


@pytest.mark.parametrize("method", ["HEAD", "GET"])
async def test_no_body_at_all_is_whole(server, method):
    """204, 304 and the answers to HEAD may name a coding."""

    async def step(request: Request) -> None:
        await request.send(b"HTTP/1.1 204 No Content\r\ncontent-encoding: gzip\r\n\r\n")

    async with seawall.AsyncClient() as client:
        assert (await client.request(method, server.script("k", step))).content == b""


@pytest.mark.parametrize("size", [0, 1, 70_000, 1_500_000])
async def test_cut_body_says_how_much_had_come(server, size):
    """However much, read at once, with what came beside the head."""

    async def step(request: Request) -> None:
        await request.send(b"HTTP/1.1 200 OK\r\ncontent-length: 3000000\r\n\r\n" + bytes(size))
        request.close()

    url = server.script("k", step)
    async with seawall.AsyncClient(retry=None) as client:
        with pytest.raises(httpx.RemoteProtocolError, match=f"{size} of 3000000 bytes of the body had come") as caught:
            await client.get(url)
        assert caught.value.received == size
        assert held(client.stats()) == []
        assert client.stats().connections == 0


@pytest.mark.parametrize("how", ["cut", "timeout", "cancelled"])
async def test_body_that_fails_is_freed_at_once(server, how):
    """Without the garbage collector, because each would keep its megabytes."""

    async def step(request: Request) -> None:
        await request.send(b"HTTP/1.1 200 OK\r\ncontent-length: 3000000\r\n\r\n" + bytes(1_000_000))
        if how == "cut":
            request.close()
        else:
            await request.hang()

    def rooms() -> int:
        return sum(type(each) is Room for each in gc.get_objects())

    async with seawall.AsyncClient(retry=None, timeout=httpx.Timeout(5.0, read=0.1)) as client:
        gc.collect()
        gc.disable()
        try:
            for number in range(3):
                call = asyncio.create_task(client.get(server.script(f"k{number}", step)))
                if how == "cancelled":
                    while not rooms():
                        await asyncio.sleep(0)
                    call.cancel()
                await asyncio.wait([call])
                assert call.cancelled() or isinstance(call.exception(), httpx.TransportError)
                del call
                await asyncio.sleep(0)
            assert rooms() == 0
        finally:
            gc.enable()


@pytest.mark.parametrize("size", [65_536, 1_000_000, 5_000_001])
@pytest.mark.parametrize("listener", ["", "tls"])
async def test_large_bodies_at_once(server, listener, size):
    """Each caller gets the bytes of its own, whatever else is read at that time."""
    bodies = [random.Random(number).randbytes(size) for number in range(4)]
    paths = [server.script(f"k{number}", answering(body), answering(body)) for number, body in enumerate(bodies)]
    if listener:
        port = server.listen(listener)
        paths = [path.replace(server.url, port.url) for path in paths]
    async with seawall.AsyncClient(verify=server.client_context()) as client:
        for _ in range(2):
            responses = await asyncio.gather(*map(client.get, paths))
            assert [response.content for response in responses] == bodies
            assert [response.extensions["seawall"][0].bytes_in for response in responses] > [size] * 4


@pytest.mark.parametrize("size", [LIMIT, LIMIT + 1])
@pytest.mark.parametrize("coding", ["", "gzip"])
@pytest.mark.parametrize("is_chunked", [False, True])
async def test_max_response_size(server, size, coding, is_chunked):
    """A byte more than that is an error, read at once or streamed, decoded; it isn't retried, and nothing is left."""
    data = bytes(size)
    body = gzip.compress(data) if coding else data
    url = server.script("k", answering(body, coding, is_chunked=is_chunked))
    async with seawall.AsyncClient(max_response_size=LIMIT) as client:
        if size == LIMIT:
            assert await both_ways(client, url) == [data] * 3
            return
        for _ in range(2):
            with pytest.raises(httpx.RemoteProtocolError, match=f"max_response_size={LIMIT}") as caught:
                await client.get(url)
            assert isinstance(caught.value, seawall.errors.ResponseTooLarge)
        with pytest.raises(seawall.errors.ResponseTooLarge):
            await drained(client, url)
        (state,) = client.stats().origins.values()
        assert (state.in_flight, len(server.attempts("k"))) == (0, 3)


async def test_bomb(server):
    """100 kB that become 100 MB: refused as it grows, at 16 MB; others have their turn meanwhile."""
    turns, is_over = 0, False

    async def others() -> None:
        nonlocal turns
        while not is_over:
            turns += 1
            await asyncio.sleep(0)

    async with seawall.AsyncClient() as client:
        watching = asyncio.create_task(others())
        with pytest.raises(seawall.errors.ResponseTooLarge, match="a bomb") as caught:
            await client.get(server.script("k", "bomb"))
        before = turns
        with pytest.raises(seawall.errors.ResponseTooLarge):
            await drained(client, server.script("k", "bomb"))
        is_over = True
        await watching
    assert before >= 2
    grown = int(str(caught.value).rpartition("became ")[2].partition(":")[0])
    assert FREE < grown < FREE + 10_000_000


async def test_codings_without_end(server):
    """Six, one upon another: refused at the headers, and the connections are given back."""

    async def step(request: Request) -> None:
        head = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip, gzip, gzip, gzip, gzip, gzip\r\ncontent-length: 9\r\n\r\n"
        await request.send(head + b"x")

    async with seawall.AsyncClient(limits=httpx.Limits(max_connections=2)) as client:
        for _ in range(5):
            with pytest.raises(seawall.errors.ResponseTooLarge, match="6 codings"):
                await client.get(server.script("k", step))
            with pytest.raises(seawall.errors.ResponseTooLarge):
                await drained(client, server.script("k", step))
        assert client.stats().connections == 0


async def test_bomb_in_a_bomb(server):
    """1 kB that become 1 MB that become 1 GB: no more than some MB are ever made."""
    body = gzip.compress(gzip.compress(bytes(10**9), 1), 9)
    async with seawall.AsyncClient(max_response_size=1000) as client:
        with pytest.raises(seawall.errors.ResponseTooLarge) as caught:
            await client.get(server.script("k", answering(body, "gzip, gzip")))
    assert "max_response_size=1000" in str(caught.value)


@pytest.mark.parametrize("length", range(4090, 4100))
async def test_member_that_begins_between_two_slices(server, length):
    """Wherever that is, and none is lost."""
    first = gzip.compress(b"")
    padded = first[:3] + b"\x10" + first[4:10] + b"c" * (length - len(first) - 1) + b"\0" + first[10:]  # a comment
    assert len(padded) == length
    body = padded + gzip.compress(b"second") + bytes(5000)
    async with seawall.AsyncClient() as client:
        assert await both_ways(client, server.script("k", answering(body, "gzip"))) == [b"second"] * 3


@pytest.mark.parametrize("step", ["huge_header", "many_headers", "endless_headers"])
async def test_headers_too_large(server, step):
    """Asked again, they would be no smaller."""
    async with seawall.AsyncClient() as client:
        with pytest.raises(seawall.errors.ResponseTooLarge, match="headers"):
            await client.get(server.script("k", step))
    assert len(server.attempts("k")) == 1


async def test_max_response_size_over_other_transports():
    """A mock, or httpx's own: at once, and streamed."""

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, stream=Body(*[b"x" * 1000] * 10))

    async with seawall.AsyncClient(transport=httpx.MockTransport(answer), max_response_size=5000) as client:
        with pytest.raises(seawall.errors.ResponseTooLarge):
            await client.get("http://a/")
        with pytest.raises(seawall.errors.ResponseTooLarge):
            await drained(client, "http://a/")
        assert client.stats().origins[seawall.Origin("http", "a", 80)].in_flight == 0


async def test_size_that_cannot_be():
    """Refused at once."""
    for wrong in (-1, 1.5, True):
        with pytest.raises((TypeError, ValueError), match="max_response_size"):
            seawall.AsyncClient(max_response_size=wrong)
