"""What only httpx2 has, through httpx2.AsyncClient and seawall.httpx2.AsyncClient, from one server: the same result."""

from __future__ import annotations

from contextlib import aclosing
from typing import Any

import httpx2
import pytest

import seawall
import seawall.httpx2
from seawall.testing import Request

pytestmark = pytest.mark.anyio

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
EVENTS = {
    "/fields": b": comment\n\nevent: add\nid: 7\nretry: 10\ndata: one\ndata: two\n\nid: 8\ndata: {}\n\n",
    "/ends-of-lines": b"data: a\r\n\r\ndata: b\r\rdata: c\n\n",
    "/characters": "data: Zoë 🎈\n\n".encode(),
    "/without-its-end": b"data: a\n\ndata: b",
    "/too-large": b"data: a\n\ndata: " + b"x" * 2**20 + b"\n\n",
    "/none": b"",
}
CUT = {
    "/cut-length": HEAD + b"content-length: 1000\r\n\r\ndata: a\n\ndata: b",
    "/cut-chunk": HEAD + b"transfer-encoding: chunked\r\n\r\nff\r\ndata: a\n\n",
    "/cut-head": HEAD,
    "/bad-chunk": HEAD + b"transfer-encoding: chunked\r\n\r\n9\r\ndata: a\n\n\r\nzz\r\n",
    "/until-close": HEAD + b"\r\ndata: a\n\n",
    "/other-type": b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\n\r\n<p>",
}


async def handler(request: Request) -> None:
    path = request.target
    if path in EVENTS:
        text, size = EVENTS[path], 3 if len(EVENTS[path]) < 1000 else 50_000
        await request.send(HEAD + b"transfer-encoding: chunked\r\n\r\n")
        for start in range(0, len(text), size):
            part = text[start : start + size]
            await request.send(b"%x\r\n%b\r\n" % (len(part), part))
        await request.send(b"0\r\n\r\n")
    elif path in CUT:
        await request.send(CUT[path])
        request.close()
    elif path == "/redirect":
        await request.reply(307, location="/echo")
    else:
        seen = [request.method, request.headers["accept"], request.headers["cache-control"], request.body.decode()]
        await request.reply(body=f"data: {seen}\n\n".encode(), content_type="text/event-stream; charset=utf-8")


async def observe(client: httpx2.AsyncClient, url: str, **arguments: Any) -> list[Any]:
    """The events, the class of the error after them with its request, and the state of the response."""
    seen: list[Any] = []
    try:
        async with client.sse(url, **arguments) as source:
            seen.append((source.response.status_code, len(source.response.history)))
            async for event in source:
                seen.append(event)  # noqa: PERF401 - those before an error count
        seen.append((source.response.is_closed, source.response.elapsed.total_seconds() > 0))
    except httpx2.HTTPError as error:
        library = next(each for each in type(error).__mro__ if not each.__module__.startswith("seawall"))
        seen.append((library, str(error.request.url)))
    return seen


CASES = [
    *[(path, {}) for path in (*EVENTS, *CUT, "/redirect")],
    ("/too-large", {"max_event_size": None}),
    ("/redirect", {"follow_redirects": True, "method": "POST", "json": {"a": 1}}),
    ("/echo", {"headers": {"Accept": "x/y, text/event-stream"}, "params": {"a": "b"}}),
]


@pytest.mark.parametrize(("path", "arguments"), CASES)
async def test_events(serve, path, arguments):
    """However the bytes are parted: the same events, then the same end or the same class of error."""
    server = await serve(handler)
    async with httpx2.AsyncClient() as client:
        theirs = await observe(client, server.url + path, **arguments)
    async with seawall.httpx2.AsyncClient(retry=None) as client:
        ours = await observe(client, server.url + path, **arguments)
        assert [origin.in_flight for origin in client.stats().origins.values()] == [0]
    assert ours == theirs


async def test_events_are_retried_until_they_begin(serve):
    """As any call's: what fails before its headers is sent again; what is cut later is not."""
    answers = [503, 503, 200]

    async def flaky(request: Request) -> None:
        if (status := answers.pop(0)) == 200:
            await request.send(CUT["/cut-length"])
            request.close()
        else:
            await request.reply(status)

    server = await serve(flaky)
    retry = seawall.Retry(backoff=0, throttled_backoff=0)
    async with seawall.httpx2.AsyncClient(retry=retry) as client, client.sse(server.url) as source:
        with pytest.raises(httpx2.RemoteProtocolError):
            [event async for event in source]
    assert [attempt.outcome for attempt in source.response.extensions["seawall"]][:2] == ["503", "503"]
    assert len(server.requests) == 3


async def test_events_that_nobody_reads_on(serve):
    """The permit is out while the stream is open; leaving it gives the permit back, and closes the connection."""

    async def endless(request: Request) -> None:
        await request.send(HEAD + b"\r\ndata: a\n\n")
        await request.hang()

    server = await serve(endless)
    async with seawall.httpx2.AsyncClient() as client:
        async with client.sse(server.url) as source, aclosing(aiter(source)) as events:
            assert (await anext(events)).data == "a"
            assert [origin.in_flight for origin in client.stats().origins.values()] == [1]
        assert [origin.in_flight for origin in client.stats().origins.values()] == [0]
        assert client.stats().connections == 0


async def test_query(serve):
    """It has a body, and is retried as a safe method is (RFC 10008)."""
    answers = [503, 200]

    async def flaky(request: Request) -> None:
        await request.reply(answers.pop(0), body=f"{request.method} {request.body.decode()}".encode())

    server = await serve(flaky)
    retry = seawall.Retry(backoff=0, throttled_backoff=0)
    async with seawall.httpx2.AsyncClient(retry=retry) as client:
        assert (await client.query(server.url, content="select 1")).text == "QUERY select 1"
    assert len(server.requests) == 2
