"""A spider in a process of its own: reads what it shall do as a pickle from stdin, and writes what became of it."""

from __future__ import annotations

import os
import pickle
import socket
import stat
import sys
from collections.abc import AsyncIterator
from typing import Any

from scrapy import Request, Spider
from scrapy.crawler import AsyncCrawlerProcess, CrawlerProcess
from scrapy.http import Response
from twisted.python.failure import Failure


class Reporter(Spider):
    """Makes the requests that it is given, and keeps what it hears."""

    name = "reporter"

    def __init__(self, requests: list[dict[str, Any]], heard: list[Any]) -> None:
        super().__init__()
        self.requests, self.heard = requests, heard

    async def start(self) -> AsyncIterator[Request]:
        for each in self.requests:
            yield Request(callback=self.parse, errback=self.fail, **each)

    def parse(self, response: Response) -> None:
        self.heard.append(
            {
                "url": response.url,
                "status": response.status,
                "headers": dict(response.headers),
                "body": response.body,
                "flags": response.flags,
                "ip_address": str(response.ip_address),
                "protocol": response.protocol,
                "certificate": response.certificate,
                "latency": response.meta["download_latency"],
            }
        )

    def fail(self, failure: Failure) -> None:
        error = failure.value
        self.heard.append(
            {
                "url": failure.request.url,  # type: ignore[attr-defined]
                "error": type(error).__name__,
                "cause": type(error.__cause__).__name__,
                "text": str(error),
                "status": error.response.status if hasattr(error, "response") else None,
            }
        )


def sockets() -> int:
    """How many sockets of the internet this process has open."""
    count = 0
    for fd in range(3, 512):
        try:
            if stat.S_ISSOCK(os.fstat(fd).st_mode):
                with socket.socket(fileno=os.dup(fd)) as each:
                    count += each.family in (socket.AF_INET, socket.AF_INET6)
        except OSError:
            pass
    return count


def main() -> None:
    job = pickle.load(sys.stdin.buffer)
    heard: list[Any] = []
    kind = AsyncCrawlerProcess if job["is_async"] else CrawlerProcess
    process = kind(job["settings"])
    crawler = process.create_crawler(Reporter)
    process.crawl(crawler, requests=job["requests"], heard=heard)
    process.start()
    stats = dict(crawler.stats.get_stats()) if crawler.stats else {}
    pickle.dump({"heard": heard, "stats": stats, "sockets": sockets()}, sys.stdout.buffer)


if __name__ == "__main__":
    main()
