"""Server-sent events over several calls, on the virtual clock: when each is made, with which id, and what ends it."""

from __future__ import annotations

import asyncio
import math
from contextlib import aclosing

import httpx
import pytest

import seawall
from seawall.errors import BadAnswer, ReadTimeout, ResponseTooLarge
from seawall.testing import Body, FixedRandom, ScriptedWire
from seawall.testing.cancel import cancel_everywhere
from seawall.testing.leaks import held

pytestmark = pytest.mark.anyio

URL = "http://api.test/"
STREAM = {"content-type": "text/event-stream; charset=utf-8"}


def stream(*parts) -> httpx.Response:
    return httpx.Response(200, headers=STREAM, stream=Body(*parts))


def client(wire: httpx.AsyncBaseTransport, **arguments) -> seawall.AsyncClient:
    return seawall.AsyncClient(transport=wire, **{"rng": FixedRandom(0.0)} | arguments)


async def values(events) -> list[str]:
    return [event.data async for event in events]


async def test_it_goes_on():
    """After the time that the server asks for, from the last event that was complete; 204 ends it."""
    first = stream(b"retry: 2500\nid: 7\ndata: a\n\nid: 8\ndata: half", 1.0, httpx.ReadError)
    wire = ScriptedWire(first, stream(b"data: b\n\n"), 204)
    async with client(wire) as c:
        assert await values(c.events(URL)) == ["a", "b"]
        assert held(c.stats()) == []
    assert wire.instants == [0.0, 3.5, 6.0]
    assert [sent.headers.get("last-event-id") for sent in wire.attempts] == [None, "7", "7"]
    assert {sent.headers["accept"] for sent in wire.attempts} == {"text/event-stream"}


async def test_ids_that_are_not_ascii():
    """They go back as they came, in UTF-8."""
    wire = ScriptedWire(stream("id: é\ndata: a\n\n".encode()), 204)
    async with client(wire) as c:
        await values(c.events(URL))
    assert (b"last-event-id", "é".encode()) in [(name.lower(), value) for name, value in wire.attempts[1].headers.raw]


async def test_backoff_in_an_outage():
    """It doubles to 30 s; a byte of a stream ends the outage, and begins anew."""
    wire = ScriptedWire(stream(b"data: a\n\n"), *[httpx.ConnectError, 503] * 4, stream(b":"), httpx.ReadError, 204)
    async with client(wire) as c:
        assert await values(c.events(URL)) == ["a"]
    gaps = [after - before for before, after in zip(wire.instants, wire.instants[1:], strict=False)]
    assert gaps == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0, 30.0, 1.0, 2.0]


async def test_jitter():
    """Up to half more, so that the clients of a restarted server don't come back together."""
    wire = ScriptedWire(stream(b"data: a\n\n"), 204)
    async with client(wire, rng=FixedRandom(1.0)) as c:
        await values(c.events(URL))
    assert wire.instants == [0.0, 1.5]


async def test_retry_after():
    """A 503 that says how long counts, if that is longer."""
    wire = ScriptedWire(stream(b"data: a\n\n"), httpx.Response(503, headers={"retry-after": "20"}), 204)
    async with client(wire) as c:
        await values(c.events(URL))
    assert wire.instants == [0.0, 1.0, 21.0]


@pytest.mark.parametrize(("says", "waits"), [(b"0", 0.1), (b"99999999999", 300.0)])
async def test_retry_has_bounds(says, waits):
    """A typo of the server's neither floods it nor silences the client."""
    wire = ScriptedWire(stream(b"retry: " + says + b"\ndata: a\n\n"), 204)
    async with client(wire) as c:
        await values(c.events(URL, max_outage=None))
    assert wire.instants == [0.0, waits]


async def test_max_outage():
    """The last error is raised once the next call would come too late; each byte gives the time anew."""
    wire = ScriptedWire(stream(b"data: a\n\n", 100.0, b":", httpx.ReadError), httpx.ConnectError)
    async with client(wire) as c:
        with pytest.raises(httpx.ConnectError):
            await values(c.events(URL, max_outage=10.0, silence=None))
    assert wire.instants == [0.0, 101.0, 103.0, 107.0]


async def test_no_reconnection():
    """With max_outage=0 the end of the stream is the end, and a break is an error."""
    wire = ScriptedWire(stream(b"data: a\n\n"), stream(b"data: b\n\n", httpx.ReadError))
    async with client(wire) as c:
        assert await values(c.events(URL, max_outage=0)) == ["a"]
        with pytest.raises(httpx.ReadError):
            await values(c.events(URL, max_outage=0))
    assert len(wire.attempts) == 2


async def test_silence():
    """It breaks the stream, comments count as life, and the origin's breaker hears nothing of it."""
    beats = [part for _ in range(10) for part in (9.0, b":\n")]
    wire = ScriptedWire(stream(b"data: a\n\n", *beats, math.inf), 204)
    async with client(wire) as c:
        assert await values(c.events(URL, silence=10.0)) == ["a"]
        assert wire.instants == [0.0, 101.0]
        assert c.breakers["http://api.test"].failure_share(asyncio.get_running_loop().time()) == 0.0
        assert held(c.stats()) == []


async def test_a_post_is_never_sent_again():
    """Its stream may end; one that breaks or falls silent is an error, with a key too."""
    whole, cut, silent = stream(b"data: a\n\n"), stream(b"data: a\n\n", httpx.ReadError), stream(b":", math.inf)
    wire = ScriptedWire(whole, cut, silent)
    key = {"Idempotency-Key": "1"}
    async with client(wire) as c:
        assert await values(c.events(URL, method="POST", json={"n": 1})) == ["a"]
        with pytest.raises(httpx.ReadError):
            await values(c.events(URL, method="POST", headers=key))
        with pytest.raises(ReadTimeout, match="no byte for silence=60 s") as caught:
            await values(c.events(URL, method="POST"))
        assert isinstance(caught.value, httpx.ReadTimeout)
        assert held(c.stats()) == []
    assert len(wire.attempts) == 3


@pytest.mark.parametrize("is_first", [True, False])
@pytest.mark.parametrize(
    ("bad", "error"),
    [
        (404, httpx.HTTPStatusError),
        (httpx.Response(200, headers={"content-type": "text/html"}), BadAnswer),
        (httpx.Response(202, headers=STREAM), BadAnswer),
        (200, BadAnswer),
    ],
)
async def test_what_time_does_not_cure(bad, error, is_first):
    """It is raised, at the first call and at a later one."""
    wire = ScriptedWire(*[stream(b"data: a\n\n")] * (not is_first), bad)
    seen = []
    async with client(wire, retry=None) as c:
        async with aclosing(c.events(URL)) as events:
            if not is_first:
                seen.append((await anext(events)).data)
            with pytest.raises(error):
                await anext(events)
        assert held(c.stats()) == []
    assert seen == ["a"] * (not is_first)


async def test_the_first_call_is_as_any_other():
    """It is retried by the client's settings, and its last failure is raised."""
    wire = ScriptedWire(503, httpx.ConnectError, 503)
    async with client(wire) as c:
        with pytest.raises(httpx.HTTPStatusError):
            await values(c.events(URL))
    assert len(wire.attempts) == 3


async def test_an_open_breaker_is_waited_for():
    """A reconnection that it refuses is made when it lets one through, with the same id."""
    wire = ScriptedWire(stream(b"id: 1\ndata: a\n\n"), 204)
    seen = []
    async with client(wire) as c, aclosing(c.events(URL)) as events:
        async for event in events:
            seen.append(event.data)
            c.breakers["http://api.test"].force_open()
            asyncio.get_running_loop().call_later(10.0, c.breakers["http://api.test"].reset)
    assert seen == ["a"]
    assert wire.attempts[1].headers["last-event-id"] == "1"
    assert wire.instants == [0.0, 15.0]  # after 1, 2, 4 and 8 s


async def test_too_large():
    """An event beyond max_size is an error, and the connection is closed."""
    wire = ScriptedWire(stream(b"data: " + b"x" * 90, b"x" * 90, math.inf))
    async with client(wire) as c:
        with pytest.raises(ResponseTooLarge, match="max_size=100"):
            await values(c.events(URL, max_size=100))
        assert held(c.stats()) == []


async def test_last_event_id():
    """The caller's own, kept by it from an earlier run."""
    wire = ScriptedWire(204)
    async with client(wire) as c:
        assert await values(c.events(URL, last_event_id="41")) == []
    assert wire.attempts[0].headers["last-event-id"] == "41"


@pytest.mark.parametrize("leave", ["break", "aclose", "cancel"])
async def test_leaving(leave):
    """It gives the permit back, whether the iterator is closed, dropped or cancelled."""
    wire = ScriptedWire(stream(b"data: a\n\n", math.inf))
    async with client(wire) as c:
        if leave == "break":
            async for _ in c.events(URL, silence=None):
                break
            await asyncio.sleep(0.001)
        elif leave == "aclose":
            async with aclosing(c.events(URL)) as events:
                assert (await anext(events)).data == "a"
                (state,) = c.stats().origins.values()
                assert state.in_flight == 1
        else:
            task = asyncio.create_task(values(c.events(URL, silence=None)))
            await asyncio.sleep(1.0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        assert held(c.stats()) == []


async def test_cancelled_anywhere():
    """At each await of a stream, nothing is left."""

    async def use() -> None:
        async with aclosing(c.events(URL, max_outage=0)) as events:
            assert await values(events) == ["a", "b"]

    async with client(ScriptedWire(stream(b"data: a\n\n", b"data: b\n\n"))) as c:
        assert await cancel_everywhere(use, after=lambda: held(c.stats()) == [] or pytest.fail("held")) > 2


@pytest.mark.parametrize("after", [0.5, 1.5, 2.5])
async def test_cancelled_in_a_reconnection(after):
    """In the delay, in the call, in the second stream: nothing is left."""
    wire = ScriptedWire(stream(b"data: a\n\n"), (1.0, stream(b":", math.inf)))
    async with client(wire) as c:
        task = asyncio.create_task(values(c.events(URL)))
        await asyncio.sleep(after)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert held(c.stats()) == []


async def test_a_deadline_is_of_the_headers():
    """A stream outlives the deadline that it was begun under."""
    wire = ScriptedWire(stream(b"data: a\n\n", 30.0, b"data: b\n\n"), 204)
    async with client(wire, deadline=2.0) as c:
        assert await values(c.events(URL)) == ["a", "b"]


@pytest.mark.parametrize(
    "arguments",
    [{"silence": 0}, {"silence": -1}, {"max_outage": -1}, {"max_size": 0}, {"headers": {"last-event-id": "1"}}],
)
async def test_arguments(arguments):
    """What can't be is said at the call, and not by the first event."""
    async with client(ScriptedWire()) as c:
        with pytest.raises(ValueError, match=r"silence|max_outage|max_size|Last-Event-ID"):
            c.events(URL, **arguments)
