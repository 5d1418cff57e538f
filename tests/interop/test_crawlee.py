"""`seawall.integrations.crawlee` under real crawlers, which ask servers on loopback."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

import seawall
from seawall.testing import FaultServer, Request, Server, no_leaks
from seawall.testing.steps import accept_hang, ok, proxy, reset, status, truncate

from .house import House
from .shut import Shut

pytest.importorskip("crawlee", reason="pip install 'seawall[scrapers]'")

import crawlee
from crawlee import ConcurrencySettings
from crawlee.configuration import Configuration
from crawlee.crawlers import BeautifulSoupCrawler, HttpCrawler
from crawlee.errors import HttpStatusCodeError, ProxyError, SessionError
from crawlee.events import LocalEventManager
from crawlee.proxy_configuration import ProxyConfiguration
from crawlee.sessions import Session, SessionPool
from crawlee.storage_clients import MemoryStorageClient

from seawall.integrations.crawlee import SeawallHttpClient

pytestmark = pytest.mark.anyio

FAST = seawall.Retry(backoff=0, throttled_backoff=0)


class Crawl:
    """
    What a crawler has heard.

    Attributes:
        pages: By URL, the status and body of each page.
        errors: By URL, what failed in the end.
    """

    def __init__(self) -> None:
        self.pages: dict[str, tuple[int, bytes]] = {}
        self.errors: dict[str, Exception] = {}


async def crawl(*requests: Any, kind: Any = HttpCrawler, client: Any = None, **settings: Any) -> Crawl:
    """Have a crawler fetch *requests*."""
    done = Crawl()
    crawler = kind(
        http_client=client or SeawallHttpClient(retry=FAST),
        storage_client=MemoryStorageClient(),
        configuration=Configuration(),
        event_manager=LocalEventManager(),
        configure_logging=False,
        **settings,
    )

    @crawler.router.default_handler
    async def page(context: Any) -> None:
        response = context.http_response
        done.pages[context.request.url] = response.status_code, await response.read()

    @crawler.failed_request_handler
    async def failed(context: Any, error: Exception) -> None:
        done.errors[context.request.url] = error

    await crawler.run(list(requests))
    return done


@pytest.mark.parametrize("kind", [HttpCrawler, BeautifulSoupCrawler])
async def test_one_layer_repeats_a_request(kind):
    """A status, a connection and a cut body are asked for 3 times, by seawall; afterwards nothing is open."""
    async with FaultServer() as server:
        good = server.script("good", ok())
        busy = server.script("busy", status(503))
        lost = server.script("lost", reset("headers"))
        cut = server.script("cut", truncate())
        cured = server.script("cured", status(503), truncate(), ok())
        done = await crawl(good, busy, lost, cut, cured, kind=kind)
        counts = {key: len(server.attempts(key)) for key in ("good", "busy", "lost", "cut", "cured")}
    assert counts == {"good": 1, "busy": 3, "lost": 3, "cut": 3, "cured": 3}
    assert {done.pages[good][0], done.pages[cured][0]} == {200}
    assert isinstance(done.errors[busy], HttpStatusCodeError)
    assert isinstance(done.errors[lost], seawall.errors.ConnectionLost)
    assert isinstance(done.errors[cut], seawall.errors.BadAnswer)


async def test_concurrency_is_crawlees():
    """As many requests are in flight as its setting says, retries among them."""
    house = House(3)
    three = ConcurrencySettings(min_concurrency=3, max_concurrency=3, desired_concurrency=3)
    async with Server(house) as server:
        urls = [f"{server.url}/{number}" for number in range(9)]
        done = await crawl(*urls, concurrency_settings=three)
        assert set(server.counts.values()) == {2}
    assert house.peak == 3
    assert {page[0] for page in done.pages.values()} == {200}


@pytest.mark.parametrize("code", [403, 429, 503])
async def test_a_status_that_blocks_rotates_the_session(code):
    """It is asked for once by each session, at once, because another session may be let in."""
    pool = SessionPool(create_session_settings={"blocked_status_codes": [403, 429, 503]})
    async with FaultServer() as server:
        url = server.script("blocked", status(code))
        done = await crawl(url, session_pool=pool, max_session_rotations=4)
        assert len(server.attempts("blocked")) == 4
    assert isinstance(done.errors[url], SessionError)


async def test_too_many_requests_are_crawlees():
    """A 429 comes back at once, because Crawlee has sessions and a queue that heed it."""
    async with FaultServer() as server, SeawallHttpClient() as client:
        response = await client.send_request(server.script("throttled", status(429, retry_after="1")))
        assert (response.status_code, len(server.attempts("throttled"))) == (429, 1)


async def test_what_crawlee_repeats():
    """A status that is an error by its setting, and a POST, are repeated as often as its setting says, body and all."""

    async def answer(request: Request) -> None:
        await request.reply(404 if request.target == "/missing" else 503)

    async with Server(answer) as server:
        missing, order = f"{server.url}/missing", f"{server.url}/order"
        post = crawlee.Request.from_url(order, method="POST", payload=b"\x00\xff")
        done = await crawl(missing, post, additional_http_error_status_codes=[404], max_request_retries=1)
        assert server.counts == {("GET", "/missing"): 2, ("POST", "/order"): 2}
        assert {each.body for each in server.requests if each.method == "POST"} == {b"\x00\xff"}
    assert {type(done.errors[url]) for url in (missing, order)} == {HttpStatusCodeError}


async def test_a_proxy():
    """Requests go through the one that Crawlee chose, with its credentials, once, because the next may be another."""

    async def answer(request: Request) -> None:
        await request.reply(503 if request.target.endswith("busy") else 200, b"from the proxy")

    async with Server(answer) as forward:
        through = ProxyConfiguration(proxy_urls=[forward.url.replace("//", "//me:secret@")])
        plain, busy = "http://nobody.test/a?b", "http://nobody.test/busy"
        done = await crawl(plain, busy, proxy_configuration=through, max_request_retries=1)
        assert forward.counts == {("GET", plain): 1, ("GET", busy): 2}
        assert {each.headers["proxy-authorization"] for each in forward.requests} == {"Basic bWU6c2VjcmV0"}
    assert done.pages[plain] == (200, b"from the proxy")
    assert isinstance(done.errors[busy], HttpStatusCodeError)


async def test_many_proxies():
    """Each request goes through its own, while a stream through another one is read; all close with the client."""

    async def answer(request: Request) -> None:
        await request.reply(200, b"from the proxy")

    async with Server(answer) as one, Server(answer) as two, SeawallHttpClient() as client:
        first, second = (ProxyConfiguration(proxy_urls=[each.url]) for each in (one, two))
        url = "http://nobody.test/"
        async with client.stream(url, proxy_info=await first.new_proxy_info(None, None, None)) as response:
            await client.send_request(url, proxy_info=await second.new_proxy_info(None, None, None))
            assert (one.open, two.open) == (1, 1)
            assert b"".join([piece async for piece in response.read_stream()]) == b"from the proxy"
        await client.cleanup()
        async with asyncio.timeout(10):
            while one.open or two.open:
                await asyncio.sleep(0)


async def test_a_proxy_that_refuses():
    """It is Crawlee's ProxyError, which has another session tried."""
    async with FaultServer(assert_all_called=False) as server:
        refusing = server.listen(proxy("407"))
        url = "https://nobody.test/"
        through = ProxyConfiguration(proxy_urls=[refusing.url])
        done = await crawl(url, proxy_configuration=through, max_session_rotations=2)
        assert refusing.connections == 2
    assert isinstance(done.errors[url], ProxyError)
    assert isinstance(done.errors[url].__cause__, seawall.errors.ProxyRefused)


async def test_a_proxy_whose_breaker_is_open():
    """It is Crawlee's ProxyError too, which has it take another proxy."""
    client = SeawallHttpClient(gates=[lambda origin: Shut()])
    through = ProxyConfiguration(proxy_urls=["http://proxy.test:1"])
    done = await crawl("http://nobody.test/", client=client, proxy_configuration=through, max_session_rotations=2)
    (error,) = done.errors.values()
    assert isinstance(error, ProxyError)
    assert isinstance(error.__cause__, seawall.errors.ProxyOpen)


async def test_a_timeout():
    """Crawlee's is the call's deadline; that of the client holds if it is the earlier one."""
    async with FaultServer() as server:
        url = server.listen(accept_hang()).url
        async with SeawallHttpClient() as client:
            with pytest.raises(asyncio.TimeoutError) as caught:
                await client.send_request(url, timeout=timedelta(seconds=0.1))
            assert isinstance(caught.value.__cause__, seawall.DeadlineExceeded | seawall.errors.ReadTimeout)
        async with SeawallHttpClient(deadline=0.1) as client:
            with pytest.raises(asyncio.TimeoutError) as caught:
                await client.send_request(url, timeout=timedelta(seconds=60))
            assert isinstance(caught.value.__cause__, seawall.DeadlineExceeded)


class Visits:
    """A server whose pages are told by their paths: each keeps the Cookie that it was sent."""

    def __init__(self) -> None:
        self.cookies: list[tuple[str, str | None]] = []

    async def __call__(self, request: Request) -> None:
        self.cookies.append((request.target, request.headers.get("cookie")))
        if request.target.startswith("/set"):
            await request.reply(302, b"", {"Set-Cookie": f"who={request.target[5:]}; Path=/", "Location": "/landed"})
        elif request.target.startswith("/away"):
            await request.reply(302, b"", {"Location": f"http://localhost:{request.headers['host'][-5:]}/there"})
        else:
            await request.reply()


async def test_cookies_are_the_sessions():
    """Each session keeps its own, on each hop of a redirect, and the client keeps none."""
    visits = Visits()
    ada, bob = Session(), Session()
    async with Server(visits) as server, SeawallHttpClient() as client:
        await client.send_request(f"{server.url}/set/ada", session=ada)
        await client.send_request(f"{server.url}/set/bob", session=bob)
        for session in (ada, bob, None):
            await client.send_request(f"{server.url}/", session=session)
    assert visits.cookies == [
        ("/set/ada", None),
        ("/landed", "who=ada"),
        ("/set/bob", None),
        ("/landed", "who=bob"),
        ("/", "who=ada"),
        ("/", "who=bob"),
        ("/", None),
    ]


async def test_a_cookie_by_hand():
    """It holds in place of the session's, also if it is empty, for as long as the call stays at its origin."""
    visits = Visits()
    ada = Session()
    async with Server(visits) as server, SeawallHttpClient() as client:
        await client.send_request(f"{server.url}/set/ada", session=ada)
        visits.cookies.clear()
        await client.send_request(f"{server.url}/set/b", session=ada, headers={"Cookie": "mine=1"})
        await client.send_request(f"{server.url}/", session=ada, headers={"Cookie": ""})
        await client.send_request(f"{server.url}/away", session=ada, headers={"Cookie": "mine=1"})
    assert visits.cookies == [
        ("/set/b", "mine=1"),
        ("/landed", "mine=1"),
        ("/", None),
        ("/away", "mine=1"),
        ("/there", None),
    ]


async def test_cookies_that_are_not_kept():
    """``persist_cookies_per_session=False`` sends the session's, and keeps none."""
    visits = Visits()
    ada = Session()
    async with Server(visits) as server, SeawallHttpClient(persist_cookies_per_session=False) as client:
        ada.cookies.set("given", "1", domain="127.0.0.1")
        await client.send_request(f"{server.url}/set/ada", session=ada)
    assert visits.cookies == [("/set/ada", "given=1"), ("/landed", "given=1")]


async def test_a_stream():
    """Its body is read piece by piece, once; that of a request is there at once."""
    async with FaultServer(assert_all_called=False) as server, SeawallHttpClient() as client:
        url = f"{server.url}/x/ok:100000"
        async with client.stream(url, timeout=timedelta(seconds=10)) as response:
            with pytest.raises(RuntimeError, match="read_stream"):
                await response.read()
            size = sum([len(piece) async for piece in response.read_stream()])
        whole = await client.send_request(url)
        assert (response.status_code, size, len(await whole.read())) == (200, 100_000, 100_000)
        assert (whole.http_version, whole.headers["Content-Length"]) == ("HTTP/1.1", "100000")
        with pytest.raises(RuntimeError, match="use read"):
            await anext(whole.read_stream())


async def test_a_client_goes_on():
    """The crawler closes it at its end, with all connections and tasks; it serves the next crawl."""
    client = SeawallHttpClient(retry=FAST)
    async with FaultServer() as server:
        first, second = server.script("first", ok()), server.script("second", ok())
        for url in (first, second):
            async with no_leaks():
                done = await crawl(url, client=client)
            assert done.pages[url][0] == 200
            assert not client.active


def test_a_wrong_setting():
    """It is an error at once, which names it."""
    with pytest.raises(TypeError, match=r"seawall.Engine has no setting 'retri'; did you mean 'retry'"):
        SeawallHttpClient(retri=None)
