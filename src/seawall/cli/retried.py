"""
Retries as people write them around aiohttp: some thirty lines, which the demo and the scoreboard compare with seawall.

They repeat only what is safe, back off with full jitter, heed Retry-After and keep a deadline. They have no budget, no
breaker and no permits per host, because those take more than thirty lines.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import NamedTuple

import aiohttp

__all__ = ["IDEMPOTENT", "Answer", "retried"]

ATTEMPTS, BASE = 3, 0.1  # s; the first pause is at most BASE, the second at most twice BASE
REPEATED = frozenset({408, 425, 429, 500, 502, 503, 504})
IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})
UNSENT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
LOST = (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, TimeoutError)


class Answer(NamedTuple):
    status: int
    body: bytes
    retry_after: str | None


async def retried(attempt: Callable[[], Awaitable[Answer]], *, may_repeat: bool, deadline: float) -> Answer:
    """
    The answer of the last attempt, or its error; TimeoutError after *deadline* seconds.

    Args:
        may_repeat: Whether sending the request twice does no harm.
    """
    loop = asyncio.get_running_loop()
    ends_at, number = loop.time() + deadline, 0
    async with asyncio.timeout_at(ends_at):
        while True:
            number += 1
            pause = random.uniform(0, BASE * 2 ** (number - 1))
            try:
                answer = await attempt()
            except LOST as error:
                is_safe = may_repeat or isinstance(error, UNSENT)
                is_over = number == ATTEMPTS or loop.time() + pause >= ends_at
                if is_over or not is_safe or isinstance(error, aiohttp.ClientSSLError):
                    raise
            else:
                pause = max(pause, _seconds(answer.retry_after))
                is_over = number == ATTEMPTS or loop.time() + pause >= ends_at
                if is_over or not may_repeat or answer.status not in REPEATED:
                    return answer
            await asyncio.sleep(pause)


def _seconds(retry_after: str | None) -> float:
    """Its seconds; 0 if the header is missing or can't be parsed."""
    if retry_after is None or retry_after.isdigit():
        return float(retry_after or 0)
    try:
        return (parsedate_to_datetime(retry_after) - datetime.now(UTC)).total_seconds()
    except (ValueError, TypeError):
        return 0.0
