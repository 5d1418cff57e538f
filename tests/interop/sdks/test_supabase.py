"""
supabase over `llm_client`, on httpx: its hook is ``httpx_client``.

Its own retries, of a GET, are switched off by ``postgrest_client_retry=False``. ``retry=seawall.Retry()`` repeats no
POST, because that may insert a row a second time.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

import seawall
from seawall.testing import FixedRandom

from .answers import BUSY, cut, says
from .conftest import Serve
from .contract import Answers

supabase = pytest.importorskip("supabase", reason="pip install 'seawall[sdks]'")


class TestSupabase(Answers):
    """Rows of a table. It reads no streams."""

    answer = says([{"text": "hello"}])

    @asynccontextmanager
    async def sdk(self, url: str, **settings: Any) -> AsyncIterator[Any]:
        async with seawall.llm_client(**{"retry": seawall.Retry(), **settings}) as client:
            options = supabase.AsyncClientOptions(httpx_client=client, postgrest_client_retry=False)
            yield await supabase.create_async_client(url, "k", options=options)

    async def ask(self, sdk: Any) -> Any:
        return (await sdk.table("texts").select("*").execute()).data[0]["text"]


@pytest.mark.anyio
async def test_inserts_once(serve: Serve) -> None:
    """A row whose insertion may have been done is not sent again."""
    server = await serve(BUSY)
    async with TestSupabase().sdk(server.url) as sdk:
        with pytest.raises(supabase.PostgrestAPIError):
            await sdk.table("texts").insert({"text": "hello"}).execute()
    assert len(server.requests) == 1


@pytest.mark.anyio
async def test_reads_again_what_was_cut(serve: Serve) -> None:
    """Our client reads the body, so a cut one is repeated."""
    server = await serve(cut('[{"text": '), TestSupabase.answer)
    async with TestSupabase().sdk(server.url) as sdk:
        assert await TestSupabase().ask(sdk) == "hello"
    assert len(server.requests) == 2


@pytest.mark.anyio
async def test_says_that_answers_were_cut(serve: Serve) -> None:
    """The error is ours, because the SDK raises it as it is."""
    server = await serve(cut('[{"text": '))
    async with TestSupabase().sdk(server.url) as sdk:
        with pytest.raises(httpx.RemoteProtocolError) as caught:
            await TestSupabase().ask(sdk)
    assert isinstance(caught.value, seawall.WireError)
    assert len(caught.value.attempts) == len(server.requests) == 3


@pytest.mark.anyio
async def test_retries_of_both_multiply(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the SDK's own three retries left on, a database that is busy gets twelve requests for one SELECT."""
    builder = pytest.importorskip("postgrest._async.request_builder")
    monkeypatch.setattr(builder, "get_retry_delay", lambda attempt_count: 0)
    server = await serve(BUSY)
    async with seawall.llm_client(rng=FixedRandom(0.0)) as client:
        options = supabase.AsyncClientOptions(httpx_client=client)
        sdk = await supabase.create_async_client(server.url, "k", options=options)
        with pytest.raises(supabase.PostgrestAPIError):
            await TestSupabase().ask(sdk)
    assert len(server.requests) == 12
