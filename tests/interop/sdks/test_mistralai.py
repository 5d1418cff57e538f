"""mistralai over `llm_client`: its hook is ``async_client``; it retries only if it is given a ``retry_config``."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest

import seawall.httpx2
from seawall.testing import FixedRandom

from .answers import says
from .conftest import Serve
from .contract import Streams

mistral = pytest.importorskip("mistralai.client", reason="pip install 'seawall[sdks]'")

ASKED: Any = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
USAGE = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}


def completion(**choice: Any) -> dict[str, Any]:
    facts = {"id": "1", "object": "chat.completion", "created": 0, "model": "m", "usage": USAGE}
    return {**facts, "choices": [{"index": 0, "finish_reason": None, **choice}]}


class TestMistral(Streams):
    """Chat completions. What breaks off a stream is raised as it is, so the error is ours."""

    answer = says(completion(finish_reason="stop", message={"role": "assistant", "content": "hello"}))
    events = (*(f"data: {json.dumps(completion(delta={'content': text}))}\n\n" for text in "abc"), "data: [DONE]\n\n")
    lost = httpx2.RemoteProtocolError

    @asynccontextmanager
    async def sdk(self, url: str, **settings: Any) -> AsyncIterator[Any]:
        async with seawall.httpx2.llm_client(**settings) as client:
            yield mistral.Mistral(api_key="k", server_url=url, async_client=client)

    async def ask(self, sdk: Any) -> Any:
        return (await sdk.chat.complete_async(**ASKED)).choices[0].message.content

    async def stream(self, sdk: Any) -> AsyncIterator[str]:
        async for event in await sdk.chat.stream_async(**ASKED):
            yield event.data.choices[0].delta.content


@pytest.mark.anyio
async def test_retries_of_both_multiply(serve: Serve) -> None:
    """With a ``retry_config``, each of the SDK's attempts is three requests."""
    server = await serve(*[says({}, status=503, retry_after_ms="1")] * 4, TestMistral.answer)
    backoff = mistral.utils.BackoffStrategy(1, 1, 1.0, 600_000, 1)
    config = mistral.utils.RetryConfig("backoff", backoff, False)
    async with seawall.httpx2.llm_client(rng=FixedRandom(0.0)) as client:
        sdk = mistral.Mistral(api_key="k", server_url=server.url, async_client=client, retry_config=config)
        assert await TestMistral().ask(sdk) == "hello"
    assert len(server.requests) == 5


@pytest.mark.anyio
@pytest.mark.parametrize(("timeout_ms", "sent"), [(None, 300.0), (7_000, 7.0)])
async def test_sends_its_own_timeout(serve: Serve, timeout_ms: int | None, sent: float) -> None:
    """``timeout_ms``, or 300 s, in the place of our client's."""
    server = await serve(TestMistral.answer)
    requests: list[httpx2.Request] = []

    async def hook(request: httpx2.Request) -> None:
        requests.append(request)

    async with seawall.httpx2.llm_client(event_hooks={"request": [hook]}) as client:
        sdk = mistral.Mistral(api_key="k", server_url=server.url, async_client=client, timeout_ms=timeout_ms)
        await TestMistral().ask(sdk)
    assert [request.extensions["timeout"] for request in requests] == [httpx2.Timeout(sent).as_dict()]
