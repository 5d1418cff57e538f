"""
How many of seawall's files and functions a request goes through, over a connection that is kept.

A call is what sys.setprofile reports as one: a call of a Python function, or a resume of a coroutine or generator. Of
several requests the one with the fewest calls counts, because a timer that happens to be due adds some. How busy the
machine is makes no difference.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import httpx

import seawall

from .load import seawall_client, warm_up
from .machine import conditions
from .sites import sites
from .work import KINDS, WORKS, Calls, Kind, Work, works

OURS, HTTPX = (str(Path(module.__file__ or "").parent) for module in (seawall, httpx))
REQUESTS = 10
Function = tuple[str, str]


@dataclass(frozen=True)
class Counted:
    """
    Attributes:
        ours: Calls of each of seawall's functions, by (file, name), in the order of their first calls.
        httpx: Calls of all of httpx's functions.
    """

    ours: Counter[Function]
    httpx: int

    @property
    def files(self) -> int:
        return len({file for file, _ in self.ours})

    @property
    def calls(self) -> int:
        return self.ours.total()


async def counted(url: str, work: Work, authority: str = "") -> Counted:
    """The functions that one request goes through, once the client is warm."""
    ask, first = KINDS[work.kind], warm_up(work)
    async with seawall_client(work, authority) as calls:
        for number in range(first):
            await ask(calls, url, number)
        found = [await _profiled(ask, calls, url, first + number) for number in range(REQUESTS)]
    return min(found, key=lambda each: each.calls)


async def _profiled(ask: Kind, calls: Calls, url: str, number: int) -> Counted:
    ours, httpxs = Counter[Function](), 0

    def profile(frame: FrameType, event: str, _: Any) -> None:
        nonlocal httpxs
        file = frame.f_code.co_filename
        if event == "call" and file.startswith(OURS):
            ours[str(Path(file).relative_to(OURS)), frame.f_code.co_qualname] += 1
        elif event == "call" and file.startswith(HTTPX):
            httpxs += 1

    sys.setprofile(profile)
    try:
        await ask(calls, url, number)
    finally:
        sys.setprofile(None)
    return Counted(ours, httpxs)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks calls", description=__doc__)
    parser.add_argument("--work", default=",".join(KINDS), help=f"of {', '.join(WORKS)}; one request in flight")
    parser.add_argument("--list", action="store_true", help="each function too, and how often it is called")
    options = parser.parse_args(arguments)
    try:
        wanted = works(options.work, in_flight="1", origins="1")
    except ValueError as error:
        parser.error(str(error))
    print(conditions(("seawall", "httpx"), arguments, "calls"))
    with sites(wanted) as running:
        found = {work: asyncio.run(counted(running.url(work), work, running.authority)) for work in wanted}
    print("| requests | files of seawall | calls of seawall | calls of httpx |\n|---|---|---|---|")
    for work, each in found.items():
        print(f"| {work.words} | {each.files} | {each.calls} | {each.httpx} |")
    if options.list:
        for work, each in found.items():
            print(f"\n{work.words}:")
            for (file, name), count in each.ours.items():
                print(f"{count:4} {file} {name}")
    return 0
