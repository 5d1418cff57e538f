"""Connections in use by more than one task, idle ones, tunnels, and uploads; on real sockets."""

from __future__ import annotations

import asyncio
import select
import socket
import ssl

import httpcore
import httpx
import pytest
import trustme

import seawall
from seawall.testing import FaultServer, Name, Request, Server
from seawall.testing.steps import early, ok
from seawall.wire.http1.connection import HIGH_WATER

pytestmark = pytest.mark.anyio


async def test_unread_body_does_not_spoil_the_next_call(serve):
    """A large body that came whole and was never read: the connection reads on."""

    async def handler(request: Request) -> None:
        await request.reply(body=b"x" * 400_000)

    server = await serve(handler)
    async with seawall.AsyncClient(timeout=2, retry=None) as client:
        async with client.stream("GET", server.url):
            await asyncio.sleep(0.1)  # all of it is there
        assert len((await client.post(server.url)).content) == 400_000


@pytest.mark.parametrize("step", ["second_answer:0.02", "idle:close:0.02"])
def test_loop_that_was_busy_uses_no_spoilt_connection(fault_server, step):
    """What came while the loop could not look is seen before the connection is used again."""

    async def scenario() -> None:
        async with seawall.AsyncClient(retry=None) as client:
            stream = (await client.get(f"{fault_server.url}/x/{step}")).extensions["network_stream"]
            select.select([stream.get_extra_info("socket")], [], [], 30)  # as long as a handler that computes
            response = await client.post(f"{fault_server.url}/x/ok?key=mine")
            assert response.json()["key"] == "mine"

    asyncio.run(scenario())


async def test_tunnel_is_read_and_written_at_once(serve):
    """A reader that waits is not forgotten for a writer that waits too."""
    let_in = asyncio.Event()

    async def handler(request: Request) -> None:
        await request.send(b"HTTP/1.1 101 X\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n")
        request.wire.pause()
        await let_in.wait()
        await request.send(b"hello")
        await request.hang()

    server = await serve(handler)
    headers = {"connection": "upgrade", "upgrade": "x"}
    async with seawall.AsyncClient() as client, client.stream("GET", server.url, headers=headers) as response:
        stream = response.extensions["network_stream"]
        reader = asyncio.create_task(stream.read(100, timeout=5))
        await asyncio.sleep(0)
        with pytest.raises(Exception, match="nothing was taken"):
            await stream.write(b"x" * 30_000_000, timeout=0.1)
        let_in.set()
        assert await reader == b"hello"


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        ("GET", b"101 X\r\nconnection: upgrade\r\nupgrade: x\r\ncontent-length: 3"),
        ("CONNECT", b"200 Connection established"),
    ],
)
async def test_tunnel_is_not_read_as_a_body(listen, method, answer):
    """A hook may talk through it, though the caller asked for the whole response."""
    said = []

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 %b\r\n\r\nhello" % answer)
        writer.write(await reader.readexactly(3))
        await reader.read()

    async def talk(response: httpx.Response) -> None:
        stream = response.extensions["network_stream"]
        said.append(await stream.read(5, timeout=5))
        await stream.write(b"you", timeout=5)
        said.append(await stream.read(5, timeout=5))

    url = await listen(echo)
    async with seawall.AsyncClient(event_hooks={"response": [talk]}, retry=None) as client:
        response = await client.request(method, url, headers={"connection": "upgrade", "upgrade": "x"})
        assert (said, response.status_code, response.content) == ([b"hello", b"you"], int(answer[:3]), b"")
        assert client.stats().connections == 0


@pytest.mark.parametrize("is_secure", [False, True])
@pytest.mark.parametrize("is_closed_first", [False, True])
async def test_what_was_written_to_a_tunnel_is_sent(listen, is_secure, is_closed_first):
    """Though the response is closed right after, and the peer is slow: the last messages count."""
    authority, server_side, client_side = trustme.CA(), None, True
    if is_secure:
        server_side, client_side = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
        authority.issue_cert("localhost").configure_cert(server_side)
        authority.configure_trust(client_side)
    let_in, came = asyncio.Event(), asyncio.get_running_loop().create_future()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 101 X\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n")
        await let_in.wait()
        size = 0
        while data := await reader.read(65536):
            size += len(data)
        came.set_result(size)

    url = await listen(slow, **({"ssl": server_side} if is_secure else {}))
    if is_secure:
        url = url.replace("http:", "https:")
    headers, written = {"connection": "upgrade", "upgrade": "x"}, 0
    async with seawall.AsyncClient(verify=client_side) as client:
        async with client.stream("GET", url, headers=headers) as response:
            stream = response.extensions["network_stream"]
            while stream.connection.can_write and stream.connection._transport.get_write_buffer_size() < 20_000:
                await stream.write(b"x" * 10_000, timeout=5)
                written += 10_000
            if is_closed_first:
                await stream.aclose()
        let_in.set()
        assert await came == written


@pytest.mark.parametrize("is_kept", [False, True])
async def test_bytes_before_a_tunnels_tls_are_not_taken_for_protected(listen, is_kept):
    """Somebody between may have sent them, and a reader of the tunnel couldn't tell."""
    authority, client_side = trustme.CA(), ssl.create_default_context()
    server_side = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(server_side)
    authority.configure_trust(client_side)

    async def inject(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 101 X\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n" + b"injected" * (not is_kept))
        await writer.start_tls(server_side)
        writer.write(b"secret")
        await reader.read()

    url = await listen(inject)
    async with (
        seawall.AsyncClient() as client,
        client.stream("GET", url, headers={"connection": "upgrade", "upgrade": "x"}) as response,
    ):
        stream = response.extensions["network_stream"]
        if is_kept:
            stream = await stream.start_tls(client_side, "localhost")
            assert await stream.read(100) == b"secret"
        else:
            with pytest.raises(httpcore.ConnectError, match="before TLS"):
                await stream.start_tls(client_side, "localhost")
            assert client.stats().connections == 0


async def test_bytes_behind_a_response_answer_nobody_over_tls(listen):
    """They wait in asyncio's TLS, which reads nothing more while a slow reader has enough; no poll sees them there."""
    authority, is_paused, is_sent = trustme.CA(), asyncio.Event(), asyncio.Event()
    server_side, client_side = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("localhost").configure_cert(server_side)
    authority.configure_trust(client_side)
    size = HIGH_WATER + 3000

    async def forging(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if b"/slow" in head:
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size + b"a" * size)
            await is_paused.wait()
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nforged")
            await writer.drain()
            is_sent.set()
            await reader.readuntil(b"\r\n\r\n")
        else:
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nright")
        await reader.read()

    url = (await listen(forging, ssl=server_side)).replace("http:", "https:")
    async with seawall.AsyncClient(verify=client_side, limits=httpx.Limits(max_connections=1)) as client:
        async with client.stream("GET", f"{url}/slow") as response:
            connection = response.extensions["network_stream"].connection
            while not connection._response.is_complete:
                await asyncio.sleep(0)
            assert connection._is_paused
            is_paused.set()
            await is_sent.wait()
            for _ in range(100):  # rounds of the loop, in which it comes as far as TLS
                await asyncio.sleep(0)
            assert len(await response.aread()) == size
        assert (await client.get(url)).text == "right"


async def test_stream_closed_by_another_task_ends_its_reader(serve):
    """At once, without a timeout."""

    async def handler(request: Request) -> None:
        await request.send(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")
        await request.hang()

    server = await serve(handler)
    async with seawall.AsyncClient(timeout=None) as client, client.stream("GET", server.url) as response:
        reader = asyncio.create_task(response.aread())
        await asyncio.sleep(0.05)
        await response.aclose()
        with pytest.raises(httpx.ReadError):
            await asyncio.wait_for(reader, 5)


async def test_reader_whose_body_is_closed_gets_no_other_answer(serve):
    """The last of a body came, and before its reader's turn another task closes it and sends the next request."""
    rest = asyncio.Event()

    async def handler(request: Request) -> None:
        if request.target == "/body":
            await request.send(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\naaa")
            await rest.wait()
            await request.send(b"aaa")
        else:
            if request.target == "/first":
                await rest.wait()
            await request.reply(body=b"another's")

    server = await serve(handler)
    async with seawall.AsyncClient(timeout=2, retry=None) as client:
        await client.get(server.url)

        async def close_and_ask() -> bytes:
            await client.get(f"{server.url}/first")
            await response.aclose()
            return (await client.get(server.url)).content

        async def read() -> list[bytes]:
            return [part async for part in response.aiter_raw()]

        asked = asyncio.create_task(close_and_ask())
        await asyncio.sleep(0.05)
        response = await client.send(client.build_request("GET", f"{server.url}/body"), stream=True)
        reader = asyncio.create_task(read())
        await asyncio.sleep(0.05)
        rest.set()
        assert await asked == b"another's"
        assert await reader == [b"aaa", b"aaa"]


async def test_early_answer_to_a_large_upload_over_tls():
    """413 is heard, and the connection, which still has some of the upload, is not used again."""
    async with FaultServer() as server:
        port = server.listen("tls")
        server.script("upload", early(413), ok())
        async with seawall.AsyncClient(verify=server.client_context(), retry=None, timeout=2) as client:
            response = await client.post(f"{port.url}/x?key=upload", content=b"x" * 20_000_000)
            assert response.status_code == 413
            assert (await client.get(f"{port.url}/x/ok")).status_code == 200
        assert port.connections == 2


async def test_slow_upload_over_tls_is_no_read_timeout():
    """While the server takes it, the write timeout is what counts."""
    async with FaultServer() as server:
        port = server.listen("tls")
        async with seawall.AsyncClient(verify=server.client_context(), retry=None) as client:
            timeout = httpx.Timeout(5, read=0.5)
            body = b"x" * 8_000_000
            response = await client.post(f"{port.url}/x/ok?key=up", content=body, timeout=timeout)
            assert response.status_code == 200
        assert server.attempts("up")[0].length == len(body)


async def test_bad_body_of_ours_is_not_held_against_the_address(serve):
    """A body of another length than its headers say is the caller's mistake."""

    async def ok_(request: Request) -> None:
        await request.reply()

    async def parts():
        yield b"abcdef"

    server = await serve(ok_)
    async with seawall.AsyncClient() as client:
        with pytest.raises(httpx.LocalProtocolError, match="content-length 3"):
            await client.post(server.url, content=parts(), headers={"content-length": "3"})
        assert client.engine.wire.dialler.addresses._bad == {}


@pytest.mark.parametrize("place", [0, 1, 2])
async def test_host_is_sent_first(serve, place):
    """Wherever the caller has it (RFC 9110 section 7.2); the others stay in their order."""

    async def handler(request: Request) -> None:
        await request.reply()

    server = await serve(handler)
    headers = [("a", "1"), ("b", "2")]
    headers.insert(place, ("Host", "my.test"))
    async with seawall.AsyncClient() as client:
        request = httpx.Request("GET", server.url, headers=headers)
        await client.send(request)
    assert [name.lower() for name, _ in server.requests[0].fields][:3] == ["host", "a", "b"]


async def test_small_writes_go_out_at_once(client, serve):
    """TCP_NODELAY: a request in parts is not held back until the last one was acknowledged, some 40 ms each."""

    async def answer(request: Request) -> None:
        await request.reply()

    server = await serve(answer)
    async with client.stream("GET", server.url) as response:
        sock = response.extensions["network_stream"].get_extra_info("socket")
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_connections_are_handed_over_where_the_cap_binds(stack, serve):
    """Who waits for a slot gets a connection of its origin that becomes free: nobody dials anew for it."""

    async def answer(request: Request) -> None:
        await request.reply()

    server = await serve(answer)
    limits = httpx.Limits(max_connections=2)
    client = await stack.enter_async_context(seawall.AsyncClient(limits=limits, bulkhead=None))
    responses = await asyncio.gather(*(client.get(server.url) for _ in range(100)))
    assert {response.status_code for response in responses} == {200}
    assert server.connections == client.stats().connections == 2


async def test_origins_take_turns_where_the_cap_binds(stack, serve):
    """The origin that holds nothing is next, whoever came before: it waits for one release at most."""
    order = []

    async def answer(request: Request) -> None:
        order.append(request.headers["host"].rpartition(":")[2])
        await request.reply()

    busy, other = await serve(answer), await serve(answer)
    client = await stack.enter_async_context(seawall.AsyncClient(limits=httpx.Limits(max_connections=1), bulkhead=None))
    calls = (
        [client.get(busy.url) for _ in range(5)] + [client.get(other.url)] + [client.get(busy.url) for _ in range(5)]
    )
    await asyncio.gather(*calls)
    assert order.index(str(other.port)) <= 2
    assert order.count(str(busy.port)) == 10
    assert (busy.connections, other.connections) == (2, 1)


@pytest.mark.parametrize("http2", [False, True])
async def test_what_was_handed_over_to_the_cancelled_goes_on(stack, http2):
    """At whatever moment: no connection, slot or stream is lost."""
    with FaultServer() as server:
        port = server.listen("h2:clear" if http2 else "serve")
        client = await stack.enter_async_context(
            seawall.AsyncClient(http1=not http2, http2=http2, limits=httpx.Limits(max_connections=1), bulkhead=None)
        )
        for turns in range(30):
            calls = [asyncio.create_task(client.get(port.url + "/x/ok")) for _ in range(6)]
            for _ in range(turns * 3):
                await asyncio.sleep(0)
            for call in calls[::2]:
                call.cancel()
            results = await asyncio.gather(*calls, return_exceptions=True)
            assert all(isinstance(result, httpx.Response) for result in results[1::2])
        assert client.stats().connections <= 1
        assert (await client.get(port.url + "/x/ok")).status_code == 200


async def two_addresses(stack, dns, handlers) -> tuple[str, list[Server]]:
    """A name with 127.0.0.1 and 127.0.0.2, a server at each, on the same port."""
    first = await stack.enter_async_context(Server(handlers[0], host="127.0.0.1"))
    second = await stack.enter_async_context(Server(handlers[1], host="127.0.0.2", port=first.port))
    dns.zone["two.test"] = Name(a=("127.0.0.1", "127.0.0.2"))
    return f"http://two.test:{first.port}", [first, second]


async def bad(request: Request) -> None:
    await request.reply(503)


async def good(request: Request) -> None:
    await request.reply()


async def test_retry_goes_to_another_address(stack, dns):
    """Where the name has one: not to the same connection once more, though that is kept."""
    url, servers = await two_addresses(stack, dns, [bad, good])
    settings = {"dns": seawall.DNS(nameservers=(dns.address,)), "retry": seawall.Retry(throttled_backoff=0)}
    async with seawall.AsyncClient(**settings) as client:
        responses = [await client.get(url) for _ in range(20)]
    assert {response.status_code for response in responses} == {200}
    assert max(len(response.extensions["seawall"]) for response in responses) == 2
    for response in responses:
        addresses = [attempt.address for attempt in response.extensions["seawall"]]
        assert len(set(addresses)) == len(addresses)
    assert len(servers[0].requests) >= 1


async def test_address_that_breaks_off_is_dialled_last(stack, dns):
    """For 30 s after it took a connection and closed it without an answer; calls after that start with the other."""

    async def breaks_off(request: Request) -> None:
        request.close()

    url, servers = await two_addresses(stack, dns, [breaks_off, good])
    limits = httpx.Limits(max_keepalive_connections=0)
    async with seawall.AsyncClient(dns=seawall.DNS(nameservers=(dns.address,)), limits=limits) as client:
        assert {(await client.get(url)).status_code for _ in range(10)} == {200}
    assert len(servers[0].requests) <= 1


async def test_bad_address_is_left_out(stack, dns):
    """After five failures in a row it gets no more, and its connections are closed; the other one does the work."""
    url, servers = await two_addresses(stack, dns, [bad, good])
    settings = {"dns": seawall.DNS(nameservers=(dns.address,)), "retry": None, "breaker": None}
    for at_once in (1, 10):
        before = len(servers[0].requests)
        async with seawall.AsyncClient(**settings) as client:
            for _ in range(10):
                await asyncio.gather(*(client.get(url) for _ in range(at_once)))
            assert {(await client.get(url)).status_code for _ in range(20)} == {200}
        assert len(servers[0].requests) - before < 3 * max(5, at_once)


HASTY = httpx.Timeout(5.0, read=0.02)


@pytest.mark.parametrize(
    ("settings", "call", "is_left_out"), [({}, {"timeout": HASTY}, False), ({"timeout": HASTY}, {}, True)]
)
async def test_hasty_timeouts_leave_no_address_out(stack, dns, settings, call, is_left_out):
    """Of addresses that hang, a request's own says no more than of the origin; the client's leaves one out."""

    async def hang(request: Request) -> None:
        await asyncio.Event().wait()

    url, _ = await two_addresses(stack, dns, [hang, hang])
    layers = {"dns": seawall.DNS(nameservers=(dns.address,)), "retry": None, "breaker": None}
    async with seawall.AsyncClient(**layers, **settings) as client:
        for _ in range(9):
            with pytest.raises(httpx.ReadTimeout):
                await client.get(url, **call)
        known = client.engine.wire.dialler.addresses
        (origin,) = client.stats().origins
        addresses = [seawall.dns.Address(each) for each in ("127.0.0.1", "127.0.0.2")]
        assert (len(known._ejections.usable(origin, addresses)) < 2) == is_left_out
        assert any(known.is_bad(origin, each) for each in addresses) == is_left_out


async def test_only_address_is_never_left_out(stack, dns, serve):
    """However bad it is."""
    server = await serve(bad)
    async with seawall.AsyncClient(dns=seawall.DNS(nameservers=(dns.address,)), retry=None, breaker=None) as client:
        for _ in range(20):
            await client.get(f"http://good.test:{server.port}")
    assert len(server.requests) == 20
    assert server.connections == 1


async def test_redirect_to_the_same_host_uses_the_same_connection(stack, dns):
    """Though its name has another address, which refuses: an attempt that was good is nothing to avoid."""

    async def around(request: Request) -> None:
        await (request.reply(302, b"", {"location": "/b"}) if request.target == "/a" else request.reply())

    server = await stack.enter_async_context(Server(around, host="127.0.0.1"))
    dns.zone["two.test"] = Name(a=("127.0.0.1", "127.0.0.2"))
    async with seawall.AsyncClient(dns=seawall.DNS(nameservers=(dns.address,)), follow_redirects=True) as client:
        for _ in range(20):
            assert (await client.get(f"http://two.test:{server.port}/a")).status_code == 200
    assert server.connections == 1


async def test_less_goes_to_a_slow_address(stack, dns):
    """A call that waits at one of two: those that come meanwhile go to the other, each over a new connection."""
    released = asyncio.Event()

    async def slow(request: Request) -> None:
        await released.wait()
        await request.reply()

    url, servers = await two_addresses(stack, dns, [slow, good])
    settings = {"dns": seawall.DNS(nameservers=(dns.address,)), "limits": httpx.Limits(max_keepalive_connections=0)}
    async with seawall.AsyncClient(**settings) as client:
        waiting = [asyncio.create_task(client.get(url)) for _ in range(2)]
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for _ in range(20):
            assert (await client.get(url)).status_code == 200
        assert [len(server.requests) for server in servers] == [1, 21]
        released.set()
        await asyncio.gather(*waiting)


@pytest.mark.parametrize("kept", [0, 100])
async def test_load_of_addresses_is_forgotten(stack, dns, kept):
    """Calls over two addresses, cancelled whenever: nothing counts as under way, and each address is used again."""

    async def handler(request: Request) -> None:
        await asyncio.sleep(0.002)
        await request.reply()

    url, servers = await two_addresses(stack, dns, [handler, handler])
    settings = {"dns": seawall.DNS(nameservers=(dns.address,)), "limits": httpx.Limits(max_keepalive_connections=kept)}
    async with seawall.AsyncClient(retry=None, **settings) as client:

        async def call(number: int) -> None:
            try:
                async with asyncio.timeout(number % 25 * 0.0005):
                    await client.get(url)
            except (TimeoutError, httpx.HTTPError):
                pass

        for number in range(0, 500, 20):
            await asyncio.gather(*(call(number + each) for each in range(20)))
        loads = client.engine.wire.dialler.addresses._loads
        assert [load.in_flight for load in loads.values()] == [0] * len(loads)
        before = [len(server.requests) for server in servers]
        await asyncio.gather(*(client.get(url) for _ in range(20)))
        assert [len(server.requests) - count for server, count in zip(servers, before, strict=True)] == [10, 10]
