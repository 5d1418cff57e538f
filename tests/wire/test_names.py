"""From a name to a connection: DNS over a real server on loopback, dialling over real sockets."""

from __future__ import annotations

import asyncio
import socket

import httpx
import pytest

import seawall
from seawall.testing import Request
from seawall.testing.dns import DNSServer, Name
from seawall.wire import race

pytestmark = pytest.mark.anyio


async def ok(request: Request) -> None:
    await request.reply()


async def settled(client: seawall.AsyncClient) -> None:
    """No lookup is under way: one that nobody waits for any more would be counted, and kept, at a later instant."""
    while client.engine.wire.names._lookups:
        await asyncio.sleep(0)


def settings(dns: DNSServer, **more) -> seawall.DNS:
    return seawall.DNS(nameservers=(dns.address,), **more)


async def opened(stack, dns: DNSServer, limits: httpx.Limits) -> seawall.AsyncClient:
    """A client whose calls end with what their own lookup and dial say, without waiting for an origin that is away."""
    return await stack.enter_async_context(
        seawall.AsyncClient(dns=settings(dns), limits=limits, deadline=None, retry=None, ready=None)
    )


@pytest.fixture
async def client(stack, dns, clock) -> seawall.AsyncClient:
    """With a clock that can be put forward, and no connection kept: each call dials."""
    return await opened(stack, dns, httpx.Limits(max_keepalive_connections=0))


async def test_ttl_means_what_it_says(client, dns, serve, clock):
    """A TTL of 1 s is asked for again ahead of its end, from 0.6 s on; c-ares' own cache answers nothing."""
    clock.stop()
    server = await serve(ok)
    dns.zone["one.test"] = Name(a=("127.0.0.1",), ttl=1)
    url = f"http://one.test:{server.port}"
    for ahead, asked in ((0.0, 1), (0.5, 1), (0.7, 2), (1.2, 2), (1.4, 3), (3.3, 4)):
        clock.ahead = ahead
        await client.get(url)
        await settled(client)
        assert dns.queries["one.test", "A"] == asked


async def test_ttl_is_the_minimum_over_the_chain(client, dns, serve, clock):
    """An alias of 2 s to a record of 300 s is good for 2 s."""
    clock.stop()
    server = await serve(ok)
    dns.zone["alias.test"] = Name(cname="real.test", ttl=2)
    dns.zone["real.test"] = Name(a=("127.0.0.1",), ttl=300)
    for ahead, asked in ((0.0, 1), (1.5, 1), (1.7, 2)):
        clock.ahead = ahead
        await client.get(f"http://alias.test:{server.port}")
        await settled(client)
        assert dns.queries["alias.test", "A"] == asked


async def test_missing_family_is_not_asked_for_again_before_the_other(client, dns, serve, clock):
    """A host with IPv4 only is asked for AAAA as often as for A, and has IPv6 as soon as that is there."""
    server = await serve(ok)
    for clock.ahead in (0.0, 6.0, 30.0, 59.0):
        await client.get(f"http://good.test:{server.port}")
        await settled(client)
    assert (dns.queries["good.test", "A"], dns.queries["good.test", "AAAA"]) == (2, 2)  # ahead of time, at 80 %


async def test_one_lookup_for_many_and_none_is_lost_with_its_first_waiter(client, dns, serve):
    """300 calls at once ask once per family; cancelling the first disturbs no other."""
    server = await serve(ok)
    dns.zone["slow.test"] = Name(a=("127.0.0.1",), delay=0.1)
    calls = [asyncio.create_task(client.get(f"http://slow.test:{server.port}")) for _ in range(300)]
    while not dns.queries["slow.test", "A"]:
        await asyncio.sleep(0)
    calls[0].cancel()
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert [result.status_code for result in results[1:]] == [200] * 299
    assert (dns.queries["slow.test", "A"], dns.queries["slow.test", "AAAA"]) == (1, 1)


async def test_name_that_does_not_exist(client, dns, clock):
    """NXDOMAIN: a ConnectError that says so, at once, not retried, and remembered for 5 s."""
    for clock.ahead, asked in ((0.0, 1), (4.5, 1), (5.5, 2)):
        with pytest.raises(httpx.ConnectError, match=r"nowhere\.test") as caught:
            await client.get("http://nowhere.test", extensions=seawall.options(retry=seawall.Retry()))
        await settled(client)
        assert isinstance(caught.value, seawall.errors.NameNotFound)
        assert len(caught.value.attempts) == 1
        assert (dns.queries["nowhere.test", "A"], dns.queries["nowhere.test", "AAAA"]) == (asked, asked)


async def test_name_without_address(client, dns):
    """NODATA is told apart from NXDOMAIN."""
    dns.zone["empty.test"] = Name()
    with pytest.raises(httpx.ConnectError) as caught:
        await client.get("http://empty.test")
    assert isinstance(caught.value, seawall.errors.NoAddress)


async def test_server_failure(client, dns):
    """SERVFAIL is the resolver's failure."""
    dns.zone["broken.test"] = Name(rcode="SERVFAIL")
    with pytest.raises(httpx.ConnectError) as caught:
        await client.get("http://broken.test")
    assert isinstance(caught.value, seawall.errors.ResolverFailure)


async def test_silent_server(stack, dns):
    """No answer ends after DNS.timeout, not after c-ares' idea of it, and is a ConnectTimeout."""
    dns.zone["silent.test"] = Name(drop=-1)
    client = await stack.enter_async_context(seawall.AsyncClient(dns=settings(dns, timeout=0.3), retry=None))
    with pytest.raises(httpx.ConnectTimeout) as caught:
        await client.get("http://silent.test")
    assert isinstance(caught.value, seawall.errors.ResolveTimeout)
    assert "DNS.timeout" in str(caught.value)


async def test_connect_timeout_covers_resolving(stack, dns):
    """As in httpx, where DNS is part of connecting."""
    dns.zone["silent.test"] = Name(drop=-1)
    client = await stack.enter_async_context(seawall.AsyncClient(dns=settings(dns, timeout=600), retry=None))
    with pytest.raises(httpx.ConnectTimeout, match=r"connect timeout of 0\.1 s"):
        await client.get("http://silent.test", timeout=httpx.Timeout(5, connect=0.1))


async def test_slow_family_is_not_waited_for(client, dns, serve):
    """A is there, AAAA never answers: 50 ms, then go."""
    server = await serve(ok)

    class OneFamily(dict):
        pass

    original = dns._answer
    dns._answer = lambda query, name, kind, entry: b"" if kind == "AAAA" else original(query, name, kind, entry)
    response = await client.get(f"http://good.test:{server.port}")
    (attempt,) = response.extensions["seawall"]
    marks = dict(attempt.marks)
    assert (
        0.05 <= marks[seawall.events.Phase.CONNECTING] - marks[seawall.events.Phase.RESOLVING] < 1.9
    )  # DNS.timeout is 2 s


async def test_lost_queries_are_sent_again(client, dns, serve):
    """The first datagram of each family is lost; the call doesn't notice but for half a second."""
    server = await serve(ok)
    dns.zone["lossy.test"] = Name(a=("127.0.0.1",), drop=2)
    assert (await client.get(f"http://lossy.test:{server.port}")).status_code == 200


async def test_stale_answer_serves_while_dns_is_down(client, dns, serve, clock):
    """After the TTL, with DNS silent: the old address for up to 60 s without TLS, and then no more."""
    server = await serve(ok)
    dns.zone["stale.test"] = Name(a=("127.0.0.1",), ttl=1)
    url = f"http://stale.test:{server.port}"
    await client.get(url)
    dns.zone["stale.test"].drop = -1
    clock.ahead = 30.0
    assert (await client.get(url)).status_code == 200
    assert client.stats().names["stale.test"].stale == 1
    clock.ahead = 62.0
    with pytest.raises(seawall.errors.ResolveTimeout):
        await client.get(url)


async def test_only_the_first_waits_for_a_silent_dns(stack, dns, serve, clock):
    """Before an old answer is used: those that come later are served at once, the lookup is silent already."""
    server = await serve(ok)
    dns.zone["quiet.test"] = Name(a=("127.0.0.1",), ttl=1)
    url = f"http://quiet.test:{server.port}"
    limits = httpx.Limits(max_keepalive_connections=0)
    slow = settings(dns, stale_wait=0.5, timeout=5.0)
    client = await stack.enter_async_context(seawall.AsyncClient(dns=slow, limits=limits, retry=None))
    await client.get(url)
    dns.zone["quiet.test"].drop = -1
    clock.ahead = 10.0
    waited = []
    for _ in range(6):
        response = await client.get(url)
        marks = dict(response.extensions["seawall"][0].marks)
        waited.append(marks[seawall.events.Phase.CONNECTING] - marks[seawall.events.Phase.RESOLVING])
    assert waited[0] >= 0.45
    assert max(waited[1:]) < 0.3


async def test_name_that_fails_is_left_alone_for_a_while(client, dns, serve, clock):
    """The first failure may be asked about at once, then after 0.25 s, 0.5 s, 1 s; an answer ends it (RFC 9520)."""
    clock.stop()
    server = await serve(ok)
    dns.zone["broken.test"] = Name(rcode="SERVFAIL")
    url = f"http://broken.test:{server.port}"
    asked = []
    for ahead in (0.0, 0.0, 0.1, 0.35, 0.7, 0.95, 2.5):
        clock.ahead = ahead
        before = sum(dns.queries.values())
        with pytest.raises(seawall.errors.ResolverFailure) as caught:
            await client.get(url)
        await settled(client)
        assert caught.value.is_resting == (sum(dns.queries.values()) == before)
        asked.append(sum(dns.queries.values()) > before)
    assert asked == [True, True, False, True, False, True, True]
    dns.zone["broken.test"] = Name(a=("127.0.0.1",))
    clock.ahead = 8.0
    assert (await client.get(url)).status_code == 200


@pytest.fixture
async def keeping(stack, dns, clock) -> seawall.AsyncClient:
    """As `client`, but connections are kept."""
    return await opened(stack, dns, httpx.Limits(keepalive_expiry=None))


async def test_connections_follow_the_name(keeping, dns, serve, clock):
    """Kept alive as long as its address is in the record, dropped once it is not; found out at the TTL's end."""
    server = await serve(ok)
    dns.zone["moving.test"] = Name(a=("127.0.0.1",), ttl=1)
    url = f"http://moving.test:{server.port}"
    for ahead in (0.0, 0.5, 1.1):
        clock.ahead = ahead
        response = await keeping.get(url)
    assert response.extensions["seawall"][0].is_reused
    assert server.connections == 1
    dns.zone["moving.test"] = Name(a=("127.0.0.2",), ttl=1)
    clock.ahead = 3.0
    with pytest.raises(seawall.DialError, match=r"127\.0\.0\.2"):  # where nobody listens
        await keeping.get(url)
    assert keeping.stats().connections == 0
    dns.zone["moving.test"] = Name()
    clock.ahead = 5.0
    with pytest.raises(seawall.errors.NoAddress):
        await keeping.get(url)


async def test_rest_of_a_name_says_nothing_of_its_origin(stack, dns, serve, clock):
    """It isn't retried, and the breaker doesn't count it: a short trouble of DNS stays short."""
    server = await serve(ok)
    dns.zone["blip.test"] = Name(rcode="SERVFAIL")
    url = f"http://blip.test:{server.port}"
    client = await stack.enter_async_context(seawall.AsyncClient(dns=settings(dns), retry=seawall.Retry(backoff=0)))
    for _ in range(40):
        with pytest.raises(seawall.errors.ResolverFailure) as caught:
            await client.get(url)
        assert sum(attempt.source == "" for attempt in caught.value.attempts) <= 3
    assert len(caught.value.attempts) == 1
    dns.zone["blip.test"] = Name(a=("127.0.0.1",))
    clock.ahead = 5.1
    assert (await client.get(url)).status_code == 200


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """200 to each request, until the client leaves."""
    try:
        while True:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
    except (asyncio.IncompleteReadError, OSError):
        writer.close()


async def test_one_family_does_not_speak_for_the_other(keeping, dns, clock, monkeypatch):
    """A connection over IPv6 stays while only A was answered."""
    monkeypatch.setattr(race, "LATE_GRACE", 30.0)  # for AAAA may come after 127.0.0.9 has refused
    async with await asyncio.start_server(answer, "::1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        dns.zone["both.test"] = Name(a=("127.0.0.9",), aaaa=("::1",), ttl=1)
        await keeping.get(f"http://both.test:{port}")
        dns.zone["both.test"] = Name(a=("127.0.0.9",), aaaa=("::1",), ttl=1, delay_aaaa=30.0)
        for ahead in (2.0, 2.1, 9.0):
            clock.ahead = ahead
            response = await keeping.get(f"http://both.test:{port}")
            assert response.extensions["seawall"][0].is_reused
        await keeping.aclose()


async def test_names_that_give_subsets_keep_their_connections(keeping, dns, serve, clock):
    """Addresses that come and go and come again are no fail-over."""
    server = await serve(ok)
    others = [await serve(ok, host=f"127.0.0.{number}", port=server.port) for number in (2, 3)]
    reused = []
    for turn in range(30):
        clock.ahead = 2.0 * turn
        dns.zone["many.test"] = Name(a=(f"127.0.0.{1 + turn % 3}",), ttl=1)
        response = await keeping.get(f"http://many.test:{server.port}")
        reused.append(response.extensions["seawall"][0].is_reused)
    assert not any(reused[:5])
    assert all(reused[12:])
    assert server.connections + sum(other.connections for other in others) < 12


async def test_handshake_that_hangs_is_dialled_last(stack, dns, serve):
    """By the retry already: another address has its turn."""
    server = await serve(ok, host="127.0.0.3")

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(silent, "127.0.0.2", server.port):
        dns.zone["tls.test"] = Name(a=("127.0.0.2", "127.0.0.3"))
        client = await stack.enter_async_context(seawall.AsyncClient(dns=settings(dns), retry=seawall.Retry(backoff=0)))
        with pytest.raises(seawall.errors.TLSError) as caught:  # the other speaks no TLS either, but has its turn
            await client.get(f"https://tls.test:{server.port}", timeout=httpx.Timeout(5.0, connect=1.0))
    dialled = [attempt.dials[0].address.ip for attempt in caught.value.attempts]
    assert dialled[:2] == ["127.0.0.2", "127.0.0.3"]
    assert caught.value.attempts[0].outcome == "HandshakeTimeout"


async def test_who_cancels_a_call_says_nothing_of_an_address(client, dns, serve):
    """It is no slower than others for that."""
    server = await serve(ok)
    dns.zone["two.test"] = Name(a=("127.0.0.1", "127.0.0.2"))
    for turns in range(60):
        call = asyncio.create_task(client.get(f"http://two.test:{server.port}"))
        for _ in range(turns):
            await asyncio.sleep(0)
        call.cancel()
        await asyncio.wait([call])
        assert ("127.0.0.1", server.port) not in client.engine.wire.addresses._bad


async def test_refused_is_said_at_once(client, dns):
    """Though the other family is still to be heard of: it has 50 ms once all others have failed."""
    dns.zone["closed.test"] = Name(a=("127.0.0.1",), delay_aaaa=1.9)
    began_at = asyncio.get_running_loop().time()
    with pytest.raises(seawall.DialError, match="connection refused"):
        await client.get("http://closed.test:1/")
    assert asyncio.get_running_loop().time() - began_at < 1.5


async def test_connections_outlive_a_silent_dns(keeping, dns, serve, clock):
    """The first to ask waits 0.2 s at most, and nobody is refused."""
    server = await serve(ok)
    dns.zone["quiet.test"] = Name(a=("127.0.0.1",), ttl=1)
    url = f"http://quiet.test:{server.port}"
    await keeping.get(url)
    dns.zone["quiet.test"].drop = -1
    for ahead in (2.0, 2.5, 30.0, 100.0, 10_000.0):
        clock.ahead = ahead
        response = await keeping.get(url)
        assert response.extensions["seawall"][0].is_reused
    assert server.connections == 1


async def test_connections_grow_old(stack, dns, serve, clock):
    """Past max_connection_age one is used no more, however lively."""
    server = await serve(ok)
    made = seawall.AsyncClient(max_connection_age=60.0, limits=httpx.Limits(keepalive_expiry=None))
    client = await stack.enter_async_context(made)
    for ahead, connections in ((0.0, 1), (59.0, 1), (61.0, 2), (100.0, 2), (122.0, 3)):
        clock.ahead = ahead
        await client.get(server.url)
        assert server.connections == connections
    with pytest.raises(ValueError, match="max_connection_age"):
        seawall.AsyncClient(max_connection_age=0)


async def test_listeners_hear_of_names(stack, dns, serve, clock):
    """That a lookup failed, and that an old answer was used."""
    server = await serve(ok)
    events = []
    limits = httpx.Limits(max_keepalive_connections=0)
    client = await stack.enter_async_context(
        seawall.AsyncClient(dns=settings(dns), limits=limits, observers=[events.append])
    )
    dns.zone["fading.test"] = Name(a=("127.0.0.1",), ttl=1)
    await client.get(f"http://fading.test:{server.port}")
    dns.zone["fading.test"] = Name(rcode="SERVFAIL")
    clock.ahead = 10.0
    response = await client.get(f"http://fading.test:{server.port}")
    assert response.extensions["seawall"][0].source == "stale"
    told = [event for event in events if isinstance(event, seawall.events.ResolverFailed | seawall.events.StaleServed)]
    assert {type(event) for event in told} == {seawall.events.ResolverFailed, seawall.events.StaleServed}
    assert {event.host for event in told} == {"fading.test"}
    assert seawall.events.StaleServed("fading.test", (seawall.dns.Address("127.0.0.1"),)) in told


async def test_stale_answer_never_outlives_its_denial(client, dns, serve, clock):
    """Once DNS says that the name is gone, it is gone, though an old address is known."""
    server = await serve(ok)
    dns.zone["gone.test"] = Name(a=("127.0.0.1",), ttl=1)
    url = f"http://gone.test:{server.port}"
    await client.get(url)
    del dns.zone["gone.test"]
    clock.ahead = 2.0
    with pytest.raises(seawall.errors.NameNotFound):
        await client.get(url)
    dns.zone["gone.test"] = Name(drop=-1)
    clock.ahead = 10.0
    with pytest.raises(seawall.errors.ResolveTimeout):
        await client.get(url)


async def test_denial_of_one_family_ends_both(client, dns, serve, clock, monkeypatch):
    """NXDOMAIN for A, silence for AAAA: the old AAAA is not stale, it is gone."""
    monkeypatch.setattr(race, "LATE_GRACE", 30.0)  # for A may come after ::1 has refused
    dns.zone["gone.test"] = Name(a=("127.0.0.1",), aaaa=("::1",), ttl=1)
    server = await serve(ok)
    await client.get(f"http://gone.test:{server.port}")
    await settled(client)
    original = dns._answer
    del dns.zone["gone.test"]
    dns._answer = lambda query, name, kind, entry: b"" if kind == "AAAA" else original(query, name, kind, entry)
    clock.ahead = 2.0
    with pytest.raises(seawall.errors.NameNotFound):
        await client.get(f"http://gone.test:{server.port}")
    clock.ahead = 4.0
    with pytest.raises(seawall.errors.NameNotFound):
        await client.get(f"http://gone.test:{server.port}")


async def test_localhost_and_literals_need_no_server(client, dns, serve):
    """/etc/hosts and addresses are known without asking."""
    server = await serve(ok)
    assert (await client.get(f"http://localhost:{server.port}")).status_code == 200
    assert (await client.get(server.url)).status_code == 200
    assert not dns.queries


async def test_system_resolver(stack, serve, monkeypatch):
    """resolver="system" asks getaddrinfo, in threads of its own."""
    server = await serve(ok)
    client = await stack.enter_async_context(seawall.AsyncClient(resolver="system"))
    assert (await client.get(f"http://localhost:{server.port}")).status_code == 200


async def test_system_resolver_is_the_fallback(stack, serve, monkeypatch):
    """Where no DNS server helps, the system's answer is used: at "auto", the default."""
    server = await serve(ok)
    asked = []

    def getaddrinfo(host, port, family=0, *rest, **more):
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    async def dead(*_, **__):
        raise seawall.errors.ResolverFailure("no server")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr("seawall.dns.cares.CaresResolver.ask", dead)
    client = await stack.enter_async_context(seawall.AsyncClient())
    for _ in range(2):
        assert (await client.get(f"http://vpn.test:{server.port}")).status_code == 200
    assert asked == ["vpn.test"]


async def test_resolver_of_ones_own(stack, serve):
    """Service discovery: any object with resolve() and aclose(); its port is dialled where it names one."""
    server = await serve(ok)

    class Discovery:
        closed = False

        async def resolve(self, host, port, *, family=0):
            return seawall.dns.Answer((seawall.dns.Address("127.0.0.1", server.port),), 30.0, "discovery")

        async def aclose(self):
            self.closed = True

    discovery = Discovery()
    async with seawall.AsyncClient(resolver=discovery) as client:
        response = await client.get("http://orders.service/")
    assert response.status_code == 200
    assert server.requests[0].headers["host"] == "orders.service"
    assert discovery.closed


async def test_resolver_of_ones_own_is_asked_for_each_port(stack, serve):
    """It may answer with ports: two services of one name are two answers."""

    async def first(request: Request) -> None:
        await request.reply(body=b"first")

    async def second(request: Request) -> None:
        await request.reply(body=b"second")

    ports = {80: (await serve(first)).port, 81: (await serve(second)).port}

    class Discovery:
        async def resolve(self, host, port, *, family=0):
            return seawall.dns.Answer((seawall.dns.Address("127.0.0.1", ports[port]),), 30.0, "mine")

        async def aclose(self):
            pass

    client = await stack.enter_async_context(seawall.AsyncClient(resolver=Discovery()))
    bodies = [(await client.get(f"http://svc:{port}/")).text for port in (80, 81, 80)]
    assert bodies == ["first", "second", "first"]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (seawall.dns.Answer((), 1.0, "mine"), seawall.errors.NoAddress),
        (seawall.dns.Answer((seawall.dns.Address("localhost"),), 1.0, "mine"), seawall.errors.ResolverFailure),
        (["127.0.0.1"], seawall.errors.ResolverFailure),
        (KeyError("bug"), seawall.errors.ResolverFailure),
    ],
    ids=["nothing", "a name", "a list", "an exception"],
)
async def test_resolver_of_ones_own_that_is_wrong(stack, answer, error):
    """Its mistakes are the resolver's failure, and a ConnectError."""

    class Wrong:
        async def resolve(self, host, port, *, family=0):
            if isinstance(answer, Exception):
                raise answer
            return answer

        async def aclose(self):
            pass

    client = await stack.enter_async_context(seawall.AsyncClient(resolver=Wrong(), retry=None))
    with pytest.raises(httpx.ConnectError) as caught:
        await client.get("http://orders.service/")
    assert isinstance(caught.value, error)


@pytest.mark.parametrize(
    "host", ["a" * 64 + ".test", ".".join(["abcdefg"] * 40), "a..b", "a b"], ids=["label", "name", "empty", "space"]
)
async def test_names_that_cannot_be(client, dns, host):
    """Refused before anybody is asked; where httpx refuses the URL itself, that stands."""
    with pytest.raises((httpx.ConnectError, httpx.InvalidURL)):
        await client.get(f"http://{host}/")
    assert not dns.queries


async def test_dead_address_costs_nothing(client, dns, serve):
    """Two addresses, one refuses: the other is dialled at once, and first from then on."""
    server = await serve(ok, host="127.0.0.2")
    dns.zone["two.test"] = Name(a=("127.0.0.3", "127.0.0.2"))
    for _ in range(3):
        response = await client.get(f"http://two.test:{server.port}")
        assert response.extensions["seawall"][0].address == seawall.dns.Address("127.0.0.2")
    assert len(server.requests) == 3


async def test_silent_address_costs_a_quarter_of_a_second(client, dns, serve):
    """RFC 8305: the next attempt starts after 250 ms, and the loser leaves nothing behind."""
    server = await serve(ok, host="127.0.0.2")
    with socket.create_server(("127.0.0.3", server.port), backlog=0) as full:
        waiting = [socket.socket() for _ in range(4)]
        for sock in waiting:
            sock.setblocking(False)
            sock.connect_ex(full.getsockname())
        dns.zone["two.test"] = Name(a=("127.0.0.3", "127.0.0.2"))
        response = await client.get(f"http://two.test:{server.port}")
        for sock in waiting:
            sock.close()
    assert response.status_code == 200
    (attempt,) = response.extensions["seawall"]
    assert 0.2 < attempt.duration < 2.0


async def test_late_addresses_join_the_race(client, dns, serve, monkeypatch):
    """What DNS says after the dialling began is dialled too: the call needs no retry."""
    server = await serve(ok)
    monkeypatch.setattr(race, "LATE_GRACE", 3.0)  # for ::1, where nobody listens, refuses at once
    dns.zone["late.test"] = Name(a=("127.0.0.1",), aaaa=("::1",), delay_a=0.3)
    response = await client.get(f"http://late.test:{server.port}")
    (attempt,) = response.extensions["seawall"]
    assert [(each.address.ip, each.outcome) for each in attempt.dials] == [
        ("::1", "connection refused"),
        ("127.0.0.1", "connected"),
    ]


async def test_late_addresses_are_guarded(stack, dns, serve):
    """Those too."""
    server = await serve(ok)
    dns.zone["late.test"] = Name(a=("127.0.0.1",), aaaa=("::1",), delay_a=0.3)
    client = await stack.enter_async_context(
        seawall.AsyncClient(dns=settings(dns), guard=seawall.Guard(allow=["::1"]), retry=None)
    )
    with pytest.raises(seawall.DialError) as caught:
        await client.get(f"http://late.test:{server.port}")
    assert [each.address.ip for each in caught.value.attempts[0].dials] == ["::1"]
    assert server.connections == 0


DENIED = {
    "nx": seawall.errors.NameNotFound,
    "nodata": seawall.errors.NoAddress,
    "cnamedangling": seawall.errors.NameNotFound,
}
FAILS = ("servfail", "refused", "formerr", "notimp", "drop", "tcdrop", "tcrefuse", "badid", "badq", "garbage", "short")
HARMLESS = ("ok", "tc", "spoof", "dropfirst-1", "cname-3", "flip-1", "rotate-3", "ttl-0", "noedns", "case", "delay-100")


async def test_every_fault_of_dns_has_its_error(stack, dns, serve):
    """All are ConnectErrors that name the host and say how long it took, or no error at all; together they take 2 s."""
    server = await serve(ok)
    faults = (*DENIED, *FAILS, *HARMLESS)
    for fault in faults:
        dns.zone[f"{fault}.test"] = Name(a=("127.0.0.1",), faults="" if fault == "ok" else fault)

    async def ask(fault: str) -> httpx.Response:
        """By a client, and a channel, of its own: garbage may hit another question."""
        async with seawall.AsyncClient(dns=settings(dns, timeout=1.5), retry=None) as client:
            return await client.get(f"http://{fault}.test:{server.port}")

    results = await asyncio.gather(*map(ask, faults), return_exceptions=True)
    for fault, result in zip(faults, results, strict=True):
        if fault in HARMLESS:
            assert isinstance(result, httpx.Response), (fault, result)
            continue
        expected = DENIED.get(fault, seawall.errors.ResolverFailure | seawall.errors.ResolveTimeout)
        assert isinstance(result, expected), (fault, result)
        assert isinstance(result, httpx.ConnectError | httpx.ConnectTimeout)
        assert f"{fault}.test" in str(result)
        assert result.attempts[0].duration > 0


async def test_load_is_spread(client, dns, serve):
    """Over a name's addresses, whatever order the name server has them in."""
    server = await serve(ok)
    other = await serve(ok, host="127.0.0.2", port=server.port)
    dns.zone["many.test"] = Name(a=("127.0.0.1", "127.0.0.2"))
    for _ in range(10):
        await client.get(f"http://many.test:{server.port}")
    assert (server.connections, other.connections) == (5, 5)


async def test_each_dial_is_in_the_history(client, dns, serve):
    """Whom, when, how long and what came of it; and where the addresses came from."""
    server = await serve(ok, host="127.0.0.2")
    dns.zone["half.test"] = Name(a=("127.0.0.3", "127.0.0.2"))
    response = await client.get(f"http://half.test:{server.port}")
    (attempt,) = response.extensions["seawall"]
    assert attempt.source == "dns"
    assert [(each.address.ip, each.outcome) for each in attempt.dials] == [
        ("127.0.0.3", "connection refused"),
        ("127.0.0.2", "connected"),
    ]
    assert all(0 <= each.at <= attempt.duration and each.duration >= 0 for each in attempt.dials)


async def test_all_addresses_dead(client, dns):
    """Every cause is kept."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    dns.zone["two.test"] = Name(a=("127.0.0.3", "127.0.0.2"))
    with pytest.raises(httpx.ConnectError, match=r"127\.0\.0\.3, 127\.0\.0\.2") as caught:
        await client.get(f"http://two.test:{port}")
    assert isinstance(caught.value.__cause__, ExceptionGroup)
    assert len(caught.value.__cause__.exceptions) == 2


async def test_retry_dials_the_other_address(stack, dns, serve):
    """One address takes connections and breaks them; the retry goes to the other."""

    async def reset(request: Request) -> None:
        request.reset()

    bad = await serve(reset, host="127.0.0.3")
    good = await serve(ok, host="127.0.0.2", port=bad.port)
    dns.zone["two.test"] = Name(a=("127.0.0.3", "127.0.0.2"))
    client = await stack.enter_async_context(seawall.AsyncClient(dns=settings(dns)))
    response = await client.get(f"http://two.test:{good.port}")
    assert [attempt.address.ip for attempt in response.extensions["seawall"]] == ["127.0.0.3", "127.0.0.2"]
