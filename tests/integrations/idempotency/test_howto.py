"""The how-to's services do what the page says, each over its own database."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from tests.interop.servers import aiohttp_app

pytestmark = pytest.mark.anyio

PAGE = (Path(__file__).parents[3] / "docs/howto/idempotency.md").read_text()
KEY = {"Idempotency-Key": '"k"', "Authorization": "Bearer me"}


def example(word: str) -> dict[str, Any]:
    """What the one example with *word* in it defines."""
    (code,) = [code for code in re.findall(r"```python\n(.*?)```", PAGE, re.S) if word in code]
    names: dict[str, Any] = {"__name__": "example"}
    exec(compile(code, "example", "exec"), names)
    return names


async def answers(client: httpx.AsyncClient) -> list[httpx.Response]:
    """Of an order, its repeat, and one without a key."""
    return [await client.post("/orders", json={"item": "tea"}, headers=headers) for headers in (KEY, KEY, {})]


async def test_with_sqlite(tmp_path, monkeypatch):
    """The repeat gets the answer of the first, and a key is required."""
    monkeypatch.chdir(tmp_path)
    service = example('SQLite("keys.db")')
    async with httpx.AsyncClient(transport=httpx.ASGITransport(service["app"]), base_url="http://test") as client:
        first, again, without = await answers(client)
    await service["store"].aclose()
    assert (first.status_code, first.json()) == (again.status_code, again.json()) == (201, {"item": "tea"})
    assert without.status_code == 400


async def test_with_postgresql(postgres_socket, monkeypatch):
    """Two requests, one row."""
    for name, value in {"PGHOST": postgres_socket, "PGUSER": "postgres", "PGDATABASE": "postgres"}.items():
        monkeypatch.setenv(name, value)
    connection = await asyncpg.connect()
    await connection.execute("DROP TABLE IF EXISTS orders, seawall_idempotency")
    await connection.execute("CREATE TABLE orders (id serial PRIMARY KEY, item text NOT NULL)")
    app = example("asyncpg.create_pool()")["app"]
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client,
    ):
        first, again, without = await answers(client)
    assert (first.status_code, first.json()) == (again.status_code, again.json()) == (201, {"id": 1})
    assert without.status_code == 400
    assert await connection.fetchval("SELECT count(*) FROM orders") == 1
    await connection.close()


async def test_with_aiohttp(tmp_path, monkeypatch):
    """The same, with the row in SQLite's file."""
    monkeypatch.chdir(tmp_path)
    with closing(sqlite3.connect("orders.db")) as database:
        database.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, item TEXT NOT NULL)")
    service = example("idempotency_middleware(store")
    async with (
        aiohttp_app(service["app"]) as url,
        httpx.AsyncClient(base_url=url) as client,
    ):
        first, again, without = await answers(client)
    assert (first.status_code, first.json()) == (again.status_code, again.json()) == (201, {"id": 1})
    assert without.status_code == 400
    await service["store"].aclose()
    with closing(sqlite3.connect("orders.db")) as database:
        assert database.execute("SELECT item FROM orders").fetchall() == [("tea",)]
