"""One client's side of ``python -m benchmarks faults``: cells as JSON on its input, with outcomes on its output."""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

Ask = Callable[[str, str, bytes | None], Awaitable[tuple[int, bytes]]]
CONCURRENT = 8


@asynccontextmanager
async def httpx_client(cell: dict[str, Any], tls: ssl.SSLContext, limits: dict[str, float]) -> AsyncIterator[Ask]:
    import httpx

    async with httpx.AsyncClient(
        verify=tls, timeout=limits["timeout"], http2=cell["http2"], proxy=cell["proxy"] or None, trust_env=False
    ) as client:
        yield _asking(client, cell)


@asynccontextmanager
async def seawall_client(cell: dict[str, Any], tls: ssl.SSLContext, limits: dict[str, float]) -> AsyncIterator[Ask]:
    import seawall

    async with seawall.Client(
        verify=tls,
        timeout=limits["timeout"],
        deadline=limits["deadline"],
        http2=cell["http2"],
        proxy=cell["proxy"] or None,
        trust_env=False,
        dns=seawall.DNS(nameservers=(cell["dns"],) if cell["dns"] else None),
    ) as client:
        yield _asking(client, cell)


@asynccontextmanager
async def aiohttp_client(cell: dict[str, Any], tls: ssl.SSLContext, limits: dict[str, float]) -> AsyncIterator[Ask]:
    import aiohttp

    seconds = limits["timeout"]
    timeout = aiohttp.ClientTimeout(total=limits["deadline"], connect=seconds, sock_connect=seconds, sock_read=seconds)
    resolver = aiohttp.AsyncResolver(nameservers=[cell["dns"]]) if cell["dns"] else None
    connector = aiohttp.TCPConnector(ssl=tls, resolver=resolver)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:

        async def ask(method: str, url: str, body: bytes | None) -> tuple[int, bytes]:
            proxy = cell["proxy"] or None
            async with session.request(method, url, data=body, headers=_headers(cell), proxy=proxy) as response:
                return response.status, await response.read()

        yield ask
    if resolver is not None:
        await resolver.close()


CLIENTS = {"httpx": httpx_client, "aiohttp": aiohttp_client, "seawall": seawall_client}


def _asking(client: Any, cell: dict[str, Any]) -> Ask:
    """By a client of httpx's API."""

    async def ask(method: str, url: str, body: bytes | None) -> tuple[int, bytes]:
        response = await client.request(method, url, content=body, headers=_headers(cell))
        return response.status_code, response.content

    return ask


def _headers(cell: dict[str, Any]) -> dict[str, str]:
    return {"expect": "100-continue"} if "continue" in cell["how"] else {}


async def run(cell: dict[str, Any], client: str, tls: ssl.SSLContext, limits: dict[str, float]) -> None:
    """The fault, then a good request on the same client."""
    if cell["skipped"]:
        return
    async with CLIENTS[client](cell, tls, limits) as ask:
        body = bytes(cell["size"]) or None
        started_at = time.perf_counter()
        try:
            async with asyncio.timeout(limits["guard"]):
                status, content = await ask(cell["method"], cell["url"], body)
            cell["outcome"] = str(status)
            if "/x/ok?" in cell["url"] and status == 200:
                cell["is_right"] = b'"key": "%b"' % cell["key"].encode() in content
        except Exception as error:  # noqa: BLE001
            is_guard = isinstance(error, TimeoutError) and time.perf_counter() - started_at >= limits["guard"]
            cell["outcome"] = "gave up" if is_guard else type(error).__name__
            cell["detail"] = ("" if _is_own(error, client) or is_guard else "foreign: ") + str(error)[:200]
        cell["seconds"] = time.perf_counter() - started_at
        await asyncio.sleep(0.1)  # for what strikes an idle connection
        try:
            async with asyncio.timeout(limits["guard"]):
                if not cell["proxy"]:  # through which it would go too
                    status, content = await ask("GET", cell["good_url"], None)
                    cell["is_next_good"] = status == 200 and json.loads(content).get("key") == cell["good_key"]
        except Exception as error:  # noqa: BLE001
            cell["is_next_good"] = False
            cell["detail"] += f" | next: {type(error).__name__}: {error}"[:200]


def _is_own(error: Exception, client: str) -> bool:
    """Whether callers who catch what the client's docs name catch it."""
    if client == "aiohttp":
        import aiohttp

        return isinstance(error, aiohttp.ClientError | TimeoutError)
    import httpx

    return isinstance(error, httpx.HTTPError | httpx.InvalidURL)


async def main() -> None:
    client, authority = sys.argv[1:]
    job = json.loads(sys.stdin.read())
    tls = ssl.create_default_context(cafile=authority)
    gate = asyncio.Semaphore(CONCURRENT)

    async def gated(cell: dict[str, Any]) -> None:
        async with gate:
            await run(cell, client, tls, job)

    cells = job["cells"]
    await asyncio.gather(*(gated(cell) for cell in cells if not _is_heavy(cell, job)))
    for cell in cells:
        if _is_heavy(cell, job):
            await run(cell, client, tls, job)
    print(json.dumps(cells))


def _is_heavy(cell: dict[str, Any], job: dict[str, Any]) -> bool:
    return any(each in cell["how"] for each in job["heavy"])


if __name__ == "__main__":
    asyncio.run(main())
