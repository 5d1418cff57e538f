"""One client's side of ``python -m benchmarks faults``: cells as JSON on its input, with outcomes on its output."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from typing import Any

from .clients import CLIENTS, Setup

CONCURRENT = 8


def _setup(cell: dict[str, Any], authority: str, limits: dict[str, float]) -> Setup:
    return Setup(
        authority=authority,
        timeout=limits["timeout"],
        deadline=limits["deadline"],
        http2=cell["http2"],
        proxy=cell["proxy"] or None,
        nameserver=cell["dns"] or None,
    )


def _headers(cell: dict[str, Any]) -> dict[str, str]:
    return {"expect": "100-continue"} if "continue" in cell["how"] else {}


async def run(cell: dict[str, Any], client: str, authority: str, limits: dict[str, float]) -> None:
    """Send a request to the fault, then a good one on the same client."""
    if cell["skipped"]:
        return
    async with CLIENTS[client].open(_setup(cell, authority, limits)) as ask:
        body = bytes(cell["size"]) or None
        started_at = time.perf_counter()
        try:
            async with asyncio.timeout(limits["guard"]):
                status, content = await ask(cell["method"], cell["url"], body=body, headers=_headers(cell))
            cell["outcome"] = str(status)
            if "/x/ok?" in cell["url"] and status == 200:
                cell["is_right"] = b'"key": "%b"' % cell["key"].encode() in content
        except Exception as error:  # noqa: BLE001
            is_guard = isinstance(error, TimeoutError) and time.perf_counter() - started_at >= limits["guard"]
            cell["outcome"] = "gave up" if is_guard else type(error).__name__
            cell["detail"] = ("" if CLIENTS[client].is_own(error) or is_guard else "foreign: ") + str(error)[:200]
        cell["seconds"] = time.perf_counter() - started_at
        await asyncio.sleep(0.1)  # gives faults of an idle connection time to strike
        try:
            async with asyncio.timeout(limits["guard"]):
                if cell["through"] or not cell["proxy"]:  # because this request would go through a bad proxy too
                    status, content = await ask("GET", cell["good_url"], headers=_headers(cell))
                    cell["is_next_good"] = status == 200 and json.loads(content).get("key") == cell["good_key"]
        except Exception as error:  # noqa: BLE001
            cell["is_next_good"] = False
            cell["detail"] += f" | next: {type(error).__name__}: {error}"[:200]


async def main() -> None:
    client, authority = sys.argv[1:]
    job = json.loads(sys.stdin.read())
    gate = asyncio.Semaphore(CONCURRENT)

    async def gated(cell: dict[str, Any]) -> None:
        async with gate:
            await run(cell, client, authority, job)

    cells = job["cells"]
    await asyncio.gather(*(gated(cell) for cell in cells if not _is_heavy(cell, job)))
    for cell in cells:
        if _is_heavy(cell, job):
            await run(cell, client, authority, job)
    print(json.dumps(cells), flush=True)
    os._exit(0)  # because the interpreter would wait for a thread in getaddrinfo


def _is_heavy(cell: dict[str, Any], job: dict[str, Any]) -> bool:
    return any(each in cell["how"] for each in job["heavy"])


if __name__ == "__main__":
    asyncio.run(main())
