"""seawall against dnsmasq, a DNS server that others wrote: names to addresses, and what there is none of."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

import seawall
from seawall.dns.cares import CaresResolver
from seawall.origin import Origin
from seawall.testing.dns import DNSServer, Name

from .test_names import ok, settled

DNSMASQ = shutil.which("dnsmasq", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin")
pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(DNSMASQ is None, reason="needs dnsmasq (Debian: apt-get install dnsmasq-base)"),
]
MANY = 60  # addresses; 512 bytes hold 30
CONFIG = """
port={port}
listen-address=127.0.0.1
bind-interfaces
no-resolv
no-hosts
pid-file=
user=root
log-queries
log-facility={log}
local=/test/
host-record=both.test,127.0.0.2,::1,30
host-record=four.test,127.0.0.2,7
host-record=six.test,::1,30
txt-record=empty.test,hello
cname=alias.test,alias2.test,5
srv-host=_http._tcp.test,two.test,8081,20,0
srv-host=_http._tcp.test,four.test,8082,10,5
cname=alias2.test,four.test,600
server=/upstream.test/127.0.0.1#{upstream}
"""


class Dnsmasq:
    """A running one, and its log."""

    def __init__(self, folder: Path, upstream: int) -> None:
        with socket.create_server(("127.0.0.1", 0)) as sock:
            port = sock.getsockname()[1]
        self.address = f"127.0.0.1:{port}"
        self._log = folder / f"{port}.log"
        config = folder / f"{port}.conf"
        text = CONFIG.format(port=port, log=self._log, upstream=upstream)
        many = "".join(f"host-record=many.test,127.0.1.{number},300\n" for number in range(1, MANY + 1))
        config.write_text(text + many)
        self.process = subprocess.Popen([DNSMASQ, "--keep-in-foreground", f"--conf-file={config}"])
        while not self._is_up(port):
            assert self.process.poll() is None, "dnsmasq ended"
            time.sleep(0.02)

    def asked(self, host: str, kind: str = "A") -> int:
        return self._log.read_text().count(f" query[{kind}] {host} ")

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(10)

    def _is_up(self, port: int) -> bool:
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def dnsmasq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dnsmasq]:
    """It answers for itself, and for upstream.test it asks a server of ours."""
    zone = {
        "broken.upstream.test": Name(rcode="SERVFAIL"),
        "refused.upstream.test": Name(rcode="REFUSED"),
        "silent.upstream.test": Name(drop=-1),
        "good.upstream.test": Name(a=("127.0.0.2",), ttl=60),
    }
    with DNSServer(zone) as upstream:
        running = Dnsmasq(tmp_path_factory.mktemp("dnsmasq"), upstream.port)
        try:
            yield running
        finally:
            running.stop()


@pytest.fixture
async def client(stack, dnsmasq, clock) -> seawall.AsyncClient:
    """With a clock that can be put forward, and no connection kept: each call asks for addresses."""
    return await stack.enter_async_context(
        seawall.AsyncClient(
            dns=seawall.DNS(nameservers=(dnsmasq.address,)),
            limits=httpx.Limits(max_keepalive_connections=0),
            deadline=None,
            retry=None,
        )
    )


async def addresses(client: seawall.AsyncClient, host: str) -> list[str]:
    answer = await client.engine.wire.names.resolve(Origin("http", host, 80))
    return [address.ip for address in answer.addresses]


async def test_addresses_of_both_families(client):
    """IPv6 first, then IPv4; a name with one of them has that one."""
    await addresses(client, "both.test")
    await settled(client)  # on a busy machine one family comes too late for the first to ask
    assert await addresses(client, "both.test") == ["::1", "127.0.0.2"]
    assert await addresses(client, "four.test") == ["127.0.0.2"]
    assert await addresses(client, "six.test") == ["::1"]


async def test_request(client, serve):
    """Through an alias of an alias to a server."""
    server = await serve(ok, host="127.0.0.2")
    response = await client.get(f"http://alias.test:{server.port}")
    assert response.extensions["seawall"][0].address == seawall.dns.Address("127.0.0.2")


async def test_upper_case_and_final_dot(client):
    """Names are the same however they are written."""
    assert await addresses(client, "Four.TEST") == await addresses(client, "four.test.") == ["127.0.0.2"]


async def test_ttl_is_the_minimum_over_the_chain(client, dnsmasq, clock):
    """5 s of the first alias, not 600 of the second or 7 of the address."""
    before = dnsmasq.asked("alias.test")
    for ahead, asked in ((0.0, 1), (3.0, 1), (5.1, 2), (8.0, 2), (10.2, 3)):
        clock.ahead = ahead
        assert await addresses(client, "alias.test") == ["127.0.0.2"]
        await settled(client)
        assert dnsmasq.asked("alias.test") - before == asked


async def test_name_that_does_not_exist(client):
    with pytest.raises(httpx.ConnectError, match=r"nowhere\.test") as caught:
        await client.get("http://nowhere.test")
    assert isinstance(caught.value, seawall.errors.NameNotFound)


async def test_name_without_address(client):
    """It has a TXT record only."""
    with pytest.raises(httpx.ConnectError) as caught:
        await client.get("http://empty.test")
    assert isinstance(caught.value, seawall.errors.NoAddress)


async def test_more_addresses_than_a_datagram_holds(client, dnsmasq):
    """The answer is truncated, and asked for again over TCP: all are there."""
    before = dnsmasq.asked("many.test")
    found = await addresses(client, "many.test")
    assert sorted(found) == sorted(f"127.0.1.{number}" for number in range(1, MANY + 1))
    assert dnsmasq.asked("many.test") - before == 2


@pytest.mark.parametrize("host", ["broken.upstream.test", "refused.upstream.test", "unknown.example"])
async def test_failure_of_the_server(client, host):
    """SERVFAIL and REFUSED, of its upstream, and REFUSED of its own: it has no server to ask."""
    with pytest.raises(httpx.ConnectError) as caught:
        await client.get(f"http://{host}")
    assert isinstance(caught.value, seawall.errors.ResolverFailure)


async def test_silent_upstream(dnsmasq, stack):
    """It says nothing as long as its upstream doesn't."""
    settings = seawall.DNS(nameservers=(dnsmasq.address,), timeout=0.3)
    client = await stack.enter_async_context(seawall.AsyncClient(dns=settings, retry=None))
    with pytest.raises(httpx.ConnectTimeout) as caught:
        await client.get("http://silent.upstream.test")
    assert isinstance(caught.value, seawall.errors.ResolveTimeout)


async def test_remaining_ttl_of_a_forwarder(dnsmasq):
    """What it keeps itself it gives out with the seconds that are left; c-ares' own cache answers nothing."""
    resolver, servers = CaresResolver(), (dnsmasq.address,)
    try:
        first = await resolver.ask("good.upstream.test", socket.AF_INET, servers=servers)
        await asyncio.sleep(2.1)
        later = await resolver.ask("good.upstream.test", socket.AF_INET, servers=servers)
    finally:
        await resolver.aclose()
    assert first.ttl <= 60
    assert 0 < later.ttl <= first.ttl - 2
    assert dnsmasq.asked("good.upstream.test") == 2


async def test_stopped_server(client, dnsmasq, serve, clock):
    """While the process hangs its last answer serves, and once it goes on there are new ones."""
    server = await serve(ok, host="127.0.0.2")
    url = f"http://four.test:{server.port}"
    await client.get(url)
    dnsmasq.process.send_signal(signal.SIGSTOP)
    try:
        clock.ahead = 8.0
        assert (await client.get(url)).status_code == 200
        assert client.stats().names["four.test"].stale == 1
    finally:
        dnsmasq.process.send_signal(signal.SIGCONT)
    await settled(client)
    assert (await client.get(url)).status_code == 200
    assert client.stats().names["four.test"].stale == 1


async def test_srv(dnsmasq, stack):
    """Ports and ranks, the best first; the target's TTL is the shorter one."""
    resolver = seawall.dns.SRVResolver("_http._tcp.test", nameservers=[dnsmasq.address])
    stack.push_async_callback(resolver.aclose)
    answer = await resolver.resolve("anything", 80)
    assert answer.addresses == (seawall.dns.Address("127.0.0.2", 8082),)  # two.test has no address
    assert answer.ranks == (seawall.dns.Rank(10, 5, 0),)
    assert answer.ttl is not None
    assert 0 <= answer.ttl <= 7
