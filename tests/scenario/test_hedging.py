"""A second attempt beside a slow one: when it is made, which of the two wins, and what becomes of the other."""

from __future__ import annotations

import asyncio
import contextlib
import math
import weakref
from typing import Any

import httpx
import pytest

import seawall
from seawall.events import HedgeStarted
from seawall.policy.hedge import MAX_ALLOWANCE
from seawall.testing import Body, FixedRandom, ScriptedWire
from seawall.testing.leaks import held

pytestmark = pytest.mark.anyio

URL = "http://api.test/"
WIRES: weakref.WeakKeyDictionary[seawall.AsyncClient, ScriptedWire] = weakref.WeakKeyDictionary()
HALF = seawall.Hedge(after=0.5, max_extra=1.0)


def client(*steps: Any, hedge: seawall.Hedge | None = HALF, **arguments: Any) -> seawall.AsyncClient:
    arguments.setdefault("rng", FixedRandom())
    wire = ScriptedWire(*steps)
    made = seawall.AsyncClient(transport=wire, hedge=hedge, **arguments)
    WIRES[made] = wire
    return made


def wire_of(c: seawall.AsyncClient) -> ScriptedWire:
    return WIRES[c]


def in_flight(c: seawall.AsyncClient) -> int:
    [origin] = c.stats().origins.values()
    return origin.in_flight


async def ask(c: seawall.AsyncClient, url: str, *, is_streamed: bool) -> httpx.Response:
    """Its answer, read whole either way."""
    if not is_streamed:
        return await c.get(url)
    async with c.stream("GET", url) as response:
        await response.aread()
        return response


def told(history: seawall.History) -> list[tuple[int, str, bool, bool]]:
    return [(each.number, each.outcome, each.is_hedge, each.is_superseded) for each in history]


# When


async def test_a_second_attempt_is_made_after_the_delay_and_wins():
    """The first would have taken 10 s."""
    async with client(10.0, (0.1, httpx.Response(200, text="second"))) as c:
        response = await c.get(URL)
        history = seawall.history(response)
        assert asyncio.get_running_loop().time() == pytest.approx(0.6)
        assert (response.text, told(history)) == ("second", [(1, "superseded", False, True), (2, "200", True, False)])
        assert history[1].delay == pytest.approx(0.5)
        assert str(history) == "2 attempts in 0.6 s: superseded, 200"
        assert c.stats().totals.attempts == {"first": 1, "retry": 0, "hedge": 1}
        assert held(c.stats()) == []


async def test_none_is_made_where_the_first_is_quick():
    async with client(0.4, 9.0) as c:
        response = await c.get(URL)
        assert told(seawall.history(response)) == [(1, "200", False, False)]
        await asyncio.sleep(1)  # on the virtual clock: no timer is left that makes one
        assert len(wire_of(c).attempts) == 1


async def test_the_first_wins_if_it_answers_first():
    async with client(0.7, 9.0) as c:
        response = await c.get(URL)
        assert told(seawall.history(response)) == [(2, "superseded", True, True), (1, "200", False, False)]
        assert asyncio.get_running_loop().time() == pytest.approx(0.7)
        assert held(c.stats()) == []


async def test_without_the_setting_none_is_made():
    async with client(3.0, 0.1, hedge=None) as c:
        assert len(seawall.history(await c.get(URL))) == 1


async def test_a_host_or_a_call_has_a_setting_of_its_own():
    """``per_host``, and ``options(hedge=)`` over it."""
    policies = {"api.test": seawall.Policy(hedge=HALF)}
    async with client(3.0, 0.1, hedge=None, per_host=policies) as c:
        assert len(seawall.history(await c.get(URL))) == 2
        wire_of(c).script(3.0, 0.1)
        assert len(seawall.history(await c.get(URL, extensions=seawall.options(hedge=None)))) == 1


@pytest.mark.parametrize(
    ("method", "arguments", "is_hedged"),
    [
        ("GET", {}, True),
        ("HEAD", {}, True),
        ("QUERY", {"content": b"q"}, True),
        ("POST", {"content": b"x"}, False),
        ("PUT", {"content": b"x"}, False),
        ("DELETE", {}, False),
        ("POST", {"content": b"x", "headers": {"Idempotency-Key": '"1"'}}, True),
        ("PUT", {"content": b"x", "headers": {"Idempotency-Key": '"1"'}}, True),
        ("QUERY", {"content": seawall.replayable(lambda: iter([b"q"]))}, False),
    ],
)
async def test_only_what_may_be_sent_twice_at_once_is(method, arguments, is_hedged):
    """A safe method or a key; and a body in memory, because two attempts can't read another at once."""
    async with client(3.0, 0.1) as c:
        await c.request(method, URL, **arguments)
        assert len(wire_of(c).attempts) == 1 + is_hedged


async def test_a_post_that_gets_a_key_from_us_may_be_hedged_and_both_attempts_carry_it():
    async with client(3.0, 0.1, retry=seawall.Retry(idempotency_key=True)) as c:
        await c.post(URL, content=b"x")
        first, second = wire_of(c).attempts
        assert first.headers["idempotency-key"] == second.headers["idempotency-key"]


async def test_the_quantile_is_the_origins_own_and_wants_fifty_samples():
    """48 quick answers say nothing yet; after 60 the hedge comes at their p95."""
    async with client(0.02, hedge=seawall.Hedge(max_extra=1.0)) as c:
        for _ in range(48):
            await c.get(URL)
        wire_of(c).script(1.0, 0.02)
        assert len(seawall.history(await c.get(URL))) == 1
        wire_of(c).script(0.02)
        for _ in range(20):
            await c.get(URL)
        wire_of(c).script(1.0, 0.02)
        history = seawall.history(await c.get(URL))
        assert told(history) == [(1, "superseded", False, True), (2, "200", True, False)]
        assert history[1].delay == pytest.approx(0.02, rel=0.03)


async def test_hedges_are_at_most_their_share_of_the_calls():
    """All are slow; of 200 calls, 10 have a second attempt, whatever the span."""
    async with client(1.0, hedge=seawall.Hedge(after=0.5, max_extra=0.05), budget=None) as c:
        for done in range(1, 201):
            await c.get(URL)
            assert c.stats().totals.attempts["hedge"] <= 0.05 * done + 1e-9
        assert c.stats().totals.attempts["hedge"] == pytest.approx(10, abs=1)


async def test_the_time_in_a_queue_does_not_count():
    """The bulkhead holds the call for 3 s; then its answer takes 0.4 s."""
    async with client(3.0, 0.4, bulkhead=seawall.Bulkhead(max_concurrent=1)) as c:
        first = asyncio.create_task(c.get(URL, extensions=seawall.options(hedge=None)))
        await asyncio.sleep(0)
        response = await c.get(URL)
        await first
        assert told(seawall.history(response)) == [(1, "200", False, False)]


# What it needs


async def test_it_needs_a_permit_that_is_free_at_once():
    async with client(3.0, 0.1, bulkhead=seawall.Bulkhead(max_concurrent=1)) as c:
        assert len(seawall.history(await c.get(URL))) == 1


@pytest.mark.parametrize("name", ["key", "cost"])
@pytest.mark.parametrize(("burst", "count"), [(2, 2), (1, 1)])
async def test_it_takes_a_turn_of_a_limit_that_is_its_tenants(name, burst, count):
    """If there is one at once; the user's function is asked once, because it may raise or say another thing."""
    asked: list[object] = []

    def function(request: object) -> float:
        asked.append(request)
        return 1.0

    limit = seawall.Limit(rate=1, per=60, burst=burst, max_wait=0, **{name: function})
    async with client(9.0, 0.1, limit=limit) as c:
        assert len(seawall.history(await c.get(URL))) == count
        assert len(asked) == 1
        with pytest.raises(seawall.LimitExceeded):
            await c.get(URL)


async def test_it_needs_a_token_of_the_budget():
    async with client(3.0, 0.1, budget=seawall.Budget(max_balance=0, rate=0)) as c:
        assert len(seawall.history(await c.get(URL))) == 1


async def test_retries_have_spent_the_budget_so_no_hedge_is_made():
    """One budget for both."""
    budget = seawall.Budget(max_balance=1, rate=0, ratio=0)
    async with client(503, 200, 3.0, 0.1, budget=budget) as c:
        assert len(seawall.history(await c.get(URL))) == 2
        assert len(seawall.history(await c.get(URL))) == 1


async def test_it_needs_a_closed_breaker():
    """Half-open, a second attempt would be a second probe."""
    async with client(200, 3.0, 0.1) as c:
        await c.get(URL)
        breaker = c.breakers["http://api.test"]
        breaker._move("half-open", "for the test", asyncio.get_running_loop().time())
        assert len(seawall.history(await c.get(URL))) == 1


async def test_none_is_made_in_trouble():
    """Four failures in a row."""
    async with client(500, retry=None) as c:
        for _ in range(4):
            await c.get(URL)
        wire_of(c).script(3.0, 0.1)
        assert len(seawall.history(await c.get(URL))) == 1


async def test_none_is_made_while_a_rate_is_learned():
    """The origin has just rejected."""
    async with client(200, 429, 200, 3.0, 0.1) as c:
        await c.get(URL)
        await c.get(URL)
        assert len(seawall.history(await c.get(URL))) == 1


# Which one wins


@pytest.mark.parametrize("bad", [503, 429, 408, httpx.ReadError])
async def test_a_bad_answer_of_the_second_leaves_the_first_alone(bad):
    async with client(1.0, (0.1, bad), 200) as c:
        response = await c.get(URL)
        name = str(bad) if isinstance(bad, int) else "ReadError"
        assert told(seawall.history(response)) == [(2, name, True, True), (1, "200", False, False)]
        assert asyncio.get_running_loop().time() == pytest.approx(1.0)
        assert held(c.stats()) == []


@pytest.mark.parametrize("bad", [503, httpx.ReadError])
async def test_a_bad_answer_of_the_first_waits_for_the_second(bad):
    async with client((0.6, bad), (0.4, httpx.Response(200, text="second"))) as c:
        response = await c.get(URL)
        name = str(bad) if isinstance(bad, int) else "ReadError"
        assert response.text == "second"
        assert told(seawall.history(response)) == [(1, name, False, True), (2, "200", True, False)]
        assert asyncio.get_running_loop().time() == pytest.approx(0.9)
        assert held(c.stats()) == []


async def test_if_both_are_bad_the_call_goes_on_with_the_first_and_retries():
    async with client((0.6, 503), (0.5, 502), 200) as c:
        response = await c.get(URL)
        history = seawall.history(response)
        assert [each[:2] for each in told(history)] == [(2, "502"), (1, "503"), (3, "200")]
        assert response.status_code == 200
        assert held(c.stats()) == []


async def test_if_both_fail_the_error_is_the_firsts():
    async with client((0.6, httpx.ReadError), (0.5, httpx.RemoteProtocolError), retry=None) as c:
        with pytest.raises(httpx.ReadError) as caught:
            await c.get(URL)
        assert [each[:2] for each in told(seawall.history(caught.value))] == [
            (2, "RemoteProtocolError"),
            (1, "ReadError"),
        ]
        assert held(c.stats()) == []


async def test_the_body_belongs_to_the_winner():
    """The second's body breaks, and the call is repeated, as after any attempt."""
    async with client(9.0, Body(b"half", httpx.ReadError), httpx.Response(200, text="whole")) as c:
        response = await c.get(URL)
        assert response.text == "whole"
        assert [each[:2] for each in told(seawall.history(response))] == [
            (1, "superseded"),
            (2, "ReadError"),
            (3, "200"),
        ]


async def test_a_stream_is_the_winners_and_holds_one_permit():
    async with client(9.0, Body(b"a", b"b")) as c:
        async with c.stream("GET", URL) as response:
            assert in_flight(c) == 1
            assert b"".join([part async for part in response.aiter_bytes()]) == b"ab"
        assert held(c.stats()) == []


@pytest.mark.parametrize("is_second", [True, False])
async def test_a_streams_loser_that_answered_badly_holds_nothing(is_second):
    """Nobody reads its body, so nothing else would give its permit back."""
    good, bad = Body(b"a", b"b"), 503
    async with client(*((1.0, good), (0.1, bad)) if is_second else ((0.6, bad), (1.0, good))) as c:
        async with c.stream("GET", URL) as response:
            loser, winner = told(seawall.history(response))
            assert (loser[1:], winner[1:]) == (("503", is_second, True), ("200", not is_second, False))
            assert in_flight(c) == 1
        assert held(c.stats()) == []


# What it costs, and who hears of it


async def test_a_superseded_attempt_counts_for_nobody():
    """Neither breaker nor trouble: it would have been good."""
    async with client(9.0, 0.1, 9.0, 0.1, breaker=seawall.Breaker(min_calls=1)) as c:
        for _ in range(2):
            await c.get(URL)
        assert c.breakers["http://api.test"].state == "closed"


async def test_observers_hear_of_the_second_attempt_and_of_both_ends():
    heard: list[Any] = []
    async with client(9.0, 0.1, observers=[heard.append]) as c:
        await c.get(URL)
    [started] = [event for event in heard if isinstance(event, HedgeStarted)]
    assert (started.method, started.path, started.number, started.after) == ("GET", "/", 2, 0.5)
    ended = [event for event in heard if isinstance(event, seawall.Attempt)]
    assert [(event.number, event.outcome) for event in ended] == [(1, "superseded"), (2, "200")]


# Attacks


async def test_the_deadline_ends_both():
    async with client(math.inf, deadline=2.0) as c:
        with pytest.raises(seawall.DeadlineExceeded) as caught:
            await c.get(URL)
        assert asyncio.get_running_loop().time() == pytest.approx(2.0)
        assert [each.outcome for each in seawall.history(caught.value)] == ["superseded", "cancelled"]
        assert held(c.stats()) == []


@pytest.mark.parametrize("is_streamed", [False, True])
@pytest.mark.parametrize("steps", [(0.7, 9.0), (9.0, 0.2), ((0.6, 503), 0.4), ((0.6, 503), (0.2, 502), 200)])
async def test_cancelled_at_every_step_nothing_is_left(steps, is_streamed):
    """Permits, tasks, tokens: whichever of the two would have won."""
    tasks = asyncio.all_tasks()
    async with client(200, breaker=None, budget=None) as c:
        for at in (0, 0.3, 0.5, 0.6, 0.7, 0.9, 1.0):  # whatever happens, it happens at one of these instants
            for rounds in range(8):
                wire_of(c).script(*steps)
                call = asyncio.create_task(ask(c, URL, is_streamed=is_streamed))
                await asyncio.sleep(at)
                for _ in range(rounds):
                    await asyncio.sleep(0)
                call.cancel()
                await asyncio.wait([call])
                assert call.cancelled() or call.result().status_code == 200
                await asyncio.sleep(0)
                assert held(c.stats()) == []
                assert asyncio.all_tasks() == tasks


@pytest.mark.parametrize("bad", [503, httpx.ReadError])
async def test_the_deadline_ends_the_second_after_the_first_has_failed(bad):
    """The history tells how the first ended, and so does the error."""
    async with client((0.6, bad), math.inf, deadline=2.0, budget=None) as c:
        with pytest.raises(seawall.DeadlineExceeded) as caught:
            await c.get(URL)
        name = str(bad) if isinstance(bad, int) else "ReadError"
        assert told(seawall.history(caught.value)) == [(1, name, False, True), (2, "cancelled", True, False)]
        assert isinstance(caught.value.__cause__, TimeoutError if isinstance(bad, int) else bad)
        assert held(c.stats()) == []


async def test_a_transport_that_fails_as_it_is_cancelled_does_not_cost_the_good_reply():
    """The second has won, so the first's end doesn't matter."""
    requests: list[httpx.Request] = []

    async def send(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        if len(requests) == 1:
            try:
                await asyncio.sleep(9)
            except asyncio.CancelledError as error:
                raise ValueError("a bug") from error
        return httpx.Response(200)

    async with seawall.AsyncClient(transport=httpx.MockTransport(send), hedge=HALF) as c:
        response = await c.get(URL)
        assert told(seawall.history(response)) == [(1, "ValueError", False, True), (2, "200", True, False)]
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        assert held(c.stats()) == []


async def test_both_attempts_are_in_one_part():
    """The user's function is asked once, because it may name another part the second time, or raise."""
    asked: list[object] = []

    def tenant(request: object) -> str:
        asked.append(request)
        return "a"

    async with client(9.0, 0.1, bulkhead=seawall.Bulkhead(max_concurrent=2, partition=tenant)) as c:
        assert len(seawall.history(await c.get(URL))) == 2
        assert len(asked) == 1


async def test_a_gate_that_raises_leaves_no_ticket():
    """It must not, but what those before it gave is given back nevertheless."""

    class Out(seawall.Ticket):
        def __init__(self, out: list[object]) -> None:
            self._out = out
            out.append(self)

        def end(self, result: object, now: float) -> None:
            self._out.remove(self)

    class Counting(seawall.Gate):
        name = "counting"

        def __init__(self) -> None:
            self.out: list[object] = []

        def try_enter(self, attempt: Any, now: float) -> seawall.Ticket:
            return Out(self.out)

    class Wrong(Counting):
        def try_enter(self, attempt: Any, now: float) -> seawall.Ticket:
            if len(counting.out) > 1:
                raise RuntimeError("a bug")
            return super().try_enter(attempt, now)

    counting, loop = Counting(), asyncio.get_running_loop()
    raised: list[Any] = []
    loop.set_exception_handler(lambda _, context: raised.append(context["exception"]))
    async with client(1.0, 0.1, gates=[lambda _: counting, lambda _: Wrong()]) as c:
        assert len(seawall.history(await c.get(URL))) == 1
    assert ([type(each) for each in raised], counting.out) == ([RuntimeError], [])


async def test_a_hedge_that_is_given_back_does_not_lift_the_allowance_above_its_bound():
    """It waits for a connection until the first is over, and another call has filled the allowance meanwhile."""
    async with client(*[0.1] * 20, 0.7, 0.1, limits=httpx.Limits(max_connections=1)) as c:
        for _ in range(20):
            await c.get(URL)
        one = asyncio.create_task(c.get(URL))
        await asyncio.sleep(0.6)
        other = asyncio.create_task(c.get(URL))
        await asyncio.gather(one, other)
        [state] = c.breakers._origins.states.values()
        assert state.hedge.allowance == MAX_ALLOWANCE


async def test_closing_the_client_ends_both():
    c = client(math.inf)
    call = asyncio.create_task(c.get(URL))
    await asyncio.sleep(1)
    assert in_flight(c) == 2
    await c.aclose()
    with pytest.raises(seawall.ClientClosed):
        await call
    assert held(c.stats()) == []


async def test_a_caller_that_cancels_as_the_second_wins_is_heard():
    """Our own cancellation of the first must not swallow the caller's."""
    async with client(9.0, 0.1) as c:
        call = asyncio.create_task(c.get(URL))

        asyncio.get_running_loop().call_at(0.6, call.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await call
        assert call.cancelled() or call.result().status_code == 200
        assert held(c.stats()) == []


@pytest.mark.parametrize("is_streamed", [False, True])
async def test_many_calls_at_once_leave_nothing(is_streamed):
    """Some win, some lose, some answer badly, some are cancelled; each call gets its own answer."""

    def tagged(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, text=request.url.path)

    tasks = asyncio.all_tasks()
    steps = [(0.1, tagged), (0.9, tagged), (0.52, tagged), (0.55, tagged), (2.0, tagged), (0.03, 503), (0.6, 503)]
    async with client(200, budget=None, breaker=None) as c:
        wire_of(c).script(*steps * 200)

        async def one(number: int) -> None:
            try:
                async with asyncio.timeout(0.65 + number % 7 / 4):
                    response = await ask(c, f"{URL}{number}", is_streamed=is_streamed)
                    assert response.text == (f"/{number}" if response.status_code == 200 else "")
            except TimeoutError:
                pass

        for _ in range(5):
            await asyncio.gather(*(one(number) for number in range(60)))
        assert held(c.stats()) == []
        assert c.stats().totals.attempts["hedge"] > 20
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == tasks
