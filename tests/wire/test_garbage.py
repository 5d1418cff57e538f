"""
A call that is over leaves no cycle of references behind: errors, connections and bodies go at once.

What is left to the garbage collector piles up in an outage, until a full collection stops the event loop for 50 ms.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import ssl
import uuid
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextvars import ContextVar
from types import FrameType, TracebackType
from typing import Any

import httpx
import pytest

import seawall
from seawall.testing import FaultProcess, Name
from seawall.testing.cancel import cancel_everywhere
from seawall.wire.message import Head
from seawall.wire.progress import Progress

pytestmark = [pytest.mark.anyio, pytest.mark.each_front]

LIMIT = 0.05  # s, of each phase
SETTINGS: dict[str, dict[str, Any]] = {
    "attempts": {"breaker": None},
    "deadline": {"breaker": None, "deadline": 1.6 * LIMIT},
    "breaker open": {"breaker": seawall.Breaker(min_calls=1)},
    "queue": {"breaker": None, "bulkhead": seawall.Bulkhead(max_concurrent=1)},
    "cap": {"breaker": None, "limits": httpx.Limits(max_connections=1)},
}
ANSWERS = {
    "serve": ["ok", "404", "503", "429", "redirect", "lie:close"],
    "tls": ["ok", "lie:close", "truncate"],
    "h2": ["ok", "h2_rst", "h2_goaway", "close"],
}
PORTS = ["refuse", "blackhole", "accept_close", "accept_hang", "accept_garbage", "tls_hang", "tls_close", "tls:expired"]
EVERYWHERE = ["hang", "drip", "hang:body", "close", "reset", "malformed:nul"]  # with all settings
CASES = [(port, step, "attempts") for port, steps in ANSWERS.items() for step in steps]
CASES += [(port, "ok", "attempts") for port in PORTS]
CASES += [("serve", step, settings) for step in EVERYWHERE for settings in SETTINGS]
MINE: ContextVar[object] = ContextVar("mine")


class Thing:
    """Something of a caller's."""


@pytest.fixture(scope="module")
def faults() -> Iterator[FaultProcess]:
    """In a process of its own: what the server leaves is no matter here."""
    with FaultProcess() as server:
        yield server


def made(faults: FaultProcess, **settings: Any) -> seawall.AsyncClient:
    trusted = ssl.create_default_context(cadata=faults.ca())
    fast = seawall.Retry(backoff=0, throttled_backoff=0)
    return seawall.AsyncClient(**{"verify": trusted, "timeout": LIMIT, "deadline": 6 * LIMIT, "retry": fast} | settings)


async def garbage(client: seawall.AsyncClient, url: str, **more: Any) -> list[object]:
    """What of ours, of httpx's, of frames and errors only the collector can free after calls that end in any way."""

    async def call() -> None:
        await asyncio.gather(*(client.request("PUT", url, **more) for _ in range(2)), return_exceptions=True)

    return await left_by(call, client)


async def left_by(call: Callable[[], Awaitable[object]], client: seawall.AsyncClient) -> list[object]:
    gc.freeze()  # what is there already: to look through all of it takes longer than the calls
    try:
        await call()
        gc.collect()
        gc.disable()
        gc.set_debug(gc.DEBUG_SAVEALL)
        for _ in range(2):
            await call()
        await client.aclose()
        for _ in range(10):
            await asyncio.sleep(0)
        gc.collect()
        return [
            thing
            for thing in gc.garbage
            if isinstance(thing, FrameType | TracebackType | BaseException)
            or type(thing).__module__.startswith(("seawall", "httpx", "tenacity"))
        ]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
        gc.unfreeze()


@pytest.mark.parametrize(("port", "step", "settings"), CASES)
async def test_nothing_waits_for_the_collector(faults, port, step, settings):
    url = f"{faults.listen(port)}/x/{step}"
    client = made(faults, follow_redirects=True, http2=port == "h2", **SETTINGS[settings])
    assert await garbage(client, url) == []


@pytest.mark.parametrize("step", ["proxy", "proxy:407", "proxy:502", "proxy:close", "proxy:hang", "socks5", "refuse"])
@pytest.mark.parametrize("port", ["serve", "tls", "tls:expired"])
async def test_nor_through_a_proxy(faults, port, step):
    """Whether it works, refuses, breaks off, hangs, or isn't there."""
    proxy = httpx.URL(faults.listen(step))
    if step == "socks5":
        proxy = proxy.copy_with(scheme="socks5")
    client = made(faults, proxy=str(proxy.copy_with(scheme=proxy.scheme.replace("https", "http"))), breaker=None)
    assert await garbage(client, f"{faults.listen(port)}/x/ok") == []


async def test_nor_where_an_address_hangs(faults, dns):
    """And the other one refuses."""
    url = httpx.URL(faults.listen("blackhole"))
    dns.zone["two.test"] = Name(a=("127.0.0.1", "127.0.0.2"))
    client = made(faults, dns=seawall.DNS(nameservers=(dns.address,)))
    assert await garbage(client, str(url.copy_with(host="two.test"))) == []


CANCELLED = [("serve", "ok"), ("serve", "503"), ("tls", "ok"), ("tls:expired", "ok"), ("h2", "ok"), ("refuse", "ok")]


@pytest.mark.parametrize(("port", "step"), CANCELLED)
async def test_nor_wherever_it_is_cancelled(faults, port, step):
    """Also in the very round of the event loop in which it fails of itself, and before its next attempt."""
    url = f"{faults.listen(port)}/x/{step}"
    client = made(faults, http2=port == "h2", breaker=None, timeout=30.0, deadline=30.0)

    async def call() -> None:
        with contextlib.suppress(httpx.HTTPError):
            await client.put(url)

    async def cancelled() -> None:
        assert await cancel_everywhere(call) > 2

    assert await left_by(cancelled, client) == []


@pytest.mark.parametrize("step", ["ok", "delay:0.01", "delay:0.01+close", "hang"])
@pytest.mark.parametrize("second", ["ok", "close", "hang"])
async def test_nor_where_a_second_attempt_is_made(faults, step, second):
    """Whichever wins, and if none does."""
    hedge = seawall.Hedge(after=LIMIT / 10, max_extra=1.0)
    client = made(faults, hedge=hedge, retry=None, breaker=None, budget=None)

    async def call() -> None:
        url = faults.script(str(uuid.uuid4()), step, second)
        await asyncio.gather(asyncio.create_task(client.get(url)), return_exceptions=True)

    assert await left_by(call, client) == []


async def test_nor_where_a_predicate_raises(faults):
    """Of a user's, asked about an attempt that failed."""

    def wrong(outcome: seawall.Outcome) -> bool:
        raise ValueError(outcome.name)

    client = made(faults, retry=seawall.Retry(retry=wrong), breaker=None)
    assert await garbage(client, f"{faults.listen('refuse')}/x/ok") == []


async def test_nor_after_an_upload_that_is_cut(faults):
    assert await garbage(made(faults), f"{faults.listen('tls')}/x/reset:request", content=bytes(2**23)) == []


async def parts() -> AsyncIterator[bytes]:
    yield b"one"
    yield b"two"


@pytest.mark.parametrize(("port", "step"), [("serve", "ok"), ("serve", "503"), ("refuse", "ok")])
async def test_nor_after_a_body_that_is_not_in_memory(faults, port, step):
    """Whether it was read or not."""
    client = made(faults, breaker=None)

    async def call() -> None:
        with contextlib.suppress(httpx.HTTPError):
            await client.put(f"{faults.listen(port)}/x/{step}", content=seawall.replayable(parts))

    assert await left_by(call, client) == []


@pytest.mark.parametrize("max_size", [None, 2**20])
@pytest.mark.parametrize("inner", [None, httpx.AsyncHTTPTransport])
async def test_nor_after_a_stream(faults, max_size, inner):
    """The response and its stream may hold each other, which is the library's doing: the test takes one away."""
    url = f"{faults.listen('serve')}/x/ok:200000"
    client = made(faults, max_response_size=max_size, transport=inner() if inner else None)

    async def call() -> None:
        async with client.stream("GET", url) as response:
            await response.aread()
        if hasattr(response.stream, "_response"):
            del response.stream._response

    assert await left_by(call, client) == []


@pytest.mark.parametrize(("port", "step"), [("serve", "reset:body"), ("tls", "truncate"), ("h2", "h2_rst")])
async def test_nor_after_a_stream_that_is_cut(faults, port, step):
    """Its reader gets an error that was built in place of ours. But for httpx's own cycle, as above."""
    client = made(faults, http2=port == "h2", breaker=None)
    cut = []

    async def call() -> None:
        streams = []
        try:
            async with client.stream("GET", f"{faults.listen(port)}/x/{step}") as response:
                streams.append(response.stream)
                await response.aread()
        except httpx.HTTPError as error:
            cut.append(type(error).__name__)
        for stream in streams:
            vars(stream).pop("_response", None)  # httpx2 has none

    assert await left_by(call, client) == []
    assert len(cut) == 3


@pytest.mark.parametrize("name", ["nowhere.test", "silent.test"])
async def test_nor_after_a_name_without_an_address(faults, dns, name):
    dns.zone["silent.test"] = Name(drop=-1)
    client = made(faults, dns=seawall.DNS(nameservers=(dns.address,)))
    assert await garbage(client, f"http://{name}") == []


async def test_answer_is_gone_by_the_next_attempt():
    """While the call backs off, its object isn't held: only what is returned if no other attempt can be sent."""
    answers: list[weakref.ref[httpx.Response]] = []

    async def handler(request: httpx.Request) -> httpx.Response:
        assert [answer() for answer in answers] == [None] * len(answers)
        answer = httpx.Response(503)
        answers.append(weakref.ref(answer))
        return answer

    async with seawall.AsyncClient(transport=httpx.MockTransport(handler), retry=seawall.Retry(backoff=0)) as client:
        await client.get("http://a/")
    assert len(answers) == 3


@pytest.mark.parametrize("port", ["serve", "tls", "h2"])
async def test_an_idle_connection_holds_nothing_of_its_caller(faults, port):
    """
    A transport keeps the context that it was made in, or that its reading went on in; not here. Nor what it told.

    Without timeouts: asyncio keeps a cancelled timer, and the timer its context, until it would have struck.
    """
    url = faults.listen(port)

    def told() -> int:
        gc.collect()
        return sum(
            isinstance(each, Progress) or (type(each) is Head and bool(each.headers)) for each in gc.get_objects()
        )

    async def call(client: seawall.AsyncClient) -> weakref.ref[Thing]:
        thing = Thing()
        MINE.set(thing)
        async with client.stream("GET", f"{url}/x/ok:1000000") as response:
            async for _ in response.aiter_raw():
                await asyncio.sleep(0.001)  # so that reading pauses
        return weakref.ref(thing)

    async with made(faults, http2=port == "h2", timeout=None, deadline=None) as client:
        before = told()
        thing = await asyncio.create_task(call(client))
        for _ in range(10):
            await asyncio.sleep(0)
        assert client.stats().connections == 1
        assert thing() is None
        assert told() == before
