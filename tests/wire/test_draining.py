"""A client that drains, on real sockets: what the server has begun to answer is answered in full."""

from __future__ import annotations

import asyncio

import pytest

import seawall
from seawall.testing import Request, cancel_everywhere

pytestmark = pytest.mark.anyio

PARTS = [b"x" * 1000] * 3


class Gate:
    """A handler that answers, and goes on with the body, once it is opened."""

    def __init__(self) -> None:
        self.has_begun, self.is_open = asyncio.Event(), asyncio.Event()

    async def __call__(self, request: Request) -> None:
        await request.send(b"HTTP/1.1 200 OK\r\ncontent-length: 3000\r\n\r\n" + PARTS[0])
        self.has_begun.set()
        await self.is_open.wait()
        await request.send(PARTS[1] + PARTS[2])


def assert_nothing_is_left(client: seawall.AsyncClient) -> None:
    stats = client.stats()
    assert (stats.calls, stats.connections, stats.waiting) == (0, 0, 0)
    assert [origin.in_flight for origin in stats.origins.values()] == [0]


@pytest.mark.parametrize("how", ["buffered", "streamed"])
async def test_what_is_in_flight_ends(serve, how):
    """The whole body arrives; a call that begins meanwhile is refused, and the server never sees it."""
    gate = Gate()
    server = await serve(gate)
    client = seawall.AsyncClient()

    async def read() -> bytes:
        if how == "buffered":
            return (await client.get(server.url)).content
        async with client.stream("GET", server.url) as response:
            return b"".join([part async for part in response.aiter_bytes()])

    call = asyncio.create_task(read())
    await gate.has_begun.wait()
    closing = asyncio.create_task(client.aclose(drain=60.0))
    await asyncio.sleep(0)
    with pytest.raises(seawall.ClientClosed, match="draining"):
        await client.get(server.url)
    assert not closing.done()
    gate.is_open.set()
    assert await call == b"".join(PARTS)
    await closing
    assert len(server.requests) == 1
    assert_nothing_is_left(client)


async def test_cancelled_while_draining(serve):
    """The sockets are closed all the same."""
    gate = Gate()
    server = await serve(gate)
    client = seawall.AsyncClient()
    async with client.stream("GET", server.url) as response:
        closing = asyncio.create_task(client.aclose(drain=60.0))
        await asyncio.sleep(0)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        with pytest.raises(seawall.WireError):
            await response.aread()
    assert_nothing_is_left(client)


async def test_cancelled_at_every_step_of_draining(serve):
    """Wherever that is: the call in flight ends, and no permit, socket or task is left."""

    async def slow(request: Request) -> None:
        for _ in range(30):
            await asyncio.sleep(0)
        await request.reply(body=b"x" * 1000)

    server = await serve(slow)
    clients: list[seawall.AsyncClient] = []
    drained: list[seawall.AsyncClient] = []
    calls: list[asyncio.Task] = []

    async def begin() -> None:
        clients.append(seawall.AsyncClient())
        calls.append(asyncio.create_task(clients[-1].get(server.url)))
        seen = len(server.requests)
        while len(server.requests) == seen:
            await asyncio.sleep(0)

    async def end() -> None:
        if clients[-1] not in drained:
            await clients[-1].aclose()  # it was cancelled before it began
        await asyncio.wait(calls)
        assert_nothing_is_left(clients[-1])
        assert (clients[-1].engine.layers.in_flight.calls, clients[-1].engine.layers.in_flight.bodies) == (set(), 0)

    async def drain() -> None:
        drained.append(clients[-1])
        await clients[-1].aclose(drain=60.0)

    assert await cancel_everywhere(drain, before=begin, after=end) > 5
    await end()
    assert (await calls[-1]).status_code == 200
    assert all(isinstance(call.exception(), seawall.ClientClosed | None) for call in calls)
