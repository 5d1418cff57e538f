"""Unix sockets, local addresses and socket options, on our own wire."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
import sys
from pathlib import Path

import httpx
import pytest
import trustme

import seawall
from seawall.testing.cancel import cancel_everywhere
from seawall.testing.dns import Name
from seawall.testing.leaks import held
from seawall.testing.shortage import no_file_descriptors

pytestmark = [pytest.mark.anyio, pytest.mark.each_front]

IP_LOCAL_PORT_RANGE = 51  # Linux 6.3


async def answering(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            host = next(line[6:] for line in head.split(b"\r\n") if line.startswith(b"Host: "))
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(host), host))
    except (OSError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


@pytest.fixture
async def uds(tmp_path: Path):
    path = tmp_path / "http.sock"
    server = await asyncio.start_unix_server(answering, path)
    yield str(path)
    server.close()


async def test_unix_socket(uds):
    """Whatever the host is, the socket is dialled, and no name asked for; the connection is kept for its origin."""
    transport = seawall.AsyncTransport(uds=uds)
    async with httpx.AsyncClient(transport=transport) as client:
        for _ in range(2):
            response = await client.get("http://docker/containers/json")
        assert response.text == "docker"
        attempt = seawall.history(response)[0]
        assert (attempt.is_reused, str(attempt.address), attempt.origin.way) == (True, uds, f"unix:{uds}")
        assert (await client.get("http://other/")).text == "other"
        stats = transport.stats()
        assert (stats.connections, dict(stats.names), held(stats)) == (2, {}, [])


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse the connection")
async def test_unix_socket_whose_backlog_is_full(tmp_path, stack):
    """Nothing counts as sent, because nobody is connected; a place in the backlog is taken when there is one."""
    path = str(tmp_path / "full.sock")
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(path)
    listening.listen(0)
    with contextlib.suppress(BlockingIOError):
        while True:
            waiting = stack.enter_context(socket.socket(socket.AF_UNIX))
            waiting.setblocking(False)
            waiting.connect(path)
    transport = seawall.AsyncTransport(uds=path, retry=None)
    async with httpx.AsyncClient(transport=transport) as client:
        with pytest.raises(seawall.errors.DialTimeout) as caught:
            await client.post("http://docker/", timeout=httpx.Timeout(5.0, connect=0.05))
        assert isinstance(caught.value, seawall.errors.Unsent)
        assert (held(transport.stats()), transport.stats().connections) == ([], 0)
        call = asyncio.ensure_future(client.post("http://docker/", timeout=5.0))
        for _ in range(10):  # rounds of the loop, after which it waits
            await asyncio.sleep(0)
        server = await asyncio.start_unix_server(answering, sock=listening)
        assert (await call).text == "docker"
        server.close()


async def test_trace_over_a_unix_socket(uds):
    """As httpcore's own connections say it."""
    told = []

    async def trace(name: str, facts: dict[str, object]) -> None:
        told.append((name, facts.get("path")))

    for transport in (seawall.AsyncTransport(uds=uds), httpx.AsyncHTTPTransport(uds=uds)):
        async with httpx.AsyncClient(transport=transport) as client:
            await client.get("http://docker/", extensions={"trace": trace})
        name = "connection.connect_unix_socket"
        assert told[:2] == [(f"{name}.started", uds), (f"{name}.complete", None)]
        told.clear()


async def test_sni_hostname_over_a_unix_socket(tmp_path):
    """It is what the server is told, and what its certificate is for."""
    authority, named = trustme.CA(), []
    serving, trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("api.test").configure_cert(serving)
    authority.configure_trust(trusting)
    serving.sni_callback = lambda sock, name, context: named.append(name)
    path = str(tmp_path / "tls.sock")
    server = await asyncio.start_unix_server(answering, path, ssl=serving)
    transport = seawall.AsyncTransport(uds=path, verify=trusting, retry=None)
    async with httpx.AsyncClient(transport=transport) as client:
        response = await client.get("https://docker/", extensions={"sni_hostname": "api.test"})
        assert response.text == "docker"
        with pytest.raises(seawall.errors.HostnameMismatch):
            await client.get("https://docker/")
    assert named == ["api.test", "docker"]
    server.close()


async def test_unix_socket_that_is_not_there(tmp_path):
    transport = seawall.AsyncTransport(uds=str(tmp_path / "none.sock"), retry=seawall.Retry(backoff=0))
    async with httpx.AsyncClient(transport=transport) as client:
        with pytest.raises(
            httpx.ConnectError, match=r"can't connect to the Unix socket .*none\.sock.*no such file"
        ) as it:
            await client.post("http://docker/", json={})
        assert isinstance(it.value, seawall.DialError)
        assert len(it.value.attempts) == 3
        assert transport.stats().connections == 0


async def test_unix_socket_without_a_descriptor(uds):
    """It says so, as a connection over TCP does; and so does one that the system doesn't make for another reason."""
    transport = seawall.AsyncTransport(uds=uds, retry=None)
    async with httpx.AsyncClient(transport=transport) as client:
        with no_file_descriptors(), pytest.raises(seawall.DialError, match="no connection is idle: raise") as caught:
            await client.get("http://docker/")
        assert (caught.value.is_shortage, held(transport.stats()), transport.stats().connections) == (True, [], 0)
        assert (await client.get("http://docker/")).text == "docker"
    odd = seawall.AsyncTransport(uds=uds, socket_options=[(socket.IPPROTO_TCP, 9999, 1)], retry=None)
    async with httpx.AsyncClient(transport=odd) as client:
        with pytest.raises(seawall.DialError, match="can't connect to the Unix socket"):
            await client.get("http://docker/")


async def test_unix_socket_that_breaks_off(tmp_path):
    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.close()

    server = await asyncio.start_unix_server(cut, tmp_path / "cut.sock")
    transport = seawall.AsyncTransport(uds=str(tmp_path / "cut.sock"), retry=None)
    async with httpx.AsyncClient(transport=transport) as client:
        with pytest.raises(httpx.HTTPError, match=r"http://docker:80 through unix:.*cut\.sock"):
            await client.get("http://docker/")
    server.close()


async def test_unix_socket_is_cancelled_at_every_step(uds):
    transport = seawall.AsyncTransport(uds=uds)
    async with httpx.AsyncClient(transport=transport) as client:

        async def call() -> None:
            await client.get("http://docker/", headers={"connection": "close"})

        async def clean() -> None:
            for _ in range(10):
                await asyncio.sleep(0)
            assert (held(transport.stats()), transport.stats().connections) == ([], 0)

        assert await cancel_everywhere(call, after=clean) > 3


async def test_local_address(serve):
    """A connection is bound to it, and is another connection than one that isn't."""
    server = await serve(lambda request: request.reply(200, b"ok"))
    transport = seawall.AsyncTransport(local_address="127.0.0.7")
    async with httpx.AsyncClient(transport=transport) as client:
        response = await client.get(server.url)
    assert response.extensions["network_stream"].get_extra_info("client_addr")[0] == "127.0.0.7"


async def test_local_address_decides_the_family(serve, dns):
    """``"0.0.0.0"`` is how people ask for IPv4: an address of the other family isn't dialled."""
    server = await serve(lambda request: request.reply(200, b"ok"))
    dns.zone["both.test"] = Name(a=("127.0.0.1",), aaaa=("::1",))
    dns.zone["six.test"] = Name(aaaa=("::1",))
    asking = seawall.DNS(nameservers=(dns.address,))
    transport = seawall.AsyncTransport(local_address="0.0.0.0", dns=asking, retry=None)
    async with httpx.AsyncClient(transport=transport) as client:
        response = await client.get(f"http://both.test:{server.port}")
        dialled = [str(dial.address) for dial in seawall.history(response)[0].dials]
        assert dialled == ["127.0.0.1"]
        why = r"has no IPv4 address, and local_address='0\.0\.0\.0' is an IPv4 one"
        with pytest.raises(seawall.errors.NoAddress, match=why) as caught:
            await client.get(f"http://six.test:{server.port}")
        assert isinstance(caught.value, httpx.ConnectError)
        assert transport.stats().connections == 1


@pytest.mark.parametrize(("bound", "host"), [("127.0.0.1", "[::1]"), ("::1", "127.0.0.1")])
@pytest.mark.parametrize("way", [None, "http", "socks5"])
async def test_no_address_of_the_local_ones_family_is_nobodys_fault(way, bound, host):
    """A wrong setting, so it is tried once and no breaker counts it; at a proxy it is the proxy's error."""
    url = "https://a.test/" if way else f"http://{host}:1/"
    transport = seawall.AsyncTransport(proxy=way and f"{way}://{host}:1", local_address=bound)
    async with httpx.AsyncClient(transport=transport) as client:
        with pytest.raises(httpx.ConnectError, match="address, and local_address=") as caught:
            await client.get(url)
        assert type(caught.value).__name__ == ("ProxyUnreachable" if way else "NoAddress")
        assert len(caught.value.attempts) == 1
        now = asyncio.get_running_loop().time()
        for each in transport.stats().origins:
            assert transport.breakers[str(each)].failure_share(now) == 0
        assert held(transport.stats()) == []


LATE = {  # s; after the 50 ms that a lookup waits, and within those that a dial waits for more
    "127.0.0.1": Name(aaaa=("::1",), a=("127.0.0.1",), delay_a=0.075),
    "::1": Name(aaaa=("::1",), a=("127.0.0.1",), delay_aaaa=0.075),
}


@pytest.mark.parametrize("bound", LATE)
async def test_addresses_of_the_local_ones_family_may_come_late(dns, bound):
    """They are waited for; and those of the other family that come late are left out."""
    server = await asyncio.start_server(answering, bound)
    port = server.sockets[0].getsockname()[1]
    dns.zone["late.test"] = LATE[bound]
    dns.zone["other.test"] = LATE["::1" if bound == "127.0.0.1" else "127.0.0.1"]
    transport = seawall.AsyncTransport(local_address=bound, dns=seawall.DNS(nameservers=(dns.address,)), retry=None)
    async with httpx.AsyncClient(transport=transport) as client:
        assert (await client.get(f"http://late.test:{port}")).text == f"late.test:{port}"
        with pytest.raises(seawall.DialError, match="refused"):
            await client.get("http://other.test:1")
    server.close()


async def test_local_address_that_is_not_ours():
    transport = seawall.AsyncTransport(local_address="192.0.2.1", retry=None)
    async with httpx.AsyncClient(transport=transport) as client:
        with pytest.raises(seawall.DialError, match=r"cannot assign requested address: .* local_address= names"):
            await client.get("http://127.0.0.1:1")


def one_local_port():
    """A socket option that leaves connections one local port."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = struct.pack("I", sock.getsockname()[1] * 0x10001)  # the first and the last of the range
        option = (socket.IPPROTO_IP, IP_LOCAL_PORT_RANGE, port)
        try:
            sock.setsockopt(*option)
        except OSError as error:
            pytest.skip(f"IP_LOCAL_PORT_RANGE: {error}")
    return option


@pytest.mark.parametrize(("bound", "host"), [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]")])
async def test_a_local_address_shares_its_ports_among_peers(bound, host):
    """As connections without a local address do: a port serves one connection to each peer."""
    servers = [await asyncio.start_server(answering, bound) for _ in range(2)]
    transport = seawall.AsyncTransport(local_address=bound, socket_options=[one_local_port()], retry=None)
    async with httpx.AsyncClient(transport=transport) as client:
        for server in servers:
            await client.get(f"http://{host}:{server.sockets[0].getsockname()[1]}")
        assert transport.stats().connections == 2
    for server in servers:
        server.close()


async def test_local_ports_that_are_used_up(serve):
    """The origin isn't to blame: its breaker stays closed, and it isn't away."""
    server = await serve(lambda request: request.hang())
    options = [one_local_port()]
    transport = seawall.AsyncTransport(socket_options=options, retry=None, breaker=seawall.Breaker(min_calls=1))
    async with httpx.AsyncClient(transport=transport) as client:
        first = asyncio.create_task(client.get(server.url))
        while not server.requests:
            await asyncio.sleep(0)
        for _ in range(3):
            with pytest.raises(seawall.DialError, match="this machine has no port left") as caught:
                await client.get(server.url)
            assert (caught.value.is_shortage, caught.value.is_away) == (True, False)
        assert transport.breakers[server.url].state == "closed"
        first.cancel()


async def test_socket_options(serve):
    """They are set before the dial, so one that a handshake depends on counts."""
    server = await serve(lambda request: request.reply(200, b"ok"))
    options = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1), (socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)]
    transport = seawall.AsyncTransport(socket_options=options)
    async with httpx.AsyncClient(transport=transport) as client:
        response = await client.get(server.url)
        sock = response.extensions["network_stream"].get_extra_info("socket")
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) == 2 * 8192


@pytest.mark.parametrize(
    ("arguments", "kind", "why"),
    [
        ({"uds": ""}, TypeError, "uds must be the path of a Unix socket"),
        ({"uds": 7}, TypeError, "uds must be the path"),
        ({"uds": "/a", "proxy": "http://a"}, ValueError, "neither a proxy nor a local address"),
        ({"local_address": "localhost"}, ValueError, "local_address must be an IP address"),
        ({"socket_options": [(1, 2)]}, TypeError, "level, option, value"),
        ({"local_address": 7}, ValueError, "local_address must be an IP address"),
        ({"socket_options": [7]}, TypeError, "level, option, value"),
        ({"socket_options": 7}, TypeError, "socket_options must be a list"),
        ({"socket_options": [(1, 2, "x")]}, TypeError, "level, option, value"),
        ({"socket_options": [(1, 2, 2**31)]}, ValueError, "C's int"),
        ({"socket_options": [(1, 2, None, -1)]}, ValueError, "C's int"),
        ({"socket_options": [(2**40, 2, 1)]}, ValueError, "C's int"),
        ({"uds": "/a", "guard": seawall.Guard()}, ValueError, "guard"),
        ({"proxy": "ftp://a"}, ValueError, "scheme"),
        ({"proxy": "http://"}, ValueError, "proxy must have a host"),
        ({"proxy": "http://a:0"}, ValueError, "port from 1 to 65535, not 0"),
        ({"proxy": "socks5://a:99999"}, ValueError, "port from 1 to 65535, not 99999"),
        ({"proxy": "http://ada:secret%0d%0aX:@a"}, ValueError, "credentials without control characters"),
        ({"proxy": "socks5://ada:secret%00@a"}, ValueError, "credentials without control characters"),
        ({"proxy": f"socks5://ada:{'secret' * 50}@a"}, ValueError, "credentials of at most 255 bytes"),
    ],
)
def test_what_cannot_be(arguments, kind, why):
    with pytest.raises(kind, match=why) as caught:
        seawall.AsyncTransport(**arguments)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "kind", "why"),
    [
        ({"headers": {"X-Token": "secret\r\nX: 1"}}, ValueError, "headers without control characters; X-Token has"),
        ({"headers": {"secret name": "1"}}, ValueError, "proxy must have headers whose names"),
        ({"headers": {"Host": "secret.test"}}, ValueError, "must not have the header Host"),
        ({"headers": {"content-length": "5"}}, ValueError, "must not have the header content-length"),
        ({"auth": ("secret",)}, TypeError, "credentials of two texts"),
        ({"auth": ("secret", None)}, TypeError, "credentials of two texts"),
        ({"auth": ("secret", "\ud800")}, ValueError, "credentials that UTF-8 can encode"),
        ({"ssl_context": "certs.pem"}, TypeError, "ssl.SSLContext"),
    ],
)
def test_what_a_proxy_cannot_have(arguments, kind, why):
    """It is said when the proxy is named, wherever that is, and nothing secret is shown."""
    proxy = httpx.Proxy("https://a", **arguments)
    for use in (lambda: seawall.AsyncClient(proxy=proxy), lambda: seawall.AsyncTransport(proxy=proxy)):
        with pytest.raises(kind, match=why) as caught:
            use()
        assert "secret" not in str(caught.value)


async def test_an_option_of_bytes(serve):
    """Any bytes do, and later changes of them change nothing."""
    server = await serve(lambda request: request.reply(200, b"ok"))
    value = bytearray((1).to_bytes(4, sys.byteorder))
    transport = seawall.AsyncTransport(socket_options=[[socket.SOL_SOCKET, socket.SO_KEEPALIVE, value]])
    value[:] = bytes(4)
    async with httpx.AsyncClient(transport=transport) as client:
        response = await client.get(server.url)
        sock = response.extensions["network_stream"].get_extra_info("socket")
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1


def test_a_system_without_unix_sockets(monkeypatch):
    monkeypatch.delattr(socket, "AF_UNIX")
    with pytest.raises(ValueError, match="no Unix sockets on this system"):
        seawall.AsyncTransport(uds="/a")


async def test_an_option_that_the_system_does_not_know(serve):
    server = await serve(lambda request: request.reply(200, b"ok"))
    transport = seawall.AsyncTransport(socket_options=[(socket.SOL_SOCKET, 9999, 1)], retry=None)
    async with httpx.AsyncClient(transport=transport) as client:
        with pytest.raises(seawall.DialError, match="protocol not available"):
            await client.get(server.url)
        assert transport.stats().connections == 0


async def test_a_patient_call_waits_for_the_breaker_of_its_proxy():
    """With `waits=True`, holding nothing meanwhile, within its deadline; others are refused at once."""
    patient, url = seawall.options(waits=True), "http://a.test/"
    begun: list[tuple[int, int]] = []

    class Starts:
        def attempt_started(self, call, attempt) -> None:
            begun.append((attempt.call, attempt.number))

        def on(self, event) -> None:
            pass

    layers = {"breaker": seawall.Breaker(min_calls=1), "bulkhead": seawall.Bulkhead(max_concurrent=1), "retry": None}
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))  # it refuses connections until it listens
        proxy = "http://127.0.0.1:{}".format(*listening.getsockname()[1:])
        async with seawall.AsyncClient(proxy=proxy, observers=[Starts()], **layers) as client:
            with pytest.raises(seawall.errors.ProxyUnreachable):
                await client.get(url)
            with pytest.raises(seawall.errors.ProxyOpen):
                await client.get(url)
            with pytest.raises(seawall.DeadlineExceeded) as late:
                await client.get(url, extensions=seawall.options(waits=True, deadline=0.05))
            assert late.value.attempts[-1].phase is seawall.events.Phase.QUEUED
            calls = [asyncio.ensure_future(client.get(url, extensions=patient)) for _ in range(3)]
            for _ in range(20):  # rounds of the loop, after which all of them wait
                await asyncio.sleep(0)
            assert (held(client.stats()), client.stats().connections) == (["3 calls in flight"], 0)
            server = await asyncio.start_server(answering, sock=listening)
            ends = await asyncio.gather(*calls)
            assert [end.status_code for end in ends] == [200] * 3
            assert {name for end in ends for name, _ in seawall.history(end)[-1].queued} >= {"proxy"}
            assert len(begun) == len(set(begun)) == 6  # observers hear of each once, however often it waits
            server.close()
