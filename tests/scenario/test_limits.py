"""Limits that a user sets and limits that rejections teach, through the whole client, at exact instants."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from random import Random

import httpx
import pytest

import seawall
from seawall.events import Phase
from seawall.policy.limit import LimitState
from seawall.testing import FixedRandom, ScriptedWire, cancel_everywhere
from seawall.wire.progress import Progress
from tests.books import worst
from tests.entrants import Tenant

pytestmark = pytest.mark.anyio

URL = "http://a.test/"


def client(wire: ScriptedWire, **settings: object) -> seawall.AsyncClient:
    return seawall.AsyncClient(transport=wire, rng=FixedRandom(0.5), **settings)  # type: ignore[arg-type]


async def outcomes(c: seawall.AsyncClient, count: int, **arguments: object) -> Counter[object]:
    """What so many GETs at once end with."""
    ends = await asyncio.gather(*(c.get(URL, **arguments) for _ in range(count)), return_exceptions=True)
    return Counter(end.status_code if isinstance(end, httpx.Response) else type(end).__name__ for end in ends)


# Set by the user


async def test_rate_and_burst():
    """Two at once, then one each tenth of a second; the waits are in the history, and hold no permit."""
    wire = ScriptedWire()
    async with client(wire, limit=seawall.Limit(rate=10, burst=2), bulkhead=seawall.Bulkhead(max_concurrent=1)) as c:
        responses = await asyncio.gather(*(c.get(URL) for _ in range(5)))
    assert wire.instants == [0.0, 0.0, 0.1, 0.2, 0.3]
    assert [dict(response.extensions["seawall"][0].queued).get("limit") for response in responses][2:] == pytest.approx(
        [0.1, 0.2, 0.3]
    )


async def test_wait_that_cannot_end_in_time_is_refused_at_once():
    """By the pool timeout, the deadline, or max_wait; it says when the turn would have been, and nothing is sent."""
    limit = seawall.Limit(rate=1, burst=1)
    for settings, waits in (
        ({"limit": limit, "timeout": httpx.Timeout(5.0, pool=1.5)}, 1),
        ({"limit": limit, "deadline": 2.5}, 2),
        ({"limit": seawall.Limit(rate=1, burst=1, max_wait=3.5), "timeout": httpx.Timeout(5.0, pool=0.1)}, 3),
        ({"limit": seawall.Limit(rate=1, burst=1, max_wait=math.inf), "deadline": None}, 9),
    ):
        wire, loop = ScriptedWire(), asyncio.get_running_loop()
        async with client(wire, **settings) as c:
            tasks = [asyncio.create_task(c.get(URL)) for _ in range(10)]
            began_at = loop.time()
            done, _ = await asyncio.wait(tasks, timeout=0.01)
            refused = [task.exception() for task in done if task.exception()]
            assert len(refused) == 9 - waits
            for error in refused:
                assert isinstance(error, seawall.LimitExceeded | httpx.PoolTimeout)
                assert error.retry_after == pytest.approx(waits + 1)
                assert error.attempts[0].phase is Phase.QUEUED
            await asyncio.wait(tasks)
            assert loop.time() - began_at == pytest.approx(waits)
            assert len(wire.attempts) == waits + 1
            assert c.stats().totals.rejected == ({"limit": 9 - waits} if waits < 9 else {})


async def test_several_hold_together():
    """The slower one decides, and what one of them refuses takes nothing of the other."""
    wire = ScriptedWire()
    limits = (seawall.Limit(rate=100, burst=2), seawall.Limit(rate=60, per=60, burst=3))
    async with client(wire, limit=limits) as c:
        await outcomes(c, 5)
    assert wire.instants == [0.0, 0.0, 0.01, 1.0, 2.0]


async def test_cost_and_settlement():
    """An attempt takes what the user says, and what its response says in the end: tokens of an LLM."""
    wire = ScriptedWire(lambda request: httpx.Response(200, json={"tokens": 30}))
    limit = seawall.Limit(
        rate=10,
        burst=20,
        cost=lambda request: float(request.headers["x-estimate"]),
        settle=lambda response: response.json()["tokens"],
    )
    async with client(wire, limit=limit) as c:
        for estimate in ("20", "1", "1"):
            await c.get(URL, headers={"X-Estimate": estimate})
        async with c.stream("GET", URL, headers={"X-Estimate": "1"}) as response:
            await response.aread()
    assert wire.instants[:3] == [0.0, 1.1, 4.1]  # 30 owed, room for 1 of 20 after 1.1 s; 49 owed less 11; ...


@pytest.mark.parametrize("credential", ["", "another"])
async def test_settlement_wakes_those_that_wait(credential):
    """What was estimated and not taken is there as soon as the answer says so, for waiters of other credentials too."""
    wire = ScriptedWire((2.0, httpx.Response(200, json={"tokens": 10})))
    limit = seawall.Limit(
        rate=10, burst=600, max_wait=math.inf, cost=600.0, settle=lambda response: response.json()["tokens"]
    )
    async with client(wire, limit=limit, deadline=None) as c:
        first = asyncio.create_task(c.get(URL))
        await asyncio.sleep(0.5)
        await asyncio.gather(first, *(c.get(URL, headers={"Authorization": credential}) for _ in range(2)))
    assert wire.instants == pytest.approx([0.0, 2.0, 4.0])


async def test_settlement_that_raises_costs_no_other_limit_its_own():
    """The first limit is charged, though the second one's function raises."""

    def fails(_: object) -> float:
        raise KeyError("tokens")

    wire = ScriptedWire()
    limits = [seawall.Limit(rate=1, burst=1, settle=settle) for settle in (lambda response: 3, fails)]
    async with client(wire, limit=tuple(limits)) as c:
        await outcomes(c, 1)
        await outcomes(c, 1)
    assert wire.instants == [0.0, 3.0]


async def test_key():
    """Each tenant has its own."""
    wire = ScriptedWire()
    limit = seawall.Limit(rate=1, burst=1, key=lambda request: request.headers["x-tenant"])
    async with client(wire, limit=limit) as c:
        await asyncio.gather(*(c.get(URL, headers={"X-Tenant": tenant}) for tenant in "abab"))
    assert wire.instants == [0.0, 0.0, 1.0, 1.0]


async def test_rate_of_the_whole_origin_outlives_its_tenants():
    """A rate of all beside one of each: it stays one rate, though 1,100 tenants come and go and one stays."""
    wire = ScriptedWire()
    whole = seawall.Limit(rate=10, burst=1, max_wait=math.inf)
    each = seawall.Limit(rate=1000, burst=1000, key=lambda request: request.headers["x-tenant"])
    async with client(wire, limit=(whole, each), deadline=None, bulkhead=None) as c:
        for number in range(1100):
            await c.get(URL, headers={"X-Tenant": str(number)})
            await asyncio.sleep(0.2)  # nothing is owed then
            if number % 100 == 0:
                await c.get(URL, headers={"X-Tenant": "hot"})
        tenants = [*("hot", "1099", "1050", "new") * 10]
        await asyncio.gather(*(c.get(URL, headers={"X-Tenant": tenant}) for tenant in tenants))
    assert worst(wire.instants, 1.0) <= 11


@pytest.mark.parametrize("strangers", [1024, 2000])
async def test_strangers_lift_no_limit(strangers):
    """An origin whose limit owes isn't forgotten, whatever other hosts are named."""
    wire = ScriptedWire()
    limit = seawall.Limit(rate=1, per=60, burst=1, max_wait=0)
    async with client(wire, limit=limit) as c:
        await c.get(URL)
        for number in range(strangers):
            await c.get(f"http://h{number}.test/")
        with pytest.raises(seawall.LimitExceeded):
            await c.get(URL)


async def test_origin_stays_while_an_answer_may_charge_it():
    """Only the answer says what the attempt has taken; it is charged, whatever other hosts were named meanwhile."""
    loop, wire = asyncio.get_running_loop(), ScriptedWire((60.0, 200), per_host={"b.test": [200]})
    limit = seawall.Limit(rate=1, burst=1, max_wait=0, settle=lambda response: 600)
    policy = seawall.Policy(limit=limit, bulkhead=None, breaker=None)
    async with client(wire, per_host={"a.test": policy}, deadline=None, timeout=None) as c:
        task = loop.create_task(c.get(URL))
        await asyncio.sleep(30)
        for number in range(1024):
            c.engine.layers.origins[seawall.Origin("http", f"h{number}.test", 80)]
        await task
        with pytest.raises(seawall.LimitExceeded):
            await c.get(URL)


@pytest.mark.parametrize("function", ["cost", "settle", "key"])
async def test_function_that_raises(function):
    """Its error is the caller's, and nothing stays behind."""

    def fails(_: object) -> float:
        raise KeyError("tenant")

    async with client(ScriptedWire(), limit=seawall.Limit(rate=1, **{function: fails})) as c:
        if function == "settle":
            assert (await c.get(URL)).status_code == 200  # the answer is there; the log says what is wrong
        else:
            with pytest.raises(KeyError):
                await c.get(URL)
        assert c.stats().origins[seawall.Origin("http", "a.test", 80)].in_flight == 0


async def test_cancelled_waiter_gives_its_turn_to_the_next():
    """Those behind it move up."""
    wire = ScriptedWire()
    async with client(wire, limit=seawall.Limit(rate=1, burst=1)) as c:
        tasks = [asyncio.create_task(c.get(URL)) for _ in range(4)]
        await asyncio.sleep(0.5)
        tasks[1].cancel()
        await asyncio.wait(tasks)
    assert wire.instants == [0.0, 1.0, 2.0]


async def test_unsent_attempt_gives_back():
    """A refused dial takes nothing of the rate."""
    wire = ScriptedWire(httpx.ConnectError, 200)
    async with client(wire, limit=seawall.Limit(rate=1, burst=1), retry=None) as c:
        assert await outcomes(c, 1) == {"ConnectError": 1}
        await c.get(URL)
    assert wire.instants == [0.0, 0.0]


@pytest.mark.parametrize("headers", [{"Authorization": "another"}, {"X-Tenant": "another"}])
async def test_turn_that_is_given_back_wakes_others(headers):
    """Those of other credentials and tenants too, which wait for the same turn."""
    wire = ScriptedWire((5.0, httpx.ConnectError), 200)
    whole = seawall.Limit(rate=1, per=60, burst=1, max_wait=math.inf)
    each = seawall.Limit(rate=10, burst=10, key=lambda request: request.headers.get("x-tenant"))
    async with client(wire, limit=(whole, each), retry=None, deadline=None, timeout=None) as c:
        first = asyncio.create_task(outcomes(c, 1))
        await asyncio.sleep(0.1)
        await c.get(URL, headers=headers)
        assert await first == {"ConnectError": 1}
    assert wire.instants == pytest.approx([0.0, 5.0])


async def test_learned_turn_that_is_given_back_wakes_others():
    """Tenants without credentials of their own share what the origin teaches."""
    loop = asyncio.get_running_loop()
    limit = seawall.Limit(rate=1000, key=lambda request: request.headers["x-tenant"])
    state, one, other = LimitState("a", (limit,), max_shut=30.0, now=loop.time), Tenant("a"), Tenant("b")
    for _ in range(40):
        state.rejected(one, loop.time(), retry_after=None, has_accepted=True)
        state.accepted(one, loop.time())
        await asyncio.sleep(0.05)
    first = await state.enter(one, None)
    assert state.statistics().rate < 30
    waiting = asyncio.create_task(state.enter(other, None))
    await asyncio.sleep(0.001)
    first.end(None, given_back_at := loop.time())
    await waiting
    assert loop.time() == given_back_at


@pytest.mark.parametrize("at", [0.0, 0.005, 0.05, 0.1, 0.105])
async def test_cancelled(at):
    """Before its turn, in it, and in flight: no waiter, permit or turn stays behind."""
    async with client(ScriptedWire(0.01), limit=seawall.Limit(rate=10, burst=1)) as c:
        tasks = [asyncio.create_task(c.get(URL)) for _ in range(2)]
        await asyncio.sleep(at)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        (state,) = c.engine.layers.origins
        assert (state.is_idle, state.limit.statistics().waiting) == (True, 0)
        began_at = asyncio.get_running_loop().time()
        await c.get(URL)
        assert asyncio.get_running_loop().time() - began_at <= 0.111


async def test_server_that_has_more_left_teaches_nothing():
    """What it teaches each tenant's line would be told at each answer, and forgotten at each request."""
    headers = {"x-ratelimit-remaining": "50", "x-ratelimit-reset": "10"}
    async with client(
        ScriptedWire(lambda _: httpx.Response(200, headers=headers)), limit=seawall.Limit(learn=True)
    ) as c:
        await c.get(URL)
        (state,) = c.engine.layers.origins
        assert not state.limit._learned


async def test_cancelled_at_each_await():
    """Where there is no wait."""
    async with client(ScriptedWire(), limit=seawall.Limit(rate=1e9, burst=1, key=lambda request: "a")) as c:

        def clean() -> None:
            assert all(state.is_idle and not state.limit.statistics().waiting for state in c.engine.layers.origins)

        assert await cancel_everywhere(lambda: c.get(URL), after=clean) >= 1


def test_settings_that_cannot_be():
    """Each names itself and its range."""
    for settings, error, text in (
        ({"rate": 0}, ValueError, "Limit.rate must be finite and > 0"),
        ({"rate": math.nan}, ValueError, "Limit.rate must be finite and > 0"),
        ({"per": -1}, ValueError, "Limit.per must be finite and > 0"),
        ({"rate": 1, "burst": 0.5}, ValueError, "Limit.burst must be finite and >= 1"),
        ({"cost": 0}, ValueError, "Limit.cost must be finite and > 0"),
        ({"max_wait": -1}, ValueError, "Limit.max_wait must be finite and >= 0"),
        ({"key": "tenant"}, TypeError, "Limit.key must be a function or None"),
        ({"learn": 1}, TypeError, "Limit.learn must be True or False"),
        ({"cost": 2}, ValueError, "Limit.burst, cost, settle, key and shared need a rate"),
    ):
        with pytest.raises(error, match=text):
            seawall.Limit(**settings)
    with pytest.raises(TypeError, match=r"limit must be a seawall\.Limit, several in a tuple, or None"):
        seawall.AsyncClient(limit=10)


# Learned from rejections


class Server:
    """Takes *rate* requests a second, and *burst* at once, as nginx's limit_req does; the rest it rejects at once."""

    def __init__(self, rate: float, burst: float, status: int = 429, headers: dict[str, str] | None = None) -> None:
        self._rate, self._burst, self._left, self._at = rate, burst, burst, 0.0
        self._status, self._headers = status, headers
        self.accepted = self.asked = 0

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        now = asyncio.get_running_loop().time()
        self.asked += 1
        self._left, self._at = min(self._burst, self._left + (now - self._at) * self._rate), now
        if self._left < 1:
            return httpx.Response(self._status, headers=self._headers)
        self._left -= 1
        self.accepted += 1
        await asyncio.sleep(0.02)
        return httpx.Response(200)


async def offered(c: seawall.AsyncClient, rate: float, seconds: float) -> Counter[object]:
    """What GETs end with that come at an even pace."""

    async def one(at: float) -> Counter[object]:
        await asyncio.sleep(at)
        return await outcomes(c, 1)

    return sum(await asyncio.gather(*(one(number / rate) for number in range(int(rate * seconds)))), Counter())


async def test_answers_of_attempts_that_were_in_flight_before_the_limit():
    """A server works at 40/s and queues for 1 s: 60 answers are due as it first rejects, and most are good."""
    free = asyncio.Semaphore(4)

    async def server(request: httpx.Request) -> httpx.Response:
        try:
            await asyncio.wait_for(free.acquire(), 1.0)
        except TimeoutError:
            return httpx.Response(503)
        await asyncio.sleep(0.1)
        free.release()
        return httpx.Response(200)

    async with client(ScriptedWire(server)) as c:
        found = asyncio.create_task(offered(c, 60.0, 8.0))
        rates = []
        while not found.done():
            await asyncio.wait([found], timeout=0.1)
            rates += [origin.rate for origin in c.stats().origins.values()]
    assert 40.0 <= min(rates) < 60.0
    assert (await found)[200] >= 0.92 * 480


@pytest.mark.parametrize("headers", [None, {"Retry-After": "1"}])
@pytest.mark.parametrize("status", [429, 503])
async def test_server_is_asked_what_it_takes(status, headers):
    """10/s of the 20/s that come: 98 % of what it can do is used, few get a rejection, and no breaker opens."""
    server = Server(10.0, 5.0, status, headers)
    async with client(ScriptedWire(server)) as c:
        assert (await c.get(URL)).status_code == 200
        found = await offered(c, 20.0, 20.0)
        assert c.breakers[URL].state == "closed"
        assert c.stats().totals.rejected.keys() <= {"limit"}
    assert server.accepted >= 0.98 * (10.0 * 25.0 + 5.0)  # the last ones wait for 5 s
    assert server.asked <= 1.3 * server.accepted
    assert found[200] + found["LimitExceeded"] >= 0.9 * 400


async def test_batch_that_is_told_to_wait_twice():
    """60 GETs, each answered 429 with Retry-After: 1 twice: 60 good, although the budget has 30."""
    seen: Counter[str] = Counter()

    def answer(request: httpx.Request) -> httpx.Response:
        seen[request.url.path] += 1
        return httpx.Response(200 if seen[request.url.path] > 2 else 429, headers={"Retry-After": "1"})

    async with client(ScriptedWire(answer)) as c:
        responses = await asyncio.gather(*(c.get(f"{URL}{number}") for number in range(60)))
        assert c.stats().totals.denied == {}
    assert {response.status_code for response in responses} == {200}
    assert set(seen.values()) == {3}


async def test_server_that_takes_nothing_for_long_costs_budget_again():
    """Ten seconds after the last request that it took: until then a retry is free, five for each call."""
    async with client(ScriptedWire(429), retry=seawall.Retry(max_attempts=100), deadline=None) as c:
        await outcomes(c, 100)
        assert c.stats().totals.denied.get("budget", 0) > 0
        assert c.stats().totals.attempts["retry"] <= 100 * 5 + 30 + asyncio.get_running_loop().time()


async def test_tenants_quota_holds_back_no_other():
    """Learned per credential; of the credential only a hash is kept."""

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(429 if request.headers["authorization"] == "poor" else 200, headers={"Retry-After": "9"})

    async with client(ScriptedWire(answer), retry=None) as c:
        assert await outcomes(c, 3, headers={"Authorization": "poor"}) == {429: 3}
        assert await outcomes(c, 1, headers={"Authorization": "poor"}) == {"LimitExceeded": 1}
        assert await outcomes(c, 5, headers={"Authorization": "rich"}) == {200: 5}
        (state,) = c.engine.layers.origins
        assert b"poor" not in b"".join(state.limit._learned)


@pytest.mark.parametrize(
    "headers",
    [{"Retry-After": "9", "Age": "3"}, {"Retry-After": "9", "Stripe-Rate-Limited-Reason": "lock_timeout"}],
)
async def test_what_teaches_nothing(headers):
    """A cache's 429, and one for another reason than a rate."""
    async with client(ScriptedWire(httpx.Response(429, headers=headers)), retry=None) as c:
        assert await outcomes(c, 3) == {429: 3}
        assert (await c.get(URL)).status_code == 429


async def test_switched_off():
    """limit=None learns nothing, and 503 beside good answers is no fault anyway."""
    turn = iter(range(10_000))
    async with client(ScriptedWire(lambda request: 200 if next(turn) % 2 else 503), retry=None, limit=None) as c:
        found = await offered(c, 50.0, 4.0)
        assert found == {200: 100, 503: 100}
        assert c.breakers[URL].state == "closed"


async def test_slow_503_is_a_fault():
    """One that came later than good answers do has queued behind work: the breaker counts it."""
    turn = iter(range(10_000))
    async with client(ScriptedWire(lambda request: 200 if next(turn) % 3 == 0 else (0.2, 503)), retry=None) as c:
        await offered(c, 50.0, 4.0)
        assert c.stats().totals.rejected["breaker"] > 0
        assert "limit" not in c.stats().totals.rejected


async def test_503_without_a_good_answer_is_a_fault():
    """Nobody knows whether the server is well."""
    async with client(ScriptedWire(503), retry=None) as c:
        found = await offered(c, 50.0, 1.0)
    assert found["BreakerOpen"] == 30


async def test_heeds_what_a_server_says():
    """learn=True: where nothing is left it waits until when the server says, 30 s at most; else it doesn't."""
    wire = ScriptedWire(
        httpx.Response(200, headers={"RateLimit": '"default";r=1;t=4'}),
        httpx.Response(200, headers={"RateLimit": '"default";r=0;t=4, "day";r=9000;t=80000'}),
        httpx.Response(200, headers={"RateLimit-Remaining": "0", "RateLimit-Reset": "7000"}),
        200,
    )
    async with client(wire, limit=seawall.Limit(learn=True, max_wait=math.inf)) as c:
        for _ in range(4):
            await c.get(URL, timeout=httpx.Timeout(30.0))
    assert wire.instants == [0.0, 0.0, 4.0, 34.0]


async def test_says_nothing_unless_asked():
    """By default only a rejection teaches."""
    wire = ScriptedWire(httpx.Response(200, headers={"RateLimit": '"default";r=0;t=4'}))
    async with client(wire) as c:
        assert await outcomes(c, 3) == {200: 3}
    assert wire.instants == [0.0, 0.0, 0.0]


SHARES = [0.02, 0.1, 0.3, 0.5, 0.9]


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("share", SHARES)
async def test_rejections_that_are_no_matter_of_rates(status, share):
    """A share of all requests is rejected at once, whatever their rate is: no less is good than without a limit."""
    good = {}
    for limit in (seawall.Limit(), None):
        rng = Random(7)
        wire = ScriptedWire(lambda request, rng=rng: (0.01, status if rng.random() < share else 200))
        async with client(wire, limit=limit) as c:
            good[limit] = (await offered(c, 100.0, 12.0))[200]
    assert good[seawall.Limit()] >= 0.97 * good[None]


async def test_endpoint_that_rejects_does_not_starve_the_others():
    """One of ten always answers 429; all calls to the others are good."""
    wire = ScriptedWire(lambda request: 429 if request.url.path == "/0" else 200)
    found: Counter[object] = Counter()

    async def one(c: seawall.AsyncClient, number: int) -> None:
        await asyncio.sleep(number / 100)
        response = await c.get(f"{URL}{number % 10}")
        found[number % 10 == 0, response.status_code] += 1

    async with client(wire) as c:
        await asyncio.gather(*(one(c, number) for number in range(3000)))
    assert found == {(False, 200): 2700, (True, 429): 300}


async def test_one_rejection_costs_no_later_burst():
    """A call a second, one 429, and then a hundred at once."""
    turn = iter(range(10_000))
    async with client(ScriptedWire(lambda request: 429 if next(turn) == 5 else 200), retry=None) as c:
        await offered(c, 1.0, 10.0)
        assert await outcomes(c, 100) == {200: 100}


async def test_nothing_is_free_where_nothing_is_held_back():
    """A server that rejects everything but ten: retries take budget, so there is no storm."""
    turn = iter(range(100_000))
    wire = ScriptedWire(lambda request: 200 if next(turn) < 10 else 429)
    async with client(wire) as c:
        await offered(c, 100.0, 10.0)
    assert len(wire.attempts) <= 1.2 * 1000 + 30


async def test_probes_that_are_rejected_close_the_breaker():
    """The server is up again, and rejects."""
    wire = ScriptedWire((1.0, 503))
    async with client(wire, retry=None, breaker=seawall.Breaker(min_calls=5)) as c:
        await outcomes(c, 5)
        assert c.breakers[URL].state == "open"
        wire.script(429)
        await asyncio.sleep(2.0)
        assert await outcomes(c, 3) == {429: 3}
        assert c.breakers[URL].state == "closed"


# Batch and service


async def test_batch_waits_for_the_server():
    """What is offered at twice the rate is all good at last, and the server is asked little more than once for each."""
    server = Server(10.0, 5.0)
    async with client(ScriptedWire(server), per_host={"a.test": seawall.Policy.batch()}) as c:
        assert await offered(c, 20.0, 10.0) == {200: 200}
        assert asyncio.get_running_loop().time() <= 22.0
    assert server.asked <= 1.3 * 200


async def test_batch_waits_for_permits_and_breakers():
    """A queue that takes longer than the pool timeout, and a breaker that is open when a call comes."""
    async with client(ScriptedWire(2.0), waits=True, bulkhead=seawall.Bulkhead(max_concurrent=1)) as c:
        assert await outcomes(c, 6) == {200: 6}
    wire = ScriptedWire(503)
    async with client(wire, waits=True, retry=None, breaker=seawall.Breaker(min_calls=1)) as c:
        assert await outcomes(c, 1) == {503: 1}
        assert c.breakers[URL].state == "open"
        wire.script(200)
        assert await outcomes(c, 1) == {200: 1}
        first, second = wire.instants
        assert second - first == pytest.approx(1.0)
        c.breakers[URL].force_open()
        assert await outcomes(c, 1) == {"BreakerOpen": 1}  # nobody can say for how long


async def test_one_call_may_wait():
    """options(waits=True)."""
    async with client(ScriptedWire(6.0), bulkhead=seawall.Bulkhead(max_concurrent=1)) as c:
        first = asyncio.create_task(c.get(URL))
        await asyncio.sleep(0)
        patient = asyncio.create_task(c.get(URL, extensions=seawall.options(waits=True)))
        assert await outcomes(c, 1) == {"BulkheadFull": 1}
        await asyncio.wait([first, patient])
        assert patient.result().status_code == 200


def test_waits_is_a_bool():
    """Nothing else."""
    with pytest.raises(TypeError, match="waits must be True or False, not 1"):
        seawall.Policy(waits=1)


async def test_503_is_timed_from_the_request():
    """Not from the dial, whose handshakes say nothing of the server's queue; and not to the end of the body."""
    attempt = Progress(lambda: 9.0, 0.0)
    attempt.marks = [Phase.CONNECTING, 0.1, Phase.TLS, 0.2, Phase.SENDING, 0.5, Phase.SENT, 0.5, Phase.HEADERS, 0.52]
    assert attempt.answered_in(9.0) == pytest.approx(0.02)
    attempt.marks = [Phase.CONNECTING, 0.1, Phase.HEADERS, 0.6]  # another transport's
    assert attempt.answered_in(9.0) == pytest.approx(0.5)
    attempt.marks = []
    assert attempt.answered_in(9.0) == 9.0
