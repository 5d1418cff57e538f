"""Orders under resets, lost answers and SIGKILLs of their server: how many rows they make. One each is exact."""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final, Literal

import asyncpg
import fastapi
import httpx
import uvicorn

import seawall
from seawall.integrations.idempotency import IdempotencyMiddleware, SQLite
from seawall.integrations.idempotency.postgres import PostgreSQL
from seawall.testing.network import Network, toxic
from seawall.testing.network.flow import Toxic

from . import databases
from .machine import conditions

__all__ = ["Report", "run"]

IN_FLIGHT = 32
TIMEOUT, DEADLINE = 1.0, 300.0  # s
LOCK_TTL = 2.0  # s; longer than a handler takes, and short, because orders of a killed server wait for it
TABLE = "CREATE TABLE IF NOT EXISTS orders (id {} PRIMARY KEY, item TEXT NOT NULL)"
# Shares of all connections, because each attempt has its own. A lost answer comes after the row was written, a lost
# request before.
FAULTS: Final[tuple[tuple[Toxic, Literal["up", "down"], float], ...]] = (
    (toxic.Reset(), "up", 0.04),
    (toxic.Reset(), "down", 0.08),
    (toxic.Limit(60), "down", 0.04),
    (toxic.Timeout(), "down", 0.03),
)


@dataclass
class Report:
    """
    How it went.

    Attributes:
        rows: How often each item was ordered, by the database.
        wrong: Orders whose answer isn't their row.
    """

    orders: int
    rows: Counter[str] = field(default_factory=Counter)
    attempts: int = 0
    kills: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def is_exact(self) -> bool:
        return len(self.rows) == self.rows.total() == self.orders and not self.wrong

    def __str__(self) -> str:
        ends = ", ".join(f"{name} {count}" for name, count in self.ends.most_common())
        return (
            f"{self.orders} orders made {self.rows.total()} rows for {len(self.rows)} items; "
            f"{len(self.wrong)} had another answer than their row; "
            f"{self.attempts} attempts, {self.kills} kills, {self.seconds:.1f} s\nattempts ended: {ends}"
        )


async def run(orders: int, kills: int, place: str, seed: int = 1) -> Report:
    """
    Send *orders*, kill the server *kills* times among them, and count.

    Args:
        place: A file of SQLite's, or the folder of PostgreSQL's socket.
    """
    report, rng = Report(orders), Random(seed)
    items = [f"item-{number}" for number in range(orders)]
    ids: dict[str, int] = {}
    began_at = time.perf_counter()
    retry = seawall.Retry(max_attempts=10_000, idempotency_key=True, backoff=0.05, max_backoff=0.5)
    with _servers(place) as (port, restart):
        async with (
            Network(rng=rng) as network,
            seawall.AsyncClient(
                timeout=TIMEOUT,
                deadline=DEADLINE,
                retry=retry,
                breaker=None,
                bulkhead=None,
                budget=None,
                limits=httpx.Limits(max_connections=IN_FLIGHT, max_keepalive_connections=0),
            ) as client,
        ):
            link = network.link(("127.0.0.1", port))
            for fault, direction, toxicity in FAULTS:
                link.add(fault, direction=direction, toxicity=toxicity)
            left = iter(items)

            async def worker() -> None:
                for item in left:
                    response = await client.post(f"{link.url}/orders", json={"item": item})
                    history = seawall.history(response)
                    report.attempts += len(history.attempts)
                    report.ends.update(str(each.error or each.status) for each in history.attempts)
                    ids[item] = response.json()["id"] if response.status_code == 201 else -response.status_code
                    if len(ids) % (orders // (kills + 1)) == 0 and report.kills < kills:
                        restart()  # other workers' orders are at every point of their way
                        report.kills += 1

            await asyncio.gather(*(worker() for _ in range(IN_FLIGHT)))
    rows = await _rows(place)
    report.rows = Counter(item for _, item in rows)
    made = {item: number for number, item in rows}
    report.wrong = [item for item in items if made.get(item) != ids[item]]
    report.seconds = time.perf_counter() - began_at
    return report


@contextmanager
def _servers(place: str) -> Iterator[tuple[int, Callable[[], None]]]:
    """The port of a server, and what kills it and starts the next. Meanwhile dials wait, as systemd has them."""
    code = "import sys; from benchmarks.orders import serve; serve(int(sys.argv[1]), sys.argv[2])"
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listener:

        def start() -> subprocess.Popen[bytes]:
            fd = listener.fileno()
            return subprocess.Popen([sys.executable, "-c", code, str(fd), place], pass_fds=[fd])

        process = start()

        def restart() -> None:
            nonlocal process
            process.kill()
            process.wait()
            process = start()

        try:
            yield listener.getsockname()[1], restart
        finally:
            process.kill()
            process.wait()


def serve(fd: int, place: str) -> None:
    """The server's process."""
    with socket.socket(fileno=fd) as listener:
        config = uvicorn.Config(application(place), log_level="error")
        uvicorn.Server(config).run([listener])


def application(place: str) -> Any:
    """Takes orders: POST {"item": "tea"} answers 201 and {"id": 1}."""
    is_file = _is_file(place)

    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        if is_file:
            yield
            return
        async with asyncpg.create_pool(host=place, user="postgres", database="postgres", max_size=10) as pool:
            pools.append(pool)
            await store.create_table()
            await pool.execute(TABLE.format("serial"))
            yield

    app = fastapi.FastAPI(lifespan=lifespan)
    pools: list[asyncpg.Pool] = []
    store: Any
    if is_file:
        with closing(sqlite3.connect(place)) as database:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute(TABLE.format("INTEGER"))
        store = SQLite(place)
    else:
        store = PostgreSQL(lambda: pools[0])
    app.add_middleware(IdempotencyMiddleware, store=store, required=True, lock_ttl=LOCK_TTL)

    @app.post("/orders", status_code=201)
    async def orders(order: dict[str, str], request: fastapi.Request) -> dict[str, int]:
        async with request.state.idempotency.transaction() as connection:
            if is_file:
                sql = "INSERT INTO orders (item) VALUES (?) RETURNING id"
                ((number,),) = await connection.execute(sql, [order["item"]])
            else:
                sql = "INSERT INTO orders (item) VALUES ($1) RETURNING id"
                number = await connection.fetchval(sql, order["item"])
        await asyncio.sleep(0.002)  # with the row written and not committed, a kill comes here
        return {"id": number}

    return app


def _is_file(place: str) -> bool:
    return not os.path.isdir(place)


async def _rows(place: str) -> list[tuple[int, str]]:
    if _is_file(place):
        with closing(sqlite3.connect(place)) as database:
            return database.execute("SELECT id, item FROM orders").fetchall()
    connection = await asyncpg.connect(host=place, user="postgres", database="postgres")
    try:
        return [tuple(row) for row in await connection.fetch("SELECT id, item FROM orders")]
    finally:
        await connection.close()


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks orders", description=__doc__)
    parser.add_argument("--orders", type=int, default=1000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--store", choices=["sqlite", "postgres"], default="sqlite")
    options = parser.parse_args(arguments)
    print(conditions(("seawall", "uvicorn", "asyncpg"), arguments, "orders"))
    with ExitStack() as stack:
        if options.store == "sqlite":
            place = str(Path(stack.enter_context(tempfile.TemporaryDirectory())) / "orders.db")
        else:
            place = stack.enter_context(databases.postgres())
        report = asyncio.run(run(options.orders, options.kills, place, options.seed))
    print(report)
    return 0 if report.is_exact else 1
