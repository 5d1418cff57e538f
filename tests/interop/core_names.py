"""
Calls that a tool watches, and tunnels to IPv6, over a release of httpx or httpcore that keeps things elsewhere.

One line each of what came of it; run by test_private_names.py in a process of its own.
"""

from __future__ import annotations

import asyncio
import functools
import importlib
import sys
from typing import Any

LIBRARY, URL = sys.argv[1:]
HTTPX = importlib.import_module(LIBRARY)
CORE = importlib.import_module(LIBRARY.replace("httpx", "httpcore"))
SEAWALL = importlib.import_module("seawall")
FRONT = importlib.import_module("seawall.httpx2") if LIBRARY == "httpx2" else SEAWALL


async def called(name: str, url: str, **settings: Any) -> None:
    try:
        async with FRONT.AsyncClient(**settings) as client:
            print(name, (await client.get(url)).status_code)
    except Exception as error:
        print(name, type(error).__name__)


async def patched(kind: Any) -> None:
    own = kind.handle_async_request

    @functools.wraps(own)
    async def watched(self: Any, request: Any) -> Any:
        return await own(self, request)

    kind.handle_async_request = watched
    await called(kind.__name__, URL, trust_env=False)
    await called(f"{kind.__name__} guarded", URL, trust_env=False, guard=SEAWALL.Guard())
    kind.handle_async_request = own


async def tunnelled() -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        print((await reader.readuntil(b"\r\n\r\n")).partition(b"\r\n")[0].decode())
        writer.write(b"HTTP/1.1 407 No\r\ncontent-length: 0\r\n\r\n")
        writer.close()

    proxy = await asyncio.start_server(refuse, "127.0.0.1", 0)
    for host in ("[::1]", "a.test"):
        port = proxy.sockets[0].getsockname()[1]
        await called("tunnelled", f"https://{host}/", proxy=f"http://127.0.0.1:{port}", trust_env=False)
    proxy.close()


async def main() -> None:
    for kind in (HTTPX.AsyncHTTPTransport, CORE.AsyncConnectionPool, CORE.AsyncHTTPConnection):
        await patched(kind)
    await tunnelled()


asyncio.run(main())
