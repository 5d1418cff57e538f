"""URLs as strangers and users write them: what is sent for them, and what an unusable one ends as."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import traceback
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import httpx
import pytest
import trustme
from hypothesis import example, given
from hypothesis import strategies as st
from pythonjsonlogger.json import JsonFormatter

import seawall
from seawall.dns.resolver import literal
from seawall.origin import Address, Origin
from seawall.testing import FaultServer, Request
from seawall.testing.dns import Name
from seawall.testing.http.vocabulary import FAULTS

pytestmark = [pytest.mark.anyio, pytest.mark.each_front]

LOOPBACK = "lo" if "lo" in dict(socket.if_nameindex()).values() else "lo0"


def has_ipv6() -> bool:
    with socket.socket(socket.AF_INET6) as sock, suppress(OSError):
        sock.bind(("::1", 0))
        return True
    return False


over_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="needs ::1")


async def ok(request: Request) -> None:
    await request.reply()


# Locations


BAD = [
    b"location:bad",
    b"javascript:1",
    b"data:,x",
    b"mailto:a@b",
    b"http:80",
    b"http:\\\\a",
    b"http://\x7f/",
    b"http://[::1",
    b"http://[::1]x/",
    b"http://[zz]/",
    b"http://a:b/",
    b"http://xn--/",
    b"http://xn--a/",
    b"http://xn--\xed\xb2\x80/",
    b"http://" + b"a" * 70_000,
    b"/" + b"a" * 70_000,
]
ODD = [
    b"http://[",
    b"http://a:99999/",
    b"http://a:0/",
    b"http:///path",
    b"//",
    b"///x",
    b"",
    b"?",
    b"\xff\xfe",
    b"http://\xff/",
    b"file:///etc/passwd",
    b"http://a..b/",
    b"http://" + b"a" * 64 + b".test/",
    b"http://a%00b/",
]


def redirecting(location: bytes) -> httpx.MockTransport:
    """Sends whoever asks for /start to *location*, and answers everything else."""

    def answer(request: httpx.Request) -> httpx.Response:
        is_start = request.url.path == "/start"
        return httpx.Response(302, headers=[(b"location", location)]) if is_start else httpx.Response(200)

    return httpx.MockTransport(answer)


async def status_without_seawall(location: bytes, follow_redirects: bool) -> int | None:
    """None if the library refuses *location*: httpx does so even where it doesn't follow it, httpx2 does not."""
    async with httpx.AsyncClient(transport=redirecting(location), follow_redirects=follow_redirects) as client:
        with suppress(Exception):
            return (await client.get("http://h.test/start")).status_code


@pytest.mark.parametrize("follow_redirects", [True, False], ids=["followed", "not followed"])
@pytest.mark.parametrize("location", BAD, ids=lambda location: repr(location[:20]))
async def test_unusable_location(location, follow_redirects):
    """It is a RemoteProtocolError with the attempt that had it, unless the library itself can do without it."""
    if status := await status_without_seawall(location, follow_redirects):
        async with seawall.AsyncClient(transport=redirecting(location), follow_redirects=follow_redirects) as client:
            assert (await client.get("http://h.test/start")).status_code == status
            assert client.stats().calls == 0
        return
    async with seawall.AsyncClient(transport=redirecting(location), follow_redirects=follow_redirects) as client:
        with pytest.raises(httpx.RemoteProtocolError, match="302 has a Location that isn't a URL") as caught:
            await client.get("http://h.test/start")
        assert isinstance(caught.value, seawall.errors.BadAnswer)
        assert [attempt.outcome for attempt in caught.value.attempts] == ["302"]
        assert any("1 attempt" in note for note in caught.value.__notes__)
        assert caught.value.request.url == "http://h.test/start"
        assert client.stats().calls == 0


@pytest.mark.parametrize("follow_redirects", [True, False], ids=["followed", "not followed"])
async def test_a_redirect_whose_cookie_is_not_ascii(follow_redirects):
    """The Location isn't blamed, where libraries raise UnicodeEncodeError; httpx2 needs it only to follow."""

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(302, headers=[(b"set-cookie", b"i=\xc3\xa9"), (b"location", b"/t")])

    settings = {"transport": httpx.MockTransport(answer), "follow_redirects": follow_redirects}
    async with seawall.AsyncClient(**settings) as client:
        if httpx.__name__ == "httpx2" and not follow_redirects:
            assert (await client.get("http://h.test/")).status_code == 302
            return
        with pytest.raises(
            httpx.RemoteProtocolError, match="302 redirects, and a cookie that would go along"
        ) as caught:
            await client.get("http://h.test/")
        assert isinstance(caught.value, seawall.errors.BadAnswer)


@pytest.mark.parametrize("base_url", ["", "http://h.test/x/"])
@pytest.mark.parametrize("lengths", [(65_000, 400), (65_000, 600), (40_000, 40_000), (65_600, 0), (10, 65_600)])
async def test_how_long_a_url_may_be(base_url, lengths):
    """As long as the library lets it be, path and query together."""
    path, query = lengths
    url = f"{'' if base_url else 'http://h.test'}/{'p' * path}?{'q' * query}"
    built: list[str] = []
    for kind in (httpx.AsyncClient, seawall.AsyncClient):
        async with kind(base_url=base_url) as client:
            try:
                built.append(str(client.build_request("GET", url).url))
            except httpx.InvalidURL as error:
                built.append(str(error))
    assert built[0] == built[1]
    assert (built[0] == "URL too long") is (path + query > 65_400)


@pytest.mark.parametrize("follow_redirects", [True, False], ids=["followed", "not followed"])
@pytest.mark.parametrize("location", ODD, ids=lambda location: repr(location[:20]))
async def test_odd_location_over_the_wire(serve, dns, location, follow_redirects):
    """What httpx takes for a URL ends as an error of httpx's tree too, where nobody can be dialled for it."""

    async def redirect(request: Request) -> None:
        is_start = request.target == "/start"
        head = b"HTTP/1.1 302 Found\r\nlocation: " + location if is_start else b"HTTP/1.1 200 OK"
        await request.send(head + b"\r\ncontent-length: 0\r\n\r\n")

    server = await serve(redirect)
    settings = {"dns": seawall.DNS(nameservers=(dns.address,)), "retry": None, "follow_redirects": follow_redirects}
    async with seawall.AsyncClient(**settings) as client:
        with suppress(httpx.RequestError):
            response = await client.get(f"{server.url}/start")
            assert response.status_code == (200 if follow_redirects else 302)
        assert client.stats().calls == 0


URLISH = st.one_of(
    st.binary(max_size=40),
    st.text(max_size=40).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.text(alphabet="ht:/?#[]@%.xn--abZ09\\ \t\x7fäß☃", max_size=40).map(str.encode),
    st.builds(lambda host: b"http://" + host.encode("utf-8", "surrogatepass") + b"/", st.text(max_size=30)),
)


@example(b"location:bad", False)
@example(b"http://xn--a/", True)
@given(URLISH.filter(lambda location: not set(location) & {0, 10, 13}), st.booleans())
def test_any_location(location, follow_redirects):
    """Whatever a server writes there is followed, or ends as an httpx.RequestError; never as anything else."""

    async def ask() -> None:
        wire = redirecting(location)
        async with seawall.AsyncClient(transport=wire, retry=None, follow_redirects=follow_redirects) as client:
            with suppress(httpx.RequestError):
                await client.get("http://h.test/start")

    asyncio.run(ask())


# Zones


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("fe80::1%25eth0", "fe80::1%eth0"),
        ("fe80::1%eth0", "fe80::1%eth0"),
        ("fe80::1%252", "fe80::1%2"),
        ("fe80::1%25", "fe80::1%25"),  # of the interface number 25, as getaddrinfo writes it
        ("fe80::1%2525", "fe80::1%25"),
        ("fe80::1", "fe80::1"),
    ],
)
def test_zone_of_a_url(host, address):
    """ "%25" is a "%" that a URL has to write so (RFC 6874 section 2); httpx hands it on as it is."""
    found = literal(host)
    assert found is not None
    assert found.addresses == (Address(address),)


@over_ipv6
@pytest.mark.parametrize("zone", [f"%25{LOOPBACK}", f"%{LOOPBACK}", ""])
async def test_zone_is_dialled_and_not_sent(serve, zone):
    """The scope is this machine's own: the server reads a Host without it (RFC 6874 section 4)."""
    server = await serve(ok, host="::1")
    async with seawall.AsyncClient(retry=None) as client:
        response = await client.get(f"http://[::1{zone}]:{server.port}/")
    assert response.status_code == 200
    assert server.requests[0].headers["host"] == f"[::1]:{server.port}"


@over_ipv6
async def test_zone_is_no_part_of_the_certificate(serve):
    """A certificate of the address is good for it with any zone."""
    authority, context = trustme.CA(), ssl.create_default_context()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("::1").configure_cert(tls)
    authority.configure_trust(context)
    server = await serve(ok, host="::1", tls=tls)
    async with seawall.AsyncClient(verify=context, retry=None) as client:
        assert (await client.get(f"https://[::1%25{LOOPBACK}]:{server.port}/")).status_code == 200


# Host


@pytest.mark.parametrize("is_patched", [False, True], ids=["plain", "patched"])
async def test_host_is_sent_first(serve, monkeypatch, is_patched):
    """Wherever a user puts it, and where a tool patches httpx (RFC 9110 section 7.2); others stay in order."""
    if is_patched:
        original = httpx.AsyncHTTPTransport.handle_async_request

        async def handle(self: httpx.AsyncHTTPTransport, request: httpx.Request) -> httpx.Response:
            return await original(self, request)

        monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", handle)
    server = await serve(ok)
    async with seawall.AsyncClient(headers={"X-A": "1", "Host": "virtual.test"}) as client:
        await client.get(server.url, headers={"X-B": "2"})
        await client.get(server.url)
    async with seawall.AsyncClient() as client:
        await client.get(server.url, headers=[("x-b", "2"), ("x-a", "1"), ("HOST", "other.test")])
        await client.get(server.url)
    names = [[name.lower() for name, _ in request.fields] for request in server.requests]
    assert [each[0] for each in names] == ["host"] * 4
    assert [each.count("host") for each in names] == [1] * 4
    assert [request.headers["host"] for request in server.requests[:3]] == ["virtual.test"] * 2 + ["other.test"]
    assert [name for name in names[2] if name.startswith("x-")] == ["x-b", "x-a"]


@pytest.mark.parametrize(
    "headers",
    [
        [("host", "a.test"), ("x-a", "1"), ("Host", "b.test")],
        [("x-a", "1\x01")],
        [("x-a", "1\r\nhost: b.test")],
        [("host", "a.test\n")],
    ],
    ids=["two hosts", "control character", "line end", "line end in host"],
)
async def test_what_two_servers_could_read_differently_is_not_sent(serve, headers):
    """Two Host headers, or a control character in a value: an error of ours before a byte of it leaves."""
    server = await serve(ok)
    async with seawall.AsyncClient() as client:
        with pytest.raises(httpx.LocalProtocolError) as caught:
            await client.get(server.url, headers=headers)
        assert isinstance(caught.value, seawall.errors.InvalidRequest)
    assert server.requests == []


# CONNECT


@pytest.mark.parametrize(
    ("origin", "authority", "name"),
    [
        (Origin("https", "::1", 443), "[::1]:443", "::1"),
        (Origin("https", "fe80::1%25eth0", 8443), "[fe80::1]:8443", "fe80::1"),
        (Origin("http", "a.test.", 80), "a.test.:80", "a.test"),
    ],
)
def test_authority(origin, authority, name):
    """Brackets around an address, the port always, a zone never; a certificate has no final dot either."""
    assert origin.authority == authority
    assert origin.server_name == name


@pytest.mark.parametrize(
    ("extensions", "target"), [({}, "[::1]:{port}"), ({"target": b"far.test:443"}, "far.test:443")]
)
@over_ipv6
async def test_connect_of_our_wire(serve, extensions, target):
    """It asks for the URL's authority (RFC 9112 section 3.2.3), unless the caller names another target."""

    async def refuse(request: Request) -> None:
        await request.send(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n")

    server = await serve(refuse, host="::1")
    async with seawall.AsyncClient() as client:
        response = await client.request("CONNECT", f"http://[::1]:{server.port}/", extensions=extensions)
    assert response.status_code == 403
    assert server.requests[0].target == target.format(port=server.port)


@pytest.mark.parametrize(
    "make",
    [
        seawall.AsyncClient,
        lambda proxy, verify: seawall.AsyncClient(transport=seawall.AsyncTransport(proxy=proxy, verify=verify)),
    ],
    ids=["client", "transport"],
)
@over_ipv6
async def test_connect_through_a_proxy(serve, make: Callable[..., seawall.AsyncClient]):
    """A proxy is asked for an IPv6 address in its brackets, which httpcore leaves out; what comes of it is a tunnel."""
    authority, context = trustme.CA(), ssl.create_default_context()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("::1").configure_cert(tls)
    authority.configure_trust(context)
    server = await serve(ok, host="::1", tls=tls)
    heads: list[bytes] = []

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        far_reader, far_writer = await asyncio.open_connection("::1", server.port)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")

        async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            while data := await source.read(65536):
                sink.write(data)
            sink.close()

        await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer))

    async with await asyncio.start_server(relay, "127.0.0.1", 0) as proxy:
        port = proxy.sockets[0].getsockname()[1]
        async with make(proxy=httpx.Proxy(f"http://127.0.0.1:{port}"), verify=context) as client:
            for _ in range(2):
                assert (await client.get(f"https://[::1]:{server.port}/")).status_code == 200
    (head,) = heads
    assert head.startswith(b"CONNECT [::1]:%d HTTP/1.1\r\nHost: [::1]:%d\r\n" % (server.port, server.port))


# What is told of a URL

CANARY = "c4nary"
SECRETS = {
    "headers": {"authorization": f"Bearer {CANARY}", "x-api-key": CANARY, "cookie": f"session={CANARY}"},
    "params": {"token": CANARY},
}
STEPS = sorted(
    {step for fault in FAULTS for step in fault.how.split() if not step.startswith(("dns:", "port:", "net:", "py:"))}
)


class Told:
    """All that seawall says: errors with their causes and notes, what they keep of attempts, events, and its log."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self.parts: list[str] = []
        self._caplog = caplog
        caplog.set_level(logging.DEBUG, "seawall")

    def event(self, event: object) -> None:
        self.parts.append(repr(event))

    async def of(self, call: Awaitable[httpx.Response]) -> str:
        """The class of what *call* raised; empty where it raised nothing."""
        try:
            response = await call
            self.parts += [repr(seawall.history(response)), str(seawall.history(response))]
        except (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL) as error:
            self.parts += [*traceback.format_exception(error), repr(error), repr(getattr(error, "attempts", ""))]
            return type(error).__name__
        return ""

    def text(self) -> str:
        formatter = JsonFormatter("%(message)s")  # with all fields, and the traceback where there is one
        log = [formatter.format(record) for record in self._caplog.records if record.name.startswith("seawall")]
        return "\n".join([*self.parts, *log])


def url_of(url: str, path: str = "/") -> str:
    """With credentials before the host and in the query."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{CANARY}:{CANARY}@{rest}{path}"


@pytest.mark.parametrize("version", ["h1", "h2"])
async def test_no_failure_tells_a_secret(caplog, version):
    """Every step of the fault kit, asked with secrets in userinfo, query and headers: no text of ours has one."""
    told = Told(caplog)
    settings: dict[str, Any] = {
        "retry": seawall.Retry(max_attempts=2, backoff=0),
        "http2": version == "h2",
        "observers": [told.event],
        "timeout": 0.5,
        "deadline": 1.0,
        "follow_redirects": True,
        "max_response_size": 1 << 20,
    }
    with FaultServer() as server:
        port = server.listen("h2" if version == "h2" else "serve")
        url = url_of(f"{'https' if version == 'h2' else 'http'}://localhost:{port.port}", "/x")
        context, turns = server.certificates.client_context(), asyncio.Semaphore(16)

        async def ask(method: str, step: str, **patience: float) -> str:
            """By a client of its own, whose connection no other step spoils."""
            async with turns, seawall.AsyncClient(verify=context, **settings | patience) as client:
                body = None if method == "GET" else CANARY.encode() * 20_000
                return await told.of(client.request(method, f"{url}/{step}", content=body, **SECRETS))

        posted = [ask("POST", step) for step in STEPS if "request" in step or "early" in step]
        await asyncio.gather(*posted, *(ask("GET", step) for step in STEPS))
        broken, named = ("reset", "ConnectionLost") if version == "h1" else ("h2_refused", "StreamRefused")
        for step, outcome in {"location:scheme": "UnsupportedScheme", "close": "BadAnswer", broken: named}.items():
            assert await ask("GET", step, timeout=20.0, deadline=60.0) == outcome
    assert CANARY not in told.text()


HEAD = "HTTP/1.1 200 OK\r\n"
SAID = {
    "reason phrase": f"HTTP/1.1 500 {CANARY}\r\ncontent-length: 0\r\n\r\n",
    "status": f"HTTP/1.1 {CANARY} OK\r\n\r\n",
    "no HTTP": f"{CANARY}\r\n\r\n",
    "header that isn't one": f"{HEAD}set cookie {CANARY}\r\n\r\n",
    "illegal name": f"{HEAD}{CANARY} : 1\r\n\r\n",
    "illegal value": f"{HEAD}set-cookie: {CANARY}\0\r\n\r\n",
    "content-length": f"{HEAD}content-length: {CANARY}\r\n\r\n",
    "transfer-encoding": f"{HEAD}transfer-encoding: {CANARY}\r\n\r\n",
    "size of a chunk": f"{HEAD}transfer-encoding: chunked\r\n\r\n{CANARY}\r\n",
    "coding": f"{HEAD}content-encoding: gzip\r\ncontent-length: {len(CANARY)}\r\n\r\n{CANARY}",
    "body that is cut": f"{HEAD}set-cookie: {CANARY}\r\ncontent-length: 100\r\n\r\n{CANARY}",
    "retry-after": f"HTTP/1.1 503 Busy\r\nretry-after: {CANARY}\r\ncontent-length: 0\r\n\r\n",
    "location": f"HTTP/1.1 302 Found\r\nlocation: http://{CANARY}:{CANARY}@127.0.0.1:1/?{CANARY}\r\n"
    "content-length: 0\r\n\r\n",
    "impossible location": f"HTTP/1.1 302 Found\r\nlocation: http://{CANARY}:{CANARY}@[/\r\ncontent-length: 0\r\n\r\n",
    "upgrade": f"HTTP/1.1 101 {CANARY}\r\nupgrade: {CANARY}\r\n\r\n",
    "server-timing": f"HTTP/1.1 503 Busy\r\nserver-timing: db;dur={CANARY};desc={CANARY}\r\ncontent-length: 0\r\n\r\n",
}
"""What a server may say that repeats a secret, in each place where a parser may quote it."""


@pytest.mark.parametrize("what", SAID)
async def test_no_word_of_a_server_is_told(caplog, listen, what):
    """Its words may hold what the client sent: they are in no error, event, history or line, at DEBUG either."""
    told = Told(caplog)

    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        assert CANARY.encode() in head
        if head.startswith(b"POST"):
            await reader.readexactly(len(CANARY))
        writer.write(SAID[what].encode())
        await writer.drain()

    url = url_of(await listen(say))
    retry = seawall.Retry(max_attempts=2, backoff=0, throttled_backoff=0)
    settings = {"retry": retry, "observers": [told.event], "follow_redirects": True}
    async with seawall.AsyncClient(**settings) as client:
        for method in ("GET", "POST"):
            await told.of(client.request(method, url, content=CANARY if method == "POST" else None, **SECRETS))
    assert "attempt 1" in told.text()
    assert CANARY not in told.text()


async def test_no_refusal_tells_a_secret(caplog, dns, serve):
    """Nor does what never left the client: a scheme, a port, a name, a guard, a full queue, a breaker, a bad header."""
    told = Told(caplog)
    dns.zone["good.test"] = Name(a=("127.0.0.1",))
    settings = {"dns": seawall.DNS(nameservers=(dns.address,)), "retry": None, "observers": [told.event]}

    async def fail(request: Request) -> None:
        await request.reply(503, location=f"http://a:b/?{CANARY}", retry_after="60")

    async def redirect(request: Request) -> None:
        quote = "'" if len(redirecting.requests) > 1 else ""
        await request.reply(302, location=f"http://{CANARY}:{CANARY}@a:{quote}{CANARY}/?{CANARY}")

    server, redirecting = await serve(fail), await serve(redirect)
    guarded = {**settings, "guard": seawall.Guard()}
    full = {**settings, "bulkhead": seawall.Bulkhead(max_concurrent=1, max_waiting=0)}
    raising = {**settings, "retry": seawall.Retry(max_attempts=1, raise_on_status=True)}
    async with (
        seawall.AsyncClient(**settings) as client,
        seawall.AsyncClient(**guarded) as careful,
        seawall.AsyncClient(**full) as narrow,
        seawall.AsyncClient(**raising) as strict,
        seawall.AsyncClient(**settings, proxy=url_of("http://127.0.0.1:1", "")) as proxied,
    ):
        refused = [
            await told.of(client.get(url_of("ftp://good.test"), **SECRETS)),
            await told.of(client.get("/path", **SECRETS)),
            await told.of(client.get(url_of("http://good.test:99999"), **SECRETS)),
            await told.of(client.get(url_of("http://nowhere.test"), **SECRETS)),
            await told.of(client.get(url_of("http://127.0.0.1:1"), **SECRETS)),
            await told.of(client.get(url_of(server.url), headers={"x-bad": f"{CANARY}\n"})),
            await told.of(careful.get(url_of("http://127.0.0.1:1"), **SECRETS)),
            await told.of(client.get(url_of(redirecting.url), **SECRETS, follow_redirects=True)),
            await told.of(client.get(url_of(redirecting.url), **SECRETS, follow_redirects=True)),
            await told.of(strict.get(url_of(server.url), **SECRETS)),
            await told.of(proxied.get(url_of("http://good.test"), **SECRETS)),
        ]
        async with narrow.stream("GET", server.url):
            refused.append(await told.of(narrow.get(url_of(server.url), **SECRETS)))
        client.breakers[server.url].force_open()
        refused.append(await told.of(client.get(url_of(server.url), **SECRETS)))
        await strict.aclose()
    assert refused == [
        "UnsupportedScheme", "UnsupportedScheme", "DialError", "NameNotFound", "DialError", "InvalidRequest",
        "AddressNotAllowed", "BadAnswer", "BadAnswer", "StatusError", "ProxyUnreachable", "BulkheadFull", "BreakerOpen",
    ]  # fmt: skip
    assert CANARY not in told.text()
