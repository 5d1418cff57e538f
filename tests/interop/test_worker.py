"""``examples/worker.py``, as a user starts it: real workers on a real Redis, whose jobs call a server that fails."""

from __future__ import annotations

import asyncio
import importlib
import os
import shutil
import signal
import subprocess
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from taskiq import AsyncTaskiqTask

import seawall
from seawall.integrations.taskiq import Jobs
from seawall.testing import FaultServer, Request

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server isn't installed"),
]

ROOT = Path(__file__).parents[2]
LONG = 120.0  # seconds: nothing here takes as long, however busy the machine is


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[str]:
    """A server of the test's own, in a folder of its own; its URL."""
    socket = tmp_path / "redis.sock"
    command = ["redis-server", "--port", "0", "--unixsocket", str(socket), "--dir", str(tmp_path), "--save", ""]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        said = []
        for line in server.stdout:
            said.append(line)
            if "ready to accept connections" in line.lower():
                break
        else:
            pytest.fail("".join(said))
        yield f"unix://{socket}"
        server.terminate()
        server.stdout.read()


class Worker:
    """
    A worker process, started as a user starts it.

    Attributes:
        lines: What it has logged.
    """

    def __init__(self, process: Process) -> None:
        self.process = process
        self.lines: list[str] = []
        self._more = asyncio.Condition()
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            async with self._more:
                self.lines.append(line.decode())
                self._more.notify_all()

    async def says(self, text: str) -> None:
        """Wait until it has logged *text*."""
        async with self._more:
            await self._more.wait_for(lambda: any(text in line for line in self.lines))

    async def ends(self) -> int:
        """Wait until it and its child have ended, and return its status."""
        await self._reading
        return await self.process.wait()

    def kill(self) -> None:
        """With its child, in the middle of whatever they do."""
        os.killpg(self.process.pid, signal.SIGKILL)


@asynccontextmanager
async def working(environment: dict[str, str], module: str = "examples.worker") -> AsyncIterator[Worker]:
    """A worker that listens."""
    worker = Worker(
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "taskiq", "worker", f"{module}:broker", "--workers", "1"),
            env=os.environ | environment | {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])},
            stderr=PIPE,
            start_new_session=True,
            cwd=ROOT,
        )
    )
    try:
        await worker.says("Listening started")
        yield worker
    finally:
        if worker.process.returncode is None:
            worker.kill()
        await worker.ends()


class Shop:
    """
    Takes orders: acts once for a key, and says so to who asks again.

    Attributes:
        orders: The keys for which it has acted.
        is_asked: An order has come.
        may_answer: It answers from then on.
    """

    def __init__(self) -> None:
        self.orders: list[str] = []
        self.is_asked, self.may_answer = asyncio.Event(), asyncio.Event()

    async def __call__(self, request: Request) -> None:
        key = request.headers["idempotency-key"]
        is_new = key not in self.orders
        if is_new:
            self.orders.append(key)
        self.is_asked.set()
        await self.may_answer.wait()
        await request.reply(201 if is_new else 200)


@pytest.fixture
async def shop() -> Shop:
    return Shop()


@pytest.fixture
async def server(shop: Shop) -> AsyncIterator[FaultServer]:
    async with FaultServer() as server:
        server.script("order", shop)
        yield server


@pytest.fixture
async def environment(redis: str, server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What the worker is told; this process too, because it sends the jobs."""
    environment = {"REDIS_URL": redis, "ORDERS_URL": f"{server.url}/x?key=order"}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return environment


@asynccontextmanager
async def sending(name: str = "examples.worker") -> AsyncIterator[Any]:
    """The module of the worker, as a process that sends jobs imports it."""
    for each in dict.fromkeys(("examples.worker", name)):
        module: ModuleType = importlib.reload(importlib.import_module(each))
    await module.broker.startup()
    try:
        yield module
    finally:
        await module.broker.shutdown()


async def ended(job: AsyncTaskiqTask[Any]) -> Any:
    result = await job.wait_result(check_interval=0.05)
    result.raise_for_error()
    return result.return_value


def test_each_example_is_run():
    """This module runs the one that there is; another needs a test that sees its client closed at its end."""
    assert {path.stem for path in (ROOT / "examples").glob("*.py")} == {"__init__", "worker"}


async def test_the_client_is_closed_at_the_end(environment, server, shop):
    """The worker opens it as it starts, a job uses it, and it is closed once the worker has stopped."""
    shop.may_answer.set()
    module = importlib.reload(importlib.import_module("examples.worker"))
    (jobs,) = (each for each in module.broker.middlewares if isinstance(each, Jobs))
    module.broker.is_worker_process = True
    async with asyncio.timeout(LONG):
        await module.broker.startup()
        try:
            client = jobs.client
            assert not client.is_closed
            with seawall.job("order-7"):
                assert await module.order.original_func(7, client) == 201
        finally:
            await module.broker.shutdown()
    assert client.is_closed
    assert client.stats().connections == 0


async def test_a_worker_is_killed_in_the_middle_of_a_job(environment, server, shop):
    """Another one runs the job again, with the same key: the shop acts once."""
    environment |= {"IDLE_TIMEOUT_MS": "500"}
    async with asyncio.timeout(LONG), sending() as module:
        async with working(environment) as worker:
            job = await module.order.kiq(item=7)
            await shop.is_asked.wait()
            worker.kill()
            await worker.ends()
        shop.is_asked.clear()
        shop.may_answer.set()
        async with working(environment) as worker:
            others = []
            while not await job.is_ready():  # a stream's lost jobs are looked for after each new one
                others.append(await module.order.kiq(item=1))
                await ended(others[-1])
            assert await ended(job) == 200
    keys = [value for each in server.attempts("order") for name, value in each.headers if name == "Idempotency-Key"]
    assert keys.count(keys[0]) >= 2
    assert shop.orders.count(keys[0]) == 1
    assert len(shop.orders) == 1 + len(others)


async def test_sigterm_drains(environment, server, shop):
    """The job whose call is in flight ends with its result; the next one waits for the next worker."""
    async with asyncio.timeout(LONG), sending() as module:
        async with working(environment) as worker:
            job = await module.order.kiq(item=7)
            await shop.is_asked.wait()
            worker.process.send_signal(signal.SIGTERM)
            await worker.says("running tasks to complete")
            late = await module.order.kiq(item=8)
            shop.may_answer.set()
            assert await worker.ends() == 0
            assert await ended(job) == 201
        assert len(server.attempts("order")) == 1
        async with working(environment):
            assert await ended(late) == 201


async def test_an_open_breaker_defers_a_job(environment, server, shop):
    """The shop hears nothing of it until the breaker lets it through; then the job ends, once."""
    shop.may_answer.set()
    name = "tests.interop.worker"
    async with asyncio.timeout(LONG), sending(name) as module, working(environment, name) as worker:
        await ended(await module.trip.kiq())
        job = await module.order.kiq(item=7)
        await worker.says(f"job {job.task_id} (tests.interop.worker:order) is deferred")
        assert server.attempts("order") == []
        assert not await job.is_ready()
        await ended(await module.mend.kiq())
        assert await ended(job) == 201
    assert len(server.attempts("order")) == 1
