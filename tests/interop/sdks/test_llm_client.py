"""What `llm_client` sets, over both libraries and without an SDK."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import seawall
from seawall.testing import FixedRandom, Request, Server
from tests.fronts import Front

from .answers import BUSY, cut, says, wait
from .conftest import Serve
from .contract import collect

HELLO = says({"text": "hello"})


@pytest.mark.anyio
async def test_sets_what_the_sdks_own_clients_do(lib: Front) -> None:
    """Timeouts, connections and redirects are those of the clients that openai and anthropic make."""
    async with lib.seawall.llm_client() as client:
        assert isinstance(client, lib.seawall.AsyncClient)
        assert client.timeout == lib.httpx.Timeout(600.0, connect=5.0)
        assert client.follow_redirects
        assert client.stats().max_connections == 1000


@pytest.mark.anyio
async def test_each_argument_takes_the_place_of_ours(lib: Front, serve: Serve) -> None:
    """A timeout, or a policy that repeats no POST; what isn't given stays."""
    server = await serve(BUSY)
    async with lib.seawall.llm_client(timeout=3.0, retry=seawall.Retry()) as client:
        assert client.timeout == lib.httpx.Timeout(3.0)
        assert client.follow_redirects
        assert (await client.post(server.url)).status_code == 503
    assert len(server.requests) == 1


@pytest.mark.anyio
async def test_shares_an_engine(lib: Front, serve: Serve) -> None:
    """Then, and over a transport of ours, what isn't the client's own comes from there."""
    server = await serve(HELLO)
    async with lib.seawall.Engine(deadline=9.0) as engine:
        transport = lib.seawall.AsyncTransport(engine=engine)
        for client in (lib.seawall.llm_client(engine=engine), lib.seawall.llm_client(transport=transport)):
            assert (client.engine, client.timeout.read, client.follow_redirects) == (engine, 600.0, True)
            assert (await client.get(server.url)).status_code == 200


@pytest.mark.anyio
async def test_knows_its_arguments(lib: Front) -> None:
    """A misspelt one is an error that names the right one."""
    with pytest.raises(TypeError, match="did you mean 'timeout'"):
        lib.seawall.llm_client(timout=3.0)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("status", "said", "count"),
    [(200, "true", 1), (503, "false", 1), (400, "true", 3), (503, "maybe", 3), (400, "maybe", 1)],
)
async def test_x_should_retry_decides(lib: Front, serve: Serve, status: int, said: str, count: int) -> None:
    """The server's word goes before a bad status, never a good one; another word than true and false says nothing."""
    server = await serve(says({}, status=status, x_should_retry=said))
    async with lib.seawall.llm_client(rng=FixedRandom(0.0)) as client:
        assert (await client.post(server.url)).status_code == status
    assert len(server.requests) == count


@pytest.mark.anyio
@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE"])
@pytest.mark.parametrize("status", [408, 409, 500, 501, 529])
async def test_what_the_sdks_repeat_is_repeated(lib: Front, serve: Serve, method: str, status: int) -> None:
    """Any method, after the statuses at which openai, anthropic and groq try again."""
    server = await serve(says({}, status=status), HELLO)
    async with lib.seawall.llm_client(rng=FixedRandom(0.0)) as client:
        assert (await client.request(method, server.url)).json() == {"text": "hello"}
    assert len(server.requests) == 2


@pytest.mark.anyio
async def test_every_call_of_a_burst_may_try_again(lib: Front, serve: Serve) -> None:
    """A rate limit refuses 100 calls at once, more than the default budget has tokens for; all are answered."""
    server = await serve(*[wait(1)] * 100, HELLO)
    async with lib.seawall.llm_client(rng=FixedRandom(0.0)) as client:
        answers = await asyncio.gather(*(client.post(server.url) for _ in range(100)))
    assert {answer.status_code for answer in answers} == {200}


@pytest.mark.anyio
async def test_long_calls_dont_queue(lib: Front) -> None:
    """A hundred are in flight at once, although each would hold one of the default 64 permits."""
    everyone = asyncio.Barrier(100)

    async def last_to_come(request: Request) -> None:
        await everyone.wait()
        await request.reply()

    async with Server(last_to_come) as server, lib.seawall.llm_client(timeout=5.0) as client:
        await asyncio.gather(*(client.post(server.url) for _ in range(100)))


@pytest.mark.anyio
async def test_a_longer_wait_than_a_minute_is_the_callers(lib: Front, serve: Serve) -> None:
    """The answer comes now, with what the server asks for on it."""
    server = await serve(wait(61_000))
    async with lib.seawall.llm_client() as client:
        answer = await client.post(server.url)
    assert answer.status_code == 429
    assert answer.extensions["seawall"].retry_after == 61.0
    assert len(server.requests) == 1


@pytest.mark.anyio
async def test_a_cut_stream_has_its_history(lib: Front, serve: Serve) -> None:
    """The error of a stream shows the call's attempts, and how much had come."""
    server = await serve(BUSY, cut("data: a\n\n"))
    lines: list[str] = []
    async with (
        lib.seawall.llm_client(rng=FixedRandom(0.0)) as client,
        client.stream("POST", server.url) as answer,
    ):
        with pytest.raises(lib.httpx.RemoteProtocolError) as caught:
            await collect(lines, answer.aiter_lines())
    error: Any = caught.value
    assert lines == ["data: a", ""]
    assert [attempt.outcome for attempt in error.attempts] == ["503", "200"]
    assert error.received == len("data: a\n\n")
    assert any("2 attempts" in note for note in error.__notes__)
    assert len(server.requests) == 2
