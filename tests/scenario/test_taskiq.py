"""`seawall.integrations.taskiq.Jobs` with taskiq's in-memory broker, on virtual time."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Annotated, Any

import httpx
import pytest
from taskiq import (
    Context,
    InMemoryBroker,
    ScheduledTask,
    ScheduleSource,
    SimpleRetryMiddleware,
    SmartRetryMiddleware,
    TaskiqDepends,
)

import seawall
from seawall.core.deadline import inherited
from seawall.integrations.taskiq import HELD_OPEN, SINCE, Jobs, _timeout, retry_after
from seawall.testing import FixedRandom, ScriptedWire

pytestmark = pytest.mark.anyio

URL = "http://api.test/orders"
ORIGIN = "http://api.test"


class NoJitter(Random):
    def uniform(self, a: float, b: float) -> float:
        return a


class Worker:
    """
    A broker with a task ``order``, whose jobs post an order.

    Attributes:
        ran: When each run of a job began, in seconds.
    """

    def __init__(self, *script: object, before: tuple = (), after: tuple = (), **settings: Any) -> None:
        self.wire = ScriptedWire(*script)
        self.ran: list[float] = []
        self.retry: seawall.Retry | None = seawall.Retry(idempotency_key=True)
        self.jobs = Jobs(self._open, **{"rng": NoJitter()} | settings)
        self.broker = InMemoryBroker().with_middlewares(*before, self.jobs, *after)

        async def order(
            client: Annotated[seawall.AsyncClient, TaskiqDepends()],
            context: Annotated[Context, TaskiqDepends()],
            item: int = 1,
        ) -> int:
            self.ran.append(now())
            response = await client.post(URL, json={"item": item}, timeout=None)
            return response.status_code

        self.order = self.broker.task("order")(order)

    def _open(self) -> seawall.AsyncClient:
        return seawall.AsyncClient(transport=self.wire, retry=self.retry, rng=FixedRandom())

    @property
    def keys(self) -> list[str]:
        return [request.headers["idempotency-key"] for request in self.wire.attempts]

    @property
    def client(self) -> seawall.AsyncClient:
        assert self.jobs.client is not None
        return self.jobs.client

    async def result(self, job: Any) -> Any:
        return await job.wait_result(timeout=10_000)


@asynccontextmanager
async def started(*script: object, **settings: Any) -> AsyncIterator[Worker]:
    worker = Worker(*script, **settings)
    await worker.broker.startup()
    yield worker
    await worker.broker.shutdown()


def now() -> float:
    return round(asyncio.get_running_loop().time(), 9)


async def test_a_client_for_each_worker():
    """It is opened when the worker starts, its tasks ask for it by its class, and it is closed with the worker."""
    async with started(201) as worker:
        assert (await worker.result(await worker.order.kiq())).return_value == 201
        client = worker.client
    assert client.is_closed
    assert client.engine.layers.in_flight.is_closed


async def test_a_process_that_only_sends_opens_none():
    """Its broker starts as a client's."""
    made = []
    broker = InMemoryBroker().with_middlewares(Jobs(lambda: made.append(seawall.AsyncClient()) or made[-1]))
    await super(InMemoryBroker, broker).startup()
    assert made == []
    await super(InMemoryBroker, broker).shutdown()
    broker.executor.shutdown()


async def test_the_timeout_of_the_job_is_the_deadline():
    """Its calls end with an error of ours; the next job has a time of its own."""
    async with started(math.inf, 201) as worker:
        result = await worker.result(await worker.order.kicker().with_labels(timeout=2).kiq())
        assert type(result.error).__name__ == "DeadlineExceeded"
        assert "deadline of 1.98 s" in str(result.error)
        assert (await worker.result(await worker.order.kicker().with_labels(timeout=2).kiq())).return_value == 201
        assert seawall.remaining() is None


async def test_no_timeout_no_deadline():
    """The job takes as long as it takes."""
    async with started(100.0) as worker:
        assert (await worker.result(await worker.order.kiq())).return_value == 200
        assert now() >= 100.0


@pytest.mark.parametrize(
    ("label", "timeout"),
    [(2, 1.98), ("1", 0.98), (None, None), ("soon", None), (0, None), (-1, None), ("nan", None), ("inf", None)],
)
def test_time_of_the_calls(label, timeout):
    """A little less than the job's; what limits nothing, or isn't a number of seconds, is taskiq's business."""
    assert _timeout(label) == timeout


async def test_the_sender_s_deadline_is_not_the_job_s():
    """Though an in-memory broker may run the job in its task; afterwards it is the sender's again."""
    async with started(5.0) as worker:
        worker.broker.await_inplace = True
        with seawall.deadline(1.0) as instant:
            job = await worker.order.kiq()
            assert inherited() == instant
        assert (await worker.result(job)).return_value == 200


async def test_a_job_that_runs_another_in_its_task():
    """In memory: the outer one is still put back where a breaker refuses it, and its sender gets its own terms back."""
    async with started(201) as worker:
        worker.broker.await_inplace = True

        @worker.broker.task("outer", timeout=60)
        async def outer() -> str:
            await worker.order.kiq()
            if len(worker.ran) == 1:
                raise seawall.BreakerOpen("", retry_after=1.0)
            return "done"

        with seawall.deadline(100.0) as instant:
            job = await outer.kiq()
            assert inherited() == instant
        assert (await worker.result(job)).return_value == "done"


async def test_a_job_that_runs_again_sends_its_key_again():
    """Under its id; another job sends another."""
    async with started(201) as worker:
        for task_id in ("one", "one", "two"):
            await worker.result(await worker.order.kicker().with_task_id(task_id).kiq())
            await worker.broker.wait_all()
    first, again, other = worker.keys
    assert first == again != other


@pytest.mark.parametrize(("held", "at"), [({}, [0.0, 5.0, 7.0]), ({"max_hold": 60.0}, [0.0, 7.0])])
async def test_an_open_breaker_defers_the_job(held, at):
    """By what it says; the job isn't failed, keeps its id, and ends with its result."""
    async with started(201, **held) as worker:
        worker.client.breakers[ORIGIN].force_open()
        errors = refusing(worker, seawall.BreakerOpen, at)
        job = await worker.order.kicker().with_labels(mine="kept").with_task_id("one").kiq(item=7)
        result = await worker.result(job)
        assert (result.return_value, result.is_err, result.labels["mine"]) == (201, False, "kept")
        assert worker.ran == at
        assert errors == []
    assert len(worker.keys) == 1


def refusing(worker: Worker, kind: type[seawall.Rejected], at: list[float]) -> list[float]:
    """Have the first attempts refused with *kind*, each until the last instant of *at*."""
    left = at[1:]
    send = type(worker.client).send

    async def refuse(self: Any, request: httpx.Request, **arguments: Any) -> httpx.Response:
        worker.client.breakers[ORIGIN].reset()
        if left:
            left.pop(0)
            raise kind("refused", retry_after=at[-1] - now())
        return await send(self, request, **arguments)

    worker.client.send = refuse.__get__(worker.client)  # type: ignore[method-assign]
    return left


@pytest.mark.parametrize(
    ("error", "delay"),
    [
        (seawall.BreakerOpen("", retry_after=2.5), 2.5),
        (seawall.BreakerOpen("", retry_after=math.inf), HELD_OPEN),
        (seawall.LimitExceeded("", retry_after=0.25), 0.25),
        (seawall.errors.OriginPaused("", retry_after=30.0), 30.0),
        (seawall.BulkheadFull("", max_concurrent=1, waiting=0), 1.0),
        (seawall.DeadlineExceeded("", timeout=1.0), None),
        (seawall.ClientClosed(""), None),
        (seawall.errors.PartlySent("", reason=seawall.BreakerOpen("", retry_after=1.0)), None),
        (ValueError(), None),
        (
            ExceptionGroup("", [seawall.BreakerOpen("", retry_after=2.0), seawall.LimitExceeded("", retry_after=3.0)]),
            3.0,
        ),
        (ExceptionGroup("", [seawall.BreakerOpen("", retry_after=2.0), ValueError()]), None),
    ],
    ids=repr,
)
def test_what_defers_a_job(error, delay):
    """Only what was refused on this side, of which nothing was sent; of several the longest."""
    assert retry_after(error) == delay


async def test_a_failure_fails_the_job():
    """It is the queue's own retries that repeat it, or nobody."""
    async with started(httpx.ConnectError) as worker:
        worker.retry = None
        result = await worker.result(await worker.order.kiq())
        assert isinstance(result.error, httpx.ConnectError)
        assert len(worker.ran) == 1


async def test_a_job_is_not_deferred_for_ever():
    """After max_wait it fails with its error."""
    async with started(201, max_wait=10.0) as worker:
        worker.client.breakers[ORIGIN].force_open()
        job = await worker.order.kicker().with_labels(**{SINCE: time.time() - 9.0}).kiq()
        result = await worker.result(job)
        assert isinstance(result.error, seawall.BreakerOpen)
        assert len(worker.ran) == 1


@pytest.mark.parametrize("retries", [SimpleRetryMiddleware, SmartRetryMiddleware])
@pytest.mark.parametrize("place", ["before", "after"])
async def test_beside_taskiq_s_own_retries(retries, place):
    """A job that is refused is put back once, whichever middleware comes first."""
    async with started(201, **{place: (retries(default_retry_label=True),)}) as worker:
        refusing(worker, seawall.LimitExceeded, [0.0, 1.0])
        await worker.order.kicker().with_task_id("one").kiq()
        await asyncio.sleep(100.0)
        await worker.broker.wait_all()
        assert len(worker.ran) == 2
        assert (await worker.broker.result_backend.get_result("one")).return_value == 201


class Kept(ScheduleSource):
    """A source that keeps what it is given."""

    def __init__(self) -> None:
        self.added: list[ScheduledTask] = []

    async def get_schedules(self) -> list[ScheduledTask]:
        return self.added

    async def add_schedule(self, schedule: ScheduledTask) -> None:
        self.added.append(schedule)


async def test_a_schedule_source_keeps_deferred_jobs():
    """The worker holds none; the job is due after the delay, under its id, with its arguments."""
    source = Kept()
    async with started(201, schedule_source=source) as worker:
        worker.client.breakers[ORIGIN].force_open()
        await worker.order.kicker().with_task_id("one").kiq(item=7)
        since = time.time() - 60.0
        await worker.order.kicker().with_task_id("two").with_labels(**{SINCE: since}).kiq(item=8)
        await worker.broker.wait_all()
        assert now() == 0.0
    kept, again = source.added
    assert (kept.task_id, kept.kwargs) == ("one", {"item": 7})
    assert since < float(kept.labels[SINCE]) <= time.time()
    assert (again.task_id, float(again.labels[SINCE])) == ("two", since)
    assert kept.time is not None
    assert 0.9 * HELD_OPEN < kept.time.timestamp() - time.time() <= HELD_OPEN


async def test_a_worker_that_stops_drains():
    """A job's call that is in flight ends; the job that begins one is put back into the queue, and doesn't fail."""
    async with started(2.0, 201) as worker:
        first = await worker.order.kiq()
        await asyncio.sleep(0.01)
        stopping = asyncio.create_task(worker.broker.shutdown())
        await asyncio.sleep(0.01)
        kicked = []
        worker.broker.kick = kicked_into(kicked)
        await worker.broker.receiver.callback(worker.broker.formatter.dumps(message(worker, "two")).message)
        await stopping
        assert (await worker.result(first)).return_value == 200
        assert now() == 2.0
        assert [each.task_id for each in kicked] == ["two"]
        assert not await worker.broker.result_backend.is_result_ready("two")


def kicked_into(kicked: list[Any]) -> Any:
    async def kick(sent: Any) -> None:
        kicked.append(sent)

    return kick


def message(worker: Worker, task_id: str) -> Any:
    return worker.order.kicker().with_task_id(task_id)._prepare_message()


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"drain": -1}, ValueError),
        ({"max_hold": 0}, ValueError),
        ({"max_wait": "1"}, TypeError),
        ({"schedule_source": 1}, TypeError),
        ({"open_client": None}, TypeError),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else value.__name__,
)
def test_bad_settings(settings, error):
    """An error that names the setting."""
    with pytest.raises(error, match=f"Jobs.*{next(iter(settings))}"):
        Jobs(**{"open_client": seawall.AsyncClient} | settings)
