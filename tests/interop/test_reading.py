"""A streamed response, read in every way by httpx.AsyncClient and seawall.AsyncClient: the same parts and errors."""

from __future__ import annotations

import pickle

import httpx
import pytest

import seawall
from seawall.testing import Request

pytestmark = [pytest.mark.anyio, pytest.mark.each_front]

CLIENTS = [httpx.AsyncClient, seawall.AsyncClient]
WAYS = {
    "aiter_bytes": lambda response: response.aiter_bytes(),
    "aiter_bytes(3)": lambda response: response.aiter_bytes(3),
    "aiter_raw": lambda response: response.aiter_raw(),
    "aiter_raw(3)": lambda response: response.aiter_raw(3),
    "aiter_text": lambda response: response.aiter_text(),
    "aiter_lines": lambda response: response.aiter_lines(),
}


async def handler(request: Request) -> None:
    head = b"HTTP/1.1 200 OK\r\n"
    if request.target == "/chunked":
        await request.send(head + b"transfer-encoding: chunked\r\n\r\n6\r\nab\ncd\n\r\n2\r\nef\r\n0\r\n\r\n")
    elif request.target == "/empty":
        await request.send(head + b"content-length: 0\r\n\r\n")
    else:
        await request.send(head + b"content-length: 9\r\n\r\nhalf")
        request.close()


@pytest.mark.parametrize("path", ["/chunked", "/empty"])
@pytest.mark.parametrize("way", WAYS)
async def test_parts_are_the_same(way, path, serve):
    """Joined, because how many parts a body comes in is the network's; its state afterwards is the same too."""
    base = (await serve(handler)).url
    seen = []
    for kind in CLIENTS:
        async with kind() as c, c.stream("GET", base + path) as response:
            parts = [part async for part in WAYS[way](response)]
            state = (response.is_closed, response.is_stream_consumed, response.num_bytes_downloaded, type(response))
        assert all(parts)
        seen.append((type(parts[0])().join(parts) if parts else None, state))
    assert seen[0] == seen[1]


@pytest.mark.parametrize("first", WAYS)
@pytest.mark.parametrize("second", WAYS)
async def test_a_body_is_read_once(first, second, serve):
    """The second reading fails as httpx's does, whether the first got to the end or stopped."""
    base = (await serve(handler)).url
    raised = []
    for kind in CLIENTS:
        for stops in (False, True):
            async with kind() as c, c.stream("GET", f"{base}/chunked") as response:
                reading = WAYS[first](response)
                async for _ in reading:
                    if stops:
                        break
                with pytest.raises(httpx.StreamError) as caught:
                    [part async for part in WAYS[second](response)]
                await reading.aclose()
            raised.append(type(caught.value))
    assert raised[:2] == raised[2:]


async def test_a_closed_body_is_not_read(serve):
    """After the `stream` block the parts have gone, as in httpx."""
    base = (await serve(handler)).url
    for kind in CLIENTS:
        async with kind() as c:
            async with c.stream("GET", f"{base}/chunked") as response:
                pass
            with pytest.raises(httpx.StreamClosed):
                await response.aiter_bytes().__anext__()


@pytest.mark.parametrize("kind", CLIENTS)
async def test_the_error_of_a_cut_body_names_its_request(kind, serve):
    """It breaks while it is read, after the response has come."""
    base = (await serve(handler)).url
    async with kind() as c, c.stream("GET", f"{base}/cut") as response:
        with pytest.raises(httpx.RemoteProtocolError) as caught:
            [part async for part in response.aiter_bytes()]
        assert caught.value.request is response.request
        assert response.num_bytes_downloaded == 4


@pytest.mark.parametrize("name", ["aiter_raw", "aiter_bytes"])
@pytest.mark.parametrize("when", ["before the response", "after it"])
async def test_a_patched_reader_is_asked(name, when, serve, monkeypatch):
    """Tools count the bytes of a stream there."""
    base = (await serve(handler)).url
    asked = []
    theirs = getattr(httpx.Response, name)

    def patched(self, chunk_size=None):
        asked.append(name)
        return theirs(self, chunk_size)

    async with seawall.AsyncClient() as c:
        if when == "before the response":
            monkeypatch.setattr(httpx.Response, name, patched)
        async with c.stream("GET", f"{base}/chunked") as response:
            monkeypatch.setattr(httpx.Response, name, patched)
            assert b"".join([part async for part in response.aiter_bytes()]) == b"ab\ncd\nef"
    assert asked == [name]


async def test_an_own_reader_on_the_response_is_asked(serve):
    """A tool may put it there once the response has come."""
    base = (await serve(handler)).url
    async with seawall.AsyncClient() as c, c.stream("GET", f"{base}/chunked") as response:
        theirs = response.aiter_raw()

        async def aiter_raw(chunk_size=None):
            async for part in theirs:
                yield part.upper()

        response.aiter_raw = aiter_raw
        assert b"".join([part async for part in response.aiter_bytes()]) == b"AB\nCD\nEF"


async def test_a_read_response_is_httpxs_own(serve):
    """It has httpx's class, and can be pickled where there is no seawall."""
    base = (await serve(handler)).url
    async with seawall.AsyncClient() as c, c.stream("GET", f"{base}/chunked") as response:
        assert isinstance(response, httpx.Response)
        assert await response.aread() == b"ab\ncd\nef"
    assert type(response) is httpx.Response
    assert pickle.loads(pickle.dumps(response)).content == response.content


async def test_a_response_that_is_read_meanwhile(serve):
    """A reader that has not begun gives what another has read, as httpx's does."""
    base = (await serve(handler)).url
    for kind in CLIENTS:
        async with kind() as c, c.stream("GET", f"{base}/chunked") as response:
            reading = response.aiter_bytes()
            await response.aread()
            assert [part async for part in reading] == [b"ab\ncd\nef"]


async def test_a_response_that_nobody_read_is_pickled_as_httpxs(serve):
    """Whoever unpickles it may not have seawall."""
    base = (await serve(handler)).url
    async with seawall.AsyncClient() as c, c.stream("GET", f"{base}/chunked") as response:
        pass
    pickled = pickle.dumps(response)
    assert b"seawall" not in pickled
    assert type(pickle.loads(pickled)) is httpx.Response
