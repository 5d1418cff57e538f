"""`aclose(drain=…)`: what is in flight may end, what is new is refused. On virtual time."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator

import httpx
import pytest

import seawall
from seawall.testing import Body, FixedRandom, ScriptedWire

pytestmark = pytest.mark.anyio

URL = "http://api.test/"


def client(*steps: object, **arguments) -> seawall.AsyncClient:
    return seawall.AsyncClient(transport=ScriptedWire(*steps), **{"rng": FixedRandom()} | arguments)


def now() -> float:
    return round(asyncio.get_running_loop().time(), 9)


async def begun(call) -> asyncio.Task:
    """The task of *call*, which is in flight."""
    task = asyncio.create_task(call)
    await asyncio.sleep(0.01)
    return task


async def draining(closing) -> asyncio.Task:
    """The task of *closing*, which waits for what is in flight."""
    task = asyncio.create_task(closing)
    await asyncio.sleep(0)
    assert not task.done()
    return task


def assert_nothing_is_left(c: seawall.AsyncClient) -> None:
    stats = c.stats()
    assert (stats.calls, stats.connections, stats.waiting) == (0, 0, 0)
    assert all((origin.in_flight, origin.waiting, origin.limited) == (0, 0, 0) for origin in stats.origins.values())
    in_flight = c.engine.layers.in_flight
    assert (in_flight.calls, in_flight.hops, in_flight.bodies) == (set(), set(), 0)


async def test_a_call_in_flight_ends_by_itself():
    """With its response; closing takes as long as the call, and not as long as it may."""
    c = client(2.0)
    call = await begun(c.get(URL))
    await c.aclose(drain=5.0)
    assert ((await call).status_code, now()) == (200, 2.0)
    assert_nothing_is_left(c)


async def test_what_is_new_is_refused_at_once():
    """With an error that says why; it is the library's class too, and one call of the observers."""
    ended = []
    c = client(2.0, observers=[lambda event: ended.append(event) if hasattr(event, "rejected_by") else None])
    call = await begun(c.get(URL))
    closing = await draining(c.aclose(drain=5.0))
    with pytest.raises(seawall.ClientClosed, match="the client is draining: its calls in flight may end") as caught:
        await c.get(URL)
    assert isinstance(caught.value, httpx.TransportError)
    assert [event.outcome for event in ended] == ["ClientClosed"]
    assert now() == 0.01
    await closing
    assert (await call).status_code == 200
    with pytest.raises(RuntimeError, match="closed"):
        await c.get(URL)
    assert_nothing_is_left(c)


async def test_what_takes_longer_is_ended():
    """At the end of the time, with the error of a closed client."""
    c = client(math.inf)
    call = await begun(c.get(URL, timeout=None))
    await c.aclose(drain=5.0)
    assert now() == 5.01
    with pytest.raises(seawall.ClientClosed, match="the client was closed"):
        await call
    assert_nothing_is_left(c)


async def test_without_drain_nothing_is_waited_for():
    """As ever: a call in flight ends with ClientClosed."""
    c = client(2.0)
    call = await begun(c.get(URL))
    await c.aclose()
    with pytest.raises(seawall.ClientClosed, match="the client was closed"):
        await call
    assert now() == 0.01


async def test_retries_go_on():
    """A call that backs off, and one that is retried after it, are in flight."""
    c = client(503, 503, 200)
    call = await begun(c.get(URL))
    await c.aclose(drain=60.0)
    response = await call
    assert (response.status_code, len(seawall.history(response))) == (200, 3)
    assert_nothing_is_left(c)


async def test_redirects_go_on():
    """They are hops of the call that was in flight."""
    c = client(1.0, httpx.Response(302, headers={"location": "/there"}), 200)
    first = await begun(c.get(URL))
    second = await begun(c.get(URL, follow_redirects=True, auth=Slow()))
    await c.aclose(drain=60.0)
    assert [(await call).status_code for call in (first, second)] == [200, 200]
    assert_nothing_is_left(c)


class Slow(httpx.Auth):
    """Takes its time before each request."""

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        await asyncio.sleep(1.0)
        yield request


class Token(httpx.Auth):
    """Fetches a token by the client itself, once the server has asked for it."""

    def __init__(self, c: seawall.AsyncClient) -> None:
        self._client = c

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        response = yield request
        if response.status_code == 401:
            await asyncio.sleep(1.0)
            token = await self._client.get("http://auth.test/", auth=None)
            request.headers["authorization"] = token.text
            yield request


async def test_a_call_that_one_in_flight_makes_is_part_of_it():
    """The token that an authentication fetches while draining; what else begins then is refused."""
    c = client(401, 200)
    call = await begun(c.get(URL, auth=Token(c)))
    await c.aclose(drain=60.0)
    assert ((await call).status_code, now()) == (200, 1.0)
    assert_nothing_is_left(c)


async def test_a_task_that_an_ended_call_started_makes_new_calls():
    """Though it has inherited the call's context."""
    c = client(200, 2.0, 200)
    tasks = []

    async def later(response: httpx.Response) -> None:
        async def fetch() -> None:
            await asyncio.sleep(1.0)
            await c.get("http://other.test/")

        if not tasks:
            tasks.append(asyncio.create_task(fetch()))

    c.event_hooks["response"] = [later]
    await c.get(URL)
    call = await begun(c.get(URL))
    await c.aclose(drain=5.0)
    await call
    with pytest.raises(seawall.ClientClosed, match="draining"):
        await tasks[0]


@pytest.mark.parametrize("bulkhead", [seawall.Bulkhead(), None])
async def test_a_streamed_body_may_be_read_to_its_end(bulkhead):
    """It is in flight until its reader is done, whether or not permits are counted."""
    c = client(httpx.Response(200, stream=Body(b"a", 1.0, b"b", 1.0, b"c")), bulkhead=bulkhead)
    async with c.stream("GET", URL) as response:
        closing = await draining(c.aclose(drain=5.0))
        assert await response.aread() == b"abc"
        read_at = now()
    await closing
    assert now() == read_at == 2.0
    assert_nothing_is_left(c)


async def test_a_streamed_body_that_is_closed_early_is_over():
    """Closing the client waits no longer."""
    c = client(httpx.Response(200, stream=Body(b"a", 100.0, b"b")))
    async with c.stream("GET", URL):
        closing = await draining(c.aclose(drain=50.0))
    await closing
    assert now() < 1.0
    assert_nothing_is_left(c)


async def test_cancelling_it_closes_at_once():
    """The caller of aclose no longer waits, and nothing is left."""
    c = client(math.inf)
    call = await begun(c.get(URL, timeout=None))
    closing = await draining(c.aclose(drain=50.0))
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    with pytest.raises(seawall.ClientClosed):
        await call
    assert now() == 0.01
    assert_nothing_is_left(c)


async def test_closing_the_engine_meanwhile_ends_the_draining():
    """The one who has no patience wins."""
    c = client(math.inf)
    call = await begun(c.get(URL, timeout=None))
    closing = await draining(c.aclose(drain=50.0))
    await c.engine.aclose()
    await closing
    with pytest.raises(seawall.ClientClosed):
        await call
    assert now() == 0.01
    assert_nothing_is_left(c)


async def test_closing_the_engine_ends_the_draining_of_a_body_that_nobody_reads():
    """Its reader still holds it, and hears of the end only when it goes on."""
    c = client(httpx.Response(200, stream=Body(b"a", 100.0, b"b")))
    async with c.stream("GET", URL):
        closing = await draining(c.aclose(drain=50.0))
        await c.engine.aclose()
        await closing
        assert now() < 1.0
    assert_nothing_is_left(c)


async def test_draining_twice():
    """Both are done once nothing is in flight."""
    c = client(2.0)
    call = await begun(c.get(URL))
    await asyncio.gather(c.aclose(drain=5.0), c.engine.aclose(drain=9.0))
    assert ((await call).status_code, now()) == (200, 2.0)


async def test_a_client_of_a_shared_engine():
    """The calls go on, because the engine stays open; the engine drains them."""
    async with seawall.Engine() as engine:
        wire = ScriptedWire(2.0)
        one, two = (seawall.AsyncClient(transport=wire, engine=engine) for _ in range(2))
        calls = [await begun(c.get(URL)) for c in (one, two)]
        await one.aclose(drain=5.0)
        assert now() == 0.02
        await engine.aclose(drain=5.0)
        assert [(await call).status_code for call in calls] == [200, 200]


async def test_a_transport():
    """A stock client's transport drains as well."""
    transport = seawall.AsyncTransport(ScriptedWire(2.0))
    async with httpx.AsyncClient(transport=transport) as stock:
        call = await begun(stock.get(URL))
        closing = await draining(transport.aclose(drain=5.0))
        with pytest.raises(seawall.ClientClosed, match="draining"):
            await stock.get(URL)
        await closing
        assert ((await call).status_code, now()) == (200, 2.0)


@pytest.mark.parametrize("drain", [-1, math.inf, math.nan, "5", None, True])
@pytest.mark.parametrize("kind", ["client", "transport", "engine"])
async def test_bad_values(kind, drain):
    """An error that names the range; nothing is closed."""
    async with client(200) as c:
        closed = {"client": c, "transport": c._transport, "engine": c.engine}[kind]
        with pytest.raises((TypeError, ValueError), match=r"aclose\.drain must be (a number|finite and) >= 0, not"):
            await closed.aclose(drain=drain)
        assert (await c.get(URL)).status_code == 200
