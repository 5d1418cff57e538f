"""Structured logs: the formatters that services use carry the fields of our lines. On real sockets."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import structlog
from pythonjsonlogger.json import JsonFormatter

import seawall
from seawall.testing import Request

pytestmark = pytest.mark.anyio

STRUCTLOG = structlog.stdlib.ProcessorFormatter(
    foreign_pre_chain=[structlog.stdlib.add_logger_name, structlog.stdlib.add_log_level, structlog.stdlib.ExtraAdder()],
    processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, structlog.processors.JSONRenderer()],
)
FORMATTERS = {
    "structlog": (STRUCTLOG, "event", "level", "logger"),
    "json": (JsonFormatter("%(message)s %(levelname)s %(name)s"), "message", "levelname", "name"),
}


@contextmanager
def written(formatter: logging.Formatter) -> Iterator[list[dict[str, object]]]:
    """The JSON of what seawall logs inside."""
    stream, logger, lines = io.StringIO(), logging.getLogger("seawall"), []
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    logger.addHandler(handler)
    level = logger.level
    logger.setLevel(logging.INFO)
    try:
        yield lines
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        lines += map(json.loads, stream.getvalue().splitlines())


@pytest.mark.parametrize("name", FORMATTERS)
async def test_formatters_carry_the_fields(serve, name):
    """Line for line: the text, the logger, the level, and each field under its own name."""
    formatter, text, level, logger = FORMATTERS[name]

    async def fail(request: Request) -> None:
        await request.reply(500)  # which backs off from backoff=, and a 503 from 1 s

    server = await serve(fail)
    retry = seawall.Retry(max_attempts=2, backoff=0)
    async with seawall.AsyncClient(retry=retry, name="shop") as client:
        with written(formatter) as lines:
            await client.get(f"{server.url}/orders?secret")
    scheduled, ended = lines
    port = int(server.url.rpartition(":")[2])
    call = {
        "seawall.client": "shop",
        "seawall.call": 1,
        "http.request.method": "GET",
        "url.scheme": "http",
        "server.address": "127.0.0.1",
        "server.port": port,
        "url.path": "/orders",
    }
    assert scheduled == {
        text: f"GET {server.url}/orders: attempt 2 of 2 in 0 s, after 500",
        level: "info" if name == "structlog" else "INFO",
        logger: "seawall.retry",
        **call,
        "seawall.event": "RetryScheduled",
        "seawall.attempt": 2,
        "http.request.resend_count": 1,
        "seawall.max_attempts": 2,
        "seawall.delay": 0.0,
        "error.type": "500",
    }
    duration, history = ended.pop("seawall.duration"), ended.pop("seawall.history")
    assert ended == {
        text: f"GET {server.url}/orders: gave up: {history}",
        level: "warning" if name == "structlog" else "WARNING",
        logger: "seawall.call",
        **call,
        "seawall.event": "CallGaveUp",
        "seawall.attempts": 2,
        "seawall.retries": 1,
        "seawall.outcome": "500",
        "seawall.note": "max_attempts=2 reached",
    }
    assert isinstance(duration, float)
