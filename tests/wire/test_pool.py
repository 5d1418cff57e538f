"""The pool where the cap or descriptors bind, and what a failure says of idle connections; on real sockets."""

from __future__ import annotations

import asyncio

import httpx
import pytest

import seawall
from seawall.testing import Request

pytestmark = pytest.mark.anyio


async def test_host_that_hangs_takes_no_connection_of_a_healthy_one(stack, serve):
    """It holds all slots but one, and more of its calls wait; the healthy host is dialled once."""

    async def hang(request: Request) -> None:
        await request.hang()

    async def answer(request: Request) -> None:
        await request.reply()

    bad, good = await serve(hang), await serve(answer)
    client = await stack.enter_async_context(seawall.Client(limits=httpx.Limits(max_connections=4), retry=None))
    await client.get(good.url)
    calls = [asyncio.create_task(client.get(bad.url, timeout=None)) for _ in range(8)]
    while len(bad.requests) < 3 or not client._shared.layers.slots.has_waiters:
        await asyncio.sleep(0)
    for _ in range(50):
        assert (await client.get(good.url)).status_code == 200
    assert (good.connections, len(bad.requests)) == (1, 3)
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)


async def test_read_timeout_says_nothing_of_other_connections(stack, serve):
    """One slow answer on a connection that was used before: the idle ones of the origin stay."""
    together = asyncio.Barrier(5)

    async def handler(request: Request) -> None:
        if request.target == "/slow":
            await request.hang()
        await together.wait()
        await request.reply()

    server = await serve(handler)
    client = await stack.enter_async_context(seawall.Client(retry=None))
    for turn in range(2):
        await asyncio.gather(*(client.get(server.url) for _ in range(5)))
        assert server.connections == 5 + turn
        if turn == 0:
            with pytest.raises(httpx.ReadTimeout):
                await client.get(f"{server.url}/slow", timeout=0.05)
            (origin,) = client.stats().origins.values()
            assert origin.idle == 4


async def test_stale_connection_says_that_the_others_are(stack, serve):
    """The server closed one before a byte of its answer, so the idle ones of the origin are closed too."""
    together = asyncio.Barrier(5)

    async def handler(request: Request) -> None:
        if request.target == "/close":
            request.close()
            return
        await together.wait()
        await request.reply()

    server = await serve(handler)
    client = await stack.enter_async_context(seawall.Client(retry=None))
    await asyncio.gather(*(client.get(server.url) for _ in range(5)))
    with pytest.raises(httpx.RemoteProtocolError):
        await client.get(f"{server.url}/close")
    assert client.stats().connections == 0


async def test_another_transport_is_given_a_slot_and_no_connection(stack, serve):
    """Both reach the same origin, and one slot is all there is: none is lost, and none is given back twice."""
    started, reply = asyncio.Event(), asyncio.Event()

    async def handler(request: Request) -> None:
        started.set()
        await reply.wait()
        await request.reply(body=b"ours")

    server = await serve(handler)
    other = httpx.MockTransport(lambda request: httpx.Response(200, text="other"))
    client = await stack.enter_async_context(
        seawall.Client(mounts={"ws://": other}, limits=httpx.Limits(max_connections=1), retry=None)
    )
    slots = client._shared.layers.slots
    first = asyncio.create_task(client.get(server.url))
    await started.wait()
    second = asyncio.create_task(client.get(server.url.replace("http", "ws")))
    while not slots.has_waiters:
        await asyncio.sleep(0)
    reply.set()
    assert [(await each).text for each in (first, second)] == ["ours", "other"]
    assert (slots.in_use, client.stats().connections) == (0, 0)
    responses = await asyncio.gather(*(client.get(server.url) for _ in range(2)))
    assert [response.text for response in responses] == ["ours", "ours"]
    assert slots.in_use == client.stats().connections == 1
