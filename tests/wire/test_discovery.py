"""Where services are found without asking for an address: maps, functions, SRV records, one after the other."""

from __future__ import annotations

from collections import Counter

import httpx
import pytest

import seawall
from seawall.dns import ChainResolver, FunctionResolver, SRVResolver, StaticResolver
from seawall.testing import Request
from seawall.testing.dns import Name

pytestmark = pytest.mark.anyio


async def ok(request: Request) -> None:
    await request.reply()


async def ask(stack, resolver, url: str, **settings) -> httpx.Response:
    client = await stack.enter_async_context(seawall.AsyncClient(resolver=resolver, retry=None, **settings))
    return await client.get(url)


async def test_map(stack, serve):
    """By host and port, by host, by suffix, by star; the longest match counts."""
    server, other = await serve(ok), await serve(ok, host="127.0.0.2")
    names = StaticResolver(
        {
            "a.test": f"127.0.0.1:{server.port}",
            "a.test:81": [f"127.0.0.2:{other.port}"],
            "*.b.test": (seawall.dns.Address("127.0.0.1", server.port),),
            "x.b.test": f"127.0.0.2:{other.port}",
        }
    )
    for url in ("http://a.test/", "http://A.test:80/", "http://y.b.test", "http://z.y.b.test"):
        assert (await ask(stack, names, url)).extensions["seawall"][0].address.ip == "127.0.0.1"
    for url in ("http://a.test:81/", "http://x.b.test/"):
        response = await ask(stack, names, url)
        assert response.extensions["seawall"][0].address.ip == "127.0.0.2"
        assert response.extensions["seawall"][0].source == "static"
    for url in ("http://b.test/", "http://c.test/"):
        with pytest.raises(seawall.errors.NameNotFound, match="not in the map"):
            await ask(stack, names, url)


@pytest.mark.parametrize("address", ["localhost", "10.0.0.1:0", "10.0.0.1:99999", "10.0.0.1:x", "", "[::1]:", "1.2.3"])
def test_map_of_nonsense(address):
    """Refused when it is made."""
    with pytest.raises(ValueError, match="an address must look like"):
        StaticResolver({"a.test": address})


async def test_function(stack, serve):
    """Async or not; nothing found, and what it raises, are what they are."""
    server = await serve(ok)
    calls = Counter()

    def find(host: str, port: int):
        calls[host] += 1
        return {"one.test": f"127.0.0.1:{server.port}", "none.test": None, "empty.test": []}[host]

    async def find_later(host: str, port: int):
        return find(host, port)

    for function in (find, find_later):
        client = await stack.enter_async_context(seawall.AsyncClient(resolver=FunctionResolver(function), retry=None))
        for _ in range(3):
            assert (await client.get("http://one.test/")).status_code == 200
        for name in ("none.test", "empty.test"):
            with pytest.raises(seawall.errors.NoAddress):
                await client.get(f"http://{name}/")
        with pytest.raises(seawall.errors.ResolverFailure, match="KeyError"):
            await client.get("http://bug.test/")
    assert calls["one.test"] == 2
    with pytest.raises(TypeError, match="callable"):
        FunctionResolver("10.0.0.1")
    with pytest.raises(ValueError, match="ttl"):
        FunctionResolver(find, ttl=-1)


async def test_chain(stack, dns, serve):
    """What the map doesn't have is DNS's; what fails is not asked of the next."""
    server = await serve(ok)
    dns.zone["real.test"] = Name(a=("127.0.0.1",))

    def fails(host: str, port: int):
        if host == "broken.test":
            raise seawall.errors.ResolverFailure("down")
        raise seawall.errors.NameNotFound(f"{host}: not here")

    names = ChainResolver(StaticResolver({"mine.test": "127.0.0.1"}), FunctionResolver(fails), "cares")
    client = await stack.enter_async_context(
        seawall.AsyncClient(resolver=names, retry=None, dns=seawall.DNS(nameservers=(dns.address,)))
    )
    for name, source in (("mine.test", "static"), ("real.test", "dns")):
        response = await client.get(f"http://{name}:{server.port}/")
        assert response.extensions["seawall"][0].source == source
    assert not dns.queries.keys() & {("mine.test", "A"), ("broken.test", "A")}
    with pytest.raises(seawall.errors.ResolverFailure, match="down"):
        await client.get(f"http://broken.test:{server.port}/")
    with pytest.raises(seawall.errors.NameNotFound):
        await client.get(f"http://nowhere.test:{server.port}/")
    assert client.stats().names["real.test"].misses >= 1
    with pytest.raises(ValueError, match="at least one"):
        ChainResolver()


async def test_srv(stack, dns, serve):
    """Ports of their own, the best priority, and in it by weight; a target without an address is left out."""
    servers = [await serve(ok) for _ in range(3)]
    dns.zone["_http._tcp.orders.test"] = Name(
        srv=(
            (10, 30, servers[0].port, "one.test"),
            (10, 10, servers[1].port, "two.test"),
            (20, 0, servers[2].port, "one.test"),
            (5, 0, 1, "gone.test"),
        )
    )
    dns.zone["one.test"] = dns.zone["two.test"] = Name(a=("127.0.0.1",))
    resolver = SRVResolver("_http._tcp.{host}", nameservers=[dns.address])
    limits = httpx.Limits(max_keepalive_connections=0)
    client = await stack.enter_async_context(seawall.AsyncClient(resolver=resolver, limits=limits, retry=None))
    sources = [(await client.get("http://orders.test/")).extensions["seawall"][0].source for _ in range(100)]
    assert sources == ["srv", *["cache"] * 99]
    first, second, third = (server.connections for server in servers)
    assert first + second == 100
    assert 55 <= first <= 92
    assert third == 0


async def test_srv_fails_over_to_the_next_priority(stack, dns, serve):
    """Where those of the best refuse."""
    server = await serve(ok)
    dns.zone["_http._tcp.orders.test"] = Name(srv=((1, 0, 1, "one.test"), (2, 0, server.port, "one.test")))
    dns.zone["one.test"] = Name(a=("127.0.0.1",))
    resolver = SRVResolver("_http._tcp.orders.test", nameservers=[dns.address])
    response = await ask(stack, resolver, "http://anything.test/")
    assert [dial.outcome for dial in response.extensions["seawall"][0].dials] == ["connection refused", "connected"]


async def test_srv_decides_whom_to_ask(stack, dns, serve):
    """Its priorities and weights, however much is under way: load counts among equals only."""
    servers = [await serve(ok) for _ in range(2)]
    dns.zone["_http._tcp.orders.test"] = Name(
        srv=((1, 0, servers[0].port, "one.test"), (2, 0, servers[1].port, "one.test"))
    )
    dns.zone["one.test"] = Name(a=("127.0.0.1",))
    resolver = SRVResolver("_http._tcp.{host}", nameservers=[dns.address])
    client = await stack.enter_async_context(seawall.AsyncClient(resolver=resolver, retry=None))
    origin, addresses = seawall.Origin("http", "orders.test", 80), client.engine.wire.addresses
    await client.get("http://orders.test/")
    (connection,) = client.engine.wire.pool.connections
    assert connection.load is None
    addresses.load(origin, connection.address).in_flight = 100
    for _ in range(10):
        await client.get("http://orders.test/")
    assert [server.connections for server in servers] == [1, 0]


async def test_srv_that_is_none(stack, dns):
    """No such name, no such record, a service that isn't to be had (RFC 2782), a name that can't be."""
    dns.zone["_a._tcp.test"] = Name(a=("127.0.0.1",))
    dns.zone["_off._tcp.test"] = Name(srv=((0, 0, 0, "."),))
    for service, error in (
        ("_no._tcp.test", seawall.errors.NameNotFound),
        ("_a._tcp.test", seawall.errors.NoAddress),
        ("_off._tcp.test", seawall.errors.NoAddress),
    ):
        with pytest.raises(error):
            await ask(stack, SRVResolver(service, nameservers=[dns.address]), "http://x.test/")
    with pytest.raises(ValueError, match="must look like"):
        SRVResolver("orders.example.com")


async def test_srv_target_that_is_silent(stack, dns, serve):
    """Is left out: it doesn't take the others with it."""
    server = await serve(ok)
    dns.zone["_http._tcp.test"] = Name(srv=((1, 0, 1, "mute.test"), (1, 0, server.port, "one.test")))
    dns.zone["one.test"] = Name(a=("127.0.0.1",))
    dns.zone["mute.test"] = Name(a=("127.0.0.1",), drop=-1)
    resolver = SRVResolver("_http._tcp.test", nameservers=[dns.address])
    assert (await ask(stack, resolver, "http://x.test/")).status_code == 200


@pytest.mark.parametrize(
    "answer",
    [
        seawall.dns.Answer((seawall.dns.Address("127.0.0.1", 70_000),), None, "mine"),
        seawall.dns.Answer((seawall.dns.Address("127.0.0.1"),), None, "mine", (seawall.dns.Rank(1, 1, 0),) * 2),
    ],
)
async def test_resolver_that_is_wrong(stack, answer):
    """An error of ours that says so, whatever it gives."""
    with pytest.raises(seawall.errors.ResolverFailure, match="the resolver gave"):
        await ask(stack, FunctionResolver(lambda host, port: answer), "http://x.test/")


async def test_chain_in_a_chain(stack, serve):
    """As if its resolvers were in the outer one, so the client knows whom "cares" means."""
    server = await serve(ok)
    names = ChainResolver(StaticResolver({}), ChainResolver(StaticResolver({}), "cares"))
    assert (await ask(stack, names, f"http://localhost:{server.port}/")).status_code == 200


@pytest.mark.parametrize(
    "together",
    [
        ChainResolver,
        lambda *each: StaticResolver(dict(zip("ab", each, strict=True))),
        lambda *each: StaticResolver({"a.test": ChainResolver(*each)}),
    ],
)
async def test_all_are_closed(together):
    """Though one of them fails at it."""
    closed = []

    class Mine(StaticResolver):
        async def aclose(self) -> None:
            closed.append(self)
            raise OSError("can't")

    first, second = Mine({}), Mine({})
    client = seawall.AsyncClient(resolver=together(first, second))
    with pytest.raises(OSError, match="can't"):
        await client.aclose()
    assert set(closed) == {first, second}
