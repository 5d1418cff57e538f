"""
Many URLs over many hosts, some of which are bad: what arrives, how long it takes, and CPU.

Each host is an address of 127.0.1.0/24. Of 50, eight are bad (each in its own way) and one takes 2 s for each answer.
The others answer in 20 ms; 2 % of their first attempts are a 503, and 1 % a reset. aiohttp and httpx are used as a
careful scraper would by hand: 100 at a time, 10 s for each of three attempts, with backoff. seawall has the same 30 s
for each URL; Scrapy and Crawlee, where they are installed, as many places, attempts and seconds. ``--hosts 100000`` has
names in place of addresses, which a DNS server on loopback knows, and all hosts are good; only seawall can be told of
that server.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

from seawall.testing import FaultServer
from seawall.testing.dns import DNSServer, Name

from .machine import CLIENT_CORE, SERVER_CORE, child, conditions, memory, raise_descriptors, start

CONCURRENCY, TRIES, TIMEOUT = 100, 3, 10.0
BAD = ("500", "reset", "hang", "drip", "garbage", "refused", "blackhole", "name")
DELAY, SLOW = 0.02, 2.0
BODY = b"x" * 2000
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(BODY), BODY)
ERROR = b"HTTP/1.1 %d X\r\ncontent-length: 0\r\n\r\n"
KINDS = dict(enumerate((*BAD, "slow"), 1))
SEEN: set[bytes] = set()  # requests whose first attempt failed


class Answering(asyncio.Protocol):
    """One connection to a host, whose address says of which kind it is."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._number = int(transport.get_extra_info("sockname")[0].rpartition(".")[2])
        self._later = asyncio.get_running_loop().call_later

    def data_received(self, data: bytes) -> None:
        path = data.split(b" ", 2)[1]
        match KINDS.get(self._number):
            case "500":
                self._transport.write(ERROR % 500)
            case "reset":
                self._transport.abort()
            case "garbage":
                self._transport.write(b"\x16\x03\x01 this is no HTTP\r\n\r\n")
            case "drip":
                self._transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
                self._drip()
            case "hang":
                pass
            case "slow":
                self._later(SLOW, self._transport.write, ANSWER)
            case _:
                self._answer(int(path.rpartition(b"/")[2]), b"%d %s" % (self._number, path))

    def _answer(self, number: int, key: bytes) -> None:
        share = number * 7919 % 100
        is_first = share < 3 and key not in SEEN
        if is_first:
            SEEN.add(key)
        if is_first and share == 0:
            self._transport.abort()
        elif self._number == 0:
            self._transport.write(ANSWER)
        else:
            self._later(DELAY, self._transport.write, ERROR % 503 if is_first else ANSWER)

    def _drip(self) -> None:
        if not self._transport.is_closing():
            self._transport.write(b"x")
            self._later(1.0, self._drip)


async def serve() -> None:
    loop = asyncio.get_running_loop()
    async with FaultServer(host="127.0.1.7") as faults, DNSServer(base=Name(a=("127.0.1.0",))) as names:
        hole = faults.listen("blackhole")
        good = await loop.create_server(Answering, "0.0.0.0", 0, backlog=4096)
        print(good.sockets[0].getsockname()[1], hole.port, names.port, flush=True)
        await loop.run_in_executor(None, sys.stdin.read)


def host(number: int, port: int, hole: int) -> str:
    match KINDS.get(number):
        case "refused":
            return "127.0.1.6:9"
        case "blackhole":
            return f"127.0.1.7:{hole}"
        case "name":
            return "nobody.invalid"
    return f"127.0.1.{number}:{port}"


def listed(urls: int, hosts: int, port: int, hole: int) -> Iterator[str]:
    """The URLs, in an order of chance that is the same each time."""
    if hosts > 200:
        yield from (
            f"http://h{number * hosts // urls}.ttl-3600.test:{port}/{number % 100 * 100 + 50}" for number in range(urls)
        )
        return
    numbers = [(number % hosts + 1, number // hosts) for number in range(urls)]
    random.Random(0).shuffle(numbers)
    yield from (f"http://{host(each, port, hole)}/{number}" for each, number in numbers)


async def by_hand(
    urls: Iterator[str], get: Callable[[str], Awaitable[int]], errors: tuple[type[Exception], ...]
) -> AsyncIterator[str]:
    """As many write it: a semaphore, a loop of attempts, and gather."""
    ends: asyncio.Queue[str] = asyncio.Queue()
    semaphore = asyncio.Semaphore(CONCURRENCY)

    async def one(url: str) -> None:
        async with semaphore:
            for attempt in range(TRIES):
                try:
                    status = await get(url)
                    end = str(status)
                    if status < 500:
                        break
                except errors as error:
                    end = type(error).__name__
                if attempt < TRIES - 1:
                    await asyncio.sleep(random.uniform(0, 0.1 * 2**attempt))
        ends.put_nowait(end)

    tasks = [asyncio.create_task(one(url)) for url in urls]
    for _ in tasks:
        yield await ends.get()


async def with_aiohttp(urls: Iterator[str], _: int) -> AsyncIterator[str]:
    import aiohttp

    connector = aiohttp.TCPConnector(limit=CONCURRENCY)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=TIMEOUT)) as session:

        async def get(url: str) -> int:
            async with session.get(url) as response:
                await response.read()
                return response.status

        async for end in by_hand(urls, get, (aiohttp.ClientError, TimeoutError)):
            yield end


async def with_httpx(urls: Iterator[str], _: int) -> AsyncIterator[str]:
    import httpx

    async with httpx.AsyncClient(timeout=TIMEOUT, limits=httpx.Limits(max_connections=CONCURRENCY)) as client:

        async def get(url: str) -> int:
            async with asyncio.timeout(TIMEOUT):
                return (await client.get(url)).status_code

        async for end in by_hand(urls, get, (httpx.HTTPError, TimeoutError)):
            yield end


async def with_seawall(urls: Iterator[str], names: int) -> AsyncIterator[str]:
    import seawall

    dns = seawall.DNS(nameservers=[f"127.0.0.1:{names}"]) if names else seawall.DNS()
    async with seawall.AsyncClient(timeout=TIMEOUT, deadline=TRIES * TIMEOUT, dns=dns) as client:
        async for result in client.map(urls, concurrency=CONCURRENCY):
            yield type(result.error).__name__ if result.response is None else str(result.response.status_code)


async def with_scrapy(urls: Iterator[str], _: int) -> AsyncIterator[str]:
    import scrapy
    from scrapy.crawler import AsyncCrawlerProcess

    ends: list[str] = []

    class Spider(scrapy.Spider):  # type: ignore[misc]
        name = "spider"

        async def start(self) -> AsyncIterator[scrapy.Request]:
            for url in urls:
                yield scrapy.Request(url, self.parse, errback=self.failed, meta={"handle_httpstatus_all": True})

        def parse(self, response: scrapy.http.Response) -> None:
            ends.append(str(response.status))

        def failed(self, failure: object) -> None:
            ends.append(type(getattr(failure, "value", failure)).__name__)

    settings = {
        "CONCURRENT_REQUESTS": CONCURRENCY,
        "CONCURRENT_REQUESTS_PER_DOMAIN": CONCURRENCY,
        "DOWNLOAD_TIMEOUT": TIMEOUT,
        "RETRY_TIMES": TRIES - 1,
        "LOG_ENABLED": False,
        "TELNETCONSOLE_ENABLED": False,
        "TWISTED_REACTOR_ENABLED": False,
    }
    async for end in _until(AsyncCrawlerProcess(settings).crawl(Spider), ends):
        yield end


async def with_crawlee(urls: Iterator[str], _: int) -> AsyncIterator[str]:
    from datetime import timedelta

    from crawlee import ConcurrencySettings
    from crawlee.crawlers import HttpCrawler, HttpCrawlingContext
    from crawlee.storage_clients import MemoryStorageClient

    ends: list[str] = []
    crawler = HttpCrawler(
        max_request_retries=TRIES - 1,
        concurrency_settings=ConcurrencySettings(desired_concurrency=CONCURRENCY, max_concurrency=CONCURRENCY),
        storage_client=MemoryStorageClient(),
        navigation_timeout=timedelta(seconds=TIMEOUT),
        configure_logging=False,
    )

    async def handle(context: HttpCrawlingContext) -> None:
        ends.append(str(context.http_response.status_code))

    async def failed(_: object, error: Exception) -> None:
        ends.append(type(error).__name__)

    crawler.router.default_handler(handle)
    crawler.failed_request_handler(failed)
    async for end in _until(asyncio.ensure_future(crawler.run([*urls])), ends):
        yield end


async def _until(done: asyncio.Future[Any], ends: list[str]) -> AsyncIterator[str]:
    """The *ends* that an engine appends, until it has *done* all."""
    while not done.done() or ends:
        await asyncio.sleep(0.05)
        while ends:
            yield ends.pop()
    done.result()


CLIENTS = {
    "aiohttp": with_aiohttp,
    "httpx": with_httpx,
    "scrapy": with_scrapy,
    "crawlee": with_crawlee,
    "seawall": with_seawall,
}


async def run(client: str, urls: int, hosts: int, port: int, hole: int, names: int) -> dict[str, object]:
    cpu, wall, ends = time.process_time(), time.perf_counter(), Counter[str]()
    good_at = 0.0
    async for end in CLIENTS[client](listed(urls, hosts, port, hole), names if hosts > 200 else 0):
        ends[end] += 1
        if end == "200":
            good_at = time.perf_counter() - wall
    return {
        "ends": dict(ends.most_common()),
        "wall": time.perf_counter() - wall,
        "good_at": good_at,
        "cpu": time.process_time() - cpu,
        "peak_mb": memory()[1],
    }


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks fetch", description=(__doc__ or "").partition("\n\n")[0]
    )
    parser.add_argument("--clients", default="aiohttp,httpx,seawall")
    parser.add_argument("--urls", type=int, default=5000)
    parser.add_argument("--hosts", type=int, default=50)
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--descriptors", type=int, help="the limit of the client's process")
    options = parser.parse_args(arguments)
    print(conditions(["aiohttp", "httpx"], arguments, "fetch"))
    is_mixed = options.hosts <= 200
    good = options.urls // options.hosts * (options.hosts - len(BAD)) if is_mixed else options.urls
    print(f"{options.urls:,} URLs, {options.hosts:,} hosts; {good:,} can be good\n")
    print("| client | good | last good, s | all, s | CPU, s | µs a URL | peak, MB | else |")
    print("|---|---|---|---|---|---|---|---|")
    for name in options.clients.split(","):
        found = []
        for _ in range(options.repeat):
            with start("benchmarks.fetch", "serve", core=SERVER_CORE) as process:
                assert process.stdout is not None
                ports = process.stdout.readline().split()
                given = (name, options.urls, options.hosts, *ports, options.descriptors or 0)
                found.append(json.loads(child("benchmarks.fetch", *given, seconds=3600, core=CLIENT_CORE)))
                process.communicate("")
        middle = {key: statistics.median(each[key] for each in found) for key in ("good_at", "wall", "cpu", "peak_mb")}
        ends = found[-1]["ends"]
        others = ", ".join(f"{count} {end}" for end, count in ends.items() if end != "200")
        figures = [f"{middle[key]:.{digits}f}" for key, digits in (("good_at", 1), ("wall", 1), ("cpu", 2))]
        figures += [f"{middle['cpu'] / options.urls * 1e6:.0f}", f"{middle['peak_mb']:.0f}"]
        print(f"| {name} | {ends.get('200', 0):,} | {' | '.join(figures)} | {others} |")
    return 0


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        raise_descriptors()
        asyncio.run(serve())
    else:
        client, *numbers = sys.argv[1:]
        *counts, descriptors = map(int, numbers)
        if descriptors:
            import resource

            resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))
        print(json.dumps(asyncio.run(run(client, *counts))))
