"""The adaptive bulkhead in a client: what becomes a ghost, and what doesn't. On virtual time."""

from __future__ import annotations

import asyncio
import contextlib
from random import Random

import httpx
import pytest

import seawall
from seawall import events
from seawall.policy.ghosts import Ghosts
from seawall.policy.trouble import Trouble
from seawall.testing import ScriptedWire
from seawall.testing.cancel import cancel_everywhere
from seawall.testing.leaks import held

pytestmark = pytest.mark.anyio

URL = "http://api.test/"
HANGS = 1e6
ALONE = {"retry": None, "breaker": None, "budget": None}


def client(wire, permits: int = 4, **more):
    more = {"timeout": 1.0, "bulkhead": seawall.Bulkhead(max_concurrent=permits), **ALONE, **more}
    return seawall.AsyncClient(transport=wire, **more)


def ghosts(c) -> int:
    return next(iter(c.stats().origins.values())).ghosts


async def read_timeout(request: httpx.Request) -> httpx.Response:
    await asyncio.sleep(request.extensions["timeout"]["read"])
    raise httpx.ReadTimeout("no answer")


async def fails(c, error, **more) -> None:
    with pytest.raises(error):
        await c.get(URL, **more)


async def test_a_read_timeout_leaves_a_ghost():
    """Until the next answer; it isn't in flight."""
    async with client(ScriptedWire(read_timeout, 200)) as c:
        await fails(c, httpx.ReadTimeout)
        stats = next(iter(c.stats().origins.values()))
        assert (stats.in_flight, stats.ghosts, stats.limit, stats.max_concurrent) == (0, 1, 4, 4)
        assert held(c.stats()) == []
        await c.get(URL)
        assert ghosts(c) == 0


async def test_a_cancelled_call_leaves_a_ghost_but_no_trouble():
    """However many they are: half of the permits at most, and the limit stays."""
    moves = []
    async with client(ScriptedWire(*[200] * 40, HANGS), permits=20, observers=[moves.append]) as c:
        for _ in range(40):
            await c.get(URL)
            await asyncio.sleep(0.1)
        for _ in range(30):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.5):
                    await c.get(URL)
        stats = next(iter(c.stats().origins.values()))
        assert (stats.ghosts, stats.limit) == (10, 20)
        assert not [move for move in moves if isinstance(move, events.LimitMoved)]
    assert ghosts(c) == 0


async def test_an_inherited_deadline_leaves_a_ghost_but_no_trouble():
    """The caller is impatient; its own deadline is the same."""
    moves = []
    async with client(ScriptedWire(*[200] * 20, HANGS), permits=4, observers=[moves.append]) as c:
        for _ in range(20):
            await c.get(URL)
            await asyncio.sleep(0.1)
        for _ in range(6):
            with seawall.deadline(0.3):
                await fails(c, seawall.DeadlineExceeded)
        assert ghosts(c) == 2
        assert not [move for move in moves if isinstance(move, events.LimitMoved)]


@pytest.mark.parametrize("error", [httpx.ConnectError, httpx.ConnectTimeout, httpx.ReadError, httpx.WriteError])
async def test_what_leaves_no_ghost(error):
    """Nothing was sent, or the server has stopped: it isn't at work on it."""
    async with client(ScriptedWire(error)) as c:
        await fails(c, httpx.TransportError)
        assert ghosts(c) == 0


async def test_the_end_of_the_client_leaves_none():
    """Neither those that it had, nor those of the calls that it cuts."""
    async with client(ScriptedWire(read_timeout, HANGS)) as c:
        await fails(c, httpx.ReadTimeout)
        call = asyncio.create_task(c.get(URL))
        await asyncio.sleep(0.1)
        assert ghosts(c) == 1
        await c.aclose()
        await asyncio.gather(call, return_exceptions=True)
        assert ghosts(c) == 0


async def test_off():
    """`adaptive=False`, also for one host."""
    off = seawall.Bulkhead(max_concurrent=4, adaptive=False)
    for more in ({"bulkhead": off}, {"per_host": {"api.test": seawall.Policy(bulkhead=off)}}):
        async with client(ScriptedWire(read_timeout), **more) as c:
            await fails(c, httpx.ReadTimeout)
            stats = next(iter(c.stats().origins.values()))
            assert (stats.ghosts, stats.limit) == (0, 4)
    async with client(ScriptedWire(read_timeout), bulkhead=None) as c:
        await fails(c, httpx.ReadTimeout)
        assert ghosts(c) == 0


async def test_each_part_has_its_own():
    """One tenant's hanging requests hold no other tenant's permits."""
    bulkhead = seawall.Bulkhead(max_concurrent=1, partition=lambda request: request.headers.get("x-tenant"))
    async with client(ScriptedWire(read_timeout, 200), bulkhead=bulkhead) as c:
        await fails(c, httpx.ReadTimeout, headers={"x-tenant": "a"})
        await c.get(URL, headers={"x-tenant": "b"})
        stats = next(iter(c.stats().origins.values()))
        assert (stats.ghosts, stats.limit, stats.max_concurrent) == (1, 2, 2)


async def test_trouble_is_told():
    """A server that stands still, and then works again: an event for the beginning and one for the end."""
    told: list[events.LimitMoved] = []
    loop = asyncio.get_running_loop()

    async def frozen(request: httpx.Request) -> httpx.Response:
        if 10.0 <= loop.time() < 20.0:
            return await read_timeout(request)
        await asyncio.sleep(0.02)
        return httpx.Response(200)

    def on(event) -> None:
        if isinstance(event, events.LimitMoved):
            told.append(event)

    async with client(ScriptedWire(frozen), permits=64, observers=[on]) as c:
        calls = []
        while loop.time() < 40.0:
            calls.append(asyncio.create_task(c.get(URL)))
            await asyncio.sleep(0.05)
        await asyncio.gather(*calls, return_exceptions=True)
        assert next(iter(c.stats().origins.values())).limit == 64
    assert [(event.origin.host, event.limit) for event in told] == [("api.test", 7), ("api.test", 64)]
    assert told[0].ghosts >= 3
    assert "10 s" in told[1].reason


async def test_nothing_is_left_wherever_it_is_cancelled():
    """No permit and no ghost that lasts, at any await, with ghosts that fill the limit; and the client still works."""

    async def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/lost":
            return await read_timeout(request)
        await asyncio.sleep(0)
        return httpx.Response(200)

    async with client(ScriptedWire(answer)) as c:

        async def lose() -> None:
            await asyncio.gather(*(c.get(f"{URL}lost") for _ in range(4)), return_exceptions=True)
            assert ghosts(c) == 4

        async def call() -> None:
            assert (await c.get(URL)).status_code == 200

        def clean() -> None:
            assert held(c.stats()) == []
            assert ghosts(c) <= 4

        assert await cancel_everywhere(call, before=lose, after=clean) > 1
        await call()
        assert ghosts(c) == 0


# Harm: one endpoint that hangs. Each mutant of the rules must be seen.


class Share:
    """200 calls/s for 30 s of a server that answers in 20 ms, or never to some."""

    def __init__(self, hangs: float) -> None:
        self.rng = Random(1)
        self.hangs = hangs
        self.good = self.all = 0
        self.moves: list[object] = []

    async def answer(self, request: httpx.Request) -> httpx.Response:
        if self.rng.random() < self.hangs:
            return await read_timeout(request)
        await asyncio.sleep(0.02)
        return httpx.Response(200)

    async def one(self, c) -> None:
        self.all += 1
        with contextlib.suppress(httpx.TransportError, seawall.SeawallError):
            await c.get(URL)
            self.good += 1

    def heard(self, event) -> None:
        if isinstance(event, events.LimitMoved):
            self.moves.append(event)

    async def run(self, **more) -> float:
        more = {"permits": 64, "observers": [self.heard], "deadline": None} | more
        async with client(ScriptedWire(self.answer), **more) as c, asyncio.TaskGroup() as group:
            for _ in range(2000):
                group.create_task(self.one(c))
                await asyncio.sleep(self.rng.expovariate(200))
        return self.good / self.all


def fixed() -> dict[str, object]:
    return {"bulkhead": seawall.Bulkhead(adaptive=False)}


@pytest.mark.parametrize("hangs", [0.1, 0.3])
async def test_a_hanging_share_lowers_nothing(hangs):
    """As good as a bulkhead that doesn't adapt, to a point, and the limit never moves."""
    share = Share(hangs)
    found = await share.run()
    assert abs(found - await Share(hangs).run(**fixed())) < 0.01
    assert share.moves == []


async def test_mutant_ghosts_without_the_overtaken_test(monkeypatch):
    """What hangs by itself would hold permits until something later is answered, and count as trouble."""
    add = Ghosts.add

    def mutant(self, sent_at, now, *, is_fault):
        return add(self, max(sent_at, self.newest), now, is_fault=is_fault)

    monkeypatch.setattr(Ghosts, "add", mutant)
    with pytest.raises(AssertionError):
        await test_a_hanging_share_lowers_nothing(0.3)


async def test_mutant_trouble_by_mere_share_of_failures(monkeypatch):
    """30 % of failures would be trouble, though the rest is answered in time."""
    unanswered = Trouble.unanswered

    def mutant(self, now, timeout, *, ghosts, out):
        unanswered(self, now, timeout, ghosts=max(ghosts, 3), out=out)

    monkeypatch.setattr(Trouble, "unanswered", mutant)
    with pytest.raises(AssertionError):
        await test_a_hanging_share_lowers_nothing(0.3)
