"""Proxies, reached by httpx's transport: what they refuse, and what they leave behind."""

from __future__ import annotations

import asyncio
import contextlib
import ssl

import anyio
import httpx
import pytest
import trustme

import seawall
from seawall._httpx.proxies import check_refusal
from seawall.testing.cancel import cancel_everywhere

pytestmark = [pytest.mark.anyio, pytest.mark.each_front]
FAST = seawall.Retry(backoff=0, throttled_backoff=0)
URL = "https://api.test/"


class Proxy:
    """
    Answers CONNECT as it is told, then does as it is told.

    Attributes:
        asked: The heads that came.
        open: Connections that the client has not closed.
    """

    def __init__(self, answer: bytes, then=None) -> None:
        self._answer = answer
        self._then = then
        self.asked: list[bytes] = []
        self.open = 0
        self._is_left = asyncio.Event()

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                self.asked.append(await reader.readuntil(b"\r\n\r\n"))
                writer.write(b"HTTP/1.1 " + self._answer + b"\r\n\r\n")
                if self._then is not None:
                    await self._then(reader, writer)
                await reader.read()
        finally:
            self.open -= 1
            self._is_left.set()
            writer.close()

    async def all_left(self) -> None:
        """Until the client has closed all connections."""
        while self.open:
            self._is_left.clear()
            await self._is_left.wait()

    async def __aenter__(self) -> Proxy:
        self._server = await asyncio.start_server(self._handle, "127.0.0.1", 0)
        self.url = f"http://user:wrong@127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()


CLIENTS = {
    "proxy": lambda url, **layers: seawall.AsyncClient(proxy=url, **layers),
    "mount": lambda url, **layers: seawall.AsyncClient(
        mounts={"all://": httpx.AsyncHTTPTransport(proxy=httpx.Proxy(url))}, **layers
    ),
    "transport": lambda url, **layers: httpx.AsyncClient(
        transport=seawall.AsyncTransport(proxy=httpx.Proxy(url), **layers)
    ),
}


@pytest.mark.parametrize("make", CLIENTS.values(), ids=CLIENTS.keys())
@pytest.mark.parametrize("status", [407, 403, 400, 302])
async def test_proxy_that_refuses(make, status):
    """A wrong setting: one attempt, each time with the same words, and the origin's breaker doesn't count it."""
    async with Proxy(b"%d Somehow" % status) as proxy, make(proxy.url, retry=FAST) as client:
        for _ in range(25):
            with pytest.raises(httpx.ProxyError, match=f"{status} Somehow") as caught:
                await client.get(URL)
            assert isinstance(caught.value, seawall.errors.ProxyRefused)
            assert caught.value.status == status
            assert str(caught.value.origin) == "https://api.test:443"
            assert [attempt.outcome for attempt in caught.value.attempts] == ["ProxyRefused"]
        assert len(proxy.asked) == 25


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
async def test_proxy_that_has_trouble(status):
    """It may pass, and nothing was sent to the origin: a POST is tried again; at last httpx's error, as it is."""
    async with Proxy(b"%d Somehow" % status) as proxy, seawall.AsyncClient(proxy=proxy.url, retry=FAST) as client:
        with pytest.raises(httpx.ProxyError) as caught:
            await client.post(URL, json={})
        assert not isinstance(caught.value, seawall.SeawallError)
        assert len(caught.value.attempts) == len(proxy.asked) == 3


@pytest.mark.parametrize(
    ("text", "is_refusal"),
    [
        ("Requested USERNAME/PASSWORD from proxy server, but got NO ACCEPTABLE METHODS.", True),
        ("Invalid username/password", True),
        ("Proxy Server could not connect: Connection not allowed by ruleset.", True),
        ("Proxy Server could not connect: Address type not supported.", True),
        ("Proxy Server could not connect: Host unreachable.", False),
        ("Proxy Server could not connect: Connection refused.", False),
        ("Proxy Server could not connect: General SOCKS server failure.", False),
    ],
)
def test_socks_proxy(text, is_refusal):
    """httpcore tells in words what RFC 1928 has as numbers: which are a wrong setting, and which may pass."""
    origin = seawall.Origin("https", "api.test", 443)
    with pytest.raises(seawall.errors.ProxyRefused) if is_refusal else contextlib.nullcontext():
        check_refusal(httpx.ProxyError(text), origin)


async def test_error_of_a_transport_that_is_not_httpxs():
    """It isn't believed: what it calls a ProxyError stays as it is."""

    class Foreign(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            raise httpx.ProxyError("407 Proxy Authentication Required")

    async with seawall.AsyncClient(transport=Foreign(), retry=None) as client:
        with pytest.raises(httpx.ProxyError) as caught:
            await client.get(URL)
    assert not isinstance(caught.value, seawall.errors.ProxyRefused)


def pool_of(client: httpx.AsyncClient):
    transport = client._transport_for_url(httpx.URL(URL))
    return getattr(transport, "_inner", transport)._pool


async def garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    writer.write(b"this is not TLS")


@pytest.mark.parametrize("kind", ["proxy", "transport"])
async def test_connections_that_die_in_a_tunnel(kind):
    """httpcore's pool keeps none of them, whose handshake failed behind the proxy."""
    async with Proxy(b"200 OK", garbage) as proxy, CLIENTS[kind](proxy.url, retry=None, breaker=None) as client:
        for _ in range(5):
            with pytest.raises(httpx.ConnectError):
                await client.get(URL)
            assert pool_of(client).connections == []
        await proxy.all_left()
    assert len(proxy.asked) == 5


async def endless():
    yield b"x"
    await asyncio.Event().wait()


@pytest.mark.parametrize("kind", ["proxy", "transport"])
async def test_connections_that_are_cancelled_in_a_tunnel(kind):
    """Neither the pool nor a socket keeps them; a call that goes on beside them keeps its connection."""
    is_in_handshake = asyncio.Event()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await reader.read(1):
            is_in_handshake.set()

    async with Proxy(b"200 OK", hang) as proxy, CLIENTS[kind](proxy.url) as client:
        other = asyncio.create_task(client.post("http://api.test/", content=endless()))
        await is_in_handshake.wait()
        (connection,) = pool_of(client).connections
        for _ in range(3):
            is_in_handshake.clear()
            call = asyncio.create_task(client.get(URL))
            await is_in_handshake.wait()
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
        assert pool_of(client).connections == [connection]
        other.cancel()
        await proxy.all_left()


async def test_at_every_step_of_a_tunnel():
    """Cancelled at each await on the way through a proxy: the pool has no connection that isn't idle."""
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("api.test").configure_cert(context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await writer.start_tls(context)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")

    async with Proxy(b"200 OK", serve) as proxy, seawall.AsyncClient(proxy=proxy.url, verify=trusting) as client:

        async def call() -> None:
            assert (await client.get(URL)).text == "ok"

        async def clean() -> None:
            for _ in range(20):  # the rounds of the loop in which sockets are closed
                await asyncio.sleep(0)
            assert [each for each in pool_of(client).connections if not each.is_idle()] == []
            assert not any(state.in_flight for state in client.stats().origins.values())

        assert await cancel_everywhere(call, after=clean) > 5


async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"half")


async def test_stream_is_closed_though_its_closing_is_cancelled():
    """httpcore's pool would keep the request of a response whose `aclose` was cut short, and its connection."""
    async with (
        Proxy(b"200 OK\r\nContent-Length: 100", half) as proxy,
        seawall.AsyncClient(proxy=proxy.url, retry=None) as client,
    ):

        async def call() -> None:
            async with client.stream("GET", "http://api.test/") as response:
                await anext(response.aiter_raw())

        async def clean() -> None:
            for _ in range(20):  # the rounds of the loop in which sockets are closed
                await asyncio.sleep(0)
            assert pool_of(client).connections == []
            assert pool_of(client)._requests == []

        assert await cancel_everywhere(call, after=clean) > 5


class Dead:
    """A connection in httpcore's pool that nobody uses, and that isn't idle."""

    is_closed = has_expired = is_idle = is_available = can_handle_request = lambda self, *_: False
    has_left = False

    def is_connected(self) -> bool:
        return True

    async def aclose(self) -> None:
        await asyncio.sleep(0)
        self.has_left = True


async def test_all_dead_connections_are_closed_in_a_cancelled_scope():
    """A scope of anyio's cancels each await anew, so that closing the first one would be the last thing done."""
    async with seawall.AsyncClient(proxy="http://127.0.0.1:1") as client:
        dead = [Dead(), Dead()]
        pool_of(client)._connections.extend(dead)
        with anyio.CancelScope() as scope:
            scope.cancel()
            await client._transport_for_url(httpx.URL(URL)).handle_async_request(httpx.Request("GET", URL))
        assert scope.cancelled_caught
        assert [each.has_left for each in dead] == [True, True]
        assert pool_of(client).connections == []
