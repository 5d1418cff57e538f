"""
ollama over `AsyncTransport`, on httpx: it makes its client itself, and hands it all arguments that it doesn't know.

So ``transport=`` is its hook. It sets no timeout, follows redirects and retries nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

import seawall

from .answers import lines, says
from .contract import Streams

ollama = pytest.importorskip("ollama", reason="pip install 'seawall[sdks]'")

ASKED: Any = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


def said(text: str) -> dict[str, Any]:
    return {"model": "m", "message": {"role": "assistant", "content": text}, "done": False}


class TestOllama(Streams):
    """Chats; a stream is a line of JSON for each part. What breaks it off is raised as it is, so the error is ours."""

    answer = says(said("hello"))
    events = tuple(lines(map(said, "abc")))
    mime = "application/x-ndjson"
    lost = httpx.RemoteProtocolError

    @asynccontextmanager
    async def sdk(self, url: str, **settings: Any) -> AsyncIterator[Any]:
        retry = seawall.Retry(methods=None)  # a chat may be repeated
        sdk = ollama.AsyncClient(url, timeout=600.0, transport=seawall.AsyncTransport(retry=retry, **settings))
        try:
            yield sdk
        finally:
            await sdk.close()

    async def ask(self, sdk: Any) -> Any:
        return (await sdk.chat(**ASKED)).message.content

    async def stream(self, sdk: Any) -> AsyncIterator[str]:
        async for part in await sdk.chat(**ASKED, stream=True):
            yield part.message.content
