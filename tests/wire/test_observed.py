"""What observers hear of connections and of attempts on our own wire: real sockets."""

from __future__ import annotations

import pytest

import seawall
from seawall.events import Attempt, BodyEnd, BodyEnded, ConnectionClosed, ConnectionOpened
from seawall.testing import Request

pytestmark = pytest.mark.anyio


async def ok(request: Request) -> None:
    await request.reply(body=b"ok")


@pytest.mark.parametrize("is_streamed", [False, True])
async def test_connection_is_told_once_when_it_opens_and_once_when_it_closes(serve, is_streamed):
    """Two calls share it; closing the client closes it."""
    server, events = await serve(ok), list[object]()
    async with seawall.AsyncClient(observers=[events.append]) as client:
        for _ in range(2):
            if is_streamed:
                async with client.stream("GET", server.url) as response:
                    await response.aread()
            else:
                await client.get(server.url)
        told = [event for event in events if isinstance(event, ConnectionOpened | ConnectionClosed)]
        origin, address = seawall.Origin("http", "127.0.0.1", server.port), seawall.dns.Address("127.0.0.1")
        assert told == [ConnectionOpened(origin, address, "HTTP/1.1")]
        assert client.stats().origins[origin].connections == 1
    told = [event for event in events if isinstance(event, ConnectionOpened | ConnectionClosed)]
    assert told[1:] == [ConnectionClosed(origin, address, "HTTP/1.1")]


async def test_connection_that_the_server_closes_is_told(serve):
    """By whichever side it was closed."""

    async def once(request: Request) -> None:
        await request.reply(fields={"connection": "close"})

    server, events = await serve(once), list[object]()
    async with seawall.AsyncClient(observers=[events.append]) as client:
        for _ in range(3):
            await client.get(server.url)
        kinds = [type(event) for event in events if isinstance(event, ConnectionOpened | ConnectionClosed)]
        assert kinds == [ConnectionOpened, ConnectionClosed] * 3


async def test_attempt_says_protocol_and_bytes(serve):
    """The request's and the response's, heads included; of a stream the body's are told at its end."""
    server, events = await serve(ok), list[object]()
    async with seawall.AsyncClient(observers=[events.append]) as client:
        await client.post(server.url + "/path?token=secret", content=b"x" * 1000)
        async with client.stream("GET", server.url) as response:
            await response.aread()
    first, second = (event for event in events if isinstance(event, Attempt))
    (ended,) = (event for event in events if isinstance(event, BodyEnded))
    assert (first.protocol, first.path, first.is_reused, second.is_reused) == ("HTTP/1.1", "/path", False, True)
    assert 1000 < first.bytes_out < 1400
    assert 2 < first.bytes_in < 400
    assert (ended.outcome, ended.bytes_in) == (BodyEnd.COMPLETE.value, second.bytes_in)
    assert "secret" not in repr(events)
