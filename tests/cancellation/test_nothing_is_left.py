"""Cancelled anywhere: no permit, connection, task, timer or file descriptor is left, and the client still works."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import ssl
from collections.abc import Callable, Coroutine
from typing import Any

import httpx
import pytest
import trustme

import seawall
from seawall.testing import Request
from seawall.testing.dns import Name

pytestmark = pytest.mark.anyio


async def ok(request: Request) -> None:
    await request.reply(body=b"x" * 100_000)


async def settle() -> None:
    """Sockets are closed in the loop's next rounds."""
    for _ in range(20):
        await asyncio.sleep(0)


def assert_clean(client: seawall.Client) -> None:
    stats = client.stats()
    assert stats.calls == 0
    assert [(o.in_flight, o.waiting) for o in stats.origins.values()] == [(0, 0)] * len(stats.origins)
    assert stats.connections == sum(origin.idle for origin in stats.origins.values())


async def cancel_everywhere(
    client: seawall.Client, start: Callable[[int], Coroutine[Any, Any, Any]], *, warm: bool = False
) -> int:
    """
    Cancel ``start(k)`` after k rounds of the loop, for each k until it finishes by itself; returns that k.

    With *warm*, it is run once to its end before each, so that there is an idle connection.
    """
    for rounds in range(10_000):
        if warm:
            await start(rounds)
        call = asyncio.create_task(start(rounds))
        for _ in range(rounds):
            await asyncio.sleep(0)
        if call.done():
            await call
            return rounds
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert_clean(client)
    raise AssertionError("it never finished")


async def test_at_every_step_of_a_call(client, dns, serve):
    """DNS, dialling, sending, the body."""
    server = await serve(ok)

    async def call(rounds: int) -> None:
        dns.zone[f"n{rounds}.test"] = Name(a=("127.0.0.1",))
        assert (await client.get(f"http://n{rounds}.test:{server.port}")).status_code == 200

    assert await cancel_everywhere(client, call) > 5
    await client.aclose()
    assert client.stats().connections == 0


async def test_at_every_step_of_a_call_with_tls_and_a_dead_address(stack, dns, serve):
    """The same through a race of two addresses and a handshake, with two slots for connections."""
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("good.test").configure_cert(context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    server = await serve(ok, tls=context, host="127.0.0.2")
    dns.zone["good.test"] = Name(a=("127.0.0.3", "127.0.0.2"))
    client = await stack.enter_async_context(
        seawall.Client(
            verify=trusting,
            dns=seawall.DNS(nameservers=(dns.address,)),
            limits=httpx.Limits(max_connections=2, max_keepalive_connections=0),
        )
    )

    async def call(rounds: int) -> None:
        assert (await client.get(f"https://good.test:{server.port}")).status_code == 200

    assert await cancel_everywhere(client, call) > 10


async def test_at_every_step_of_a_call_on_an_idle_connection(client, serve):
    """The same where the connection is there already: it is closed, or good for another request."""
    server = await serve(ok)

    async def call(rounds: int) -> None:
        assert len((await client.get(server.url)).content) == 100_000

    assert await cancel_everywhere(client, call, warm=True) > 3


async def test_at_every_step_of_a_stream(client, serve):
    """The same, between the headers and the end of a body that is read as it comes."""
    server = await serve(ok)

    async def stream(rounds: int) -> None:
        async with client.stream("GET", server.url) as response:
            assert sum([len(part) async for part in response.aiter_raw()]) == 100_000

    assert await cancel_everywhere(client, stream) > 3


async def test_a_thousand_calls_at_random_instants(dns, serve):
    """Five kinds of upstream, 1,000 calls, each cancelled within 30 ms; then everything is as before."""

    async def moody(request: Request) -> None:
        match request.target:
            case "/ok":
                await request.reply(body=b"x" * 50_000)
            case "/busy":
                await request.reply(503)
            case "/reset":
                request.reset()
            case "/cut":
                await request.send(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf")
                request.close()
            case "/hang":
                await request.hang()

    rng = random.Random(7)
    server = await serve(moody)
    warm = seawall.Client(dns=seawall.DNS(nameservers=(dns.address,)))
    await warm.get(f"http://good.test:{server.port}/ok")
    await warm.aclose()
    await settle()
    descriptors, tasks = len(os.listdir("/proc/self/fd")), len(asyncio.all_tasks())

    client = seawall.Client(
        dns=seawall.DNS(nameservers=(dns.address,)),
        bulkhead=seawall.Bulkhead(max_concurrent=10),
        breaker=None,
    )

    async def call(number: int) -> None:
        target = rng.choice(["ok", "busy", "reset", "cut", "hang"])
        try:
            async with asyncio.timeout(rng.uniform(0, 0.03)):
                await client.get(f"http://good.test:{server.port}/{target}")
        except (TimeoutError, seawall.SeawallError):
            pass

    for _ in range(10):
        await asyncio.gather(*(call(number) for number in range(100)))
    assert_clean(client)
    good = await asyncio.gather(*(client.get(f"http://good.test:{server.port}/ok") for _ in range(20)))
    assert [response.status_code for response in good] == [200] * 20
    await client.aclose()
    for _ in range(500):  # c-ares closes its channels in a thread of its own
        if not server.open and len(os.listdir("/proc/self/fd")) <= descriptors:
            break
        await asyncio.sleep(0.01)
    assert server.open == 0
    assert len(os.listdir("/proc/self/fd")) <= descriptors
    assert len(asyncio.all_tasks()) == tasks


async def test_dropped_response_gives_its_permit_back(client, serve):
    """Whoever forgets to close a streamed response gets a warning; the permit comes back all the same."""
    server = await serve(ok)
    request = client.build_request("GET", server.url)
    response = await client.send(request, stream=True)
    assert [origin.in_flight for origin in client.stats().origins.values()] == [1]
    del response
    with pytest.warns(ResourceWarning, match="dropped without being closed"):
        gc.collect()
    await settle()
    assert_clean(client)
