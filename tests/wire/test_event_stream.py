"""Server-sent events over real sockets: what comes in pieces, what goes on after a break, and what is left behind."""

from __future__ import annotations

import asyncio
import gzip
from contextlib import aclosing

import httpx
import pytest

from seawall.testing import Request
from seawall.testing.cancel import cancel_everywhere
from seawall.testing.leaks import held

pytestmark = [pytest.mark.anyio, pytest.mark.each_front]

STREAM = {"content-type": "text/event-stream"}
TEXT = "id: 1\r\nevent: add\r\ndata: é\r\ndata: 2\r\n\r\n: life\r\n\r\nid: 2\r\ndata: b\r\n\r\n".encode()


async def until(is_so) -> None:
    """Sockets are closed, or idle again, in the loop's next rounds."""
    async with asyncio.timeout(10):
        while not is_so():
            await asyncio.sleep(0)


async def test_byte_by_byte(client, serve):
    """In as many segments as bytes; then the server closes, and a 204 ends it."""

    async def handler(request: Request) -> None:
        if "last-event-id" in request.headers:
            await request.reply(204)
            return
        await request.begin(200, STREAM)
        await request.send(b"retry: 100\n")
        for byte in TEXT:
            await request.send(bytes([byte]))
            await request.wire.flushed()
        request.close()

    server = await serve(handler)
    events = [(event.event, event.data, event.id) async for event in client.events(server.url)]
    assert events == [("add", "é\n2", "1"), ("message", "b", "2")]
    assert [request.headers.get("last-event-id") for request in server.requests] == [None, "2"]
    await until(lambda: not held(client.stats()))


@pytest.mark.parametrize("end", ["close", "reset"])
async def test_it_heals(client, serve, end):
    """Streams that are cut in the middle of an event, and a 503: each event comes once."""
    answers = 0

    async def handler(request: Request) -> None:
        nonlocal answers
        answers += 1
        last = int(request.headers.get("last-event-id", "0"))
        if answers == 2:
            await request.reply(503)
        elif last == 4:
            await request.reply(204)
        else:
            events = b"".join(b"id: %d\ndata: %d\n\n" % (n, n) for n in (last + 1, last + 2))
            await request.begin(200, STREAM)
            await request.send(b"retry: 100\n\n" + events + b"data: torn")
            await request.wire.flushed()
            getattr(request, end)()

    server = await serve(handler)
    seen = [event.data async for event in client.events(server.url)]
    assert sorted(seen) == sorted(set(seen))
    assert seen[-1] == "4"
    if end == "close":  # a reset may take what was sent before it
        assert seen == ["1", "2", "3", "4"]
    await until(lambda: not held(client.stats()))


@pytest.mark.parametrize(("before", "sent"), [("", None), ("5", "5")])
async def test_an_id_that_no_header_can_have(client, serve, before, sent):
    """The stream goes on from the one before it, or without one."""

    async def handler(request: Request) -> None:
        if len(server.requests) > 1:
            await request.reply(204)
            return
        await request.begin(200, STREAM)
        await request.send(b"retry: 100\nid: a\x01\x7f\ndata: a\n\n")
        await request.wire.flushed()
        request.close()

    server = await serve(handler)
    assert [event.id async for event in client.events(server.url, last_event_id=before)] == [before]
    assert [request.headers.get("last-event-id") for request in server.requests] == [sent, sent]


@pytest.mark.parametrize(("given", "error"), [("a\x01", ValueError), (7, TypeError)])
async def test_an_id_that_is_refused(client, given, error):
    """The caller's own is his fault."""
    with pytest.raises(error, match="last_event_id"):
        client.events("http://a.test/", last_event_id=given)


async def test_a_coding_that_nobody_asked_for(client, serve):
    """It is decoded all the same."""

    async def handler(request: Request) -> None:
        assert request.headers["accept-encoding"] == "identity"
        await request.reply(200, gzip.compress(b"data: a\n\n"), STREAM | {"content-encoding": "gzip"})

    server = await serve(handler)
    assert [event.data async for event in client.events(server.url, max_outage=0)] == ["a"]


async def test_leaving_closes_the_connection(client, serve):
    """The server sees it, though it had more to say."""

    async def handler(request: Request) -> None:
        await request.begin(200, STREAM)
        await request.send(b"data: a\n\n")
        await request.hang()

    server = await serve(handler)
    async with aclosing(client.events(server.url)) as events:
        assert (await anext(events)).data == "a"
        assert server.open == 1
    await until(lambda: not server.open)
    async for _ in client.events(server.url):
        break
    await until(lambda: not server.open)
    assert held(client.stats()) == []


async def test_cancelled_anywhere(client, serve):
    """From the dial to the last event, nothing is left."""

    async def handler(request: Request) -> None:
        await request.reply(200, b"data: a\n\n" * 3, STREAM)

    server = await serve(handler)

    async def use() -> None:
        async with aclosing(client.events(server.url, max_outage=0)) as events:
            assert [event.data async for event in events] == ["a"] * 3

    def after() -> None:
        assert held(client.stats()) == []

    assert await cancel_everywhere(use, after=after) > 5


async def test_a_post_that_breaks(client, serve):
    """The server sees it once."""

    async def handler(request: Request) -> None:
        await request.begin(200, STREAM)
        await request.send(b"data: a\n\n")
        await request.wire.flushed()
        request.reset()

    server = await serve(handler)
    seen = []
    with pytest.raises(httpx.TransportError):  # noqa: PT012
        async for event in client.events(server.url, method="POST", json={"n": 1}):
            seen.append(event.data)  # noqa: PERF401
    assert len(server.requests) == 1
