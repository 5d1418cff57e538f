"""Proxies as httpx's users name them: arguments, mounts, the environment, and httpx's own transport below ours."""

from __future__ import annotations

import asyncio
import contextlib
import pickle

import httpx
import pytest

import seawall
from seawall._httpx.foreign import check_refusal
from seawall.policy.failures import failure_of

from .shut import Shut

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
            assert caught.value.origin[:3] == ("https", "api.test", 443)
            assert [attempt.outcome for attempt in caught.value.attempts] == ["ProxyRefused"]
        assert len(proxy.asked) == 25


@pytest.mark.parametrize("make", CLIENTS.values(), ids=CLIENTS.keys())
@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
async def test_proxy_that_has_trouble(make, status):
    """It may pass, and nothing was sent to the origin: a POST is tried again; httpx's own transport's error stays."""
    async with Proxy(b"%d Somehow" % status) as proxy, make(proxy.url, retry=FAST) as client:
        with pytest.raises(httpx.ProxyError) as caught:
            await client.post(URL, json={})
        assert isinstance(caught.value, seawall.errors.TunnelFailed) is (make is not CLIENTS["mount"])
        assert len(caught.value.attempts) == len(proxy.asked) == 3


async def test_a_proxy_whose_breaker_is_open():
    """It is a proxy's error and a breaker's, httpx's `ProxyError` and `ConnectError` too; no retry follows."""
    async with seawall.AsyncClient(gates=[lambda origin: Shut()], retry=FAST) as client:
        with pytest.raises(httpx.ProxyError) as caught:
            await client.post(URL, json={})
        error = caught.value
        assert isinstance(error, seawall.errors.ProxyOpen)
        assert isinstance(error, seawall.BreakerOpen)
        assert isinstance(error, httpx.ConnectError)
        assert (error.by, error.proxy, len(error.attempts)) == ("proxy", "http://proxy.test:1", 1)
        assert client.stats().totals.rejected == {"proxy": 1}
    assert (pickle.loads(pickle.dumps(error)).proxy, error.theirs) == (
        error.proxy,
        (httpx.ConnectError, httpx.ProxyError),
    )
    rows = [failure_of(seen, seawall.events.Phase.QUEUED).what for seen in (error, seawall.BreakerOpen("it is open"))]
    assert rows == ["the breaker of the proxy is open", "the breaker is open"]


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


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    return monkeypatch


async def way_of(client: httpx.AsyncClient, url: str) -> str:
    """Which proxy was asked, by the error of one that isn't there."""
    with pytest.raises(httpx.ConnectError) as caught:
        await client.get(url)
    return getattr(caught.value, "proxy", "none")


@pytest.mark.parametrize(
    ("variables", "url", "way"),
    [
        ({"HTTP_PROXY": "http://127.0.0.1:1"}, "http://a.invalid", "http://127.0.0.1:1"),
        ({"HTTP_PROXY": "http://127.0.0.1:1"}, "https://a.invalid", "none"),
        ({"https_proxy": "http://ada:x@127.0.0.1:1"}, "https://a.invalid", "http://127.0.0.1:1"),
        ({"ALL_PROXY": "socks5://127.0.0.1:1"}, "https://a.invalid", "socks5://127.0.0.1:1"),
        ({"ALL_PROXY": "http://127.0.0.1:1", "HTTPS_PROXY": "http://127.0.0.1:2"}, "https://a.invalid",
         "http://127.0.0.1:2"),
        ({"ALL_PROXY": "http://127.0.0.1:1", "NO_PROXY": "b.invalid"}, "http://a.b.invalid", "none"),
        ({"ALL_PROXY": "http://127.0.0.1:1", "NO_PROXY": "b.invalid"}, "http://ab.invalid", "http://127.0.0.1:1"),
        ({"ALL_PROXY": "http://127.0.0.1:1", "NO_PROXY": "*"}, "http://a.invalid", "none"),
        ({"ALL_PROXY": "127.0.0.1:1"}, "http://a.invalid", "http://127.0.0.1:1"),
    ],
)  # fmt: skip
async def test_the_environment(environment, variables, url, way):
    """Read as httpx reads it; calls go over our wire, and by the short way."""
    for name, value in variables.items():
        environment.setenv(name, value)
    async with seawall.AsyncClient(retry=None) as client:
        assert await way_of(client, url) == way
    async with seawall.AsyncClient(retry=None, trust_env=False) as client:
        assert await way_of(client, url) == "none"


async def test_a_guard_and_a_proxy_of_the_environment(environment):
    """A client can be made; its calls are refused, because the guard can't see what they would dial."""
    environment.setenv("ALL_PROXY", "http://127.0.0.1:1")
    async with seawall.AsyncClient(guard=seawall.Guard(), retry=None) as client:
        with pytest.raises(seawall.errors.AddressNotAllowed, match="trust_env=False"):
            await client.get("http://a.test")


OTHERS = {
    "transport": lambda: seawall.AsyncClient(transport=httpx.AsyncHTTPTransport()),
    "mount": lambda: seawall.AsyncClient(mounts={"http://": httpx.AsyncHTTPTransport()}),
    "inner": lambda: seawall.AsyncClient(transport=seawall.AsyncTransport(httpx.AsyncHTTPTransport())),
    "stock client": lambda: httpx.AsyncClient(transport=seawall.AsyncTransport(httpx.AsyncHTTPTransport())),
    "wrapped": lambda: seawall.AsyncClient(transport=Wrapped(httpx.AsyncHTTPTransport())),
}


class Wrapped(httpx.AsyncBaseTransport):
    is_faithful = True

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self.inner = inner

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await self.inner.handle_async_request(request)


@pytest.mark.parametrize("make", OTHERS.values(), ids=OTHERS.keys())
async def test_a_requests_own_proxy_over_another_transport(make):
    """That transport would go straight there, round the proxy: it is refused, and nothing is sent to anyone."""
    async with Proxy(b"204 No Content\r\nConnection: close") as origin, make() as client:
        url = origin.url.replace("user:wrong@", "")
        with pytest.raises(ValueError, match=r'extensions\["proxy"\].*give the proxy to that transport'):
            await client.get(url, extensions={"proxy": "http://127.0.0.1:1"})
        assert origin.asked == []
        assert (await client.get(url, extensions={"proxy": None})).status_code == 204


async def test_a_requests_own_proxy_where_nothing_is_dialled():
    """A test's transport dials nobody, and ours below reads the extension itself."""
    way = {"proxy": "http://127.0.0.1:1"}
    for dry in (httpx.MockTransport(lambda request: httpx.Response(200)), httpx.ASGITransport(nobodys)):
        async with seawall.AsyncClient(transport=dry) as client:
            assert (await client.get("http://a.test", extensions=way)).status_code == 200
    ours = seawall.AsyncTransport(retry=None)
    async with seawall.AsyncClient(transport=seawall.AsyncTransport(Wrapped(ours), retry=None)) as client:
        with pytest.raises(httpx.ProxyError):
            await client.get("http://a.test", extensions=way)


async def nobodys(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})
