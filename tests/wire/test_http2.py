"""HTTP/2: streams are exchanges of their own, and what the server did nothing of counts as never sent."""

from __future__ import annotations

import array
import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import anyio
import hpack
import httpx
import pytest
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

import seawall
from seawall.testing import FaultServer, no_leaks
from seawall.wire.known import Known

from .peer import Peer

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def server():
    with FaultServer() as server:
        for step in (
            "h2:clear",
            "h2",
            "h2:either",
            "h2_streams:1:clear",
            "h2_lower:1:clear",
            "h2_no_window:clear",
            "h2_hang:clear",
        ):
            server.listen(step)
        server.listen("tls")
        yield server


@pytest.fixture
def trusted(server) -> ssl.SSLContext:
    return server.certificates.client_context()


@pytest.fixture
async def client(stack) -> seawall.AsyncClient:
    """Speaks HTTP/2 without TLS, and retries at once."""
    retry = seawall.Retry(backoff=0)
    return await stack.enter_async_context(
        seawall.AsyncClient(http1=False, http2=True, retry=retry, breaker=None, timeout=2)
    )


def outcomes(response: httpx.Response) -> list[str]:
    return [attempt.outcome for attempt in response.extensions["seawall"]]


def at(server, port: str, key: str, *steps: str) -> str:
    """The URL of a script on one of the server's ports."""
    return str(httpx.URL(server.script(key, *steps)).copy_with(port=server.ports[port].port))


async def test_is_chosen_by_alpn(server, trusted):
    """Where the server has it; else HTTP/1.1, on the connection that was just made."""
    async with seawall.AsyncClient(http2=True, verify=trusted) as client:
        second = await client.get(f"https://localhost:{server.ports['h2'].port}/x/ok")
        first = await client.get(f"https://localhost:{server.ports['tls'].port}/x/ok")
        assert (second.http_version, second.reason_phrase, second.extensions["stream_id"]) == ("HTTP/2", "OK", 1)
        assert second.extensions["network_stream"].get_extra_info("ssl_object").selected_alpn_protocol() == "h2"
        assert first.http_version == "HTTP/1.1"
        assert client.stats().connections == 2
    async with seawall.AsyncClient(verify=trusted) as client:
        assert (await client.get(f"https://localhost:{server.ports['tls'].port}/x/ok")).http_version == "HTTP/1.1"


async def test_one_connection_for_all(server, client, trusted):
    """Those that come at once wait for the one that dials, and share what it got."""
    url = server.ports["h2:clear"].url + "/x/ok:100000"
    responses = await asyncio.gather(*(client.get(url) for _ in range(60)))
    assert {len(response.content) for response in responses} == {100_000}
    assert len({response.extensions["stream_id"] for response in responses}) == 60
    assert client.stats().connections == 1
    async with seawall.AsyncClient(http2=True, verify=trusted) as other:
        url = f"https://localhost:{server.ports['h2'].port}/x/ok"
        await asyncio.gather(*(other.get(url) for _ in range(20)))
        assert other.stats().connections == 1
        url = f"https://localhost:{server.ports['tls'].port}/x/delay:0.2"
        await asyncio.gather(*(other.get(url) for _ in range(5)))
        assert other.stats().connections == 6


async def test_bodies_both_ways(server, client):
    """Larger than any window, in parts or as a whole; a HEAD, an empty one."""

    async def parts() -> AsyncIterator[bytes]:
        for _ in range(30):
            yield b"x" * 100_000

    url = at(server, "h2:clear", "up", "ok")
    await client.post(url, content=b"y" * 3_000_000)
    await client.post(url, content=parts())
    await client.put(url, content=b"")
    assert [each.length for each in server.attempts("up")] == [3_000_000, 3_000_000, 0]
    url = server.ports["h2:clear"].url
    assert len((await client.get(url + "/x/ok:5000000")).content) == 5_000_000
    assert (await client.head(url + "/x/ok:5000000")).headers["content-length"] == "5000000"
    async with client.stream("GET", url + "/x/ok:5000000") as response:
        assert sum([len(part) async for part in response.aiter_raw()]) == 5_000_000
    assert (await client.get(url + "/x/204")).status_code == 204


async def test_misframed_body(server, client):
    """Shorter or longer than its content-length: an error, and the stream is reset."""

    async def parts() -> AsyncIterator[bytes]:
        yield b"abc"

    url = server.ports["h2:clear"].url + "/x/ok"
    for length in ("2", "5"):
        with pytest.raises(seawall.errors.InvalidRequest, match="content-length"):
            await client.post(url, content=parts(), headers={"content-length": length})
    assert client.stats().connections == 1


@pytest.mark.parametrize("is_given", [True, False])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_http1_where_the_server_requires_it(server, trusted, tmp_path, monkeypatch, method, is_given):
    """HTTP_1_1_REQUIRED (RFC 9113 section 7): asked again over HTTP/1.1, as is all that follows; the body once only."""
    pem = tmp_path / "ca.pem"
    pem.write_bytes(server.certificates.authority.cert_pem.bytes())
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    key = f"http1-{method}-{is_given}"
    base = f"https://localhost:{server.ports['h2:either'].port}/x"
    verify = trusted if is_given else True
    async with seawall.AsyncClient(http2=True, verify=verify) as client:
        await client.get(f"{base}/ok")  # pycares' first channel starts a thread that stays
    async with no_leaks(grace=60), seawall.AsyncClient(http2=True, verify=verify) as client:
        assert (await client.get(f"{base}/ok")).http_version == "HTTP/2"
        url, content = f"{base}/h2_rst:13,ok?key={key}", b"order" if method == "POST" else None
        response = await client.request(method, url, content=content)
        assert (response.status_code, response.http_version) == (200, "HTTP/1.1")
        assert outcomes(response) == ["StreamRefused", "200"]
        assert [each.length for each in server.attempts(key)] == [5 if method == "POST" else 0] * 2
        assert (await client.get(f"{base}/ok")).http_version == "HTTP/1.1"
        other = await client.get(f"https://localhost:{server.ports['h2'].port}/x/ok")
        assert other.http_version == "HTTP/2"


@pytest.mark.parametrize("step", ["h2_rst:13", "h2_goaway:before:13"])
async def test_http1_is_required_where_several_connections_are_idle(server, trusted, step):
    """None of them is used again, or each would take its turn to say so; the body is sent once more, and no more."""
    base = f"https://localhost:{server.ports['h2:either'].port}/x"
    key = f"idle-{step.replace(':', '-')}"
    async with seawall.AsyncClient(http2=True, verify=trusted) as client:
        wire = client.engine.wire
        origin = seawall.Origin("https", "localhost", server.ports["h2:either"].port)
        wire.dialler.versions._known[origin] = known = Known()
        known.max_streams = 1
        slow = [asyncio.create_task(client.get(f"{base}/delay:0.1")) for _ in range(4)]
        assert {(await each).http_version for each in slow} == {"HTTP/2"}
        assert wire.pool.idle(origin) > 1
        response = await client.post(f"{base}/{step},ok?key={key}", content=b"order")
        assert (response.status_code, response.http_version) == (200, "HTTP/1.1")
        assert outcomes(response) == ["StreamRefused", "200"]


async def test_http1_is_required_of_who_speaks_none(server, client):
    """An error that says so."""
    with pytest.raises(seawall.errors.BadAnswer, match="HTTP_1_1_REQUIRED"):
        await client.post(at(server, "h2:clear", "http1-none", "h2_rst:13"), content=b"order")


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("step", ["h2_refused", "h2_goaway", "h2_goaway:before:11"])
async def test_what_was_refused_is_sent_again(server, client, method, step):
    """Whatever the method: the server says that it did nothing of it."""
    url = at(server, "h2:clear", f"{step}-{method}", step, "ok")
    response = await client.request(method, url, content=b"order" if method == "POST" else None)
    assert outcomes(response) == ["StreamRefused", "200"]
    assert response.extensions["seawall"][0].phase < seawall.events.Phase.SENDING


@pytest.mark.parametrize(
    "step", ["h2_rst", "h2_rst:8", "h2_rst:2:body", "reset:body", "h2_bad_frame", "h2_bad_frame:hpack"]
)
async def test_what_may_have_been_done_is_not(server, client, step):
    """But for what is idempotent; the error is httpx's."""
    name = step.replace(":", "-")
    assert outcomes(await client.get(at(server, "h2:clear", f"{name}-get", step, "ok")))[-1] == "200"
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)) as caught:
        await client.post(at(server, "h2:clear", f"{name}-post", step, "ok"), content=b"order")
    assert isinstance(caught.value, seawall.WireError)
    assert len(caught.value.attempts) == 1


async def test_unknown_frames_and_goaway_after_the_answer_are_no_fault(server, client):
    """The one is ignored; after the other, the next request has a new connection."""
    assert outcomes(await client.get(at(server, "h2:clear", "unknown", "h2_bad_frame:type"))) == ["200"]
    assert outcomes(await client.get(at(server, "h2:clear", "away", "h2_goaway:after", "ok"))) == ["200"]
    assert outcomes(await client.get(at(server, "h2:clear", "away", "ok"))) in (["200"], ["StreamRefused", "200"])


@pytest.mark.parametrize("port", ["h2_streams:1:clear", "h2_lower:1:clear"])
async def test_limit_of_streams(server, port):
    """
    What has no room on one connection gets another; nothing is lost at a limit that is not known yet, or lowered.

    However often a call is refused: each new connection of h2_lower allows many at first, and how many come before it
    allows one depends on who is faster.
    """
    url = server.ports[port].url + "/x/delay:0.05"
    often = seawall.Retry(backoff=0, max_attempts=50)
    async with seawall.AsyncClient(http1=False, http2=True, retry=often, budget=None, timeout=5) as client:
        responses = await asyncio.gather(*(client.post(url, content=b"order") for _ in range(50)))
        assert {response.status_code for response in responses} == {200}
        (stats,) = client.stats().origins.values()
        assert stats.breaker == "closed"


async def test_window_that_never_opens(server, client):
    """A WriteTimeout, as over HTTP/1.1; others on the connection go on."""
    url = server.ports["h2_no_window:clear"].url
    await client.get(url + "/x/ok")
    with pytest.raises(httpx.WriteTimeout, match="nothing was taken"):
        await client.post(url + "/x/ok", content=b"x", timeout=httpx.Timeout(5, write=0.05))
    assert (await client.get(url + "/x/ok")).status_code == 200
    assert client.stats().connections == 1


async def test_window_that_is_lost(client, by_hand):
    """A retry has another connection, where the server took bodies and never said that it takes more."""
    connections = 0

    async def script(peer: Peer) -> None:
        nonlocal connections
        connections += 1
        while True:
            frame = await peer.frame()
            if "END_STREAM" in frame.flags:
                peer.send(peer.head(frame.stream_id, is_end=True))

    url = await by_hand(script)
    await client.put(url, content=b"x" * 65_535)
    response = await client.put(url, content=b"x", timeout=httpx.Timeout(5, write=0.05))
    assert outcomes(response) == ["WriteTimeout", "200"]
    assert connections == 2
    assert client.stats().connections == 1


@pytest.mark.parametrize("limit", ["read timeout", "deadline", "cancelled"])
async def test_silent_connection_is_not_used_again(server, client, limit):
    """Whatever ends the wait: where nothing at all has come meanwhile, the next call has another connection."""
    url = server.ports["h2_hang:clear"].url + "/x/ok"
    for number in (1, 2):
        with anyio.move_on_after(0.15 if limit == "cancelled" else 5):
            with contextlib.suppress(httpx.TimeoutException):
                settings = {"retry": None} | ({"deadline": 0.15} if limit == "deadline" else {})
                timeout = 0.15 if limit == "read timeout" else 5
                await client.get(url, timeout=timeout, extensions=seawall.options(**settings))
        assert client.stats().connections == number


async def test_doubt_ends_with_the_answer_to_a_ping(server, client):
    """A stream that was given up after a while, on a connection that is well: it is used again."""
    url = server.ports["h2:clear"].url
    await client.get(url + "/x/ok")
    with anyio.move_on_after(0.15):
        await client.get(url + "/x/hang")
    (connection,) = client.engine.wire.pool.connections
    while not connection.has_room:
        await asyncio.sleep(0)
    assert (await client.get(url + "/x/ok")).extensions["stream_id"] == 5


async def test_each_stream_has_its_own_read_timeout(server, client):
    """One that waits in vain harms none of its neighbours."""
    url = server.ports["h2:clear"].url
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(client.get, url + "/x/delay:0.5")
        with pytest.raises(httpx.ReadTimeout):
            await client.get(
                url + "/x/hang", timeout=httpx.Timeout(5.0, read=0.1), extensions=seawall.options(retry=None)
            )
    assert client.stats().connections == 1


async def test_cancelled_streams_are_reset(server, client):
    """More of them than the server allows at a time: it forgets each when it is told to."""
    url = server.ports["h2:clear"].url
    await client.get(url + "/x/ok")
    (connection,) = client.engine.wire.pool.connections
    for _ in range(3):
        calls = [asyncio.create_task(client.get(url + "/x/hang")) for _ in range(60)]
        while connection.streams < len(calls):
            await asyncio.sleep(0)
        for call in calls:
            call.cancel()
        await asyncio.wait(calls)
        while not connection.has_room:  # on a slow machine it is asked by PING
            await asyncio.sleep(0)
    response = await client.get(url + "/x/ok")
    assert response.extensions["seawall"][-1].is_reused
    assert client.stats().connections == 1


async def test_a_reset_stream_leaves_no_ghost(server, client):
    """The server was told to stop, so it isn't at work on it; over HTTP/1.1 nothing tells it, and a ghost stays."""
    url = server.ports["h2:clear"].url
    await client.get(url + "/x/ok")
    with pytest.raises(httpx.ReadTimeout):
        await client.get(url + "/x/hang", timeout=httpx.Timeout(5.0, read=0.05), extensions=seawall.options(retry=None))
    assert [origin.ghosts for origin in client.stats().origins.values()] == [0]
    async with seawall.AsyncClient(retry=None, timeout=httpx.Timeout(5.0, read=0.05)) as other:
        with pytest.raises(httpx.ReadTimeout):
            await other.get(server.url + "/x/hang")
        assert [(origin.ghosts, origin.in_flight) for origin in other.stats().origins.values()] == [(1, 0)]


async def test_unread_bodies_hold_up_nobody(server, client):
    """Streams that nobody reads fill their own windows; closed, they give back what they held."""
    url = server.ports["h2:clear"].url
    for _ in range(3):
        async with AsyncExitStack() as held:
            for _ in range(20):
                await held.enter_async_context(client.stream("GET", url + "/x/ok:4000000"))
            assert len((await client.get(url + "/x/ok:3000000")).content) == 3_000_000
    assert client.stats().connections == 1


async def test_nothing_is_left(server):
    """Cancelled at any moment: no permit, no connection, no task."""
    async with no_leaks(grace=60), seawall.AsyncClient(http1=False, http2=True, retry=None, breaker=None) as client:
        url = server.ports["h2:clear"].url + "/x/ok:300000"
        for turns in range(40):
            task = asyncio.create_task(client.post(url, content=b"x" * 200_000))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
        assert (await client.get(url)).status_code == 200
        stats = client.stats()
        assert [origin.in_flight for origin in stats.origins.values()] == [0]
        assert stats.connections == 1


# What no step does: frames by hand


@pytest.mark.parametrize("end", ["close", "bad frame"])
async def test_streams_of_one_connection_die_one_death(client, by_hand, end):
    """Each stream's error names the same death, another connection's names another; a reset stream names none."""

    async def script(peer: Peer) -> None:
        numbers = [await peer.request() for _ in range(3)]
        peer.send(RstStreamFrame(numbers[0], error_code=2))
        if end == "bad frame":
            peer.send(DataFrame(numbers[-1] + 2, b"x"))
        else:
            peer.writer.close()

    url, once = await by_hand(script), seawall.options(retry=None)
    deaths = []
    for _ in range(2):
        calls = [asyncio.create_task(client.get(url, extensions=once)) for _ in range(3)]
        reset, *others = await asyncio.gather(*calls, return_exceptions=True)
        assert isinstance(reset, seawall.errors.BadAnswer)
        assert reset.death is None
        assert others[0].death is others[1].death is not None
        deaths.append(others[0].death)
    assert deaths[0] is not deaths[1]


@pytest.mark.parametrize("pieces", ["one", "two"])
async def test_answers_that_goaway_promises(client, by_hand, pieces):
    """Streams up to its last one are answered still, though it came first; those above it never happened."""

    async def script(peer: Peer) -> None:
        numbers = [await peer.request() for _ in range(3)]
        if numbers[-1] != 5:
            return
        peer.send(GoAwayFrame(0, last_stream_id=3))
        if pieces == "two":
            await asyncio.sleep(0.05)
        for number in (1, 3):
            peer.send(peer.head(number), DataFrame(number, b"ok", flags=["END_STREAM"]))

    url = await by_hand(script)
    results = await asyncio.gather(
        *(client.post(url, content=b"x", extensions=seawall.options(retry=None)) for _ in range(3)),
        return_exceptions=True,
    )
    assert [result.text for result in results[:2]] == ["ok", "ok"]
    assert isinstance(results[2], seawall.errors.StreamRefused)
    assert isinstance(results[2], httpx.RemoteProtocolError)
    await asyncio.sleep(0)
    assert client.stats().connections == 0


@pytest.mark.parametrize("code", [0, 8, None])
async def test_answer_that_refuses_the_rest_of_the_request(client, by_hand, code):
    """A 413 while the window is full is a 413; the rest isn't sent, whether the server resets the stream or not."""
    seen: list[Frame] = []

    async def script(peer: Peer) -> None:
        for _ in range(2):
            number = await peer.request()
            head = peer.head(number, ("content-length", "2"), status="413")
            peer.send(head, DataFrame(number, b"no", flags=["END_STREAM"]))
            if code is not None:
                peer.send(RstStreamFrame(number, error_code=code))
            else:
                while not isinstance(frame := await peer.frame(), RstStreamFrame):
                    seen.append(frame)

    url = await by_hand(script)
    for _ in range(2):
        response = await client.post(url, content=b"x" * 200_000)
        assert (response.status_code, response.text) == (413, "no")
    assert sum(len(frame.data) for frame in seen if isinstance(frame, DataFrame)) <= 2 * 65_535
    assert client.stats().connections == 1


class Uploaded:
    """A body without an end, that says when it is stopped."""

    def __init__(self) -> None:
        self.is_stopped = asyncio.Event()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x" * 1000
                await asyncio.sleep(0)
        finally:
            self.is_stopped.set()


async def take(peer: Peer, size: int) -> None:
    """So many bytes of uploads, giving the windows back."""
    while size > 0:
        frame = await peer.frame()
        if isinstance(frame, DataFrame) and frame.data:
            size -= len(frame.data)
            peer.send(*(WindowUpdateFrame(each, window_increment=len(frame.data)) for each in (0, frame.stream_id)))


@pytest.mark.parametrize("is_traced", [False, True])
@pytest.mark.parametrize("is_iterated", [False, True])
async def test_early_answer_does_not_end_the_upload(client, by_hand, is_iterated, is_traced):
    """Its head is handed over at once; the server gets all of the request, and the answer's end comes after that."""
    is_answered = asyncio.Event()
    steps = []

    async def script(peer: Peer) -> None:
        number = await peer.request()
        peer.send(peer.head(number), DataFrame(number, b"early"))
        await is_answered.wait()
        await take(peer, 300_000)
        peer.send(DataFrame(number, b" late", flags=["END_STREAM"]))

    async def parts() -> AsyncIterator[bytes]:
        for _ in range(30):
            yield b"x" * 10_000

    async def note(name: str, info: object) -> None:
        steps.append(name)

    content = parts() if is_iterated else b"x" * 300_000
    extensions = {"trace": note} if is_traced else {}
    async with client.stream("POST", await by_hand(script), content=content, extensions=extensions) as response:
        is_answered.set()
        assert await response.aread() == b"early late"
    assert client.stats().connections == 1
    if is_traced:
        assert [step for step in steps if step.startswith("http2") and "body" in step] == [
            f"http2.{what}_body.{when}"
            for what in ("send_request", "receive_response")
            for when in ("started", "complete")
        ]


async def test_stream_is_open_until_both_sides_have_ended(client, by_hand):
    """A complete answer is handed over once the request is all sent; until then its permit is held."""
    goes_on, is_complete = asyncio.Event(), asyncio.Event()

    async def script(peer: Peer) -> None:
        number = await peer.request()
        peer.send(peer.head(number), DataFrame(number, b"ok", flags=["END_STREAM"]))
        await peer.is_answered()
        is_complete.set()
        await take(peer, 1000)  # the others came before the answer to the PING
        await peer.request()
        peer.send(peer.head(number + 2, is_end=True))

    async def parts() -> AsyncIterator[bytes]:
        yield b"x" * 1000
        await goes_on.wait()
        yield b"x" * 1000

    url = await by_hand(script)
    post = asyncio.create_task(client.post(url, content=parts()))
    await is_complete.wait()
    (connection,) = client.engine.wire.pool.connections
    assert connection.streams == 1
    assert [origin.in_flight for origin in client.stats().origins.values()] == [1]
    assert not post.done()
    goes_on.set()
    assert (await post).text == "ok"
    assert connection.streams == 0
    assert (await client.get(url, extensions=seawall.options(retry=None))).status_code == 200


@pytest.mark.parametrize("end", ["aclose", "cancel", "deadline", "reset", "connection"])
async def test_what_ends_an_upload_beside_its_answer(by_hand, end):
    """Whoever ends the response; the iterator is closed, and nothing is left."""
    body, is_reset, has_head = Uploaded(), asyncio.Event(), asyncio.Event()

    async def script(peer: Peer) -> None:
        number = await peer.request()
        peer.send(peer.head(number), DataFrame(number, b"early"))
        if end in ("connection", "reset"):
            await has_head.wait()
        if end == "connection":
            peer.writer.close()
            return
        if end == "reset":
            peer.send(RstStreamFrame(number, error_code=2))
        else:
            while not isinstance(await peer.frame(), RstStreamFrame):
                pass
        is_reset.set()

    async def call() -> None:
        if end == "deadline":
            await client.post(url, content=body, extensions=seawall.options(deadline=0.1))
        async with client.stream("POST", url, content=body) as response:
            assert response.status_code == 200
            has_head.set()
            if end == "aclose":
                return
            async for _ in response.aiter_raw():
                if end == "cancel":
                    asyncio.current_task().cancel()

    url = await by_hand(script)
    async with no_leaks(grace=60), seawall.AsyncClient(http1=False, http2=True, retry=None, breaker=None) as client:
        (result,) = await asyncio.gather(asyncio.create_task(call()), return_exceptions=True)
        kinds = {"cancel": asyncio.CancelledError, "deadline": seawall.DeadlineExceeded, "aclose": type(None)}
        assert isinstance(result, kinds.get(end, seawall.WireError))
        await body.is_stopped.wait()
        assert [origin.in_flight for origin in client.stats().origins.values()] == [0]
        if end != "connection":
            await is_reset.wait()
            assert client.stats().connections == 1


async def test_connection_that_ends_after_a_complete_answer_ends_the_upload(client, by_hand):
    """The answer stands, and is there at once, because nobody is left to take the rest of the body."""
    has_head = asyncio.Event()

    async def script(peer: Peer) -> None:
        number = await peer.request()
        peer.send(peer.head(number), DataFrame(number, b"ok", flags=["END_STREAM"]))
        await has_head.wait()
        peer.writer.close()

    url = await by_hand(script)
    async with client.stream("POST", url, content=b"x" * 3_000_000, timeout=None) as response:
        has_head.set()
        async with asyncio.timeout(20):
            assert await response.aread() == b"ok"


async def test_reading_on_while_another_task_closes_a_response_whose_upload_goes_on(client, by_hand):
    """In one turn of the loop: the reader gives the upload the turn that it needs to end."""
    body, has_part, both = Uploaded(), asyncio.Event(), asyncio.Event()

    async def script(peer: Peer) -> None:
        number = await peer.request()
        peer.send(peer.head(number), DataFrame(number, b"ok", flags=["END_STREAM"]))
        await peer.reader.read()

    async def close() -> None:
        await both.wait()
        await response.aclose()

    async def read() -> None:
        async for _ in response.aiter_raw():
            has_part.set()
            await both.wait()

    async with client.stream("POST", await by_hand(script), content=body) as response:
        closer = asyncio.create_task(close())  # it waits first, and so runs first
        reader = asyncio.create_task(read())
        await has_part.wait()
        both.set()
        await asyncio.gather(closer, reader)
    await body.is_stopped.wait()


async def test_parts_that_are_not_bytes(client, by_hand):
    """An array's bytes go out in a frame of their size, and text is the caller's error; the window is still whole."""
    came: dict[int, bytes] = {}

    async def script(peer: Peer) -> None:
        while True:
            frame = await peer.frame()
            if isinstance(frame, DataFrame):
                came[frame.stream_id] = came.get(frame.stream_id, b"") + frame.data
            if "END_STREAM" in frame.flags:
                peer.send(peer.head(frame.stream_id, is_end=True))

    async def parts(part: object) -> AsyncIterator[bytes]:
        yield part

    url, numbers = await by_hand(script), array.array("I", range(30))
    for _ in range(5):
        with pytest.raises(TypeError, match="bytes-like"):
            await client.post(url, content=parts("text" * 4000))
    assert (await client.post(url, content=parts(numbers))).status_code == 200
    assert (await client.post(url, content=b"x" * 60_000, timeout=5)).status_code == 200
    assert list(came.values()) == [numbers.tobytes(), b"x" * 60_000]


async def test_error_of_the_callers_body_beside_its_answer(client, by_hand):
    """Is raised by the read, and the stream is reset."""
    goes_on, is_reset = asyncio.Event(), asyncio.Event()

    async def script(peer: Peer) -> None:
        number = await peer.request()
        peer.send(peer.head(number), DataFrame(number, b"early"))
        while not isinstance(await peer.frame(), RstStreamFrame):
            pass
        is_reset.set()

    async def parts() -> AsyncIterator[bytes]:
        yield b"x"
        await goes_on.wait()
        raise KeyError("mine")

    async with client.stream("POST", await by_hand(script), content=parts()) as response:
        goes_on.set()
        with pytest.raises(KeyError, match="mine"):
            await response.aread()
    await is_reset.wait()


async def test_write_timeout_after_a_complete_answer(client, by_hand):
    """A server that has answered and takes no more: the answer counts, and the stream is reset."""
    is_reset = asyncio.Event()

    async def script(peer: Peer) -> None:
        peer.send(peer.head(await peer.request(), is_end=True))
        while not isinstance(await peer.frame(), RstStreamFrame):
            pass
        is_reset.set()

    timeout = httpx.Timeout(5, write=0.05)
    response = await client.post(await by_hand(script), content=b"x" * 200_000, timeout=timeout)
    assert response.status_code == 200
    await is_reset.wait()
    assert client.stats().connections == 1


async def test_reset_without_error_after_a_complete_answer(client, by_hand):
    """The server wants no more of the request, and the answer counts (RFC 9113 section 8.1)."""
    body = Uploaded()

    async def script(peer: Peer) -> None:
        number = await peer.request()
        peer.send(peer.head(number, is_end=True), RstStreamFrame(number, error_code=0))

    assert (await client.post(await by_hand(script), content=body)).status_code == 200
    await body.is_stopped.wait()
    assert client.stats().connections == 1


@pytest.mark.parametrize(
    "fields", [[(":status", "abc")], [(":status", "")], [("content-length", "10")], [("content-length", "1")]], ids=str
)
async def test_answers_that_are_none(client, by_hand, fields):
    """A status that is none, a body that is shorter or longer than it says: never taken for good."""

    async def script(peer: Peer) -> None:
        number = await peer.request()
        block = peer._encoder.encode([(":status", "200"), *fields] if fields[0][0] != ":status" else fields)
        peer.send(HeadersFrame(number, block, flags=["END_HEADERS"]), DataFrame(number, b"ok", flags=["END_STREAM"]))

    with pytest.raises(seawall.errors.BadAnswer):
        await client.get(await by_hand(script), extensions=seawall.options(retry=None))


async def test_length_beside_chunked(client, by_hand):
    """Isn't sent, as over HTTP/1.1, because the body need not have it; else a server behind a proxy reads amiss."""
    fields: dict[str, str] = {}

    async def script(peer: Peer) -> None:
        while not isinstance(frame := await peer.frame(), HeadersFrame):
            pass
        fields.update(hpack.Decoder().decode(frame.data))
        peer.send(peer.head(frame.stream_id, is_end=True))

    headers = {"transfer-encoding": "chunked", "content-length": "5"}
    await client.post(await by_hand(script), content=b"0123456789", headers=headers)
    assert (fields[":method"], "content-length" in fields) == ("POST", False)


BAD = {
    "a 304 that names a length": ([(":status", "304"), ("content-length", "10")], b""),
    "longer than it says": ([(":status", "200"), ("content-length", "1")], b"ok"),
    "upper case": ([(":status", "200"), ("X-Upper", "1")], b"ok"),
    "connection": ([(":status", "200"), ("connection", "close")], b"ok"),
    "NUL": ([(":status", "200"), ("x", "a\0b")], b"ok"),
    "no status": ([("x", "y")], b"ok"),
    "status 099": ([(":status", "099")], b"ok"),
    "90 kB of headers": ([(":status", "200"), *[("x", "y" * 900)] * 90], b"ok"),
}


@pytest.mark.parametrize("what", BAD)
async def test_a_bad_answer_is_its_streams_matter(client, by_hand, what):
    """The neighbour on the connection goes on (RFC 9113 section 8.1.1); what only looks bad is none."""
    fields, body = BAD[what]

    async def script(peer: Peer) -> None:
        first, second = await peer.request(), await peer.request()
        block = peer._encoder.encode(fields)
        pieces = [block[at : at + 16_000] for at in range(0, len(block), 16_000)]
        frames = [HeadersFrame(second, pieces[0])] + [ContinuationFrame(second, piece) for piece in pieces[1:]]
        frames[-1].flags.add("END_HEADERS")
        peer.send(*frames, DataFrame(second, body, flags=["END_STREAM"]))
        peer.send(peer.head(first), DataFrame(first, b"neighbour", flags=["END_STREAM"]))

    url = await by_hand(script)
    once = seawall.options(retry=None)
    neighbour = asyncio.create_task(client.get(url, extensions=once))
    await asyncio.sleep(0)
    (answer,) = await asyncio.gather(client.get(url, extensions=once), return_exceptions=True)
    assert (await neighbour).text == "neighbour"
    if what in ("a 304 that names a length", "90 kB of headers"):
        assert isinstance(answer, httpx.Response)
    else:
        assert isinstance(answer, seawall.errors.BadAnswer)


@pytest.mark.parametrize("end", ["reset", "answer and reset", "bad frame"])
async def test_stream_that_ends_while_the_caller_makes_its_body(client, by_hand, end):
    """The answer if there is one, else an error of ours: never one of h2's."""
    ended = asyncio.Event()

    async def script(peer: Peer) -> None:
        number = await peer.request()
        if end == "answer and reset":
            peer.send(peer.head(number, is_end=True), RstStreamFrame(number, error_code=0))
        else:
            peer.send(DataFrame(number, b"early") if end == "bad frame" else RstStreamFrame(number, error_code=8))
        await peer.writer.drain()
        ended.set()

    async def body() -> AsyncIterator[bytes]:
        yield b"x"
        await ended.wait()
        await asyncio.sleep(0.05)

    post = client.post(await by_hand(script), content=body())
    if end == "answer and reset":
        assert (await post).status_code == 200
    else:
        with pytest.raises(seawall.errors.BadAnswer):
            await post


async def test_surplus_of_a_limit_that_is_lowered(by_hand):
    """It counts against nobody and is sent again at once; connections to come know the limit."""
    served: list[list[int]] = []

    async def script(peer: Peer) -> None:
        served.append([])
        number = await peer.request()
        if len(served) == 1:
            surplus = [await peer.request(), await peer.request()]
            peer.send(SettingsFrame(0, settings={SettingsFrame.MAX_CONCURRENT_STREAMS: 1}))
            peer.send(*(RstStreamFrame(each, error_code=7) for each in surplus))
        while True:
            served[-1].append(number)
            peer.send(peer.head(number, is_end=True))
            number = await peer.request()

    breaker = seawall.Breaker(min_calls=1, failure_rate=0.1)
    retry = seawall.Retry(backoff=20, jitter=0)
    async with seawall.AsyncClient(http1=False, http2=True, breaker=breaker, retry=retry, timeout=5) as client:
        url = await by_hand(script)
        posts = asyncio.gather(*(client.post(url, content=b"order") for _ in range(3)))
        responses = await asyncio.wait_for(posts, 5)
        assert sorted(outcomes(response) for response in responses) == [["200"], *2 * [["StreamRefused", "200"]]]
        assert sum(map(len, served)) == 3
        assert all(response.status_code == 200 for response in await asyncio.gather(*(client.get(url) for _ in "ab")))


async def test_refused_after_its_answer_began(client, by_hand):
    """It was done, so it isn't sent again."""
    requests = []

    async def script(peer: Peer) -> None:
        requests.append(await peer.request())
        peer.send(peer.head(requests[-1]), DataFrame(requests[-1], b"half"), RstStreamFrame(requests[-1], error_code=7))

    with pytest.raises(seawall.errors.BadAnswer, match="in the midst"):
        await client.post(await by_hand(script), content=b"order")
    assert requests == [1]


async def test_time_limits_are_the_streams_own(client, by_hand):
    """Frames of the connection, or of other streams, begin none anew."""

    async def script(peer: Peer) -> None:
        await peer.request()
        for _ in range(100):
            peer.send(WindowUpdateFrame(0, window_increment=1))
            await asyncio.sleep(0.05)

    url, once = await by_hand(script), seawall.options(retry=None)
    with pytest.raises(httpx.ReadTimeout):
        await asyncio.wait_for(client.get(url, timeout=0.2, extensions=once), 3)
    timeout = httpx.Timeout(5, write=0.2)
    with pytest.raises(httpx.WriteTimeout):
        await asyncio.wait_for(client.post(url, content=b"x" * 100_000, timeout=timeout, extensions=once), 3)


async def test_padding_is_given_back(client, by_hand):
    """More of it than a window holds, and then the body."""

    async def script(peer: Peer) -> None:
        number = await peer.request()
        peer.send(peer.head(number))
        for _ in range(5000):
            peer.send(DataFrame(number, b"x", pad_length=255, flags=["PADDED"]))
        peer.send(DataFrame(number, b"", flags=["END_STREAM"]))

    assert len((await client.get(await by_hand(script))).content) == 5000


async def test_reader_hears_that_its_stream_was_closed(server, client):
    """By another task: it does not wait for ever."""
    url = server.ports["h2:clear"].url + "/x/hang:body"
    async with client.stream("GET", url, timeout=30) as response:
        reader = asyncio.create_task(response.aread())
        await asyncio.sleep(0.05)
        await response.aclose()
        (result,) = await asyncio.wait_for(asyncio.gather(reader, return_exceptions=True), 3)
    assert isinstance(result, seawall.errors.ConnectionLost)


async def test_who_dials_first_may_leave(server, client):
    """The others go on with one connection all the same."""
    url = server.ports["h2:clear"].url + "/x/ok"
    first, *others = [asyncio.create_task(client.get(url)) for _ in range(50)]
    await asyncio.sleep(0)
    first.cancel()
    assert {response.status_code for response in await asyncio.gather(*others)} == {200}
    assert client.stats().connections == 1


async def test_connection_that_takes_no_more_streams(client, by_hand):
    """A limit of 0 after the first answer: the next has a connection of its own."""

    async def script(peer: Peer) -> None:
        number = await peer.request()
        peer.send(SettingsFrame(0, settings={3: 0}), peer.head(number, is_end=True))

    url = await by_hand(script)
    for _ in range(3):
        assert (await client.get(url)).status_code == 200


async def test_server_that_takes_no_stream_at_all(by_hand):
    """A limit of 0 is a failure like any other: it opens the breaker, and is not dialled for without an end."""
    dialled = 0

    async def script(peer: Peer) -> None:
        nonlocal dialled
        dialled += 1
        peer.send(SettingsFrame(0, settings={3: 0}))
        while True:
            peer.send(RstStreamFrame(await peer.request(), error_code=7))

    breaker = seawall.Breaker(min_calls=3)
    async with seawall.AsyncClient(http1=False, http2=True, breaker=breaker, retry=None) as client:
        url = await by_hand(script)
        for error in [seawall.errors.StreamRefused] * 3 + [seawall.BreakerOpen] * 3:
            with pytest.raises(error):
                await client.get(url)
    assert dialled <= 6  # one replay each


async def test_limit_that_is_raised(by_hand):
    """Who waits for a slot hears of it at once, and not with the first stream that ends."""
    done = asyncio.Event()
    raised = asyncio.Event()

    async def script(peer: Peer) -> None:
        peer.send(SettingsFrame(0, settings={3: 1}))
        first = await peer.request()
        peer.send(peer.head(first))
        await raised.wait()
        peer.send(SettingsFrame(0, settings={3: 100}))
        for _ in range(5):
            peer.send(peer.head(await peer.request(), is_end=True))
        await done.wait()
        peer.send(DataFrame(first, b"", flags=["END_STREAM"]))

    limits = httpx.Limits(max_connections=1)
    async with seawall.AsyncClient(http1=False, http2=True, limits=limits, retry=None, timeout=5) as client:
        url = await by_hand(script)
        async with client.stream("GET", url) as slow:
            others = [asyncio.create_task(client.get(url)) for _ in range(5)]
            while not client.engine.slots.waiting:
                await asyncio.sleep(0)
            raised.set()
            assert {(await each).status_code for each in others} == {200}
            done.set()
            assert await slow.aread() == b""


async def test_stream_that_was_refused_is_sent_again_where_no_other_connection_may_be_opened(by_hand):
    """A moment later on the same one, though nothing else of it tells those that wait that it has room again."""
    outcomes: list[str] = []

    async def script(peer: Peer) -> None:
        peer.send(peer.head(await peer.request()))
        peer.send(RstStreamFrame(await peer.request(), error_code=7))
        peer.send(peer.head(await peer.request(), is_end=True))

    limits, timeout = httpx.Limits(max_connections=1), httpx.Timeout(20, pool=None)
    async with seawall.AsyncClient(http1=False, http2=True, limits=limits, timeout=timeout) as client:
        url = await by_hand(script)
        async with client.stream("GET", url), asyncio.timeout(10):
            response = await client.get(url)
            outcomes += [attempt.outcome for attempt in response.extensions["seawall"]]
            assert client.stats().connections == 1
    assert outcomes == ["StreamRefused", "200"]


async def test_small_limit_is_dialled_for_at_once(by_hand):
    """As many wait for a connection as have room on it; the others dial the next meanwhile, not after it."""

    async def script(peer: Peer) -> None:
        peer.send(SettingsFrame(0, settings={3: 2}))
        while True:
            peer.send(peer.head(await peer.request(), is_end=True))

    async with seawall.AsyncClient(http1=False, http2=True, timeout=5) as client:
        url = await by_hand(script)
        await client.get(url)
        dialler, waiting, all_dial = client.engine.wire.dialler, 0, asyncio.Event()
        for connection in list(client.engine.wire.pool.connections):
            connection.close()
        dial = dialler.dial

        async def together(*arguments, **keywords):
            nonlocal waiting
            waiting += 1
            if waiting == 4:
                all_dial.set()
            await all_dial.wait()
            return await dial(*arguments, **keywords)

        dialler.dial = together
        responses = await asyncio.gather(*(client.get(url) for _ in range(8)))
        assert {response.status_code for response in responses} == {200}
        assert waiting == 4


async def test_who_waits_for_a_slot_shares_what_was_opened(by_hand):
    """Its SETTINGS may have come before anybody could hear of them, and no stream ends for a while."""
    calls = 150

    async def script(peer: Peer) -> None:
        first = await peer.request()
        for _ in range(calls - 1):
            peer.send(peer.head(await peer.request(), is_end=True))
        peer.send(peer.head(first, is_end=True))

    limits = httpx.Limits(max_connections=1)
    async with seawall.AsyncClient(
        http1=False, http2=True, limits=limits, bulkhead=None, retry=None, timeout=httpx.Timeout(5, pool=2)
    ) as client:
        dialler = client.engine.wire.dialler
        dial = dialler.dial

        async def until_heard(*arguments, **keywords):
            connection = await dial(*arguments, **keywords)
            while not connection.heard_at:
                await asyncio.sleep(0)
            return connection

        dialler.dial = until_heard
        url = await by_hand(script)
        responses = await asyncio.gather(*(client.get(url) for _ in range(calls)))
        assert {response.status_code for response in responses} == {200}


async def test_who_gave_up_waiting_makes_room(client):
    """However many calls a host that hangs has lost, there is one dial to it, as long as they don't come at once."""
    dialled = 0

    async def hangs(*arguments, **keywords):
        nonlocal dialled
        dialled += 1
        await asyncio.Event().wait()

    client.engine.wire.dialler.dial = hangs
    first = asyncio.create_task(client.get("http://127.0.0.1:1/", timeout=None))
    while not dialled:
        await asyncio.sleep(0)
    for _ in range(300):
        with anyio.move_on_after(0):
            await client.get("http://127.0.0.1:1/", timeout=None)
    assert dialled == 1
    first.cancel()
    await asyncio.wait([first])


@pytest.mark.parametrize("is_reset", [False, True])
async def test_small_body_whose_refusal_comes_while_a_trace_function_waits(client, by_hand, is_reset):
    """The body isn't sent: the stream may be closed by then, and the server wants no more of it anyway."""
    is_refused, seen = asyncio.Event(), []

    async def script(peer: Peer) -> None:
        number = await peer.request()
        peer.send(RstStreamFrame(number, error_code=8) if is_reset else peer.head(number, status="413", is_end=True))
        await peer.is_answered()
        is_refused.set()
        while not isinstance(frame := await peer.frame(), HeadersFrame):
            seen.append(type(frame))
        peer.send(peer.head(frame.stream_id, is_end=True))

    async def trace(name: str, info: object) -> None:
        if name == "http2.send_request_body.started":
            await is_refused.wait()

    url, once = await by_hand(script), seawall.options(retry=None)
    call = client.post(url, content=b"small", extensions=once | {"trace": trace})
    (answer,) = await asyncio.gather(call, return_exceptions=True)
    assert isinstance(answer, seawall.errors.BadAnswer) if is_reset else answer.status_code == 413
    await client.get(url)
    assert DataFrame not in seen


async def test_connection_headers_stay_behind(client, by_hand):
    """HTTP/1.1's own, and those that Connection names; host is :authority. Source: RFC 9113 section 8.2.2."""
    seen = {}

    async def script(peer: Peer) -> None:
        decoder = hpack.Decoder()
        while True:
            frame, size = Frame.parse_frame_header(memoryview(await peer.reader.readexactly(9)))
            frame.parse_body(memoryview(await peer.reader.readexactly(size)))
            if isinstance(frame, HeadersFrame):
                seen.update(decoder.decode(frame.data))
                peer.send(peer.head(frame.stream_id, is_end=True))
                return

    url = await by_hand(script)
    await client.get(url, headers={"Connection": "X-Hop", "X-Hop": "1", "TE": "gzip", "X-Mine": " a "})
    host = httpx.URL(url).netloc.decode()
    assert {name: seen.get(name) for name in (":method", ":path", ":scheme", ":authority", "x-mine")} == {
        ":method": "GET",
        ":path": "/",
        ":scheme": "http",
        ":authority": host,
        "x-mine": "a",
    }
    assert not seen.keys() & {"connection", "x-hop", "te", "host", "keep-alive"}


async def test_trace_events_are_those_of_httpx(server):
    """Names and order, for a good answer."""
    seen = {}
    for kind in (httpx.AsyncClient, seawall.AsyncClient):
        events = seen[kind] = []

        async def note(name, info, events=events) -> None:
            events.append(name)

        async with kind(http1=False, http2=True) as client:
            url = server.ports["h2:clear"].url + "/x/ok"
            await client.get(url)
            await client.get(url, extensions={"trace": note})
    assert seen[seawall.AsyncClient] == seen[httpx.AsyncClient]


async def test_without_the_package(monkeypatch):
    """The error says what to install."""
    monkeypatch.setitem(__import__("sys").modules, "seawall.wire.http2.connection", None)
    with pytest.raises(ImportError, match=r"seawall\[http2\]"):
        seawall.AsyncClient(http2=True)
    with pytest.raises(ValueError, match="can't both be off"):
        seawall.AsyncClient(http1=False)


async def test_context_that_others_offer_http2_with(server, trusted, monkeypatch):
    """What was chosen isn't what is spoken here: a handshake that failed, and no garbage."""
    trusted.set_alpn_protocols(["h2"])
    server.certificates.kept("http2")  # the server's own
    monkeypatch.setattr(ssl.SSLContext, "set_alpn_protocols", lambda self, names: None)
    async with seawall.AsyncClient(verify=trusted, retry=None) as client:
        with pytest.raises(seawall.errors.HandshakeError, match="the server chose HTTP/2"):
            await client.get(f"https://localhost:{server.ports['h2'].port}/x/ok")


def test_one_context_for_both_protocols_under_uvloop(server):
    """Which takes what is offered one callback later, when another connection of the same context may have begun."""
    uvloop = pytest.importorskip("uvloop")
    both, only = (f"https://127.0.0.1:{server.ports[port].port}/x" for port in ("h2:either", "h2"))

    async def main() -> list[str]:
        limits = httpx.Limits(max_keepalive_connections=0)
        verify = server.certificates.client_context()
        async with seawall.AsyncClient(http2=True, verify=verify, limits=limits, retry=None) as client:
            with contextlib.suppress(seawall.errors.StreamRefused):
                await client.get(f"{both}/h2_rst:13,ok?key=uvloop")
            urls = [f"{both}/ok", f"{only}/ok"] * 10
            return [each.http_version for _ in range(5) for each in await asyncio.gather(*map(client.get, urls))]

    assert uvloop.run(main()) == ["HTTP/1.1", "HTTP/2"] * 50


async def test_no_more_connections_than_it_takes(server):
    """Who finds no room waits for the next connection too, and not each for its own."""
    url = server.ports["h2:clear"].url + "/x/delay:0.2"
    async with seawall.AsyncClient(http1=False, http2=True, bulkhead=None) as client:
        responses = await asyncio.gather(*(client.get(url) for _ in range(250)))
        assert {response.status_code for response in responses} == {200}
        assert client.stats().connections == 3


async def test_server_that_only_makes_us_answer(client, by_hand):
    """PINGs without an end, from one who reads none of the answers: the connection ends, and memory doesn't grow."""
    ended = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        try:
            while True:
                peer.send(*[PingFrame(0, opaque_data=b"x" * 8)] * 1000)
                await peer.writer.drain()
        except OSError:
            ended.set()

    with pytest.raises(seawall.errors.BadAnswer, match="carry nothing"):
        await client.get(await by_hand(script), timeout=30, extensions=seawall.options(retry=None, deadline=30))
    await ended.wait()


async def test_connections_grow_old(server, clock):
    """Past max_connection_age an idle one is closed, not passed over."""
    limits = httpx.Limits(keepalive_expiry=None)
    made = seawall.AsyncClient(http1=False, http2=True, max_connection_age=60.0, limits=limits)
    async with made as client:
        for _ in range(5):
            await client.get(server.ports["h2:clear"].url + "/x/ok")
            assert client.stats().connections == 1
            clock.ahead += 61.0
