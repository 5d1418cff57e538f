"""A worker like the example's, whose breaker a job can trip, and another mend."""

from __future__ import annotations

from typing import Annotated

from examples.worker import ORDERS_URL, REDIS_URL, open_client
from taskiq import TaskiqDepends
from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

import seawall
from seawall.integrations.taskiq import Jobs

Client = Annotated[seawall.AsyncClient, TaskiqDepends()]
ORIGIN = ORDERS_URL.partition("/x")[0]

broker = (
    RedisStreamBroker(REDIS_URL)
    .with_result_backend(RedisAsyncResultBackend(REDIS_URL))
    .with_middlewares(Jobs(open_client, max_hold=0.1))
)


@broker.task
async def trip(client: Client) -> None:
    client.breakers[ORIGIN].force_open()


@broker.task
async def mend(client: Client) -> None:
    client.breakers[ORIGIN].reset()


@broker.task(timeout=30)
async def order(item: int, client: Client) -> int:
    return (await client.post(ORDERS_URL, json={"item": item})).status_code
