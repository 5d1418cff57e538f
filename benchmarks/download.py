"""A file that is cut many times through ``client.download()``: whether it arrives, what comes twice, and memory."""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import re
import sys
import tempfile
import time
from pathlib import Path

from .machine import CLIENT_CORE, SERVER_CORE, child, conditions, memory, start

BLOCK = 0x10000
ASKED = re.compile(rb"GET /(\d+)/(\d+) ")
RANGE = re.compile(rb"\r\nrange: bytes=(\d+)-", re.IGNORECASE)
HEAD = 'HTTP/1.1 {} X\r\netag: "{}"\r\ncontent-length: {}\r\ncontent-range: bytes {}-{}/{}\r\nconnection: close\r\n\r\n'


def block(number: int) -> bytes:
    """64 KiB of the file, no two of which are alike."""
    return number.to_bytes(8, "big") * (BLOCK // 8)


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send ``/SIZE/CUTS`` from the byte that is asked for to the next cut, or to the end."""
    head = await reader.readuntil(b"\r\n\r\n")
    asked, rest = ASKED.match(head), RANGE.search(head)
    assert asked is not None
    size, cuts, at = int(asked[1]), int(asked[2]), 0 if rest is None else int(rest[1])
    step = -(-size // (cuts + 1))
    stop = min(size, (at // step + 1) * step)
    status = 200 if rest is None else 206
    writer.write(HEAD.format(status, size, size - at, at, size - 1, size).encode())
    while at < stop:
        number, skipped = divmod(at, BLOCK)
        part = block(number)[skipped : skipped + stop - at]
        writer.write(part)
        at += len(part)
        await writer.drain()
    writer.close()


async def server() -> None:
    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(listening.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


async def run(url: str, folder: str, size: int, cuts: int, sha256: str) -> dict[str, float]:
    import seawall

    async with seawall.AsyncClient() as client:
        await client.download(f"{url}/1000000/2", Path(folder, "warm"))
        before, _ = memory()
        cpu, wall = time.process_time(), time.perf_counter()
        done = await client.download(f"{url}/{size}/{cuts}", Path(folder, "file"), sha256=sha256)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    assert done.size == size
    assert done.verified == ("sha256=",)
    return {
        "calls": done.resumptions + 1,
        "twice": (done.received - size) / size,
        "growth_mb": memory()[1] - before,
        "wall": wall,
        "cpu": cpu,
    }


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks download", description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=1.0)
    parser.add_argument("--cuts", type=int, default=20)
    options = parser.parse_args(arguments)
    print(conditions(["httpx"], arguments, "download"))
    size = int(options.gigabytes * 1e9)
    expected = hashlib.sha256()
    for number in range(-(-size // BLOCK)):
        expected.update(block(number)[: size - number * BLOCK])
    with (
        tempfile.TemporaryDirectory() as folder,
        start("benchmarks.download", "serve", core=SERVER_CORE) as process,
    ):
        assert process.stdout is not None
        url = f"http://127.0.0.1:{process.stdout.readline().strip()}"
        given = (url, folder, size, options.cuts, expected.hexdigest())
        found = json.loads(child("benchmarks.download", *given, seconds=300, core=CLIENT_CORE))
        process.communicate("")
    print(
        f"{size / 1e9:g} GB, cut {options.cuts} times: whole, its digest is right; {found['calls']} calls, "
        f"{found['twice']:.2%} came twice, memory grew by {found['growth_mb']:.1f} MB, "
        f"{found['wall']:.1f} s, {found['cpu']:.1f} s CPU"
    )
    return 0


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        asyncio.run(server())
    else:
        print(json.dumps(asyncio.run(run(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5]))))
