"""A request's body is sent from its beginning or not at all, whichever attempt, hop, call or client began it before."""

from __future__ import annotations

import asyncio
import io

import anyio
import httpx
import pytest

import seawall
from seawall.testing import Request

pytestmark = [pytest.mark.anyio, pytest.mark.each_front]

CONTENT = b"".join(b"%049999d\n" % number for number in range(4))  # anyio's files are read by line
FAST = seawall.Retry(backoff=0, throttled_backoff=0)


class Wrapper(httpx.AsyncBaseTransport):
    """A user's own, around ours."""

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self.inner = inner

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await self.inner.handle_async_request(request)

    async def aclose(self) -> None:
        await self.inner.aclose()


CLIENTS = {
    "ours": lambda: seawall.AsyncClient(follow_redirects=True, retry=FAST),
    "httpx's, over our transport": lambda: httpx.AsyncClient(
        transport=seawall.AsyncTransport(retry=FAST), follow_redirects=True
    ),
    "ours, over a wrapper of our transport": lambda: seawall.AsyncClient(
        transport=Wrapper(seawall.AsyncTransport(retry=FAST)), follow_redirects=True, retry=FAST
    ),
    "ours, over httpx's transport": lambda: seawall.AsyncClient(
        transport=httpx.AsyncHTTPTransport(), follow_redirects=True, retry=FAST
    ),
}


@pytest.fixture(params=CLIENTS.values(), ids=CLIENTS.keys())
async def any_client(request):
    async with request.param() as client:
        yield client


async def ask_again(request: Request) -> None:
    """A redirect, a challenge, or a failure, after the whole body; then a good answer."""
    await request.read()
    if request.target == "/redirect":
        await request.reply(307, location="/")
    elif request.target == "/challenge" and "authorization" not in request.headers:
        await request.reply(401, www_authenticate='Digest realm="r", nonce="n", qop="auth"')
    else:
        await request.reply()


HOPS = ("/redirect", "/challenge")


def auth() -> httpx.Auth:
    """It remembers a challenge, so each test has its own."""
    return httpx.DigestAuth("user", "password")


class Restarting:
    """An iterable that gives less the second time."""

    def __init__(self) -> None:
        self._left = [b"some", b"thing"]

    async def __aiter__(self):
        while self._left:
            yield self._left.pop(0)


class Anew:
    """An iterable that gives the same each time."""

    async def __aiter__(self):
        yield b"some"
        yield b"thing"


class Iterator:
    """What gives its parts once, and isn't a generator."""

    def __init__(self) -> None:
        self._parts = iter([b"some", b"thing"])

    def __aiter__(self):
        return self

    async def __anext__(self) -> bytes:
        try:
            return next(self._parts)
        except StopIteration:
            raise StopAsyncIteration from None


async def parts():
    yield b"some"
    yield b"thing"


class Unseekable(io.BytesIO):
    def seekable(self) -> bool:
        return False

    def seek(self, *_: int) -> int:
        raise io.UnsupportedOperation


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "body"
    path.write_bytes(b"head" + CONTENT)
    return path


@pytest.mark.parametrize("target", HOPS)
async def test_async_file_after_another_hop(any_client, serve, path, target):
    """A redirect and a challenge get all of a file, from where it was when the call began."""
    server = await serve(ask_again)
    async with await anyio.open_file(path, "rb") as file:
        await file.read(4)
        response = await any_client.put(server.url + target, content=file, auth=auth())
    assert response.status_code == 200
    assert [request.body for request in server.requests] == [CONTENT] * 2


@pytest.mark.parametrize("target", HOPS)
@pytest.mark.parametrize(
    "arguments",
    [
        lambda: {"content": seawall.replayable(parts)},
        lambda: {"content": Anew()},
        lambda: {"files": {"file": io.BytesIO(b"something")}},
    ],
    ids=["replayable", "iterable", "multipart"],
)
async def test_other_bodies_after_another_hop(any_client, serve, target, arguments):
    """Whole each time: what begins anew by itself works as it does with httpx."""
    server = await serve(ask_again)
    assert (await any_client.put(server.url + target, auth=auth(), **arguments())).status_code == 200
    first, second = (request.body for request in server.requests)
    assert first == second
    assert b"something" in first


@pytest.mark.parametrize("target", HOPS)
@pytest.mark.parametrize(
    "arguments",
    [
        lambda: {"content": parts()},
        lambda: {"content": Iterator()},
        lambda: {"content": Restarting()},
        lambda: {"files": {"file": Unseekable(b"something")}},
    ],
    ids=["generator", "iterator", "iterable that gives less", "multipart of a file that can't be sought"],
)
async def test_spent_body_is_not_sent_as_a_whole_one(any_client, serve, target, arguments):
    """The server gets it once, and the caller an error of httpx's that names the way out."""
    server = await serve(ask_again)
    with pytest.raises(httpx.TransportError, match=r"seawall\.replayable") as caught:
        await any_client.put(server.url + target, auth=auth(), **arguments())
    assert isinstance(caught.value, httpx.StreamConsumed | httpx.LocalProtocolError)
    assert isinstance(caught.value, seawall.errors.BodySpent)
    assert [request.target for request in server.requests if request.is_complete] == [target]


async def test_error_says_how_much_each_reading_gave(serve):
    """The bytes of the first one, and those of the one that gave less."""
    server = await serve(ask_again)
    async with seawall.AsyncClient(follow_redirects=True) as client:
        with pytest.raises(seawall.errors.BodySpent, match="gave 9 bytes at first, but 0 when"):
            await client.put(server.url + "/redirect", content=Restarting())


async def fail(request: Request) -> None:
    await request.read()
    await request.reply(503)


@pytest.mark.parametrize(
    ("body", "count"), [(Restarting, 1), (Iterator, 1), (parts, 1), (lambda: seawall.replayable(parts), 3)]
)
async def test_retries_of_nested_transports(serve, body, count):
    """Whichever of the two layers retries, no attempt of either sends less than the first did."""
    server = await serve(fail)
    async with CLIENTS["ours, over a wrapper of our transport"]() as client:
        assert (await client.put(server.url, content=body())).status_code == 503
    assert [request.body for request in server.requests] == [b"something"] * count


async def test_request_that_is_sent_again(any_client, serve, path):
    """A file begins where it began when its request was first sent; a generator is refused, as with httpx."""
    server = await serve(ask_again)
    async with await anyio.open_file(path, "rb") as file:
        await file.read(4)
        request = any_client.build_request("PUT", server.url, content=file)
        for _ in range(2):
            await any_client.send(request)
    assert [request.body for request in server.requests] == [CONTENT] * 2
    request = any_client.build_request("PUT", server.url, content=parts())
    await any_client.send(request)
    with pytest.raises(httpx.StreamConsumed):
        await any_client.send(request)
    assert len(server.requests) == 3


async def test_file_in_a_later_call(any_client, serve, path):
    """It is sent from where its owner has it then: another call is another body."""
    server = await serve(ask_again)
    async with await anyio.open_file(path, "rb") as file:
        for offset in (4, 0):
            await file.seek(offset)
            await any_client.put(server.url, content=file)
    assert [request.body for request in server.requests] == [CONTENT, b"head" + CONTENT]


@pytest.mark.parametrize("make", [parts, Iterator])
async def test_rest_of_an_iterator_in_a_later_call(serve, make):
    """What one call has begun, another doesn't take for a whole body: not even where the first broke off."""

    async def refuse(request: Request) -> None:
        request.reset()

    server, body = await serve(refuse), make()
    async with seawall.AsyncClient() as client:
        with pytest.raises(httpx.TransportError):
            await client.put(server.url, content=body)
        with pytest.raises(seawall.errors.BodySpent):
            await client.put(server.url, content=body)
    assert len(server.requests) == 1


async def test_generator_that_was_read_to_its_end(serve):
    """Not an empty body."""
    server, body = await serve(ask_again), parts()
    assert [part async for part in body] == [b"some", b"thing"]
    async with seawall.AsyncClient() as client:
        with pytest.raises(seawall.errors.BodySpent):
            await client.put(server.url, content=body)
    assert server.requests == []


class Slow:
    """An async file whose reads wait until they are let."""

    def __init__(self, content: bytes) -> None:
        file = io.BytesIO(content)
        self.read, self.seek, self.tell = file.read, file.seek, file.tell
        self.may_read = asyncio.Event()
        self.is_read = asyncio.Event()

    def __aiter__(self):
        return self

    async def __anext__(self) -> bytes:
        self.is_read.set()
        await self.may_read.wait()
        if not (part := self.read(4)):
            raise StopAsyncIteration
        return part


async def test_file_of_two_calls_at_once(serve):
    """The second one is refused while the first one reads: neither gets parts that are the other's."""
    server, file = await serve(ask_again), Slow(b"something")
    async with seawall.AsyncClient() as client, asyncio.TaskGroup() as tasks:
        first = tasks.create_task(client.put(server.url, content=file))
        await file.is_read.wait()
        with pytest.raises(seawall.errors.BodySpent, match="is being read for another request"):
            await client.put(server.url, content=file)
        file.may_read.set()
        assert (await first).status_code == 200
    assert [request.body for request in server.requests if request.is_complete] == [b"something"]


async def test_reading_that_another_transport_leaves_is_not_waited_for():
    """It was left between two parts, and may never be closed: the next attempt reads the body beside it."""
    left, bodies = [], []

    class Leaving(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            reading = aiter(request.stream)  # type: ignore[arg-type]
            if not left:
                left.append(reading)
                await anext(reading)
                raise httpx.ReadError("broken")
            bodies.append([part async for part in reading])
            return httpx.Response(200)

    async with seawall.AsyncClient(transport=Leaving(), retry=FAST) as client:
        response = await client.put("http://api.test/", content=seawall.replayable(lambda: [b"a", b"b"]))
    assert (response.status_code, bodies) == (200, [[b"a", b"b"]])
    await left[0].aclose()


async def test_file_that_another_request_begins_anew():
    """The first reading was left between two parts: it may not go on where the second one is."""
    readings = []

    class Held(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            readings.append(aiter(request.stream))  # type: ignore[arg-type]
            return httpx.Response(200)

    file = Slow(b"something")
    file.may_read.set()
    async with seawall.AsyncClient(transport=Held()) as client:
        for _ in range(2):
            await client.put("http://api.test/", content=file)
    assert await anext(readings[0]) == b"some"
    file.seek(0)
    assert await anext(readings[1]) == b"some"
    with pytest.raises(seawall.errors.BodySpent, match="begun anew"):
        await anext(readings[0])
    assert await anext(readings[1]) == b"thin"


async def test_length_that_is_not_the_files(serve, path):
    """Content-Length says more than is left of the file: the request isn't completed."""
    server = await serve(ask_again)
    async with await anyio.open_file(path, "rb") as file, seawall.AsyncClient() as client:
        await file.read(4)
        with pytest.raises(httpx.LocalProtocolError, match="content-length"):
            await client.put(server.url, content=file, headers={"Content-Length": str(4 + len(CONTENT))})
    assert not any(request.is_complete for request in server.requests)


@pytest.mark.parametrize("url", ["ftp://api.test/", "http://127.0.0.1:1/"])
async def test_request_stays_as_it_is(url):
    """Whatever becomes of the call, the request has its own stream and headers, also while it is sent."""
    seen = []

    class Looking(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            seen.append(request is given or given.stream is not stream)
            raise httpx.ConnectError("refused")

    given = httpx.Request("PUT", url, content=parts())
    stream, headers = given.stream, given.headers.copy()
    for transport in (seawall.AsyncTransport(retry=None), seawall.AsyncTransport(Looking(), retry=None)):
        async with transport:
            with pytest.raises(httpx.TransportError):
                await transport.handle_async_request(given)
        assert given.stream is stream
        assert given.headers == headers
    assert seen == [False]


async def test_equal_streams_are_told_apart(serve):
    """A stream of a user's that equals another, and has no hash, is a body of its own."""

    class Equal(httpx.AsyncByteStream):
        __hash__ = None  # type: ignore[assignment]

        def __eq__(self, other: object) -> bool:
            return True

        async def __aiter__(self):
            yield b"something"

    server = await serve(ask_again)
    async with seawall.AsyncClient() as client:
        for _ in range(2):
            await client.send(client.build_request("PUT", server.url, content=Equal()))
    assert [request.body for request in server.requests] == [b"something"] * 2


async def test_iterator_without_weak_references(serve):
    """A class with slots is a body too."""

    class Slotted:
        __slots__ = ("_parts",)

        def __init__(self) -> None:
            self._parts = iter([b"some", b"thing"])

        def __aiter__(self):
            return self

        async def __anext__(self) -> bytes:
            for part in self._parts:
                return part
            raise StopAsyncIteration

    server = await serve(ask_again)
    async with seawall.AsyncClient(follow_redirects=True) as client:
        assert (await client.put(server.url, content=Slotted())).status_code == 200
        with pytest.raises(seawall.errors.BodySpent):
            await client.put(server.url + "/redirect", content=Slotted())


def test_nothing_is_remembered_of_bodies_that_are_freed():
    """What is known of a body goes with it."""
    from seawall._httpx.convert import Outgoing
    from seawall.core.body import _PASTS

    before = len(_PASTS)
    body = Outgoing(httpx.Request("PUT", "http://api.test/", content=parts()))
    assert len(_PASTS) == before + 2
    del body
    assert len(_PASTS) == before
