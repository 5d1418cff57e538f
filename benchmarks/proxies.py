"""
What one bad proxy of three does to calls through the other two: their slowest answers, beside a run where all are good.

One client with its defaults, a proxy for each call (``extensions={"proxy": ...}``), in turn; calls at fixed instants,
whether the others have ended or not.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import ssl
import statistics
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

import seawall
from seawall.testing import FaultProcess

FAULTS = ("none", "hang", "refuse", "503")  # "none": all three are good, what the others are compared with
RATE = 100.0  # calls/s
WARM = 1.0  # s at the start, whose calls aren't counted because they dial
SLACK = 0.005  # s by which the p99 through good proxies may rise


@dataclass
class Run:
    """
    Attributes:
        good: Seconds of each call through the two proxies that are good in every run.
        failed: How calls through those failed.
        bad: How calls through the third one ended.
    """

    good: list[float] = field(default_factory=list)
    failed: Counter[str] = field(default_factory=Counter)
    bad: Counter[str] = field(default_factory=Counter)

    def quantile(self, share: float) -> float:
        times = sorted(self.good)
        return times[min(len(times) - 1, int(len(times) * share))]


Get = Callable[[str, str], Awaitable[httpx.Response]]


async def drive(get: Get, proxies: list[str], url: str, seconds: float) -> Run:
    """
    Args:
        get: Called with a URL and a proxy.
        proxies: The last one is the bad one.
    """
    loop, run = asyncio.get_running_loop(), Run()
    began_at = loop.time()

    async def call(number: int) -> None:
        index, asked_at = number % len(proxies), began_at + number / RATE
        try:
            outcome = str((await get(f"{url}/x/ok?key={number}", proxies[index])).status_code)
        except httpx.HTTPError as error:
            outcome = type(error).__name__
        if asked_at - began_at < WARM:
            return
        if index == len(proxies) - 1:
            run.bad[outcome] += 1
        elif outcome == "200":
            run.good.append(loop.time() - asked_at)
        else:
            run.failed[outcome] += 1

    async with asyncio.TaskGroup() as group:
        for number in range(int((WARM + seconds) * RATE)):
            await asyncio.sleep(max(0.0, began_at + number / RATE - loop.time()))
            group.create_task(call(number))
    return run


async def run(fault: str, seconds: float, *, is_secure: bool, kind: str, timeout: float = 5.0) -> Run:
    with FaultProcess() as server:
        url = server.listen("tls") if is_secure else server.url
        bad = "proxy" if fault == "none" else fault if fault == "refuse" else f"proxy:{fault}"
        proxies = [server.listen(step, name=f"{index}") for index, step in enumerate(("proxy", "proxy", bad))]
        context: Any = ssl.create_default_context(cadata=server.ca())
        gc.collect()
        gc.freeze()  # what importing has left isn't this run's to collect
        if kind == "seawall":
            async with seawall.AsyncClient(verify=context, timeout=timeout, trust_env=False) as client:
                return await drive(
                    lambda url, proxy: client.get(url, extensions={"proxy": proxy}), proxies, url, seconds
                )
        clients = {
            proxy: httpx.AsyncClient(proxy=proxy, verify=context, timeout=timeout, trust_env=False) for proxy in proxies
        }
        try:
            return await drive(lambda url, proxy: clients[proxy].get(url), proxies, url, seconds)
        finally:
            for each in clients.values():
                await each.aclose()


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks proxies", description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each run")
    parser.add_argument("--repeat", type=int, default=3, help="runs, in turn; the medians are compared")
    parser.add_argument("--client", choices=("seawall", "httpx"), default="seawall", help="httpx: a client per proxy")
    options = parser.parse_args(arguments)
    code = 0
    print(f"{options.client}, {RATE:g} calls/s over three proxies; through the two good ones, ms:")
    for is_secure in (False, True):
        runs: dict[str, list[Run]] = {fault: [] for fault in FAULTS}
        for _ in range(options.repeat):
            for fault in FAULTS:
                runs[fault].append(asyncio.run(run(fault, options.seconds, is_secure=is_secure, kind=options.client)))
                time.sleep(0.1)
        usual = statistics.median_high([each.quantile(0.99) for each in runs["none"]])
        for fault, found in runs.items():
            p50, p99 = (statistics.median_high([each.quantile(share) for each in found]) for share in (0.5, 0.99))
            failed, bad = sum((each.failed for each in found), Counter()), sum((each.bad for each in found), Counter())
            each_p99 = ", ".join(f"{each.quantile(0.99) * 1e3:.2f}" for each in found)
            print(
                f"{'CONNECT' if is_secure else 'forwarded':10} third: {fault:7} p50 {p50 * 1e3:6.2f}  "
                f"p99 {p99 * 1e3:6.2f} ({(p99 - usual) * 1e3:+.2f})  p99 of each run {each_p99}"
                f"  failed {dict(failed)}  through the third {dict(bad)}",
                flush=True,
            )
            code |= p99 - usual > SLACK or bool(failed)
    return code
