"""What the log says of calls, at which level, and how often. On virtual time."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math

import httpx
import pytest

import seawall
from seawall.policy.gate import Entrant, Result
from seawall.testing import Body, FixedRandom, ScriptedWire

pytestmark = pytest.mark.anyio

URL = "https://api.example.com/orders?token=secret"


def client(*steps, **settings) -> seawall.AsyncClient:
    return seawall.AsyncClient(transport=ScriptedWire(*steps), **{"rng": FixedRandom()} | settings)


def told(caplog: pytest.LogCaptureFixture, level: int = logging.WARNING) -> list[tuple[str, str]]:
    """Logger and text of the lines of *level* and above."""
    return [(each.name, each.getMessage()) for each in caplog.records if each.levelno >= level]


@pytest.fixture(autouse=True)
def at_info(caplog: pytest.LogCaptureFixture) -> None:
    """As an application has it in production: no observer, and no DEBUG."""
    caplog.set_level(logging.INFO, "seawall")


async def test_a_call_that_gives_up_after_retries_is_a_warning(caplog):
    """Each retry says its number, of how many, when and after what; the end has the history; none has the query."""
    async with client(503, httpx.ReadTimeout, 503) as c:
        assert (await c.get(URL)).status_code == 503
    about = "GET https://api.example.com/orders: "
    assert told(caplog, logging.INFO) == [
        ("seawall.retry", f"{about}attempt 2 of 3 in 1 s, after 503"),
        ("seawall.retry", f"{about}attempt 3 of 3 in 0.2 s, after ReadTimeout"),
        ("seawall.call", f"{about}gave up: 3 attempts in 1.2 s: 503, ReadTimeout, 503; max_attempts=3 reached"),
    ]
    assert [record.levelname for record in caplog.records] == ["INFO", "INFO", "WARNING"]


async def test_an_error_after_a_retry_is_a_warning(caplog):
    """Also one that isn't retried."""
    async with client(503, httpx.LocalProtocolError) as c:
        with pytest.raises(httpx.LocalProtocolError):
            await c.get(URL)
    assert told(caplog) == [
        ("seawall.call", "GET https://api.example.com/orders: gave up: 2 attempts in 1 s: 503, LocalProtocolError")
    ]


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_what_the_caller_knows_is_not_a_warning(caplog, method):
    """A good call, one that was good at last, one that simply failed once: its caller has the response or the error."""
    async with client(200, 500 if method == "POST" else 404, httpx.ReadTimeout, retry=None) as c:
        await c.request(method, URL)
        await c.request(method, URL)
        with pytest.raises(httpx.ReadTimeout):
            await c.request(method, URL)
    async with client(503, 200, httpx.UnsupportedProtocol) as c:
        await c.get(URL)
        with pytest.raises(httpx.UnsupportedProtocol):
            await c.get(URL)
    assert told(caplog) == []


@pytest.mark.parametrize("ending", ["cancelled", "closed"])
async def test_a_call_that_others_end_is_not_a_warning(caplog, ending):
    """Its caller cancelled it, or closed the client, though it was at its second attempt."""
    async with client(503, math.inf) as c:
        task = asyncio.create_task(c.get(URL))
        await asyncio.sleep(2.0)
        if ending == "cancelled":
            task.cancel()
        else:
            await c.aclose()
        await asyncio.gather(task, return_exceptions=True)
    assert told(caplog) == []


async def test_a_call_that_was_rejected_here_is_a_warning(caplog):
    """By a bulkhead, the breaker, a deadline; no server has seen a thing of it, so only this log can say so."""
    bulkhead = seawall.Bulkhead(max_concurrent=1, max_waiting=0)
    async with client(math.inf, retry=None, bulkhead=bulkhead) as c:
        task = asyncio.create_task(c.get(URL, extensions=seawall.options(deadline=5.0)))
        await asyncio.sleep(0)
        with pytest.raises(seawall.BulkheadFull):
            await c.post(URL)
        with pytest.raises(seawall.DeadlineExceeded):
            await task
        c.breakers["https://api.example.com"].force_open()
        with pytest.raises(seawall.BreakerOpen):
            await c.get(URL)
    about = "https://api.example.com"
    assert told(caplog) == [
        ("seawall.call", f"POST {about}/orders: rejected by bulkhead after 0 s: 1 attempt in 0 s: BulkheadFull"),
        ("seawall.call", f"GET {about}/orders: deadline exceeded after 5 s: 1 attempt in 5 s: cancelled"),
        ("seawall.breaker", f"{about}: breaker forced open, was closed: by hand"),
        ("seawall.call", f"GET {about}/orders: rejected by breaker after 0 s: 1 attempt in 0 s: BreakerOpen"),
    ]


async def test_a_retry_that_is_refused_is_a_warning(caplog):
    """The caller gets the 503 of the first attempt; the line says why no other was sent."""

    class Once(seawall.Ticket):
        def end(self, result: Result | None, now: float) -> None:
            """Nothing to give back."""

    class Toll(seawall.Gate):
        name = "toll"

        def try_enter(self, attempt: Entrant, now: float) -> seawall.Ticket:
            if attempt.number == 2:
                raise seawall.Rejected("closed for today", origin=attempt.origin)
            return Once()

    async with client(503, gates=[lambda origin: Toll()]) as c:
        assert (await c.get(URL)).status_code == 503
    ((name, text),) = told(caplog)
    assert name == "seawall.call"
    why = "a retry was refused: closed for today"
    assert text == f"GET https://api.example.com/orders: gave up: 2 attempts in 1 s: 503, Rejected; {why}"


async def test_a_part_that_a_client_below_refused_is_its_own_to_tell(caplog):
    """The client above was refused nothing."""
    full = seawall.Bulkhead(max_concurrent=1, max_waiting=0)
    async with client(math.inf, bulkhead=full) as inner:

        async def ask(request: httpx.Request) -> httpx.Response:
            return await inner.get("http://inner.test/")

        async with seawall.AsyncClient(transport=httpx.MockTransport(ask)) as c:
            holder = asyncio.create_task(inner.get("http://inner.test/"))
            await asyncio.sleep(0)
            with pytest.raises(seawall.errors.PartlySent):
                await c.get(URL)
            holder.cancel()
    assert [text.partition(": ")[0] for _, text in told(caplog)] == ["GET http://inner.test/"]


async def test_a_redirect_that_is_rejected_here_is_a_warning(caplog):
    """The caller's error says that a part was sent; the line names the gate and the hop."""
    moved = httpx.Response(302, headers={"location": "https://other.example.com:8443/new?secret"})
    async with client(moved) as c:
        c.breakers["https://other.example.com:8443"].force_open()
        with pytest.raises(seawall.errors.PartlySent):
            await c.get(URL, follow_redirects=True)
    assert told(caplog)[-1] == (
        "seawall.call",
        "GET https://other.example.com:8443/new: rejected by breaker after 0 s: 2 attempts in 0 s: 302, BreakerOpen",
    )


async def test_warnings_that_repeat_are_counted(caplog):
    """One a second for each origin and gate; the next one says how many there were meanwhile."""
    async with client(200) as c:
        for host in ("a", "b"):
            c.breakers[f"http://{host}.test"].force_open()
        caplog.clear()
        for _ in range(10):
            for path in range(42):
                for host in ("a", "b"):
                    with contextlib.suppress(seawall.BreakerOpen):
                        await c.get(f"http://{host}.test/{path}")
            await asyncio.sleep(0.25)
    rejected = "rejected by breaker after 0 s: 1 attempt in 0 s: BreakerOpen"
    more = " (and 167 more like it in the last 1 s)"
    assert told(caplog) == [
        ("seawall.call", f"GET http://{host}.test/0: {rejected}{count}") for count in ("", more, more) for host in "ab"
    ]


async def test_fields_are_those_of_the_semantic_conventions(caplog):
    """And the rest are ours; each has the client's name, if it has one."""
    async with client(503, 200, name="shop") as c:
        await c.get(URL)
    (record,) = caplog.records
    assert {name: value for name, value in vars(record).items() if "." in name} == {
        "seawall.event": "RetryScheduled",
        "seawall.client": "shop",
        "seawall.call": 1,
        "http.request.method": "GET",
        "url.scheme": "https",
        "server.address": "api.example.com",
        "server.port": 443,
        "url.path": "/orders",
        "seawall.attempt": 2,
        "http.request.resend_count": 1,
        "seawall.max_attempts": 3,
        "seawall.delay": 1.0,
        "error.type": "503",
    }


@pytest.mark.parametrize("logger", ["seawall.call", "seawall.retry", "seawall.limit"])
async def test_one_child_at_debug_says_what_is_its(caplog, logger):
    """Though no observer listens and the others are at INFO."""
    caplog.set_level(logging.DEBUG, logger)
    held = Body(b"held", 1.0)
    async with client(503, held, bulkhead=seawall.Bulkhead(max_concurrent=1, max_waiting=0)) as c:
        await c.post(URL)
        async with c.stream("POST", URL):
            with pytest.raises(seawall.BulkheadFull):
                await c.get(URL)
    found = [text for name, text in told(caplog, logging.DEBUG) if name == logger and "gave up" not in text]
    about = "GET https://api.example.com/orders: "
    assert {
        "seawall.call": f"{about}attempt 1: BulkheadFull after 0 s, in phase QUEUED",
        "seawall.retry": "POST https://api.example.com/orders: no attempt 2: not safe to repeat",
        "seawall.limit": f"{about}attempt 1 rejected by bulkhead after 0 s",
    }[logger] in found


async def test_a_method_forges_no_line(caplog):
    """An application that passes on what it is sent may be given a method with a new line in it."""
    caplog.set_level(logging.DEBUG, "seawall")
    async with client(200) as c:
        await c.request("GET\nSEAWALL.CALL", URL)
    assert [text for _, text in told(caplog, logging.DEBUG) if not text.isprintable()] == []
    assert told(caplog, logging.DEBUG)[0][1].startswith(r"'GET\nSEAWALL.CALL' https://api.example.com/orders: call 1")


async def test_another_transports_error_brings_no_secret(caplog):
    """It may quote the whole URL, and h11 quotes the header that it refuses."""
    caplog.set_level(logging.DEBUG, "seawall")
    error = httpx.ReadTimeout(f"{URL} https://user:secret@a.test, {b'Bearer secret'!r}")
    heard: list[seawall.events.Event] = []
    async with client(error, Body(b"cut", error), retry=None, observers=[heard.append]) as c:
        with pytest.raises(httpx.ReadTimeout):
            await c.get(URL)
        with pytest.raises(httpx.ReadTimeout):
            async with c.stream("GET", URL) as response:
                await response.aread()
    assert "https://api.example.com/orders https://a.test, b'…'" in [getattr(each, "detail", "") for each in heard]
    assert "BodyEnded" in [type(each).__name__ for each in heard]
    assert "secret" not in str(heard)
    assert "secret" not in str([vars(record) for record in caplog.records if record.name.startswith("seawall")])
