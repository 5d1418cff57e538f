"""Streamed bodies that came whole with their heads: they hold nothing that another call could use."""

from __future__ import annotations

import gzip

import httpx
import pytest

import seawall
from seawall.events import BodyEnded
from seawall.testing import Request

pytestmark = pytest.mark.anyio

LONG = b"x" * 1000


async def by_path(request: Request) -> None:
    """Its own path is what it gets."""
    await request.reply(body=request.path.encode() * 100)


async def test_body_that_came_with_its_head_holds_nothing(serve):
    """Neither permit nor connection, though its reader has it open; and each reader gets its own bytes."""
    server = await serve(by_path)
    async with seawall.AsyncClient(bulkhead=seawall.Bulkhead(max_concurrent=1, max_waiting=0)) as client:
        async with client.stream("GET", f"{server.url}/a") as first, client.stream("GET", f"{server.url}/b") as second:
            (origin,) = client.stats().origins.values()
            assert (origin.in_flight, client.stats().connections) == (0, 1)
            assert (await client.get(f"{server.url}/c")).content == b"/c" * 100
            assert not first.is_closed
            assert b"".join([part async for part in first.aiter_raw()]) == b"/a" * 100
            assert await second.aread() == b"/b" * 100
        assert first.is_closed
        assert second.elapsed.total_seconds() > 0
    assert server.connections == 1


async def test_body_that_came_with_its_head_and_is_not_read(serve):
    """Its connection is kept, which httpx closes."""
    server = await serve(by_path)
    async with seawall.AsyncClient() as client:
        for _ in range(3):
            async with client.stream("GET", server.url) as response:
                assert response.status_code == 200
            assert response.is_closed
            with pytest.raises(httpx.StreamClosed):
                await response.aread()
    assert server.connections == 1


@pytest.mark.parametrize(
    ("reply", "arguments"),
    [
        pytest.param((200, gzip.compress(LONG), {"content-encoding": "gzip"}), {}, id="coded"),
        pytest.param((200, LONG), {"max_response_size": 2000}, id="limited"),
    ],
)
async def test_body_that_is_looked_at_part_by_part(serve, reply, arguments):
    """A compressed one, which may grow, and one whose size is limited, hold their permit until they are closed."""

    async def handler(request: Request) -> None:
        await request.reply(*reply)

    server = await serve(handler)
    async with seawall.AsyncClient(**arguments) as client:
        async with client.stream("GET", server.url) as response:
            (origin,) = client.stats().origins.values()
            assert origin.in_flight == 1
            assert await response.aread() == LONG
        (origin,) = client.stats().origins.values()
        assert origin.in_flight == 0


async def test_observers_hear_of_it_once(serve):
    """Once per response that a caller gets: not of one that was retried."""
    told: list[BodyEnded] = []
    statuses = [503, 200]

    async def handler(request: Request) -> None:
        await request.reply(statuses.pop(0), LONG)

    def observer(event: object) -> None:
        if isinstance(event, BodyEnded):
            told.append(event)

    server = await serve(handler)
    retry = seawall.Retry(throttled_backoff=0)
    async with seawall.AsyncClient(retry=retry, observers=[observer]) as client:
        async with client.stream("GET", server.url) as response:
            assert [(event.number, event.outcome) for event in told] == [(2, "complete")]
            assert await response.aread() == LONG
        assert len(told) == 1
        assert client.engine.layers.in_flight.bodies == 0
