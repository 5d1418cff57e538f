"""How a streamed body ended is the outcome of its attempt: for breaker, trouble and listeners, on the virtual clock."""

from __future__ import annotations

import asyncio
import gc

import httpx
import pytest

import seawall
from seawall.testing import Body, FixedRandom, ScriptedWire

pytestmark = pytest.mark.anyio

URL = "http://api.test/"
ORIGIN = seawall.Origin("http", "api.test", 80)
CUT = Body(b"half", 0.25, httpx.ReadError)


class Listener(list[seawall.events.Event]):
    """What was told, of some kinds."""

    def __init__(self, *kinds: type) -> None:
        super().__init__()
        self._kinds = kinds

    def __call__(self, event: seawall.events.Event) -> None:
        if isinstance(event, self._kinds):
            self.append(event)


def client(wire: httpx.AsyncBaseTransport, **arguments) -> seawall.AsyncClient:
    return seawall.AsyncClient(transport=wire, **{"rng": FixedRandom(), "retry": None} | arguments)


def drop(things: list[httpx.Response]) -> None:
    """Have them collected."""
    things.clear()
    gc.collect()


async def read(c: httpx.AsyncClient) -> bytes:
    async with c.stream("GET", URL) as response:
        return await response.aread()


def share(c: seawall.AsyncClient) -> float:
    return c.breakers["http://api.test"].failure_share(asyncio.get_running_loop().time())


async def test_cut_streams_open_the_breaker():
    """The twentieth does: each was a success at its headers, which its end took back."""
    async with client(ScriptedWire(CUT)) as c:
        for number in range(1, 21):
            assert c.breakers["http://api.test"].state == "closed" if number > 1 else True
            with pytest.raises(httpx.ReadError):
                await read(c)
            (state,) = c.engine.layers.origins
            assert state.trouble == pytest.approx(1 - 0.8**number)
        breaker = c.breakers["http://api.test"]
    assert (breaker.state, breaker.reason) == ("open", "20 of 20 attempts failed in 10 s")


async def test_cut_streams_open_the_breaker_of_a_stock_client():
    """Whose calls stream all bodies."""
    transport = seawall.AsyncTransport(ScriptedWire(CUT), retry=None)
    async with httpx.AsyncClient(transport=transport) as c:
        for _ in range(20):
            with pytest.raises(httpx.ReadError):
                await c.get(URL)
        assert transport.breakers["http://api.test"].state == "open"


async def test_half_that_are_whole():
    """A share is a share of attempts: a cut stream is one failure of one attempt, not of two."""
    async with client(ScriptedWire(CUT, 200, CUT, 200, 200)) as c:
        for _ in range(2):
            with pytest.raises(httpx.ReadError):
                await read(c)
            await read(c)
        assert share(c) == 0.5
        await read(c)
        assert share(c) == 0.4


@pytest.mark.parametrize("leave", ["early", "cancelled", "dropped"])
async def test_reader_that_leaves_off_is_neutral(leave):
    """Closed before its end, cancelled, or forgotten: the origin was well."""
    listener = Listener(seawall.events.BodyEnded)
    async with client(ScriptedWire(Body(b"one", 1.0, b"two", 1.0, httpx.ReadError)), observers=[listener]) as c:

        async def use() -> None:
            async with c.stream("GET", URL) as response:
                async for _ in response.aiter_raw():
                    if leave == "early":
                        return

        if leave == "early":
            await use()
        elif leave == "cancelled":
            task = asyncio.create_task(use())
            await asyncio.sleep(0.5)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        else:
            response = await c.send(c.build_request("GET", URL), stream=True)
            dropped = [response]
            del response
            with pytest.warns(ResourceWarning, match="dropped without being closed"):
                drop(dropped)
            await asyncio.sleep(0)
        assert share(c) == 0.0
        (state,) = c.stats().origins.values()
    assert state.in_flight == 0
    assert [event.outcome for event in listener] == ["closed"]


async def test_cancelled_reader_gives_its_permit_back_at_once():
    """Though nobody closes the response: its iterator was what read it."""
    listener = Listener(seawall.events.BodyEnded)
    async with client(ScriptedWire(Body(b"one", 10.0)), observers=[listener]) as c:
        response = await c.send(c.build_request("GET", URL), stream=True)

        async def use() -> None:
            async for _ in response.stream:
                pass

        task = asyncio.create_task(use())
        await asyncio.sleep(0.5)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        (state,) = c.stats().origins.values()
        assert state.in_flight == 0
        assert [event[1:8] for event in listener] == [(ORIGIN, "GET", "/", 1, 0.5, "closed", "")]
        await response.aclose()


async def test_listeners_are_told_how_a_body_ended():
    """Once per streamed response, not of buffered ones: complete, or the class and text of what cut it, and when."""
    listener = Listener(seawall.Attempt, seawall.events.BodyEnded, seawall.events.CallEnded)
    async with client(ScriptedWire(Body(b"all", 0.25), CUT), observers=[listener]) as c:
        assert await read(c) == b"all"
        with pytest.raises(httpx.ReadError):
            await read(c)
        with pytest.raises(httpx.ReadError):
            await c.get(URL)
    names = [type(event).__name__ for event in listener]
    assert names == ["Attempt", "CallEnded", "BodyEnded"] * 2 + ["Attempt", "CallEnded"]
    assert [event[1:8] for event in listener if isinstance(event, seawall.events.BodyEnded)] == [
        (ORIGIN, "GET", "/", 1, 0.25, "complete", ""),
        (ORIGIN, "GET", "/", 1, 0.25, "ReadError", "raised by ScriptedWire"),
    ]


async def test_body_in_memory_is_complete_at_once():
    """As of mocks: told once too, and nothing is left to be closed."""
    listener = Listener(seawall.events.BodyEnded)
    async with client(ScriptedWire(httpx.Response(200, content=b"all")), observers=[listener]) as c:
        assert await read(c) == b"all"
    assert [event[1:8] for event in listener] == [(ORIGIN, "GET", "/", 1, 0.0, "complete", "")]


async def test_cut_body_of_a_bad_answer_counts_once():
    """A 500 was a failure at its headers."""
    wire = ScriptedWire(httpx.Response(500, stream=CUT), 200)
    async with client(wire) as c:
        with pytest.raises(httpx.ReadError):
            await read(c)
        await c.get(URL)
        assert share(c) == 0.5


async def test_probe_is_decided_at_its_headers():
    """A stream that goes on for an hour is out as a probe for no longer than its headers take."""
    wire = ScriptedWire(*[500] * 20, Body(3600.0, b"x"))
    async with client(wire) as c:
        for _ in range(20):
            await c.get(URL)
        await asyncio.sleep(2.0)
        tasks = [asyncio.create_task(read(c)) for _ in range(3)]
        await asyncio.sleep(0)
        await asyncio.sleep(0.1)
        assert c.breakers["http://api.test"].state == "closed"
        await asyncio.gather(*tasks)


async def test_slow_probe_whose_stream_is_cut_is_one_failed_probe():
    """Of five probes one was slow and then cut, and one failed: two, so the breaker is still half-open."""
    wire = ScriptedWire(*[500] * 20, (1.0, CUT), 500, 200)
    async with client(wire, breaker=seawall.Breaker(slow_call=1.0, probes=5)) as c:
        for _ in range(20):
            await c.get(URL)
        breaker = c.breakers["http://api.test"]
        await asyncio.sleep(2.0)
        with pytest.raises(httpx.ReadError):
            await read(c)
        await c.get(URL)
        assert breaker.state == "half-open"
        for _ in range(3):
            await c.get(URL)
        assert breaker.state == "closed"


async def test_stream_from_before_the_breaker_opened_is_no_probe():
    """Its headers come while the breaker is half-open, and its body is cut then: that neither reopens nor feeds it."""
    wire = ScriptedWire((1.5, CUT))
    async with client(wire) as c:
        early = [asyncio.create_task(read(c)) for _ in range(20)]
        await asyncio.sleep(0.01)
        wire.script(*[500] * 20, (1.0, 200))
        for _ in range(20):
            await c.get(URL)
        breaker = c.breakers["http://api.test"]
        assert breaker.state == "open"
        await asyncio.sleep(1.2)
        probe = asyncio.create_task(c.get(URL))
        cut = await asyncio.gather(*early, return_exceptions=True)
        assert {type(error) for error in cut} == {httpx.ReadError}
        assert breaker.state == "half-open"
        await probe
        await asyncio.gather(c.get(URL), c.get(URL))
        assert (breaker.state, breaker.failure_share(asyncio.get_running_loop().time())) == ("closed", 0.0)


async def test_streams_that_are_cut_after_the_window():
    """Their success is forgotten by then: each is an attempt that failed."""
    async with client(ScriptedWire(Body(b"half", 60.0, httpx.ReadError))) as c:
        tasks = [asyncio.create_task(read(c)) for _ in range(20)]
        await asyncio.gather(*tasks, return_exceptions=True)
        breaker = c.breakers["http://api.test"]
    assert (breaker.state, breaker.reason) == ("open", "20 of 20 attempts failed in 10 s")


async def test_streams_that_one_death_cut():
    """Of one connection's: one failure."""
    death = object()

    def upstream(request: httpx.Request) -> Body:
        return Body(b"half", 1.0, seawall.errors.ConnectionLost("lost", death=death))

    async with client(ScriptedWire(upstream)) as c:
        await asyncio.gather(*(read(c) for _ in range(40)), return_exceptions=True)
        assert share(c) == 1 / 40


async def test_too_large_a_stream_is_no_fault():
    """What we refuse to read says nothing of the origin."""
    async with client(ScriptedWire(Body(b"x" * 100)), max_response_size=10) as c:
        with pytest.raises(seawall.errors.ResponseTooLarge):
            await read(c)
        assert share(c) == 0.0
