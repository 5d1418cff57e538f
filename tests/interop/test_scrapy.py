"""`seawall.integrations.scrapy` under real spiders, each in a process of its own, which ask servers on loopback."""

from __future__ import annotations

import asyncio
import gzip
import pickle
import sys
from pathlib import Path
from typing import Any

import pytest

import seawall
from seawall import errors
from seawall.dns import StaticResolver
from seawall.testing import FaultServer, Request, Server
from seawall.testing.steps import (
    accept_hang,
    blackhole,
    h2,
    ok,
    proxy,
    refuse,
    reset,
    status,
    tls,
    tls_plaintext,
    truncate,
)

from .house import House

pytest.importorskip("scrapy", reason="pip install 'seawall[scrapers]'")

import scrapy
import scrapy.exceptions
from scrapy.settings import Settings
from scrapy.utils.test import get_crawler

from seawall.integrations.scrapy import Addon, DownloadHandler, _retry, _scrapys_errors

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]
ADDON = {"ADDONS": {"seawall.integrations.scrapy.Addon": 500}, "REMOTE_CONTROL_ENABLED": False}
MODES = {
    "reactor": (False, True),
    "reactor, async": (True, True),
    "no reactor": (True, False),
}
FAST = seawall.Retry(backoff=0, throttled_backoff=0)


class Crawl:
    """
    What a spider has heard.

    Attributes:
        heard: By URL, a dict of a response or an error for each request.
        stats: Scrapy's own.
        sockets: How many the process had open at its end.
        log: What it has logged.
    """

    def __init__(self, report: dict[str, Any], log: str) -> None:
        self.all: list[dict[str, Any]] = report["heard"]
        self.stats: dict[str, Any] = report["stats"]
        self.sockets: int = report["sockets"]
        self.log = log

    def __getitem__(self, url: str) -> dict[str, Any]:
        (found,) = [each for each in self.all if each["url"] == url]
        return found


async def crawl(*requests: str | dict[str, Any], mode: str = "no reactor", **settings: Any) -> Crawl:
    """Have a spider make *requests*."""
    is_async, has_reactor = MODES[mode]
    job = {
        "is_async": is_async,
        "settings": ADDON | {"SEAWALL": {"retry": FAST}, "TWISTED_REACTOR_ENABLED": has_reactor} | settings,
        "requests": [{"url": each} if isinstance(each, str) else each for each in requests],
    }
    command = (sys.executable, "-m", "tests.interop.spider")
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe)
    out, log = await process.communicate(pickle.dumps(job))
    assert process.returncode == 0, log.decode()
    return Crawl(pickle.loads(out), log.decode())


@pytest.mark.parametrize("mode", MODES)
async def test_one_layer_repeats_a_request(mode):
    """A status and a connection are asked for 3 times by seawall, a cut body by Scrapy; afterwards nothing is open."""
    async with FaultServer() as server:
        good = server.script("good", ok())
        busy = server.script("busy", status(503))
        lost = server.script("lost", reset("headers"))
        cut = server.script("cut", truncate())
        once = server.script("once", status(503))
        cured = server.script("cured", status(503), reset("headers"), ok())
        not_again = {"url": once, "meta": {"dont_retry": True}}
        done = await crawl(good, busy, lost, cut, not_again, cured, mode=mode)
        counts = {key: len(server.attempts(key)) for key in ("good", "busy", "lost", "cut", "once", "cured")}
    assert counts == {"good": 1, "busy": 3, "lost": 3, "cut": 3, "once": 1, "cured": 3}
    assert (done[good]["status"], done[good]["ip_address"], done[good]["protocol"]) == (200, "127.0.0.1", "HTTP/1.1")
    assert (done[busy]["error"], done[busy]["status"]) == ("HttpError", 503)
    assert (done[lost]["error"], done[lost]["cause"]) == ("DownloadFailedError", "ConnectionLost")
    assert (done[cut]["error"], done[cut]["cause"]) == ("ResponseDataLossError", "BadAnswer")
    assert done[cured]["status"] == 200
    assert (done.stats["seawall/retry/count"], done.stats["retry/count"]) == (6, 2)
    assert done.sockets == 0
    assert "was destroyed" not in done.log
    assert "ResourceWarning" not in done.log


async def test_errors_are_scrapys():
    """Each is Scrapy's finest class, and seawall's error is its cause."""
    async with FaultServer() as server:
        for each in (refuse(), blackhole(), tls_plaintext(), accept_hang()):
            server.listen(each)
        ports = server.ports
        slow = {"download_timeout": 0.3}
        requests = {
            "name": {"url": "http://nobody.test/"},
            "refused": {"url": ports["refuse"].url},
            "swallowed": {"url": ports["blackhole"].url, "meta": slow},
            "tls": {"url": ports["tls_plaintext"].url.replace("http:", "https:")},
            "hang": {"url": ports["accept_hang"].url, "meta": slow},
            "hang in the body": {"url": f"{server.url}/x/hang:body", "meta": slow},
            "garbage": {"url": f"{server.url}/x/malformed:not_http"},
            "reset in the body": {"url": f"{server.url}/x/reset:body"},
            "cut, and wanted": {"url": f"{server.url}/x/truncate:body", "meta": {"download_fail_on_dataloss": False}},
            "no proxy": {"url": "http://b.test/", "meta": {"proxy": ports["refuse"].url}},
        }
        done = await crawl(
            *requests.values(),
            SEAWALL={"retry": FAST, "resolver": StaticResolver({"localhost": "127.0.0.1"})},
            RETRY_TIMES=0,
        )
    assert done.sockets == 0
    heard = {name: done[request["url"]] for name, request in requests.items()}
    assert heard.pop("cut, and wanted")["flags"] == ["dataloss"]
    assert {name: each["error"] for name, each in heard.items()} == {
        "name": "CannotResolveHostError",
        "refused": "DownloadConnectionRefusedError",
        "swallowed": "DownloadTimeoutError",
        "tls": "DownloadFailedError",
        "hang": "DownloadTimeoutError",
        "hang in the body": "DownloadTimeoutError",
        "garbage": "DownloadFailedError",
        "reset in the body": "ResponseDataLossError",
        "no proxy": "DownloadConnectionRefusedError",
    }
    causes = {name: heard[name]["cause"] for name in ("name", "refused", "tls", "garbage", "reset in the body")}
    assert causes == {
        "name": "NameNotFound",
        "refused": "DialError",
        "tls": "HandshakeError",
        "garbage": "BadAnswer",
        "reset in the body": "ConnectionLost",
    }


async def test_slots_are_scrapys():
    """As many requests of a domain are in flight as Scrapy's setting says, retries among them."""
    house = House(3)
    async with Server(house) as server:
        urls = [f"{server.url}/{number}" for number in range(9)]
        done = await crawl(*urls, CONCURRENT_REQUESTS_PER_DOMAIN=3)
        assert set(server.counts.values()) == {2}
    assert house.peak == 3
    assert [each["status"] for each in done.all] == [200] * 9


async def test_delays_are_scrapys():
    """Requests to a domain begin one DOWNLOAD_DELAY after another."""
    async with FaultServer(assert_all_called=False) as server:
        urls = [f"{server.url}/x/ok?{number}" for number in range(4)]
        done = await crawl(*urls, DOWNLOAD_DELAY=0.1, DOWNLOAD_DELAY_JITTER=0)
    assert done.stats["elapsed_time_seconds"] >= 0.3


def test_a_retry_heeds_the_delay():
    """It comes one to two DOWNLOAD_DELAYs after the attempt before it, because it is a request to the host as well."""
    retry = _retry(30.0)
    assert (retry.backoff, retry.throttled_backoff, retry.max_backoff, retry.jitter) == (60, 60, 60, 0.5)
    retry = _retry(0.25)
    assert (retry.backoff, retry.throttled_backoff, retry.max_backoff, retry.jitter) == (0.5, 1, 20, 0.5)
    assert _retry(0.0).backoff == seawall.Retry().backoff


async def test_latency_is_the_servers():
    """AutoThrottle is told how long the last attempt took, without the backoff before it."""
    retry = seawall.Retry(backoff=0.5, throttled_backoff=0.5, jitter=0)
    async with FaultServer() as server:
        url = server.script("busy", status(503), ok())
        done = await crawl(url, SEAWALL={"retry": retry})
    assert done[url]["latency"] <= done.stats["elapsed_time_seconds"] - 0.5


async def test_sizes():
    """DOWNLOAD_MAXSIZE ends a download, by its length or by what has come; DOWNLOAD_WARNSIZE warns."""

    async def handler(request: Request) -> None:
        if request.target == "/chunked":
            await request.begin(200, {"transfer-encoding": "chunked"})
            await request.send(b"7D0\r\n" + b"x" * 2000 + b"\r\n0\r\n\r\n")
        else:
            await request.reply(200, b"x" * int(request.target[1:]))

    async with Server(handler) as server:
        whole, long, chunked = (f"{server.url}/{path}" for path in ("900", "2000", "chunked"))
        done = await crawl(whole, long, chunked, DOWNLOAD_MAXSIZE=1000, DOWNLOAD_WARNSIZE=500)
    assert len(done[whole]["body"]) == 900
    assert "Expected to receive 900 bytes which is larger than download warn size (500)" in done.log
    assert done[long]["error"] == done[chunked]["error"] == "DownloadCancelledError"
    assert done.sockets == 0


async def test_what_middlewares_do():
    """
    Scrapy's cookies, redirects, compression and filter of duplicates work; the handler keeps no cookie, adds no header
    but those of the message, and gives headers as they came.
    """

    async def handler(request: Request) -> None:
        if request.target == "/set":
            fields = {"Set-Cookie": "a=1", "set-cookie": "b=2", "Location": "/landed"}
            await request.reply(302, b"", fields)
        elif request.target == "/gzip":
            await request.reply(200, gzip.compress(b"text"), {"Content-Encoding": "gzip"})
        else:
            await request.reply(200, b"ok", {"X-B": "1", "X-A": "\xe9", "x-b": "2"})

    async with Server(handler) as server:
        plain, packed, post = (f"{server.url}/{path}" for path in ("plain", "gzip", "post"))
        done = await crawl(
            f"{server.url}/set",
            {"url": plain, "meta": {"dont_merge_cookies": True}, "headers": {"X-First": "1", "x-list": ["2", "3"]}},
            plain,
            packed,
            {"url": post, "method": "POST", "body": b"\x00\xff"},
            CONCURRENT_REQUESTS=1,
            USER_AGENT="spider",
        )
        asked = {request.target: request for request in server.requests}
        assert set(server.counts.values()) == {1}
    assert asked["/landed"].headers["cookie"] == "a=1; b=2"
    assert "cookie" not in asked["/plain"].headers
    assert done[f"{server.url}/landed"]["status"] == 200
    assert done[plain]["headers"][b"X-B"] == [b"1", b"2"]
    assert done[plain]["headers"][b"X-A"] == [b"\xe9"]
    assert done[packed]["body"] == b"text"
    assert (asked["/post"].method, asked["/post"].body) == ("POST", b"\x00\xff")
    assert asked["/plain"].fields == [
        ("Host", server.url.removeprefix("http://")),
        ("X-First", "1"),
        ("X-List", "2"),
        ("X-List", "3"),
        ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
        ("Accept-Language", "en"),
        ("User-Agent", "spider"),
        ("Accept-Encoding", asked["/plain"].headers["accept-encoding"]),
    ]


async def test_http2_and_proxies():
    """HTTP/2 and TLS by setting, with the server's certificate; a proxy by meta, with its credentials."""

    async def answer(request: Request) -> None:
        await request.reply(200, b"from the proxy")

    async with FaultServer(assert_all_called=False) as server, Server(answer) as forward:
        secure, tunnelled = (f"{server.listen(each).url}/x/ok" for each in (h2(), tls()))
        through = server.listen(proxy())
        plain = "http://nobody.test/a?b"
        done = await crawl(
            secure,
            {"url": tunnelled, "meta": {"proxy": through.url}},
            {"url": plain, "meta": {"proxy": forward.url.replace("//", "//me:secret@")}},
            SEAWALL={"http2": True},
        )
        assert through.connections == 1
        (asked,) = forward.requests
    assert done[secure]["protocol"] == "HTTP/2"
    assert done[secure]["certificate"].startswith(b"\x30\x82")
    assert done[tunnelled]["status"] == 200
    assert done[plain]["body"] == b"from the proxy"
    assert (asked.target, asked.headers["proxy-authorization"]) == (plain, "Basic bWU6c2VjcmV0")
    assert done.sockets == 0


async def test_many_proxies():
    """Each request goes through its own; the connections of all share one engine, and close with it."""

    async def answer(request: Request) -> None:
        await request.reply(200, b"from the proxy")

    handler = DownloadHandler(get_crawler(settings_dict=ADDON))
    async with Server(answer) as one, Server(answer) as two:
        for server in (one, two):
            asked = scrapy.Request("http://nobody.test/", meta={"proxy": server.url})
            async with handler._make_request(asked, 5.0) as response:
                assert await response.aread() == b"from the proxy"
        assert (one.open, two.open) == (1, 1)
        await handler.close()
        async with asyncio.timeout(10):
            while one.open or two.open:
                await asyncio.sleep(0)


async def test_settings_of_tls_and_the_own_address():
    """DOWNLOAD_VERIFY_CERTIFICATES refuses a certificate of nobody's, and DOWNLOAD_BIND_ADDRESS is dialled from."""

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        address = writer.get_extra_info("peername")[0].encode()
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%s" % (len(address), address))
        writer.close()

    plain = await asyncio.start_server(peer, "127.0.0.1", 0)
    async with plain, FaultServer() as server:
        secure = f"{server.listen(tls()).url}/x/ok"
        url = f"http://127.0.0.1:{plain.sockets[0].getsockname()[1]}"
        checked = await crawl(secure, DOWNLOAD_VERIFY_CERTIFICATES=True)
        bound = await crawl(url, DOWNLOAD_BIND_ADDRESS="127.0.0.2")
    assert (checked[secure]["error"], checked[secure]["cause"]) == ("DownloadFailedError", "CertificateError")
    assert (bound[url]["body"], bound[url]["ip_address"]) == (b"127.0.0.2", "127.0.0.1")


async def test_the_earlier_deadline_holds():
    """That of SEAWALL ends a call before DOWNLOAD_TIMEOUT does."""
    async with FaultServer() as server:
        url = server.listen(accept_hang()).url
        done = await crawl(url, SEAWALL={"deadline": 0.2}, DOWNLOAD_TIMEOUT=180)
    assert (done[url]["error"], done[url]["cause"]) == ("DownloadTimeoutError", "DeadlineExceeded")


async def test_without_the_addon():
    """A handler that is set by hand warns of Scrapy's own retries, which it can't switch off."""
    handlers = dict.fromkeys(("http", "https"), "seawall.integrations.scrapy.DownloadHandler")
    async with FaultServer() as server:
        url = server.script("good", ok())
        loud = await crawl(url, ADDONS={}, DOWNLOAD_HANDLERS=handlers)
        quiet = await crawl(url, ADDONS={}, DOWNLOAD_HANDLERS=handlers, RETRY_ENABLED=False)
    assert loud[url]["status"] == quiet[url]["status"] == 200
    assert "Scrapy's RetryMiddleware repeats what seawall has repeated" in loud.log
    assert "RetryMiddleware repeats" not in quiet.log


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"retri": None}, "SEAWALL: seawall.Engine has no setting 'retri'; did you mean 'retry'"),
        ({"deadline": -1}, "SEAWALL: deadline must be finite and > 0"),
        ({"observers": 1}, "SEAWALL: observers must be a list"),
        (7, "SEAWALL must be a dict"),
        ("{", "SEAWALL must be a dict"),
    ],
)
def test_a_wrong_setting(given, text):
    """The add-on says which one, before the crawl begins."""
    with pytest.raises((TypeError, ValueError), match="SEAWALL") as caught:
        Addon().update_settings(Settings({"SEAWALL": given}))
    assert str(caught.value).startswith(text)


def test_the_project_wins():
    """What its settings say of handlers and retries stays."""
    settings = Settings({"DOWNLOAD_HANDLERS": {"https": "theirs"}, "RETRY_HTTP_CODES": [418]})
    Addon().update_settings(settings)
    assert settings.getwithbase("DOWNLOAD_HANDLERS")["https"] == "theirs"
    assert settings.getwithbase("DOWNLOAD_HANDLERS")["http"].__name__ == "DownloadHandler"
    assert settings.getlist("RETRY_HTTP_CODES") == [418]


EXPECTED = {
    "CannotResolveHostError": {"ResolveError", "NameNotFound", "NoAddress", "ResolverFailure", "ResolveTimeout"},
    "DownloadConnectionRefusedError": {
        "AddressNotAllowed",
        "DialError",
        "ProxyError",
        "ProxyRefused",
        "ProxyUnreachable",
        "TunnelFailed",
    },
    "DownloadTimeoutError": {
        "CallerLeft",
        "DeadlineExceeded",
        "DialTimeout",
        "HandshakeTimeout",
        "ProxyTimeout",
        "ReadTimeout",
        "TunnelTimeout",
        "WriteTimeout",
    },
    "DownloadCancelledError": {"ClientClosed"},
    "UnsupportedURLSchemeError": {"UnsupportedScheme"},
}


@pytest.mark.parametrize("name", sorted(set(errors.__all__) - {"PartlySent", "SeawallError", "Unsent", "WireError"}))
def test_each_error(name):
    """It is Scrapy's finest class, and DownloadFailedError where none fits; so is a call that was sent before."""
    from seawall._httpx.errors import as_httpx

    expected = next((to for to, names in EXPECTED.items() if name in names), "DownloadFailedError")
    error = as_httpx(getattr(errors, name)("why"), None)
    partly = as_httpx(errors.PartlySent("why", reason=error), None)
    for each in (error, partly):
        with (
            pytest.raises(getattr(scrapy.exceptions, expected)) as caught,
            _scrapys_errors(scrapy.Request("http://a/")),
        ):
            raise each
        assert type(caught.value).__name__ == expected
        assert caught.value.__cause__ is each
