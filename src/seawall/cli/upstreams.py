"""
The demo's servers, in a process of their own: ``python -m seawall.cli.upstreams`` prints their ports as JSON, and ends
when its standard input does.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from contextlib import AsyncExitStack

from ..testing.dns import DNSServer, Name
from ..testing.http.server import Request, Server

__all__: list[str] = []


async def healthy(request: Request) -> None:
    await request.reply(body=b'{"ok":true}')


def flaky(rng: random.Random) -> object:
    """A handler that answers one request in ten with 503 and resets one in twenty."""

    async def handler(request: Request) -> None:
        chance = rng.random()
        if chance < 0.05:
            request.reset()
        elif chance < 0.15:
            await request.reply(503)
        else:
            await healthy(request)

    return handler


async def slow(request: Request) -> None:
    await request.hang()


async def drip(request: Request) -> None:
    """Sends one byte every 0.2 s, so that no read timeout ever strikes."""
    await request.send(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
    for _ in range(1000):
        await request.send(b"x")
        await asyncio.sleep(0.2)


async def main() -> None:
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as stack:
        handlers = {
            "healthy": healthy,
            "flaky": flaky(random.Random(1)),
            "slow": slow,
            "dripping": drip,
            "two-addresses": healthy,
        }
        ports = {}
        for name, handler in handlers.items():
            server = await stack.enter_async_context(Server(handler))  # type: ignore[arg-type]
            ports[name] = server.port
        zone = {f"{name}.test": Name(a=("127.0.0.1",)) for name in ports}
        zone["two-addresses.test"] = Name(a=("127.0.0.3", "127.0.0.1"))  # nothing listens on the first
        zone["silent-dns.test"] = Name(drop=-1)
        dns = await stack.enter_async_context(DNSServer(zone))
        print(json.dumps({"ports": ports | {"silent-dns": 80}, "dns": dns.address}), flush=True)
        await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
