"""How calls and clients end: what listeners hear, what the budget keeps, how long closing takes. On virtual time."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator

import httpx
import pytest

import seawall
from seawall._httpx.transport import Proxied
from seawall.testing import Body, FixedRandom, ScriptedWire
from seawall.testing.leaks import held

pytestmark = pytest.mark.anyio

URL = "http://api.test/"
ORIGIN = seawall.Origin("http", "api.test", 80)


def client(wire: httpx.AsyncBaseTransport, **arguments) -> seawall.AsyncClient:
    return seawall.AsyncClient(transport=wire, **{"rng": FixedRandom()} | arguments)


def now() -> float:
    return round(asyncio.get_running_loop().time(), 9)


# CallEnded


class Ends(list[seawall.events.CallEnded]):
    def __call__(self, event: seawall.events.Event) -> None:
        if isinstance(event, seawall.events.CallEnded):
            self.append(event)


def redirect(url: str) -> httpx.Response:
    return httpx.Response(302, headers={"location": url})


async def test_one_end_per_call_with_redirects():
    """Two hops, one call; through a stock client each hop is one."""
    other = seawall.Origin("http", "other.test", 80)
    script = {"api.test": [redirect("http://other.test/")], "other.test": [500, 200]}
    ends = Ends()
    async with client(ScriptedWire(per_host=script), observers=[ends]) as c:
        await c.get(URL, follow_redirects=True)
    assert [(*end[1:2], *end[4:7]) for end in ends] == [(other, 3, "200", "")]
    ends.clear()
    transport = seawall.AsyncTransport(ScriptedWire(per_host=script), observers=[ends])
    async with httpx.AsyncClient(transport=transport) as stock:
        await stock.get(URL, follow_redirects=True)
    assert [(*end[1:2], *end[4:7]) for end in ends] == [(ORIGIN, 1, "302", ""), (other, 2, "200", "")]


@pytest.mark.parametrize("kind", ["client", "stock"])
@pytest.mark.parametrize(
    ("ending", "outcome", "attempts"),
    [
        ("cancelled in flight", "cancelled", 1),
        ("cancelled in its backoff", "cancelled", 1),
        ("cancelled in the queue", "cancelled", 1),
        ("deadline", "DeadlineExceeded", 1),
        ("deadline before", "DeadlineExceeded", 0),
        ("predicate", "ZeroDivisionError", 1),
        ("partition", "KeyError", 1),
        ("transport", "ValueError", 1),
        ("closed", "ClientClosed", 1),
        ("closed before", "ClientClosed", 0),
        ("breaker", "BreakerOpen", 1),
        ("pause", "OriginPaused", 0),
        ("503", "503", 3),
        ("ReadError", "ReadError", 3),
    ],
)
async def test_exactly_one_end_whatever_ended_it(kind, ending, outcome, attempts):
    """Each call that was begun ends once, with what its caller got."""
    ends, settings = Ends(), {}
    step: object = {"503": 503, "ReadError": httpx.ReadError, "cancelled in its backoff": 500}.get(ending, math.inf)
    if ending == "predicate":
        settings["retry"] = seawall.Retry(retry=lambda outcome: 1 / 0)
        step = 200
    elif ending == "partition":
        settings["bulkhead"] = seawall.Bulkhead(partition=lambda request: request.headers["x-tenant"])
    elif ending == "cancelled in the queue":
        settings["bulkhead"] = seawall.Bulkhead(max_concurrent=1)
    elif ending == "transport":
        step = ValueError
    transport = seawall.AsyncTransport(ScriptedWire(step), observers=[ends], rng=FixedRandom(), **settings)
    made = seawall.AsyncClient if kind == "client" else httpx.AsyncClient
    async with made(transport=transport) as c:
        deadline = {"deadline": -1.0, "deadline before": 0.0}
        if ending == "breaker":
            transport.engine.layers.origins[ORIGIN].breaker.force_open()
        elif ending == "pause":
            transport.engine.layers.origins[ORIGIN].pause(0.0, 100.0)
        elif ending == "closed before":
            transport.engine.layers.in_flight.is_closed = True
        extensions = seawall.options(deadline=1.0) if ending in ("deadline", "pause") else {}
        calls = [asyncio.create_task(c.get(URL, extensions=extensions))]
        if ending == "deadline before":
            calls[0].cancel()
            calls = []
            await asyncio.sleep(0)
            ends.clear()
            with seawall.deadline(0.5):
                await asyncio.sleep(0.5)
                calls = [asyncio.create_task(c.get(URL))]
        assert deadline
        if ending.startswith("cancelled"):
            if ending.endswith("queue"):
                calls.insert(0, asyncio.create_task(c.get(URL)))
            await asyncio.sleep(0.01)
            calls[-1].cancel()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        elif ending == "closed":
            await asyncio.sleep(0.01)
            await transport.aclose()
        if not ending.endswith("queue"):
            await asyncio.gather(*calls, return_exceptions=True)
        assert [(event.outcome, event.attempts) for event in ends] == [(outcome, attempts)]
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
    assert len(ends) == (2 if ending.endswith("queue") else 1)


@pytest.mark.parametrize("kind", ["client", "stock"])
@pytest.mark.parametrize(
    ("inner", "url", "extensions", "outcome"),
    [
        (None, "ftp://api.test/", {}, "UnsupportedScheme"),
        (None, "https://", {}, "UnsupportedScheme"),
        (None, "http://api.test:0/", {}, "DialError"),
        (None, "http://api.test:99999/", {}, "DialError"),
        (None, URL, {"timeout": {"read": -1}}, "ValueError"),
        (None, URL, {"seawall": 1}, "TypeError"),
        (ScriptedWire(), URL, {"timeout": {"read": -1}}, "ValueError"),
        (ScriptedWire(), URL, {"seawall": 1}, "TypeError"),
    ],
)
async def test_request_that_cannot_be_made_ends_a_call_too(kind, inner, url, extensions, outcome):
    """Exactly once: of no origin, because it ended before its first hop."""
    ends = Ends()
    made = seawall.AsyncClient if kind == "client" else httpx.AsyncClient
    async with made(transport=seawall.AsyncTransport(inner, observers=[ends])) as c:
        with pytest.raises((httpx.TransportError, ValueError, TypeError)):
            await c.send(httpx.Request("GET", url, extensions=extensions))
    assert [(*end[1:2], *end[4:7]) for end in ends] == [(None, 0, outcome, "")]


async def test_hop_that_cannot_be_made_is_no_call_of_its_own():
    """A redirect to a port that can't be: of a client one call, of a stock client the hop is one."""
    ends = Ends()
    to = redirect("http://other.test:0/")
    async with client(ScriptedWire(to), observers=[ends]) as c:
        c._mounts[httpx._utils.URLPattern("http://other.test")] = seawall.AsyncTransport(engine=c.engine)
        with pytest.raises(seawall.errors.PartlySent):
            await c.get(URL, follow_redirects=True)
    assert [(*end[1:2], *end[4:7]) for end in ends] == [(ORIGIN, 1, "PartlySent", "")]
    ends.clear()
    mounts = {"http://other.test": seawall.AsyncTransport(observers=[ends])}
    stock = httpx.AsyncClient(transport=seawall.AsyncTransport(ScriptedWire(to), observers=[ends]), mounts=mounts)
    async with stock:
        with pytest.raises(seawall.DialError):
            await stock.get(URL, follow_redirects=True)
    assert [(*end[1:2], *end[4:7]) for end in ends] == [(ORIGIN, 1, "302", ""), (None, 0, "DialError", "")]


COOKIE = httpx.Response(200, headers={"set-cookie": "a=b"}, content=b"whole")


@pytest.mark.parametrize("answers", [[COOKIE], [redirect(URL), COOKIE]])
@pytest.mark.parametrize("is_streamed", [False, True])
async def test_call_outlives_its_client_beside_others(answers, is_streamed):
    """The client of a shared engine is closed meanwhile: the call has its answer, and nothing stays held."""
    async with seawall.Engine(rng=FixedRandom()) as engine:
        wire = ScriptedWire(200, *((1.0, answer) for answer in answers))
        c = seawall.AsyncClient(transport=wire, engine=engine, follow_redirects=True)
        await c.get(URL)

        async def call() -> bytes:
            if not is_streamed:
                return (await c.get(URL)).content
            async with c.stream("GET", URL) as response:
                return await response.aread()

        calling = asyncio.create_task(call())
        await asyncio.sleep(0.5)
        await c.aclose()
        assert await calling == b"whole"
        assert held(engine.stats()) == []
        with pytest.raises(RuntimeError, match="closed"):
            await c.get(URL)


async def test_guarded_proxy_ends_a_call_too():
    """The client has one; the guard refuses what a proxy of the environment would dial."""
    ends = Ends()
    async with client(ScriptedWire(), observers=[ends]) as c:
        c.engine.guard = seawall.Guard()
        proxied = Proxied(c.engine, proxy=httpx.Proxy("http://proxy.test"))
        with pytest.raises(seawall.errors.AddressNotAllowed):
            await proxied.handle_async_request(httpx.Request("GET", URL))
        await proxied.aclose()
    assert [(*end[1:2], *end[4:7]) for end in ends] == [(None, 0, "AddressNotAllowed", "")]


async def test_errors_of_httpx_above_the_layers_end_a_call_too():
    """Too many redirects, a hook that raises: what the caller got; where no hop was begun, of no origin."""
    ends = Ends()
    async with client(ScriptedWire(redirect(URL)), observers=[ends], max_redirects=2) as c:
        with pytest.raises(httpx.TooManyRedirects):
            await c.get(URL, follow_redirects=True)

        async def hook(request: httpx.Request) -> None:
            raise LookupError

        c.event_hooks["request"] = [hook]
        with pytest.raises(LookupError):
            await c.get(URL)
    assert [(*end[1:2], *end[4:7]) for end in ends] == [
        (ORIGIN, 3, "TooManyRedirects", ""),
        (None, 0, "LookupError", ""),
    ]


async def test_note_of_the_end():
    """As the history has it."""
    ends = Ends()
    async with client(ScriptedWire(503, *[httpx.ReadError] * 3, 200), observers=[ends]) as c:
        with pytest.raises(httpx.ReadError):
            await c.get(URL)
        with pytest.raises(httpx.ReadError):
            await c.post(URL)
        await c.get(URL, extensions=seawall.options(retry=None))
    assert [event.note for event in ends] == ["max_attempts=3 reached", "not safe to repeat", ""]


# The budget


@pytest.mark.parametrize("refusal", ["breaker", "bulkhead", "cap", "pause"])
async def test_what_we_refuse_deposits_nothing(refusal):
    """An empty budget stays empty, however many calls we refuse."""
    settings = {
        "bulkhead": {"bulkhead": seawall.Bulkhead(max_concurrent=1, max_waiting=0)},
        "cap": {"limits": httpx.Limits(max_connections=1), "timeout": httpx.Timeout(60.0, pool=0.001)},
    }.get(refusal, {})
    budget = seawall.Budget(rate=0.0, client_rate=0.0)
    async with client(ScriptedWire(200), budget=budget, **settings) as c:
        await c.get(URL)
        (state,) = c.engine.layers.origins
        for _ in range(30):
            c.engine.layers.origins.withdraw(state, 0.0)
        c._transport._inner.script(math.inf)
        other = asyncio.create_task(c.get(URL if refusal == "bulkhead" else "http://other.test/"))
        await asyncio.sleep(0)
        if refusal == "breaker":
            c.breakers["http://api.test"].force_open()
        elif refusal == "pause":
            state.pause(0.0, 1e6)
        for _ in range(100):
            with pytest.raises(seawall.Unsent):
                await c.get(URL)
        assert (c.stats().origins[ORIGIN].budget, c.stats().budget) == (0.0, 70.0)
        other.cancel()


async def test_what_was_on_the_wire_deposits():
    """A tenth of a token for each first attempt, whatever came of it, and none for a retry."""
    budget = seawall.Budget(rate=0.0, client_rate=0.0)
    async with client(ScriptedWire(200, 404, httpx.ConnectError, 200), budget=budget) as c:
        (await c.get(URL))
        (state,) = c.engine.layers.origins
        for _ in range(10):
            c.engine.layers.origins.withdraw(state, 0.0)
        await c.get(URL)
        await c.get(URL)
        assert c.stats().origins[ORIGIN].budget == pytest.approx(20.0 + 0.1 + 0.1 - 1)


# Closing


class Slow(httpx.AsyncByteStream):
    """Takes its time to be closed."""

    def __init__(self, *parts: bytes | float, closing: float = 5.0) -> None:
        self._body, self._closing = Body(*parts), closing
        self.closed_at: float | None = None
        self.is_cancelled = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._body.__aiter__()

    async def aclose(self) -> None:
        try:
            await asyncio.sleep(self._closing)
        except asyncio.CancelledError:
            self.is_cancelled = True
            raise
        self.closed_at = now()


@pytest.mark.parametrize("status", [200, 503])
async def test_deadline_holds_over_a_slow_close(status):
    """Of another transport's stream that hangs, and takes 5 s to be closed: the call ends at its deadline."""
    stream = Slow(b"x", math.inf)
    async with client(ScriptedWire(httpx.Response(status, stream=stream)), deadline=0.5) as c:
        with pytest.raises(seawall.DeadlineExceeded):
            await c.get(URL)
        assert now() == 0.5
        assert c.stats().connections == 0
        await asyncio.sleep(5.1)
        assert stream.closed_at == 5.5


async def test_whole_body_waits_little_for_its_close():
    """50 ms; the rest goes on behind, and a discarded answer's too."""
    first, second = Slow(b"x"), Slow(b"y", closing=0.01)
    wire = ScriptedWire(httpx.Response(500, stream=first), httpx.Response(200, stream=second))
    async with client(wire) as c:
        response = await c.get(URL)
        assert (response.content, now()) == (b"y", 0.16)
        assert wire.instants == [0.0, 0.15]
    assert (first.closed_at, first.is_cancelled) == (None, True)
    assert second.closed_at == 0.16
    assert now() == 1.16


async def test_drained_answer_is_closed_in_time_too():
    """Of a stream, before a retry: 50 ms to drain and close it."""
    stream = Slow(b"x", 0.03)
    wire = ScriptedWire(httpx.Response(500, stream=stream), 200)
    async with client(wire) as c:
        async with c.stream("GET", URL) as response:
            assert response.status_code == 200
        assert wire.instants == [0.0, 0.15]


class Inner(httpx.MockTransport):
    """Takes 5 s to be closed, and may not even be cancelled."""

    def __init__(self) -> None:
        super().__init__(self.hang)
        self.ends: list[str] = []

    async def hang(self, request: httpx.Request) -> httpx.Response:
        while True:
            try:
                await asyncio.sleep(1e6)
            except asyncio.CancelledError:
                self.ends.append("call")
                await asyncio.sleep(1e3)

    async def aclose(self) -> None:
        try:
            await asyncio.sleep(5.0)
        except asyncio.CancelledError:
            self.ends.append("inner")
            raise


@pytest.mark.parametrize("way", ["aclose", "async with"])
async def test_closing_takes_a_second_in_all(way):
    """Calls that won't end, streams that close slowly, the inner transport, mounts, the resolver: all of it in 1 s."""

    class Resolver:
        async def resolve(self, name: str, family: int) -> seawall.dns.Answer:
            raise AssertionError

        async def aclose(self) -> None:
            await asyncio.sleep(5.0)

    inner, mount, stream = Inner(), Inner(), Slow(b"x", math.inf)
    streams = ScriptedWire(httpx.Response(200, stream=stream))
    mounts = {"http://mount.test": mount, "http://streams.test": streams}
    c = client(inner, mounts=mounts, resolver=Resolver())
    if way == "async with":
        await c.__aenter__()
    call = asyncio.create_task(c.get(URL))
    with pytest.raises(seawall.DeadlineExceeded):
        await c.get("http://streams.test/", extensions=seawall.options(deadline=0.5))
    await (c.aclose() if way == "aclose" else c.__aexit__())
    assert now() == 1.5
    assert inner.ends == ["call", "inner"]
    assert mount.ends == ["inner"]
    await asyncio.sleep(0)
    assert stream.is_cancelled
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)


async def test_closing_what_is_idle_takes_no_time():
    """And again, none."""
    c = client(ScriptedWire(200))
    await c.get(URL)
    await c.aclose()
    await c._transport.aclose()
    assert now() == 0.0


async def test_error_of_an_inner_transports_close_is_raised():
    """As httpx raises it."""

    class Broken(httpx.MockTransport):
        async def aclose(self) -> None:
            raise OSError("close")

    c = client(Broken(lambda request: httpx.Response(200)))
    with pytest.raises(OSError, match="close"):
        await c.aclose()


@pytest.mark.parametrize("way", ["async with", "aclose"])
async def test_inner_transport_is_opened_and_closed_with_ours(way):
    """One that is opened by `async with` needs it; both that and `aclose` close it once."""

    class Inner(httpx.AsyncBaseTransport):
        def __init__(self) -> None:
            self.calls: list[str] = []

        async def __aenter__(self):
            self.calls.append("opened")
            return self

        async def __aexit__(self, *_: object) -> None:
            self.calls.append("left")

        async def aclose(self) -> None:
            self.calls.append("closed")

    inner = Inner()
    transport = seawall.AsyncTransport(inner)
    if way == "aclose":
        await transport.aclose()
        assert inner.calls == ["closed"]
    else:
        async with transport as entered:
            assert entered is transport
        assert inner.calls == ["opened", "left"]
