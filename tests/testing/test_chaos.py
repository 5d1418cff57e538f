"""Faults at a rate: decided purely, struck where life strikes."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from random import Random

import httpx
import pytest

import seawall
from seawall.testing._httpx.chaos import Chaos, ChaosTransport, Plan, plan
from seawall.testing.clock import VirtualLoop

pytestmark = [pytest.mark.anyio, pytest.mark.each_front]

URL = "http://api.test/"


@pytest.fixture
def anyio_backend():
    return "asyncio", {"loop_factory": VirtualLoop}


class Body(httpx.AsyncByteStream):
    """Parts; counts how often it was closed."""

    def __init__(self, *parts: bytes) -> None:
        self.parts = parts
        self.closed = 0

    async def __aiter__(self):
        for part in self.parts:
            await asyncio.sleep(0)
            yield part

    async def aclose(self) -> None:
        self.closed += 1


class Inner(httpx.AsyncBaseTransport):
    """Answers with *parts*; keeps the requests that reached it and the bodies it gave."""

    def __init__(self, *parts: bytes, delay: float = 0.0) -> None:
        self.parts = parts or (b"ok",)
        self.delay = delay
        self.requests: list[httpx.Request] = []
        self.bodies: list[Body] = []
        self.entered = self.closed = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        await asyncio.sleep(self.delay)
        self.bodies.append(Body(*self.parts))
        return httpx.Response(200, stream=self.bodies[-1])

    async def __aenter__(self):
        self.entered += 1
        return self

    async def aclose(self) -> None:
        self.closed += 1


def now() -> float:
    return asyncio.get_running_loop().time()


def client(inner: httpx.AsyncBaseTransport, chaos: Chaos, **more) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=ChaosTransport(inner, chaos, rng=Random(1)), **more)


async def read(response: httpx.Response, parts: list[bytes], *, delay: float = 0.0) -> None:
    async for part in response.aiter_raw():
        parts.append(part)
        await asyncio.sleep(delay)


# decisions


def test_rates_are_kept_exactly_for_a_seed():
    """Of 10,000 requests at seed 7, each fault strikes as often as its rate says, within 3 standard deviations."""
    chaos = Chaos(error_rate=0.1, status_rate=0.05, statuses=(500, 503), cut_rate=0.02, latency_rate=0.2, latency=1.0)
    rng = Random(7)
    counts = Counter(name for _ in range(10_000) for name in plan(chaos, rng).names)
    errors = sum(counts[error.__name__] for error in chaos.errors)
    assert abs(errors - 1000) < 90
    assert abs(counts["500"] + counts["503"] - 500) < 66
    assert abs(counts["cut"] - 200) < 42
    assert abs(counts["latency"] - 2000) < 120
    assert all(abs(counts[error.__name__] - errors / 3) < 60 for error in chaos.errors)


def test_same_seed_gives_the_same_faults():
    """The n-th plan depends on seed and n only; another rate leaves the other requests' draws alone."""
    chaos = Chaos(error_rate=0.3, latency_rate=0.5, latency=(0.1, 0.2))
    first, second = Random(3), Random(3)
    plans = [plan(chaos, first) for _ in range(200)]
    assert plans == [plan(chaos, second) for _ in range(200)]
    assert {planned.error for planned in plans} == {None, *chaos.errors}
    delays = [planned.delay for planned in plans if planned.delay]
    assert 0.1 <= min(delays) < max(delays) <= 0.2
    third = Random(3)
    more = [plan(replace(chaos, latency_rate=0.0), third) for _ in range(200)]
    assert [planned.error for planned in more] == [planned.error for planned in plans]


def test_all_rates_zero_and_one():
    """Rate 0 never strikes, rate 1 always; a cut lies in its range, both ends included."""
    rng = Random(0)
    assert {plan(Chaos(), rng) for _ in range(100)} == {Plan()}
    cuts = {plan(Chaos(cut_rate=1.0, cut_after=(2, 4)), rng).cut for _ in range(100)}
    assert cuts == {2, 3, 4}
    assert {plan(Chaos(error_rate=0.5, status_rate=0.5), rng) == Plan() for _ in range(1000)} == {False}


@pytest.mark.parametrize(
    ("bad", "error", "says"),
    [
        ({"error_rate": 1.5}, ValueError, "Chaos.error_rate.*<= 1"),
        ({"error_rate": "1"}, TypeError, "Chaos.error_rate"),
        ({"error_rate": 0.6, "cut_rate": 0.6}, ValueError, "add up to at most 1"),
        ({"latency": -1}, ValueError, "Chaos.latency"),
        ({"latency": (2, 1)}, ValueError, "low <= high"),
        ({"latency": (1, 2, 3)}, TypeError, "Chaos.latency"),
        ({"cut_after": 1.5}, TypeError, "Chaos.cut_after"),
        ({"errors": (ValueError,)}, TypeError, "httpx.TransportError"),
        ({"errors": httpx.ReadError}, TypeError, "httpx.TransportError"),
        ({"cut_errors": ()}, TypeError, "Chaos.cut_errors"),
        ({"statuses": 503}, TypeError, "Chaos.statuses"),
        ({"statuses": (99,)}, ValueError, "200 to 599"),
    ],
)
def test_bad_input(bad, error, says):
    """Each names its setting and what is allowed."""
    with pytest.raises(error, match=says):
        Chaos(**bad)


def test_bad_transport():
    """What is no transport, no Chaos, or no switch is refused at once."""
    inner = httpx.MockTransport(lambda request: httpx.Response(200))
    for bad in (("inner", Chaos()), (inner, 0.1)):
        with pytest.raises(TypeError, match="must be"):
            ChaosTransport(*bad)
    with pytest.raises(TypeError, match="is_enabled"):
        ChaosTransport(inner, Chaos(), is_enabled="yes")


# effects


@pytest.mark.parametrize("error", [httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError])
async def test_unsent_means_unsent(error):
    """An error that says "not sent" comes before the inner transport is asked."""
    inner = Inner()
    async with client(inner, Chaos(error_rate=1.0, errors=(error,))) as c:
        with pytest.raises(error, match="injected by ChaosTransport") as caught:
            await c.get(URL)
    assert type(caught.value) is error
    assert caught.value.request.url == URL
    assert inner.requests == []


@pytest.mark.parametrize("error", [httpx.ReadError, httpx.ReadTimeout, httpx.RemoteProtocolError, httpx.WriteError])
async def test_sent_means_sent(error):
    """Any other comes after the request reached the inner transport; the answer is closed once."""
    inner = Inner()
    async with client(inner, Chaos(error_rate=1.0, errors=(error,))) as c:
        with pytest.raises(error, match="injected by ChaosTransport"):
            await c.post(URL, content=b"x")
    assert len(inner.requests) == 1
    assert [body.closed for body in inner.bodies] == [1]


@pytest.mark.parametrize(
    ("error", "waited"),
    [(httpx.ConnectTimeout, 1.0), (httpx.ReadTimeout, 2.0), (httpx.WriteTimeout, 3.0), (httpx.PoolTimeout, 4.0)],
)
async def test_timeouts_take_their_time(error, waited):
    """An injected timeout comes after the request's own, of its kind; at once where there is none."""
    timeout = httpx.Timeout(connect=1.0, read=2.0, write=3.0, pool=4.0)
    async with client(Inner(), Chaos(error_rate=1.0, errors=(error,))) as c:
        with pytest.raises(error):
            await c.get(URL, timeout=timeout)
        assert now() == waited
        with pytest.raises(error):
            await c.get(URL, timeout=None)
        assert now() == waited


async def test_status_asks_nobody():
    """An injected status is answered without the inner transport, and its text says what it is."""
    inner = Inner()
    async with client(inner, Chaos(status_rate=1.0, statuses=(429,))) as c:
        response = await c.get(URL)
    assert (response.status_code, response.text) == (429, "injected by ChaosTransport")
    assert inner.requests == []


async def test_latency_comes_first_and_alone_changes_nothing():
    """The delay passes before the inner transport is asked; the answer is its own."""
    inner = Inner()
    async with client(inner, Chaos(latency_rate=1.0, latency=1.5)) as c:
        pending = asyncio.create_task(c.get(URL))
        await asyncio.sleep(1.4)
        assert inner.requests == []
        assert (await pending).text == "ok"
    assert now() == 1.5


@pytest.mark.parametrize(("after", "arrives"), [(0, b""), (3, b"abc"), (4, b"abcd"), (6, b"abcdef"), (99, b"abcdef")])
async def test_cut_body(after, arrives):
    """The status comes, then exactly so many bytes, then the error; the inner stream is closed once."""
    inner = Inner(b"abcd", b"", b"ef")
    got: list[bytes] = []
    chaos = Chaos(cut_rate=1.0, cut_after=after, cut_errors=(httpx.RemoteProtocolError,))
    async with client(inner, chaos) as c, c.stream("GET", URL) as response:
        assert response.status_code == 200
        with pytest.raises(httpx.RemoteProtocolError, match="injected by ChaosTransport"):
            await read(response, got)
    assert b"".join(got) == arrives
    assert [body.closed for body in inner.bodies] == [1]


async def test_cut_strikes_a_mocked_answer_too():
    """An answer that was read before it came, as MockTransport's is, is cut all the same, and keeps its headers."""
    inner = httpx.MockTransport(lambda request: httpx.Response(200, content=b"abcd"))
    async with client(inner, Chaos(cut_rate=1.0, cut_after=2)) as c, c.stream("GET", URL) as response:
        assert response.headers["content-length"] == "4"
        with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
            await response.aread()


async def test_cancellation_closes_the_inner_response_once():
    """Cancelled during an injected ReadTimeout, or while a body that will be cut is read: closed once, not twice."""
    inner = Inner(b"a" * 10)
    chaos = Chaos(error_rate=1.0, errors=(httpx.ReadTimeout,))
    async with client(inner, chaos) as c:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.0):
                await c.get(URL, timeout=5.0)
        assert now() == 1.0
        assert [body.closed for body in inner.bodies] == [1]

        c._transport.chaos = Chaos(cut_rate=1.0, cut_after=20)
        async with c.stream("GET", URL) as response:
            reading = asyncio.create_task(read(response, [], delay=5.0))
            await asyncio.sleep(1.0)
            reading.cancel()
            await asyncio.wait([reading])
        assert [body.closed for body in inner.bodies] == [1, 1]


async def test_cut_that_is_never_read_is_closed_once():
    """A response that is closed unread closes the inner stream, once."""
    inner = Inner()
    async with client(inner, Chaos(cut_rate=1.0)) as c:
        async with c.stream("GET", URL) as response:
            pass
        await response.aclose()
    assert [body.closed for body in inner.bodies] == [1]


async def test_switch():
    """While it is off, or off for this request, nothing strikes and nothing is drawn; all requests are counted."""
    chaos = ChaosTransport(Inner(), Chaos(status_rate=1.0), is_enabled=False, rng=Random(5))
    async with httpx.AsyncClient(transport=chaos) as c:
        assert (await c.get(URL)).status_code == 200
        chaos.is_enabled = lambda request: request.url.path == "/bad"
        assert (await c.get(URL)).status_code == 200
        assert (await c.get(URL + "bad")).status_code == 503
        chaos.is_enabled = True
        assert (await c.get(URL)).status_code == 503
    assert (chaos.requests, chaos.injected) == (4, {"503": 2})
    used = Random(5)
    assert [plan(chaos.chaos, used) for _ in range(2)]
    assert chaos._rng.getstate() == used.getstate()


async def test_inner_is_entered_and_closed():
    """Entering and closing are passed on, once each."""
    inner = Inner()
    async with client(inner, Chaos()):
        assert (inner.entered, inner.closed) == (1, 0)
    assert inner.closed == 1


# under seawall's layers


async def test_seawall_repeats_a_get_and_not_a_post():
    """After an injected ReadError a GET is sent again, a POST is not: it did reach the server."""
    inner = Inner()
    chaos = ChaosTransport(inner, Chaos(error_rate=1.0, errors=(httpx.ReadError,)), rng=Random(1))
    async with seawall.AsyncClient(transport=chaos, retry=seawall.Retry(max_attempts=3), budget=None) as c:
        with pytest.raises(httpx.ReadError):
            await c.get(URL)
        assert len(inner.requests) == 3
        with pytest.raises(httpx.ReadError):
            await c.post(URL, content=b"x")
        assert len(inner.requests) == 4
    assert chaos.injected == {"ReadError": 4}


async def test_seawall_gets_through():
    """At 20 % faults of each kind of failure, 200 GETs with 5 attempts each all end well; cut bodies are repeated."""
    chaos = ChaosTransport(
        Inner(b"whole", b" body"), Chaos(error_rate=0.1, status_rate=0.05, cut_rate=0.05, cut_after=5), rng=Random(2)
    )
    retry = seawall.Retry(max_attempts=5)
    async with seawall.AsyncClient(transport=chaos, retry=retry, budget=None, breaker=None, deadline=None) as c:
        for _ in range(200):
            response = await c.get(URL)
            assert (response.status_code, response.text) == (200, "whole body")
    assert chaos.requests == 200 + sum(chaos.injected.values())
    assert set(chaos.injected) == {"ConnectError", "ReadError", "ReadTimeout", "503", "cut"}
