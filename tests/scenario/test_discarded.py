"""Responses that another attempt follows: how much of them is read, and what becomes of the rest."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator

import httpx
import pytest

import seawall
from seawall._httpx.convert import DRAIN_MAX, DRAIN_TIMEOUT
from seawall.testing import Body, FixedRandom, ScriptedWire

pytestmark = pytest.mark.anyio

URL = "http://api.test/"


def client(wire: httpx.AsyncBaseTransport, **arguments) -> seawall.AsyncClient:
    arguments = {"rng": FixedRandom(), "retry": seawall.Retry(backoff=0, throttled_backoff=0)} | arguments
    return seawall.AsyncClient(transport=wire, **arguments)


class Watched(httpx.AsyncByteStream):
    """A body of *count* parts of 16 KiB, and then *silence* s; it notes what is read of it, and that it is closed."""

    def __init__(self, count: int, silence: float = 0.0) -> None:
        self._count, self._silence = count, silence
        self.read = 0
        self.closed_at: float | None = None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for _ in range(self._count):
            self.read += 16384
            yield b"x" * 16384
        if self._silence:
            await asyncio.sleep(self._silence)

    async def aclose(self) -> None:
        self.closed_at = asyncio.get_running_loop().time()


async def streamed(c: seawall.AsyncClient) -> httpx.Response:
    """As a stream, so no attempt reads its body for the caller."""
    async with c.stream("GET", URL) as response:
        assert response.status_code == 200
        await response.aread()
    return response


async def test_small_one_is_read_to_its_end():
    """Its connection can be used again; the retry follows at once."""
    body = Watched(4)
    wire = ScriptedWire(httpx.Response(503, stream=body), 200)
    async with client(wire) as c:
        await streamed(c)
    assert (body.read, body.closed_at, wire.instants) == (DRAIN_MAX, 0.0, [0.0, 0.0])


async def test_large_one_is_not_read_on():
    """64 kB and the part that goes over them, of 16 MB; then it is closed."""
    body = Watched(1000)
    wire = ScriptedWire(httpx.Response(503, stream=body), 200)
    async with client(wire) as c:
        await streamed(c)
    assert (body.read, body.closed_at, wire.instants) == (DRAIN_MAX + 16384, 0.0, [0.0, 0.0])


async def test_slow_one_is_not_waited_for():
    """50 ms, to the instant; then it is closed, and the next attempt is sent."""
    body = Watched(1, silence=math.inf)
    wire = ScriptedWire(httpx.Response(503, stream=body), 200)
    async with client(wire) as c:
        await streamed(c)
    assert (body.closed_at, wire.instants) == (DRAIN_TIMEOUT, [0.0, DRAIN_TIMEOUT])


async def test_one_that_breaks_off_is_closed():
    """It says nothing more than its status did: the next attempt is sent."""
    wire = ScriptedWire(httpx.Response(503, stream=Body(b"x", httpx.ReadError)), 200)
    async with client(wire) as c:
        await streamed(c)
        assert [each.in_flight for each in c.stats().origins.values()] == [0]
    assert wire.instants == [0.0, 0.0]


@pytest.mark.parametrize("error", [httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError])
async def test_error_of_another_transport_after_its_headers_says_nothing_of_unsent(error):
    """Whatever its class: the server answered, so a POST isn't sent again."""
    wire = ScriptedWire(Body(b"half", error))
    async with client(wire, retry=seawall.Retry()) as c:
        with pytest.raises(error) as caught:
            await c.post(URL)
    assert len(wire.attempts) == 1
    (attempt,) = caught.value.attempts
    assert attempt.phase >= seawall.events.Phase.HEADERS
    assert not isinstance(caught.value, seawall.Unsent)


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_transport_of_the_users_own_is_not_believed(method):
    """Its ConnectTimeout may be a lost connection: what isn't idempotent is sent once."""

    class Own(httpx.AsyncBaseTransport):
        sent = 0

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            self.sent += 1
            raise httpx.ConnectTimeout("lost")

    own = Own()
    async with client(own, retry=seawall.Retry(max_attempts=3, backoff=0)) as c:
        with pytest.raises(httpx.ConnectTimeout):
            await c.request(method, URL)
    assert own.sent == (3 if method == "GET" else 1)


async def test_breaker_is_asked_again_after_the_queue():
    """It opened while a call waited for a permit: nothing of that call is sent, and its permit is back."""
    wire = ScriptedWire(1.0)
    async with client(wire, bulkhead=seawall.Bulkhead(max_concurrent=1), retry=None) as c:
        first = asyncio.create_task(c.get(URL))
        await asyncio.sleep(0)
        second = asyncio.create_task(c.get(URL))
        await asyncio.sleep(0.5)
        c.breakers["http://api.test"].force_open()
        assert (await first).status_code == 200
        with pytest.raises(seawall.BreakerOpen):
            await second
        assert (len(wire.attempts), asyncio.get_running_loop().time()) == (1, 1.0)
        c.breakers["http://api.test"].reset()
        assert (await c.get(URL)).status_code == 200
