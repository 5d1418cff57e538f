"""
``seawall fetch --queue`` with one worker and with more: how many URLs a second.

Each host is an address of 127.0.1.0/24, whose server answers after --latency. What is timed is the server's: from the
first request to the last answer, so that the start of processes doesn't count. Where --latency bounds a worker, and not
the machine's cores, twice the workers should do twice the work.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from .machine import conditions, raise_descriptors, start
from .reality.place import Places, program
from .shared import redis_server

SEAWALL = (sys.executable, "-c", "import seawall.cli; seawall.cli.main()")
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 2000\r\n\r\n" + b"x" * 2000


async def serve(latency: float) -> None:
    """Print the port; at the end of the input, how many requests came, and in which time."""
    loop, times = asyncio.get_running_loop(), list[float]()

    class Answering(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.Transport)
            self._transport = transport

        def data_received(self, data: bytes) -> None:
            times.append(time.perf_counter())
            loop.call_later(latency, self._transport.write, ANSWER)

    server = await loop.create_server(Answering, "0.0.0.0", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    print(json.dumps({"count": len(times), "seconds": times[-1] - times[0] + latency}))


def run(workers: int, options: argparse.Namespace, folder: Path) -> dict[str, float]:
    """One job, by so many workers."""
    with ExitStack() as stack:
        place = stack.enter_context(Places(folder).place(0))
        port = place.port()
        redis_server(place, port)
        url = f"redis://{place.address}:{port}"
        server = stack.enter_context(start("benchmarks.workers", "serve", str(options.latency), core=None))
        assert server.stdout is not None
        at = server.stdout.readline().strip()
        urls = folder / "urls.txt"
        hosts = [f"127.0.1.{number % options.hosts + 1}" for number in range(options.urls)]
        urls.write_text("\n".join(f"http://{host}:{at}/{number}" for number, host in enumerate(hosts)))
        fleet = []
        for _ in range(workers):
            worker = subprocess.Popen([*SEAWALL, "fetch", "worker", url], stderr=subprocess.PIPE)
            stack.callback(worker.wait)
            stack.callback(worker.terminate)
            fleet.append(worker)
        for worker in fleet:
            assert worker.stderr is not None
            worker.stderr.readline()  # that it is one
        given = {"--parcel": 25, "--concurrency": options.concurrency, "--per-host": max(1, options.concurrency // 4)}
        command = [*SEAWALL, "fetch", str(urls), "--out", str(folder / "out.jsonl"), "--no-robots", "--queue", url]
        command += [str(each) for pair in given.items() for each in pair]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600)
        if done.returncode:
            raise ValueError(done.stdout + done.stderr)
        output, _ = server.communicate("")
        found: dict[str, float] = json.loads(output)
        return found


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks workers", description=(__doc__ or "").partition("\n\n")[0]
    )
    parser.add_argument("--workers", default="1,2")
    parser.add_argument("--urls", type=int, default=2000)
    parser.add_argument("--hosts", type=int, default=50)
    parser.add_argument("--concurrency", type=int, default=20, help="URLs in flight at each worker")
    parser.add_argument("--latency", type=float, default=0.1, help="seconds from a request to its answer")
    parser.add_argument("--repeat", type=int, default=1)
    options = parser.parse_args(arguments)
    if program("redis-server") is None:
        print("needs redis-server, which is not installed")
        return 1
    print(conditions(["taskiq", "taskiq-redis"], arguments, "workers"))
    print("| workers | URLs | seconds | URLs a second | times the first |")
    print("|---|---|---|---|---|")
    first = 0.0
    for workers in map(int, options.workers.split(",")):
        found = []
        for _ in range(options.repeat):
            with tempfile.TemporaryDirectory() as folder:
                found.append(run(workers, options, Path(folder)))
        seconds = statistics.median(each["seconds"] for each in found)
        rate = options.urls / seconds
        first = first or rate
        print(f"| {workers} | {found[-1]['count']:,} | {seconds:.1f} | {rate:.0f} | {rate / first:.2f} |", flush=True)
    return 0


if __name__ == "__main__":
    raise_descriptors()
    asyncio.run(serve(float(sys.argv[2])))
