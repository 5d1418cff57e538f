"""What a call ends with covers all its attempts and hops: on the virtual clock."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import gzip
import math
import pickle
from types import FrameType, TracebackType

import httpx
import pytest

import seawall
from seawall.testing import Body, FixedRandom, ScriptedWire

pytestmark = pytest.mark.anyio

URL = "http://api.test/"
REFUSED = seawall.DialError


def client(wire: httpx.AsyncBaseTransport, **arguments) -> seawall.AsyncClient:
    return seawall.AsyncClient(transport=wire, **{"rng": FixedRandom()} | arguments)


def outcomes(of) -> list[str]:
    return [attempt.outcome for attempt in of]


async def test_key_that_the_server_read():
    """A POST with a key that timed out, and whose retries were refused by a closed port: the call was sent."""
    wire = ScriptedWire(httpx.ReadTimeout, httpx.ConnectError)
    async with client(wire, retry=seawall.Retry(idempotency_key=True)) as c:
        with pytest.raises(httpx.ReadTimeout) as caught:
            await c.post(URL)
    error = caught.value
    assert [(attempt.outcome, attempt.phase) for attempt in error.attempts] == [
        ("ReadTimeout", seawall.events.Phase.SENDING),
        ("ConnectError", seawall.events.Phase.CONNECTING),
        ("ConnectError", seawall.events.Phase.CONNECTING),
    ]
    assert error.attempts.note.startswith("a retry wasn't sent: ConnectError(")
    assert error.attempts.note.endswith("; max_attempts=3 reached")
    assert isinstance(error.__cause__, httpx.ConnectError)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("is_small", [True, False])
async def test_answer_before_a_closed_port(stream, is_small):
    """A 503, and then nobody listens: the 503 is returned, its body with it, for it's what the server said last."""
    body = b"x" * (10 if is_small else 100_000)
    wire = ScriptedWire(httpx.Response(503, stream=Body(body)), httpx.ConnectError)
    async with client(wire) as c:
        request = c.build_request("GET", URL)
        if stream and not is_small:  # of which the rest wasn't waited for
            with pytest.raises(
                seawall.errors.PartlySent, match=r"replied with 503.*; to get such responses, .* retry=None"
            ) as caught:
                await c.send(request, stream=True)
            assert isinstance(caught.value, httpx.ConnectError)
            assert isinstance(caught.value.__cause__, httpx.ConnectError)
            assert not isinstance(caught.value, seawall.Unsent)
            history = caught.value.attempts
        else:
            response = await c.send(request, stream=stream)
            assert response.status_code == 503
            assert await response.aread() == body
            await response.aclose()
            history = response.extensions["seawall"]
        assert outcomes(history) == ["503", "ConnectError", "ConnectError"]
        assert "a retry wasn't sent: ConnectError(" in history.note
        (state,) = c.stats().origins.values()
    assert state.in_flight == 0


@pytest.mark.parametrize("stream", [False, True])
async def test_compressed_answer_before_a_closed_port(stream):
    """It is decoded for its caller as any other, within the same bounds, though nobody decodes what is discarded."""
    headers = {"content-encoding": "gzip"}
    wire = ScriptedWire(
        httpx.Response(503, headers=headers, stream=Body(gzip.compress(b"busy" * 1000))), httpx.ConnectError
    )
    async with client(wire) as c:
        response = await c.send(c.build_request("GET", URL), stream=stream)
        assert await response.aread() == b"busy" * 1000
        await response.aclose()
    bomb = httpx.Response(503, headers=headers, stream=Body(gzip.compress(bytes(2**22))))
    async with client(ScriptedWire(bomb, httpx.ConnectError), max_response_size=2**20) as c:
        with pytest.raises(seawall.errors.ResponseTooLarge):
            await (await c.send(c.build_request("GET", URL), stream=stream)).aread()


async def test_answer_before_a_closed_port_may_be_raised():
    """With raise_on_status, as any other last answer."""
    wire = ScriptedWire(503, httpx.ConnectError)
    async with client(wire, retry=seawall.Retry(raise_on_status=True)) as c:
        with pytest.raises(seawall.errors.StatusError) as caught:
            await c.get(URL)
    assert caught.value.status == 503


async def test_last_that_was_sent_has_the_word():
    """Of several that were sent, the last; what came of those before it is in the history."""
    wire = ScriptedWire(503, httpx.ReadError, httpx.ConnectError)
    async with client(wire) as c:
        with pytest.raises(httpx.ReadError) as caught:
            await c.get(URL)
    assert outcomes(caught.value.attempts) == ["503", "ReadError", "ConnectError"]


async def test_nothing_was_ever_sent():
    """Then the last error is raised as it is, an Unsent where it is ours."""
    async with client(ScriptedWire(httpx.ConnectError, httpx.ConnectTimeout)) as c:
        with pytest.raises(httpx.ConnectTimeout):
            await c.post(URL)
        c.breakers["http://api.test"].force_open()
        with pytest.raises(seawall.BreakerOpen) as caught:
            await c.post(URL)
    assert isinstance(caught.value, seawall.Unsent)


async def test_unsent_then_answered():
    """A later attempt that was sent always has the word."""
    async with client(ScriptedWire(httpx.ReadError, httpx.ConnectError, 200)) as c:
        response = await c.get(URL)
    assert (response.status_code, response.extensions["seawall"].note) == (200, "")


# What our own layers refuse


async def test_puts_that_hang():
    """Of 25 that the server all got, each ends as ReadTimeout: ten when the breaker refuses them a second attempt."""
    wire = ScriptedWire((5.0, httpx.ReadTimeout))
    async with client(wire) as c:
        results = await asyncio.gather(*(c.put(URL) for _ in range(25)), return_exceptions=True)
        assert {type(result) for result in results} == {httpx.ReadTimeout}
    refused = [result for result in results if outcomes(result.attempts) == ["ReadTimeout", "BreakerOpen"]]
    assert len(refused) == 10
    assert all("a retry was refused" in result.attempts.note for result in refused)
    assert all(isinstance(result.__cause__, seawall.BreakerOpen) for result in refused)


@pytest.mark.parametrize("step", [503, httpx.ReadError, httpx.ConnectError])
async def test_breaker_that_refuses_a_retry(step):
    """Forced open in the backoff: the outcome of the attempt before, and why no other was made."""
    wire = ScriptedWire(step)
    async with client(wire) as c:
        call = asyncio.create_task(c.get(URL))
        await asyncio.sleep(0.01)
        c.breakers["http://api.test"].force_open()
        (result,) = await asyncio.gather(call, return_exceptions=True)
        history = result.extensions["seawall"] if step == 503 else result.attempts
        (state,) = c.stats().origins.values()
    assert (result.status_code == 503) if step == 503 else (type(result) is step)
    assert outcomes(history)[1:] == ["BreakerOpen"]
    assert history.note.startswith("a retry was refused: http://api.test:80: breaker forced open for ")
    assert state.budget == 30.0
    assert len(wire.instants) == 1


async def test_full_bulkhead_that_refuses_a_retry():
    """The 503 that had come is returned."""
    wire = ScriptedWire(503, math.inf)
    async with client(wire, bulkhead=seawall.Bulkhead(max_concurrent=1, max_waiting=0)) as c:
        call = asyncio.create_task(c.get(URL))
        await asyncio.sleep(0.01)
        other = asyncio.create_task(c.get(URL))
        response = await call
        other.cancel()
    assert response.status_code == 503
    assert outcomes(response.extensions["seawall"]) == ["503", "BulkheadFull"]


async def test_cap_that_refuses_a_retry():
    """The client-wide cap, below the bulkhead, the same."""
    wire = ScriptedWire(503, math.inf)
    timeout = httpx.Timeout(5.0, pool=1.0)
    async with client(wire, limits=httpx.Limits(max_connections=1), timeout=timeout) as c:
        call = asyncio.create_task(c.get(URL))
        await asyncio.sleep(0.01)
        other = asyncio.create_task(c.get("http://other.test/"))
        response = await call
        assert asyncio.get_running_loop().time() == 2.0
        other.cancel()
    assert response.status_code == 503
    assert outcomes(response.extensions["seawall"]) == ["503", "BulkheadFull"]


async def test_refused_first_attempt_is_unsent():
    """Nothing came before it."""
    async with client(ScriptedWire(math.inf), bulkhead=seawall.Bulkhead(max_concurrent=1, max_waiting=0)) as c:
        other = asyncio.create_task(c.get(URL))
        await asyncio.sleep(0)
        with pytest.raises(seawall.BulkheadFull):
            await c.get(URL)
        other.cancel()


# Hops


def to(url: str) -> httpx.Response:
    return httpx.Response(307, headers={"location": url})


class Closed(httpx.AsyncBaseTransport):
    """Redirects to a host where nobody listens, whose error is ours."""

    def __init__(self, error: seawall.SeawallError, url: str = "http://closed.test/") -> None:
        self.error, self.url = error, url

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.host == "api.test":
            return to(self.url)
        raise self.error


async def test_hop_that_cannot_be_sent():
    """A POST was sent, and where it was redirected to refuses: not Unsent, but of the class that httpx raises."""
    events: list[seawall.events.Event] = []
    async with client(ScriptedWire(to("http://closed.test/")), observers=[events.append]) as c:
        c.breakers  # noqa: B018
        (await c.get(URL))
        c.engine.layers.origins[seawall.Origin("http", "closed.test", 80)].breaker.force_open()
        with pytest.raises(
            seawall.errors.PartlySent, match="nothing of this request was sent, but an earlier one"
        ) as caught:
            await c.post(URL, follow_redirects=True)
    error = caught.value
    assert isinstance(error, httpx.ConnectError)
    assert isinstance(error, seawall.WireError)
    assert not isinstance(error, seawall.Unsent)
    assert isinstance(error.reason, seawall.BreakerOpen)
    assert error.__cause__ is error.reason
    assert (error.request.url, outcomes(error.attempts)) == ("http://closed.test/", ["307", "BreakerOpen"])
    assert error.__notes__ == [f"seawall: {error.attempts}"]
    closed = seawall.Origin("http", "closed.test", 80)
    assert events[-1][1:7] == (closed, "POST", "/", 2, "PartlySent", "")
    again = pickle.loads(pickle.dumps(error))
    assert isinstance(again, httpx.ConnectError)
    assert isinstance(again.reason, seawall.BreakerOpen)
    assert str(again) == str(error)


async def test_hop_to_a_url_that_cannot_be():
    """A redirect to another scheme: an error of its own class, which claims nothing of what was sent."""
    async with seawall.AsyncClient(mounts={"http://api.test": ScriptedWire(to("ftp://api.test/"))}) as c:
        with pytest.raises(seawall.errors.UnsupportedScheme) as caught:
            await c.post(URL, follow_redirects=True)
    assert isinstance(caught.value, httpx.UnsupportedProtocol)


@pytest.mark.parametrize(
    "verdict", [seawall.errors.AddressNotAllowed, seawall.errors.UnsupportedScheme, seawall.errors.InvalidRequest]
)
def test_verdicts_claim_nothing(verdict):
    """What ends the same however often it is tried is no `Unsent`, and keeps its class where a redirect leads to it."""
    assert not issubclass(verdict, seawall.Unsent)


async def test_hop_before_was_a_mounts():
    """A mount that has layers of its own sent the POST, so what it was redirected to doesn't end as Unsent."""
    mount = seawall.AsyncTransport(ScriptedWire(to("http://closed.test/")))
    async with client(ScriptedWire(), mounts={"all://mounted.test": mount}) as c:
        await c.get("http://closed.test/")
        c.breakers["http://closed.test"].force_open()
        with pytest.raises(
            seawall.errors.PartlySent, match="nothing of this request was sent, but an earlier one"
        ) as caught:
            await c.post("http://mounted.test/", follow_redirects=True)
    assert not isinstance(caught.value, seawall.Unsent)


async def test_body_through_a_mount_with_layers_of_its_own():
    """It belongs to the attempt: it is tried again where it is cut, and a drip ends with the mount's deadline."""
    drip = Body(*[1.0, b"x"] * 3600)
    redirect = httpx.Response(302, headers={"location": "/there"}, stream=drip)
    wire = ScriptedWire(Body(b"cut", httpx.ReadError), Body(b"whole"), drip, redirect, Body(b"a", 60.0, b"b"))
    mount = seawall.AsyncTransport(wire, rng=FixedRandom(), deadline=10.0)
    async with client(ScriptedWire(), mounts={"all://mounted.test": mount}) as c:
        response = await c.get("http://mounted.test/")
        assert (response.text, outcomes(seawall.history(response))) == ("whole", ["ReadError", "200"])
        began_at = asyncio.get_running_loop().time()
        with pytest.raises(seawall.DeadlineExceeded):
            await c.get("http://mounted.test/")
        assert asyncio.get_running_loop().time() == pytest.approx(began_at + 10.0)
        with pytest.raises(seawall.DeadlineExceeded):
            await c.send(c.build_request("GET", "http://mounted.test/"), stream=True, follow_redirects=True)
        assert asyncio.get_running_loop().time() == pytest.approx(began_at + 20.0)
        async with c.stream("GET", "http://mounted.test/") as response:
            assert asyncio.get_running_loop().time() == pytest.approx(began_at + 20.0)
            assert await response.aread() == b"ab"


async def test_stream_of_another_client_through_the_same_mount():
    """A hook's own stream, through a client of its own, stays a stream."""
    mount = seawall.AsyncTransport(ScriptedWire(200, Body(b"a", 60.0, b"b")))
    heard = []

    async def hook(_: httpx.Response) -> None:
        async with (
            httpx.AsyncClient(transport=seawall.AsyncTransport(mount)) as other,
            other.stream("GET", "http://mounted.test/") as response,
        ):
            heard.append(asyncio.get_running_loop().time())
            await response.aread()

    async with client(ScriptedWire(), mounts={"all://mounted.test": mount}, event_hooks={"response": [hook]}) as c:
        await c.get("http://mounted.test/")
    assert heard == [0.0]


@pytest.mark.parametrize("is_stock", [False, True])
async def test_unsent_of_a_call_below(is_stock):
    """An application that lets the Unsent of its own call through was given the request, which so was sent."""
    below = Closed(seawall.DialError("refused"))
    made = httpx.AsyncClient(transport=seawall.AsyncTransport(below)) if is_stock else client(below)
    async with made as c:
        with pytest.raises(seawall.errors.PartlySent, match="raised this, after it was given the request") as caught:
            await c.post("http://closed.test/")
    assert isinstance(caught.value, httpx.ConnectError)
    assert not isinstance(caught.value, seawall.Unsent)
    assert isinstance(caught.value.__cause__, seawall.DialError)


async def test_hop_that_timed_out_for_a_slot():
    """It has httpx's class for that too."""
    wire = ScriptedWire(per_host={"api.test": [to("http://busy.test/")], "busy.test": [math.inf]})
    async with client(wire, bulkhead=seawall.Bulkhead(max_concurrent=1, max_waiting=0)) as c:
        other = asyncio.create_task(c.get("http://busy.test/"))
        await asyncio.sleep(0)
        with pytest.raises(httpx.PoolTimeout) as caught:
            await c.get(URL, follow_redirects=True)
        other.cancel()
    assert type(caught.value).__name__ == "PartlySent"


# Garbage


@pytest.mark.parametrize(
    "steps",
    [
        [httpx.ReadTimeout, httpx.ConnectError],
        [503, httpx.ConnectError],
        [httpx.ConnectError, httpx.ReadError, httpx.ConnectError],
        [to("http://refused.test/")],
        [httpx.Response(503, stream=Body(b"x" * 100_000)), httpx.ConnectError],
    ],
)
async def test_nothing_waits_for_the_collector(steps):
    """An error that was kept, and is raised from a later one, leaves no cycle; nor does PartlySent."""

    async def call() -> None:
        async with client(ScriptedWire(*steps), retry=seawall.Retry(backoff=0, throttled_backoff=0)) as c:
            refused = seawall.Origin("http", "refused.test", 80)
            c.engine.layers.in_flight.on_loop()
            c.engine.layers.origins[refused].breaker.force_open()
            with contextlib.suppress(httpx.HTTPError):
                await c.get(URL, follow_redirects=True)
            with contextlib.suppress(httpx.HTTPError):
                async with c.stream("GET", URL):
                    pass

    await call()
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        await call()
        gc.collect()
        kinds = (FrameType, TracebackType, BaseException)
        assert [thing for thing in gc.garbage if isinstance(thing, kinds)] == []
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
