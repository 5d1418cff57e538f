"""SDKs that are given a client of ours: for mypy and pyright where the SDKs are installed; read, never run."""

from __future__ import annotations

import anthropic
import httpx2
import mcp.client.sse
import openai
from mcp.client.streamable_http import streamable_http_client

import seawall
import seawall.httpx2


async def openai_takes_it() -> None:
    client = openai.AsyncOpenAI(http_client=seawall.httpx2.AsyncClient(deadline=60.0), max_retries=0)
    with_options = client.with_options(http_client=seawall.httpx2.AsyncClient(timeout=httpx2.Timeout(60.0)))
    await with_options.responses.create(model="any", input="Hello", extra_headers={"Idempotency-Key": "1"})


async def anthropic_takes_it() -> None:
    async with seawall.httpx2.AsyncClient(retry=seawall.Retry(max_attempts=3)) as client:
        anthropic.AsyncAnthropic(http_client=client, max_retries=0)


async def mcp_takes_it() -> None:
    async with (
        seawall.httpx2.AsyncClient(headers={"Authorization": "Bearer 1"}) as client,
        streamable_http_client("https://mcp.example.com/", http_client=client),
    ):
        pass


def client_for_mcp(
    headers: dict[str, str] | None = None, timeout: httpx2.Timeout | None = None, auth: httpx2.Auth | None = None
) -> httpx2.AsyncClient:
    return seawall.httpx2.AsyncClient(headers=headers, timeout=timeout, auth=auth)


async def mcp_takes_a_factory() -> None:
    async with mcp.client.sse.sse_client("https://mcp.example.com/sse", httpx_client_factory=client_for_mcp):
        pass


def they_refuse_the_front_over_httpx() -> None:
    openai.AsyncOpenAI(http_client=seawall.AsyncClient())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    anthropic.AsyncAnthropic(http_client=seawall.AsyncClient())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    streamable_http_client("https://mcp.example.com/", http_client=seawall.AsyncClient())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
