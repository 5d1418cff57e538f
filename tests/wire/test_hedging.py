"""Two attempts of one call on real sockets: the loser's connection is never used again, and nothing is left."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator

import httpx
import pytest

import seawall
from seawall.testing import FaultServer, Request
from seawall.testing.cancel import cancel_everywhere
from seawall.testing.dns import Name
from seawall.testing.leaks import held, no_leaks
from seawall.wire.connector import Wire

pytestmark = [pytest.mark.anyio, pytest.mark.each_front]

SOON = seawall.Hedge(after=0.01, max_extra=1.0)
PORTS = {"http": {}, "tls": {}, "h2": {"http2": True}, "h2:clear": {"http1": False, "http2": True}}


@pytest.fixture(scope="module")
def server() -> Iterator[FaultServer]:
    with FaultServer() as server:
        for step in ("tls", "h2", "h2:clear"):
            server.listen(step)
        yield server


def made(server: FaultServer, port: str, **settings: object) -> seawall.AsyncClient:
    verify = server.certificates.client_context() if port in ("tls", "h2") else True
    return seawall.AsyncClient(verify=verify, hedge=SOON, **PORTS[port], **settings)


def at(server: FaultServer, port: str, key: str, *steps: str) -> str:
    url = httpx.URL(server.script(key, *steps))
    return str(
        url
        if port == "http"
        else url.copy_with(scheme=server.ports[port].url.partition(":")[0], port=server.ports[port].port)
    )


@pytest.mark.parametrize("port", PORTS)
async def test_the_second_attempt_wins_and_the_first_leaves_nothing(server, port):
    """HTTP/1.1: its connection is closed. HTTP/2: its stream is reset, and the connection serves on."""
    async with made(server, port) as client:
        await client.get(at(server, port, "warm", "ok"), extensions=seawall.options(hedge=None))
        response = await client.get(at(server, port, "slow", "hang", "ok:100"))
        history = seawall.history(response)
        assert [(each.number, each.outcome) for each in history] == [(1, "superseded"), (2, "200")]
        assert len(response.content) == 100
        response = await client.get(at(server, port, "next", "ok:70"), extensions=seawall.options(hedge=None))
        assert (len(response.content), response.extensions["seawall"][0].is_reused) == (70, True)
        assert client.stats().connections == 1
        assert held(client.stats()) == []


@pytest.mark.parametrize("port", PORTS)
async def test_a_first_attempt_that_wins_leaves_the_second_nowhere(server, port):
    async with made(server, port) as client:
        response = await client.get(at(server, port, "late", "delay:0.2", "hang"))
        assert [each.outcome for each in seawall.history(response)] == ["superseded", "200"]
        await asyncio.sleep(0)
        assert held(client.stats()) == []
        assert client.stats().connections == 1


async def test_the_second_attempt_goes_to_another_address(stack, dns, serve):
    """One of two addresses hangs."""

    async def hang(request: Request) -> None:
        await request.hang()

    async def ok(request: Request) -> None:
        await request.reply(200)

    slow = await serve(hang, host="127.0.0.2")
    await serve(ok, host="127.0.0.3", port=slow.port)
    dns.zone["two.test"] = Name(a=("127.0.0.2", "127.0.0.3"))
    client = await stack.enter_async_context(
        seawall.AsyncClient(dns=seawall.DNS(nameservers=(dns.address,)), hedge=SOON)
    )
    hedged = 0
    for _ in range(20):
        history = seawall.history(await client.get(f"http://two.test:{slow.port}"))
        assert str(history[-1].address.ip) == "127.0.0.3"
        hedged += len(history) > 1
    assert hedged >= 1
    assert hedged <= 6  # an address that loses is dialled last, and is ejected if it goes on


async def test_an_address_whose_attempt_failed_is_blamed_once(stack, dns, serve, monkeypatch):
    """Not by the ledger, and by the race again."""
    requests: list[Request] = []
    blamed: list[object] = []

    async def answer(request: Request) -> None:
        requests.append(request)
        if len(requests) == 1:
            await asyncio.sleep(0.03)
            await request.reply(503)
        else:
            await asyncio.sleep(0.06)
            await request.reply(200)

    one = await serve(answer, host="127.0.0.2")
    await serve(answer, host="127.0.0.3", port=one.port)
    dns.zone["two.test"] = Name(a=("127.0.0.2", "127.0.0.3"))
    monkeypatch.setattr(Wire, "blame", lambda self, origin, extensions, route, attempt: blamed.append(attempt.address))
    client = await stack.enter_async_context(
        seawall.AsyncClient(dns=seawall.DNS(nameservers=(dns.address,)), hedge=SOON)
    )
    first, second = seawall.history(await client.get(f"http://two.test:{one.port}"))
    assert (first.outcome, second.outcome, blamed) == ("503", "200", [first.address])


@pytest.mark.parametrize("port", ["http", "h2:clear"])
async def test_cancelled_everywhere_nothing_is_left(server, port):
    """At each await of both, whichever wins."""
    retry = seawall.Retry(backoff=0, throttled_backoff=0)
    async with no_leaks(grace=60), made(server, port, breaker=None, budget=None, retry=retry) as client:
        for steps in (("hang", "ok:1000"), ("delay:0.002", "hang"), ("delay:0.002+close", "ok")):

            async def call(steps: tuple[str, ...] = steps) -> None:
                url = at(server, port, "any", *steps)
                hedge = seawall.Hedge(after=0.001, max_extra=1.0)  # short, because each turn of the loop is a point
                await client.get(url, timeout=5, extensions=seawall.options(hedge=hedge))

            async def before() -> None:  # its answer ends the ghosts of the calls that were cancelled
                await client.get(at(server, port, "before", "ok"))

            async def after() -> None:
                await asyncio.sleep(0)
                assert held(client.stats()) == []

            assert await cancel_everywhere(call, before=before, after=after) > 3


async def test_a_thousand_calls_see_no_bytes_of_others_and_no_post_is_sent_twice(stack, serve):
    """Answers come after 0 to 30 ms; two fifths of the calls are left by their callers."""
    rng = random.Random(3)
    posted: list[str] = []

    async def moody(request: Request) -> None:
        if request.method == "POST":
            posted.append(request.target)
        await asyncio.sleep(rng.choice([0, 0, 0.005, 0.03]))
        await request.reply(200, request.target.encode())

    server = await serve(moody)
    hedge = seawall.Hedge(after=0.004, max_extra=1.0)
    client = await stack.enter_async_context(seawall.AsyncClient(hedge=hedge, budget=None, breaker=None, retry=None))

    async def call(number: int) -> None:
        method = "POST" if number % 5 == 0 else "GET"
        try:
            async with asyncio.timeout(0.02 if number % 5 in (1, 2) else 10):
                response = await client.request(method, f"{server.url}/{number}", content=b"x" * (method == "POST"))
                assert response.text == f"/{number}"
        except TimeoutError:
            pass

    for begin in range(0, 1000, 50):
        await asyncio.gather(*(call(number) for number in range(begin, begin + 50)))
    assert client.stats().totals.attempts["hedge"] > 50
    assert len(posted) == len(set(posted)) == 200
    await asyncio.sleep(0)
    assert held(client.stats()) == []
