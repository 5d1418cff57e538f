"""groq over `llm_client`, on httpx: its hook is ``http_client``, its retries are switched off by ``max_retries=0``."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

import seawall
from seawall.testing import FixedRandom

from .answers import says
from .conftest import Serve
from .contract import Streams

groq = pytest.importorskip("groq", reason="pip install 'seawall[sdks]'")

ASKED: Any = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


def completion(**choice: Any) -> dict[str, Any]:
    return {"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [{"index": 0, **choice}]}


class TestGroq(Streams):
    """Chat completions. What breaks off a stream is raised as it is, so the error is ours."""

    answer = says(completion(finish_reason="stop", message={"role": "assistant", "content": "hello"}))
    events = (*(f"data: {json.dumps(completion(delta={'content': text}))}\n\n" for text in "abc"), "data: [DONE]\n\n")
    lost = httpx.RemoteProtocolError

    def sdk(self, url: str, **settings: Any) -> Any:
        return groq.AsyncGroq(api_key="k", base_url=url, max_retries=0, http_client=seawall.llm_client(**settings))

    async def ask(self, sdk: Any) -> Any:
        return (await sdk.chat.completions.create(**ASKED)).choices[0].message.content

    async def stream(self, sdk: Any) -> AsyncIterator[str]:
        async for part in await sdk.chat.completions.create(**ASKED, stream=True):
            yield part.choices[0].delta.content


@pytest.mark.anyio
async def test_retries_of_both_multiply(serve: Serve) -> None:
    """With the SDK's own two retries left on, an API that is busy gets nine requests for one call."""
    server = await serve(says({}, status=503, retry_after_ms="1"))
    async with groq.AsyncGroq(
        api_key="k", base_url=server.url, http_client=seawall.llm_client(rng=FixedRandom(0.0))
    ) as sdk:
        with pytest.raises(groq.InternalServerError):
            await sdk.chat.completions.create(**ASKED)
    assert [request.headers["x-stainless-retry-count"] for request in server.requests] == [*"000111222"]
