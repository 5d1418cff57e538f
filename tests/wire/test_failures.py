"""What a request meets on the way, and what becomes of it: counted at the server, on real sockets."""

from __future__ import annotations

import asyncio
import socket
import uuid

import httpx
import pytest

import seawall
from seawall.testing import Request
from seawall.testing.dns import DNSServer, Name

pytestmark = pytest.mark.anyio

LONG = b"x" * 1000
CUT = b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n" + b"x" * 10


def free_port() -> int:
    """A port where nothing listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def in_turn(*steps):
    """A handler whose n-th request gets the n-th step; the last repeats."""
    left = list(steps)

    async def handler(request: Request) -> None:
        await (left.pop(0) if len(left) > 1 else left[0])(request)

    return handler


async def ok(request: Request) -> None:
    await request.reply(body=LONG)


async def cut(request: Request) -> None:
    await request.send(CUT)
    request.close()


async def reset(request: Request) -> None:
    request.reset()


async def hang(request: Request) -> None:
    await request.hang()


async def busy(request: Request) -> None:
    await request.reply(503, b"busy")


async def test_body_cut_in_the_middle_is_retried(client, serve):
    """A buffered call gets the whole body, though its first answer broke off."""
    server = await serve(in_turn(cut, ok))
    response = await client.get(server.url)
    assert response.content == LONG
    assert [attempt.outcome for attempt in response.extensions["seawall"]] == ["BadAnswer", "200"]
    assert len(server.requests) == 2


async def test_streamed_body_cut_in_the_middle_is_the_readers(client, serve):
    """What was handed out can't be taken back: no retry, httpx's error, and the permit is back."""
    server = await serve(in_turn(cut, ok))
    with pytest.raises(httpx.RemoteProtocolError) as caught:
        async with client.stream("GET", server.url) as response:
            await response.aread()
    assert isinstance(caught.value, seawall.errors.BadAnswer)
    assert [state.in_flight for state in client.stats().origins.values()] == [0]
    assert len(server.requests) == 1


@pytest.mark.parametrize("step", [reset, cut, hang, busy], ids=lambda step: step.__name__)
async def test_post_that_was_sent_is_sent_once(client, serve, step):
    """Whatever happens after its first byte left, a POST is never repeated."""
    server = await serve(step)
    try:
        await client.post(server.url, content=b"order", timeout=httpx.Timeout(5, read=0.2))
    except httpx.TransportError:
        pass
    assert len(server.requests) == 1


@pytest.mark.parametrize("step", [reset, cut, busy], ids=lambda step: step.__name__)
async def test_post_with_a_key_is_repeated_whole(client, serve, step):
    """An Idempotency-Key makes a POST repeatable; each attempt carries the same body and key."""
    server = await serve(in_turn(step, ok))
    response = await client.post(server.url, content=b"order", headers={"Idempotency-Key": '"1"'})
    assert response.status_code == 200
    assert [(r.body, r.headers["idempotency-key"]) for r in server.requests] == [(b"order", '"1"')] * 2


async def test_keys_are_made_where_asked_for(stack, serve):
    """One a call, kept over its attempts, as a quoted string; none for what is idempotent, or has its own."""
    server = await serve(in_turn(reset, ok))
    retry = seawall.Retry(backoff=0, idempotency_key=True)
    client = await stack.enter_async_context(seawall.AsyncClient(retry=retry))
    response = await client.post(server.url, content=b"order")
    await client.post(server.url, content=b"order")
    await client.post(server.url, content=b"order", headers={"Idempotency-Key": '"mine"'})
    await client.put(server.url, content=b"order")
    keys = [request.headers.get("idempotency-key") for request in server.requests]
    assert keys[0] == keys[1] == response.extensions["seawall"].idempotency_key != keys[2]
    assert "idempotency-key" not in response.request.headers
    assert str(uuid.UUID(keys[0].strip('"'))) == keys[0].strip('"')
    assert keys[3:] == ['"mine"', None]


async def test_post_to_a_refused_port_is_retried(client):
    """Nothing was sent, so the method doesn't matter."""
    with pytest.raises(httpx.ConnectError) as caught:
        await client.post(f"http://127.0.0.1:{free_port()}", content=b"order")
    assert isinstance(caught.value, seawall.DialError)
    assert [attempt.phase for attempt in caught.value.attempts] == [seawall.events.Phase.CONNECTING] * 3
    assert isinstance(caught.value.__cause__, ConnectionRefusedError)


async def test_429_is_retried_whatever_the_method(client, serve):
    """It was rejected up front."""

    async def limited(request: Request) -> None:
        await request.reply(429, retry_after="0")

    server = await serve(in_turn(limited, ok))
    assert (await client.post(server.url)).status_code == 200


async def test_one_shot_body_that_was_begun_is_not_sent_again(client, serve):
    """An async iterator can't be rewound: the real answer comes back, and no half body is sent."""

    async def body():
        yield b"some"
        yield b"thing"

    server = await serve(in_turn(busy, ok))
    response = await client.put(server.url, content=body())
    assert response.status_code == 503
    assert [request.body for request in server.requests] == [b"something"]
    assert "seawall.replayable" in response.extensions["seawall"].note


async def test_one_shot_body_that_was_not_touched_is_sent(client, dns, serve):
    """A connection that was refused took nothing of it."""
    server = await serve(ok, host="127.0.0.2")
    dns.zone["two.test"] = Name(a=("127.0.0.2",))

    async def body():
        yield b"something"

    response = await client.put(f"http://two.test:{server.port}", content=body())
    assert response.status_code == 200


async def test_slow_drip_ends_at_its_deadline(client, serve):
    """Ten bytes a second for twenty seconds keep every read timeout happy; the deadline isn't."""

    async def drip(request: Request) -> None:
        await request.send(b"HTTP/1.1 200 OK\r\ncontent-length: 200\r\n\r\n")
        for _ in range(200):
            await request.send(b"x")
            await asyncio.sleep(0.1)

    server = await serve(drip)
    loop = asyncio.get_running_loop()
    started_at = loop.time()
    with pytest.raises(httpx.TimeoutException) as caught:
        await client.get(server.url, extensions=seawall.options(deadline=0.5))
    assert isinstance(caught.value, seawall.DeadlineExceeded)
    assert 0.5 <= loop.time() - started_at < 10.0  # of twenty
    assert "0.5 s exceeded" in str(caught.value)
    assert client.stats().origins[caught.value.origin].in_flight == 0


async def test_slow_redirects_end_at_the_calls_deadline(stack, dns, serve):
    """Five hops of 0.4 s each are one call, and it has 1 s."""

    async def slow(request: Request) -> None:
        await asyncio.sleep(0.4)
        await request.reply(302, location=f"/{int(request.target[1:]) + 1}")

    server = await serve(slow)
    client = await stack.enter_async_context(seawall.AsyncClient(deadline=1.0, follow_redirects=True))
    with pytest.raises(seawall.DeadlineExceeded) as caught:
        await client.get(f"{server.url}/0")
    assert caught.value.elapsed >= 1.0
    assert len(caught.value.attempts) <= 3


async def test_deadline_of_a_task_bounds_its_calls(client, serve):
    """The block's deadline holds for children too, and the earlier of two wins."""
    server = await serve(hang)
    with seawall.deadline(5.0), seawall.deadline(0.2):
        results = await asyncio.gather(*(client.get(server.url) for _ in range(5)), return_exceptions=True)
    assert [type(result) for result in results] == [type(results[0])] * 5
    assert isinstance(results[0], seawall.DeadlineExceeded)


async def test_hanging_upstream_leaves_others_alone(client, serve):
    """One of ten upstreams never answers; every call to the nine is good."""
    hanging = await serve(hang)
    healthy = [await serve(ok) for _ in range(9)]
    lost = [asyncio.create_task(client.get(hanging.url)) for _ in range(200)]
    await asyncio.sleep(0)
    responses = await asyncio.gather(*(client.get(server.url) for server in healthy for _ in range(50)))
    assert [response.status_code for response in responses] == [200] * 450
    assert hanging.peak <= 64
    for task in lost:
        task.cancel()
    await asyncio.gather(*lost, return_exceptions=True)


async def test_dead_names_leave_others_alone(stack, dns: DNSServer, serve):
    """200 names whose server is silent, and one good host: it answers while they still wait."""
    server = await serve(ok)
    patient = seawall.DNS(nameservers=(dns.address,), timeout=600)
    client = await stack.enter_async_context(seawall.AsyncClient(dns=patient, timeout=600))
    for number in range(200):
        dns.zone[f"dead-{number}.test"] = Name(drop=-1)
    dead = [asyncio.create_task(client.get(f"http://dead-{number}.test/")) for number in range(200)]
    while dns.queries.total() < 2 * 200:
        await asyncio.sleep(0)
    assert (await client.get(f"http://good.test:{server.port}")).status_code == 200
    assert not any(task.done() for task in dead)
    for task in dead:
        task.cancel()
    await asyncio.gather(*dead, return_exceptions=True)


async def test_stray_bytes_never_reach_the_next_request(client, serve):
    """A second answer that nobody asked for, at once or later: the connection is not used again."""
    stray = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nstray"

    async def poison(request: Request) -> None:
        await request.send(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ngood" + stray)

    server = await serve(poison)
    bodies = [(await client.get(server.url)).text for _ in range(3)]
    assert bodies == ["good"] * 3
    assert server.connections == 3


async def test_connection_is_used_again(client, serve):
    """Also after a retried answer, which is drained first."""
    server = await serve(in_turn(busy, ok))
    await client.get(server.url, extensions=seawall.options(retry=seawall.Retry(throttled_backoff=0)))
    await client.get(server.url)
    assert (server.connections, len(server.requests)) == (1, 3)


async def test_permit_is_held_until_the_body_is_closed(stack, serve):
    """A streamed response counts as in flight, and a call that finds no permit in time says so."""
    server = await serve(ok)
    client = await stack.enter_async_context(seawall.AsyncClient(bulkhead=seawall.Bulkhead(max_concurrent=1)))
    async with client.stream("GET", server.url):
        with pytest.raises(httpx.PoolTimeout) as caught:
            await client.get(server.url, timeout=httpx.Timeout(5, pool=0.05))
        assert isinstance(caught.value, seawall.BulkheadFull)
        assert "Bulkhead.max_concurrent" in str(caught.value)
    assert (await client.get(server.url)).status_code == 200
    assert len(server.requests) == 2


async def test_closing_with_calls_in_flight(dns, serve):
    """aclose() is done within a second, and every call ends with an error that says why."""
    server = await serve(hang)
    client = seawall.AsyncClient()
    calls = [asyncio.create_task(client.get(server.url)) for _ in range(100)]
    while len(server.requests) < 64:  # the others wait for a permit
        await asyncio.sleep(0)
    async with asyncio.timeout(1.0):
        await client.aclose()
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(result, seawall.ClientClosed) for result in results)
    assert client.stats().connections == 0
    with pytest.raises(RuntimeError):
        await client.get(server.url)


@pytest.mark.parametrize(
    ("answer", "error", "ours"),
    [
        (b"", httpx.RemoteProtocolError, seawall.errors.BadAnswer),
        (b"nonsense\r\n\r\n", httpx.RemoteProtocolError, seawall.errors.BadAnswer),
        (b"HTTP/1.1 200 OK\r\nconte", httpx.RemoteProtocolError, seawall.errors.BadAnswer),
        (CUT, httpx.RemoteProtocolError, seawall.errors.BadAnswer),
    ],
    ids=["nothing", "nonsense", "cut headers", "cut body"],
)
async def test_bad_answers_are_of_httpx_class_too(client, serve, answer, error, ours):
    """Callers catch what they catch today."""

    async def bad(request: Request) -> None:
        await request.send(answer)
        request.close()

    server = await serve(bad)
    with pytest.raises(error) as caught:
        await client.get(server.url, extensions=seawall.options(retry=None))
    assert isinstance(caught.value, ours)
    assert caught.value.request.url == server.url
    assert str(server.port) in str(caught.value)


async def test_timeouts_are_of_httpx_class_too(client, serve):
    """Read, write."""
    server = await serve(hang)
    with pytest.raises(httpx.ReadTimeout):
        await client.get(server.url, timeout=httpx.Timeout(5, read=0.05), extensions=seawall.options(retry=None))

    with socket.create_server(("127.0.0.1", 0)) as silent:  # nobody accepts, nobody reads
        body, timeout = b"x" * 50_000_000, httpx.Timeout(5, write=0.1)
        with pytest.raises(httpx.WriteTimeout):
            await client.post(f"http://127.0.0.1:{silent.getsockname()[1]}", content=body, timeout=timeout)


async def test_client_wide_cap(stack, serve):
    """Two connections at most, five origins, 100 calls: all good; idle connections give way."""
    servers = [await serve(ok) for _ in range(5)]
    client = await stack.enter_async_context(seawall.AsyncClient(limits=httpx.Limits(max_connections=2), deadline=None))
    calls = [client.get(server.url, timeout=30) for _ in range(20) for server in servers]
    responses = await asyncio.gather(*calls)
    assert {response.status_code for response in responses} == {200}
    assert client.stats().connections <= 2
    assert max(server.peak for server in servers) <= 2


async def test_cap_that_is_used_up(stack, serve):
    """A hanging origin holds the only slot: another waits for the pool timeout, and is told which setting it is."""
    hanging, healthy = await serve(hang), await serve(ok)
    client = await stack.enter_async_context(seawall.AsyncClient(limits=httpx.Limits(max_connections=1)))
    lost = asyncio.create_task(client.get(hanging.url))
    while not hanging.requests:
        await asyncio.sleep(0)
    with pytest.raises(httpx.PoolTimeout, match=r"Limits\.max_connections"):
        await client.get(healthy.url, timeout=httpx.Timeout(5, pool=0.05))
    lost.cancel()
    await asyncio.gather(lost, return_exceptions=True)
    assert (await client.get(healthy.url)).status_code == 200


async def stale(request: Request) -> None:
    """Good on a connection's first request; closes at its second."""
    if request.number > 1:
        request.close()
    else:
        await request.reply()


async def test_stale_connection_is_no_failure(client, serve):
    """The server closed an idle connection just as it was used: sent again at once, without a delay."""
    server = await serve(stale)
    await client.get(server.url)
    response = await client.get(server.url)
    assert [(a.outcome, a.is_reused, a.delay) for a in response.extensions["seawall"]] == [
        ("BadAnswer", True, 0.0),
        ("200", False, 0.0),
    ]


async def test_stale_connection_is_the_posts_risk(client, serve):
    """It may have been read: a POST is not sent again."""
    server = await serve(stale)
    await client.get(server.url)
    with pytest.raises(httpx.RemoteProtocolError) as caught:
        await client.post(server.url)
    assert caught.value.is_stale
    assert len(server.requests) == 2


async def test_closing_twice_at_once(serve):
    """Both are done at once, whichever came first."""
    server = await serve(hang)
    client = seawall.AsyncClient()
    call = asyncio.create_task(client.get(server.url))
    while not server.requests:
        await asyncio.sleep(0)
    async with asyncio.timeout(0.9):
        await asyncio.gather(client.aclose(), client.aclose())
    with pytest.raises(seawall.ClientClosed):
        await call


async def test_stream_left_open_when_the_client_closes(serve):
    """Its reader gets an error that says so, and its permit is back."""

    async def endless(request: Request) -> None:
        await request.send(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n" + LONG)
        await request.hang()

    server = await serve(endless)
    client = seawall.AsyncClient()
    async with client.stream("GET", server.url) as response:
        await client.aclose()
        with pytest.raises(httpx.ReadError, match="closed on this side"):
            await response.aread()
    assert client.stats().connections == 0
    assert [state.in_flight for state in client.stats().origins.values()] == [0]
