"""Clients of one engine share what an engine has; each has a front of its own."""

from __future__ import annotations

import asyncio
import ssl

import anyio
import httpx
import pytest
import trustme

import seawall
from seawall.config.store import Booking
from seawall.testing import Request

from .relay import Relay

pytestmark = pytest.mark.anyio


async def ok(request: Request) -> None:
    await request.reply(body=request.headers["user-agent"].encode())


async def test_clients_share_a_connection_and_a_lookup(serve, dns):
    """Each has its own headers; one connection and one lookup serve both."""
    server = await serve(ok)
    url = server.url.replace("127.0.0.1", "good.test")
    async with (
        seawall.Engine(dns=seawall.DNS(nameservers=(dns.address,))) as engine,
        seawall.AsyncClient(engine=engine, headers={"user-agent": "one"}) as one,
        seawall.AsyncClient(engine=engine, headers={"user-agent": "two"}) as two,
    ):
        bodies = [(await client.get(url)).text for client in (one, two, one, two)]
        assert bodies == ["one", "two", "one", "two"]
        assert server.connections == one.stats().connections == two.stats().connections == 1
        assert dns.queries["good.test", "A"] == 1
        assert engine.stats() == one.stats()
        one.breakers[server.url].force_open()
        with pytest.raises(seawall.BreakerOpen):
            await two.get(server.url)


async def test_closing_a_client_leaves_the_engine_open(serve):
    """Its own front is closed, whichever way; the other client's calls go on, over the same connection."""
    begun, reply = asyncio.Event(), asyncio.Event()

    async def handler(request: Request) -> None:
        if request.target == "/slow":
            begun.set()
            await reply.wait()
        await request.reply()

    server = await serve(handler)
    async with seawall.Engine() as engine:
        other = seawall.AsyncClient(engine=engine)
        slow = asyncio.create_task(other.get(server.url + "/slow"))
        await begun.wait()
        async with seawall.AsyncClient(engine=engine) as left:
            await left.get(server.url)
        closed = seawall.AsyncClient(engine=engine)
        await closed.aclose()
        for client in (left, closed):
            with pytest.raises(RuntimeError, match="closed"):
                await client.get(server.url)
        reply.set()
        assert (await slow).status_code == 200
        assert (await other.get(server.url)).status_code == 200
        assert server.connections == 2
    with pytest.raises(seawall.ClientClosed):
        await other.get(server.url)
    assert engine.stats().connections == 0


async def test_closing_an_engine_ends_the_calls_of_its_clients(serve):
    """In flight or later; a client that is closed afterwards is closed as ever."""
    begun = asyncio.Event()

    async def handler(request: Request) -> None:
        begun.set()
        await asyncio.Event().wait()

    server = await serve(handler)
    async with seawall.Engine() as engine, seawall.AsyncClient(engine=engine) as client:
        call = asyncio.create_task(client.get(server.url))
        await begun.wait()
        await engine.aclose()
        with pytest.raises(seawall.ClientClosed):
            await call


async def test_client_closes_the_engine_that_it_made(serve):
    """And a transport the one that it made, but not one that it was given."""
    server = await serve(ok)
    async with seawall.AsyncClient() as client:
        await client.get(server.url)
        assert client.stats().connections == 1
    assert client.stats().connections == 0
    async with seawall.Engine() as engine:
        async with httpx.AsyncClient(transport=seawall.AsyncTransport(engine=engine)) as stock:
            await stock.get(server.url)
        async with seawall.AsyncClient(transport=seawall.AsyncTransport(engine=engine)) as client:
            await client.get(server.url)
        assert engine.stats().connections == 1
    assert engine.stats().connections == 0


async def test_inner_transport_of_a_client_is_closed_with_it():
    """One that hangs is cancelled after a second, although the engine stays open."""
    cancelled = []

    class Hanging(httpx.AsyncBaseTransport):
        async def aclose(self) -> None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.append(self)
                raise

    loop = asyncio.get_running_loop()
    async with seawall.Engine() as engine:
        began_at = loop.time()
        client = seawall.AsyncClient(transport=Hanging(), engine=engine)
        await client.aclose()
        assert len(cancelled) == 1
        assert 1.0 <= loop.time() - began_at < 10.0
        assert not engine.layers.in_flight.is_closed


async def test_tls_of_an_engine_is_its_clients(serve):
    """A client of it verifies with the engine's context, through a proxy too."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    server = await serve(ok, tls=context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    url = f"https://localhost:{server.port}/"
    async with seawall.Engine(
        verify=trusting, resolver=seawall.dns.StaticResolver({"localhost": "127.0.0.1"})
    ) as engine:
        async with Relay() as proxy, seawall.AsyncClient(engine=engine, proxy=proxy.url) as client:
            assert (await client.get(url)).status_code == 200
        async with seawall.AsyncClient(engine=engine, trust_env=False) as client:
            assert (await client.get(url)).status_code == 200


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ({"deadline": 1.0, "retry": None}, "deadline, retry"),
        ({"verify": False}, "verify"),
        ({"limits": httpx.Limits(), "http2": True}, "limits, http2"),
    ],
)
@pytest.mark.parametrize("kind", [seawall.AsyncClient, seawall.AsyncTransport])
async def test_settings_of_an_engine_beside_it(kind, arguments, names):
    """They would be ignored: each is named, and where it goes."""
    async with seawall.Engine() as engine:
        with pytest.raises(ValueError, match=rf"^{names}: .* give it to the engine$"):
            kind(engine=engine, **arguments)


async def test_two_engines_for_one_client():
    """A transport has its engine already; and an engine is a seawall.Engine."""
    async with seawall.Engine() as engine:
        with pytest.raises(ValueError, match=r"^engine: give it to the seawall\.AsyncTransport"):
            seawall.AsyncClient(engine=engine, transport=seawall.AsyncTransport())
    with pytest.raises(TypeError, match=r"engine must be an Engine of seawall or seawall\.httpx2, not 3"):
        seawall.AsyncClient(engine=3)


async def test_guard_of_an_engine_is_its_clients():
    """What it can't see is refused where the client is made."""
    async with seawall.Engine(guard=seawall.Guard()) as engine:
        for arguments in ({"proxy": "http://127.0.0.1:1"}, {"transport": httpx.MockTransport(lambda request: None)}):
            with pytest.raises(ValueError, match=r"^guard: it can't see"):
                seawall.AsyncClient(engine=engine, **arguments)


def test_second_event_loop_of_an_engine():
    """Its clients live on one loop together."""
    engine = seawall.Engine()
    transport = httpx.MockTransport(lambda _: httpx.Response(200))

    async def call() -> None:
        await seawall.AsyncClient(engine=engine, transport=transport).get("http://a/")

    asyncio.run(call())
    with pytest.raises(RuntimeError, match="another event loop"):
        asyncio.run(call())


@pytest.mark.parametrize("how", ["cancelled", "store", "late"])
async def test_closing_leaves_no_connection(listen, how):
    """Whatever keeps its awaits from going on: a cancelled scope, a store that raises, a loop that is blocked."""

    class Store:
        """Its end fails."""

        def open(self) -> Store:
            return self

        async def book(self, group, shares, *, process, max_wait) -> Booking:
            return Booking(0.0)

        async def give_back(self, group, receipt) -> None:
            pass

        async def aclose(self) -> None:
            raise ConnectionError("the store is gone")

    async def kept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")

    url = await listen(kept)

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        writer.close()

    away = await asyncio.start_server(once, "127.0.0.1", 0)
    gone = f"http://127.0.0.1:{away.sockets[0].getsockname()[1]}"
    limit = seawall.Limit(rate=1000, shared=Store()) if how == "store" else None
    client = seawall.AsyncClient(retry=None, limit=limit)
    await client.get(url)
    await client.get(gone, headers={"connection": "close"})
    away.close()
    waiting = asyncio.create_task(client.get(gone))
    while not len(client.engine.wire.probers):  # which dial it again and again
        await asyncio.sleep(0)
    assert client.stats().connections == 1
    if how == "cancelled":
        with anyio.CancelScope() as scope:  # it cancels at each await
            scope.cancel()
            await client.aclose()
    elif how == "store":
        with pytest.raises(ConnectionError):
            await client.aclose()
    else:
        client.engine.layers.in_flight.close_timeout = 0.0
        await client.aclose()
    assert client.stats().connections == 0
    with pytest.raises(seawall.errors.ClientClosed):
        await waiting
    for _ in range(10):  # rounds of the loop, in which they see that they are cancelled
        await asyncio.sleep(0)
    assert len(client.engine.wire.probers) == 0


async def test_second_of_an_engine_that_was_closed_is_not_anothers():
    """A client whose engine was closed long before still has a second for its own transport."""

    class Inner(httpx.MockTransport):
        is_closed = False

        async def aclose(self) -> None:
            await asyncio.sleep(0)
            self.is_closed = True

    inner = Inner(lambda request: httpx.Response(200))
    engine = seawall.Engine()
    engine.layers.in_flight.close_timeout = -1.0  # it was used up a second ago
    client = seawall.AsyncClient(engine=engine, transport=inner)
    await client.get("http://api.test/")
    await engine.aclose()
    engine.layers.in_flight.close_timeout = 1.0
    await client.aclose()
    assert inner.is_closed
