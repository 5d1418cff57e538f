"""Gates of an origin: the user's own between breaker and bulkhead, and the tickets that they give. On virtual time."""

from __future__ import annotations

import asyncio
import logging

import httpx
import pytest

import seawall
from seawall.events import Attempt, CallEnded, Phase, Rejected
from seawall.policy.bulkhead import BulkheadState
from seawall.policy.gate import Entrant, Result
from seawall.testing import Body, FixedRandom, ScriptedWire, cancel_everywhere

pytestmark = pytest.mark.anyio

URL = "http://api.test/"
ORIGIN = seawall.Origin("http", "api.test", 80)


def client(wire: httpx.AsyncBaseTransport, **settings) -> seawall.AsyncClient:
    return seawall.AsyncClient(transport=wire, **{"rng": FixedRandom()} | settings)


class Ticket(seawall.Ticket):
    """Notes how it ended."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self.held_until = gate.held_until

    def is_valid(self) -> bool:
        return self._gate.generation == 0

    def end(self, result: Result | None, now: float) -> None:
        self._gate.out -= 1
        name = None if result is None else (result.outcome.name, result.is_failure, result.duration)
        self._gate.ended.append((now, name))

    def retract(self, now: float, *, ended_at: float, duration: float) -> None:
        self._gate.retracted.append((now, ended_at, duration))


class Gate(seawall.Gate):
    """Lets all through at once, or after *wait* seconds; counts the tickets that are out."""

    name = "toll"

    def __init__(self, wait: float = 0.0, held_until: Phase = Phase.HEADERS, refuses: bool = False) -> None:
        self.wait = wait
        self.held_until = held_until
        self.refuses = refuses
        self.out = self.generation = 0
        self.ended: list[object] = []
        self.retracted: list[object] = []
        self.timeouts: list[float | None] = []
        self.seen: list[tuple[object, ...]] = []

    def try_enter(self, attempt: Entrant, now: float) -> seawall.Ticket | None:
        self.seen.append((attempt.origin, attempt.method, attempt.number))
        if self.wait or self.refuses:
            return None
        self.out += 1
        return Ticket(self)

    async def enter(self, attempt: Entrant, timeout: float | None) -> seawall.Ticket:
        self.timeouts.append(timeout)
        if self.refuses:
            raise seawall.Rejected(f"{attempt.origin}: closed for today", origin=attempt.origin)
        await asyncio.sleep(self.wait)
        self.out += 1
        return Ticket(self)


class Turning(Gate):
    """Lets all through after some turns of the event loop."""

    def try_enter(self, attempt: Entrant, now: float) -> seawall.Ticket | None:
        return None

    async def enter(self, attempt: Entrant, timeout: float | None) -> seawall.Ticket:
        for _ in range(3):
            await asyncio.sleep(0)
        return await super().enter(attempt, timeout)


def gated(wire: ScriptedWire, *gates: Gate, **settings) -> seawall.AsyncClient:
    return client(wire, gates=[lambda _, gate=gate: gate for gate in gates], **settings)


async def test_ticket_is_ended_with_the_outcome_of_its_attempt():
    """Each attempt gets one, which is told of a failure, of a success, and nothing of a caller's cancellation."""
    gate = Gate()
    async with gated(ScriptedWire((0.5, 503), (0.25, 200), 60.0), gate) as c:
        assert (await c.get(URL)).status_code == 200
        task = asyncio.create_task(c.get(URL))
        await asyncio.sleep(1.0)
        task.cancel()
        await asyncio.wait([task])
    assert [name for _, name in gate.ended] == [("503", True, 0.5), ("200", False, 0.25), None]
    assert gate.out == 0
    assert gate.seen == [(ORIGIN, "GET", 1), (ORIGIN, "GET", 2), (ORIGIN, "GET", 1)]


@pytest.mark.parametrize(("held_until", "instants"), [(Phase.HEADERS, [0.0]), (Phase.BODY, [3.0])])
async def test_ticket_says_how_long_it_is_held(held_until, instants):
    """Until the headers of a streamed response, or until its body."""
    gate = Gate(held_until=held_until)
    async with gated(ScriptedWire(Body(1.0, b"a", 2.0, b"b")), gate) as c, c.stream("GET", URL) as response:
        assert gate.out == (held_until is Phase.BODY)
        await response.aread()
    assert [now for now, _ in gate.ended] == instants
    assert gate.out == 0


@pytest.mark.parametrize("held_until", [Phase.HEADERS, Phase.BODY])
async def test_streamed_body_that_breaks_is_told(held_until):
    """A ticket that was ended at the headers is retracted; one that is held until the body ends with a failure."""
    gate = Gate(held_until=held_until)
    async with gated(ScriptedWire(Body(b"a", 2.0, httpx.ReadError)), gate, retry=None) as c:
        with pytest.raises(httpx.ReadError):
            async with c.stream("GET", URL) as response:
                await response.aread()
    if held_until is Phase.HEADERS:
        assert (gate.ended, gate.retracted) == ([(0.0, ("200", False, 0.0))], [(2.0, 0.0, 0.0)])
    else:
        assert (gate.ended, gate.retracted) == ([(2.0, ("ReadError", True, 0.0))], [])
    assert gate.out == 0


async def test_wait_at_a_gate_is_not_the_origins():
    """It stands in the attempt, but not in its duration for gates; it and the bulkhead share httpx's pool timeout."""
    gate, events = Gate(wait=2.0), []
    bulkhead = seawall.Bulkhead(max_concurrent=1)
    async with gated(ScriptedWire(1.5), gate, bulkhead=bulkhead, observers=[events.append], retry=None) as c:
        first, second = (asyncio.create_task(c.get(URL)) for _ in range(2))
        await asyncio.gather(first, second)
        attempts = [event for event in events if isinstance(event, Attempt)]
        with pytest.raises(seawall.BulkheadFull, match="no permit within 3 s"):
            await asyncio.gather(*(c.get(URL) for _ in range(9)))
    assert gate.timeouts[:2] == [5.0, 5.0]
    assert [attempt.queued for attempt in attempts] == [(("toll", 2.0),), (("toll", 2.0), ("bulkhead", 1.5))]
    assert [duration for _, (_, _, duration) in [each for each in gate.ended if each[1]][:2]] == [1.5, 1.5]


async def test_gate_that_refuses():
    """Its error is the caller's, an Unsent and a PoolTimeout: one attempt, which is counted."""
    events = []
    gate = Gate(refuses=True)
    async with gated(ScriptedWire(200), gate, observers=[events.append]) as c:
        with pytest.raises(httpx.PoolTimeout) as caught:
            await c.get(URL)
        assert isinstance(caught.value, seawall.Rejected)
        assert isinstance(caught.value, seawall.Unsent)
        assert caught.value.by == "toll"
        assert len(caught.value.attempts) == 1
        stats = c.stats()
    assert stats.totals.rejected == {"toll": 1}
    assert [event[1:] for event in events if isinstance(event, Rejected)] == [(ORIGIN, "GET", "/", 1, "toll", 0.0)]
    assert [type(event) for event in events].count(CallEnded) == 1


async def test_gates_before_a_wait_are_asked_again():
    """Where their ticket stands no more: the old one is ended, and the new one counts."""
    early, late = Gate(), Gate(wait=5.0)
    early.name = "early"
    async with gated(ScriptedWire(200), early, late, timeout=None) as c:
        task = asyncio.create_task(c.get(URL))
        await asyncio.sleep(1.0)
        early.generation = 1
        await task
    assert [name and name[0] for _, name in early.ended] == [None, "200"]
    assert early.out == late.out == 0


async def test_breaker_that_opens_while_an_attempt_waits_at_a_gate():
    """It is asked again: the attempt isn't sent, and the permit of the later gate is back."""
    gate, wire = Gate(wait=5.0), ScriptedWire(200)
    async with gated(wire, gate, timeout=None, retry=None) as c:
        task = asyncio.create_task(c.get(URL))
        await asyncio.sleep(1.0)
        c.breakers[str(ORIGIN)].force_open()
        with pytest.raises(seawall.BreakerOpen, match="its reset\\(\\) closes it"):
            await task
        assert c.stats().origins[ORIGIN].in_flight == 0
    assert (wire.attempts, gate.out) == ([], 0)


async def test_nothing_is_out_wherever_a_call_is_cancelled():
    """With two gates that make it wait, the breaker, the bulkhead and a body: cancelled at each await."""
    gates = [Turning(held_until=Phase.BODY), Turning()]
    async with gated(ScriptedWire(Body(b"a", 0.0, b"b")), *gates) as c:

        async def call() -> None:
            async with c.stream("GET", URL) as response:
                await response.aread()

        def clean() -> None:
            assert [gate.out for gate in gates] == [0, 0]
            assert c.stats().origins[ORIGIN].in_flight == 0 if c.stats().origins else True

        assert await cancel_everywhere(call, after=clean) > 10


async def test_ticket_that_raises_keeps_no_other_out(caplog):
    """All tickets are ended; the error is logged, and the caller gets the response."""

    class Broken(seawall.Ticket):
        def end(self, result, now):
            raise RuntimeError("broken")

    class Breaks(seawall.Gate):
        def try_enter(self, attempt, now):
            return Broken()

    with caplog.at_level(logging.ERROR, "seawall"):
        async with client(ScriptedWire(200), gates=[lambda _: Breaks(), lambda _: None]) as c:
            assert (await c.get(URL)).status_code == 200
            assert c.stats().origins[ORIGIN].in_flight == 0
    assert "raised as it was ended" in caplog.text


async def test_patient_call_waits_for_a_breaker_of_the_users():
    """A gate that raises BreakerOpen is asked again after the seconds that it named, and not without a pause."""

    class Shut(Gate):
        async def enter(self, attempt: Entrant, timeout: float | None) -> seawall.Ticket:
            now = asyncio.get_running_loop().time()
            self.timeouts.append(now)
            assert len(self.timeouts) < 10
            if now < 4.0:
                raise seawall.BreakerOpen("shut", origin=attempt.origin, retry_after=2.0, reason="", open_for=0.0)
            return await super().enter(attempt, timeout)

    gate = Shut(wait=0.5)
    async with gated(ScriptedWire(200), gate, waits=True) as c:
        assert (await c.get(URL)).status_code == 200
    assert gate.timeouts[:3] == [0.0, 2.0, 4.0]


async def test_bulkhead_that_shrinks_and_grows():
    """Fewer permits take effect as permits come back; more are handed out at once."""
    bulkhead = BulkheadState("b", 3, setting="Bulkhead.max_concurrent")
    for _ in range(3):
        await bulkhead.acquire(None)
    waiters = [asyncio.create_task(bulkhead.acquire(None)) for _ in range(3)]
    await asyncio.sleep(0)
    bulkhead.resize(1)
    for in_flight in (2, 1):
        bulkhead.release()
        await asyncio.sleep(0)
        assert (bulkhead.statistics().in_flight, bulkhead.statistics().waiting) == (in_flight, 3)
    bulkhead.release()
    await asyncio.sleep(0)
    assert [task.done() for task in waiters] == [True, False, False]
    bulkhead.resize(2)
    await asyncio.sleep(0)
    assert [task.done() for task in waiters] == [True, True, False]
    for _ in range(3):
        bulkhead.release()
        await asyncio.sleep(0)
    assert bulkhead.is_idle
