"""Deadlines to the instant, whatever a call meets; inherited, detached, and told to upstreams."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from random import Random

import httpx
import pytest

import seawall
from seawall.core.deadline import Caller
from seawall.testing import Body, FixedRandom, ScriptedWire

pytestmark = pytest.mark.anyio

URL = "http://api.test/"


def now() -> float:
    return asyncio.get_running_loop().time()


def later(status: int, seconds: int) -> httpx.Response:
    return httpx.Response(status, headers={"retry-after": str(seconds)})


STEPS = [
    1000.0,  # hangs
    Body(*[0.2, b"x"] * 3600),  # drips
    0.7,
    (0.3, 503),
    later(503, 1),
    later(429, 4),
    (0.2, httpx.ConnectError),
    (0.9, httpx.ReadTimeout),
    httpx.Response(302, headers={"location": "/next"}),
    (0.4, httpx.Response(307, headers={"location": "/next"})),
    Body(b"half", 0.3, httpx.ReadError),
    200,
]


async def test_thousand_random_calls():
    """Hang, drip, delay, Retry-After, queueing, redirects: none is over later than its deadline, to the instant."""
    rng = Random(6)
    exceeded = in_time = 0
    for _ in range(100):
        wire = ScriptedWire(*rng.choices(STEPS, k=8))
        settings = {
            "bulkhead": seawall.Bulkhead(max_concurrent=rng.choice([1, 3, 64])),
            "retry": seawall.Retry(max_attempts=rng.choice([1, 3, 5]), pause_origin=rng.random() < 0.3),
            "breaker": None,
        }
        async with seawall.AsyncClient(transport=wire, rng=rng, follow_redirects=True, **settings) as client:

            async def one(client: seawall.AsyncClient = client) -> float | None:
                """How long it had, where its deadline ended it."""
                await asyncio.sleep(rng.uniform(0, 2))
                deadline, began_at = rng.uniform(0.01, 6), now()
                try:
                    await client.get(URL, extensions=seawall.options(deadline=deadline))
                except seawall.DeadlineExceeded as error:
                    assert now() == pytest.approx(began_at + deadline, abs=1e-9)
                    assert error.timeout == pytest.approx(deadline)
                    return deadline
                except httpx.HTTPError:
                    pass
                assert now() <= began_at + deadline + 1e-9
                return None

            for ended in await asyncio.gather(*(one() for _ in range(10))):
                exceeded, in_time = exceeded + (ended is not None), in_time + (ended is None)
            (state,) = client.stats().origins.values()
            assert (state.in_flight, state.waiting, client.stats().calls) == (0, 0, 0)
    assert exceeded > 200
    assert in_time > 200


async def test_tasks_inherit_and_may_be_detached():
    """What a task starts has its deadline; what is to outlive it has none."""
    async with seawall.AsyncClient(transport=ScriptedWire(3.0)) as client:
        assert seawall.remaining() is None
        with seawall.deadline(2.0):
            assert seawall.remaining() == 2.0
            bound = asyncio.create_task(client.get(URL))
            with seawall.detached():
                assert seawall.remaining() is None
                free = asyncio.create_task(client.get(URL))
            with pytest.raises(seawall.DeadlineExceeded):
                await bound
            assert seawall.remaining() == 0.0
        assert (await free).status_code == 200
    assert now() == 3.0


def test_remaining_in_a_thread():
    """Such as FastAPI runs plain functions in: there is no loop, and its clock is the system's."""

    async def main() -> float | None:
        with seawall.deadline(5.0):
            return await asyncio.to_thread(seawall.remaining)

    left = asyncio.run(main())
    assert left is not None
    assert 0.0 < left <= 5.0


# Propagation

TOLD = seawall.Propagation(hosts=["api.test", "*.internal"])


async def test_upstreams_are_told():
    """What remains, anew for each attempt, less 20 ms for the way back; and which attempt it is."""
    wire = ScriptedWire((0.5, 503), 200)
    async with seawall.AsyncClient(transport=wire, deadline=4.0, rng=FixedRandom(), propagation=TOLD) as client:
        response = await client.get(URL)
    told = [(each.headers["x-request-timeout-ms"], each.headers["x-request-attempt"]) for each in wire.attempts]
    assert told == [("3980", "1"), ("2480", "2")]
    assert "x-request-attempt" not in response.request.headers


async def test_read_timeout_is_told_where_it_is_shorter():
    """Nobody waits for an answer longer than that."""
    wire = ScriptedWire(200)
    async with seawall.AsyncClient(transport=wire, deadline=60.0, timeout=5.0, propagation=TOLD) as client:
        await client.get(URL)
        await client.get(URL, timeout=None)
        await client.get(URL, timeout=None, extensions=seawall.options(deadline=None))
        await client.get(URL, extensions=seawall.options(deadline=0.1))
        await client.get(URL, timeout=float("inf"))
    assert [each.headers.get("x-request-timeout-ms") for each in wire.attempts] == [
        "4980",
        "59980",
        None,
        "90",
        "59980",
    ]


async def test_time_in_the_queue_is_not_told():
    """It is reckoned when the attempt is sent, not when it began to wait for a permit."""
    wire = ScriptedWire(1.0)
    settings = {"bulkhead": seawall.Bulkhead(max_concurrent=1), "deadline": 3.0, "propagation": TOLD}
    async with seawall.AsyncClient(transport=wire, **settings) as client:
        await asyncio.gather(client.get(URL), client.get(URL))
    assert [each.headers["x-request-timeout-ms"] for each in wire.attempts] == ["2980", "1980"]


async def test_nobody_else_is_told():
    """Neither a host that is not on the list, nor one that a redirect leads to."""
    wire = ScriptedWire(httpx.Response(302, headers={"location": "http://third.party/"}), 200)
    async with seawall.AsyncClient(transport=wire, propagation=TOLD, follow_redirects=True) as client:
        await client.get("http://a.internal/")
        await client.get("http://internal/", headers={"x-request-attempt": "mine"})
    assert [each.headers.get("x-request-attempt") for each in wire.attempts] == ["1", None, "mine"]


async def test_other_names_for_the_headers():
    """As the upstreams know them; either may be left out."""
    told = seawall.Propagation(hosts=["api.test"], timeout_header="X-Timeout", attempt_header=None, margin=0)
    wire = ScriptedWire(200)
    async with seawall.AsyncClient(transport=wire, deadline=1.0, propagation=told) as client:
        await client.get(URL)
    assert wire.attempts[0].headers["x-timeout"] == "1000"
    assert not any("attempt" in name for name in wire.attempts[0].headers)


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda: seawall.Propagation(hosts=[]), ValueError, "at least one host"),
        (lambda: seawall.Propagation(hosts="api.test"), TypeError, "a list of names"),
        (lambda: seawall.Propagation(hosts=["http://api.test"]), ValueError, "no host can match"),
        (lambda: seawall.Propagation(hosts=[3]), ValueError, "no host can match"),
        (lambda: seawall.Propagation(hosts=["a"], timeout_header="a b"), ValueError, "that is free"),
        (lambda: seawall.Propagation(hosts=["a"], timeout_header="Content-Length"), ValueError, "that is free"),
        (
            lambda: seawall.Propagation(hosts=["a"], timeout_header="x", attempt_header="X"),
            ValueError,
            "different names",
        ),
        (
            lambda: seawall.Propagation(hosts=["a"], timeout_header=None, attempt_header=None, criticality_header=None),
            ValueError,
            "needs one of timeout_header, attempt_header, criticality_header",
        ),
        (lambda: seawall.Propagation(hosts=["a"], criticality_header="TE"), ValueError, "that is free"),
        (lambda: seawall.Propagation(hosts=["a"], margin=-1), ValueError, ">= 0"),
        (lambda: seawall.AsyncClient(propagation=["api.test"]), TypeError, r"seawall\.Propagation"),
    ],
)
def test_propagation_that_cannot_be(make, kind, message):
    """Refused at once."""
    with pytest.raises(kind, match=message):
        make()


class Again(httpx.Auth):
    """Answers a 401 by the same request."""

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        if (yield request).status_code == 401:
            yield request


def passing(status: int, *parts: bytes | float) -> httpx.Response:
    return httpx.Response(status, headers={"location": "/next"}, stream=Body(*parts))


DRIP = [1.0, b"x"] * 3600


@pytest.mark.parametrize("status", [302, 401])
@pytest.mark.parametrize(("settings", "ends_at"), [({"deadline": 10.0}, 10.0), ({}, 35.0)])
async def test_what_a_streamed_call_reads_on_its_way(status, settings, ends_at):
    """The body of a redirect, or of a response that asks for authentication, ends with the deadline if it drips."""
    wire = ScriptedWire(passing(status, *DRIP), 200)
    async with seawall.AsyncClient(transport=wire, follow_redirects=True, auth=Again(), **settings) as client:
        with pytest.raises(seawall.DeadlineExceeded, match="1 of 3") as caught:
            await client.send(client.build_request("GET", URL), stream=True)
        assert now() <= ends_at
        assert isinstance(caught.value, httpx.TimeoutException)
        (state,) = client.stats().origins.values()
        assert (state.in_flight, state.breaker) == (0, "closed")
        async with client.stream("GET", URL) as response:
            assert response.status_code == 200


@pytest.mark.parametrize("status", [302, 401])
async def test_the_deadline_of_a_streamed_call_ends_with_its_headers(status):
    """Bodies on the way share the deadline. The caller may take any time to read the body that the call returned."""
    body = [1.0, b"x" * 2000] * 60
    wire = ScriptedWire(passing(status, *body), passing(200, *body))
    async with seawall.AsyncClient(transport=wire, follow_redirects=True, auth=Again(), deadline=70.0) as client:
        response = await client.send(client.build_request("GET", URL), stream=True)
        assert (now(), len(response.history[0].content)) == (60.0, 120_000)
        assert (len(await response.aread()), now()) == (120_000, 120.0)


async def test_the_inbound_caller_leaves_while_a_streamed_call_is_on_its_way():
    """What it reads then ends at once."""
    wire = ScriptedWire(passing(302, *DRIP), 200)
    async with seawall.AsyncClient(transport=wire, follow_redirects=True) as client:
        with Caller() as caller:
            asyncio.get_running_loop().call_later(3.0, caller.leave)
            with pytest.raises(seawall.errors.CallerLeft):
                await client.send(client.build_request("GET", URL), stream=True)
            assert now() == 3.0


async def test_the_client_is_closed_while_a_streamed_call_is_on_its_way():
    """As everywhere, the call ends at once."""
    client = seawall.AsyncClient(transport=ScriptedWire(passing(302, *DRIP), 200), follow_redirects=True)
    call = asyncio.create_task(client.send(client.build_request("GET", URL), stream=True))
    await asyncio.sleep(3.5)
    await client.aclose()
    with pytest.raises(seawall.ClientClosed):
        await call
    assert now() == 3.5
