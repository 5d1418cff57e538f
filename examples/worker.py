"""
A worker that places orders, on taskiq and Redis streams (or Valkey's).

Start it, and send it jobs from any process that imports this module::

    REDIS_URL=redis://localhost:6379 ORDERS_URL=https://api.example.com/orders taskiq worker examples.worker:broker

    await broker.startup()
    job = await order.kiq(item=7)
    print(await job.wait_result())

A job that was cut in the middle runs again, in another worker, and sends the same Idempotency-Key.
"""

from __future__ import annotations

import os
from typing import Annotated

from taskiq import TaskiqDepends
from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

import seawall
from seawall.integrations.taskiq import Jobs

REDIS_URL = os.environ.get("REDIS_URL", "redis://localhost:6379")
ORDERS_URL = os.environ.get("ORDERS_URL", "https://api.example.com/orders")
# A job that no worker has acknowledged for so long is given to another one. It must be longer than any job takes, or a
# job runs in two workers at once.
IDLE_TIMEOUT = int(os.environ.get("IDLE_TIMEOUT_MS", "60000"))


def open_client() -> seawall.AsyncClient:
    """The client of one worker process."""
    return seawall.AsyncClient(name="orders", retry=seawall.Retry(idempotency_key=True))


broker = (
    RedisStreamBroker(
        REDIS_URL,
        idle_timeout=IDLE_TIMEOUT,
        unacknowledged_lock_timeout=10.0,  # for a release whose lock others wait for; 1.2.4 ignores it
    )
    .with_result_backend(RedisAsyncResultBackend(REDIS_URL, result_ex_time=3600))
    .with_middlewares(Jobs(open_client))
)


@broker.task(timeout=30)
async def order(item: int, client: Annotated[seawall.AsyncClient, TaskiqDepends()]) -> int:
    """
    Place an order.

    Returns:
        The status that the shop has answered with.
    """
    response = await client.post(ORDERS_URL, json={"item": item})
    return response.raise_for_status().status_code
