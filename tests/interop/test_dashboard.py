"""The dashboard behind servers of others: uvicorn, Starlette's mounts, aiohttp; and who may give it orders."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import fastapi
import httpx
import pytest
from aiohttp import web

import seawall
from seawall.integrations.aiohttp import dashboard_handler
from seawall.integrations.dashboard import dashboard
from seawall.integrations.dashboard.page import page
from seawall.testing import ScriptedWire, Server
from tests.interop.servers import aiohttp_app, asgi

pytestmark = pytest.mark.anyio


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
async def upstream(stack: AsyncExitStack) -> str:
    return (await stack.enter_async_context(Server(lambda request: request.reply()))).url


@pytest.fixture
async def client(stack: AsyncExitStack, upstream: str) -> seawall.AsyncClient:
    """Has made a call."""
    return await stack.enter_async_context(seawall.AsyncClient())


@pytest.fixture
async def reader(stack: AsyncExitStack) -> seawall.AsyncClient:
    """Reads dashboards, and isn't on one."""
    return await stack.enter_async_context(seawall.AsyncClient(retry=None))


@pytest.fixture(params=["starlette", "aiohttp"])
async def url(request: Any, stack: AsyncExitStack, client: seawall.AsyncClient) -> str:
    """A dashboard that is mounted at /seawall of an application."""
    if request.param == "starlette":
        app = fastapi.FastAPI()
        app.mount("/seawall", dashboard(client, allow_control=True, max_streams=2))
        return f"{await stack.enter_async_context(asgi(app))}/seawall/"
    other = web.Application()
    handler = dashboard_handler(client, allow_control=True, max_streams=2)
    other.router.add_route("*", "/seawall/{path:.*}", handler)
    return f"{await stack.enter_async_context(aiohttp_app(other))}/seawall/"


async def events(lines: AsyncIterator[str], count: int) -> list[dict[str, Any]]:
    """The next frames of a stream."""
    found: list[dict[str, Any]] = []
    async for line in lines:
        if line.startswith("data: "):
            found.append(json.loads(line[6:]))
            if len(found) == count:
                break
    return found


async def test_its_page_and_its_figures(client, reader, url, upstream):
    """The page with its policy, the JSON, what isn't there, and a filter that has to be quoted."""
    await client.get(upstream)
    shown = await reader.get(url)
    assert (shown.content, shown.headers["content-security-policy"]) == page()
    assert shown.headers["content-type"] == "text/html; charset=utf-8"
    stats = await reader.get(f"{url}stats")
    assert (stats.headers["content-type"], stats.headers["cache-control"]) == ("application/json", "no-store")
    assert [row["origin"] for row in stats.json()["origins"]] == [upstream]
    for wanted, count in ((upstream, 1), ("a&b=c%20+", 0)):
        assert (await reader.get(f"{url}stats", params={"filter": wanted})).json()["matching"] == count
    assert (await reader.get(f"{url}nothing")).status_code == 404
    assert (await reader.head(url)).headers["content-length"] == str(len(page().html))
    assert (await reader.put(url)).status_code == 405


async def test_its_stream(client, reader, url, upstream):
    """Frames come while calls are made; a third reader is refused; readers that leave give their places back."""
    async with reader.stream("GET", f"{url}stream") as first, reader.stream("GET", f"{url}stream") as second:
        lines = first.aiter_lines()
        (before,) = await events(lines, 1)
        await client.get(upstream)
        after = (await events(lines, 2))[-1]
        assert (before["origins"], after["origins"][0]["total"]) == ([], 1)
        assert (await events(second.aiter_lines(), 1))[0]["version"] == 1
        refused = await reader.get(f"{url}stream")
        assert (refused.status_code, "2 streams are open" in refused.text) == (503, True)
    while (await reader.head(f"{url}stream")).status_code == 503:  # the server notices within a second or two
        await asyncio.sleep(0.05)


async def test_a_mount_without_its_slash(stack, client, reader):
    """Leads to the page, whose links are relative."""
    app = fastapi.FastAPI()
    app.mount("/seawall", dashboard(client))
    url = await stack.enter_async_context(asgi(app))
    shown = await reader.get(f"{url}/seawall", follow_redirects=True)
    assert (shown.status_code, shown.url.path) == (200, "/seawall/")
    assert (await reader.get(shown.url.join("stats"))).json()["version"] == 1


async def test_behind_a_proxy_that_takes_a_prefix_away(stack, client, reader):
    """The server says so with its root_path."""
    app = fastapi.FastAPI()
    app.mount("/seawall", dashboard(client))
    for mounted, path in ((app, "/seawall/stats"), (dashboard(client), "/stats")):
        url = await stack.enter_async_context(asgi(mounted, root_path="/outer"))
        assert (await reader.get(f"{url}{path}")).json()["version"] == 1


async def test_it_stands_alone(stack, client, reader):
    """As an application of its own, with lifespan events and without."""
    app = dashboard(client)
    sent: list[str] = []
    messages = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message["type"])

    await app({"type": "lifespan"}, receive, send)
    await app({"type": "websocket"}, receive, send)
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete", "websocket.close"]
    assert (await reader.get(f"{await stack.enter_async_context(asgi(app))}/stats")).status_code == 200


SAME = {"x-seawall": "1", "sec-fetch-site": "same-origin"}


async def order(reader: seawall.AsyncClient, url: str, headers: dict[str, str], **body: Any) -> tuple[int, str]:
    response = await reader.post(f"{url}control", headers=headers, json=body)
    return response.status_code, response.text


async def test_orders(client, reader, url, upstream):
    """Breakers are forced open, closed, and left to themselves again."""
    await client.get(upstream)
    for action, state in (("force_open", "forced open"), ("force_closed", "forced closed"), ("reset", "closed")):
        assert await order(reader, url, SAME, id=f"0 {upstream}", action=action) == (
            200,
            json.dumps({"breaker": state}, separators=(",", ":")),
        )
        assert client.breakers[upstream].state == state
    assert (await reader.get(f"{url}stats")).json()["can_control"] is True


@pytest.mark.parametrize("host", ["a.test.", "a$b"])
async def test_orders_for_an_odd_host(stack, reader, host):
    """The breaker of exactly that origin moves, not that of another spelling; hosts of calls may be any text."""
    client = seawall.AsyncClient(transport=ScriptedWire(200, 200))
    await stack.enter_async_context(client)
    url = await stack.enter_async_context(asgi(dashboard(client, allow_control=True)))
    for each in ("a.test", host):
        await client.get(f"http://{each}/")
    status, text = await order(reader, f"{url}/", SAME, id=f"0 http://{host}:80", action="force_open")
    assert status == 200, text
    states = {origin.host: state.breaker for origin, state in client.stats().origins.items()}
    assert states == {"a.test": "closed", host: "forced open"}
    assert {url: breaker.state for url, breaker in client.breakers.items()}[f"http://{host}:80"] == "forced open"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"x-seawall": "1", "sec-fetch-site": "same-origin"}, 200),
        ({"x-seawall": "1", "origin": "self"}, 200),
        ({"sec-fetch-site": "same-origin"}, 403),
        ({"x-seawall": "1"}, 403),
        ({"x-seawall": "1", "origin": "null"}, 403),
        ({"x-seawall": "1", "origin": "http://["}, 403),
        ({"x-seawall": "1", "origin": "https://evil.test"}, 403),
        ({"x-seawall": "1", "origin": "self", "sec-fetch-site": "same-site"}, 403),
        ({"x-seawall": "1", "origin": "self", "sec-fetch-site": "cross-site"}, 403),
        ({"x-seawall": "1", "sec-fetch-site": "none"}, 403),
    ],
)
async def test_whose_orders_are_taken(client, reader, url, upstream, headers, status):
    """Those of its own page: a form or a script of another origin can't send the header, and has another Origin."""
    await client.get(upstream)
    mine = url.removesuffix("/seawall/")
    sent = {name: mine if value == "self" else value for name, value in headers.items()}
    assert (await order(reader, url, sent, id=f"0 {upstream}", action="force_open"))[0] == status
    assert client.breakers[upstream].is_forced is (status == 200)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"[1]", 400),
        (b"{", 400),
        (b"[" * 4000, 400),
        (b"{}" + b" " * 5000, 413),
        (b'{"id": 1, "action": "reset"}', 400),
        (b'{"id": "0 http://a.test:80", "action": "__class__"}', 400),
        (b'{"id": "0 http://a.test:80", "action": ["reset"]}', 400),
        (b'{"id": "0 http://a.test:80", "action": "reset"}', 404),
        (b'{"id": "99 http://a.test:80", "action": "reset"}', 404),
    ],
)
async def test_orders_that_are_none(client, reader, url, body, status):
    """A clear answer; and no state is made for an origin that was never called."""
    response = await reader.post(f"{url}control", headers=SAME, content=body)
    assert (response.status_code, bool(response.text)) == (status, True)
    assert client.stats().origins == {}


async def test_a_breaker_that_is_off(stack, reader, upstream):
    """Can't be forced."""
    client = await stack.enter_async_context(seawall.AsyncClient(breaker=None))
    url = await stack.enter_async_context(asgi(dashboard(client, allow_control=True)))
    await client.get(upstream)
    status, text = await order(reader, f"{url}/", SAME, id=f"0 {upstream}", action="reset")
    assert (status, text) == (409, "the breaker of this origin is off")


async def test_it_is_read_only_by_default(stack, client, reader, upstream):
    """There is no route for orders at all."""
    url = await stack.enter_async_context(asgi(dashboard(client)))
    await client.get(upstream)
    assert (await order(reader, f"{url}/", SAME, id=f"0 {upstream}", action="force_open"))[0] == 404
    assert client.breakers[upstream].state == "closed"


async def test_long_order_is_not_held_in_memory(url):
    """In neither server: the answer comes before the order's end."""
    parts = httpx.URL(url)
    reading, writer = await asyncio.open_connection(parts.host, parts.port)
    head = ["POST /seawall/control HTTP/1.1", "Host: a", "Transfer-Encoding: chunked", *map(": ".join, SAME.items())]
    writer.write("\r\n".join((*head, "", "1001", "x" * 0x1001, "")).encode())
    try:
        async with asyncio.timeout(5):
            assert (await reading.readline()).startswith(b"HTTP/1.1 413 ")
    finally:
        writer.close()
