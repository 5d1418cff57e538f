"""What httpx's client does, ours does; what our wire doesn't do yet goes through httpx's transport."""

from __future__ import annotations

import asyncio
import logging
import pickle
import ssl
import sys

import httpcore
import httpx
import pytest
import trio
import trustme

import seawall
from seawall.testing import FaultServer, Request, Server

pytestmark = [pytest.mark.anyio, pytest.mark.each_front]


async def ok(request: Request) -> None:
    await request.reply(body=f"{request.method} {request.target}".encode())


async def test_plain_client_over_our_transport(serve):
    """httpx.AsyncClient(transport=seawall.AsyncTransport()): layers for each hop, bodies read afterwards."""
    server = await serve(ok)
    transport = seawall.AsyncTransport()
    async with httpx.AsyncClient(transport=transport) as client:
        response = await client.get(server.url)
        assert response.text == "GET /"
        assert len(response.extensions["seawall"]) == 1
        assert [state.in_flight for state in transport.stats().origins.values()] == [0]


async def test_transport_of_ones_own_with_its_layers(serve):
    """A seawall.AsyncTransport given to an AsyncClient is taken as it is."""
    server = await serve(ok)
    transport = seawall.AsyncTransport(retry=None)
    async with seawall.AsyncClient(transport=transport) as client:
        await client.get(server.url)
        assert client.stats().origins == transport.stats().origins != {}


async def test_layers_beside_a_transport_that_has_its_own():
    """They would be ignored: that is refused."""
    with pytest.raises(ValueError, match=r"retry.*give it to the seawall.AsyncTransport"):
        seawall.AsyncClient(transport=seawall.AsyncTransport(), retry=None)


async def test_proxy(serve):
    """Over our own wire; an origin through a proxy is another one than the same without."""
    proxy = await serve(ok)
    async with seawall.AsyncClient(proxy=proxy.url) as client:
        transport = client._transport_for_url(httpx.URL("http://far.test/"))
        assert isinstance(transport, seawall.AsyncTransport)
        assert transport.engine is client.engine
        assert isinstance(transport, httpx.AsyncHTTPTransport)
        assert transport._pool._proxy_url.port == proxy.port  # nothing is sent there, but tools and httpx's tests look
        response = await client.get("http://far.test/path")
        assert response.text == "GET http://far.test/path"
        assert [str(origin) for origin in client.stats().origins] == [f"http://far.test:80 through {proxy.url}"]


async def test_proxy_from_the_environment(serve, monkeypatch):
    """HTTP_PROXY counts, NO_PROXY too; with trust_env=False neither."""
    proxy, direct = await serve(ok), await serve(ok)
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    async with seawall.AsyncClient() as client:
        assert (await client.get("http://far.test/")).text == "GET http://far.test/"
        assert (await client.get(direct.url)).text == "GET /"


async def test_dead_proxy_is_retried_for_any_method(monkeypatch):
    """Nothing reached the origin."""
    async with seawall.AsyncClient(proxy="http://127.0.0.1:1", retry=seawall.Retry(backoff=0)) as client:
        with pytest.raises(httpx.ConnectError) as caught:
            await client.post("http://far.test/")
    assert len(caught.value.attempts) == 3


async def test_mounts(serve):
    """Transports for some URLs, under the same layers."""
    server = await serve(ok)
    mock = httpx.MockTransport(lambda request: httpx.Response(200, text="mounted"))
    async with seawall.AsyncClient(mounts={"all://special.test": mock}) as client:
        assert (await client.get("http://special.test/")).text == "mounted"
        assert (await client.get(server.url)).text == "GET /"
        assert len(client.stats().origins) == 2


async def test_unix_socket(tmp_path):
    """uds=, as in httpx.AsyncHTTPTransport."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nunix")
        await writer.drain()
        writer.close()

    path = str(tmp_path / "socket")
    transport = seawall.AsyncTransport(uds=path)
    async with await asyncio.start_unix_server(handle, path), httpx.AsyncClient(transport=transport) as client:
        assert (await client.get("http://docker/")).text == "unix"


async def test_http2_falls_back_to_http1(serve):
    """As with httpx: without TLS there is nobody to ask."""
    server = await serve(ok)
    async with seawall.AsyncClient(http2=True) as client:
        assert (await client.get(server.url)).http_version == "HTTP/1.1"


async def test_auth_cookies_hooks_and_base_url(serve):
    """The front is httpx's."""
    seen = []

    async def hook(request: httpx.Request) -> None:
        seen.append(request.url.path)

    async def handler(request: Request) -> None:
        await request.reply(200, set_cookie="a=b") if "authorization" in request.headers else await request.reply(401)

    server = await serve(handler)
    async with seawall.AsyncClient(
        base_url=server.url, auth=("me", "secret"), event_hooks={"request": [hook]}
    ) as client:
        assert (await client.get("/x")).status_code == 200
        await client.get("/y")
    assert seen == ["/x", "/y"]
    assert server.requests[1].headers["cookie"] == "a=b"


async def test_upgraded_connection(serve):
    """101 hands the stream over, as httpx-ws needs it; the permit and the connection go with the response."""

    async def upgrade(request: Request) -> None:
        await request.send(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: echo\r\nconnection: upgrade\r\n\r\nhello")
        await request.hang()

    server = await serve(upgrade)
    async with seawall.AsyncClient() as client:
        async with client.stream("GET", server.url, headers={"upgrade": "echo", "connection": "upgrade"}) as response:
            network = response.extensions["network_stream"]
            assert response.status_code == 101
            assert await network.read(100, timeout=1) == b"hello"
            await network.write(b"ping", timeout=1)
            with pytest.raises(httpcore.ReadTimeout):
                await network.read(100, timeout=0.01)
            assert [state.in_flight for state in client.stats().origins.values()] == [1]
        assert [state.in_flight for state in client.stats().origins.values()] == [0]
        assert client.stats().connections == 0


async def test_upgraded_connection_that_is_closed_twice(listen, caplog):
    """As a WebSocket's session does, before its response is closed: asyncio's TLS would forget what it is to close."""
    authority = trustme.CA()
    trusting, ours = ssl.create_default_context(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.configure_trust(trusting)
    authority.issue_cert("localhost").configure_cert(ours)
    has_ended = asyncio.Event()

    async def upgrade(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: echo\r\nconnection: upgrade\r\n\r\n")
        await reader.read()
        has_ended.set()

    url = await listen(upgrade, ssl=ours)
    async with seawall.AsyncClient(verify=trusting) as client:
        async with client.stream("GET", url, headers={"upgrade": "echo", "connection": "upgrade"}) as response:
            network = response.extensions["network_stream"]
            await network.aclose()
            await network.aclose()
            assert network.get_extra_info("ssl_object") is not None
        await has_ended.wait()
    assert [record.getMessage() for record in caplog.records if record.name == "asyncio"] == []


async def test_digest_auth_is_one_call(serve):
    """Both steps share a history and a deadline."""

    async def handler(request: Request) -> None:
        if "authorization" in request.headers:
            await request.reply(200)
        else:
            await request.reply(401, www_authenticate='Digest realm="r", nonce="n", qop="auth"')

    server = await serve(handler)
    async with seawall.AsyncClient() as client:
        response = await client.get(server.url, auth=httpx.DigestAuth("me", "secret"))
    assert [attempt.outcome for attempt in response.extensions["seawall"]] == ["401", "200"]


@pytest.mark.parametrize("url", ["ftp://host/", "host/", "http://"])
async def test_urls_that_cannot_be_fetched(url):
    """httpx's UnsupportedProtocol, with a message that says what is wrong."""
    async with seawall.AsyncClient() as client:
        with pytest.raises(httpx.UnsupportedProtocol, match="http:// or https://"):
            await client.get(url)


async def test_timeout_of_a_request_that_cannot_be(client):
    """Refused before anything is sent."""
    with pytest.raises(ValueError, match="timeout: connect must be >= 0"):
        await client.get("http://127.0.0.1:1/", timeout=-1)


@pytest.mark.parametrize("port", [0, 99999])
async def test_ports_that_cannot_be(port):
    """Not taken for the default, and no OverflowError of the socket's."""
    async with seawall.AsyncClient() as client:
        with pytest.raises(httpx.ConnectError, match=r"port must be from 1 to 65535"):
            await client.get(f"http://127.0.0.1:{port}/")


async def test_header_that_http_cannot_carry_stays_secret(serve, caplog):
    """A token with a newline at its end is a common mistake: it is in no log, event or message."""
    events = []
    server = await serve(ok)
    async with seawall.AsyncClient(observers=[events.append]) as client:
        with caplog.at_level(logging.DEBUG, "seawall"), pytest.raises(httpx.LocalProtocolError) as caught:
            await client.get(server.url, headers={"authorization": "Bearer s3cret\n"})
    told = "".join(record.getMessage() for record in caplog.records if record.name.startswith("seawall"))
    assert "s3cret" not in told + repr(events) + str(caught.value)


@pytest.mark.parametrize("url", ["ws://127.0.0.1:{port}/", "http://127.1:{port}/", "http://0x7f.0.0.1:{port}/"])
async def test_urls_that_httpx_takes(serve, url):
    """A WebSocket's handshake is a request; numeric hosts are what the system takes them for."""
    server = await serve(ok)
    async with seawall.AsyncClient() as client:
        assert (await client.get(url.format(port=server.port))).status_code == 200


async def test_request_keeps_its_stream(serve):
    """What the application built is what it has afterwards: readable, and to be sent again."""
    server = await serve(ok)
    async with seawall.AsyncClient() as client:
        response = await client.post(server.url, files={"f": ("name", b"data")})
    assert b"data" in response.request.read()


def test_certificates_of_the_environment(monkeypatch):
    """A bad SSL_CERT_FILE is found when the client is made, as in httpx."""
    monkeypatch.setenv("SSL_CERT_FILE", "/nonexistent")
    with pytest.raises(FileNotFoundError):
        seawall.AsyncClient()
    seawall.AsyncClient(trust_env=False)


async def test_header_that_http_cannot_carry(serve):
    """Nothing is sent, nothing is retried, and the client goes on working."""
    server = await serve(ok)
    async with seawall.AsyncClient() as client:
        with pytest.raises(httpx.LocalProtocolError) as caught:
            await client.get(server.url, headers={"x": "a\r\nb: c"})
        assert isinstance(caught.value, seawall.errors.InvalidRequest)
        assert len(caught.value.attempts) == 1
        assert (await client.get(server.url)).status_code == 200
    assert len(server.requests) == 1


async def test_errors_pickle(serve):
    """With their class, their facts and their history."""
    async with seawall.AsyncClient(retry=None) as client:
        with pytest.raises(httpx.ConnectError) as caught:
            await client.get("http://127.0.0.1:1/")
    copy = pickle.loads(pickle.dumps(caught.value))
    assert isinstance(copy, seawall.DialError)
    assert isinstance(copy, httpx.ConnectError)
    assert (str(copy), copy.attempts) == (str(caught.value), caught.value.attempts)
    assert copy.request.url == "http://127.0.0.1:1/"


def test_under_trio():
    """asyncio only, and it says so, in a block that closes the client too."""

    async def main() -> None:
        async with seawall.AsyncClient() as client:
            await client.get("http://127.0.0.1/")

    with pytest.raises(RuntimeError, match="seawall runs on asyncio"):
        trio.run(main)


def test_under_uvloop():
    """The other event loop that people use: names, TLS-free sockets, reuse, a cut body, closing."""
    uvloop = pytest.importorskip("uvloop")

    async def handler(request: Request) -> None:
        if request.target == "/cut" and len(server.requests) < 3:
            await request.send(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf")
            request.close()
        else:
            await request.reply(body=b"whole")

    async def main() -> None:
        nonlocal server
        async with Server(handler) as server, seawall.AsyncClient() as client:
            url = f"http://localhost:{server.port}"
            bodies = [(await client.get(url + path)).text for path in ("/", "/", "/cut")]
            assert bodies == ["whole"] * 3
            assert client.stats().connections == 1

    server = Server(handler)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


def test_in_a_second_event_loop():
    """A clear error, not a dead connection."""
    transport = httpx.MockTransport(lambda request: httpx.Response(200))
    client = seawall.AsyncClient(transport=transport)

    async def main() -> None:
        await client.get("http://host/")

    asyncio.run(main())
    with pytest.raises(RuntimeError, match="another event loop"):
        asyncio.run(main())


def test_statistics_outside_of_the_loop():
    """A dashboard may ask from anywhere, before, after, and from another thread."""
    client = seawall.AsyncClient(transport=httpx.MockTransport(lambda request: httpx.Response(200)))
    assert client.stats().origins == {}

    async def main() -> None:
        await client.get("http://host/")

    asyncio.run(main())
    assert [state.budget for state in client.stats().origins.values()] == [30.0]


async def test_after_aclose():
    """As httpx says it; over the bare transport, ClientClosed."""
    transport = seawall.AsyncTransport()
    await transport.aclose()
    with pytest.raises(seawall.ClientClosed):
        await transport.handle_async_request(httpx.Request("GET", "http://127.0.0.1/"))


async def test_short_way_sees_what_changes(serve):
    """Headers, timeouts, cookies, parameters and hooks that are set between two requests of one URL are heeded."""
    server = await serve(ok)
    async with seawall.AsyncClient() as client:
        for _ in range(3):
            await client.get(server.url)
        client.headers["x-new"] = "1"
        assert (await client.get(server.url)).request.headers["x-new"] == "1"
        client.timeout = 7.0
        assert (await client.get(server.url)).request.extensions["timeout"]["read"] == 7.0
        client.cookies.set("a", "b")
        assert (await client.get(server.url)).request.headers["cookie"] == "a=b"
        client.cookies.clear()
        client.params = {"p": "1"}
        assert (await client.get(server.url)).request.url.query == b"p=1"
        client.params = {}
        hooked = []

        async def hook(response: httpx.Response) -> None:
            hooked.append(response)

        client.event_hooks = {"response": [hook]}
        await client.get(server.url)
        client.event_hooks = {}
        client.auth = ("user", "secret")
        assert "authorization" in (await client.get(server.url)).request.headers
        client.auth = None
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(client, "_transport", httpx.MockTransport(lambda request: httpx.Response(299)))
            assert (await client.get(server.url)).status_code == 299
        request = (await client.get(server.url)).request
        request.headers["x-mine"] = "2"
        request.extensions["timeout"]["read"] = 1.0
        assert "x-mine" not in (await client.get(server.url)).request.headers
        assert (await client.get(server.url)).request.extensions["timeout"]["read"] == 7.0
    assert len(hooked) == 1


async def test_short_way_ends_where_an_answer_is_not_plain(serve):
    """A redirect is followed, a cookie is kept, by a client that was on the short way before."""

    async def handler(request: Request) -> None:
        if request.target == "/redirect":
            await request.reply(302, location="/")
        else:
            await request.reply(set_cookie="a=b" if request.target == "/cookie" else "")

    server = await serve(handler)
    async with seawall.AsyncClient(follow_redirects=True) as client:
        for _ in range(3):
            await client.get(server.url + "/x?")
        response = await client.get(server.url + "/redirect")
        assert ([each.status_code for each in response.history], response.url.path) == ([302], "/")
        response = await client.get(server.url + "/redirect", follow_redirects=False)
        assert response.next_request is not None
        assert len(server.requests) == 6
        await client.get(server.url + "/cookie")
        assert client.cookies["a"] == "b"


TRACED = {
    "plain": ("GET", "ok", {}),
    "reused": ("GET", "ok", {}),
    "body": ("POST", "ok", {"content": b"abc"}),
    "no answer": ("GET", "close", {}),
    "cut": ("GET", "close:body", {}),
    "silent": ("GET", "hang", {}),
}


@pytest.mark.parametrize("case", TRACED)
async def test_trace_events_are_httpxs(case):
    """The same names in the same order, failures among them."""
    method, step, arguments = TRACED[case]
    seen = []
    async with FaultServer() as server:
        timeout = httpx.Timeout(5.0, read=0.3)
        for client in (httpx.AsyncClient(timeout=timeout), seawall.AsyncClient(timeout=timeout, retry=None)):
            names = []

            async def trace(name: str, info: dict, names=names) -> None:
                names.append(name)
                assert info["exception"] if name.endswith(".failed") else "exception" not in info

            async with client:
                if case == "reused":
                    await client.get(f"{server.url}/x/ok")
                try:
                    await client.request(method, f"{server.url}/x/{step}", extensions={"trace": trace}, **arguments)
                except httpx.TransportError as error:
                    names.append(type(error).__mro__[1].__name__ if "seawall" in type(error).__module__ else "")
            seen.append([name for name in names if "." in name])
    assert seen[1] == seen[0]
    assert len(seen[0]) >= 5


async def test_keep_alive_header_is_heeded():
    """A connection is given up before the server does, by a second or half of what it says."""
    async with FaultServer() as server, seawall.AsyncClient() as client:
        for step, idle in {"keep_alive:5": 1, "keep_alive:5:0": 0, "keep_alive:1": 1}.items():
            await client.get(f"{server.url}/x/{step}")
            assert [origin.idle for origin in client.stats().origins.values()] == [idle], step
        while client.stats().connections:
            await asyncio.sleep(0.01)


async def test_short_way_takes_what_a_call_asks_for(serve):
    """No timeout at all, a timeout changed in place, another base URL, a stream put in place by a hook."""
    server = await serve(ok)
    other = await serve(ok)
    async with seawall.AsyncClient(base_url=server.url) as client:
        for _ in range(2):
            assert (await client.get("/a")).request.url.port == server.port
        client.base_url = other.url
        assert (await client.get("/a")).request.url.port == other.port
        for _ in range(2):
            response = await client.get(server.url, timeout=None)
            assert response.request.extensions["timeout"]["read"] is None
        await client.get(server.url)
        client.timeout.read = 0.25
        assert (await client.get(server.url)).request.extensions["timeout"]["read"] == 0.25

        async def hook(request: httpx.Request) -> None:
            request.stream = httpx.ByteStream(b"newbody")

        client.event_hooks = {"request": [hook]}
        await client.post(server.url, content=b"oldbody")
        assert server.requests[-1].body == b"newbody"
        client.event_hooks = {}
        await client.options(server.url, extensions={"target": b"*"})
        assert server.requests[-1].target == "*"


async def test_short_way_tells_of_its_request(serve):
    """An error of a user's transport has its request."""

    async def fail(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadError("broken")

    async with seawall.AsyncClient(transport=httpx.MockTransport(fail), retry=None) as client:
        for _ in range(3):
            with pytest.raises(httpx.ReadError) as caught:
                await client.get("http://a.test/fail")
            assert caught.value.request.url.path == "/fail"


async def test_short_way_tells_of_its_time(serve):
    """Where it ends in the long one after all, too."""

    async def slow(request: Request) -> None:
        await asyncio.sleep(0.05)
        await request.reply(set_cookie="a=b")

    server = await serve(slow)
    async with seawall.AsyncClient() as client:
        for _ in range(3):
            assert (await client.get(server.url)).elapsed.total_seconds() >= 0.05
            client.cookies.clear()


async def test_each_answer_is_logged_once(serve, caplog):
    """By httpx's logger and in its words, whether the call takes the short way or httpx's own."""
    server = await serve(ok)
    async with seawall.AsyncClient() as client:
        await client.get(server.url)
        with caplog.at_level(logging.INFO, httpx.__name__):
            await client.get(server.url)
            await client.get(server.url, follow_redirects=True)
    told = [record.getMessage() for record in caplog.records if record.name == httpx.__name__]
    assert told == [f'HTTP Request: GET {server.url} "HTTP/1.1 200 OK"'] * 2


async def test_history_is_of_this_client():
    """A transport's answer may have one of its own, which httpx replaces."""

    def reply(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, history=[httpx.Response(302)])

    for client in (seawall.AsyncClient, httpx.AsyncClient):
        async with client(transport=httpx.MockTransport(reply)) as c:
            assert [(await c.get("http://a.test/")).history for _ in range(2)] == [[], []]


async def test_second_plain_call_takes_the_short_way(serve):
    """httpx's client builds and sends the first request of a URL; of the second, none of its steps runs."""
    server = await serve(ok)
    own = httpx.AsyncClient
    steps = {own.build_request.__code__, own.send.__code__, own._send_handling_auth.__code__}
    ran = []

    def seen(frame, event, _) -> None:
        if event == "call" and frame.f_code in steps:
            ran.append(frame.f_code.co_name)

    async with seawall.AsyncClient() as client:
        for _ in range(2):
            ran.clear()
            sys.setprofile(seen)
            try:
                response = await client.get(server.url)
            finally:
                sys.setprofile(None)
            assert response.text == "GET /"
    assert ran == []
