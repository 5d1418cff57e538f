"""
The other side of `dns`, each in a process of its own: ``python -m benchmarks.dns_server dns [PORT]`` and ``http``.

They print their ports, and end when their standard input does.

dns: seawall.testing's server. http: answers with the address that the request came to, 127.0.0.1 or 127.0.0.2. On its
second port, 127.0.0.1 and ::1 are black holes. Nothing listens on ::1 on the first port, nor on 127.0.0.3.
"""

from __future__ import annotations

import asyncio
import sys

from seawall.testing import FaultServer
from seawall.testing.dns import DNSServer, Name

from .machine import raise_descriptors

FIRST, SECOND, REFUSES, SIX = "127.0.0.1", "127.0.0.2", "127.0.0.3", "::1"
BACKLOG = 1024
ZONE = {
    "two.test": Name(a=(FIRST, SECOND)),
    "one.test": Name(a=(SECOND,)),
    "refused.test": Name(a=(REFUSES, FIRST)),
    "six.test": Name(a=(SECOND,), aaaa=(SIX,)),
}


class Telling(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        address = transport.get_extra_info("sockname")[0].encode()
        self._answer = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(address), address)

    def data_received(self, data: bytes) -> None:
        self._transport.write(self._answer * data.count(b"\r\n\r\n"))


def tell(server: str, command: str) -> str:
    """Send a command to the DNS server at "ip:port"; returns the first line of its answer."""
    import dns.message
    import dns.query

    host, port = server.split(":")
    query = dns.message.make_query(f"{command}.ctl.test", "TXT")
    answer = dns.query.tcp(query, host, timeout=5, port=int(port)).answer
    return answer[0].to_text().split('"')[1]


async def serve(kind: str, port: int = 0) -> None:
    loop = asyncio.get_running_loop()
    if kind == "dns":
        async with DNSServer(ZONE, port=port) as names:
            print(names.port, flush=True)
            await loop.run_in_executor(None, sys.stdin.read)
        return
    async with FaultServer() as faults, FaultServer(host=SIX) as others:
        hole = faults.listen("blackhole")
        others.listen("blackhole", port=hole.port)
        await loop.create_server(Telling, SECOND, hole.port, backlog=BACKLOG)
        good = await loop.create_server(Telling, FIRST, 0, backlog=BACKLOG)
        port = good.sockets[0].getsockname()[1]
        await loop.create_server(Telling, SECOND, port, backlog=BACKLOG)
        print(port, hole.port, flush=True)
        await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    raise_descriptors()
    asyncio.run(serve(sys.argv[1], *map(int, sys.argv[2:])))
