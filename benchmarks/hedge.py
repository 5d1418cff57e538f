"""
The slowest answers with and without a second attempt, on real sockets: a server in a process of its own takes 10 ms for
an answer, but 1 s for one of a hundred, or for all at one of its five addresses.

Calls begin at random instants, whether earlier ones have ended or not. The first seconds don't count, because a
quantile wants samples.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from typing import NamedTuple

import seawall
from seawall.errors import SeawallError

from .machine import CLIENT_CORE, SERVER_CORE, conditions, pin, start

USUAL, SLOW = 0.010, 1.0  # seconds for an answer
SHARE = 0.01  # of answers that are slow
ADDRESSES = tuple(f"127.0.0.{number}" for number in range(1, 6))
RATE, WARM = 400.0, 5.0  # calls/s, s
CASES = {
    "all answer in 10 ms": "none",
    "1 % take 1 s": "some",
    "one of five addresses takes 1 s": "one",
}
HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


class Answering(asyncio.Protocol):
    """A connection's side of the server; *slow* is a value of `CASES`."""

    asked = 0

    def __init__(self, slow: str, rng: Random) -> None:
        self._slow = slow
        self._rng = rng

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._address: str = transport.get_extra_info("sockname")[0]

    def data_received(self, data: bytes) -> None:
        if data.startswith(b"GET /asked"):
            count = str(Answering.asked).encode()
            self._transport.write(HEAD.replace(b"2\r\n\r\nok", b"%d\r\n\r\n%s" % (len(count), count)))
            return
        Answering.asked += 1
        is_slow = self._address == ADDRESSES[0] if self._slow == "one" else self._rng.random() < SHARE
        delay = SLOW if is_slow and self._slow != "none" else USUAL
        asyncio.get_running_loop().call_later(delay, self._transport.write, HEAD)


async def serve(slow: str) -> None:
    """Print the port, and serve until standard input ends."""
    loop, rng = asyncio.get_running_loop(), Random(1)
    first = await loop.create_server(lambda: Answering(slow, rng), ADDRESSES[0], 0, backlog=1000)
    port = first.sockets[0].getsockname()[1]
    for address in ADDRESSES[1:]:
        await loop.create_server(lambda: Answering(slow, rng), address, port, backlog=1000)
    print(port, flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


@contextmanager
def server(slow: str) -> Iterator[str]:
    """The URL of a server in a process of its own."""
    with start("benchmarks.hedge", "--serve", slow, core=SERVER_CORE) as process:
        assert process.stdout is not None
        try:
            port = int(process.stdout.readline())
            yield f"http://five.test:{port}" if slow == "one" else f"http://{ADDRESSES[1]}:{port}"
        finally:
            process.communicate("")


class Run(NamedTuple):
    """Seconds that each good call took, how many failed, and the server's requests for each call."""

    times: list[float]
    failed: int
    load: float

    def quantile(self, share: float) -> float:
        return sorted(self.times)[int(len(self.times) * share)]


async def run(url: str, hedge: seawall.Hedge | None, seconds: float) -> Run:
    """Make calls to *url* through one client."""
    loop, rng = asyncio.get_running_loop(), Random(2)
    names = seawall.dns.StaticResolver({"five.test": list(ADDRESSES)})
    times: list[float] = []
    failed = made = 0
    async with seawall.AsyncClient(hedge=hedge, resolver=names) as client:

        async def call(counts: bool) -> None:
            nonlocal failed
            began_at = loop.time()
            try:
                (await client.get(url)).raise_for_status()
            except SeawallError:
                failed += counts
            else:
                if counts:
                    times.append(loop.time() - began_at)

        began_at, due_at = loop.time(), loop.time()
        async with asyncio.TaskGroup() as group:
            while due_at < began_at + WARM + seconds:
                await asyncio.sleep(due_at - loop.time())
                group.create_task(call(due_at >= began_at + WARM))
                made += 1
                due_at += rng.expovariate(RATE)
        asked = int((await client.get(f"{url}/asked", extensions=seawall.options(hedge=None))).text)
    return Run(times, failed, asked / made)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks hedge", description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--after", default="p95", help="Hedge.after")
    options = parser.parse_args(arguments)
    pin(CLIENT_CORE)
    print(conditions(("seawall",), arguments, "hedge"))
    print(f"\n{'':34}{'hedge':8}{'calls':>8}{'failed':>8}{'p50':>10}{'p99':>10}{'p99.5':>10}{'requests/call':>15}")
    hedges = {"off": None, options.after: seawall.Hedge(after=options.after)}
    for title, slow in CASES.items():
        for name, hedge in hedges.items():
            with server(slow) as url:
                found = asyncio.run(run(url, hedge, options.seconds))
            cells = "".join(f"{found.quantile(share) * 1e3:>7.1f} ms" for share in (0.5, 0.99, 0.995))
            print(f"{title:34}{name:8}{len(found.times):>8}{found.failed:>8}{cells}{found.load:>15.3f}", flush=True)
    return 0


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[2]))
