"""README's comparison, cell by cell, each from a run of that client against a fault server."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import httpx2
import pytest

import seawall
from seawall.testing import FaultServer
from tests.docs.tutorial import ROOT

aiohttp = pytest.importorskip("aiohttp")
httpx_retries = pytest.importorskip("httpx_retries", reason="pip install 'seawall[docs]'")
stamina = pytest.importorskip("stamina", reason="pip install 'seawall[docs]'")

Ask = Callable[[str, str], Awaitable[int]]
CALLS = 100
TIMEOUT = 0.3  # s; less than any client needs to be patient


@asynccontextmanager
async def with_httpx(library: Any = httpx, **arguments: Any) -> AsyncIterator[Ask]:
    async with library.AsyncClient(timeout=TIMEOUT, trust_env=False, **arguments) as client:

        async def ask(method: str, url: str) -> int:
            return (await client.request(method, url)).status_code

        yield ask


@asynccontextmanager
async def with_aiohttp() -> AsyncIterator[Ask]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2 * TIMEOUT)) as session:

        async def ask(method: str, url: str) -> int:
            async with session.request(method, url) as response:
                await response.read()
                return response.status

        yield ask


@asynccontextmanager
async def with_stamina() -> AsyncIterator[Ask]:
    """The decorator around a function that raises for a bad status; without its waits, which only take time."""
    async with with_httpx() as bare:

        @stamina.retry(on=httpx.HTTPError, wait_initial=0, wait_max=0, wait_jitter=0)
        async def ask(method: str, url: str) -> int:
            status = await bare(method, url)
            if status >= 400:
                raise httpx.HTTPError(f"{status}")
            return status

        yield ask


@asynccontextmanager
async def with_seawall(**settings: Any) -> AsyncIterator[Ask]:
    settings = {"retry": seawall.Retry(throttled_backoff=0.01, backoff=0.01)} | settings
    async with seawall.AsyncClient(timeout=TIMEOUT, trust_env=False, **settings) as client:

        async def ask(method: str, url: str) -> int:
            return (await client.request(method, url)).status_code

        yield ask


CLIENTS: dict[str, Callable[..., contextlib.AbstractAsyncContextManager[Ask]]] = {
    "httpx": with_httpx,
    "httpx2": lambda: with_httpx(httpx2),
    "aiohttp": with_aiohttp,
    "httpx-retries": lambda: with_httpx(transport=httpx_retries.RetryTransport()),
    "stamina + httpx": with_stamina,
    "seawall": with_seawall,
}


def told() -> dict[str, dict[str, str]]:
    """Row → client → cell."""
    text = (ROOT / "README.md").read_text()
    head, _, *rows = re.findall(r"^\|.*\|$", text.partition("## Compared")[2], re.MULTILINE)
    names = head.strip(" |").split(" | ")
    assert names == list(CLIENTS)
    found = {}
    for row in rows:
        what, *cells = row.strip("| ").split(" | ")
        if len(cells) != len(names):
            break
        found[what] = dict(zip(names, cells, strict=True))
    return found


TOLD = told()


async def tried(name: str, method: str, url: str) -> int | None:
    """The status, or None for an error."""
    async with CLIENTS[name]() as ask:
        with contextlib.suppress(Exception):
            return await ask(method, url)
    return None


each_client = pytest.mark.parametrize("name", CLIENTS)


def test_every_row_is_held_by_a_test():
    assert list(TOLD) == [
        "retries a GET after a 503",
        "repeats a POST whose answer was lost",
        "ends a body that drips for ever",
        "100 calls to a host that answers 503: requests",
        "leaves a host alone that keeps failing",
        "limits each host by itself",
        "has a client without asyncio",
    ]


@each_client
@pytest.mark.anyio
async def test_a_get_after_a_503(name):
    async with FaultServer() as server:
        status = await tried(name, "GET", server.script("get", "503", "ok"))
    assert TOLD["retries a GET after a 503"][name] == ("yes" if status == 200 else "no")


@each_client
@pytest.mark.anyio
async def test_a_post_whose_answer_was_lost(name):
    async with FaultServer() as server:
        await tried(name, "POST", server.script("post", "reset:headers", "ok"))
        seen = len(server.attempts("post"))
    said = TOLD["repeats a POST whose answer was lost"][name]
    assert said == ("with a key only" if name == "seawall" else "no" if seen == 1 else "yes")
    if name == "seawall":
        assert seen == 1


@each_client
@pytest.mark.anyio
async def test_a_body_that_drips(name):
    """Each gap is shorter than any timeout, and the whole longer than all of them."""
    async with FaultServer() as server:
        url = server.script("drip", "drip:body:0.1:1000")
        makes = CLIENTS[name] if name != "seawall" else lambda: with_seawall(deadline=2 * TIMEOUT)
        ended = "yes"
        async with makes() as ask:
            try:
                async with asyncio.timeout(6 * TIMEOUT):
                    await ask("GET", url)
            except TimeoutError as error:
                ended = "yes" if isinstance(error.__cause__, BaseException) and name == "aiohttp" else "no"
            except Exception:
                ended = "yes"
    assert TOLD["ends a body that drips for ever"][name] == ended


@each_client
@pytest.mark.anyio
async def test_calls_to_a_host_that_is_down(name):
    """A hundred at once, and for seawall one after another too, which is where its breaker strikes first."""
    async with FaultServer() as server:
        counts = []
        for key in ("at once", "in turn") if name == "seawall" else ("at once",):
            url = server.script(key, "503:0" if name == "httpx-retries" else "503")
            async with CLIENTS[name]() as ask:
                if key == "at once":
                    await asyncio.gather(*(ask("GET", url) for _ in range(CALLS)), return_exceptions=True)
                else:
                    for _ in range(CALLS):
                        with contextlib.suppress(seawall.BreakerOpen):
                            await ask("GET", url)
            counts.append(len(server.attempts(key)))
    said = TOLD["100 calls to a host that answers 503: requests"][name].replace(",", "")
    low, _, high = said.partition(" to ")
    assert all(int(low) <= count <= int(high or low) for count in counts), counts


@each_client
@pytest.mark.anyio
async def test_a_host_that_keeps_failing(name):
    """After thirty calls at once, one more still reaches the host, or it doesn't."""
    async with FaultServer() as server, CLIENTS[name]() as ask:
        url = server.script("down", "500")
        await asyncio.gather(*(ask("GET", url) for _ in range(30)), return_exceptions=True)
        before = len(server.attempts("down"))
        with contextlib.suppress(Exception):
            await ask("GET", url)
        is_left_alone = len(server.attempts("down")) == before
    assert TOLD["leaves a host alone that keeps failing"][name] == ("yes" if is_left_alone else "no")


@pytest.mark.anyio
async def test_limits_for_each_host():
    """aiohttp's connector limits the connections of a host; seawall's bulkhead the attempts at an origin."""
    row = TOLD["limits each host by itself"]
    assert aiohttp.TCPConnector(limit_per_host=3).limit_per_host == 3
    async with seawall.AsyncClient(bulkhead=seawall.Bulkhead(max_concurrent=3)) as client:
        assert client.engine is not None
    assert not any("host" in name for name in httpx.Limits.__init__.__annotations__)
    assert row == dict.fromkeys(CLIENTS, "no") | {"aiohttp": "connections", "seawall": "yes"}


def test_a_client_without_asyncio():
    found = {
        "httpx": hasattr(httpx, "Client"),
        "httpx2": hasattr(httpx2, "Client"),
        "aiohttp": hasattr(aiohttp, "Client"),
        "httpx-retries": isinstance(httpx_retries.RetryTransport(), httpx.BaseTransport),
        "stamina + httpx": True,  # its decorator takes functions of both kinds
        "seawall": hasattr(seawall, "Client"),
    }
    assert TOLD["has a client without asyncio"] == {name: "yes" if has else "no" for name, has in found.items()}
