"""The pool where the cap or descriptors bind, and what a failure says of idle connections; on real sockets."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys

import httpx
import pycares
import pytest

import seawall
from seawall.config import Limits
from seawall.dns.cares import CaresResolver
from seawall.dns.questions import ECONNREFUSED
from seawall.testing import FaultProcess, Name, Request, no_file_descriptors

pytestmark = pytest.mark.anyio


async def test_host_that_hangs_takes_no_connection_of_a_healthy_one(stack, serve):
    """It holds all slots but one, and more of its calls wait; the healthy host is dialled once."""

    async def hang(request: Request) -> None:
        await request.hang()

    async def answer(request: Request) -> None:
        await request.reply()

    bad, good = await serve(hang), await serve(answer)
    client = await stack.enter_async_context(seawall.AsyncClient(limits=httpx.Limits(max_connections=4), retry=None))
    await client.get(good.url)
    calls = [asyncio.create_task(client.get(bad.url, timeout=None)) for _ in range(8)]
    while len(bad.requests) < 3 or not client.engine.slots.waiting:
        await asyncio.sleep(0)
    for _ in range(50):
        assert (await client.get(good.url)).status_code == 200
    assert (good.connections, len(bad.requests)) == (1, 3)
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)


@pytest.mark.parametrize(("limits", "left"), [({"max_keepalive_connections": 2}, 2), ({"keepalive_expiry": 0}, 0)])
async def test_limits_on_idle_connections_are_the_clients(stack, serve, limits, left):
    """Those that httpx has, of all origins together."""
    together = asyncio.Barrier(5)

    async def handler(request: Request) -> None:
        await together.wait()
        await request.reply()

    servers = [await serve(handler) for _ in range(5)]
    client = await stack.enter_async_context(seawall.AsyncClient(limits=httpx.Limits(**limits)))
    await asyncio.gather(*(client.get(server.url) for server in servers))
    for _ in range(3):
        await asyncio.sleep(0)
    assert client.stats().connections == left


async def test_read_timeout_says_nothing_of_other_connections(stack, serve):
    """One slow answer on a connection that was used before: the idle ones of the origin stay."""
    together = asyncio.Barrier(5)

    async def handler(request: Request) -> None:
        if request.target == "/slow":
            await request.hang()
        await together.wait()
        await request.reply()

    server = await serve(handler)
    client = await stack.enter_async_context(seawall.AsyncClient(retry=None))
    for turn in range(2):
        await asyncio.gather(*(client.get(server.url) for _ in range(5)))
        assert server.connections == 5 + turn
        if turn == 0:
            with pytest.raises(httpx.ReadTimeout):
                await client.get(f"{server.url}/slow", timeout=httpx.Timeout(5.0, read=0.05))
            (origin,) = client.stats().origins.values()
            assert origin.idle == 4


async def test_stale_connection_says_that_the_others_are(stack, serve):
    """The server closed one before a byte of its answer, so the idle ones of the origin are closed too."""
    together = asyncio.Barrier(5)

    async def handler(request: Request) -> None:
        if request.target == "/close":
            request.close()
            return
        await together.wait()
        await request.reply()

    server = await serve(handler)
    client = await stack.enter_async_context(seawall.AsyncClient(retry=None))
    await asyncio.gather(*(client.get(server.url) for _ in range(5)))
    with pytest.raises(httpx.RemoteProtocolError):
        await client.get(f"{server.url}/close")
    assert client.stats().connections == 0


async def test_another_transport_is_given_a_slot_and_no_connection(stack, serve):
    """Both reach the same origin, and one slot is all there is: none is lost, and none is given back twice."""
    started, reply = asyncio.Event(), asyncio.Event()

    async def handler(request: Request) -> None:
        started.set()
        await reply.wait()
        await request.reply(body=b"ours")

    server = await serve(handler)
    other = httpx.MockTransport(lambda request: httpx.Response(200, text="other"))
    client = await stack.enter_async_context(
        seawall.AsyncClient(mounts={"ws://": other}, limits=httpx.Limits(max_connections=1), retry=None)
    )
    slots = client.engine.slots
    first = asyncio.create_task(client.get(server.url))
    await started.wait()
    second = asyncio.create_task(client.get(server.url.replace("http", "ws")))
    while not slots.waiting:
        await asyncio.sleep(0)
    reply.set()
    assert [(await each).text for each in (first, second)] == ["ours", "other"]
    assert (slots.in_use, client.stats().connections) == (0, 0)
    responses = await asyncio.gather(*(client.get(server.url) for _ in range(2)))
    assert [response.text for response in responses] == ["ours", "ours"]
    assert slots.in_use == client.stats().connections == 1


@pytest.mark.parametrize("asks_dns", [False, True])
async def test_idle_connections_are_given_up_where_no_descriptor_is_left(stack, dns, asks_dns):
    """The oldest first, for sockets of names and of connections: every call is good, and the newest stay."""
    for number in range(35):
        dns.zone[f"h{number}.test"] = Name(a=("127.0.0.1",))
    resolver = seawall.dns.StaticResolver({"*.test": "127.0.0.1"})
    settings = {"dns": seawall.DNS(nameservers=(dns.address,))} if asks_dns else {"resolver": resolver}
    server = stack.enter_context(FaultProcess())
    url = server.url.replace("127.0.0.1", "h{}.test") + "/x/ok"
    client = await stack.enter_async_context(seawall.AsyncClient(retry=None, **settings))
    for number in range(30):
        await client.get(url.format(number))
    with no_file_descriptors():
        responses = [await client.get(url.format(30 + number)) for number in range(5)]
    assert [response.status_code for response in responses] == [200] * 5
    states = list(client.stats().origins.values())
    kept = client.stats().connections
    assert [state.idle for state in states] == [0] * (35 - kept) + [1] * kept
    assert kept >= (5 if asks_dns else 28)


WITHOUT = """
import asyncio, json, sys, httpx
import seawall
from seawall.testing import no_file_descriptors

class Imports:
    def __init__(self): self.names = []
    def find_spec(self, name, path=None, target=None): self.names.append(name)

async def main(is_short, http2, resolver, urls):
    imports, ends = Imports(), []
    static = seawall.dns.StaticResolver({"two.test": ["127.0.0.1", "127.0.0.2"]})
    settings = {"retry": seawall.Retry(backoff=0, throttled_backoff=0, max_attempts=2), "http2": http2}
    async with seawall.AsyncClient(resolver=static if resolver == "static" else resolver, **settings) as client:
        for url in urls:
            timeout = 0.5 if url.startswith("https") else httpx.Timeout(60, read=0.5 if "hang" in url else 60)
            sys.meta_path.insert(0, imports)
            try:
                if is_short:
                    with no_file_descriptors():
                        response = await client.get(url, timeout=timeout)
                else:
                    response = await client.get(url, timeout=timeout)
                ends.append([str(response.status_code), ""])
            except Exception as error:
                ends.append([type(error).__name__, str(error)])
            sys.meta_path.remove(imports)
    print(json.dumps([ends, imports.names]))

asyncio.run(main(*json.loads(sys.argv[1])))
"""


def alone(is_short: bool, http2: bool, resolver: str, *urls: str) -> tuple[list[list[str]], list[str]]:
    """How calls end in a process that has imported seawall and made a client; and what they imported."""
    arguments = json.dumps([is_short, http2, resolver, urls])
    done = subprocess.run([sys.executable, "-c", WITHOUT, arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    ends, imports = json.loads(done.stdout)
    return ends, imports


@pytest.mark.parametrize("resolver", ["static", "system", "cares", "auto"])
def test_call_without_a_descriptor_says_what_to_raise(resolver):
    """Whatever is to be opened for it; it ends with an error of ours, because nothing has to be imported for that."""
    urls = ["http://127.0.0.1:9/", "https://127.0.0.1:9/"]
    urls.append("http://two.test:9/" if resolver == "static" else "http://name.example:9/")
    ends, imports = alone(True, False, resolver, *urls)
    assert imports == []
    assert [name for name, _ in ends] == [
        "DialError",
        "DialError",
        "DialError" if resolver == "static" else "ResolverFailure",
    ]
    for _, text in ends:
        assert "too many open files" in text
        assert "raise RLIMIT_NOFILE (ulimit -n), or lower Limits.max_connections" in text


@pytest.mark.parametrize("http2", [False, True])
def test_calls_that_fail_import_nothing(http2):
    """Whatever fails: a module is a file, and there may be no descriptor to read it with."""
    with FaultProcess() as server, FaultProcess() as closed:
        dead = closed.url
        tls = server.listen("tls")
        steps = ["503:d2", "hang", "reset", "close:body", "malformed:not_http", "bomb", "redirect:50"]
        urls = [f"{server.url}/x/{step}" for step in steps] + [
            f"{tls}/x/ok",
            f"{server.url}/x/ok".replace("http", "https"),
        ]
        closed.__exit__()
        ends, imports = alone(False, http2, "static", *urls, dead, dead.replace("127.0.0.1", "two.test"))
    assert imports == []
    assert {name for name, _ in ends} >= {"503", "ReadTimeout", "DialError"}, ends


def test_default_limit_is_half_of_the_descriptors():
    """Of what the process may have when the client is made; a limit of the user's stands."""
    code = """
import resource, httpx, seawall
for limit in (64, 10**6):
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(limit, hard), hard))
    for given in ({}, {"limits": httpx.Limits(max_connections=500)}):
        print(seawall.AsyncClient(**given).engine.limits.max_connections)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["32", "500", "1000", "500"]
    assert Limits.fitting().keepalive_expiry == Limits().keepalive_expiry


@pytest.mark.parametrize("failures", [1, 2])
async def test_question_that_could_not_be_sent_is_sent_again(dns, monkeypatch, failures):
    """Once, because another lookup may have closed a socket since; after that there is another reason."""
    dns.zone["a.test"] = Name(a=("127.0.0.1",))
    left, query = failures, pycares.Channel.query

    def failing(self: pycares.Channel, name: str, kind: int, **more: object) -> None:
        nonlocal left
        if left:
            left -= 1
            raise pycares.AresError(ECONNREFUSED, "Could not contact DNS servers")
        query(self, name, kind, **more)

    monkeypatch.setattr(pycares.Channel, "query", failing)
    resolver = CaresResolver()
    if failures == 1:
        answer = await resolver.ask("a.test", socket.AF_INET, servers=[dns.address])
        assert answer.addresses == (seawall.dns.Address("127.0.0.1"),)
    else:
        with pytest.raises(seawall.errors.ResolverFailure, match="can't be reached"):
            await resolver.ask("a.test", socket.AF_INET, servers=[dns.address])
    await resolver.aclose()
