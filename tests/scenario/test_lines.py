"""Lines that wait for one limit: those of tenants, each with a key or a credential of its own. On virtual time."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Hashable
from types import SimpleNamespace

import httpx
import pytest

import seawall
from seawall.config.criticality import DEFAULT
from seawall.events import Phase
from seawall.policy.limit import LimitState
from seawall.policy.meter import Meter
from seawall.testing import FixedRandom, ScriptedWire
from tests.books import Books, worst

pytestmark = pytest.mark.anyio

URL = "http://a.test/"


def tenant(request: httpx.Request) -> str:
    return request.headers["authorization"]


def cost(request: httpx.Request) -> float:
    return float(request.headers.get("x-cost", "1"))


class Sent(list[tuple[str, float]]):
    """Whose requests were sent, and when."""

    def __call__(self, request: httpx.Request) -> int:
        self.append((tenant(request), round(asyncio.get_running_loop().time(), 6)))
        return 200


def client(sent: Sent, **settings: object) -> seawall.AsyncClient:
    settings = {"timeout": None, "deadline": None, "retry": None, **settings}
    return seawall.AsyncClient(transport=ScriptedWire(sent), rng=FixedRandom(), **settings)  # type: ignore[arg-type]


def asked(c: seawall.AsyncClient, name: str, **headers: str) -> asyncio.Task[httpx.Response]:
    return asyncio.create_task(c.get(URL, headers={"authorization": name, **headers}))


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """When a limit was asked for how long somebody must wait."""
    found, wait = [], Meter.wait

    def counted(meter: Meter, now: float, *costs: float) -> float:
        found.append(now)
        return wait(meter, now, *costs)

    monkeypatch.setattr(Meter, "wait", counted)
    return found


async def test_turn_wakes_few(looks):
    """However many tenants wait, because n that wake at each turn would cost n x n."""
    sent = Sent()
    async with client(sent, limit=seawall.Limit(rate=100, burst=1)) as c:
        await asyncio.gather(*(asked(c, f"t{number}") for number in range(300)))
    assert [at for _, at in sent] == pytest.approx([number / 100 for number in range(300)])
    assert len(looks) <= 300 * 12


class Attempt:
    """A tenant's, without credentials, as far as a limit looks at it."""

    phase, sent_at, is_buffered, criticality = Phase.QUEUED, -math.inf, True, DEFAULT

    def __init__(self, tenant: object) -> None:
        self._request = SimpleNamespace(headers={"x-tenant": tenant})

    def part(self, function: Callable[[object], Hashable]) -> Hashable:
        return function(self._request)

    def left(self, now: float) -> None:
        return None


async def taught() -> LimitState:
    """A limit with a line for each tenant, whose origin has rejected every other request: about 10 a second pass."""
    loop = asyncio.get_running_loop()
    limit = seawall.Limit(rate=1000, key=lambda request: request.headers["x-tenant"])
    state = LimitState("a", (limit,), max_shut=30.0, now=loop.time)
    for _ in range(40):
        state.rejected(Attempt(0), loop.time(), retry_after=None, has_accepted=True)
        state.accepted(Attempt(0), loop.time())
        await asyncio.sleep(0.05)
    return state


async def test_turn_of_a_learned_limit_wakes_few(looks):
    """Tenants without credentials share what the origin teaches."""
    state = await taught()
    await state.enter(Attempt(0), None)
    looks.clear()
    tickets = await asyncio.gather(*(state.enter(Attempt(number), None) for number in range(200)))
    assert asyncio.get_running_loop().time() > 5.0
    assert len(looks) <= 200 * 24
    assert len(tickets) == 200


@pytest.mark.parametrize("is_learned", [False, True])
async def test_turn_that_is_given_back_goes_to_another_tenant(is_learned):
    """At once, because it was never sent."""
    loop = asyncio.get_running_loop()
    state = (
        await taught()
        if is_learned
        else LimitState("a", (seawall.Limit(rate=1, burst=1),), max_shut=30.0, now=loop.time)
    )
    first = await state.enter(Attempt("a"), None)
    others = [asyncio.create_task(state.enter(Attempt(name), None)) for name in "bc"]
    await asyncio.sleep(0.001)
    first.end(None, given_back_at := loop.time())
    await others[0]
    assert loop.time() == given_back_at
    await others[1]
    assert loop.time() > given_back_at


async def test_tenants_of_a_shared_limit_share_leases():
    """One question serves many, though each has a credential of its own, and nearly all of the rate is used."""
    sent, store = Sent(), Books(0.002)
    async with client(sent, limit=seawall.Limit(rate=1000, burst=10, max_wait=math.inf, shared=store)) as c:
        await asyncio.gather(*(asked(c, f"t{number}") for number in range(1000)))
    assert [name for name, _ in sent] == [f"t{number}" for number in range(1000)]
    assert sent[-1][1] < 1.2
    assert len(store.asked) <= 1000 / 4
    assert worst([at for _, at in sent], 0.1) <= 1000 * 0.1 + 10


async def test_turn_without_the_store_wakes_few(looks):
    """While it is away, the tenants wait for this process' share."""
    sent, store = Sent(), Books()
    store.error = ConnectionError("away")
    async with client(sent, limit=seawall.Limit(rate=100, burst=1, max_wait=math.inf, shared=store)) as c:
        await asyncio.gather(*(asked(c, f"t{number}") for number in range(300)))
    assert sent[-1][1] == pytest.approx(2.99, abs=0.02)
    assert len(looks) <= 300 * 24


async def test_tenants_take_turns():
    """One that asks for much holds up nobody for longer than a turn."""
    sent = Sent()
    async with client(sent, limit=seawall.Limit(rate=1, burst=1)) as c:
        await asyncio.gather(*(asked(c, name) for name in "aaaabc"))
    assert sent == [("a", 0.0), ("a", 1.0), ("b", 2.0), ("c", 3.0), ("a", 4.0), ("a", 5.0)]


async def test_turn_that_comes_too_late_is_refused_at_once():
    """Because all that wait have one before; what came in vain says when it would have been."""
    sent = Sent()
    async with client(sent, limit=seawall.Limit(rate=1, burst=1), timeout=httpx.Timeout(None, pool=3.5)) as c:
        tasks = [asked(c, name) for name in "abcdef"]
        await asyncio.sleep(0.0)
        ends = await asyncio.gather(*tasks, return_exceptions=True)
    assert sent == [("a", 0.0), ("b", 1.0), ("c", 2.0), ("d", 3.0)]
    for end in ends[4:]:
        assert isinstance(end, seawall.LimitExceeded)
        assert (end.retry_after, end.elapsed) == (4.0, 0.0)
    assert "at least 3 others wait" in str(ends[5])


async def test_what_matters_most_goes_first():
    """Whichever tenant's it is; one that joins a line of background calls takes the line to its class."""
    sent = Sent()
    async with client(sent, limit=seawall.Limit(rate=1, burst=1)) as c:
        with seawall.criticality("background"):
            tasks = [asked(c, name) for name in "abcd"]
        await asyncio.sleep(0.5)
        with seawall.criticality("critical"):
            tasks += [asked(c, name) for name in "ed"]
        await asyncio.gather(*tasks)
    assert [name for name, _ in sent] == ["a", "e", "d", "b", "c", "d"]
    assert [at for _, at in sent] == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]


async def test_costly_call_is_not_overtaken():
    """Cheap ones of others that come later would pass for ever, because there is always enough for them."""
    sent = Sent()
    async with client(sent, limit=seawall.Limit(rate=1, burst=4, cost=cost)) as c:
        await asked(c, "a", **{"x-cost": "4"})
        tasks = [asked(c, "b", **{"x-cost": "4"})]
        for number in range(4):
            await asyncio.sleep(1.0)
            tasks.append(asked(c, f"cheap{number}"))
        await asyncio.gather(*tasks)
    assert sent == [("a", 0.0), ("b", 4.0), ("cheap0", 5.0), ("cheap1", 6.0), ("cheap2", 7.0), ("cheap3", 8.0)]


async def test_own_limit_holds_up_no_other():
    """A tenant whose own quota is used up doesn't queue for the whole one meanwhile."""
    sent = Sent()
    whole, each = seawall.Limit(rate=2, burst=1), seawall.Limit(rate=0.25, burst=1, key=tenant)
    async with client(sent, limit=(whole, each)) as c:
        await asyncio.gather(*(asked(c, name) for name in "aabcd"))
    assert sent == [("a", 0.0), ("b", 0.5), ("c", 1.0), ("d", 1.5), ("a", 4.0)]


@pytest.mark.parametrize("leaving", ["b", "c", "d", "bc", "bd", "cd", "bcd"])
@pytest.mark.parametrize("at", [0.5, 1.0, 1.5])
async def test_whoever_leaves_holds_up_no_other(leaving, at):
    """The one whose turn is next, others, and a line's first with another behind it."""
    sent = Sent()
    async with client(sent, limit=seawall.Limit(rate=1, burst=1)) as c:
        tasks = {name: asked(c, name[0]) for name in ("a", "b", "c", "d", "b2")}
        await asyncio.sleep(at)
        gone = {name for name in leaving if not tasks[name].done()}
        for name in gone:
            tasks[name].cancel()
        await asyncio.wait(tasks.values())
        (state,) = c.engine.layers.origins
        assert (state.is_idle, state.limit.statistics().waiting) == (True, 0)
    assert sorted(name for name, _ in sent) == sorted(name[0] for name in tasks if name not in gone)
    assert [at for _, at in sent] == [float(number) for number in range(len(sent))]
