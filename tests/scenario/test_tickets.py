"""Gates of the user's: what they are asked, and what their tickets are told. On virtual time."""

from __future__ import annotations

import asyncio
import contextlib

import httpx
import pytest

import seawall
from seawall import events
from seawall.errors import Rejected
from seawall.events import Phase
from seawall.policy.gate import Entrant, Gate, Result, Ticket
from seawall.testing import Body, FixedRandom, ScriptedWire
from seawall.testing.leaks import held

pytestmark = pytest.mark.anyio

URL = "http://api.test/"
ONE = seawall.Bulkhead(max_concurrent=1)


class Noted(Ticket):
    """Notes how it was ended."""

    def __init__(self, held_until: Phase) -> None:
        self.held_until = held_until
        self.is_standing = True
        self.ends: list[Result | None] = []

    def is_valid(self) -> bool:
        return self.is_standing

    def end(self, result: Result | None, now: float) -> None:
        self.ends.append(result)

    @property
    def told(self) -> list[tuple[str, bool] | None]:
        """Of each end, the outcome, and whether it was a failure."""
        return [None if end is None else (end.outcome.name, end.is_failure) for end in self.ends]


class Door(Gate):
    """A gate that is open until it `is_shut`."""

    name = "door"

    def __init__(self, held_until: Phase = Phase.HEADERS) -> None:
        self.held_until = held_until
        self.is_shut = False
        self.tickets: list[Noted] = []

    def ticket(self) -> Noted:
        return Noted(self.held_until)

    def try_enter(self, attempt: Entrant, now: float) -> Ticket | None:
        if self.is_shut:
            return None
        self.tickets.append(self.ticket())
        return self.tickets[-1]

    async def enter(self, attempt: Entrant, timeout: float | None) -> Ticket:
        raise Rejected("the door is shut")


def client(wire: httpx.AsyncBaseTransport, gate: Gate, **arguments) -> seawall.AsyncClient:
    settings = {"rng": FixedRandom(), "retry": None, "gates": [lambda origin: gate]}
    return seawall.AsyncClient(transport=wire, **settings | arguments)


async def queued(c: seawall.AsyncClient) -> list[asyncio.Task[httpx.Response]]:
    """Two calls, of which the second waits for the permit of the first."""
    calls = []
    for _ in range(2):
        calls.append(asyncio.create_task(c.get(URL)))
        await asyncio.sleep(0.25)
    return calls


async def test_gate_that_was_shut_while_an_attempt_queued():
    """The attempt is refused in the gate's name, gives its permit back, and its tickets are ended."""
    door, refused = Door(), []
    observer = lambda event: refused.append(event[5:]) if isinstance(event, events.Rejected) else None  # noqa: E731
    async with client(ScriptedWire((1.0, 200)), door, bulkhead=ONE, observers=[observer]) as c:
        first, second = await queued(c)
        door.is_shut, door.tickets[1].is_standing = True, False
        assert (await first).status_code == 200
        with pytest.raises(Rejected, match="the door is shut") as caught:
            await second
        assert caught.value.by == "door"
        assert c.stats().totals.rejected == {"door": 1}
        assert held(c.stats()) == []
    assert refused == [("door", 0.75)]
    assert [ticket.told for ticket in door.tickets] == [[("200", False)], [None]]


async def test_ticket_that_raises_as_another_takes_its_place():
    """It is logged, as elsewhere, and breaks no call."""

    class Wrong(Noted):
        def end(self, result: Result | None, now: float) -> None:
            super().end(result, now)
            if not self.is_standing:
                raise ValueError("a bug")

    class Wronging(Door):
        def ticket(self) -> Noted:
            return Wrong(self.held_until)

    door = Wronging()
    async with client(ScriptedWire((1.0, 200)), door, bulkhead=ONE) as c:
        first, second = await queued(c)
        door.tickets[1].is_standing = False
        assert [(await each).status_code for each in (first, second)] == [200, 200]
    assert [ticket.told for ticket in door.tickets] == [[("200", False)], [None], [("200", False)]]


@pytest.mark.parametrize("held_until", [Phase.HEADERS, Phase.BODY])
@pytest.mark.parametrize(
    ("step", "told"),
    [
        (Body(b"all"), {Phase.HEADERS: ("200", False), Phase.BODY: ("200", False)}),
        (httpx.Response(503, stream=Body(b"all")), {Phase.HEADERS: ("503", True), Phase.BODY: ("503", True)}),
        (Body(b"half", httpx.ReadError), {Phase.HEADERS: ("200", False), Phase.BODY: ("ReadError", True)}),
        (Body(b"half", ValueError("a bug")), {Phase.HEADERS: ("200", False), Phase.BODY: ("200", False)}),
    ],
)
async def test_ticket_of_a_stream(held_until, step, told):
    """One that is held until the body's end is told what came of the whole response, the other of its headers."""
    door = Door(held_until)
    async with client(ScriptedWire(step), door) as c:
        with contextlib.suppress(httpx.ReadError, ValueError):
            async with c.stream("GET", URL) as response:
                assert [len(ticket.ends) for ticket in door.tickets] == [held_until is Phase.HEADERS]
                await response.aread()
    assert [ticket.told for ticket in door.tickets] == [[told[held_until]]]


async def test_ticket_of_a_stream_that_is_retried():
    """One that is held until the body's end hears what its headers said, though the body isn't anybody's."""
    door = Door(Phase.BODY)
    async with client(ScriptedWire(503, 429, 200), door, retry=seawall.Retry()) as c, c.stream("GET", URL) as response:
        await response.aread()
    assert [ticket.told for ticket in door.tickets] == [[("503", True)], [("429", False)], [("200", False)]]
