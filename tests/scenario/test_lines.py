"""Lines that wait for one limit: those of tenants, each with a key or a credential of its own. On virtual time."""

from __future__ import annotations

import asyncio
import math
from random import Random

import httpx
import pytest

import seawall
from seawall.policy.lease import Lease
from seawall.policy.limit import LimitState
from seawall.policy.meter import Meter
from seawall.policy.shared import Group, SharedStore
from seawall.testing import FixedRandom, ScriptedWire
from tests.books import Books, worst
from tests.entrants import Tenant

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


async def taught() -> LimitState:
    """A limit with a line for each tenant, whose origin has rejected every other request: about 10 a second pass."""
    loop = asyncio.get_running_loop()
    limit = seawall.Limit(rate=1000, key=lambda request: request.headers["x-tenant"])
    state = LimitState("a", (limit,), max_shut=30.0, now=loop.time)
    for _ in range(40):
        state.rejected(Tenant(0), loop.time(), retry_after=None, has_accepted=True)
        state.accepted(Tenant(0), loop.time())
        await asyncio.sleep(0.05)
    return state


async def test_turn_of_two_limits_wakes_few(looks):
    """Though now the one is slower and now the other, so that all would go from one queue to the other."""
    sent, chance = Sent(), Random(3)
    limits = seawall.Limit(rate=10, burst=1), seawall.Limit(rate=100, burst=10, cost=cost)
    async with client(sent, limit=limits) as c:
        await asyncio.gather(*(asked(c, f"t{n}", **{"x-cost": chance.choice(["5", "15"])}) for n in range(300)))
    assert [name for name, _ in sent] == [f"t{number}" for number in range(300)]
    assert len(looks) <= 300 * 24


async def test_turn_of_a_learned_limit_wakes_few(looks):
    """Tenants without credentials share what the origin teaches."""
    state = await taught()
    await state.enter(Tenant(0), None)
    looks.clear()
    tickets = await asyncio.gather(*(state.enter(Tenant(number), None) for number in range(200)))
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
    first = await state.enter(Tenant("a"), None)
    others = [asyncio.create_task(state.enter(Tenant(name), None)) for name in "bc"]
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


async def test_turn_without_the_store_wakes_few_of_those_that_share_one_of_two_limits(looks):
    """Each tenant has leases of its own, because a limit of its own is shared too; all have one share of the other."""
    sent, store = Sent(), Books()
    store.error = ConnectionError("away")
    limits = (
        seawall.Limit(rate=100, burst=1, max_wait=math.inf, shared=store),
        seawall.Limit(rate=10, burst=1, max_wait=math.inf, shared=store, key=tenant),
    )
    async with client(sent, limit=limits) as c:
        await asyncio.gather(*(asked(c, f"t{number}") for number in range(200)))
    assert [name for name, _ in sent] == [f"t{number}" for number in range(200)]
    assert len(looks) <= 200 * 48


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


async def test_critical_call_goes_before_other_tenants_in_a_background_calls_turn_too():
    """A tenth of a line's turns is for the call that came first; the line needn't wait for it as a background one."""
    sent, waits, loop = Sent(), [], asyncio.get_running_loop()

    async def calls(c: seawall.AsyncClient, name: str, criticality: str, pause: float = 0.0) -> None:
        with seawall.criticality(criticality):
            while (began_at := loop.time()) < 30.0:
                await asked(c, name)
                if criticality == "critical":
                    waits.append(loop.time() - began_at)
                    await asyncio.sleep(pause)

    async with client(sent, limit=seawall.Limit(rate=20, burst=1)) as c, asyncio.TaskGroup() as tasks:
        for number in range(20):
            tasks.create_task(calls(c, f"bulk{number}", "background"))
        for number in range(3):
            tasks.create_task(calls(c, f"t{number}", "default"))
        tasks.create_task(calls(c, "mixed", "background"))
        tasks.create_task(calls(c, "mixed", "critical", 0.5))
    assert len(waits) > 40
    assert max(waits) <= 0.5


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


async def test_costly_call_is_not_overtaken_by_those_that_wait_for_another_limit():
    """Cheap ones, which only the number of requests holds back, would pass for ever, and take the tokens meanwhile."""
    sent = Sent()
    limits = seawall.Limit(rate=1, burst=1), seawall.Limit(rate=10, burst=100, cost=cost)
    async with client(sent, limit=limits) as c:
        await asked(c, "a", **{"x-cost": "60"})
        tasks = [asked(c, name, **{"x-cost": "10"}) for name in "abc" * 20]
        await asyncio.sleep(5.5)
        tasks.append(asked(c, "costly", **{"x-cost": "100"}))
        await asyncio.gather(*tasks)
    assert dict(sent)["costly"] <= 5.5 + 3 + 10


async def test_newcomer_waits_no_longer_than_those_before_it_take():
    """What is left of the burst is for it, though it waits behind a call that needs more of it."""
    sent = Sent()
    async with client(sent, limit=seawall.Limit(rate=1, burst=4, cost=cost)) as c:
        await asked(c, "a", **{"x-cost": "4"})
        tasks = [asked(c, "b", **{"x-cost": "4"})]
        await asyncio.sleep(3.0)
        tasks.append(asyncio.create_task(c.get(URL, headers={"authorization": "c"}, timeout=2.5)))
        await asyncio.gather(*tasks)
    assert sent == [("a", 0.0), ("b", 4.0), ("c", 5.0)]


async def test_burst_of_a_shared_limit_is_all_tenants():
    """None is refused because of those before it that the burst lets through at once; nor without the store."""
    for store, fallback in ((Books(0.002), "share"), (Books(math.inf), "open")):
        sent = Sent()
        limit = seawall.Limit(rate=10, burst=100, shared=store, fallback=fallback)
        async with client(sent, limit=limit, timeout=5.0) as c:
            await asyncio.gather(*(asked(c, f"t{number}") for number in range(80)))
        assert len(sent) == 80


@pytest.mark.parametrize("rate", [1.0, 20.0])
async def test_own_limit_beside_a_shared_one(rate):
    """A tenant whose own quota is used up goes on at its time, though the store answers when it needs nothing yet."""
    sent, store = Sent(), Books(0.002)
    limits = (
        seawall.Limit(rate=100, burst=10, shared=store),
        seawall.Limit(rate=rate, burst=1, key=tenant, max_wait=math.inf),
    )
    async with client(sent, limit=limits) as c:
        for _ in range(4):
            await asyncio.wait_for(asked(c, "a"), 10.0)
    assert [at for _, at in sent] == pytest.approx([number / rate for number in range(4)], abs=0.01)


async def test_call_that_costs_nothing_of_a_shared_limit():
    """It waits until nothing is owed, and asks the store for its turn; it had looked at the clock again and again."""
    sent, store = Sent(), Books(0.002)
    limit = seawall.Limit(rate=10, burst=1, shared=store, cost=cost, max_wait=math.inf)
    async with client(sent, limit=limit) as c:
        await asked(c, "a", **{"x-cost": "5"})
        await asyncio.wait_for(asked(c, "b", **{"x-cost": "0"}), 1.0)
    assert [at for _, at in sent] == pytest.approx([0.002, 0.4], abs=0.01)
    assert len(store.asked) <= 4


async def test_costly_call_of_a_shared_limit_has_its_turn():
    """Though a lease is in hand for a part of it, which is dead before the rest may be used; so it waited for ever."""
    sent, store = Sent(), Books(0.02)
    limit = seawall.Limit(rate=2, burst=2, shared=store, cost=cost, max_wait=math.inf)
    async with client(sent, limit=limit) as c:
        leaving = asked(c, "a")
        await asyncio.sleep(0.01)
        leaving.cancel()
        await asyncio.sleep(0.02)
        await asyncio.wait_for(asked(c, "b", **{"x-cost": "6"}), 60.0)
    assert sent == [("b", pytest.approx(0.5, abs=0.05))]
    assert len(store.asked) == 2


async def test_line_that_comes_to_need_the_store_asks_it():
    """It waited for its own limit before, so the store was asked for another, for which two leases are enough."""
    loop, passed_at = asyncio.get_running_loop(), {}
    shared = seawall.Limit(rate=20, burst=20, shared=Books(0.02), cost=lambda request: request.headers["x-tenant"][1])
    each = seawall.Limit(rate=0.1, burst=1, key=lambda request: request.headers["x-tenant"][0], max_wait=math.inf)
    store = SharedStore(shared.shared, rng=FixedRandom())
    told = {"degraded": print, "restored": print}
    group = Group("a", store, processes=1, now=loop.time, **told)
    state = LimitState("a", (shared, each), max_shut=30.0, now=loop.time, group=group)

    async def enter(at: float, *tenant: object) -> None:
        await asyncio.sleep(at)
        await state.enter(Tenant(tenant), None)
        passed_at[tenant] = loop.time()

    async with asyncio.TaskGroup() as tasks:
        for at, *tenant in (0.0, "b", 9.0), (5.0, "a", 1.5), (5.1, "a", 1.0), (5.2, "b", 10.0):
            tasks.create_task(enter(at, *tenant))
        await asyncio.sleep(9.99)
        (supply,) = state._lines._supplies.values()
        supply._leases._leases[:] = [Lease([1.0], 9.9, 10.3, None), Lease([1.0], 9.9, 10.3, None)]
    assert passed_at["b", 10.0] == pytest.approx(10.04, abs=0.01)


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
