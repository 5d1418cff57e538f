"""What these tests have in common: a server of names, and a Redis of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from benchmarks.reality.place import Place, Places, Program
from benchmarks.shared import redis_server
from redis.asyncio import Redis as Client

from tests.wire.conftest import client, dns, serve, stack

__all__ = ["client", "dns", "serve", "stack"]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with Places(tmp_path).place(0) as place:
        yield place


@pytest.fixture
def port(place: Place) -> int:
    return place.port()


@pytest.fixture
def server(place: Place, port: int) -> Program:
    return redis_server(place, port)


@pytest.fixture
def url(place: Place, port: int) -> str:
    return f"redis://{place.address}:{port}"


@pytest.fixture
async def raw(server: Program, url: str) -> AsyncIterator[Any]:
    async with Client.from_url(url, decode_responses=True) as client:
        yield client
