"""A request's body and its answer, each of which may end first; over HTTP/1.1, with TLS and without."""

from __future__ import annotations

import array
import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import trustme

import seawall
from seawall.errors import ConnectionLost

pytestmark = pytest.mark.anyio

HEAD = b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n"
MB = 2**20
SNI = {"sni_hostname": "localhost"}


@pytest.fixture(scope="module")
def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's and a client's."""
    authority, serving = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(serving)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    return serving, trusting


@pytest.fixture(params=["http", "https"])
def start(request, listen, contexts):
    """Starts a server and makes a client of it: ``url, client = await start(handler)``."""

    async def start(handler: Any, **settings: Any) -> tuple[str, seawall.AsyncClient]:
        arguments = {"ssl": contexts[0]} if request.param == "https" else {}
        given = {"retry": None, "verify": contexts[1], "timeout": 20.0} | settings
        return await listen(handler, **arguments), seawall.AsyncClient(**given)

    return start


async def read_chunk(reader: asyncio.StreamReader) -> bytes:
    size = int(await reader.readline(), 16)
    return (await reader.readexactly(size + 2))[:-2]


def no_tasks_but(mine: set[asyncio.Task[Any]]) -> bool:
    return not {task for task in asyncio.all_tasks() - mine if "Upload" in repr(task)}


async def test_echo_is_read_while_the_body_is_sent(start):
    """Each part is sent when the one before came back: neither side waits for the other's end."""
    came = asyncio.Event()

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            data = b"x"
            while data:
                data = await read_chunk(reader)
                writer.write(b"%x\r\n%b\r\n" % (len(data), data))

    async def parts() -> AsyncIterator[bytes]:
        for number in range(5):
            came.clear()
            yield b"%d" % number
            await came.wait()

    url, client = await start(echo)
    async with client:
        async with client.stream("POST", url, content=parts()) as response:
            seen = b""
            async for part in response.aiter_raw():
                seen += part
                came.set()
        assert seen == b"01234"
        assert client.stats().connections == 1
        came.set()
        (state,) = client.stats().origins.values()
        assert (state.in_flight, state.idle) == (0, 1)


@pytest.mark.parametrize("how", ["memory", "iterator"])
async def test_answer_below_300_does_not_end_the_upload(start, how):
    """A store that says 200 early gets all of it, and then the next request."""
    stored = 0
    answered, whole = asyncio.Event(), asyncio.Event()

    async def store(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal stored
        while True:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(HEAD % (200, 2) + b"ok")
            await writer.drain()
            answered.set()
            left = 8 * MB
            while left:
                size = len(await reader.read(min(left, 65536)))
                assert size
                left, stored = left - size, stored + size
            whole.set()

    async def parts() -> AsyncIterator[bytes]:
        await answered.wait()
        for _ in range(8):
            yield b"x" * MB

    url, client = await start(store)
    async with client:
        content = b"x" * 8 * MB if how == "memory" else parts()
        response = await client.put(url, content=content, headers={"content-length": str(8 * MB)})
        await whole.wait()
        assert (response.status_code, response.text, stored) == (200, "ok", 8 * MB)
        assert (await client.put(url, content=b"x" * 8 * MB)).text == "ok"
        assert client.stats().connections == 1


@pytest.mark.parametrize("status", [300, 400, 413, 500])
async def test_answer_of_300_or_more_ends_the_upload(start, status):
    """It is given at once, though the caller's iterator waits; the connection isn't used again."""
    connections, ended = 0, asyncio.Event()

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HEAD % (status, 2) + b"no")
        await reader.read()

    async def parts() -> AsyncIterator[bytes]:
        try:
            yield b"x"
            await asyncio.get_running_loop().create_future()
        finally:
            ended.set()

    url, client = await start(refuse)
    async with client:
        for expected in (1, 2):
            ended.clear()
            response = await client.post(url, content=parts())
            assert (response.status_code, response.text, ended.is_set()) == (status, "no", True)
            assert connections == expected
        assert client.stats().connections == 0


class Mine(Exception):
    """The caller's own."""


@pytest.mark.parametrize("is_answered", [True, False])
async def test_error_of_the_callers_iterator_is_raised(start, is_answered):
    """By the call; where the answer has begun, by the read of it. The connection is closed."""
    answered = asyncio.Event()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if is_answered:
            writer.write(HEAD % (200, 2) + b"ok")
        await reader.read()

    async def parts() -> AsyncIterator[bytes]:
        yield b"x"
        if is_answered:
            await answered.wait()
        raise Mine("broken")

    url, client = await start(handler)
    async with client:
        if is_answered:
            async with client.stream("POST", url, content=parts()) as response:
                answered.set()
                assert response.status_code == 200
                with pytest.raises(Mine, match="broken"):
                    await response.aread()
        answered.set()
        with pytest.raises(Mine, match="broken"):
            await client.post(url, content=parts())
        assert client.stats().connections == 0


NUMBERS = array.array("I", range(30))


@pytest.mark.parametrize("part", [NUMBERS, memoryview(NUMBERS)[::2], bytearray(b"abc")], ids=["array", "view", "bytes"])
async def test_parts_that_are_not_bytes(start, part):
    """What the server reads is their bytes, and then the next request: an array's length is another than theirs."""
    came: list[bytes] = []

    async def read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await reader.readuntil(b"\r\n\r\n")
            came.append(b"")
            while data := await read_chunk(reader):
                came[-1] += data
            writer.write(HEAD % (200, 2) + b"ok")

    async def parts() -> AsyncIterator[Any]:
        yield part

    url, client = await start(read)
    async with client:
        for _ in range(2):
            assert (await client.post(url, content=parts())).text == "ok"
    assert came == [memoryview(part).tobytes()] * 2


@pytest.mark.parametrize("is_http2", [False, True])
@pytest.mark.parametrize("kind", [asyncio.CancelledError, GeneratorExit])
async def test_iterator_that_awaits_what_was_cancelled(listen, is_http2, kind):
    """The call ends as it would without a task of its own for the body; it doesn't wait for the server, which waits."""

    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if is_http2:
            writer.write(bytes((0, 0, 0, 4, 0, 0, 0, 0, 0)))  # SETTINGS
        while await reader.read(65536):
            pass

    async def parts() -> AsyncIterator[bytes]:
        yield b"x"
        raise kind

    url = await listen(mute)
    async with seawall.AsyncClient(http1=not is_http2, http2=is_http2, timeout=None, deadline=None) as client:
        with pytest.raises(kind):
            async with asyncio.timeout(20):
                await client.post(url, content=parts())
        (state,) = client.stats().origins.values()
        assert state.in_flight == 0
    assert no_tasks_but({asyncio.current_task()})


@pytest.mark.parametrize("how", ["aclose", "leave", "cancel", "client"])
async def test_closing_the_response_ends_the_upload(start, how):
    """The iterator is closed, the permit given back, the connection closed, and no task is left."""
    ended = asyncio.Event()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx")
        await reader.read()

    async def parts() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x" * 1000
                await asyncio.sleep(0)
        finally:
            ended.set()

    url, client = await start(handler)
    before = asyncio.all_tasks()
    async with client:
        response = await client.send(client.build_request("POST", url, content=parts()), stream=True)
        (state,) = client.stats().origins.values()
        assert (state.in_flight, ended.is_set()) == (1, False)
        if how == "aclose":
            await response.aclose()
        elif how == "leave":
            async for _ in response.aiter_raw():
                break
            await response.aclose()
        elif how == "client":
            await client.aclose()
        else:
            reading = asyncio.ensure_future(response.aread())
            await asyncio.sleep(0)
            reading.cancel()
            await asyncio.wait([reading])
        async with asyncio.timeout(20):
            await ended.wait()
            while not no_tasks_but(before):
                await asyncio.sleep(0)
        await response.aclose()
        (state,) = client.stats().origins.values()
        assert (state.in_flight, client.stats().connections) == (0, 0)


async def test_write_timeout_after_a_complete_answer_gives_the_answer(start):
    """A server that says 200 and takes no more of the body; the connection is closed."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HEAD % (200, 2) + b"ok")
        await writer.drain()
        await asyncio.get_running_loop().create_future()

    url, client = await start(handler, timeout=httpx.Timeout(20.0, write=0.1))
    async with client:
        response = await client.put(url, content=b"x" * 50 * MB)
        assert (response.status_code, response.text) == (200, "ok")
        assert client.stats().connections == 0


async def test_write_timeout_without_an_answer(start):
    """Nothing is taken, nothing comes."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await asyncio.get_running_loop().create_future()

    url, client = await start(handler, timeout=httpx.Timeout(20.0, write=0.1))
    async with client:
        with pytest.raises(seawall.errors.WriteTimeout, match=r"too little was taken within 0\.1 s"):
            await client.put(url, content=b"x" * 50 * MB)
        assert client.stats().connections == 0


async def test_end_of_the_connection_ends_the_upload(start):
    """A complete answer stands, whatever was left of the request; one that is cut is an error."""
    for length in (2, 3):

        async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, length: int = length) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(HEAD % (200, length) + b"ok")
            await writer.drain()
            await asyncio.sleep(0)

        async def parts() -> AsyncIterator[bytes]:
            yield b"x"
            await asyncio.get_running_loop().create_future()

        url, client = await start(handler)
        async with client:
            if length == 2:
                assert (await client.post(url, content=parts())).text == "ok"
            else:
                with pytest.raises(httpx.RemoteProtocolError, match="2 of 3 bytes of the body had come"):
                    await client.post(url, content=parts())
            assert client.stats().connections == 0


@pytest.mark.parametrize("size", [10, 50 * MB])
async def test_body_is_not_sent_again_before_the_last_upload_is_over(start, size):
    """A retry reads the caller's source only once the attempt before has let go of it."""
    in_use = 0

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(5)
        writer.write(b"HTTP/1.1 503 X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    async def parts() -> AsyncIterator[bytes]:
        nonlocal in_use
        in_use += 1
        assert in_use == 1
        try:
            yield b"x" * size  # the large one isn't taken, so the source isn't asked again
            await asyncio.get_running_loop().create_future()
        finally:
            try:
                for _ in range(20):
                    await asyncio.sleep(0)
            finally:  # it may be cancelled meanwhile
                in_use -= 1

    url, client = await start(handler, retry=seawall.Retry(throttled_backoff=0.0))
    async with client:
        response = await client.put(url, content=seawall.replayable(parts))
        assert (response.status_code, len(response.extensions["seawall"]), in_use) == (503, 3, 0)


@pytest.mark.parametrize("size", [10, 50 * MB])
async def test_body_is_not_sent_again_while_its_source_cleans_up(start, size):
    """An answer doesn't wait for that; the next attempt's body does, though its head is sent."""
    attempts: list[asyncio.Event] = []
    in_use, heads = 0, 0

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal heads
        await reader.readuntil(b"\r\n\r\n")
        heads += 1
        if heads > 1:
            assert len(attempts) == heads - 1
            attempts[-1].set()
        await reader.readexactly(5)
        writer.write(b"HTTP/1.1 503 X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    async def parts() -> AsyncIterator[bytes]:
        nonlocal in_use
        in_use += 1
        assert in_use == 1
        attempts.append(asyncio.Event())
        try:
            yield b"x" * size
            await asyncio.get_running_loop().create_future()
        finally:
            await attempts[-1].wait()
            in_use -= 1

    url, client = await start(handler, retry=seawall.Retry(throttled_backoff=0.0))
    async with client:
        response = await client.put(url, content=seawall.replayable(parts))
        assert (response.status_code, len(response.extensions["seawall"]), in_use) == (503, 3, 1)
        attempts[-1].set()


async def test_refusal_is_not_held_up_by_the_clean_up_of_the_callers_iterator(start):
    """Neither a buffered call nor a stream waits for more than a moment; the clean-up goes on, and comes to its end."""
    go_on, cleaned = asyncio.Event(), asyncio.Event()

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HEAD % (413, 2) + b"no")
        await reader.read()

    async def parts() -> AsyncIterator[bytes]:
        try:
            yield b"x"
            await asyncio.get_running_loop().create_future()
        finally:
            await go_on.wait()
            cleaned.set()

    url, client = await start(refuse)
    async with client:
        response = await client.post(url, content=parts())
        assert (response.text, cleaned.is_set()) == ("no", False)
        async with client.stream("POST", url, content=parts()) as response:
            assert (await response.aread(), cleaned.is_set()) == (b"no", False)
        (state,) = client.stats().origins.values()
        assert (state.in_flight, client.stats().connections) == (0, 0)
    go_on.set()
    await cleaned.wait()


async def test_silence_after_the_head_is_no_read_timeout_while_the_body_is_sent(start):
    """The server may well wait for the rest; once that is sent, the read timeout counts."""
    go_on = asyncio.Event()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HEAD % (200, 2))
        await reader.readuntil(b"0\r\n\r\n")
        await asyncio.get_running_loop().create_future()

    async def parts() -> AsyncIterator[bytes]:
        yield b"x"
        await go_on.wait()

    url, client = await start(handler, timeout=httpx.Timeout(20.0, read=0.1))
    async with client, client.stream("POST", url, content=parts()) as response:
        reading = asyncio.ensure_future(response.aread())
        done, _ = await asyncio.wait([reading], timeout=0.3)
        assert not done
        go_on.set()
        with pytest.raises(seawall.errors.ReadTimeout):
            await reading


async def test_lost_connection_is_told_by_the_read(start):
    """A reset while both sides go on."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HEAD % (200, 2) + b"o")
        await reader.readuntil(b"go\r\n")
        writer.transport.abort()

    async def parts() -> AsyncIterator[bytes]:
        await came.wait()
        yield b"go"
        await asyncio.get_running_loop().create_future()

    came = asyncio.Event()
    url, client = await start(handler)
    async with client:
        async with client.stream("POST", url, content=parts()) as response:
            came.set()
            with pytest.raises((ConnectionLost, httpx.RemoteProtocolError)):
                await response.aread()
        assert client.stats().connections == 0


def loops() -> list[Any]:
    """Makers of event loops; uvloop's where it is installed."""
    found = [asyncio.new_event_loop]
    try:
        import uvloop
    except ImportError:
        return found
    return [*found, uvloop.new_event_loop]


@pytest.mark.parametrize("loop", loops(), ids=lambda make: make.__module__)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_early_answer_is_heard_though_a_reset_follows_it(contexts, scheme, loop):
    """Both are in the socket before the next part is sent, so the write fails before the answer is read."""

    async def main() -> httpx.Response:
        listener = socket.create_server(("127.0.0.1", 0))
        url = f"{scheme}://127.0.0.1:{listener.getsockname()[1]}"

        def accept() -> socket.socket:
            server, _ = listener.accept()
            server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # or a reset would discard a small answer
            if scheme == "https":
                server = contexts[0].wrap_socket(server, server_side=True)
            head = b""
            while b"\r\nfirst\r\n" not in head:
                head += server.recv(1024)
            return server

        async def body() -> AsyncIterator[bytes]:
            yield b"first"
            server = await accepted
            server.sendall(HEAD % (413, 5) + b"large")
            server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset
            server.close()
            yield b"second"

        with listener:
            accepted = asyncio.ensure_future(asyncio.to_thread(accept))
            async with seawall.AsyncClient(retry=None, verify=contexts[1], timeout=20.0) as client:
                return await client.post(url, content=body(), headers={"host": "localhost"}, extensions=SNI)

    with asyncio.Runner(loop_factory=loop) as runner:
        response = runner.run(main())
    assert (response.status_code, response.content) == (413, b"large")
