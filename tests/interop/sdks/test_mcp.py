"""
mcp over `llm_client`: its hooks are ``streamable_http_client(http_client=)`` and ``sse_client(httpx_client_factory=)``.

It repeats no message. It swallows what breaks a stream off, and tells the waiter that the stream ended.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

import seawall
import seawall.httpx2
from seawall.events import BodyEnded
from seawall.testing import FixedRandom, Request, Server

from .answers import BUSY, Answer, cut, says
from .conftest import Serve
from .contract import Streams

mcp = pytest.importorskip("mcp", reason="pip install 'seawall[sdks]'")
http = pytest.importorskip("mcp.client.streamable_http")
sse = pytest.importorskip("mcp.client.sse")

WELCOME = {"protocolVersion": "2025-06-18", "capabilities": {}, "serverInfo": {"name": "s", "version": "1"}}
READ = {"contents": [{"uri": "text:hello", "text": "hello"}]}


def result(request: Request, value: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": json.loads(request.body)["id"], "result": value}


def event(message: Any) -> str:
    return f"event: message\ndata: {json.dumps(message)}\n\n"


def log(text: str) -> str:
    return event({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": text}})


async def hello(request: Request) -> None:
    await says(result(request, READ))(request)


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """As the other SDKs' servers; it answers the handshake too, and doesn't count that."""
    async with AsyncExitStack() as stack:

        async def start(*answers: Answer) -> Server:
            async def handler(request: Request) -> None:
                method = json.loads(request.body)["method"]
                if method == "initialize":
                    answer = says(result(request, WELCOME))
                elif method == "notifications/initialized":
                    answer = says(None, status=202)
                else:
                    await answers[min(len(server.requests), len(answers)) - 1](request)
                    return
                server.requests.remove(request)
                await answer(request)

            server = await stack.enter_async_context(Server(handler))
            return server

        yield start


class Session:
    """An MCP session, and what the server logged in it."""

    def __init__(self, read: Any, write: Any) -> None:
        self.logged: list[str] = []
        self.client = mcp.ClientSession(read, write, logging_callback=self.heard)

    async def heard(self, message: Any) -> None:
        self.logged.append(message.data)


@asynccontextmanager
async def session(client: seawall.httpx2.AsyncClient, url: str) -> AsyncIterator[Session]:
    async with client, http.streamable_http_client(url, http_client=client) as (read, write):
        made = Session(read, write)
        async with made.client:
            await made.client.initialize()
            yield made


class TestMCP(Streams):
    """Resources; a stream is what the server logs while it answers."""

    answer = hello
    events = (*map(log, "abc"), event({"jsonrpc": "2.0", "id": 1, "result": READ}))
    lost = mcp.MCPError
    refused = "Server returned an error response"

    def sdk(self, url: str, **settings: Any) -> Any:
        return session(seawall.httpx2.llm_client(**settings), url)

    async def ask(self, sdk: Any) -> Any:
        return (await sdk.client.read_resource("text:hello")).contents[0].text

    async def stream(self, sdk: Any) -> AsyncIterator[str]:
        try:
            await self.ask(sdk)
        finally:
            for text in sdk.logged:
                yield text

    @pytest.mark.anyio
    async def test_says_that_a_stream_was_cut(self, serve: Serve) -> None:
        """The waiter gets the SDK's error, observers hear of ours, and nothing is sent again."""
        server = await serve(cut(log("a")))
        seen: list[Any] = []
        async with self.sdk(server.url, observers=[seen.append]) as sdk:
            with pytest.raises(mcp.MCPError, match="SSE stream ended without a response"):
                await self.ask(sdk)
            assert sdk.logged == ["a"]
        assert [event.outcome for event in seen if isinstance(event, BodyEnded)][-1] == "BadAnswer"
        assert len(server.requests) == 1


@pytest.mark.anyio
async def test_calls_a_tool_once(serve: Serve) -> None:
    """With seawall's default retries a tool that may have run is not called again."""
    server = await serve(BUSY)
    client = seawall.httpx2.llm_client(retry=seawall.Retry(), rng=FixedRandom(0.0))
    async with session(client, server.url) as sdk:
        with pytest.raises(mcp.MCPError):
            await sdk.client.call_tool("pay", {})
    assert len(server.requests) == 1


@pytest.mark.anyio
async def test_llm_client_is_the_factory_of_sse_client() -> None:
    """``httpx_client_factory=llm_client``: both the stream and a message are begun again where the server is busy."""
    streams: list[Request] = []
    tries = {"GET": 0, "POST": 0}

    async def handler(request: Request) -> None:
        tries[request.method] += 1
        if tries[request.method] == 1:
            await BUSY(request)
        elif request.method == "GET":
            await request.begin(200, {"content-type": "text/event-stream"})
            await request.send(b"event: endpoint\ndata: /messages\n\n")
            streams.append(request)
            await request.hang()
        else:
            await request.reply(202)
            message = json.loads(request.body)
            if "id" in message:
                value = WELCOME if message["method"] == "initialize" else READ
                await streams[0].send(event(result(request, value)).encode())

    def factory(**arguments: Any) -> seawall.httpx2.AsyncClient:
        return seawall.httpx2.llm_client(**arguments, rng=FixedRandom(0.0))

    async with (
        Server(handler) as server,
        sse.sse_client(server.url, httpx_client_factory=factory) as (read, write),
        mcp.ClientSession(read, write) as client,
    ):
        await client.initialize()
        assert (await client.read_resource("text:hello")).contents[0].text == "hello"
    assert tries == {"GET": 2, "POST": 4}
