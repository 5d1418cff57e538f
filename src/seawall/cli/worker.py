"""``seawall fetch worker``: fetches what jobs have put into a queue, and ``seawall fetch status redis://...``."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from .. import AsyncClient
from ..fetch.dispatch import PostAway
from ..fetch.fetcher import Fetcher
from ..fetch.order import Statuses
from ..fetch.output import is_file_of_rows
from ..fetch.packing import pack
from ..fetch.parcel import Parcels
from ..integrations.fetch_fleet import fleet, nameless
from ..integrations.fetch_queue import Message, Unable, Worker
from ..integrations.redis import Redis
from .environment import made
from .fetch import Wanted, opened, order_of, stoppable
from .text import plain

__all__ = ["carried", "run", "status"]

CARRIED: Final = (
    "rate", "per_host", "concurrency", "method", "headers", "follow", "robots", "user_agent", "max_size", "timeout",
    "deadline", "nameservers", "insecure",
)  # fmt: skip


def carried(wanted: Wanted) -> dict[str, Any]:
    """What workers are told of a job, as JSON has it."""
    data = None if wanted.data is None else wanted.data.decode("latin-1")
    named = {name: getattr(wanted, name) for name in CARRIED}
    return named | {"data": data, "accept": wanted.accept.text, "files": not is_file_of_rows(wanted.out)}


def _wanted(said: Mapping[str, Any], headers: Sequence[tuple[str, str]]) -> Wanted:
    """The same, as the worker's own."""
    named = {name: said[name] for name in CARRIED}
    named["headers"] = [*map(tuple, said["headers"]), *headers]
    return Wanted(
        sources=(),
        out=Path(),
        data=None if said["data"] is None else said["data"].encode("latin-1"),
        accept=Statuses(said["accept"]),
        retry_failed=False,
        is_json=False,
        **named,
    )


class Fetchers:
    """Fetchers by how a job wants its URLs fetched: one with one client, for as long as jobs want the same."""

    def __init__(self, url: str, headers: Sequence[tuple[str, str]]) -> None:
        self._shared = Redis(url, prefix="seawall:fetch")
        self._headers = headers
        self._opened: dict[str, tuple[Fetcher, AsyncExitStack]] = {}
        self._used: Counter[str] = Counter()
        self._lock = asyncio.Lock()

    @asynccontextmanager
    async def fetcher(self, said: Mapping[str, Any]) -> AsyncIterator[Fetcher]:
        """The one for jobs that say this; those that nobody uses are closed when another one is opened."""
        key = json.dumps(said, sort_keys=True)
        self._used[key] += 1
        try:
            async with self._lock:
                if key not in self._opened:
                    await self._close({other for other in self._opened if not self._used[other]})
                    wanted, stack = _wanted(said, self._headers), AsyncExitStack()
                    client, robots = await stack.enter_async_context(opened(wanted, shared=self._shared))
                    self._opened[key] = Fetcher(client, order_of(wanted), robots=robots), stack
            yield self._opened[key][0]
        finally:
            self._used[key] -= 1

    async def aclose(self) -> None:
        await self._close(set(self._opened))

    async def _close(self, keys: set[str]) -> None:
        for key in keys:
            _, stack = self._opened.pop(key)
            del self._used[key]
            await stack.aclose()


async def run(url: str, *, name: str | None, at_once: int, headers: Sequence[tuple[str, str]], lapse: float) -> int:
    """
    Returns:
        The exit status, once a signal has stopped the worker and what it had is given back.
    Raises:
        BadEnvironment: The environment has what no client can use, so that each parcel would fail.
        ValueError: *url* can't be that of a Redis.
    """
    await made(AsyncClient).aclose()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")
    stop = asyncio.Event()
    fetchers = Fetchers(url, headers)

    async def do(message: Message, stop: asyncio.Event) -> None:
        parcels = Parcels(Path(message.out))
        if not parcels.path.parent.is_dir():
            raise Unable(f"{parcels.path.parent} isn't a folder here: mount it where the sender has it")
        parcel = parcels.get(message.name)
        if parcel is None or parcels.pages(message.name).exists():
            return
        said = message.wanted
        concurrency = max(1, said["concurrency"] // at_once)
        async with fetchers.fetcher(said) as fetcher:
            await pack(parcel, fetcher, parcels, stop, concurrency=concurrency, files=said["files"])

    worker = Worker(url, name or f"{socket.gethostname()}:{os.getpid()}", do, at_once=at_once, lapse=lapse)
    Console(stderr=True, highlight=False, soft_wrap=True).print(f"worker for {plain(nameless(url))}; SIGTERM ends it")
    with stoppable(stop.set, signal.SIGTERM, signal.SIGINT):
        try:
            await worker.run(stop)
        finally:
            await fetchers.aclose()
    return 0


async def status(url: str, *, is_json: bool) -> int:
    """Print what workers do; returns the exit status, 2 if the queue doesn't answer."""
    console = Console(highlight=False, soft_wrap=True)
    try:
        found = await fleet(url)
    except (PostAway, ValueError) as error:
        Console(stderr=True, highlight=False, soft_wrap=True).print(f"seawall fetch: {plain(str(error))}")
        return 2
    if is_json:
        leases = [lease._asdict() for lease in found.leases]
        print(json.dumps({"waiting": found.waiting, "taken": found.taken, "leases": leases}))
        return 0
    workers = Counter((lease.worker, lease.out) for lease in found.leases)
    console.print(f"{found.waiting:,} parcels wait, {found.taken:,} are taken, {len(found.leases):,} are being fetched")
    for (worker, out), count in sorted(workers.items()):
        console.print(f"{count:>7,}  {plain(worker)}  {plain(out)}")
    return 0
