"""Proxies on our own wire: what goes through, what is refused, whose fault it is, and what is left behind."""

from __future__ import annotations

import asyncio
import errno
import pickle
import re
import socket
import ssl
import sys
from collections.abc import Iterator

import httpx
import pytest
import trustme

import seawall
from seawall.route import Proxy
from seawall.testing import FaultServer
from seawall.testing.cancel import cancel_everywhere
from seawall.testing.dns import Name
from seawall.testing.leaks import held

from .relay import Relay

pytestmark = [pytest.mark.anyio, pytest.mark.each_front]

FAST = seawall.Retry(backoff=0, throttled_backoff=0)
WAYS = ["http", "https", "socks5", "socks5h"]
CREDENTIALS = ("ada", "p@ss:word")
AUTHORITY = trustme.CA()


@pytest.fixture(scope="module")
def origins() -> Iterator[FaultServer]:
    with FaultServer() as server:
        for step in ("tls", "h2"):
            server.listen(step)
        yield server


def serving(*names: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    AUTHORITY.issue_cert(*names).configure_cert(context)
    return context


def trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)
    return context


def relay(way: str, **arguments: object) -> Relay:
    return Relay(way, context=serving("127.0.0.1") if way == "https" else None, **arguments)


def through(proxy: Relay, url: str = "") -> httpx.Proxy:
    context = trusting() if proxy.kind == "https" else None
    return httpx.Proxy(url or proxy.bare_url, auth=None if url else proxy.wants, ssl_context=context)


@pytest.mark.parametrize("is_known", [False, True], ids=["", "credentials"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("port", ["http", "tls", "h2"])
async def test_all_kinds_of_proxies(origins, dns, way, port, is_known):
    """Calls go through, are kept alive, and the origin's name is the proxy's to resolve."""
    async with relay(way, wants=CREDENTIALS if is_known else None) as proxy:
        there = origins.port if port == "http" else origins.ports[port].port
        url = f"{'http' if port == 'http' else 'https'}://localhost:{there}/x/ok:100"
        async with seawall.AsyncClient(
            proxy=through(proxy),
            verify=origins.certificates.client_context(),
            http2=port == "h2",
            dns=seawall.DNS(nameservers=(dns.address,)),
        ) as client:
            for number in range(3):
                response = await client.get(url, headers={"x-number": str(number)})
                assert (response.status_code, len(response.content)) == (200, 100)
                assert response.http_version == ("HTTP/2" if port == "h2" else "HTTP/1.1")
            assert len(proxy.asked) == 1
            assert seawall.history(response)[0].is_reused
            origin = seawall.Origin(httpx.URL(url).scheme, "localhost", there, proxy.bare_url)
            assert client.stats().origins[origin].connections == 1
            async with client.stream("POST", url, content=slowly()) as response:
                assert len(await response.aread()) == 100
            assert held(client.stats()) == []
    assert not dns.queries


async def slowly():
    for _ in range(3):
        yield b"x" * 70_000


async def test_what_an_http_proxy_is_asked(origins, serve):
    """
    Absolute-form with the URL's own port only, and CONNECT with brackets; what the proxy is to hear, the origin isn't.

    Source: RFC 9112 sections 3.2.2 and 3.2.3.
    """
    origin = await serve(lambda request: request.reply(200, b"ok"))
    async with (
        Relay(wants=CREDENTIALS) as proxy,
        seawall.AsyncClient(
            proxy=httpx.Proxy(proxy.url.replace("p@ss:word", "p%40ss%3Aword"), headers={"X-Hop": "1"}), retry=None
        ) as client,
    ):
        await client.get(f"{origin.url}/a%20b?c=d#e", params={"c": "d"})
        assert proxy.asked[0].splitlines()[0] == b"GET %b/a%%20b?c=d HTTP/1.1" % origin.url.encode()
        assert b"\r\nX-Hop: 1\r\n" in proxy.asked[0]
        proxy.answer = b"HTTP/1.1 503 No\r\n\r\n"
        for url, authority in (("https://[::1]", b"[::1]:443"), ("https://API.test:81", b"api.test:81")):
            with pytest.raises(httpx.ProxyError):
                await client.get(url)
            lines = proxy.asked[-1].split(b"\r\n")
            assert lines[:2] == [b"CONNECT %b HTTP/1.1" % authority, b"Host: %b" % authority]
            assert b"X-Hop: 1" in lines
        proxy.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
        await client.get("http://api.test")
        assert proxy.asked[-1].splitlines()[:2] == [b"GET http://api.test/ HTTP/1.1", b"Host: api.test"]


async def test_a_requests_own_headers_win_over_the_proxys():
    """As in httpx: a proxy that is sent two of one name may take either, or refuse them."""
    async with Relay(answer=b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n") as proxy:
        given = httpx.Proxy(proxy.bare_url, auth=("ada", "x"), headers={"User-Agent": "proxys", "X-Hop": "1"})
        async with seawall.AsyncClient(proxy=given) as client:
            await client.get("http://api.test", headers={"proxy-authorization": "Basic own", "user-agent": "own"})
            await client.get("http://api.test")
        also = httpx.Proxy(proxy.bare_url, auth=("ada", "x"), headers={"Proxy-Authorization": "Bearer given"})
        async with seawall.AsyncClient(proxy=also) as client:
            await client.get("http://api.test")
    told = (b"proxy-authorization", b"user-agent", b"x-hop")
    heard = [sorted(line for line in head.lower().split(b"\r\n") if line.startswith(told)) for head in proxy.asked]
    assert heard[0] == [b"proxy-authorization: basic own", b"user-agent: own", b"x-hop: 1"]
    assert heard[1][0] == b"proxy-authorization: basic ywrhong="
    assert [len(each) for each in heard] == [3, 3, 2]
    assert heard[2][0] == b"proxy-authorization: bearer given"


async def test_origin_hears_nothing_that_is_for_the_proxy(serve):
    origin = await serve(lambda request: request.reply(200, b"ok"), tls=serving("localhost"))
    async with (
        Relay(wants=("ada", "x")) as proxy,
        seawall.AsyncClient(proxy=httpx.Proxy(proxy.url, headers={"X-Hop": "1"}), verify=trusting()) as client,
    ):
        await client.get(origin.url.replace("127.0.0.1", "localhost"))
    assert not {"x-hop", "proxy-authorization"} & origin.requests[0].headers.keys()


async def test_names_of_proxies(origins, dns):
    """Our DNS is asked for the proxy's name only, and dials its next address where the first refuses."""
    async with Relay() as proxy:
        dns.zone["proxy.test"] = Name(a=("127.0.0.9", "127.0.0.1"))
        async with seawall.AsyncClient(
            proxy=f"http://proxy.test:{proxy.port}", dns=seawall.DNS(nameservers=(dns.address,))
        ) as client:
            for _ in range(3):
                response = await client.get(f"http://only-the-proxy-knows.test:{origins.port}/x/ok")
                assert response.status_code == 200
                assert str(seawall.history(response)[-1].address) == "127.0.0.1"
    assert {name for name, _ in dns.queries} == {"proxy.test"}


@pytest.mark.parametrize("way", ["http", "socks5"])
async def test_a_proxy_that_moved_is_looked_up_anew(origins, dns, way):
    """When none of its addresses takes a connection, as for origins, and not once its time to live is over."""
    async with Relay(way) as proxy:
        dns.zone["proxy.test"] = Name(a=("127.0.0.9",), ttl=3600)
        async with seawall.AsyncClient(
            proxy=f"{way}://proxy.test:{proxy.port}", dns=seawall.DNS(nameservers=(dns.address,)), retry=None
        ) as client:
            with pytest.raises(seawall.errors.ProxyUnreachable):
                await client.get(f"http://localhost:{origins.port}/x/ok")
            dns.zone["proxy.test"] = Name(a=("127.0.0.1",))
            assert (await client.get(f"http://localhost:{origins.port}/x/ok")).status_code == 200


async def test_a_tunnel_serves_its_origin_and_its_proxy_only(origins):
    """Connections are kept by proxy and origin, credentials included."""
    url = f"https://localhost:{origins.ports['tls'].port}/x/ok"
    async with (
        Relay() as one,
        Relay() as two,
        seawall.AsyncClient(verify=origins.certificates.client_context()) as client,
    ):
        for proxy in (one.url, two.url, one.url.replace("//", "//ada:x@"), None, one.url):
            await client.get(url, extensions={"proxy": proxy})
        assert (len(one.asked), len(two.asked)) == (2, 1)
        assert client.stats().connections == 4
        await client.get(url.replace("localhost", "127.0.0.1"), extensions={"proxy": one.url})
        assert len(one.asked) == 3


async def test_only_tls_to_the_proxy_keeps_connections_apart(origins):
    """A context that a proxy isn't spoken to with makes no other connection of it."""
    url = f"http://localhost:{origins.port}/x/ok"
    async with Relay() as proxy, seawall.AsyncClient() as client:
        for context in (None, trusting(), trusting()):
            way = httpx.Proxy(proxy.url, ssl_context=context)
            assert (await client.get(url, extensions={"proxy": way})).status_code == 200
        assert (len(proxy.asked), client.stats().connections) == (1, 1)


async def test_a_proxy_per_request(origins, serve):
    """``extensions={"proxy": ...}``: a URL, an `httpx.Proxy`, or None for none; redirects go the same way."""
    origin = await serve(lambda request: request.reply(302, b"", location="/next") if request.target == "/" else
                         request.reply(200, b"ok"))  # fmt: skip
    async with Relay() as client_s, Relay() as own, seawall.AsyncClient(proxy=client_s.url, retry=None) as client:
        for way in (own.url, httpx.URL(own.url), httpx.Proxy(own.url)):
            response = await client.get(origin.url, extensions={"proxy": way}, follow_redirects=True)
            assert response.text == "ok"
        assert len(client_s.asked) == 0
        await client.get(origin.url, extensions={"proxy": None})
        assert len(client_s.asked) == 0
        await client.get(origin.url)
        assert len(client_s.asked) == 1
        for wrong, why in (("ftp://x", "scheme"), ("http://", "host"), (7, "proxy must be")):
            with pytest.raises((TypeError, ValueError), match=why):
                await client.get(origin.url, extensions={"proxy": wrong})


FAULTS = {
    # what the proxy does → our class, also httpx's, attempts
    "refused": ("ProxyUnreachable", httpx.ConnectError, 3),
    "407": ("ProxyRefused", httpx.ProxyError, 1),
    "403": ("ProxyRefused", httpx.ProxyError, 1),
    "302": ("ProxyRefused", httpx.ProxyError, 1),
    "429": ("TunnelFailed", httpx.ProxyError, 3),
    "500": ("TunnelFailed", httpx.ProxyError, 3),
    "502": ("TunnelFailed", httpx.ProxyError, 3),
    "503": ("TunnelFailed", httpx.ProxyError, 3),
    "close": ("TunnelFailed", httpx.ProxyError, 3),
    "reset": ("TunnelFailed", httpx.ProxyError, 3),
    "cut": ("TunnelFailed", httpx.ProxyError, 3),
    "garbage": ("TunnelFailed", httpx.ProxyError, 3),
    "long": ("TunnelFailed", httpx.ProxyError, 3),
    "early": ("TunnelFailed", httpx.ProxyError, 3),
    "hang": ("TunnelTimeout", httpx.ConnectTimeout, 3),
    "name": ("ProxyUnreachable", httpx.ConnectError, 1),
    "silent name": ("ProxyTimeout", httpx.ConnectTimeout, 3),
    "no TLS": ("ProxyUnreachable", httpx.ConnectError, 1),
    "bad certificate": ("ProxyUnreachable", httpx.ConnectError, 1),
    "TLS hangs": ("ProxyTimeout", httpx.ConnectTimeout, 3),
    "socks credentials": ("ProxyRefused", httpx.ProxyError, 1),
    "socks wants some": ("ProxyRefused", httpx.ProxyError, 1),
    "socks ruleset": ("ProxyRefused", httpx.ProxyError, 1),
    "socks host unreachable": ("TunnelFailed", httpx.ProxyError, 3),
    "socks garbage": ("TunnelFailed", httpx.ProxyError, 3),
    "socks close": ("TunnelFailed", httpx.ProxyError, 3),
    "socks hang": ("TunnelTimeout", httpx.ConnectTimeout, 3),
}


def doing(data: bytes, *, ends: bool = True, resets: bool = False):
    async def do(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        if resets:
            sock = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        if not ends:
            await reader.read()

    return do


DOES = {
    "reset": ("http", doing(b"", resets=True)),
    "cut": ("http", doing(b"HTTP/1.1 200 O")),
    "garbage": ("http", doing(b"garbage\r\n\r\n")),
    "long": ("http", doing(b"HTTP/1.1 200 OK\r\n" + b"x: %b\r\n" % (b"x" * 10_000) * 50)),
    "early": ("http", doing(b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", ends=False)),
    "hang": ("http", doing(b"", ends=False)),
    "socks garbage": ("socks5", doing(b"HTTP/1.1 400 Bad Request\r\n\r\n")),
    "socks close": ("socks5", doing(b"\x05")),
    "socks hang": ("socks5", doing(b"", ends=False)),
}


def faulty(fault: str) -> Relay:
    if fault.isdigit():
        return Relay(answer=b"HTTP/1.1 %b Somehow\r\n\r\n" % fault.encode())
    if fault in DOES:
        kind, answer = DOES[fault]
        return Relay(kind, answer=answer)
    if fault == "bad certificate":
        return Relay("https", context=serving("other.test"))
    if fault in ("socks credentials", "socks wants some"):
        return Relay("socks5", wants=("ada", "wrong"))
    if fault.startswith("socks"):
        return Relay("socks5", code=2 if fault == "socks ruleset" else 4)
    return Relay(answer=doing(b""))


def url_of(proxy: Relay, fault: str) -> str:
    match fault:
        case "refused":
            return "http://127.0.0.1:1"
        case "name":
            return "http://nobody.test:3128"
        case "silent name":
            return "http://silent.test:3128"
        case "no TLS" | "TLS hangs":
            return proxy.url.replace("http:", "https:")
        case "socks credentials":
            return proxy.url.replace("wrong", "other")
    return proxy.bare_url


@pytest.mark.parametrize("fault", FAULTS)
async def test_all_failures_at_proxies(dns, fault):
    """
    Each has its class, httpx's too, and nothing was sent: a POST is tried again, unless a setting is wrong. The
    origin's breaker counts none of them, and no error shows the credentials.
    """
    name, also, attempts = FAULTS[fault]
    dns.zone["silent.test"] = Name(drop=-1)
    async with faulty(fault) as proxy:
        if fault in ("no TLS", "TLS hangs"):
            proxy._http = doing(b"not TLS\r\n\r\n", ends=fault == "no TLS") if fault == "no TLS" else hang
        limit = 0.2 if "hang" in fault or "silent" in fault else 5.0
        async with seawall.AsyncClient(
            proxy=httpx.Proxy(url_of(proxy, fault), ssl_context=trusting()),
            retry=FAST,
            timeout=httpx.Timeout(5.0, connect=limit),
            dns=seawall.DNS(nameservers=(dns.address,), timeout=5.0),
        ) as client:
            for _ in range(2):
                with pytest.raises(httpx.ProxyError) as caught:
                    await client.post("https://api.test/path?secret", json={})
                error = caught.value
                assert (type(error).__name__, len(error.attempts)) == (name, attempts), error
                assert isinstance(error, also)
                assert fault != "TLS hangs" or "at 127.0.0.1 made no TLS within" in str(error)
                assert isinstance(error, seawall.errors.Unsent)
                assert re.match(r"https://api\.test:443 through \w+://[\w.]+:\d+: the proxy", str(error))
                assert "wrong" not in f"{error} {error.__cause__}"
                assert "secret" not in str(error)
                assert error.origin == seawall.Origin("https", "api.test", 443, error.proxy)
            assert pickle.loads(pickle.dumps(error)).proxy == error.proxy
            assert [origin.way for origin in client.stats().origins] == [error.proxy]
            assert held(client.stats()) == []
            assert client.stats().connections == 0
        await proxy.all_left()


@pytest.mark.parametrize("host", ["a..b", "x" * 64 + ".test", ".a"])
@pytest.mark.parametrize("way", ["http", "socks5", "uds"])
async def test_names_that_cannot_be(way, host):
    """As where no proxy is: nothing is dialled, nobody is to blame. TLS raised a bare UnicodeError of it."""
    arguments = {"uds": "/nothing.sock"} if way == "uds" else {"proxy": f"{way}://127.0.0.1:1"}
    transport = seawall.AsyncTransport(**arguments)
    async with httpx.AsyncClient(transport=transport) as client:
        for scheme in ("http", "https") if way != "uds" else ("https",):
            with pytest.raises(seawall.errors.NameNotFound, match="can't be a host name") as caught:
                await client.get(f"{scheme}://{host}/")
            assert len(caught.value.attempts) == 1
            assert not isinstance(caught.value, httpx.ProxyError)
        assert held(transport.stats()) == []


async def test_names_for_tls_that_cannot_be(origins):
    """``sni_hostname`` that TLS can't encode."""
    url = f"https://localhost:{origins.ports['tls'].port}/x/ok"
    async with seawall.AsyncClient(verify=origins.certificates.client_context()) as client:
        for name in ("a..b", "a\0.test"):
            with pytest.raises(seawall.errors.NameNotFound, match="can't be a host name"):
                await client.get(url, extensions={"sni_hostname": name})
        assert held(client.stats()) == []


@pytest.mark.parametrize("status", [403, 503])
async def test_what_a_proxy_says_is_cut_and_printable(status):
    """It goes into errors, and so into logs and terminals."""
    said = b"\x1b[31mNo\x07\x9b \xe9" + b"x" * 60_000
    async with (
        Relay(answer=b"HTTP/1.1 %d %b\r\n\r\n" % (status, said)) as proxy,
        seawall.AsyncClient(proxy=proxy.url, retry=None) as client,
    ):
        with pytest.raises(httpx.ProxyError, match=rf"{status} \[31mNo éxxxx") as caught:
            await client.get("https://api.test/")
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 400


async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def test_the_breaker_of_a_proxy(origins):
    """A proxy that refuses is left alone, whatever the origin; the way through another one isn't; it is asked again."""
    url, bad = f"https://localhost:{origins.ports['tls'].port}/x/ok", "http://127.0.0.1:1"
    breaker = seawall.Breaker(min_calls=3, open_for=60.0)
    async with (
        Relay() as good,
        seawall.AsyncClient(verify=origins.certificates.client_context(), breaker=breaker, retry=None) as client,
    ):
        for host in ("a.test", "b.test", "c.test"):
            with pytest.raises(seawall.errors.ProxyUnreachable):
                await client.get(f"https://{host}", extensions={"proxy": bad})
        with pytest.raises(seawall.BreakerOpen, match="the proxy's breaker is open") as caught:
            await client.get(url, extensions={"proxy": bad})
        assert (caught.value.by, client.stats().totals.rejected) == ("proxy", {"proxy": 1})
        assert client.stats().proxies == {bad: "open"}
        assert (await client.get(url, extensions={"proxy": good.url})).status_code == 200
        assert {str(name): each.breaker for name, each in client.stats().origins.items()} == {
            f"https://a.test:443 through {bad}": "closed",
            f"https://b.test:443 through {bad}": "closed",
            f"https://c.test:443 through {bad}": "closed",
            f"https://localhost:{origins.ports['tls'].port} through {bad}": "closed",
            f"https://localhost:{origins.ports['tls'].port} through {good.url}": "closed",
        }
        client.breakers[bad].reset()
        with pytest.raises(seawall.errors.ProxyUnreachable):
            await client.get(url, extensions={"proxy": bad})


async def test_the_breaker_of_an_origin_through_a_proxy(origins):
    """What a proxy says of one origin closes neither its way to others nor other proxies' ways to that one."""
    good = f"http://localhost:{origins.port}/x/ok"
    breaker = seawall.Breaker(min_calls=3, open_for=60.0)
    async with Relay() as proxy, Relay() as other, seawall.AsyncClient(
        proxy=proxy.url, breaker=breaker, retry=None
    ) as client:  # fmt: skip
        proxy.answer = other.answer = b"HTTP/1.1 503 Dead\r\n\r\n"
        for _ in range(3):
            with pytest.raises(seawall.errors.TunnelFailed):
                await client.get("https://dead.test")
        with pytest.raises(seawall.BreakerOpen, match=rf"^https://dead\.test:443 through {proxy.url}: breaker open"):
            await client.get("https://dead.test")
        assert len(proxy.asked) == 3
        assert client.breakers["https://dead.test"].state == "open"
        with pytest.raises(seawall.errors.TunnelFailed):
            await client.get("https://dead.test", extensions={"proxy": other.url})
        with pytest.raises(KeyError, match="several ways"):
            client.breakers["https://dead.test"]
        assert client.breakers[f"https://dead.test:443 through {other.url}"].state == "closed"
        assert client.stats().proxies == {proxy.url: "closed", other.url: "closed"}
        proxy.answer = None
        assert (await client.get(good)).status_code == 200


@pytest.mark.parametrize("fault", ["hangs", "closes", "refuses"])
async def test_one_bad_proxy_takes_nothing_from_others(origins, fault):
    """No permit, turn or breaker: calls through another proxy, or straight, go on as if it weren't there."""
    url = f"https://localhost:{origins.ports['tls'].port}/x/ok"
    does = {"hangs": doing(b"", ends=False), "closes": doing(b"HTTP/1.1 200 OK\r\n\r\n"), "refuses": None}[fault]
    async with Relay() as good, Relay(answer=does) as bad:
        way = "http://127.0.0.1:1" if fault == "refuses" else bad.url
        async with seawall.AsyncClient(
            verify=origins.certificates.client_context(),
            retry=None,
            bulkhead=seawall.Bulkhead(max_concurrent=4),
            deadline=0.3,
        ) as client:
            assert (await client.get(url)).status_code == 200
            hurt = [asyncio.create_task(client.get(url, extensions={"proxy": way})) for _ in range(30)]
            for _ in range(5):
                assert (await client.get(url, extensions={"proxy": good.url})).status_code == 200
                assert (await client.get(url)).status_code == 200
            assert all(
                isinstance(each, httpx.HTTPError) for each in await asyncio.gather(*hurt, return_exceptions=True)
            )
            assert (await client.get(url, extensions={"proxy": good.url})).status_code == 200
            assert held(client.stats()) == []


async def test_ten_thousand_proxies():
    """They push out no origin, and as many breakers as there may be origins are kept."""
    async with seawall.AsyncClient(retry=None) as client:
        proxies = client.engine.proxies
        for number in range(3_000):
            proxies.enter(Proxy("http", f"proxy-{number}.test", 3128), seawall.Origin("https", "a.test", 443)).end(None)
        assert len(proxies) == 1024
        assert client.stats().origins == {}


async def test_tunnels_go_on_while_the_breaker_is_open(origins):
    url = f"https://localhost:{origins.ports['tls'].port}/x/ok"
    async with (
        Relay() as proxy,
        seawall.AsyncClient(verify=origins.certificates.client_context(), proxy=proxy.url) as client,
    ):
        await client.get(url)
        client.breakers[proxy.url].force_open()
        assert seawall.history(await client.get(url))[0].is_reused
        with pytest.raises(seawall.BreakerOpen):
            await client.get("https://other.test")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("port", ["http", "tls"])
async def test_cancelled_at_every_step(origins, way, port, caplog):
    """Of a dial through a proxy: no socket, permit or task is left, nothing is logged, and the next call is good."""
    there = origins.port if port == "http" else origins.ports[port].port
    url = f"{'http' if port == 'http' else 'https'}://localhost:{there}/x/ok:10"
    async with (
        relay(way, wants=("ada", "x")) as proxy,
        seawall.AsyncClient(proxy=through(proxy), verify=origins.certificates.client_context()) as client,
    ):

        async def call() -> None:
            assert len((await client.get(url, headers={"connection": "close"})).content) == 10

        async def clean() -> None:
            for _ in range(20):  # the rounds of the loop in which sockets are closed
                await asyncio.sleep(0)
            assert held(client.stats()) == []
            assert client.stats().connections == 0

        assert await cancel_everywhere(call, after=clean) > 5
        await proxy.all_left()
    assert [record.getMessage() for record in caplog.records if record.name == "asyncio"] == []


async def test_origins_tls_in_a_tunnel_is_the_origins_fault(origins):
    """A bad certificate behind the proxy is no proxy's failure."""
    async with Relay() as proxy, seawall.AsyncClient(proxy=proxy.url, retry=None) as client:
        with pytest.raises(seawall.errors.CertificateError) as caught:
            await client.get(f"https://localhost:{origins.ports['tls'].port}/x/ok")
        assert not isinstance(caught.value, httpx.ProxyError)
        assert f"through {proxy.url}" in str(caught.value)
        assert caught.value.attempts[0].phase is seawall.events.Phase.TLS
        assert client.stats().connections == 0
        await proxy.all_left()


async def test_no_descriptor_for_a_proxy(monkeypatch):
    def none_left(*_: object) -> socket.socket:
        raise OSError(errno.EMFILE, "Too many open files")

    async with seawall.AsyncClient(proxy="http://127.0.0.1:1", retry=None) as client:
        monkeypatch.setattr("seawall.wire.sockets.made", none_left)
        with pytest.raises(seawall.errors.ProxyUnreachable) as caught:
            await client.get("https://a.test")
        assert caught.value.is_shortage


async def test_a_guard_and_a_proxy(origins):
    """Only a proxy that is trusted may resolve for a guarded client; hosts that are addresses are checked here."""
    guard = seawall.Guard(trust_proxy=True)
    with pytest.raises(ValueError, match="trust_proxy"):
        seawall.AsyncClient(proxy="http://127.0.0.1:1", guard=seawall.Guard())
    with pytest.raises(TypeError, match="trust_proxy"):
        seawall.Guard(trust_proxy="yes")
    async with Relay() as proxy, seawall.AsyncClient(guard=guard, proxy=proxy.url, retry=None) as client:
        assert (await client.get(f"http://known.test:{origins.port}/x/ok")).status_code == 200
        for host in (
            "127.0.0.1",
            "0x7f.1",
            "2130706433",
            "[::1]",
            "[::ffff:169.254.169.254]",
            "localhost",
            "a.LOCALHOST.",
            "0x7f.1.",
            "127。0。0。1。",
            "%31%32%37.0.0.1",
        ):
            with pytest.raises(seawall.errors.AddressNotAllowed):
                await client.get(f"http://{host}:{origins.port}/x/ok")
        for method, target in (("GET", b"http://169.254.169.254/"), ("CONNECT", b"169.254.169.254:80")):
            with pytest.raises(seawall.errors.AddressNotAllowed, match="target"):
                await client.request(method, f"http://known.test:{origins.port}", extensions={"target": target})
        assert len(proxy.asked) == 1
        extensions = {"target": b"/x/ok"}
        assert (await client.get(f"http://known.test:{origins.port}", extensions=extensions)).status_code == 200
    async with Relay() as proxy, seawall.AsyncClient(guard=seawall.Guard(), retry=None) as client:
        with pytest.raises(seawall.errors.AddressNotAllowed, match="trust_proxy"):
            await client.get("http://known.test", extensions={"proxy": proxy.url})
        assert proxy.asked == []


async def test_a_guard_and_late_addresses_of_a_proxy(origins, dns):
    """They aren't its to refuse, no more than those that come first."""
    guard = seawall.Guard(trust_proxy=True)
    async with Relay() as proxy:
        dns.zone["proxy.test"] = Name(aaaa=("::2",), a=("127.0.0.1",), delay_a=0.15)
        async with seawall.AsyncClient(
            proxy=f"http://proxy.test:{proxy.port}",
            guard=guard,
            dns=seawall.DNS(nameservers=(dns.address,)),
            retry=seawall.Retry(backoff=0.1, max_attempts=5),
        ) as client:
            assert (await client.get(f"http://known.test:{origins.port}/x/ok")).status_code == 200


REFUSED = """
import asyncio
import ssl
import sys

import seawall

async def main():
    own = ssl.create_default_context()  # httpx2's own loads httpcore2
    for proxy in ("http://127.0.0.1:1", "socks5://127.0.0.1:1"):
        async with seawall.AsyncClient(proxy=proxy, retry=None, verify=own) as client:
            try:
                await client.get("https://a.test")
            except seawall.errors.ProxyUnreachable:
                pass

asyncio.run(main())
print("httpcore" in sys.modules or "httpcore2" in sys.modules)
"""


async def test_nothing_of_httpcore_is_loaded():
    """httpx's own transport isn't used, whatever the way."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", REFUSED, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    assert output.decode().split() == ["False"]


async def test_timings_show_the_proxys_part(origins):
    url = f"https://localhost:{origins.ports['tls'].port}/x/ok"
    async with (
        Relay() as proxy,
        seawall.AsyncClient(verify=origins.certificates.client_context(), proxy=proxy.url) as client,
    ):
        attempt = seawall.history(await client.get(url))[0]
        phases = [phase.name for phase, _ in attempt.marks]
        assert phases[:5] == ["RESOLVING", "CONNECTING", "TUNNEL", "TLS", "SENDING"]


@pytest.mark.parametrize(
    ("method", "target", "line"),
    [("OPTIONS", b"*", b"OPTIONS http://api.test HTTP/1.1"), ("GET", b"http://b/c", b"GET http://b/c HTTP/1.1")],
)
async def test_targets_of_the_callers_own(method, target, line):
    """Source: RFC 9112 section 3.2.4."""
    async with Relay(answer=b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") as proxy:
        async with seawall.AsyncClient(proxy=proxy.url) as client:
            await client.request(method, "http://api.test", extensions={"target": target})
        assert proxy.asked[0].splitlines()[0] == line
