"""Bodies that are streamed don't pile up."""

from __future__ import annotations

import subprocess
import sys

import pytest

from seawall.testing import FaultProcess

READ = """
import asyncio, resource, sys, seawall

async def main(url):
    async with seawall.AsyncClient(http1=not sys.argv[2:], http2=bool(sys.argv[2:])) as client:
        await client.get(url.rpartition(":")[0])
        before, size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, 0
        async with client.stream("GET", url) as response:
            async for part in response.aiter_raw():
                size += len(part)
                if size % 7 == 0:
                    await asyncio.sleep(0.001)  # slower than the server, now and then
        print(size, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)

asyncio.run(main(sys.argv[1]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in other units elsewhere")
@pytest.mark.parametrize(("port", "size"), [("", 3 * 10**8), ("h2:clear", 5 * 10**7)], ids=["HTTP/1.1", "HTTP/2"])
def test_a_body_takes_the_memory_of_its_parts(port, size):
    """Less than 20 MB of it is ever there, of 300 MB or 50 MB: the server is made to wait."""
    with FaultProcess() as server:
        url = server.listen(port) if port else server.url
        command = [sys.executable, "-c", READ, f"{url}/x/ok:{size}", *([port] if port else [])]
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=600)
    read, growth = map(int, done.stdout.split())
    assert read == size
    assert growth < 20_000  # kB
