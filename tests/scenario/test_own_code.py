"""
The application's own code raises: a body, an application below, a gate's ticket, a filter of its log. On virtual time.

What it raises is its own: nobody is blamed for it, nothing is sent again for it, and nothing stays held.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from collections.abc import AsyncIterator, Callable

import httpx
import pytest

import seawall
from seawall.errors import ProxyOpen
from seawall.events import BodyEnded
from seawall.fetch.fan_out import asked_delay
from seawall.testing import Body, FixedRandom, ScriptedWire
from seawall.testing.leaks import held

pytestmark = pytest.mark.anyio

URL = "http://api.test/"
ORIGIN = seawall.Origin("http", "api.test", 80)


def client(transport: httpx.AsyncBaseTransport, **settings) -> seawall.AsyncClient:
    return seawall.AsyncClient(transport=transport, **{"rng": FixedRandom()} | settings)


def proxy_open() -> ProxyOpen:
    return ProxyOpen("http://p: open", retry_after=0.5, proxy="http://p", reason="", open_for=1.0)


ERRORS = [
    lambda: httpx.ConnectError("the source is down"),
    lambda: httpx.ReadError("the source broke off"),
    lambda: seawall.DialError("the source is down", origin=ORIGIN),
    proxy_open,
    lambda: ProxyOpen("http://p: open, but nobody says for how long"),
    lambda: ValueError("a bug"),
]


WIRES = {"trusted": httpx.MockTransport(lambda request: httpx.Response(200)), "other": ScriptedWire(200)}


@pytest.mark.parametrize("is_patient", [False, True])
@pytest.mark.parametrize("wire", WIRES.values(), ids=WIRES)
@pytest.mark.parametrize("make", ERRORS)
async def test_error_of_the_body_is_the_callers(make: Callable[[], Exception], wire, is_patient):
    """Over any transport: a POST is sent once, and the breaker of its destination counts nothing."""
    error, begun = make(), []

    async def parts() -> AsyncIterator[bytes]:
        begun.append(error)
        yield b"x"
        raise error

    layers = {"waits": is_patient, "breaker": seawall.Breaker(min_calls=1), "deadline": 10.0}
    async with client(wire, **layers) as c:
        for number in range(1, 4):
            with pytest.raises((type(error), seawall.errors.PartlySent)) as caught:
                await c.post(URL, content=seawall.replayable(parts))
            assert error in (caught.value, caught.value.__cause__)
            assert len(begun) == number
        assert c.breakers[URL].state == "closed"
        assert held(c.stats()) == []


@pytest.mark.parametrize("make", ERRORS[2:5])
async def test_error_of_an_application_below_is_no_reason_to_wait(make):
    """It had the request, whatever the error of a call of its own says."""
    ran = []

    async def application(scope, receive, send) -> None:
        ran.append(await receive())
        raise make()

    async with client(httpx.ASGITransport(application), waits=True, deadline=10.0) as c:
        with pytest.raises(seawall.SeawallError):
            await c.post(URL, content=b"order")
    assert len(ran) == 1


@pytest.mark.parametrize("kind", [seawall.errors.Shed, seawall.LimitExceeded, seawall.errors.OriginPaused])
def test_refusal_that_does_not_say_when_is_final(kind):
    """A gate of the user's may raise one; `client.map` then doesn't wait for its host."""
    assert asked_delay(kind("mine")) is None


class Ticket(seawall.Ticket):
    """Raises whatever it is told."""

    def end(self, result, now) -> None:
        raise ValueError("a bug in end()")

    def retract(self, now, *, ended_at, duration) -> None:
        raise ValueError("a bug in retract()")


class Bare:
    """Takes itself for a ticket."""

    def is_valid(self) -> bool:
        return True

    def end(self, result, now) -> None:
        pass


@pytest.mark.parametrize("kind", [Ticket, Bare])
async def test_ticket_that_raises_keeps_nothing(kind, caplog):
    """Not when it ends, nor when a stream's body breaks after its headers had counted as good."""

    class Gate(seawall.Gate):
        name = "mine"

        def try_enter(self, attempt, now):
            return kind()

    ends = []
    layers = {"bulkhead": seawall.Bulkhead(max_concurrent=1), "breaker": None, "retry": None}
    wire = ScriptedWire(Body(b"half", httpx.ReadError))
    async with client(wire, gates=[lambda origin: Gate()], observers=[ends.append], **layers) as c:
        for _ in range(3):
            with pytest.raises(httpx.ReadError):
                async with c.stream("GET", URL) as response:
                    await response.aread()
            assert held(c.stats()) == []
    assert sum(isinstance(event, BodyEnded) for event in ends) == 3


@pytest.mark.usefixtures("broken_log")
async def test_log_that_raises_breaks_no_call():
    """Neither do filters that raise at the line that says so."""
    async with client(ScriptedWire(Body(b"whole")), bulkhead=seawall.Bulkhead(max_concurrent=1)) as c:
        for _ in range(3):
            async with c.stream("GET", URL) as response:
                assert await response.aread() == b"whole"
            assert held(c.stats()) == []


@pytest.mark.parametrize("is_long", [False, True])
async def test_drained_client_makes_the_calls_of_its_body(is_long):
    """An upload that is made of what the same client fetches is in flight, so its fetches aren't new calls."""
    hooks = {"request": [lambda request: asyncio.sleep(0)]} if is_long else {}
    c = client(ScriptedWire(200), event_hooks=hooks)

    async def pages() -> AsyncIterator[bytes]:
        for number in range(3):
            await asyncio.sleep(1.0)
            yield (await c.get(f"http://source.test/{number}")).content

    upload = asyncio.create_task(c.put(URL, content=pages()))
    await asyncio.sleep(1.5)
    closing = asyncio.create_task(c.aclose(drain=30.0))
    assert (await upload).status_code == 200
    await closing
    assert asyncio.get_running_loop().time() == 3.0


async def test_call_that_is_closed_elsewhere_is_over():
    """Its coroutine may be closed in another context, as that of a task that is collected."""
    c = client(ScriptedWire((1e6, 200)), gates=[lambda origin: None])
    call = c.get(URL)
    contextvars.copy_context().run(call.send, None)
    assert c.stats().calls == 1
    with contextlib.suppress(ValueError):  # of a variable that is of the other context
        call.close()
    assert held(c.stats()) == []
    await c.aclose(drain=30.0)
    assert asyncio.get_running_loop().time() == 0.0


async def test_drained_client_makes_the_calls_of_a_predicate():
    """As one that fetches a token before its call is repeated."""
    wire = ScriptedWire((1.0, 401), 200, 200)

    async def renews(outcome) -> bool:
        if outcome.status == 401:
            await c.post("http://api.test/token")
            return True
        return False

    c = client(wire, retry=seawall.Retry(retry=renews))
    call = asyncio.create_task(c.get(URL))
    await asyncio.sleep(0.5)
    closing = asyncio.create_task(c.aclose(drain=30.0))
    assert (await call).status_code == 200
    await closing
    assert [str(attempt.url) for attempt in wire.attempts] == [URL, "http://api.test/token", URL]
