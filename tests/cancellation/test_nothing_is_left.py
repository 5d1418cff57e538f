"""Cancelled anywhere: no permit, connection, task, timer or file descriptor is left, and the client still works."""

from __future__ import annotations

import asyncio
import gc
import itertools
import random
import ssl

import httpx
import pytest
import trustme

import seawall
from seawall.testing import Request
from seawall.testing.cancel import cancel_everywhere
from seawall.testing.dns import Name
from seawall.testing.leaks import held, no_leaks

pytestmark = [pytest.mark.anyio, pytest.mark.each_front]


async def ok(request: Request) -> None:
    await request.reply(body=b"x" * 100_000)


async def settle() -> None:
    """Sockets are closed in the loop's next rounds."""
    for _ in range(20):
        await asyncio.sleep(0)


def assert_clean(client: seawall.AsyncClient) -> None:
    assert held(client.stats()) == []


async def test_at_every_step_of_a_call(client, dns, serve):
    """DNS, dialling, sending, the body."""
    server = await serve(ok)

    numbers = itertools.count()

    async def call() -> None:
        name = f"n{next(numbers)}.test"
        dns.zone[name] = Name(a=("127.0.0.1",))
        assert (await client.get(f"http://{name}:{server.port}")).status_code == 200

    assert await cancel_everywhere(call, after=lambda: assert_clean(client)) > 5
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
        seawall.AsyncClient(
            verify=trusting,
            dns=seawall.DNS(nameservers=(dns.address,)),
            limits=httpx.Limits(max_connections=2, max_keepalive_connections=0),
        )
    )

    async def call() -> None:
        assert (await client.get(f"https://good.test:{server.port}")).status_code == 200

    assert await cancel_everywhere(call, after=lambda: assert_clean(client)) > 10


async def test_at_every_step_of_a_call_on_an_idle_connection(client, serve):
    """The same where the connection is there already: it is closed, or good for another request."""
    server = await serve(ok)

    async def call() -> None:
        assert len((await client.get(server.url)).content) == 100_000

    assert await cancel_everywhere(call, before=call, after=lambda: assert_clean(client)) > 3


async def test_at_every_step_of_a_stream(client, serve):
    """The same, between the headers and the end of a body that is read as it comes."""

    async def large(request: Request) -> None:
        await request.reply(body=b"x" * 1_000_000)  # more than comes with the head

    server = await serve(large)

    async def stream() -> None:
        async with client.stream("GET", server.url) as response:
            assert sum([len(part) async for part in response.aiter_raw()]) == 1_000_000

    assert await cancel_everywhere(stream, after=lambda: assert_clean(client)) > 3


async def test_at_every_step_of_a_redirect_on_the_way_to_a_stream(client, serve):
    """Its body is read between two hops."""

    async def there(request: Request) -> None:
        location = b"location: /there\r\n" * (request.path != "/there")
        head = b"HTTP/1.1 %d X\r\n%bcontent-length: 500000\r\n\r\n" % (302 if location else 200, location)
        await request.send(head + b"x" * 500_000)

    server = await serve(there)

    async def stream() -> None:
        async with client.stream("GET", server.url, follow_redirects=True) as response:
            assert (response.status_code, len(response.history[0].content)) == (200, 500_000)
            assert len(await response.aread()) == 500_000

    assert await cancel_everywhere(stream, after=lambda: assert_clean(client)) > 5


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
    client = seawall.AsyncClient(
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

    async with no_leaks(client, grace=60):  # c-ares closes its channels in a thread of its own
        for _ in range(10):
            await asyncio.gather(*(call(number) for number in range(100)))
        assert_clean(client)
        good = await asyncio.gather(*(client.get(f"http://good.test:{server.port}/ok") for _ in range(20)))
        assert [response.status_code for response in good] == [200] * 20
        await client.aclose()
    assert server.open == 0


async def test_dropped_response_gives_its_permit_back(client, serve):
    """Whoever forgets to close a streamed response gets a warning; the permit comes back all the same."""
    server = await serve(ok)
    request = client.build_request("GET", server.url)
    forgotten = [await client.send(request, stream=True)]
    assert [origin.in_flight for origin in client.stats().origins.values()] == [1]

    def drop() -> None:
        forgotten.clear()
        gc.collect()  # because httpx's response and its stream hold each other

    with pytest.warns(ResourceWarning, match="dropped without being closed"):
        drop()
    await settle()
    assert_clean(client)
