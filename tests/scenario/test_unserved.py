"""A gateway that finds no server answers for it: who waits, who is sent, when all pass. Through the whole client."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from random import Random

import httpx
import pytest

import seawall
from seawall.events import OriginAway, OriginBack
from seawall.policy.unserved import Unserved
from seawall.testing import FixedRandom, ScriptedWire, cancel_everywhere

pytestmark = pytest.mark.anyio

URL = "http://a.test/"
ORIGIN = seawall.Origin("http", "a.test", 80)
AWAY = (502, 503, 504)


def client(wire: ScriptedWire, **settings: object) -> seawall.AsyncClient:
    arguments = {"rng": FixedRandom(1.0), "retry": seawall.Retry(wait=lambda state: 0.05), **settings}
    return seawall.AsyncClient(transport=wire, **arguments)  # type: ignore[arg-type]


def now() -> float:
    return asyncio.get_running_loop().time()


class Gateway:
    """
    Answers at once: 200, or *status* while its server is away.

    Args:
        spans: When that is, from and to.
    """

    def __init__(self, *spans: tuple[float, float], status: int = 502) -> None:
        self.spans = spans
        self.status = status

    def __call__(self, request: httpx.Request) -> int:
        return self.status if any(begin <= now() < end for begin, end in self.spans) else 200


async def one(c: seawall.AsyncClient, at: float, method: str = "GET", path: str = "") -> tuple[float, int | str]:
    """When a call that comes then ends, and with what."""
    await asyncio.sleep(at - now())
    try:
        response = await c.request(method, URL + path)
    except httpx.HTTPError as error:
        return round(now(), 6), type(error).__name__
    return round(now(), 6), response.status_code


async def offered(c: seawall.AsyncClient, rate: float, seconds: float, methods: str = "GET") -> Counter[object]:
    """What calls end with that come at an even pace, their methods in turn."""
    names = methods.split(",")
    calls = (one(c, n / rate, names[n % len(names)], str(n % 10)) for n in range(round(rate * seconds)))
    ends = await asyncio.gather(*calls)
    return Counter((names[n % len(names)], end) for n, (_, end) in enumerate(ends))


async def refused(c: seawall.AsyncClient, count: int = 5) -> None:
    """So many calls, a twentieth of a second apart, none of which is repeated."""
    for _ in range(count):
        await asyncio.sleep(0.05)
        await c.post(URL)


@pytest.mark.parametrize("status", AWAY)
async def test_restart_behind_a_gateway(status):
    """A second: all GETs are good, and all POSTs but those that were sent before it was known, and no more is asked."""
    wire = ScriptedWire(Gateway((1.0, 2.0), status=status))
    async with client(wire) as c:
        found = await offered(c, 100.0, 4.0, "GET,POST")
    assert found["GET", 200] == 200
    assert found["POST", 200] + found["POST", status] == 200
    assert found["POST", status] <= 6  # 0.1 s of them
    assert len(wire.attempts) <= 1.06 * 400


async def test_one_is_sent_at_a_time():
    """0.1 s after it is known, then at doubling intervals up to 0.5 s; all others as soon as one is served."""
    wire, events = ScriptedWire(Gateway((0.01, 2.0))), []
    async with client(wire, observers=[events.append], retry=seawall.Retry(max_attempts=1)) as c:
        await c.get(URL)
        await refused(c)
        ends = await asyncio.gather(*(one(c, 0.25) for _ in range(12)))
    assert wire.instants[6:] == pytest.approx([0.35, 0.55, 0.95, 1.45, 1.95, 2.45, *[2.45] * 6])
    assert ends[:6] == [(0.35, 502), (0.55, 502), (0.95, 502), (1.45, 502), (1.95, 502), (2.45, 200)]
    assert ends[6:] == [(2.45, 200)] * 6
    moves = [event for event in events if isinstance(event, OriginAway | OriginBack)]
    assert [type(move) for move in moves] == [OriginAway, OriginBack]
    assert moves[0].reason == "its gateway has answered 5 requests in a row with 502"
    assert moves[1].duration == pytest.approx(2.2)
    assert c.stats().origins[ORIGIN].awaited_by == 0


async def test_those_that_can_be_repeated_are_sent_first():
    """A POST that came before them waits, and so does a GET that has no further attempt."""
    wire = ScriptedWire(Gateway((0.01, 0.6)))
    async with client(wire) as c:
        await c.get(URL)
        await refused(c)
        ends = await asyncio.gather(one(c, 0.25, "POST"), one(c, 0.26), one(c, 0.27))
    assert [(sent.method, round(sent.at, 6)) for sent in wire.attempts[6:]] == [
        ("GET", 0.35),
        ("GET", 0.55),
        ("GET", 0.95),  # the first one again
        ("GET", 0.95),
        ("POST", 0.95),
    ]
    assert ends == [(0.95, 200)] * 3


async def test_only_posts_wait():
    """Then one of them is sent: without it nobody would find out."""
    wire = ScriptedWire(Gateway((0.01, 0.4)))
    async with client(wire) as c:
        await c.get(URL)
        await refused(c)
        ends = await asyncio.gather(*(one(c, 0.25, "POST") for _ in range(3)))
    assert ends == [(0.35, 502), (0.55, 200), (0.55, 200)]


@pytest.mark.parametrize(
    ("steps", "why"),
    [
        ([200, *[502] * 4, 200, *[502] * 4], "a good answer between"),
        ([200, *[502] * 4, 404, *[502] * 4], "any other answer between"),
        ([200, *[500] * 9], "the application itself"),
        ([200, *[httpx.Response(503, headers={"Retry-After": "0"})] * 9], "it says when to come back"),
        ([502] * 10, "it was never served"),
    ],
)
async def test_it_isn_t_away(steps, why):
    """So nobody waits."""
    events: list[object] = []
    wire = ScriptedWire(*steps)
    async with client(wire, observers=[events.append], retry=None, breaker=None) as c:
        for _ in range(10):
            began_at = now()
            await c.get(URL)
            assert now() == began_at
            await asyncio.sleep(0.05)
    assert not [event for event in events if isinstance(event, OriginAway)], why


@pytest.mark.parametrize("ready", [None, seawall.Ready(remembered_for=1.0)])
async def test_nobody_waits_where_that_is_off_or_it_was_served_long_ago(ready):
    wire = ScriptedWire(200, 502)
    async with client(wire, ready=ready, retry=None) as c:
        await c.get(URL)
        await asyncio.sleep(1.0)
        for _ in range(10):
            began_at = now()
            assert (await c.get(URL)).status_code == 502
            assert now() == began_at
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("span", [0.0, 0.09])
async def test_a_burst_is_not_a_row(span):
    """Many answers at one instant may have one cause."""
    wire = ScriptedWire(Gateway((0.01, 0.2)))
    async with client(wire, retry=None, breaker=None) as c:
        await c.get(URL)
        ends = await asyncio.gather(*(one(c, 0.05 + span * n / 30) for n in range(30)))
        assert {end for _, end in ends} == {502}
        assert await one(c, 0.2) == (0.2, 200)


async def test_whoever_has_waited_long_enough_is_told_by_the_gateway():
    """After the connect timeout, each; after `max_wait` all, and then nobody waits for a minute."""
    wire = ScriptedWire(Gateway((0.01, 100.0)))
    async with client(wire, ready=seawall.Ready(max_wait=3.0), retry=None, breaker=None) as c:
        await c.get(URL)
        await refused(c)
        calls = [one(c, 0.25 + 0.01 * n, "POST") for n in range(20)]
        impatient = c.post(URL, timeout=httpx.Timeout(5.0, connect=0.02))
        *ends, response = await asyncio.gather(*calls, impatient)
        assert response.status_code == 502
        assert wire.instants[6] == 0.27
        assert sorted(ends)[-1] == (3.25, 502)
        assert [end for end in ends if end == (3.25, 502)] == [(3.25, 502)] * 13
        for n in range(560):
            assert await one(c, 3.3 + n / 10) == (pytest.approx(3.3 + n / 10), 502)


async def test_it_rests_for_ten_times_as_long_as_it_was_shut():
    """From 1.45 s to 13.45 s calls don't wait, though the gateway refuses a row of them."""
    wire = ScriptedWire(Gateway((0.01, 1.0), (5.0, 6.0), (14.0, 14.3)))
    async with client(wire, retry=None, breaker=None) as c:
        await c.get(URL)
        await refused(c)
        assert [await one(c, 0.3), await one(c, 0.36), await one(c, 0.6)] == [(0.35, 502), (0.55, 502), (0.95, 502)]
        assert await one(c, 1.0) == (1.45, 200)
        for n in range(10):
            assert await one(c, 5.0 + n / 20) == (pytest.approx(5.0 + n / 20), 502)
        assert await one(c, 7.0) == (7.0, 200)
        for n in range(5):
            assert await one(c, 14.0 + n / 20) == (pytest.approx(14.0 + n / 20), 502)
        assert await one(c, 14.21) == (14.3, 200)


async def test_a_part_that_is_gone_holds_up_the_rest_once_a_minute():
    """Requests are refused again right after one was served."""
    wire = ScriptedWire(lambda request: 502 if now() > 0 and request.method == "POST" else 200)
    async with client(wire, retry=None, breaker=None) as c:
        await c.get(URL)
        await refused(c)
        assert await one(c, 0.3) == (0.35, 200)
        for n in range(1000):
            assert await one(c, 0.36 + n / 20, "POST") == (pytest.approx(0.36 + n / 20), 502)


async def test_gates_behind_it_hold_though_it_goes_in_the_same_turn():
    """Its time is over as an attempt passes it: a breaker that is held open still refuses, a full bulkhead queues."""
    wire = ScriptedWire(Gateway((0.01, 1.0)))
    async with client(wire, retry=None, breaker=seawall.Breaker(min_calls=100)) as c:
        await c.get(URL)
        await refused(c)
        c.breakers[URL].force_open()
        assert await one(c, 6.0) == (6.0, "BreakerOpen")
    wire = ScriptedWire(lambda request: (5.0, 200) if now() > 7.0 else Gateway((6.1, 6.5))(request))
    async with client(wire, retry=None, breaker=None, bulkhead=seawall.Bulkhead(max_concurrent=1)) as c:
        await c.get(URL)
        await asyncio.sleep(0.1)
        await refused(c)
        ends = await asyncio.gather(one(c, 12.0), one(c, 12.01))
        assert ends == [(17.0, 200), (22.0, 200)] or ends == [(17.0, 200), (17.01, "BulkheadFull")]


async def test_old_server_that_drains_does_not_end_it():
    """Its last answers come during the restart, to what was sent before."""

    async def server(request: httpx.Request) -> httpx.Response:
        status, is_slow = Gateway((1.0, 3.0))(request), request.url.path == "/7"
        await asyncio.sleep(1.5 if is_slow and status == 200 else 0.005)
        return httpx.Response(status)

    async with client(ScriptedWire(server)) as c:
        found = await offered(c, 50.0, 6.0, "GET,POST")
    assert found["GET", 200] >= 149  # one may have had its three attempts before it was known
    assert found["POST", 502] <= 6


async def test_late_refusals_do_not_forbid_the_next_wait():
    """A gateway's 504 takes its time, and comes when the server is back."""

    def gateway(request: httpx.Request) -> tuple[float, int]:
        status = Gateway((1.0, 1.45), (20.0, 21.0), status=504)(request)
        return (0.005 if status == 200 else 0.3, status)

    async with client(ScriptedWire(gateway), breaker=None) as c:
        found = await offered(c, 50.0, 24.0, "GET,POST")
    assert found["GET", 200] == 600
    assert found["POST", 504] <= 22  # twice 0.4 s of them


async def test_a_rest_does_not_count_the_time_in_which_nobody_called():
    """The wait is over once somebody calls again, ten minutes later; the next restart is ridden out a minute on."""
    wire = ScriptedWire(Gateway((0.01, 1.0), (700.0, 701.0)))
    async with client(wire, retry=None, breaker=None) as c:
        await c.get(URL)
        await refused(c)
        assert [await one(c, 600.0), await one(c, 699.9)] == [(600.0, 200), (699.9, 200)]
        for n in range(5):
            await one(c, 700.0 + n / 20)
        assert await one(c, 700.21) == (pytest.approx(700.3), 502)
        assert await one(c, 700.31) == (pytest.approx(700.5), 502)


async def test_the_call_says_what_can_be_repeated():
    """Its own options, and an Idempotency-Key, not the client's settings."""
    wire = ScriptedWire(Gateway((0.01, 0.5)))
    async with client(wire) as c:
        await c.get(URL)
        await refused(c)
        alone = c.get(URL, extensions=seawall.options(retry=None))
        key = c.post(URL, headers={"Idempotency-Key": "k"})
        assert [response.status_code for response in await asyncio.gather(alone, key)] == [200, 200]
    assert [sent.method for sent in wire.attempts[6:]] == ["POST", "POST", "GET"]


async def test_an_open_breaker_is_enough():
    """It would refuse those that are sent, so nobody waits for them."""
    events: list[object] = []
    wire = ScriptedWire(lambda request: (0.5, 502) if now() > 0 else 200)
    breaker = seawall.Breaker(min_calls=3, open_for=10.0)
    async with client(wire, breaker=breaker, retry=None, observers=[events.append]) as c:
        await c.get(URL)
        await asyncio.gather(*(one(c, 0.1 + n / 20) for n in range(10)))
        assert await one(c, 1.2) == (1.2, "BreakerOpen")
    assert not [event for event in events if isinstance(event, OriginAway)]


async def test_a_deadline_leaves_time_for_the_answer():
    """What the gateway says, rather than that the time is over."""
    wire = ScriptedWire(Gateway((0.01, 100.0)))
    async with client(wire, breaker=None, deadline=2.0) as c:
        await c.get(URL)
        await refused(c)
        ends = await asyncio.gather(*(one(c, 0.25 + n / 100) for n in range(10)))
    assert {end for _, end in ends} == {502}


async def test_those_that_cannot_be_repeated_have_their_turns():
    """Every fifth, or a POST to a path that is well would wait for ever for GETs to one that is gone."""
    wire = ScriptedWire(lambda request: 502 if now() > 0 and request.method == "GET" else 200)
    async with client(wire, ready=seawall.Ready(max_wait=None), waits=True, breaker=None) as c:
        await c.get(URL)
        await asyncio.gather(*(c.get(URL) for _ in range(2)), *(one(c, 0.02 + n / 50) for n in range(10)))
        gets = [asyncio.create_task(one(c, 0.3 + n / 10)) for n in range(100)]
        at, end = await one(c, now() + 0.1, "POST")
        assert (end, at < 10.0) == (200, True)
        for get in gets:
            get.cancel()


async def test_a_retry_of_what_was_refused_needs_no_budget():
    """It waits, so it adds no load."""
    wire = ScriptedWire(Gateway((0.01, 0.4)))
    budget = seawall.Budget(ratio=0.0, rate=0.0, max_balance=1.0)
    async with client(wire, budget=budget) as c:
        await c.get(URL)
        await refused(c)
        assert await asyncio.gather(*(one(c, 0.25) for _ in range(4))) == [(0.55, 200)] * 4
        assert c.stats().totals.denied == {"unsafe": 5}
        assert c.stats().origins[ORIGIN].budget == 1.0


async def test_breaker_begins_anew():
    """What the gateway refused says nothing about the new server."""
    wire = ScriptedWire(Gateway((0.01, 1.0)))
    breaker = seawall.Breaker(min_calls=7)
    async with client(wire, breaker=breaker, retry=None) as c:
        await c.get(URL)
        await refused(c)
        ends = await asyncio.gather(*(one(c, 0.25 + n / 100, "POST") for n in range(20)))
        assert Counter(end for _, end in ends) == {502: 3, 200: 17}
        assert c.breakers[URL].state == "closed"


@pytest.mark.parametrize("when", [0.3, 0.35 + 5e-10])
async def test_caller_that_leaves_gives_its_turn_on(when):
    """Cancelled while it waits, or in the turn in which it was to be sent."""
    wire = ScriptedWire(Gateway((0.01, 0.3)))
    async with client(wire) as c:
        await c.get(URL)
        await refused(c)
        first, second = (asyncio.create_task(one(c, 0.25)) for _ in range(2))
        await asyncio.sleep(0.01)
        asyncio.get_running_loop().call_at(when, first.cancel)
        assert await second == (0.35, 200)
        assert first.cancelled()


class Waiting:
    """An attempt."""

    def can_be_repeated(self) -> bool:
        return False

    def left(self, now: float) -> float | None:
        return None


async def test_cancelled_at_each_await():
    """Nobody waits at the gate, and no timer runs for those that have left."""
    gate: Unserved

    def begin() -> None:
        nonlocal gate
        gate = Unserved(
            ORIGIN,
            seawall.Ready(),
            now=now,
            rng=FixedRandom(1.0),
            served_at=lambda: 0.0,
            over=lambda: None,
        )

    async def call() -> None:
        assert gate.try_enter(Waiting(), now()) is None
        asyncio.get_running_loop().call_soon(gate.end)
        (await gate.enter(Waiting(), 1.0)).end(None, now())

    def assert_clean() -> None:
        assert gate.is_idle
        timers = [timer for timer in asyncio.get_running_loop()._scheduled if not timer.cancelled()]
        assert not [timer for timer in timers if "Unserved" in repr(timer)]

    assert await cancel_everywhere(call, before=begin, after=assert_clean) >= 2


@pytest.mark.parametrize("takes", [0.1, 0.5])
async def test_server_that_refuses_sooner_than_it_serves(takes):
    """As nginx's `limit_conn` does: it is there, so nobody waits for it."""
    busy, events, rng = 0, [], Random(7)

    async def server(request: httpx.Request) -> httpx.Response:
        nonlocal busy
        if busy == 4:
            return httpx.Response(503)
        busy += 1
        await asyncio.sleep(takes * rng.uniform(0.5, 1.5))
        busy -= 1
        return httpx.Response(200)

    async with client(ScriptedWire(server), retry=seawall.Retry(), limit=None, observers=[events.append]) as c:
        await offered(c, 12.0 / takes, 80 * takes)
    assert not [event for event in events if isinstance(event, OriginAway)]


SHARES: dict[str, Callable[[Random, httpx.Request], bool]] = {
    "a third by chance": lambda rng, request: rng.random() < 0.3,
    "half by chance": lambda rng, request: rng.random() < 0.5,
    "most by chance": lambda rng, request: rng.random() < 0.7,
    "one path of ten": lambda rng, request: request.url.path == "/9",
    "half of the paths": lambda rng, request: request.url.path >= "/5",
    "nine paths of ten": lambda rng, request: request.url.path >= "/1",
}


@pytest.mark.parametrize("status", [502, 503])
@pytest.mark.parametrize("name", SHARES)
async def test_where_only_a_part_is_gone(name, status):
    """No fewer calls are good than without the wait, but for chance."""
    good = {}
    for ready in (seawall.Ready(), None):
        rng = Random(7)
        wire = ScriptedWire(lambda request, rng=rng: (0.01, status if SHARES[name](rng, request) else 200))
        async with client(wire, ready=ready, breaker=None, retry=seawall.Retry(), rng=FixedRandom(0.5)) as c:
            good[ready] = (await offered(c, 50.0, 10.0))["GET", 200]
    assert good[seawall.Ready()] >= 0.97 * good[None]
