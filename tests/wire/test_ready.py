"""A server that stops listening and comes back at the same port: its calls wait for it. On real sockets."""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import AsyncExitStack

import httpx
import pytest
import trustme
from hyperframe.frame import SettingsFrame

import seawall
from seawall.events import OriginAway, OriginBack, Phase
from seawall.testing import Request, Server, cancel_everywhere
from seawall.testing.dns import DNSServer, Name
from seawall.testing.leaks import held

from .peer import Peer

pytestmark = [pytest.mark.anyio, pytest.mark.each_front]


async def ok(request: Request) -> None:
    await request.reply(body=b"ok")


def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's, for 127.0.0.1, and that of a client that trusts it."""
    authority, serving = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(serving)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    return serving, trusting


POOR = seawall.Budget(max_balance=2, ratio=0.0, rate=0.0)


class Restarted:
    """
    A server at one port, which can be stopped and started.

    Attributes:
        server: The one that runs, or ran last.
    """

    def __init__(self, stack: AsyncExitStack) -> None:
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            self.port = sock.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/"
        self.server: Server
        self._running = AsyncExitStack()
        stack.push_async_callback(self.stop)

    async def start(self, handler=ok, **arguments) -> None:
        self.server = await self._running.enter_async_context(Server(handler, port=self.port, **arguments))

    async def stop(self) -> None:
        await self._running.aclose()


@pytest.fixture
async def restarted(stack) -> Restarted:
    restarted = Restarted(stack)
    await restarted.start()
    return restarted


async def until(condition) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0)


def of(client: seawall.AsyncClient):
    (state,) = client.stats().origins.values()
    return state


async def go_away(client: seawall.AsyncClient, restarted: Restarted) -> None:
    """It has answered *client*, and listens no longer."""
    assert (await client.get(restarted.url)).status_code == 200
    await restarted.stop()


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_calls_wait_for_a_restart(front, stack, restarted, method):
    """All are good and sent once, whatever their method; none is a retry, and nothing is left of the wait."""
    told: list[object] = []
    client = await stack.enter_async_context(front.seawall.AsyncClient(observers=[told.append]))
    await go_away(client, restarted)
    calls = [asyncio.create_task(client.request(method, restarted.url)) for _ in range(100)]
    await until(lambda: of(client).awaited_by == 100)
    assert (of(client).in_flight, of(client).breaker, of(client).away_for > 0) == (0, "closed", True)
    await restarted.start()
    assert [response.status_code for response in await asyncio.gather(*calls)] == [200] * 100
    assert len(restarted.server.requests) == 100
    assert client.stats().totals.attempts == {"first": 101, "retry": 0, "hedge": 0}
    assert (of(client).away_for, of(client).budget, held(client.stats())) == (0.0, of(client).max_budget, [])
    away, back = [event for event in told if isinstance(event, OriginAway | OriginBack)]
    assert "connection refused" in away.reason
    assert back.origin == away.origin
    assert back.duration > 0


async def test_attempt_says_that_it_waited(front, stack, restarted):
    """Its dial that was refused, and its seconds at the gate; its phases begin anew."""
    client = await stack.enter_async_context(front.seawall.AsyncClient())
    await go_away(client, restarted)
    call = asyncio.create_task(client.get(restarted.url))
    await until(lambda: of(client).awaited_by)
    await restarted.start()
    (attempt,) = seawall.history(await call)
    assert [dial.outcome for dial in attempt.dials] == ["connection refused"]
    ((gate, waited),) = attempt.queued
    assert (gate, waited > 0, attempt.is_reused) == ("ready", True, True)
    assert dict(attempt.marks)[Phase.SENT] >= waited


async def test_half_of_the_limit_is_released_before_the_first_response(front, stack, restarted):
    """The new server sees no more than that until it has answered; waiters keep their order."""
    order: list[str] = []
    answers = asyncio.Event()

    async def slow(request: Request) -> None:
        order.append(request.target)
        await answers.wait()
        await request.reply()

    client = await stack.enter_async_context(
        front.seawall.AsyncClient(bulkhead=seawall.Bulkhead(max_concurrent=4), limits=httpx.Limits(max_connections=9))
    )
    await go_away(client, restarted)
    calls = []
    for number in range(8):
        calls.append(asyncio.create_task(client.get(f"{restarted.url}{number}")))
        await until(lambda number=number: of(client).awaited_by == number + 1)
    await restarted.start(slow)
    await until(lambda: len(order) == 2)
    assert (sorted(order), of(client).awaited_by, of(client).in_flight) == (["/0", "/1"], 6, 2)
    answers.set()
    await asyncio.gather(*calls)
    assert (sorted(order[:4]), len(order)) == (["/0", "/1", "/2", "/3"], 8)


async def test_origin_that_never_answered_is_told_at_once(front, stack, restarted):
    """A wrong port isn't waited for, and fails as before."""
    await restarted.stop()
    client = await stack.enter_async_context(front.seawall.AsyncClient(retry=None))
    with pytest.raises(seawall.DialError) as caught:
        await client.get(restarted.url)
    assert (caught.value.is_refused, caught.value.is_away, of(client).away_for) == (True, False, 0.0)


async def test_origin_that_answered_long_ago_is_told_at_once(front, stack, restarted, clock):
    """More than `Ready.remembered_for` ago, so nobody knows that it restarts."""
    client = await stack.enter_async_context(front.seawall.AsyncClient(retry=None))
    await go_away(client, restarted)
    clock.ahead = 61.0
    with pytest.raises(seawall.DialError) as caught:
        await client.get(restarted.url)
    assert not caught.value.is_away


async def test_switched_off(front, stack, restarted):
    """`ready=None`: a refused dial is the attempt's error."""
    client = await stack.enter_async_context(front.seawall.AsyncClient(retry=None, ready=None))
    await go_away(client, restarted)
    with pytest.raises(seawall.DialError) as caught:
        await client.get(restarted.url)
    assert (caught.value.is_refused, caught.value.is_away) == (True, False)


async def test_calls_are_told_once_it_is_away_for_too_long(front, stack, restarted, clock):
    """Those that wait, and later ones at once: nothing of it counts against the origin, or for the budget."""
    client = await stack.enter_async_context(front.seawall.AsyncClient(retry=None))
    await go_away(client, restarted)
    call = asyncio.create_task(client.get(restarted.url))
    await until(lambda: of(client).awaited_by)
    clock.ahead = 5.0
    with pytest.raises(seawall.DialError, match=r"away for 5.* s, and dialled again in .* s \(.*connection refused"):
        await call
    for _ in range(30):
        with pytest.raises(seawall.DialError) as caught:
            await client.get(restarted.url)
        assert caught.value.is_away
        assert caught.value.retry_at > clock.now() - 0.01
        assert caught.value.attempts[-1].phase is Phase.QUEUED
    assert (of(client).breaker, of(client).budget, held(client.stats())) == ("closed", of(client).max_budget, [])
    await restarted.start()
    clock.ahead = 10.0
    await until(lambda: not client.engine.wire.probers)  # nobody has asked since
    assert (await client.get(restarted.url)).status_code == 200


async def test_call_that_is_told_is_repeated_when_the_origin_is_dialled_next(front, stack, restarted, clock):
    """That takes no budget, because nothing was dialled for it."""
    client = await stack.enter_async_context(front.seawall.AsyncClient(budget=POOR))
    await go_away(client, restarted)
    first = asyncio.create_task(client.get(restarted.url))
    await until(lambda: of(client).awaited_by)
    clock.ahead = 5.0
    with pytest.raises(seawall.DialError):
        await first
    call = asyncio.create_task(client.get(restarted.url))
    await until(lambda: client.stats().totals.attempts["first"] == 3)
    await restarted.start()
    told, good = seawall.history(await call)
    assert (told.error, told.phase, told.dials, good.status) == ("DialError", Phase.QUEUED, (), 200)
    assert (client.stats().totals.attempts["retry"], of(client).budget) == (1, 2)


async def test_call_is_told_within_its_connect_timeout(front, stack, restarted):
    """One allowance for the wait and the dial, and no retry after it."""
    client = await stack.enter_async_context(
        front.seawall.AsyncClient(timeout=httpx.Timeout(5.0, connect=0.05), deadline=None)
    )
    await go_away(client, restarted)
    with pytest.raises(seawall.DialError) as caught:
        await client.get(restarted.url)
    assert caught.value.is_away
    assert len(caught.value.attempts) == 1
    assert "the connect timeout of 0.05 s ends before the origin is dialled again" in caught.value.attempts.note


async def test_deadline_ends_a_wait(front, stack, restarted):
    """And it doesn't count against the origin."""
    client = await stack.enter_async_context(front.seawall.AsyncClient(deadline=0.05))
    await go_away(client, restarted)
    with pytest.raises(seawall.DeadlineExceeded, match="queued"):
        await client.get(restarted.url)
    assert of(client).awaited_by == 0
    assert client.engine.layers.origins[seawall.Origin("http", "127.0.0.1", restarted.port)].trouble == 0.0


async def test_closing_the_client_ends_the_wait(front, stack, restarted):
    """Waiters end with ClientClosed, and the prober with them."""
    client = front.seawall.AsyncClient()
    await go_away(client, restarted)
    calls = [asyncio.create_task(client.get(restarted.url)) for _ in range(5)]
    await until(lambda: of(client).awaited_by == 5)
    await client.aclose()
    assert {type(error).__name__ for error in await asyncio.gather(*calls, return_exceptions=True)} == {"ClientClosed"}
    assert len(client.engine.wire.probers) == 0
    assert held(client.stats()) == []


async def test_one_of_two_addresses_is_up(front, stack, restarted):
    """The origin isn't away, so nobody waits."""
    dns = await stack.enter_async_context(DNSServer({"two.test": Name(a=("127.0.0.2", "127.0.0.1"))}))
    told: list[object] = []
    client = await stack.enter_async_context(
        front.seawall.AsyncClient(
            dns=seawall.DNS(nameservers=(dns.address,)),
            limits=httpx.Limits(max_keepalive_connections=0),
            observers=[told.append],
        )
    )
    for _ in range(4):
        assert (await client.get(f"http://two.test:{restarted.port}/")).status_code == 200
    assert [event for event in told if isinstance(event, OriginAway)] == []


async def test_open_connection_is_used_meanwhile(front, stack, restarted):
    """A server that drains takes no new connection, and answers on those that it has."""
    hold, listening = asyncio.Event(), await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    listening.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while b"/held" not in await reader.readuntil(b"\r\n\r\n") or await hold.wait():
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        except asyncio.IncompleteReadError:
            writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", port)
    client = await stack.enter_async_context(front.seawall.AsyncClient())
    assert (await client.get(f"http://127.0.0.1:{port}/")).status_code == 200
    first = asyncio.create_task(client.get(f"http://127.0.0.1:{port}/held"))
    await until(lambda: of(client).in_flight == 1 and of(client).idle == 0)
    listening.close()
    second = asyncio.create_task(client.get(f"http://127.0.0.1:{port}/"))
    await until(lambda: of(client).awaited_by == 1)
    hold.set()
    assert [(await call).status_code for call in (first, second)] == [200, 200]
    await client.aclose()


async def test_with_tls(front, stack, restarted):
    """The prober makes the handshake too; a connection whose session ticket hasn't been read yet is dialled anew."""
    serving, trusting = contexts()
    await restarted.stop()
    await restarted.start(tls=serving)
    client = await stack.enter_async_context(front.seawall.AsyncClient(verify=trusting))
    url = restarted.url.replace("http:", "https:")
    assert (await client.get(url)).status_code == 200
    await restarted.stop()
    calls = [asyncio.create_task(client.get(url)) for _ in range(5)]
    await until(lambda: of(client).awaited_by == 5)
    await restarted.start(tls=serving)
    attempts = [attempt for response in await asyncio.gather(*calls) for attempt in seawall.history(response)]
    assert [attempt.status for attempt in attempts] == [200] * 5


async def test_tls_that_fails_is_not_waited_for(front, stack, restarted):
    """It takes connections again, so its callers must hear what is wrong with it."""
    serving, trusting = contexts()
    await restarted.stop()
    await restarted.start(tls=serving)
    client = await stack.enter_async_context(front.seawall.AsyncClient(verify=trusting, retry=None))
    url = restarted.url.replace("http:", "https:")
    assert (await client.get(url)).status_code == 200
    await restarted.stop()
    call = asyncio.create_task(client.get(url))
    await until(lambda: of(client).awaited_by)
    await restarted.start(tls=contexts()[0])
    with pytest.raises(seawall.errors.CertificateError):
        await call


async def test_over_http2(front, stack, restarted):
    """All that waited share the prober's connection."""
    connections: list[Peer] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(reader, writer)
        connections.append(peer)
        try:
            await reader.readexactly(24)
            peer.send(SettingsFrame(0, settings={3: 100}))
            while True:
                peer.send(peer.head(await peer.request(), is_end=True))
        except (asyncio.IncompleteReadError, OSError):
            writer.close()

    await restarted.stop()
    listening = await asyncio.start_server(serve, "127.0.0.1", restarted.port)
    client = await stack.enter_async_context(front.seawall.AsyncClient(http1=False, http2=True))
    assert (await client.get(restarted.url)).status_code == 200
    listening.close()
    connections.pop().writer.close()
    await until(lambda: not client.stats().connections)
    calls = [asyncio.create_task(client.get(restarted.url)) for _ in range(40)]
    await until(lambda: of(client).awaited_by == 40)
    listening = await asyncio.start_server(serve, "127.0.0.1", restarted.port)
    assert [response.status_code for response in await asyncio.gather(*calls)] == [200] * 40
    assert len(connections) == 1
    await client.aclose()
    listening.close()


async def test_cancelled_waiter_leaves(front, stack, restarted):
    """At every await of the wait; the client works afterwards."""
    client = await stack.enter_async_context(front.seawall.AsyncClient(timeout=httpx.Timeout(5.0, connect=0.005)))
    await go_away(client, restarted)

    async def call() -> None:
        with pytest.raises(seawall.DialError):
            await client.get(restarted.url)

    def assert_clean() -> None:
        assert (held(client.stats()), of(client).awaited_by) == ([], 0)

    await cancel_everywhere(call, after=assert_clean, max_points=1_000_000)
    await restarted.start()
    await until(lambda: not client.engine.wire.probers)
    assert (await client.get(restarted.url, timeout=5.0)).status_code == 200


async def cut_off(client: seawall.AsyncClient, restarted: Restarted, method: str, number: int) -> list[asyncio.Task]:
    """So many calls, which the server had received before it stopped."""
    received: list[Request] = []

    async def hang(request: Request) -> None:
        received.append(request)
        await request.hang()

    assert (await client.get(restarted.url)).status_code == 200
    await restarted.stop()
    await restarted.start(hang)
    calls = [asyncio.create_task(client.request(method, restarted.url)) for _ in range(number)]
    await until(lambda: len(received) == number)
    await restarted.stop()
    return calls


async def test_calls_that_a_restart_cut_off_take_no_budget(front, stack, restarted):
    """They are repeated where that is safe, however many there are, and count as attempts."""
    client = await stack.enter_async_context(front.seawall.AsyncClient(budget=POOR))
    calls = await cut_off(client, restarted, "GET", 30)
    await until(lambda: of(client).awaited_by == 30)
    assert of(client).budget == 2
    await restarted.start()
    responses = await asyncio.gather(*calls)
    assert [response.status_code for response in responses] == [200] * 30
    assert {len(seawall.history(response)) for response in responses} == {2}
    assert (of(client).budget, held(client.stats())) == (2, [])


async def test_what_may_have_been_done_is_not_repeated(front, stack, restarted):
    """A POST that the restart cut off ends with its own error."""
    client = await stack.enter_async_context(front.seawall.AsyncClient())
    (call,) = await cut_off(client, restarted, "POST", 1)
    with pytest.raises(seawall.WireError):
        await call
    assert len(restarted.server.requests) == 1


async def test_restart_that_cuts_many_off_doesn_t_open_the_breaker(front, stack, restarted):
    """The calls after it wait, and are good; the breaker would refuse them for a second."""
    client = await stack.enter_async_context(front.seawall.AsyncClient())
    calls = await cut_off(client, restarted, "POST", 40)
    assert all(isinstance(each, seawall.WireError) for each in await asyncio.gather(*calls, return_exceptions=True))
    await until(lambda: of(client).away_for)
    assert of(client).breaker == "closed"
    later = [asyncio.create_task(client.post(restarted.url)) for _ in range(40)]
    await until(lambda: of(client).awaited_by == 40)
    await restarted.start()
    assert [response.status_code for response in await asyncio.gather(*later)] == [200] * 40


async def test_cut_without_a_restart_takes_budget(front, stack, restarted):
    """The server still takes connections, so nothing says that it restarts."""

    async def reset(request: Request) -> None:
        request.reset()

    client = await stack.enter_async_context(front.seawall.AsyncClient(budget=POOR))
    assert (await client.get(restarted.url)).status_code == 200
    await restarted.stop()
    await restarted.start(reset)
    calls = await asyncio.gather(*(client.get(restarted.url) for _ in range(10)), return_exceptions=True)
    assert all(isinstance(each, seawall.WireError) for each in calls)
    assert client.stats().totals.denied["budget"] > 0
    assert (of(client).budget, of(client).away_for) == (0, 0.0)


async def test_gateway_that_ends_while_its_server_is_away(front, stack):
    """It answered 502, and then refuses dials: the calls that waited for the one wait for the other."""
    told: list[object] = []
    restarted = Restarted(stack)

    async def lost(request: Request) -> None:
        await request.reply(200 if len(restarted.server.requests) == 1 else 502)

    await restarted.start(lost)
    client = await stack.enter_async_context(
        front.seawall.AsyncClient(observers=[told.append], retry=None, breaker=None)
    )
    await client.get(restarted.url)
    while not of(client).away_for:
        await client.get(restarted.url)
    calls = [asyncio.create_task(client.post(restarted.url)) for _ in range(10)]
    await until(lambda: of(client).awaited_by == 10)
    await restarted.stop()
    await until(lambda: len([event for event in told if isinstance(event, OriginAway)]) == 2)
    await restarted.start()
    assert [response.status_code for response in await asyncio.gather(*calls)] == [200] * 10
    moves = [event for event in told if isinstance(event, OriginAway | OriginBack)]
    assert [type(move) for move in moves] == [OriginAway, OriginBack] * 2
    assert moves[0].reason.endswith("requests in a row with 502")
    assert "connection refused" in moves[2].reason
    assert (of(client).away_for, of(client).awaited_by, held(client.stats())) == (0.0, 0, [])
