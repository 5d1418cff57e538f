"""How much calls matter, through the whole client, at exact instants."""

from __future__ import annotations

import asyncio

import httpx
import pytest

import seawall
from seawall import events
from seawall.events import Phase
from seawall.testing import FixedRandom, ScriptedWire
from seawall.testing.cancel import cancel_everywhere
from seawall.testing.leaks import held
from tests.books import Books, worst

pytestmark = pytest.mark.anyio

URL = "http://a.test/"
NAMES = ("critical", "default", "background")
BACKGROUND = seawall.options(criticality="background")


def client(wire, **settings) -> seawall.AsyncClient:
    return seawall.AsyncClient(transport=wire, rng=FixedRandom(0.5), **settings)


class Named:
    """Calls by the names of their classes and a number. Attributes: ends, what became of each, as they end."""

    def __init__(self, c: seawall.AsyncClient) -> None:
        self._client = c
        self.ends: list[tuple[str, object]] = []

    async def call(self, name: str, **more) -> None:
        settings = seawall.options(criticality=next(each for each in NAMES if each[0] == name[0]), **more)
        try:
            response = await self._client.get(URL, extensions=settings)
        except seawall.SeawallError as error:
            self.ends.append((name, error))
        else:
            self.ends.append((name, response.status_code))

    async def begun(self, *names: str, **more) -> list[asyncio.Task[None]]:
        tasks = []
        for name in names:
            tasks.append(asyncio.create_task(self.call(name, **more)))
            for _ in range(5):
                await asyncio.sleep(0)
        return tasks


# Which class a call is of


async def told(c: seawall.AsyncClient, wire: ScriptedWire, **more) -> str | None:
    """What the upstream is told of a call."""
    await c.get(URL, **more)
    return wire.attempts[-1].headers.get("x-request-criticality")


async def test_who_says_how_much_a_call_matters():
    """The call's own options, then the host's policy, then the innermost block around the call; else it is default."""
    wire, known = ScriptedWire(), seawall.Propagation(hosts=["a.test"])
    async with client(wire, propagation=known) as c:
        assert await told(c, wire) is None
        with seawall.criticality("critical"):
            assert await told(c, wire) == "critical"
            with seawall.criticality("background"):
                assert await told(c, wire) == "background"
                assert await told(c, wire, extensions=seawall.options(criticality="default")) is None
                assert await told(c, wire, extensions=seawall.options(deadline=1.0)) == "background"
            assert await told(c, wire) == "critical"
        assert await told(c, wire, extensions=BACKGROUND) == "background"
    host = {"a.test": seawall.Policy(criticality="background")}
    async with client(wire, propagation=known, per_host=host) as c:
        with seawall.criticality("critical"):
            assert await told(c, wire) == "background"
            assert await told(c, wire, extensions=seawall.options(criticality="critical")) == "critical"


async def test_only_hosts_of_the_list_are_told():
    """Under the name that is set, or none."""
    for known, names in (
        (None, set()),
        (seawall.Propagation(hosts=["b.test"]), set()),
        (seawall.Propagation(hosts=["a.test"], criticality_header=None), set()),
        (seawall.Propagation(hosts=["a.test"], criticality_header="X-Crit"), {"x-crit"}),
        (seawall.Propagation(hosts=["a.test"], timeout_header=None, attempt_header=None), {"x-request-criticality"}),
    ):
        wire = ScriptedWire()
        async with client(wire, propagation=known) as c:
            await c.get(URL, extensions=BACKGROUND)
        assert {name for name in wire.attempts[0].headers if "crit" in name} == names


async def test_tasks_and_fan_outs_inherit_it():
    """As they do a deadline; a retry and a redirect are of their call's class."""
    wire = ScriptedWire(503, httpx.Response(302, headers={"location": "/there"}), 200)
    async with client(wire, propagation=seawall.Propagation(hosts=["a.test"])) as c:
        with seawall.criticality("background"):
            call = asyncio.create_task(c.get(URL, follow_redirects=True))
        await call
        with seawall.criticality("critical"):
            async for result in c.map([URL, f"{URL}2"]):
                assert result.response.status_code == 200
    said = [each.headers["x-request-criticality"] for each in wire.attempts]
    assert said == ["background"] * 3 + ["critical"] * 2


@pytest.mark.parametrize("name", ["urgent", "", "CRITICAL", 1, None])
def test_there_are_three(name):
    """Each place says which."""
    wrong = pytest.raises(
        ValueError if isinstance(name, str) else TypeError,
        match='criticality must be "critical", "default" or "background"',
    )
    with wrong, seawall.criticality(name):
        pass
    with wrong:
        seawall.options(criticality=name)
    with wrong:
        seawall.Policy(criticality=name)


# Permits and turns


async def test_permits_go_to_what_matters_most():
    """And a free one stays free, though background calls wait."""
    wire = ScriptedWire(1.0)
    async with client(wire, bulkhead=seawall.Bulkhead(max_concurrent=2)) as c:
        named = Named(c)
        tasks = await named.begun("b1", "b2", "b3")
        assert len(wire.attempts) == 1
        tasks += await named.begun("d1", "d2", "c1")
        assert len(wire.attempts) == 2
        await asyncio.gather(*tasks)
    assert [name for name, _ in named.ends] == ["b1", "d1", "c1", "d2", "b2", "b3"]
    assert wire.instants == [0.0, 0.0, 1.0, 1.0, 2.0, 3.0]


async def test_turns_go_to_what_matters_most():
    """At the rate of the limit."""
    wire = ScriptedWire()
    async with client(wire, limit=seawall.Limit(rate=1, burst=1)) as c:
        named = Named(c)
        await asyncio.gather(*await named.begun("d0", "b1", "d1", "c1", "c2"))
    assert [name for name, _ in named.ends] == ["d0", "c1", "c2", "d1", "b1"]
    assert wire.instants == [0.0, 1.0, 2.0, 3.0, 4.0]


async def test_tenth_turn_goes_to_the_first_comer():
    """However many come that matter more."""
    wire = ScriptedWire()
    async with client(wire, limit=seawall.Limit(rate=10, burst=1)) as c:
        named = Named(c)
        await asyncio.gather(*await named.begun("d0", "b1", *(f"c{number}" for number in range(12))))
    assert [name for name, _ in named.ends][9:12] == ["c8", "b1", "c9"]
    assert wire.instants == pytest.approx([number / 10 for number in range(14)])


async def test_wait_is_known_by_class():
    """A call is refused at once if its turn comes too late by what waits now, and no other is."""
    wire = ScriptedWire()
    async with client(wire, limit=seawall.Limit(rate=1, burst=1, max_wait=2.5)) as c:
        named = Named(c)
        tasks = await named.begun("d0", "b1", "b2", "b3", "d1", "c1", "d2")
        assert [(name, type(error).__name__, error.retry_after) for name, error in named.ends[1:]] == [
            ("b3", "LimitExceeded", 3.0),
            ("d2", "LimitExceeded", 3.0),
        ]
        await asyncio.gather(*tasks)
    assert [name for name, _ in named.ends] == ["d0", "b3", "d2", "c1", "d1", "b1", "b2"]
    assert wire.instants == [0.0, 1.0, 2.0]
    error = named.ends[-2][1]
    assert isinstance(error, seawall.LimitExceeded)
    assert (error.elapsed, error.retry_after) == (2.0, 1.0)  # as soon as it is the first, and knows


async def test_one_that_others_have_overtaken_is_refused_at_its_end():
    """It says when its turn would be by then."""
    async with client(ScriptedWire(), limit=seawall.Limit(rate=1, burst=1, max_wait=2.5)) as c:
        named = Named(c)
        tasks = await named.begun("d0", "b1", "c1", "c2")
        await asyncio.sleep(1.5)
        tasks += await named.begun("c3", "c4")
        await asyncio.gather(*tasks)
    assert [name for name, _ in named.ends] == ["d0", "c1", "c2", "b1", "c3", "c4"]
    error = named.ends[3][1]
    assert isinstance(error, seawall.LimitExceeded)
    assert (error.elapsed, error.retry_after) == (2.5, 2.5)


async def test_wait_counts_the_tenth_turn():
    """Which one that matters less will have before."""
    async with client(ScriptedWire(), limit=seawall.Limit(rate=1, burst=1, max_wait=10.5), deadline=None) as c:
        named = Named(c)
        tasks = await named.begun("d0", "b1", *(f"c{number}" for number in range(10)))
        assert [(name, getattr(end, "retry_after", end)) for name, end in named.ends] == [("d0", 200), ("c9", 11.0)]
        await asyncio.gather(*tasks)


@pytest.mark.parametrize("first", ["c", "d"])
async def test_one_that_comes_takes_its_turn_in_time(first):
    """Though the one that was first until then had set its timer."""
    wire, loop = ScriptedWire(), asyncio.get_running_loop()
    async with client(wire, limit=seawall.Limit(rate=1, burst=1)) as c:
        named = Named(c)
        tasks = await named.begun("d0", "b1", "b2")
        await asyncio.sleep(0.5)
        tasks += await named.begun(f"{first}1")
        await asyncio.sleep(0.25)
        tasks[-1].cancel()
        tasks += await named.begun(f"{first}2")
        await asyncio.wait(tasks)
        assert loop.time() == 3.0
    assert [name for name, _ in named.ends] == ["d0", f"{first}2", "b1", "b2"]
    assert wire.instants == [0.0, 1.0, 2.0, 3.0]


async def test_costs_of_what_goes_first_count():
    """The same for many waiters, of which the line knows only the sums."""
    wire = ScriptedWire()
    limit = seawall.Limit(rate=10, burst=10, max_wait=1e6, cost=lambda request: float(request.headers["x-cost"]))

    async def call(name: str, cost: int, **more) -> httpx.Response:
        return await c.get(URL, headers={"x-cost": str(cost)}, extensions=seawall.options(criticality=name, **more))

    async with client(wire, limit=limit, deadline=None) as c:
        tasks = [asyncio.create_task(call("default", 10))]
        tasks += [asyncio.create_task(call("background", 5)) for _ in range(100)]
        tasks += [asyncio.create_task(call("default", 1)) for _ in range(300)]
        await asyncio.sleep(0.01)
        with pytest.raises(seawall.LimitExceeded) as refused:  # 300 x 0.1 s, and 34 x 0.5 s between them
            await call("default", 10, deadline=47.0)
        assert refused.value.retry_after == pytest.approx(48.0, abs=0.02)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        (line,) = next(iter(c.engine.layers.origins)).limit._lines
        assert (line.ahead, line._costs, len(line.waiters)) == ((0.0,), {}, 0)


def assert_clean(c: seawall.AsyncClient) -> None:
    assert held(c.stats()) == []
    for state in c.engine.layers.origins:
        assert [(each._background, each._waiters.queues) for each in state.bulkheads] in ([(0, {})], [])
        assert state.limit is None or not any(line.waiters.queues or line._costs for line in state.limit._lines)


async def test_cancelled_at_every_await():
    """Nothing is left of calls of all classes that wait for permits, and the client still works."""

    async def answer(request: httpx.Request) -> int:
        await asyncio.sleep(0)
        return 200

    async with client(ScriptedWire(answer), bulkhead=seawall.Bulkhead(max_concurrent=2)) as c:

        async def call() -> None:
            named = Named(c)
            await asyncio.gather(*(named.call(f"{name}1") for name in "bbbdc"))
            assert [end for _, end in named.ends] == [200] * 5

        assert await cancel_everywhere(call, after=lambda: assert_clean(c)) > 5


@pytest.mark.parametrize("delay", [0.0, 0.001, 0.02])
async def test_turns_of_a_shared_limit_go_to_what_matters_most(delay):
    """A lease isn't kept for those that were the first when it was asked for; its rate holds, and all of it is used."""
    wire, loop = ScriptedWire(), asyncio.get_running_loop()
    limit = seawall.Limit(rate=100, burst=2, shared=Books(delay), max_wait=100.0)
    async with client(wire, limit=limit, bulkhead=None, deadline=None) as c:
        named = Named(c)
        tasks = await named.begun(*(f"b{number}" for number in range(50)))
        await asyncio.sleep(0.1)
        before = len(named.ends)
        tasks += await named.begun(*(f"c{number}" for number in range(50)))
        await asyncio.gather(*tasks)
        assert loop.time() <= 1.1 * (100 / 100 + delay)
        assert_clean(c)
    assert worst(wire.instants, 0.1) <= 0.1 * 100 + 2.01
    assert [name[0] for name, _ in named.ends[before:]].index("c") <= 2
    critical = [index for index, (name, _) in enumerate(named.ends) if name[0] == "c"]
    assert critical[-1] <= before + 50 * 10 / 9 + 2
    for name in "bc":
        assert [each for each, _ in named.ends if each[0] == name] == [f"{name}{number}" for number in range(50)]


async def test_fan_out_of_background_calls_outlasts_trouble():
    """They wait, and ask again each second, so each has its answer once trouble is over."""
    wire = ScriptedWire(3.0, 200)
    async with client(wire) as c:
        other = asyncio.create_task(c.get(URL))
        await asyncio.sleep(0.1)
        in_trouble(c)
        (state,) = c.engine.layers.origins
        state.bulkhead._trouble.since = -5.0  # so it is over after 10 s of good answers
        with seawall.criticality("background"):
            results = [result async for result in c.map([f"{URL}{number}" for number in range(20)])]
        assert [result.response.status_code for result in results] == [200] * 20
        await other
    assert wire.instants == pytest.approx([0.0, 3.1, 4.1, *[5.1] * 18])  # the first two find out


@pytest.mark.parametrize("cancelled", range(5))
async def test_cancelled_in_line(cancelled):
    """The others have their turns at the same instants, and nothing of it stays in the line."""
    wire, names = ScriptedWire(), ["b1", "d1", "c1", "b2", "c2"]
    async with client(wire, limit=seawall.Limit(rate=1, burst=1)) as c:
        named = Named(c)
        tasks = await named.begun("d0", *names)
        await asyncio.sleep(0.5)
        tasks[1 + cancelled].cancel()
        await asyncio.wait(tasks)
        assert_clean(c)
    left = [name for name in ("c1", "c2", "d1", "b1", "b2") if name != names[cancelled]]
    assert [name for name, _ in named.ends] == ["d0", *left]
    assert wire.instants == [0.0, 1.0, 2.0, 3.0, 4.0]


# Trouble


def in_trouble(c: seawall.AsyncClient) -> None:
    """The bulkheads of all origins find that little of what is sent is answered."""
    for state in c.engine.layers.origins:
        for bulkhead in state.bulkheads:
            bulkhead._trouble.since, bulkhead._trouble._timeouts = asyncio.get_running_loop().time(), (1.0,)
            bulkhead._has_moved("a test")


async def test_a_server_that_stands_still():
    """From the moment of trouble on, background calls are refused at once, and are not repeated; the others go on."""
    loop, moves = asyncio.get_running_loop(), []

    async def frozen(request: httpx.Request) -> object:
        return (1.0, httpx.ReadTimeout) if 10.0 <= loop.time() < 20.0 else (0.02, 200)

    def on(event: events.Event) -> None:
        if isinstance(event, events.LimitMoved):
            moves.append(loop.time())

    ends: list[tuple[float, str, float, object]] = []

    async def call(c: seawall.AsyncClient, name: str) -> None:
        began_at = loop.time()
        try:
            end: object = (await c.get(URL, extensions=seawall.options(criticality=name))).status_code
        except httpx.HTTPError as error:
            end = error
        ends.append((began_at, name, loop.time() - began_at, end))

    settings = {"timeout": 1.0, "breaker": None, "budget": None, "retry": seawall.Retry(backoff=0.1, max_attempts=2)}
    async with client(ScriptedWire(frozen), observers=[on], **settings) as c:
        calls = []
        while loop.time() < 45.0:
            calls += [asyncio.create_task(call(c, name)) for name in ("default", "background")]
            await asyncio.sleep(0.1)
        await asyncio.wait(calls)
        assert held(c.stats()) == []
        totals = c.stats().totals
    begun, over = moves
    assert 11.0 < begun < 12.0
    inside = [each for each in ends if begun <= each[0] < over and each[1] == "background"]
    assert {type(end).__name__ for *_, end in inside} == {"Shed"}
    assert {took for *_, took, _ in inside} == {0.0}
    assert totals.rejected["shed"] == len(inside)
    before = [each for each in ends if begun - 1.05 < each[0] < begun - 0.05 and each[1] == "background"]
    assert {type(end).__name__ for *_, end in before} == {"ReadTimeout"}
    assert all("no background call is repeated" in end.attempts.note for *_, end in before)
    assert totals.denied["shed"] == len(before)
    others = [end for at, name, _, end in ends if at > 21.5 and name == "default"]
    assert set(others) == {200}
    assert {end for at, name, _, end in ends if at > over and name == "background"} == {200}


async def test_shed_says_what_to_change():
    """It is a refusal of ours, so that nothing is sent and nothing counts against the origin or for the budget."""
    seen: list[events.Event] = []
    async with client(ScriptedWire(), observers=[seen.append], retry=seawall.Retry()) as c:
        slow = asyncio.create_task(c.get(URL))
        await asyncio.sleep(0)
        in_trouble(c)
        await slow
        (state,) = c.engine.layers.origins
        holder = state.bulkhead.try_enter(Waiting(), 0.0)
        before = c.stats()
        with pytest.raises(seawall.Shed, match=r'set criticality="default" for calls that are worth as much') as shed:
            await c.get(URL, extensions=BACKGROUND)
        after = c.stats()
        holder.end(None, 0.0)
    assert isinstance(shed.value, httpx.ConnectError | seawall.Rejected)
    assert (shed.value.by, shed.value.retry_after) == ("shed", 1.0)
    assert shed.value.attempts[0].phase is Phase.QUEUED
    assert len(shed.value.attempts) == 1
    assert after.origins == before.origins
    assert after.totals.rejected == {"shed": 1}
    assert [event.by for event in seen if isinstance(event, events.Rejected)] == ["shed"]
    assert [event.rejected_by for event in seen if isinstance(event, events.CallEnded)] == ["", "shed"]
    assert not [event for event in seen if isinstance(event, events.RetryDenied)]


class Waiting:
    """An attempt that isn't a background one."""

    criticality = seawall.config.criticality.DEFAULT


async def test_waiters_are_refused_as_trouble_begins():
    """Background ones: those for permits at once, and then those for turns, which the former give back."""
    wire, loop = ScriptedWire(1.0), asyncio.get_running_loop()
    settings = {"bulkhead": seawall.Bulkhead(max_concurrent=1), "limit": seawall.Limit(rate=1, burst=3)}
    async with client(wire, **settings) as c:
        named = Named(c)
        tasks = await named.begun("d0", "b1", "d1", "b2")  # the last waits for its turn
        in_trouble(c)
        await asyncio.sleep(0.05)
        assert [(name, type(end).__name__) for name, end in named.ends] == [("b1", "Shed"), ("b2", "Shed")]
        await asyncio.wait(tasks)
    assert named.ends[2:] == [("d0", 200), ("d1", 200)]
    assert loop.time() == 2.0


async def test_one_background_call_a_second_finds_out():
    """It passes where no others are in flight, because only its answer can end the trouble."""
    loop, wire = asyncio.get_running_loop(), ScriptedWire(0.1)
    async with client(wire) as c:
        await c.get(URL)
        in_trouble(c)
        named = Named(c)
        while loop.time() < 20.0:
            await asyncio.gather(*await named.begun("b", "b"))
            await asyncio.sleep(0.15)
        (state,) = c.engine.layers.origins
        assert (state.shed, len(state.gates)) == (None, 2)
    passed = [at for at in wire.instants if at < 10.0]
    assert 9 <= len(passed) <= 11
    assert [type(end).__name__ for _, end in named.ends].count("Shed") > 40
    assert [end for _, end in named.ends[-20:]] == [200] * 20


async def test_patient_background_call_waits_for_the_end():
    """`waits=True`: it asks again each second, within its deadline; nothing is sent meanwhile."""
    loop, wire = asyncio.get_running_loop(), ScriptedWire(200, 30.0)
    async with client(wire) as c:
        await c.get(URL)
        in_trouble(c)
        named = Named(c)
        other = asyncio.create_task(c.get(URL))
        await asyncio.sleep(0.5)
        late = asyncio.create_task(named.call("b", waits=True, deadline=2.0))
        patient = asyncio.create_task(named.call("b", waits=True))
        await late
        assert (type(named.ends[0][1]).__name__, loop.time()) == ("DeadlineExceeded", 2.5)
        assert len(wire.attempts) == 2
        (state,) = c.engine.layers.origins
        state.bulkhead._trouble.since = None
        state.bulkhead._has_moved("a test")
        while len(wire.attempts) == 2:
            await asyncio.sleep(0.25)
        assert loop.time() == 3.5
        for task in (patient, other):
            task.cancel()
        await asyncio.wait([patient, other])


async def test_patient_background_call_and_a_breaker_that_is_held_open():
    """It has no use for waiting for that one, and asks no more often for it."""
    loop = asyncio.get_running_loop()
    async with client(ScriptedWire(200, 30.0)) as c:
        await c.get(URL)
        other = asyncio.create_task(c.get(URL))
        await asyncio.sleep(0)
        in_trouble(c)
        (state,) = c.engine.layers.origins
        named = Named(c)
        call = asyncio.create_task(named.call("b", waits=True, deadline=3.5))
        await asyncio.sleep(0.5)
        state.breaker.force_open()
        await call
        assert (type(named.ends[0][1]).__name__, loop.time()) == ("DeadlineExceeded", 3.5)
        other.cancel()
        await asyncio.wait([other])


async def test_each_part_has_its_own_trouble():
    """A tenant's background calls aren't refused because of another's."""
    parts = seawall.Bulkhead(partition=lambda request: request.headers["x-tenant"])
    async with client(ScriptedWire(0.5), bulkhead=parts) as c:
        first = asyncio.create_task(c.get(URL, headers={"x-tenant": "a"}))
        await asyncio.sleep(0.1)
        in_trouble(c)
        with pytest.raises(seawall.Shed):
            await c.get(URL, headers={"x-tenant": "a"}, extensions=BACKGROUND)
        assert (await c.get(URL, headers={"x-tenant": "b"}, extensions=BACKGROUND)).status_code == 200
        await first


async def test_refused_before_it_waits_for_anything():
    """An open breaker and an origin that is away come after it."""
    async with client(ScriptedWire(1.0)) as c:
        call = asyncio.create_task(c.get(URL))
        await asyncio.sleep(0.1)
        (state,) = c.engine.layers.origins
        state.breaker.force_open()
        in_trouble(c)
        with pytest.raises(seawall.Shed):
            await c.get(URL, extensions=BACKGROUND)
        with pytest.raises(seawall.BreakerOpen):
            await c.get(URL)
        with pytest.raises(seawall.Shed), seawall.deadline(5.0):
            await c.get(URL, extensions=BACKGROUND)
        await call


async def test_hop_that_is_shed_after_one_that_was_sent():
    """Its error says that something was sent."""
    elsewhere = httpx.Response(302, headers={"location": "http://b.test/"})
    async with client(ScriptedWire(200, 1.0, elsewhere)) as c:
        await c.get("http://b.test/")
        other = asyncio.create_task(c.get("http://b.test/"))
        await asyncio.sleep(0.1)
        in_trouble(c)
        with pytest.raises(seawall.errors.PartlySent) as partly:
            await c.get(URL, extensions=BACKGROUND, follow_redirects=True)
        assert isinstance(partly.value.reason, seawall.Shed)
        await other
