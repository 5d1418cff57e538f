"""openai over `llm_client`: its hook is ``http_client``, its retries are switched off by ``max_retries=0``."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

import seawall
import seawall.httpx2
from seawall.testing import FixedRandom

from .answers import says
from .conftest import Serve
from .contract import Streams

openai = pytest.importorskip("openai", reason="pip install 'seawall[sdks]'")

ASKED: Any = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


def completion(**choice: Any) -> dict[str, Any]:
    return {"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [{"index": 0, **choice}]}


class TestOpenAI(Streams):
    """Chat completions."""

    answer = says(completion(finish_reason="stop", message={"role": "assistant", "content": "hello"}))
    events = (*(f"data: {json.dumps(completion(delta={'content': text}))}\n\n" for text in "abc"), "data: [DONE]\n\n")
    lost = openai.APIConnectionError

    def sdk(self, url: str, **settings: Any) -> Any:
        return openai.AsyncOpenAI(
            api_key="k", base_url=url, max_retries=0, http_client=seawall.httpx2.llm_client(**settings)
        )

    async def ask(self, sdk: Any) -> Any:
        return (await sdk.chat.completions.create(**ASKED)).choices[0].message.content

    async def stream(self, sdk: Any) -> AsyncIterator[str]:
        async for part in await sdk.chat.completions.create(**ASKED, stream=True):
            yield part.choices[0].delta.content


@pytest.mark.anyio
async def test_takes_the_timeout_of_our_client() -> None:
    """The SDK adopts a client's timeout if that isn't httpx's default; ours is what the SDK's own client has."""
    async with openai.AsyncOpenAI(api_key="k", http_client=seawall.httpx2.llm_client()) as sdk:
        assert sdk.timeout == openai.DEFAULT_TIMEOUT == httpx2.Timeout(600.0, connect=5.0)


@pytest.mark.anyio
async def test_retries_of_both_multiply(serve: Serve) -> None:
    """With the SDK's own two retries left on, an API that is busy gets nine requests for one call."""
    server = await serve(says({}, status=503, retry_after_ms="1"))
    async with openai.AsyncOpenAI(
        api_key="k", base_url=server.url, http_client=seawall.httpx2.llm_client(rng=FixedRandom(0.0))
    ) as sdk:
        with pytest.raises(openai.InternalServerError):
            await sdk.chat.completions.create(**ASKED)
    assert [request.headers["x-stainless-retry-count"] for request in server.requests] == [*"000111222"]


@pytest.mark.anyio
async def test_takes_an_httpx_client_too(serve: Serve) -> None:
    """The SDK turns to httpx for a client of that family."""
    server = await serve(TestOpenAI.answer)
    async with openai.AsyncOpenAI(
        api_key="k", base_url=server.url, max_retries=0, http_client=seawall.llm_client()
    ) as sdk:
        assert await TestOpenAI().ask(sdk) == "hello"
