"""Patient attempts, which wait where a gate refuses others: how long, and what their history says. On virtual time."""

from __future__ import annotations

import asyncio
import math

import httpx
import pytest

import seawall
from seawall.policy.gate import UNCOUNTED, Entrant
from seawall.testing import FixedRandom, ScriptedWire

pytestmark = pytest.mark.anyio

URL = "http://api.test"


def client(wire: httpx.AsyncBaseTransport, **settings) -> seawall.AsyncClient:
    mine = {"rng": FixedRandom(0.5), "retry": None, "waits": True, "deadline": None}
    return seawall.AsyncClient(transport=wire, **mine | settings)


def failing(times: int, took: float) -> ScriptedWire:
    """So many attempts fail after 0.05 s, all others are good after *took*."""
    return ScriptedWire(*[(0.05, 500)] * times, (took, 200))


class Refusing(seawall.Gate):
    """Refuses with *error* until *until*; notes when it was asked."""

    name = "mine"

    def __init__(self, error: seawall.Rejected, until: float = math.inf) -> None:
        self.error = error
        self.until = until
        self.asked: list[float] = []
        self.attempt: Entrant | None = None

    def try_enter(self, attempt: Entrant, now: float) -> seawall.Ticket | None:
        self.attempt = attempt
        return UNCOUNTED if now >= self.until else None

    async def enter(self, attempt: Entrant, timeout: float | None) -> seawall.Ticket:
        self.asked.append(asyncio.get_running_loop().time())
        assert len(self.asked) < 1000
        raise self.error


async def test_probe_that_waited_for_its_turn_isnt_slow():
    """Calls that queue for a permit as the breaker opens sit it out there; their probes are as quick as any."""
    moves: list[str] = []

    def moved(event: seawall.events.Event) -> None:
        if isinstance(event, seawall.events.BreakerMoved):
            moves.append(event.state)

    breaker = seawall.Breaker(min_calls=4, slow_call=0.8)
    wire, bulkhead = failing(4, 0.01), seawall.Bulkhead(max_concurrent=2)
    async with client(wire, breaker=breaker, bulkhead=bulkhead, observers=[moved]) as c:
        responses = await asyncio.gather(*(c.get(f"{URL}/{number}") for number in range(20)))
        assert moves == ["open", "half-open", "closed"]
        assert asyncio.get_running_loop().time() < 1.3
    waits = [response.extensions["seawall"][0].queued[:2] for response in responses[4:]]
    assert {tuple((gate, round(seconds, 9)) for gate, seconds in each) for each in waits} == {
        (("bulkhead", 0.1), ("breaker", 1.0)),
        (("bulkhead", 0.1), ("breaker", 1.02)),
    }
    for response in responses[4:]:
        (attempt,) = response.extensions["seawall"]
        assert attempt.duration - sum(seconds for _, seconds in attempt.queued) == pytest.approx(0.01)


async def test_deadline_that_strikes_in_the_wait():
    """The history says where the time went."""
    breaker = seawall.Breaker(min_calls=1, open_for=60.0, max_open_for=60.0)
    async with client(ScriptedWire((1.0, 500)), breaker=breaker, bulkhead=seawall.Bulkhead(max_concurrent=1)) as c:
        first = asyncio.create_task(c.get(URL))
        await asyncio.sleep(0)
        with pytest.raises(seawall.DeadlineExceeded) as caught, seawall.deadline(5.0):
            await c.get(URL)
        await first
    (attempt,) = caught.value.attempts
    assert attempt.queued == (("bulkhead", 1.0), ("breaker", 4.0))


async def test_trouble_is_one_wait():
    """Though the gate is asked each second."""
    gate = Refusing(seawall.errors.Shed("trouble", retry_after=1.0), until=5.5)
    async with client(ScriptedWire((0.25, 200)), gates=[lambda _: gate]) as c:
        response = await c.get(URL)
    (attempt,) = response.extensions["seawall"]
    assert gate.asked == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    assert (attempt.queued, attempt.duration) == ((("shed", 6.0),), 6.25)


async def test_waits_leave_the_pool_timeout_for_the_cap():
    """What a patient attempt has waited at its gates isn't taken from the time that it may wait for a connection."""
    gate = Refusing(seawall.BreakerOpen("shut", retry_after=60.0), until=60.0)
    async with client(ScriptedWire(200), gates=[lambda _: gate]) as c:
        await c.get(URL)
    assert (gate.attempt.waited, gate.attempt.waited_in_queues()) == (60.0, 0.0)


@pytest.mark.parametrize("kind", [seawall.BreakerOpen, seawall.Shed, seawall.errors.ProxyOpen])
@pytest.mark.parametrize("facts", [{}, {"retry_after": None}, {"retry_after": math.inf}, {"retry_after": math.nan}])
async def test_gate_that_doesnt_say_when(kind, facts):
    """Its error is the caller's, at once."""
    gate = Refusing(kind("closed for today", **facts))
    async with client(ScriptedWire(200), gates=[lambda _: gate]) as c:
        with pytest.raises(kind, match="closed for today") as caught:
            await c.get(URL)
    assert len(caught.value.attempts) == len(gate.asked) == 1
    assert asyncio.get_running_loop().time() == 0.0


@pytest.mark.parametrize("kind", [seawall.BreakerOpen, seawall.Shed])
@pytest.mark.parametrize("retry_after", [0, -1.0])
async def test_gate_that_says_now(kind, retry_after):
    """It is asked again a hundred times a second, and not in each turn of the loop."""
    gate = Refusing(kind("shut", retry_after=retry_after), until=1.0)
    async with client(ScriptedWire(200), gates=[lambda _: gate]) as c:
        assert (await c.get(URL)).status_code == 200
    assert 99 <= len(gate.asked) <= 101


async def test_gate_that_refuses_probes():
    """Attempts that a gate of the user's refuses while the breaker is half-open don't hand its places on for ever."""
    wire, gate = failing(1, 0.01), Refusing(seawall.BreakerOpen("shut", retry_after=2.0))
    gate.until = 0.0
    async with client(wire, gates=[lambda _: gate], breaker=seawall.Breaker(min_calls=1)) as c:
        await c.get(URL)
        gate.until = 5.0
        responses = await asyncio.gather(*(c.get(URL) for _ in range(12)))
        assert {response.status_code for response in responses} == {200}
    assert len(gate.asked) <= 12 * 3
    assert asyncio.get_running_loop().time() < 8.0
