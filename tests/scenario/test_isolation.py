"""Bulkheads by part, breakers by hand, what a budget pays for: a whole client on the virtual clock."""

from __future__ import annotations

import asyncio

import httpx
import pytest

import seawall
from seawall.testing import FixedRandom, ScriptedWire

pytestmark = pytest.mark.anyio

URL = "http://api.test/"


def client(wire: httpx.AsyncBaseTransport, **arguments) -> seawall.AsyncClient:
    arguments.setdefault("rng", FixedRandom())
    return seawall.AsyncClient(transport=wire, **arguments)


async def test_parts_of_an_origin():
    """Each tenant has permits of its own; a slow one fills only these."""
    bulkhead = seawall.Bulkhead(
        max_concurrent=2, max_waiting=0, partition=lambda request: request.headers.get("x-tenant")
    )
    async with client(ScriptedWire(1.0), bulkhead=bulkhead, retry=None) as c:

        async def ask(tenant: str) -> int:
            return (await c.get(URL, headers={"x-tenant": tenant})).status_code

        slow = [asyncio.create_task(ask("slow")) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(seawall.BulkheadFull, match=r"the call's part of the bulkhead: .*2 of 2 permits"):
            await ask("slow")
        assert await ask("other") == 200
        (state,) = c.stats().origins.values()
        assert state.in_flight <= 2
        await asyncio.gather(*slow)
        (state,) = c.stats().origins.values()
    assert (state.in_flight, state.waiting) == (0, 0)


@pytest.mark.parametrize("bulkhead", [None, seawall.Bulkhead(max_concurrent=1)])
async def test_pool_timeout_of_another_transport_is_one_for_all_queues(bulkhead):
    """To the instant: what a call waits at the cap and what it waits in its bulkhead."""
    limits, timeout = httpx.Limits(max_connections=1), httpx.Timeout(60.0, pool=0.2)
    async with client(ScriptedWire(30.0), limits=limits, bulkhead=bulkhead, retry=None, timeout=timeout) as c:
        first = asyncio.create_task(c.get(URL))
        await asyncio.sleep(0)
        with pytest.raises(httpx.PoolTimeout):
            await c.get(URL)
        assert asyncio.get_running_loop().time() == 0.2
        assert (await first).status_code == 200


async def test_part_is_shown_nowhere(caplog):
    """It may be a caller's token: neither errors, events and logs nor what a debugger shows has it."""
    caplog.set_level("DEBUG")
    seen: list[object] = []
    secret = "Bearer sk-SECRET"
    settings = {"max_concurrent": 1, "max_waiting": 1, "partition": lambda request: request.headers["authorization"]}
    async with client(
        ScriptedWire(1.0), bulkhead=seawall.Bulkhead(**settings), retry=None, observers=[seen.append]
    ) as c:

        async def ask(**options) -> object:
            try:
                return await c.get(URL, headers={"authorization": secret}, extensions=seawall.options(**options))
            except seawall.Rejected as error:
                return error

        tasks = [asyncio.create_task(ask(criticality="background")) for _ in range(3)]
        await asyncio.sleep(0.5)
        (state,) = c.engine.layers.origins
        (part,) = state.bulkheads
        part._trouble.since = 0.0
        part._has_moved("a test")
        ends = await asyncio.gather(*tasks, ask(criticality="background"))
        texts = [repr(part), repr(state.bulkhead), repr(state), repr(c.stats()), *map(repr, seen)]
        texts += [f"{end!r} {end} {vars(end)} {end.__notes__}" for end in ends if isinstance(end, Exception)]
    assert sorted(type(end).__name__ for end in ends) == ["BulkheadFull", "Response", "Shed", "Shed"]
    assert "the call's part of the bulkhead" in "".join(texts)
    assert "SECRET" not in "".join(texts) + caplog.text


async def test_parts_are_bounded():
    """A part per request: those that are idle make room."""
    bulkhead = seawall.Bulkhead(partition=lambda request: request.url.path)
    async with client(ScriptedWire(200), bulkhead=bulkhead) as c:
        for number in range(1100):
            await c.get(f"{URL}{number}")
        (state,) = c.engine.layers.origins
        assert len(state.bulkheads) == 1024


async def test_partition_is_asked_once_for_an_attempt():
    """The part whose permits are all out is the part that the attempt waits for."""
    asked: list[int] = []

    def partition(request: httpx.Request) -> int:
        asked.append(len(asked) % 2)
        return asked[-1]

    wire = ScriptedWire((1.0, 200))
    async with client(wire, bulkhead=seawall.Bulkhead(max_concurrent=1, partition=partition)) as c:
        await asyncio.gather(*(c.get(URL) for _ in range(4)))
    assert asked == [0, 1, 0, 1]
    assert wire.instants == [0.0, 0.0, 1.0, 1.0]


async def test_partition_that_raises():
    """A bug of the user's comes out as it is, and costs no probe of the breaker."""
    bulkhead = seawall.Bulkhead(partition=lambda request: request.headers["x-tenant"])
    async with client(ScriptedWire(200), bulkhead=bulkhead) as c:
        with pytest.raises(KeyError):
            await c.get(URL)
        assert (await c.get(URL, headers={"x-tenant": "a"})).status_code == 200


async def test_breakers_by_hand():
    """Forced open, calls fail at once and say so; the next one on reset goes through."""
    wire = ScriptedWire(200)
    async with client(wire) as c:
        breaker = c.breakers["http://api.test"]
        breaker.force_open()
        with pytest.raises(seawall.BreakerOpen, match=r"forced open for 0\.0 s: by hand") as caught:
            await c.get(URL)
        assert (caught.value.reason, caught.value.retry_after) == ("by hand", float("inf"))
        breaker.reset()
        assert (await c.get(URL)).status_code == 200
        assert list(c.breakers) == ["http://api.test:80"]
        assert c.breakers["http://API.test:80/"] is breaker


@pytest.mark.parametrize("url", ["api.test", "ftp://api.test", "http://api.test/path", "http://me@api.test", "http://"])
async def test_breakers_are_of_origins(url):
    """Anything else is refused, saying what is meant."""
    async with client(ScriptedWire(200)) as c:
        with pytest.raises(ValueError, match=r"is not an origin|no host can match"):
            c.breakers[url]


@pytest.mark.parametrize("url", ["http://me:SECRET@api.test", "http://api.test/?token=SECRET", "me:SECRET@api.test"])
async def test_url_with_a_secret_isnt_shown(url):
    """It is refused too, and the error's text doesn't repeat it."""
    async with client(ScriptedWire(200)) as c:
        with pytest.raises(ValueError, match="a URL with credentials or a query is not an origin") as caught:
            c.breakers[url]
    assert "SECRET" not in str(caught.value)


async def test_breaker_that_is_off():
    """Has none to be forced."""
    async with client(ScriptedWire(200), breaker=None) as c:
        with pytest.raises(KeyError, match="breaker is off"):
            c.breakers["http://api.test"]
        assert len(c.breakers) == 0


async def test_open_breaker_says_since_when_why_and_until_when():
    """In its message and as attributes."""
    async with client(ScriptedWire(500), retry=None, rng=FixedRandom(0.5)) as c:
        for _ in range(20):
            await c.get(URL)
        await asyncio.sleep(0.75)
        with pytest.raises(seawall.BreakerOpen, match=r"open for 0\.8 s: 20 of 20 .* next probe in 0\.2 s") as caught:
            await c.get(URL)
    assert (caught.value.open_for, caught.value.reason) == (0.75, "20 of 20 attempts failed in 10 s")


async def test_rest_of_a_name_of_another_trips_nothing():
    """A local rejection, a cancellation, a 429: the breaker stays closed (see test_calls for the others)."""
    wire = ScriptedWire(429)
    async with client(wire, retry=None) as c:
        for _ in range(50):
            await c.get(URL)
        assert c.breakers["http://api.test"].state == "closed"


# The budget


async def test_budget_is_exact():
    """2,000 calls that fail in no time: 30 + 10 % of them are repeated, to the one."""
    wire = ScriptedWire(500)
    retry = seawall.Retry(backoff=0, max_attempts=2)
    async with client(wire, breaker=None, retry=retry, budget=seawall.Budget(client_rate=0, rate=0)) as c:
        for _ in range(2000):
            await c.get(URL)
    assert abs(len(wire.instants) - 2000 - (30 + 200)) <= 1


async def test_both_grant_or_neither_is_charged():
    """An origin whose own budget is empty costs the client's nothing."""
    budget = seawall.Budget(ratio=0, rate=0, max_balance=1, client_rate=0, max_client_balance=10)
    async with client(ScriptedWire(500), budget=budget, breaker=None, retry=seawall.Retry(backoff=0)) as c:
        for _ in range(5):
            await c.get(URL)
        assert c.stats().budget == 9
        for number in range(20):
            await c.get(f"http://{number}.test/")
        assert c.stats().budget == 0
        assert c.stats().origins[seawall.Origin("http", "19.test", 80)].budget == 1


@pytest.mark.parametrize("ending", ["cancelled", "refused"])
async def test_retry_of_which_nothing_left_is_refunded(ending):
    """Cancelled in its backoff, or refused by our own bulkhead."""
    wire = ScriptedWire(500, 100.0)
    bulkhead = seawall.Bulkhead(max_concurrent=1, max_waiting=0)
    async with client(wire, bulkhead=bulkhead, deadline=None) as c:
        call = asyncio.create_task(c.get(URL))
        await asyncio.sleep(0.05)
        (state,) = c.stats().origins.values()
        assert state.budget == pytest.approx(29.05)
        if ending == "cancelled":
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)
        else:
            other = asyncio.create_task(c.get(URL))
            response = await call
            assert response.status_code == 500
            assert response.extensions["seawall"].note.startswith("a retry was refused: http://api.test:80: the queue")
            other.cancel()
        (state,) = c.stats().origins.values()
        assert state.budget == 30.0


async def test_long_trouble_ends_retries():
    """A call every 3 s, all failing: from 5 s of trouble on it isn't repeated; once it is well again, it is."""
    well_at = 60.0

    def upstream(request: httpx.Request) -> int:
        return 500 if asyncio.get_running_loop().time() < well_at else 200

    wire, lengths, notes = ScriptedWire(upstream), [], []
    async with client(wire, breaker=None) as c:
        for number in range(30):
            await asyncio.sleep(3.0 * number - asyncio.get_running_loop().time())
            history = (await c.get(URL)).extensions["seawall"]
            lengths.append(len(history))
            notes.append(history.note)
        assert lengths[:2] == [3, 3]
        assert lengths[4:20] == [1] * 16
        assert notes[10].startswith("most attempts at the origin have failed for 5 s or longer, ")
        wire.script(500, 200)
        assert len((await c.get(URL)).extensions["seawall"]) == 2


async def test_short_trouble_does_not():
    """Half a second of failures, 100 calls a second: all are repeated, and good in the end."""

    def upstream(request: httpx.Request) -> int:
        return 500 if asyncio.get_running_loop().time() < 0.15 else 200

    async with client(ScriptedWire(upstream), breaker=None) as c:
        calls = []
        for _ in range(100):
            calls.append(asyncio.create_task(c.get(URL)))
            await asyncio.sleep(0.01)
        assert {response.status_code for response in await asyncio.gather(*calls)} == {200}


async def test_trouble_is_forgotten():
    """A call an hour after an outage meets one 503: it is repeated."""
    wire = ScriptedWire(*[503] * 6, 503, 200)
    async with client(wire, breaker=None) as c:
        for _ in range(2):
            await c.get(URL)
        await asyncio.sleep(3600)
        assert len((await c.get(URL)).extensions["seawall"]) == 2
