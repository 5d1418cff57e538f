"""
authlib over `AsyncTransport`: its client is a subclass of the library's, so ``transport=`` is its hook.

It takes httpx2 where that is installed, else httpx. It retries nothing.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import pytest

import seawall
from seawall.testing import FixedRandom
from tests.fronts import FRONTS, Front

from .answers import BUSY, says
from .conftest import Serve
from .contract import Streams

authlib = pytest.importorskip("authlib", reason="pip install 'seawall[sdks]'")
deprecate = pytest.importorskip("authlib.deprecate")

TOKEN = {"access_token": "t", "token_type": "bearer"}


class TestOverHttpx2(Streams):
    """A resource behind a token; lines of a stream. What breaks that off is raised as it is, so the error is ours."""

    answer = says({"text": "hello"})
    events = ("a\n", "b\n", "c\n")
    mime = "text/plain"
    front: ClassVar[Front] = FRONTS["httpx2"]
    lost = front.httpx.RemoteProtocolError

    @pytest.fixture(autouse=True)
    def installed(self) -> Iterator[None]:
        """httpx2 is installed; authlib is imported anew, because it looks once."""
        with pytest.MonkeyPatch.context() as patch:
            for name in [name for name in sys.modules if name.startswith("authlib.integrations")]:
                patch.delitem(sys.modules, name)
            yield

    def oauth(self, **arguments: Any) -> Any:
        """authlib's client."""
        from authlib.integrations.httpx_client import AsyncOAuth2Client

        assert issubclass(AsyncOAuth2Client, self.front.httpx.AsyncClient)
        return AsyncOAuth2Client(**arguments)

    @asynccontextmanager
    async def sdk(self, url: str, **settings: Any) -> AsyncIterator[Any]:
        transport = self.front.seawall.AsyncTransport(**settings)
        async with self.oauth(client_id="c", token=TOKEN, base_url=url, transport=transport) as client:
            yield client

    async def ask(self, sdk: Any) -> Any:
        return (await sdk.get("/")).raise_for_status().json()["text"]

    async def stream(self, sdk: Any) -> AsyncIterator[str]:
        async with sdk.stream("GET", "/") as response:
            async for line in response.aiter_lines():
                yield line

    @pytest.mark.anyio
    async def test_exchanges_a_code_once(self, serve: Serve) -> None:
        """A code is good for one use, so the request that may have used it is not repeated."""
        server = await serve(BUSY)
        async with self.sdk(server.url, rng=FixedRandom(0.0)) as sdk:
            with pytest.raises(self.front.httpx.HTTPStatusError):
                await sdk.fetch_token(server.url, code="once", grant_type="authorization_code")
        assert len(server.requests) == 1

    @pytest.mark.anyio
    async def test_fetches_a_token_as_often_as_it_is_told(self, serve: Serve) -> None:
        """Where it is safe, such as with credentials of a client, ``Retry(methods=None)`` repeats it."""
        server = await serve(BUSY, says(TOKEN))
        retry = seawall.Retry(methods=None)
        async with self.sdk(server.url, rng=FixedRandom(0.0), retry=retry) as sdk:
            assert (await sdk.fetch_token(server.url, grant_type="client_credentials"))["access_token"] == "t"
        assert len(server.requests) == 2


class TestOverHttpx(TestOverHttpx2):
    """The same where httpx2 isn't installed."""

    front = FRONTS["httpx"]
    lost = front.httpx.RemoteProtocolError

    @pytest.fixture(autouse=True)
    def installed(self) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            for name in [name for name in sys.modules if name.startswith("authlib.integrations")]:
                patch.delitem(sys.modules, name)
            patch.setitem(sys.modules, "httpx2", None)
            with pytest.warns(deprecate.AuthlibDeprecationWarning, match="use httpx2"):
                importlib.import_module("authlib.integrations.httpx_client")
            yield
