"""
qdrant-client over `AsyncTransport`, on httpx: it makes its client itself, and hands it what it doesn't know itself.

So ``transport=`` is its hook. It retries nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

import seawall

from .answers import cut, says
from .conftest import Serve
from .contract import Answers

qdrant = pytest.importorskip("qdrant_client", reason="pip install 'seawall[sdks]'")
exceptions = pytest.importorskip("qdrant_client.http.exceptions")

HELLO = says({"result": {"collections": [{"name": "hello"}]}, "status": "ok", "time": 0.0})


class TestQdrant(Answers):
    """Names of collections. It reads no streams."""

    answer = HELLO

    @asynccontextmanager
    async def sdk(self, url: str, **settings: Any) -> AsyncIterator[Any]:
        transport = seawall.AsyncTransport(**settings)
        sdk = qdrant.AsyncQdrantClient(url, check_compatibility=False, transport=transport)
        try:
            yield sdk
        finally:
            await sdk.close()

    async def ask(self, sdk: Any) -> Any:
        return (await sdk.get_collections()).collections[0].name


@pytest.mark.anyio
async def test_says_that_an_answer_was_cut(serve: Serve) -> None:
    """The SDK's own error tells of ours; a body that the SDK's client reads is not the transport's to repeat."""
    server = await serve(cut('{"result": '))
    async with TestQdrant().sdk(server.url) as sdk:
        with pytest.raises(exceptions.ResponseHandlingException) as caught:
            await sdk.get_collections()
    (error,) = caught.value.args
    assert isinstance(error, seawall.WireError)
    assert [attempt.outcome for attempt in error.attempts] == ["200"]
    assert len(server.requests) == 1
