"""What a client counts, and what its observers hear of refusals. On virtual time."""

from __future__ import annotations

import asyncio

import httpx
import pytest

import seawall
from seawall import events
from seawall.testing import FixedRandom, ScriptedWire

pytestmark = pytest.mark.anyio

URL = "http://api.test/"


def client(wire: httpx.AsyncBaseTransport, **arguments) -> seawall.AsyncClient:
    return seawall.AsyncClient(transport=wire, **{"rng": FixedRandom()} | arguments)


async def test_retry_that_was_scheduled_and_not_sent():
    """Only an attempt that was made counts as a retry: this one was refused, because the origin took a longer pause."""
    wire = ScriptedWire(httpx.Response(503, headers={"retry-after": "5"}), 200)
    async with client(wire, retry=seawall.Retry(pause_origin=True), deadline=20.0) as c:
        call = asyncio.create_task(c.get(URL))
        await asyncio.sleep(1.0)
        (state,) = c.engine.layers.origins
        state.pause(asyncio.get_running_loop().time(), 30.0)
        assert (await call).status_code == 503
        totals = c.stats().totals
    assert (totals.attempts, totals.rejected) == ({"first": 1, "retry": 0, "hedge": 0}, {"pause": 1})


async def test_retries_are_counted_as_they_are_made():
    """Of two calls of three attempts and two."""
    async with client(ScriptedWire(503, 503, 200, 503, 200)) as c:
        for _ in range(2):
            await c.get(URL)
        assert c.stats().totals.attempts == {"first": 2, "retry": 3, "hedge": 0}


async def test_refusal_of_another_client_below():
    """The application lets it through: no gate of this client refused anything."""
    refused: list[events.Event] = []
    observer = lambda event: refused.append(event) if isinstance(event, events.Rejected) else None  # noqa: E731
    full = seawall.Bulkhead(max_concurrent=1, max_waiting=0)
    async with client(ScriptedWire((1.0, 200)), bulkhead=full) as inner:

        async def ask(request: httpx.Request) -> httpx.Response:
            return await inner.get("http://inner.test/")

        async with client(httpx.MockTransport(ask), observers=[observer]) as c:
            holder = asyncio.create_task(inner.get("http://inner.test/"))
            await asyncio.sleep(0.5)
            with pytest.raises(seawall.errors.PartlySent):
                await c.get(URL)
            await holder
            assert c.stats().totals.rejected == {}
        assert inner.stats().totals.rejected == {"bulkhead": 1}
    assert refused == []


async def test_wait_for_a_connection_is_not_the_origins_fault():
    """Each answer takes 1 s, and the cap lets one through at a time: none of them is slow."""
    slow = seawall.Breaker(min_calls=2, slow_call=1.5, slow_rate=0.1)
    one = httpx.Limits(max_connections=1)
    async with client(ScriptedWire((1.0, 200)), limits=one, breaker=slow) as c:
        await asyncio.gather(*(c.get(URL) for _ in range(4)))
        assert c.breakers["http://api.test"].state == "closed"


async def test_refusal_by_the_cap_says_how_long_it_waited():
    """And so does the attempt."""
    heard: list[events.Event] = []
    one = httpx.Limits(max_connections=1)
    async with client(ScriptedWire((3.0, 200)), limits=one, timeout=2.0, observers=[heard.append]) as c:
        first, second = await asyncio.gather(*(c.get(URL) for _ in range(2)), return_exceptions=True)
    assert first.status_code == 200
    assert isinstance(second, seawall.errors.BulkheadFull)
    assert [event[5:] for event in heard if isinstance(event, events.Rejected)] == [("cap", 2.0)]
    assert [attempt.queued for attempt in second.attempts] == [(("cap", 2.0),)]
