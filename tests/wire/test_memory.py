"""What bodies take of memory."""

from __future__ import annotations

import subprocess
import sys

import pytest

from seawall.testing import FaultProcess

PEAK = """
def peak():  # kB of this process; ru_maxrss would have those of the one that started it
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
"""

READ = """
import asyncio, sys, seawall

async def main(url):
    async with seawall.AsyncClient(http1=not sys.argv[2:], http2=bool(sys.argv[2:])) as client:
        await client.get(url.rpartition(":")[0])
        before, size = peak(), 0
        async with client.stream("GET", url) as response:
            async for part in response.aiter_raw():
                size += len(part)
                if size % 7 == 0:
                    await asyncio.sleep(0.001)  # slower than the server, now and then
        print(size, peak() - before)

asyncio.run(main(sys.argv[1]))
"""

WHOLE = """
import asyncio, sys, seawall

async def main(url):
    async with seawall.AsyncClient(timeout=60) as client:
        await client.get(url.rpartition(":")[0])
        before = peak()
        content = (await client.get(url)).content
        print(len(content), peak() - before)

asyncio.run(main(sys.argv[1]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
@pytest.mark.parametrize(("port", "size"), [("", 3 * 10**8), ("h2:clear", 5 * 10**7)], ids=["HTTP/1.1", "HTTP/2"])
def test_a_body_takes_the_memory_of_its_parts(port, size):
    """Less than 20 MB of it is ever there, of 300 MB or 50 MB: the server is made to wait."""
    with FaultProcess() as server:
        url = server.listen(port) if port else server.url
        command = [sys.executable, "-c", PEAK + READ, f"{url}/x/ok:{size}", *([port] if port else [])]
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=600)
    read, growth = map(int, done.stdout.split())
    assert read == size
    assert growth < 20_000  # kB


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_a_body_that_is_wanted_whole_is_there_once():
    """100 MB of it take less than 120 MB; its parts, and what they were joined to, would take 200."""
    with FaultProcess() as server:
        command = [sys.executable, "-c", PEAK + WHOLE, f"{server.url}/x/ok:{10**8}"]
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=600)
    size, growth = map(int, done.stdout.split())
    assert size == 10**8
    assert 90_000 < growth < 120_000  # kB
