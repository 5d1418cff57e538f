"""Which attempts follow which, and when: predicates, Retry-After, keys, bodies, hooks, on the virtual clock."""

from __future__ import annotations

import asyncio
import contextlib
import io
import itertools
import logging
import pickle
import subprocess
import sys
import textwrap
import uuid
from random import Random

import anyio
import httpx
import pytest
import tenacity
from hypothesis import given, settings
from hypothesis import strategies as st

import seawall
from seawall.testing import Body, FixedRandom, ScriptedWire, run

pytestmark = pytest.mark.anyio

URL = "http://api.test/"


def client(wire: httpx.AsyncBaseTransport, **arguments) -> seawall.AsyncClient:
    """Each delay of a retry is its upper bound."""
    arguments.setdefault("rng", FixedRandom())
    return seawall.AsyncClient(transport=wire, **arguments)


def later(status: int, **headers: str) -> httpx.Response:
    return httpx.Response(status, headers={name.replace("_", "-"): value for name, value in headers.items()})


# What is worth a retry


async def test_predicate_sees_the_body():
    """A body that says "busy" is retried: the function gets the outcome, its response read."""

    def is_busy(outcome: seawall.Outcome) -> bool | None:
        if outcome.status == 200 and outcome.response.json() == {"state": "busy"}:
            return True
        return None  # as by default

    wire = ScriptedWire(
        httpx.Response(200, json={"state": "busy"}), 503, httpx.Response(200, json={"state": "done"}), 404
    )
    async with client(wire, retry=seawall.Retry(retry=is_busy)) as c:
        response = await c.get(URL)
        assert (response.json(), len(response.extensions["seawall"])) == ({"state": "done"}, 3)
        assert (await c.get(URL)).status_code == 404
    assert len(wire.instants) == 4


async def test_predicate_may_say_no():
    """False: not even what would be retried by default; an async one is awaited."""

    async def never(outcome: seawall.Outcome) -> bool:
        return False

    wire = ScriptedWire(503)
    async with client(wire, retry=seawall.Retry(retry=never)) as c:
        assert (await c.get(URL)).status_code == 503
    assert wire.instants == [0.0]


async def test_predicate_of_a_stream_sees_no_body():
    """It is the caller's to read."""
    seen: list[bool] = []

    def look(outcome: seawall.Outcome) -> None:
        seen.append(outcome.response.is_closed)

    wire = ScriptedWire(Body(b"some", b"thing"))
    async with client(wire, retry=seawall.Retry(retry=look)) as c, c.stream("GET", URL) as response:
        assert await response.aread() == b"something"
    assert seen == [False]


async def test_predicate_sees_what_cannot_be_decoded():
    """As it came, undecoded; the caller gets httpx's DecodingError, as ever."""
    seen: list[httpx.Response] = []
    bad = httpx.Response(200, headers={"content-encoding": "gzip"}, stream=Body(b"no gzip"))
    async with client(ScriptedWire(bad), retry=seawall.Retry(retry=lambda o: seen.append(o.response))) as c:
        with pytest.raises(httpx.DecodingError):
            await c.get(URL)
    assert [response.content for response in seen] == [b"no gzip"]


class Leaky(httpx.AsyncBaseTransport):
    """Another's transport: its streams are closed by an await, and by nothing else."""

    def __init__(self) -> None:
        self.open = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.open += 1
        return httpx.Response(503, stream=Counted(self))


class Counted(Body):
    def __init__(self, owner: Leaky) -> None:
        super().__init__(b"x" * 100)
        self._owner = owner

    async def aclose(self) -> None:
        await asyncio.sleep(0)
        self._owner.open -= 1


@pytest.mark.parametrize("hook", ["retry", "before_sleep", "after"])
async def test_streams_of_other_transports_are_closed(hook):
    """A function of the user's is cancelled, or raises: nothing of theirs stays open."""

    async def slow(_: object) -> None:
        await asyncio.sleep(100)

    async def broken(_: object) -> None:
        raise ZeroDivisionError

    for function in (slow, broken):
        wire = Leaky()
        async with client(wire, retry=seawall.Retry(**{hook: function})) as c:
            with pytest.raises((TimeoutError, ZeroDivisionError)):
                async with asyncio.timeout(10), c.stream("GET", URL):
                    pass
            await asyncio.sleep(1)
            assert wire.open == 0
            assert c.stats().origins[seawall.Origin("http", "api.test", 80)].in_flight == 0


async def test_wait_that_cannot_be():
    """Refused, naming the setting."""
    for wrong in (float("nan"), -5.0, float("inf")):
        async with client(ScriptedWire(503), retry=seawall.Retry(wait=lambda _, wrong=wrong: wrong)) as c:
            with pytest.raises(ValueError, match=r"Retry\.wait must return finite seconds"):
                await c.get(URL)


async def test_predicate_that_raises_gives_all_back():
    """A bug of the user's comes out as it is; no permit is lost."""

    def broken(outcome: seawall.Outcome) -> bool:
        raise ZeroDivisionError

    async with client(ScriptedWire(200), retry=seawall.Retry(retry=broken)) as c:
        with pytest.raises(ZeroDivisionError):
            await c.get(URL)
        (state,) = c.stats().origins.values()
    assert state.in_flight == 0


async def test_strategies_of_tenacity_combined():
    """retry = a | b, stop = a | b, wait = a + b; a predicate sees a body too."""
    retry = seawall.Retry(
        max_attempts=99,
        retry=tenacity.retry_if_result(lambda response: response.json() == "busy")
        | tenacity.retry_if_exception_type(httpx.ReadTimeout),
        wait=tenacity.wait_fixed(1) + tenacity.wait_fixed(2),
        stop=tenacity.stop_after_attempt(4) | tenacity.stop_after_delay(100),
    )
    wire = ScriptedWire(httpx.Response(200, json="busy"), httpx.ReadTimeout, httpx.Response(200, json="busy"))
    async with client(wire, retry=retry) as c:
        response = await c.get(URL)
    assert wire.instants == [0.0, 3.0, 6.0, 9.0]
    assert response.extensions["seawall"].note == "Retry.stop said so"


async def test_hooks_and_statistics_of_tenacity(caplog):
    """before_sleep and after are called as tenacity calls them, its own log helpers included."""
    logger = logging.getLogger("app")
    seen: list[tuple[int, float]] = []
    retry = seawall.Retry(
        before_sleep=tenacity.before_sleep_log(logger, logging.WARNING),
        after=lambda state: seen.append((state.attempt_number, state.seconds_since_start)),
    )
    wire = ScriptedWire((1.0, httpx.ReadTimeout("slow")), 500, 200)
    with caplog.at_level(logging.WARNING, "app"):
        async with client(wire, retry=retry) as c:
            response = await c.get(URL)
    assert seen == [(1, 1.0), (2, pytest.approx(1.1))]
    assert "Retrying GET http://api.test in 0.1 seconds as it raised" in caplog.text.replace(":80", "")
    statistics = response.extensions["seawall"].statistics
    assert (statistics["attempt_number"], round(statistics["idle_for"], 6)) == (3, 0.3)


@pytest.mark.parametrize(
    ("steps", "deadline", "closes", "attempt_number", "idle_for"),
    [
        ((500, 60.0), 2.0, False, 2, 0.1),
        ((500, 500, 60.0), 2.0, False, 3, 0.3),
        ((500, 60.0), None, True, 2, 0.1),
        ((60.0,), 2.0, False, None, None),
    ],
)
async def test_statistics_of_a_call_that_is_cut(steps, deadline, closes, attempt_number, idle_for):
    """By its deadline or by the end of its client: the error has tenacity's, where an attempt had failed before."""
    async with client(ScriptedWire(*steps), deadline=deadline) as c:
        call = asyncio.create_task(c.get(URL))
        await asyncio.sleep(1.0)
        if closes:
            await c.aclose()
        with pytest.raises((seawall.DeadlineExceeded, seawall.ClientClosed)) as caught:
            await call
    statistics = caught.value.attempts.statistics
    idle = statistics.get("idle_for")
    assert statistics.get("attempt_number") == attempt_number
    assert (idle if idle is None else round(idle, 6)) == idle_for


async def test_x_should_retry():
    """The server's own word, as LLM APIs send it."""

    def server_says(outcome: seawall.Outcome) -> bool | None:
        said = None if outcome.response is None else outcome.response.headers.get("x-should-retry")
        return {"true": True, "false": False}.get(said or "")

    retry = seawall.Retry(methods=None, statuses={408, 409, 429, *range(500, 600)}, retry=server_says)
    wire = ScriptedWire(
        later(409, retry_after_ms="250"), later(418, x_should_retry="true"), later(500, x_should_retry="false")
    )
    async with client(wire, retry=retry) as c:
        response = await c.post(URL)
    assert (response.status_code, wire.instants) == (500, [0.0, 0.275, 0.475])


# Counts, jitter


async def test_without_jitter():
    """jitter=0: each delay is its bound, whatever chance says."""
    wire = ScriptedWire(500)
    async with client(wire, retry=seawall.Retry(jitter=0), rng=Random(1)) as c:
        await c.get(URL)
    assert wire.instants == [0.0, 0.1, 0.3]


@pytest.mark.parametrize(
    ("kind", "step"),
    [("connect", httpx.ConnectError), ("read", httpx.ReadError), ("status", 503)],
)
async def test_counts_of_their_own(kind, step):
    """One retry of this kind; the note says which setting it was."""
    wire = ScriptedWire(step)
    async with client(wire, retry=seawall.Retry(max_attempts=9, **{f"max_{kind}_retries": 1})) as c:
        try:
            history = (await c.get(URL)).extensions["seawall"]
        except httpx.TransportError as error:
            history = error.attempts
    assert len(history) == 2
    assert history.note == f"max_{kind}_retries=1 reached"


# Retry-After


@pytest.mark.parametrize(
    ("headers", "second"),
    [
        ({"retry_after_ms": "1500"}, 1.65),
        ({"retry_after_ms": "1500.5"}, 1.65055),
        ({"retry_after_ms": "1500", "retry_after": "5"}, 1.65),
        ({"retry_after_ms": "soon", "retry_after": "5"}, 5.5),
        ({"retry_after_ms": "-1"}, 1.0),
        ({"retry_after_ms": "nan"}, 1.0),
        ({"retry_after_ms": "1_000"}, 1.0),
    ],
)
async def test_retry_after_ms(headers, second):
    """Milliseconds go before seconds; garbage is ignored."""
    wire = ScriptedWire(later(503, **headers), 200)
    async with client(wire) as c:
        await c.get(URL)
    assert wire.instants == [0.0, second]


async def test_retry_after_with_413():
    """Too large for now: retried only because it says when."""
    wire = ScriptedWire(later(413, retry_after="1"), 413)
    async with client(wire) as c:
        assert (await c.get(URL)).status_code == 413
    assert wire.instants == [0.0, 1.1]


async def test_retry_after_is_on_what_is_returned():
    """Longer than what remains: the answer now, with how long on it."""
    wire = ScriptedWire(later(429, retry_after="3600"))
    async with client(wire) as c:
        history = (await c.get(URL)).extensions["seawall"]
    assert (history.retry_after, wire.instants) == (3600.0, [0.0])


async def test_retry_after_may_be_ignored():
    """respect_retry_after=False."""
    wire = ScriptedWire(later(503, retry_after="3600"), 200)
    async with client(wire, retry=seawall.Retry(respect_retry_after=False)) as c:
        assert (await c.get(URL)).status_code == 200
    assert wire.instants == [0.0, 1.0]


async def test_no_stampede_after_retry_after():
    """A thousand who were told the same come back over a tenth of that time."""
    wire = ScriptedWire(*[later(503, retry_after="10")] * 1000, 200)
    off = {"breaker": None, "budget": None, "bulkhead": None}
    async with client(wire, rng=Random(7), **off) as c:
        await asyncio.gather(*(c.get(URL) for _ in range(1000)))
    again = sorted(wire.instants)[1000:]
    assert 10.0 <= again[0] < 10.01
    assert 10.99 < again[-1] <= 11.0
    bins = [sum(10 + n * 0.05 <= at < 10.05 + n * 0.05 for at in again) for n in range(20)]
    assert max(bins) < 3 * 50


async def test_pause_of_an_origin():
    """Opt-in: nobody asks it until then, neither who was told nor who comes meanwhile; others are left alone."""
    wire = ScriptedWire(later(429, retry_after="10"), 200)
    async with client(wire, retry=seawall.Retry(pause_origin=True)) as c:
        first = asyncio.create_task(c.get(URL))
        await asyncio.sleep(5)
        second = asyncio.create_task(c.get(URL))
        await asyncio.sleep(0)
        assert (await c.get("http://other.test/")).status_code == 200
        (state, _) = c.stats().origins.values()
        assert state.in_flight == 0
        responses = [await first, await second]
    assert [response.status_code for response in responses] == [200, 200]
    assert wire.instants == [0.0, 5.0, 11.0, 11.0]
    assert responses[1].extensions["seawall"][0].delay == 6.0


async def test_pause_that_is_longer_than_the_deadline():
    """At once, and saying how long it is."""
    wire = ScriptedWire(later(429, retry_after="10"), 200)
    async with client(wire, retry=seawall.Retry(pause_origin=True)) as c:
        first = asyncio.create_task(c.get(URL))
        await asyncio.sleep(1)
        with pytest.raises(httpx.ConnectError, match="wait another 9 s") as caught:
            await c.get(URL, extensions=seawall.options(deadline=2.0))
        assert asyncio.get_running_loop().time() == 1.0
        await first
    assert isinstance(caught.value, seawall.errors.OriginPaused)
    assert caught.value.retry_after == 9.0


async def test_pause_after_an_attempt_that_was_sent():
    """Then the call is not "unsent": what failed is raised, at once, and says why it isn't repeated."""
    wire = ScriptedWire(httpx.ReadTimeout("slow"), later(429, retry_after="20"), 200)
    async with client(wire, retry=seawall.Retry(pause_origin=True, backoff=1.0)) as c:
        call = asyncio.create_task(c.put(URL, extensions=seawall.options(deadline=5.0)))
        await asyncio.sleep(0.5)
        other = asyncio.create_task(c.get(URL))
        with pytest.raises(httpx.ReadTimeout) as caught:
            await call
        assert asyncio.get_running_loop().time() == 1.0
        await other
    assert isinstance(caught.value.__cause__, seawall.errors.OriginPaused)
    assert caught.value.attempts.note.startswith("a retry was refused: http://api.test:80: it asked its callers to")


async def test_pause_is_asked_for_by_any_429():
    """Though it is not among the statuses that are retried."""
    wire = ScriptedWire(later(429, retry_after="10"), 200)
    async with client(wire, retry=seawall.Retry(pause_origin=True, statuses={500})) as c:
        assert (await c.get(URL)).status_code == 429
        assert (await c.get(URL)).status_code == 200
    assert wire.instants == [0.0, 11.0]


async def test_pause_is_bounded():
    """A day's Retry-After pauses the origin for max_retry_after, no longer."""
    wire = ScriptedWire(later(503, retry_after="86400"), 200)
    async with client(wire, retry=seawall.Retry(pause_origin=True, max_retry_after=5.0)) as c:
        assert (await c.get(URL)).status_code == 503
        assert (await c.get(URL)).status_code == 200
    assert wire.instants == [0.0, 5.5]


# Keys


async def test_key_is_of_one_request():
    """Those of an authentication have others, though none of the bodies is told from another: all are empty."""

    class Refreshing(httpx.Auth):
        def auth_flow(self, request):
            yield c.build_request("POST", "http://api.test/session")
            yield request

    wire = ScriptedWire(httpx.ReadError, 200, httpx.ReadError, 200)
    async with client(wire, retry=seawall.Retry(idempotency_key=True)) as c:
        await c.post(URL, auth=Refreshing())
    session, again, order, repeated = [attempt.headers["idempotency-key"] for attempt in wire.attempts]
    assert (session, order) == (again, repeated)
    assert session != order


async def test_key_is_the_calls():
    """One over attempts and redirects, another for the next call, of the same request even."""
    wire = ScriptedWire(
        httpx.ReadError, httpx.Response(307, headers={"location": "/new"}), 409, 200, httpx.ReadError, 200
    )
    async with client(wire, follow_redirects=True) as c:
        request = c.build_request("POST", URL, extensions=seawall.options(idempotency_key=True))
        first, second = await c.send(request), await c.send(request)
    keys = [attempt.headers["idempotency-key"] for attempt in wire.attempts]
    assert len(set(keys[:4])) == len(set(keys[4:])) == 1
    assert keys[0] != keys[4]
    assert [r.extensions["seawall"].idempotency_key for r in (first, second)] == [keys[0], keys[4]]


@pytest.mark.parametrize(("status", "attempts"), [(409, 3), (422, 1), (400, 1)])
async def test_answers_about_the_key(status, attempts):
    """409 is the first attempt still under way; 422 a key that was used for something else (draft-07 section 2.7)."""
    wire = ScriptedWire(status)
    async with client(wire, retry=seawall.Retry(idempotency_key=True)) as c:
        assert (await c.patch(URL)).status_code == status
        assert len(wire.attempts) == attempts
        await c.get(URL)
    assert len(wire.attempts) == attempts + 1


async def test_key_of_the_users():
    """It is kept, and makes the call repeatable; nothing is claimed to be ours."""
    wire = ScriptedWire(httpx.ReadError, 200)
    async with client(wire, retry=seawall.Retry(idempotency_key=True)) as c:
        response = await c.post(URL, headers={"idempotency-key": '"mine"'})
    assert [attempt.headers["idempotency-key"] for attempt in wire.attempts] == ['"mine"'] * 2
    assert response.extensions["seawall"].idempotency_key is None


class Token(httpx.Auth):
    """A POST for a token, then the request."""

    def auth_flow(self, request):
        yield httpx.Request("POST", "http://auth.test/token", content=b"me")
        yield request


async def test_key_of_each_request_of_a_call():
    """A step of an authentication is another request: it has another key."""
    wire = ScriptedWire(200)
    async with client(wire, retry=seawall.Retry(idempotency_key=True)) as c:
        await c.post(URL, content=b"order", auth=Token())
    first, second = (attempt.headers["idempotency-key"] for attempt in wire.attempts)
    assert first != second


async def test_request_that_is_sent_twice_at_once():
    """Two calls, two keys, each kept; the caller's request stays as it is."""
    wire = ScriptedWire(503, 503, 200)
    async with client(wire, retry=seawall.Retry(idempotency_key=True)) as c:
        request = c.build_request("POST", URL, content=b"order")
        responses = await asyncio.gather(c.send(request), c.send(request))
    keys = [attempt.headers["idempotency-key"] for attempt in wire.attempts]
    assert sorted(keys[:2]) == sorted(keys[2:])
    assert {r.extensions["seawall"].idempotency_key for r in responses} == set(keys)
    assert "idempotency-key" not in request.headers
    assert request.extensions.keys() == {"timeout"}


async def test_key_stays_with_those_who_heed_it():
    """A redirect to a host without keys: the POST has none there, and is sent once."""
    wire = ScriptedWire(httpx.Response(307, headers={"location": "http://b.test/"}), httpx.ReadTimeout)
    per_host = {"api.test": seawall.Policy(retry=seawall.Retry(idempotency_key=True))}
    async with client(wire, per_host=per_host, follow_redirects=True) as c:
        with pytest.raises(httpx.ReadTimeout):
            await c.post(URL, content=b"order")
    assert [attempt.headers.get("idempotency-key") is None for attempt in wire.attempts] == [False, True]


async def test_key_is_not_told_to_another_origin():
    """A redirect within the origin has the same key; another host, port or scheme gets another. So says the history."""
    ways = ["http://api.test/b", "https://api.test/b", "http://api.test:81/b", "http://b.test/b"]
    for location in ways:
        wire = ScriptedWire(httpx.Response(308, headers={"location": location}), httpx.ReadError, 200)
        async with client(wire, retry=seawall.Retry(idempotency_key=True), follow_redirects=True) as c:
            response = await c.post(URL, content=b"order")
        first, *rest = (attempt.headers["idempotency-key"] for attempt in wire.attempts)
        assert rest == [response.extensions["seawall"].idempotency_key] * 2
        assert (rest[0] == first) is (location == ways[0])


async def test_history_of_a_call_that_ends_without_a_key():
    """The key of the origin before is not said to be that of the last one."""
    wire = ScriptedWire(httpx.Response(307, headers={"location": "http://b.test/"}), 200)
    per_host = {"api.test": seawall.Policy(retry=seawall.Retry(idempotency_key=True))}
    async with client(wire, per_host=per_host, follow_redirects=True) as c:
        response = await c.post(URL, content=b"order")
    assert response.extensions["seawall"].idempotency_key is None


class NoRandom(Random):
    """Nothing may be drawn from it."""

    def random(self) -> float:
        raise AssertionError

    def getrandbits(self, k: int, /) -> int:
        raise AssertionError


async def test_key_is_the_systems():
    """UUID version 4 in quotes, and not from the generator of the jitter, from which it could be predicted."""
    wire = ScriptedWire(200)
    async with client(wire, rng=NoRandom(), retry=seawall.Retry(idempotency_key=True)) as c:
        for _ in range(2):
            await c.post(URL)
    one, other = (attempt.headers["idempotency-key"] for attempt in wire.attempts)
    assert uuid.UUID(one.strip('"')).version == uuid.UUID(other.strip('"')).version == 4
    assert one == f'"{uuid.UUID(one.strip(chr(34)))}"' != other


def test_processes_that_were_forked():
    """A client that was made before a fork, as under a preloading server: no key and no delay is the same in two."""
    code = """
        import asyncio, httpx, os, seawall

        def handler(request):
            keys.append(request.headers["idempotency-key"])
            return httpx.Response(500)

        def listener(event):
            if isinstance(event, seawall.events.RetryScheduled):
                delays.append(event.delay)

        async def main():
            for _ in range(3):
                await client.post("http://api.test/")
            print(*sorted(set(keys)), *delays)

        keys, delays = [], []
        retry = seawall.Retry(idempotency_key=True, backoff=1e-6)
        client = seawall.AsyncClient(transport=httpx.MockTransport(handler), retry=retry, observers=[listener])
        for _ in range(2):
            if os.fork() == 0:
                asyncio.run(main())
                os._exit(0)
            os.wait()
    """
    run = [sys.executable, "-u", "-c", textwrap.dedent(code)]
    drawn = subprocess.run(run, check=True, capture_output=True, text=True).stdout.split()
    assert len(drawn) == len(set(drawn)) == 2 * (3 + 6)


async def test_key_without_retries():
    """Asked for by a call whose retries are off: it is sent all the same."""
    wire = ScriptedWire(503)
    async with client(wire, retry=None) as c:
        await c.post(URL, extensions=seawall.options(idempotency_key=True))
    assert [bool(attempt.headers.get("idempotency-key")) for attempt in wire.attempts] == [True]


async def test_empty_key_is_none():
    """It makes nothing repeatable."""
    wire = ScriptedWire(503)
    async with client(wire) as c:
        await c.post(URL, headers={"idempotency-key": ""})
    assert len(wire.attempts) == 1


# Nested retries


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_two_layers_do_not_multiply(method):
    """The inner stands down where the outer one repeats all; a POST that was never sent is the inner's to repeat."""
    wire = ScriptedWire(503 if method == "GET" else httpx.ConnectError)
    inner = seawall.AsyncTransport(wire, rng=FixedRandom())
    async with httpx.AsyncClient(transport=seawall.AsyncTransport(inner, rng=FixedRandom())) as c:
        with contextlib.suppress(httpx.ConnectError):
            await c.request(method, URL)
    assert len(wire.instants) == 3


async def test_call_inside_a_call():
    """An application in process that calls on: nine attempts would be three times three."""
    wire = ScriptedWire(503)

    async with client(wire, budget=None) as below:

        async def app(request: httpx.Request) -> httpx.Response:
            return httpx.Response((await below.get("http://below.test/")).status_code)

        async with client(httpx.MockTransport(app)) as above:
            assert (await above.get(URL)).status_code == 503
            assert len(wire.instants) == 3
            await above.post(URL)  # can't be repeated: the call inside may be
            assert len(wire.instants) == 6
            await above.get(URL, extensions=seawall.options(retry=None))
            assert len(wire.instants) == 9
        await below.get("http://below.test/")
        assert len(wire.instants) == 12


async def test_task_that_outlives_the_outer_call_retries_again():
    """It belongs to nobody's attempt any more."""
    wire, tasks = ScriptedWire(503), []
    async with client(wire) as below:

        async def later_on() -> None:
            await asyncio.sleep(1)
            await below.get("http://below.test/")

        async def app(request: httpx.Request) -> httpx.Response:
            tasks.append(asyncio.create_task(later_on()))
            return httpx.Response(200)

        async with client(httpx.MockTransport(app)) as above:
            await above.get(URL)
        await tasks[0]
    assert len(wire.instants) == 3


@pytest.mark.parametrize(("layers", "bound"), [(1, 1.0), (2, 1.1)])
async def test_attempts_at_full_failure(layers, bound):
    """200 calls/s for 10 s, all failing: attempts <= 1.1 x calls + 1/s x time + 30; two layers: 10 % more."""
    wire = ScriptedWire((0.01, 503))
    transport: httpx.AsyncBaseTransport = wire
    for _ in range(layers):
        transport = seawall.AsyncTransport(transport, breaker=None, bulkhead=None, rng=Random(3))
    async with httpx.AsyncClient(transport=transport) as c:
        calls = []
        for _ in range(2000):
            calls.append(asyncio.create_task(c.get(URL)))
            await asyncio.sleep(0.005)
        await asyncio.gather(*calls)
    assert 2000 < len(wire.instants) <= (1.1 * 2000 + 1 * 10 + 30) * bound


@pytest.mark.parametrize(("method", "step"), [("GET", 503), ("POST", 429), ("GET", httpx.ConnectError)])
@pytest.mark.parametrize("layers", [1, 2, 3])
async def test_layers_never_multiply(method, step, layers):
    """However many, and whoever may repeat it."""
    wire = ScriptedWire(step)
    transport: httpx.AsyncBaseTransport = wire
    for _ in range(layers):
        transport = seawall.AsyncTransport(transport, rng=FixedRandom())
    async with httpx.AsyncClient(transport=transport) as c:
        with contextlib.suppress(httpx.ConnectError):
            await c.request(method, URL)
    assert len(wire.instants) == 3


async def test_part_of_a_call_stands_down_from_retries_only():
    """It still gives its own POST a key, and raises where that is wanted."""
    wire = ScriptedWire(503)
    retry = seawall.Retry(idempotency_key=True, raise_on_status=True)
    async with client(wire, retry=retry) as below:

        async def app(request: httpx.Request) -> httpx.Response:
            with pytest.raises(seawall.errors.StatusError):
                await below.post("http://below.test/")
            return httpx.Response(200)

        async with client(httpx.MockTransport(app)) as above:
            await above.get(URL)
    assert [bool(attempt.headers.get("idempotency-key")) for attempt in wire.attempts] == [True]


async def test_error_of_another_request_says_nothing_of_ours():
    """An application in process was asked, and its own upstream refused it: our POST is not sent again."""
    asked = []

    async def app(request: httpx.Request) -> httpx.Response:
        asked.append(request.method)
        raise seawall.DialError("its own upstream")

    transport = seawall.AsyncTransport(seawall.AsyncTransport(httpx.MockTransport(app)))
    async with httpx.AsyncClient(transport=transport) as c:
        with pytest.raises(seawall.errors.PartlySent) as caught:
            await c.post(URL)
    assert isinstance(caught.value.reason, seawall.DialError)
    assert asked == ["POST"]


# Bodies of requests


async def parts():
    yield b"some"
    yield b"thing"


class Restarting:
    """Can be iterated again, but who knows what it gives then."""

    def __init__(self) -> None:
        self._left = [b"some", b"thing"]

    async def __aiter__(self):
        while self._left:
            yield self._left.pop(0)


class AsyncFile:
    """As anyio's and aiofiles': an iterator that can go back."""

    def __init__(self, content: bytes) -> None:
        self._file = io.BytesIO(content)

    def __aiter__(self):
        return self

    async def __anext__(self) -> bytes:
        await anyio.lowlevel.checkpoint()
        if not (part := self._file.read(4)):
            raise StopAsyncIteration
        return part

    async def tell(self) -> int:
        return self._file.tell()

    async def seek(self, offset: int) -> int:
        return self._file.seek(offset)


class Unseekable(io.BytesIO):
    def seekable(self) -> bool:
        return False


class Counting(httpx.AsyncBaseTransport):
    """Reads each body as a wire does, and answers 503."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        assert isinstance(request.stream, httpx.AsyncByteStream)
        self.bodies.append(b"".join([part async for part in request.stream]))
        return httpx.Response(503)


@pytest.mark.parametrize(
    ("body", "sent"),
    [
        (b"something", 3),
        (lambda: seawall.replayable(parts), 3),
        (lambda: seawall.replayable(lambda: iter([b"some", b"thing"])), 3),
        (lambda: AsyncFile(b"something"), 3),
        (parts, 1),
        (Restarting, 1),
    ],
    ids=["bytes", "replayable", "replayable, sync", "file", "generator", "unknown"],
)
async def test_bodies_that_are_sent_again(body, sent):
    """Whole each time, or once."""
    wire = Counting()
    async with client(wire) as c:
        response = await c.put(URL, content=body() if callable(body) else body)
    assert wire.bodies == [b"something"] * sent
    assert ("seawall.replayable" in response.extensions["seawall"].note) is (sent == 1)


@pytest.mark.parametrize(("kind", "sent"), [(io.BytesIO, 3), (Unseekable, 1)])
async def test_multipart(kind, sent):
    """Again where each of its files can go back."""
    wire = Counting()
    async with client(wire) as c:
        await c.put(URL, files={"file": ("a.txt", kind(b"something"))}, data={"field": "value"})
    assert len(wire.bodies) == sent
    assert len(set(wire.bodies)) == 1
    assert b"something" in wire.bodies[0]


class Form(httpx.AsyncByteStream):
    """A stream of somebody's that only looks like httpx's."""

    def __init__(self) -> None:
        self.fields = {"a": "1"}
        self._parts = iter([b"a=1", b"&b=2"])

    async def __aiter__(self):
        for part in self._parts:
            yield part


async def test_stream_that_only_looks_like_a_form():
    """Once: nothing is known of it."""
    wire = Counting()
    async with client(wire) as c:
        await c.send(httpx.Request("PUT", URL, stream=Form(), extensions={"timeout": {}}))
    assert wire.bodies == [b"a=1&b=2"]


async def test_replayable_that_is_not():
    """One generator again and again would be an empty body: a clear error, and nothing sent."""
    wire, one = Counting(), parts()
    async with client(wire) as c:
        with pytest.raises(TypeError, match="a new iterator each time"):
            await c.put(URL, content=seawall.replayable(lambda: one))
    assert wire.bodies == [b"something"]


async def test_file_goes_back_to_where_it_was():
    """Not to its beginning: what was read before is not part of the body."""
    wire, file = Counting(), AsyncFile(b"headsomething")
    await file.__anext__()
    async with client(wire) as c:
        await c.put(URL, content=file)
    assert wire.bodies == [b"something"] * 3


def test_replayable_takes_a_function():
    """An iterator is gone once it was read."""
    with pytest.raises(TypeError, match="function that returns the parts anew"):
        seawall.replayable(iter([b"some"]))  # type: ignore[arg-type]


# What is known afterwards


async def test_error_says_it_all():
    """PEP 678: how many attempts in what time, how each ended, what is left of the budget, why no more."""
    wire = ScriptedWire(503, (0.1, httpx.ReadTimeout("slow")), (0.1, httpx.ReadTimeout("slow")))
    async with client(wire) as c:
        with pytest.raises(httpx.ReadTimeout) as caught:
            await c.get(URL)
    (note,) = caught.value.__notes__
    assert note == "seawall: 3 attempts in 1.4 s: 503, ReadTimeout, ReadTimeout; max_attempts=3 reached"
    assert "3 attempts in 1.4 s" in str(caught.value.attempts)


async def test_deadline_says_it_all():
    """So does a call that its deadline ended, and it is raised from what failed last."""
    wire = ScriptedWire(httpx.ConnectError("refused"), 60.0)
    async with client(wire, deadline=2.0) as c:
        with pytest.raises(seawall.DeadlineExceeded) as caught:
            await c.get(URL)
    assert caught.value.__notes__[0].startswith("seawall: 2 attempts in 2 s: ConnectError, cancelled")
    assert str(caught.value).endswith("; GET /, attempt 2 of 3, connecting, 2 s in all")
    assert isinstance(caught.value.__cause__, httpx.ConnectError)


async def test_budget_in_an_error():
    """What is left of it is told where it decided that no attempt followed."""
    budget = seawall.Budget(rate=0, ratio=0, max_balance=1.0)
    async with client(ScriptedWire(*[httpx.ConnectError("refused")] * 9), budget=budget) as c:
        for _ in range(2):
            with pytest.raises(httpx.ConnectError) as caught:
                await c.get(URL)
    assert "; budget left 0.0; the origin's retry budget is empty" in caught.value.__notes__[0]


@pytest.mark.parametrize(
    ("path", "method", "retry", "about"),
    [
        ("/a?secret", "GET", seawall.Retry(max_attempts=2, backoff=0), "GET /a, attempt 2 of 2, sending, 0 s in all"),
        ("/a", "GET", None, "GET /a, attempt 1 of 1, sending, 0 s in all"),
        ("/" + "a" * 200, "GET", None, f"GET /{'a' * 99}..., attempt 1 of 1, sending, 0 s in all"),
    ],
)
async def test_what_an_error_is_about(path, method, retry, about):
    """The request without its query, how often it was tried, how far the last attempt got, how long all took."""
    wire = ScriptedWire(*[seawall.errors.ReadTimeout("nothing came")] * 2)
    async with client(wire, retry=retry) as c:
        with pytest.raises(seawall.errors.ReadTimeout) as caught:
            await c.request(method, f"{URL.rstrip('/')}{path}")
    assert str(caught.value) == f"nothing came; {about}"


async def test_deadline_that_had_passed_before():
    """No attempt was made, which the error says, and what leaves the deadline out."""
    async with client(ScriptedWire(200)) as c:
        with seawall.deadline(1.0):
            await asyncio.sleep(2.0)
            with pytest.raises(seawall.DeadlineExceeded) as caught:
                await c.get(URL)
    assert "had passed before the call began; seawall.detached() leaves it out; GET /, before the" in str(caught.value)
    assert caught.value.__notes__ == ["seawall: no attempt was made"]


async def test_history_and_errors_pickle():
    """With all that they know, to another process."""
    wire = ScriptedWire(503)
    async with client(wire, retry=seawall.Retry(raise_on_status=True)) as c:
        with pytest.raises(seawall.errors.StatusError) as caught:
            await c.get(URL)
    again = pickle.loads(pickle.dumps(caught.value))
    assert isinstance(again, httpx.HTTPStatusError)
    assert (again.status, again.response.status_code, str(again.attempts)) == (503, 503, str(caught.value.attempts))
    assert again.attempts.note == "max_attempts=3 reached"
    assert again.attempts.statistics["attempt_number"] == 3


async def test_stream_that_is_raised_for_gives_all_back():
    """raise_on_status under stream(): closed, and its permit free."""
    wire = ScriptedWire(httpx.Response(500, stream=Body(b"x" * 100)))
    async with client(wire, retry=seawall.Retry(raise_on_status=True, max_attempts=1)) as c:
        with pytest.raises(seawall.errors.StatusError) as caught:
            async with c.stream("GET", URL):
                pass
        assert caught.value.response.is_closed
        (state,) = c.stats().origins.values()
    assert state.in_flight == 0


# Properties


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    backoff=st.floats(0, 5),
    attempts=st.integers(1, 8),
    deadline=st.floats(0.1, 60),
    jitter=st.floats(0, 1),
    steps=st.lists(st.sampled_from([500, 503, 429, 0.3, httpx.ReadError, httpx.ConnectError]), min_size=1, max_size=8),
    retry_after=st.one_of(st.none(), st.integers(0, 40)),
)
def test_delays_are_in_their_bounds(seed, backoff, attempts, deadline, jitter, steps, retry_after):
    """Each delay within what its settings say, their sum within the deadline, whatever chance does."""
    retry = seawall.Retry(max_attempts=attempts, backoff=backoff, jitter=jitter)
    headers = {} if retry_after is None else {"retry-after": str(retry_after)}
    script = [httpx.Response(step, headers=headers) if isinstance(step, int) else step for step in steps]

    async def main() -> tuple[seawall.History, float]:
        wire = ScriptedWire(*script)
        off = {"breaker": None, "budget": None}
        async with seawall.AsyncClient(transport=wire, retry=retry, deadline=deadline, rng=Random(seed), **off) as c:
            try:
                history = (await c.get(URL)).extensions["seawall"]
            except (httpx.TransportError, seawall.SeawallError) as error:
                history = error.attempts
            return history, asyncio.get_running_loop().time()

    history, ended_at = run(main())
    assert len(history) <= attempts
    assert ended_at <= deadline + 1e-6
    assert sum(attempt.delay for attempt in history) <= deadline
    for number, (before, attempt) in enumerate(itertools.pairwise(history), 1):
        is_throttled = before.outcome in ("429", "503")
        bound = min(20.0, (1.0 if is_throttled else backoff) * 2.0 ** (number - 1))
        low = (1 - jitter) * bound
        if before.outcome.isdigit() and retry_after is not None:
            low, bound = max(low, retry_after), max(bound, retry_after * 1.1)
        assert low - 1e-9 <= attempt.delay <= bound + 1e-9
