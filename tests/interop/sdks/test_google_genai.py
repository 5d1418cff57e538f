"""google-genai over `llm_client`: its hook is ``http_options``; it retries only if they have ``retry_options``."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest

import seawall.httpx2
from seawall.testing import FixedRandom

from .answers import BUSY, says
from .conftest import Serve
from .contract import Streams

genai = pytest.importorskip("google.genai", reason="pip install 'seawall[sdks]'")

ASKED: Any = {"model": "m", "contents": "hi"}


def said(text: str) -> dict[str, Any]:
    return {"candidates": [{"content": {"role": "model", "parts": [{"text": text}]}, "index": 0}]}


class TestGoogle(Streams):
    """Contents. What breaks off a stream is raised as it is, so the error is ours."""

    answer = says(said("hello"))
    events = tuple(f"data: {json.dumps(said(text))}\r\n\r\n" for text in "abc")
    lost = httpx2.RemoteProtocolError

    @asynccontextmanager
    async def sdk(self, url: str, **settings: Any) -> AsyncIterator[Any]:
        async with seawall.httpx2.llm_client(**settings) as client:
            options = genai.types.HttpOptions(base_url=url, timeout=600_000, httpx_async_client=client)
            with genai.Client(api_key="k", http_options=options) as sdk:
                yield sdk.aio

    async def ask(self, sdk: Any) -> Any:
        return (await sdk.models.generate_content(**ASKED)).text

    async def stream(self, sdk: Any) -> AsyncIterator[str]:
        async for part in await sdk.models.generate_content_stream(**ASKED):
            yield part.text


@pytest.mark.anyio
async def test_retries_of_both_multiply(serve: Serve) -> None:
    """With ``retry_options``, each of the SDK's attempts is three requests."""
    server = await serve(*[BUSY] * 4, TestGoogle.answer)
    at_once = genai.types.HttpRetryOptions(attempts=5, initial_delay=0.0, max_delay=0.0, jitter=0.0)
    async with seawall.httpx2.llm_client(rng=FixedRandom(0.0)) as client:
        options = genai.types.HttpOptions(base_url=server.url, httpx_async_client=client, retry_options=at_once)
        with genai.Client(api_key="k", http_options=options) as sdk:
            assert await TestGoogle().ask(sdk.aio) == "hello"
    assert len(server.requests) == 5


@pytest.mark.anyio
@pytest.mark.parametrize(("timeout", "sent"), [(None, None), (7_000, 7.0)])
async def test_sends_its_own_timeout(serve: Serve, timeout: int | None, sent: float | None) -> None:
    """Its options' milliseconds, or no timeout at all, in the place of our client's."""
    server = await serve(TestGoogle.answer)
    requests: list[httpx2.Request] = []

    async def hook(request: httpx2.Request) -> None:
        requests.append(request)

    async with seawall.httpx2.llm_client(event_hooks={"request": [hook]}) as client:
        options = genai.types.HttpOptions(base_url=server.url, timeout=timeout, httpx_async_client=client)
        with genai.Client(api_key="k", http_options=options) as sdk:
            await TestGoogle().ask(sdk.aio)
    assert [request.extensions["timeout"] for request in requests] == [httpx2.Timeout(sent).as_dict()]
