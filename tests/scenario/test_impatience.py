"""Whose deadline, whose timeout: what callers with little time leave of an origin's breaker, on the virtual clock."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator

import httpx
import pytest

import seawall
from seawall._httpx.foreign import OverTransport
from seawall.integrations.asgi import DeadlineMiddleware
from seawall.testing import Body, FixedRandom, ScriptedWire

pytestmark = pytest.mark.anyio

URL = "http://api.test/"


def client(wire: httpx.AsyncBaseTransport, **arguments) -> seawall.AsyncClient:
    return seawall.AsyncClient(transport=wire, **{"rng": FixedRandom(), "retry": None} | arguments)


async def cut(c: seawall.AsyncClient, count: int = 20, **arguments) -> set[str]:
    """The errors of so many calls at once."""
    results = await asyncio.gather(*(c.get(URL, **arguments) for _ in range(count)), return_exceptions=True)
    return {type(result).__name__ for result in results}


def told(c: seawall.AsyncClient) -> tuple[str, float, float]:
    """What the origin's breaker and its budget's sense of trouble have heard: state, share of failures, trouble."""
    (state,) = c.engine.layers.origins
    return state.breaker.state, state.breaker.failure_share(asyncio.get_running_loop().time()), round(state.trouble, 2)


UNTOUCHED = ("closed", 0.0, 0.0)


@pytest.mark.parametrize("whose", ["inherited", "per call", "inherited before the client's own"])
@pytest.mark.parametrize("timeout", [0.02, 4.0])
async def test_callers_deadline_is_neutral(whose, timeout):
    """Inherited or set for the call, however long the attempt was on the wire: the origin was slow for this caller."""
    settings = {"deadline": 5.0} if "own" in whose else {}
    async with client(ScriptedWire(math.inf), **settings) as c:
        if whose == "per call":
            errors = await cut(c, 100, extensions=seawall.options(deadline=timeout))
        else:
            with seawall.deadline(timeout):
                errors = await cut(c, 100)
        assert errors == {"DeadlineExceeded"}
        assert asyncio.get_running_loop().time() == timeout
        assert told(c) == UNTOUCHED


@pytest.mark.parametrize("settings", [{"deadline": 1.0}, {"per_host": {"api.test": seawall.Policy(deadline=1.0)}}])
@pytest.mark.parametrize(("before", "state"), [(0.1, "open"), (0.5, "open"), (0.51, "closed")])
async def test_own_deadline_counts_after_half_of_it_on_the_wire(settings, before, state):
    """The client's or its policy's: what waited longer for a permit than for the origin says nothing of the origin."""
    layers = {"bulkhead": seawall.Bulkhead(max_concurrent=1), "breaker": seawall.Breaker(min_calls=2)}
    async with client(ScriptedWire(before, math.inf), **layers, **settings) as c:
        first = asyncio.create_task(c.get(URL))
        await asyncio.sleep(0)
        with pytest.raises(seawall.DeadlineExceeded):
            await c.get(URL)
        await first
        assert told(c) == (state, 0.0, 0.2 if state == "open" else 0.0)


def slow(*waits: float) -> AsyncIterator[bytes]:
    """A caller's body: a part after each wait, in seconds."""

    async def parts() -> AsyncIterator[bytes]:
        for wait in waits:
            await asyncio.sleep(wait)
            yield b"part"

    return parts()


@pytest.mark.parametrize(
    ("waits", "settings", "state"),
    [
        ((1e6,), {"deadline": 4.0}, "closed"),
        ((0.5, 0.5, 1e6), {"deadline": 4.0}, "closed"),
        ((1.0, 1.01), {"deadline": 4.0}, "closed"),
        ((1.0, 1.0), {"deadline": 4.0}, "open"),
        ((), {"deadline": 4.0}, "open"),
        ((1e6,), {"timeout": 2.0}, "closed"),
        ((0.5, 1e6), {"timeout": 2.0}, "closed"),
        ((0.5,), {"timeout": 2.0}, "open"),
    ],
)
async def test_callers_slow_upload_is_not_the_origins_time(waits, settings, state):
    """The client's own deadline of 4 s: half of it has to be left to the origin, beside what the caller takes."""
    async with client(ScriptedWire(math.inf), **settings) as c:
        calls = [c.put(URL, content=slow(*waits)) for _ in range(20)]
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert {type(result).__name__ for result in results} == {"DeadlineExceeded"}
        assert told(c)[0] == state


@pytest.mark.parametrize(("waits", "state"), [((3.0, 0.5), "closed"), ((), "open")])
async def test_callers_slow_upload_makes_no_attempt_slow(waits, state):
    """Of 4.5 s the origin took one; an origin that takes 4 s by itself is slow."""
    breaker = seawall.Breaker(slow_call=4.0, slow_rate=1.0)
    async with client(ScriptedWire(1.0 if waits else 4.0), breaker=breaker) as c:
        await asyncio.gather(*(c.put(URL, content=slow(*waits)) for _ in range(20)))
        assert told(c)[0] == state


async def test_wait_of_an_attempt_is_not_the_next_ones():
    """A body that is made anew: the first attempt waited 1 s for it, the second found it there and hung."""
    waits = iter([1.0, 0.0])
    body = seawall.replayable(lambda: slow(next(waits)))
    settings = {"retry": seawall.Retry(backoff=0.0), "breaker": seawall.Breaker(min_calls=2, failure_rate=0.9)}
    async with client(ScriptedWire(500, math.inf), deadline=2.0, **settings) as c:
        with pytest.raises(seawall.DeadlineExceeded):
            await c.put(URL, content=body)
        assert told(c)[0] == "open"


async def test_earlier_of_two_deadlines_is_the_one_that_struck():
    """An inherited one that is later than the client's own changes nothing."""
    async with client(ScriptedWire(math.inf), deadline=1.0) as c:
        with seawall.deadline(1.001):
            assert await cut(c) == {"DeadlineExceeded"}
        assert told(c)[0] == "open"


async def test_derived_deadline_is_the_clients_own():
    """A transport that heeds no timeout hangs: the deadline from the client's timeouts counts."""
    async with client(ScriptedWire(math.inf), timeout=1.0) as c:
        assert await cut(c) == {"DeadlineExceeded"}
        assert asyncio.get_running_loop().time() == 2.0
        assert told(c)[0] == "open"


async def test_derived_deadline_of_hasty_timeouts_is_not():
    """Derived from a request's own timeouts, far shorter than the client's."""
    async with client(ScriptedWire(math.inf)) as c:
        assert await cut(c, timeout=0.02) == {"DeadlineExceeded"}
        assert asyncio.get_running_loop().time() == 0.04
        assert told(c) == UNTOUCHED


EXPIRIES = [httpx.ReadTimeout, httpx.WriteTimeout, httpx.ConnectTimeout]


@pytest.mark.parametrize("expiry", EXPIRIES)
@pytest.mark.parametrize(("timeout", "state"), [(2.4, "closed"), (2.5, "open"), (5.0, "open"), (60.0, "open")])
async def test_hasty_timeout_is_neutral(expiry, timeout, state):
    """A request's timeout counts from half of the client's own (5 s) on."""
    async with client(ScriptedWire((timeout, expiry)), deadline=None) as c:
        assert await cut(c, timeout=timeout) == {expiry.__name__}
        assert told(c)[0] == state
        if state == "closed":
            assert told(c) == UNTOUCHED


@pytest.mark.parametrize("expiry", EXPIRIES)
@pytest.mark.parametrize(("timeout", "state"), [(4.9, "closed"), (5.0, "open"), (10.0, "open"), (300.0, "open")])
async def test_patient_timeout_counts_whatever_the_clients(expiry, timeout, state):
    """A client that waits for 600 s: a request that waits for 5 s is as patient as httpx's own, and counts."""
    async with client(ScriptedWire((timeout, expiry)), timeout=600.0, deadline=None) as c:
        assert await cut(c, timeout=timeout) == {expiry.__name__}
        assert told(c)[0] == state


@pytest.mark.parametrize(("timeout", "state"), [(4.9, "closed"), (10.0, "open")])
async def test_deadline_derived_from_patient_timeouts(timeout, state):
    """The same for a transport that heeds no timeout, where the deadline that they give cuts the attempt."""
    async with client(ScriptedWire(math.inf), timeout=600.0) as c:
        assert await cut(c, timeout=timeout) == {"DeadlineExceeded"}
        assert told(c)[0] == state


@pytest.mark.parametrize(("timeout", "state"), [(4.9, "closed"), (10.0, "open")])
async def test_504_of_an_upstream_that_was_told_of_a_patient_timeout(timeout, state):
    """An upstream that was told of 10 s, and needs longer, fails, though the client would wait for 600 s."""
    propagation = seawall.Propagation(hosts=["api.test"])
    async with client(ScriptedWire(504), timeout=600.0, propagation=propagation) as c:
        for _ in range(20):
            await c.get(URL, timeout=timeout)
        assert told_of(c) == state


async def test_hasty_in_one_thing_only():
    """A short connect timeout says nothing of a read timeout that is the client's."""
    async with client(ScriptedWire((5.0, httpx.ReadTimeout)), deadline=None) as c:
        await cut(c, timeout=httpx.Timeout(5.0, connect=0.1))
        assert told(c)[0] == "open"


async def test_hasty_reader_of_a_stream():
    """Its read timeout in the midst of a body is neutral too."""
    async with client(ScriptedWire(Body(b"half", 0.1, httpx.ReadTimeout)), deadline=None) as c:
        for _ in range(20):
            with pytest.raises(httpx.ReadTimeout):
                async with c.stream("GET", URL, timeout=0.1) as response:
                    await response.aread()
        assert told(c) == UNTOUCHED


async def test_clients_timeout_may_be_unknown():
    """Without one, or through a stock client: a request's own timeout is all that is known, and counts."""
    async with client(ScriptedWire((0.1, httpx.ReadTimeout)), timeout=None) as c:
        await cut(c, timeout=0.1)
        assert told(c)[0] == "open"
    transport = seawall.AsyncTransport(ScriptedWire((0.1, httpx.ReadTimeout)), retry=None)
    async with httpx.AsyncClient(transport=transport) as stock:
        for _ in range(20):
            with pytest.raises(httpx.ReadTimeout):
                await stock.get(URL, timeout=0.1)
        assert transport.breakers["http://api.test"].state == "open"


async def test_probe_that_a_caller_cut_gives_its_place_back():
    """Half-open: an impatient probe neither closes nor opens the breaker."""
    wire = ScriptedWire(*[500] * 20, math.inf)
    async with client(wire) as c:
        for _ in range(20):
            await c.get(URL)
        await asyncio.sleep(2.0)
        with seawall.deadline(0.1):
            assert await cut(c, 3) == {"DeadlineExceeded"}
        assert c.breakers["http://api.test"].state == "half-open"
        wire.script(200)
        for _ in range(3):
            await c.get(URL)
        assert c.breakers["http://api.test"].state == "closed"


async def answered(app: DeadlineMiddleware, value: str) -> int:
    """The status of an answer to a request with that timeout."""
    messages: list[dict] = []

    async def send(message: dict) -> None:
        messages.append(message)

    async def receive() -> dict:
        raise AssertionError

    await app({"type": "http", "headers": [(b"x-request-timeout-ms", value.encode())]}, receive, send)
    return messages[0]["status"]


async def test_strangers_header_opens_nobodys_breaker():
    """A hundred requests whose header leaves 20 ms, for an upstream that takes longer: the breaker heard of none."""
    wire = ScriptedWire(math.inf)
    async with client(wire) as c:

        async def app(scope, receive, send) -> None:
            await c.get(URL)

        front = DeadlineMiddleware(app)
        assert await asyncio.gather(*(answered(front, "20") for _ in range(64))) == [504] * 64
        assert (len(wire.instants), asyncio.get_running_loop().time()) == (64, 0.02)
        assert told(c) == UNTOUCHED


@pytest.mark.parametrize(
    ("inherited", "settings", "state"),
    [
        (0.021, {}, "closed"),
        (4.0, {}, "closed"),
        (60.0, {}, "open"),
        (60.0, {"deadline": 1.0}, "open"),
        (60.0, {"timeout": 1.0}, "open"),
    ],
)
async def test_504_of_an_upstream_that_was_told_how_long(inherited, settings, state):
    """It heeds the time that it was told: where that was a caller's, its 504 says no more than the deadline would."""
    told = seawall.Propagation(hosts=["api.test"])
    async with client(ScriptedWire(504), propagation=told, **settings) as c:
        with seawall.deadline(inherited):
            assert {response.status_code for response in [await c.get(URL) for _ in range(20)]} == {504}
        assert told_of(c) == state


async def test_504_of_an_upstream_that_was_told_nothing():
    """Or another answer of one that was: a fault, whoever waits."""
    told = seawall.Propagation(hosts=["api.test"])
    for status, settings in ((504, {}), (503, {"propagation": told})):
        async with client(ScriptedWire(status), **settings) as c:
            with seawall.deadline(1.0):
                for _ in range(20):
                    await c.get(URL)
            assert told_of(c) == "open"


@pytest.mark.parametrize(
    ("step", "settings", "call", "count"),
    [
        (math.inf, {}, {"extensions": seawall.options(deadline=1.0)}, 0),
        (math.inf, {"deadline": 1.0}, {}, 3),
        ((0.1, httpx.ReadTimeout), {}, {"timeout": 0.1}, 0),
        ((2.5, httpx.ReadTimeout), {}, {"timeout": 2.5}, 3),
        (httpx.ConnectError, {}, {}, 3),
        (504, {"propagation": seawall.Propagation(hosts=["api.test"])}, {"timeout": 0.1}, 0),
        (504, {"propagation": seawall.Propagation(hosts=["api.test"])}, {}, 3),
        (501, {}, {}, 0),
        (200, {}, {}, 0),
        (seawall.errors.ConnectionLost("the connection ended", death=object()), {}, {}, 1),
        (seawall.errors.ConnectionLost("stale", is_stale=True), {}, {}, 0),
    ],
)
@pytest.mark.parametrize("is_stream", [False, True])
async def test_address_is_blamed_exactly_where_the_breaker_counts(monkeypatch, step, settings, call, count, is_stream):
    """Of three attempts as many as the breaker has counted, whether the body is streamed or not."""
    blamed = []
    monkeypatch.setattr(OverTransport, "blame", lambda self, outgoing, attempt: blamed.append(attempt))
    async with client(ScriptedWire(step), **settings) as c:
        for _ in range(3):
            with contextlib.suppress(httpx.TransportError):
                if is_stream:
                    async with c.stream("GET", URL, **call) as response:
                        await response.aread()
                else:
                    await c.get(URL, **call)
        (state,) = c.engine.layers.origins
        failures = state.breaker._totals(asyncio.get_running_loop().time(), state.breaker.window)[1]
        assert (len(blamed), failures) == (count, count)


@pytest.mark.parametrize(
    ("error", "call", "count"),
    [
        (httpx.ReadError, {}, 3),
        (httpx.ReadTimeout, {"timeout": 0.1}, 0),
        (seawall.errors.ConnectionLost("the connection ended", death=object()), {}, 1),
        (seawall.errors.ResponseTooLarge("a bomb"), {}, 0),
    ],
)
async def test_address_of_a_stream_that_is_cut(monkeypatch, error, call, count):
    """It is blamed where the breaker takes the success back; what is neutral is no success for an origin in trouble."""
    blamed = []
    monkeypatch.setattr(OverTransport, "blame", lambda self, outgoing, attempt: blamed.append(attempt))
    async with client(ScriptedWire(500, Body(b"half", 0.1, error))) as c:
        await c.get(URL)
        blamed.clear()
        (state,) = c.engine.layers.origins
        before = state.trouble
        for _ in range(3):
            with pytest.raises((httpx.TransportError, seawall.SeawallError)):
                async with c.stream("GET", URL, **call) as response:
                    await response.aread()
        failures = state.breaker._totals(asyncio.get_running_loop().time(), state.breaker.window)[1]
        assert (len(blamed), failures) == (count, 1 + count)
        assert state.trouble == pytest.approx(1 - (1 - before) * 0.8**count)


def told_of(c: seawall.AsyncClient) -> str:
    return c.breakers["http://api.test"].state


@pytest.mark.parametrize(
    ("settings", "value", "attempts"),
    [
        ({}, "0", 0),
        ({}, "19", 0),
        ({}, "20", 1),
        ({"min_timeout": 0}, "0", 0),
        ({"min_timeout": 0}, "1", 1),
        ({"max_timeout": 0.01}, "9", 0),
        ({"max_timeout": 0.01}, "10", 1),
        ({"max_timeout": 0.01}, "5000", 1),
        ({"min_timeout": 0.25}, "249", 0),
        ({"min_timeout": 0.25}, "250", 1),
    ],
)
async def test_what_is_below_the_minimum_costs_nobody_anything(settings, value, attempts):
    """It is answered with 504 at once; from the minimum on the upstream is asked."""
    wire = ScriptedWire(math.inf)
    async with client(wire) as c:

        async def app(scope, receive, send) -> None:
            await c.get(URL)

        assert await answered(DeadlineMiddleware(app, **settings), value) == 504
    assert len(wire.instants) == attempts
