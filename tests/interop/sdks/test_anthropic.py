"""anthropic over `llm_client`: its hook is ``http_client``, its retries are switched off by ``max_retries=0``."""

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

anthropic = pytest.importorskip("anthropic", reason="pip install 'seawall[sdks]'")

ASKED: Any = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
MESSAGE = {
    "id": "1",
    "type": "message",
    "role": "assistant",
    "model": "m",
    "content": [{"type": "text", "text": "hello"}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 1, "output_tokens": 1},
}


def delta(text: str) -> str:
    event = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}
    return f"event: content_block_delta\ndata: {json.dumps(event)}\n\n"


class TestAnthropic(Streams):
    """Messages. What breaks off a stream is raised as it is, so the error is ours."""

    answer = says(MESSAGE)
    events = (*map(delta, "abc"), 'event: message_stop\ndata: {"type": "message_stop"}\n\n')
    lost = httpx2.RemoteProtocolError

    def sdk(self, url: str, **settings: Any) -> Any:
        return anthropic.AsyncAnthropic(
            api_key="k", base_url=url, max_retries=0, http_client=seawall.httpx2.llm_client(**settings)
        )

    async def ask(self, sdk: Any) -> Any:
        return (await sdk.messages.create(**ASKED)).content[0].text

    async def stream(self, sdk: Any) -> AsyncIterator[str]:
        async for event in await sdk.messages.create(**ASKED, stream=True):
            if event.type == "content_block_delta":
                yield event.delta.text


@pytest.mark.anyio
async def test_takes_the_timeout_of_our_client() -> None:
    """The SDK adopts a client's timeout if that isn't httpx's default; ours is what the SDK's own client has."""
    async with anthropic.AsyncAnthropic(api_key="k", http_client=seawall.httpx2.llm_client()) as sdk:
        assert sdk.timeout == anthropic.DEFAULT_TIMEOUT == httpx2.Timeout(600.0, connect=5.0)


@pytest.mark.anyio
async def test_retries_of_both_multiply(serve: Serve) -> None:
    """With the SDK's own two retries left on, an API that is busy gets nine requests for one call."""
    server = await serve(says({}, status=503, retry_after_ms="1"))
    client = seawall.httpx2.llm_client(rng=FixedRandom(0.0))
    async with anthropic.AsyncAnthropic(api_key="k", base_url=server.url, http_client=client) as sdk:
        with pytest.raises(anthropic.APIStatusError):
            await sdk.messages.create(**ASKED)
    assert [request.headers["x-stainless-retry-count"] for request in server.requests] == [*"000111222"]


@pytest.mark.anyio
async def test_refuses_a_client_over_httpx() -> None:
    """The SDK takes clients of httpx2 only, and says so at once."""
    async with seawall.llm_client() as client:
        with pytest.raises(TypeError, match="httpx2"):
            anthropic.AsyncAnthropic(api_key="k", http_client=client)
