"""``seawall fetch``: a list of URLs into a folder or a file of rows, and ``seawall fetch status``."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from hashlib import sha256
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.live import Live

from .. import DNS, AsyncClient
from ..config import UNSET, Bulkhead, Policy
from ..config.store import LimitStore
from ..fetch.dispatch import Dispatch, PostAway
from ..fetch.fetcher import Fetcher
from ..fetch.job import Job
from ..fetch.journal import BadJournal, Journal
from ..fetch.keeper import OutputLost
from ..fetch.order import Order, Statuses
from ..fetch.output import Output, journal_of, parcels_of
from ..fetch.pace import pace
from ..fetch.page import Kind
from ..fetch.parcel import Parcels
from ..fetch.report import Report
from ..fetch.robots import READ, Robots
from ..fetch.sinks import BadOutput
from ..fetch.sources import BadSource, Source, Sources
from ..fetch.summary import findings
from ..fetch.target import without_user
from .environment import made
from .live import Watch, as_json, line, screen
from .text import plain

__all__ = ["Wanted", "opened", "order_of", "run", "status", "stoppable"]

REFRESH: Final = 0.5  # seconds between two frames in a terminal
SKIPPED: Final = {
    "RobotsDisallowed": "robots.txt says so",
    "AnotherHost": "a sitemap of another host lists them",
}  # why, by the names that `Kind.SKIPPED` has
NOW_AND_THEN: Final = 10.0  # seconds between two lines elsewhere


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the user asked for; the options' texts say what each is."""

    sources: Sequence[Source]
    out: Path
    rate: float | None
    per_host: int
    concurrency: int
    method: str
    headers: Sequence[tuple[str, str]]
    data: bytes | None
    follow: bool
    robots: bool
    user_agent: str
    accept: Statuses
    max_size: int
    timeout: float
    deadline: float
    retry_failed: bool
    nameservers: Sequence[str]
    insecure: bool
    is_json: bool
    queue: str | None = None
    parcel: int = 500

    def __post_init__(self) -> None:
        try:
            str(self.out.absolute()).encode()
        except UnicodeEncodeError:
            if self.queue is not None:
                said = f"--queue takes an --out whose path is UTF-8, because workers are told it, not {str(self.out)!r}"
                raise ValueError(said) from None

    @property
    def interval(self) -> float:
        """Seconds from one request of an origin to the next; 0 if none was set."""
        return 1 / self.rate if self.rate else 0.0

    @property
    def job(self) -> dict[str, str]:
        """What must be the same when the job goes on; no password and no data, because the journal keeps it."""
        data = "" if self.data is None else f"sha256 {sha256(self.data).hexdigest()}"
        sources = [f"{each.where} column {each.column}" if each.column else each.where for each in self.sources]
        return {"list": without_user(", ".join(sources)), "method": self.method, "data": data}


async def run(wanted: Wanted) -> int:
    """
    Returns:
        The exit status: 0 if every page is good or was skipped, 1 if some failed or the output can't be written, 2 if
        the job can't begin.
    """
    console = Console(highlight=False, soft_wrap=True)
    errors = Console(stderr=True, highlight=False, soft_wrap=True)
    async with opened(wanted) as (client, robots):
        try:
            sources = Sources(client, wanted.sources, stdin=getattr(sys.stdin, "buffer", None))
            output = Output.open(wanted.out, wanted.job, now=time.time, is_failed_again=wanted.retry_failed)
        except (BadSource, BadOutput, BadJournal) as error:
            errors.print(f"seawall fetch: {plain(str(error))}")
            return 2
        except OSError as error:
            errors.print(f"seawall fetch: {plain(f'{error.filename or wanted.out}: {error.strerror}')}")
            return 2
        async with contextlib.AsyncExitStack() as tasks:
            tasks.callback(output.close)
            try:
                job = await tasks.enter_async_context(_begun(wanted, sources, output, client, robots))
            except PostAway as error:
                errors.print(f"seawall fetch: {plain(str(error))}")
                return 2
            watch = Watch(job.progress, sources, lambda: client.stats().origins)
            try:
                async with _shown(watch, console, is_json=wanted.is_json):
                    await job.run()
                report = output.journal.report()
            except BadJournal as error:
                errors.print(f"seawall fetch: {plain(str(error))}")
                return 1
            except OutputLost as error:
                errors.print(
                    f"seawall fetch: {plain(str(error))}. What was written before is kept: make room, and run the same "
                    "command again"
                )
                return 1
            except asyncio.CancelledError:
                with contextlib.suppress(BadJournal):
                    _summary(console, output.journal.report(), is_json=wanted.is_json)
                errors.print("interrupted; the same command goes on from here")
                raise
            _summary(console, report, is_json=wanted.is_json, known=job.progress.known)
            return 1 if report.count(Kind.FAILED) else 0


def status(where: Path, *, is_json: bool) -> int:
    """Print what the journal of an output says; returns the exit status, 2 if there is none."""
    console = Console(highlight=False, soft_wrap=True)
    try:
        report = Journal.read(journal_of(where))
        out = list(Parcels(parcels_of(where)).left())
    except (BadJournal, OSError) as error:
        said = f"{error.filename or where}: {error.strerror}" if isinstance(error, OSError) else str(error)
        Console(stderr=True, highlight=False, soft_wrap=True).print(f"seawall fetch: {plain(said)}")
        return 2
    if not is_json:
        state = "running" if report.is_running else "complete" if report.is_complete else "not complete"
        began, noted = (
            time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at)) for at in (report.started_at, report.committed_at)
        )
        what = plain(" ".join(report.job.get(name, "?") for name in ("method", "list")))
        console.print(f"[bold]{what}[/]: {state}\nbegun {began}, last page noted {noted}")
        if out:
            urls = sum(len(parcel.entries) for parcel in out)
            console.print(f"{len(out):,} parcels with {urls:,} URLs are at workers, or wait for them")
    _summary(console, report, is_json=is_json)
    return 0


@contextlib.asynccontextmanager
async def _begun(
    wanted: Wanted, sources: Sources, output: Output, client: AsyncClient, robots: Robots | None
) -> AsyncIterator[Job | Dispatch]:
    """The job, in this process or in that of workers."""
    parcels = Parcels(parcels_of(wanted.out.absolute()))
    if wanted.queue is None:
        parcels.clear()  # what workers have is fetched here
        fetcher = Fetcher(client, order_of(wanted), robots=robots)
        yield Job(sources, fetcher, output.journal, output.sink, concurrency=wanted.concurrency)
        return
    from ..integrations.fetch_queue import Queue  # here, because it needs an extra of its own
    from .worker import carried

    async with Queue(wanted.queue, str(parcels.path), carried(wanted)) as queue:
        yield Dispatch(sources, queue, output.journal, output.sink, parcels, size=wanted.parcel)


def order_of(wanted: Wanted) -> Order:
    """What is sent for each URL."""
    return Order(
        method=wanted.method,
        headers=wanted.headers,
        content=wanted.data,
        follow=wanted.follow,
        accept=wanted.accept,
        max_size=wanted.max_size,
        per_host=wanted.per_host,
        interval=wanted.interval,
        deadline=wanted.deadline,
    )


@contextlib.asynccontextmanager
async def opened(
    wanted: Wanted, *, shared: LimitStore | None = None
) -> AsyncIterator[tuple[AsyncClient, Robots | None]]:
    """
    A client that waits instead of failing, and never asks an origin faster than was set or its robots.txt says.

    Args:
        shared: Where workers keep a rate that was set; what a robots.txt wants each keeps by itself.
    Raises:
        BadEnvironment: The environment has what no client can use.
        ValueError: A name server isn't one.
    """
    interval = wanted.interval
    robots: Robots | None = None

    def delay(origin: str) -> float:
        return 0.0 if robots is None else robots.delay(origin)

    batch = Policy.batch(bulkhead=Bulkhead(max_concurrent=wanted.per_host))
    settings: dict[str, Any] = {
        each.name: value for each in fields(batch) if (value := getattr(batch, each.name)) is not UNSET
    }
    if interval or wanted.robots:
        settings["limit"] = pace(interval, delay, shared=shared if interval else None)
    settings["dns"] = DNS(nameservers=tuple(wanted.nameservers) or None)
    client = made(
        lambda: AsyncClient(
            name="fetch",
            headers={"user-agent": wanted.user_agent},
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),  # a million sites' would fill the memory
            timeout=wanted.timeout,
            max_response_size=max(wanted.max_size, READ) if wanted.robots else wanted.max_size,
            verify=not wanted.insecure,
            **settings,
        )
    )
    async with client:
        if wanted.robots:
            robots = Robots(client, wanted.user_agent, interval=interval)
        yield client, robots


@contextlib.asynccontextmanager
async def _shown(watch: Watch, console: Console, *, is_json: bool) -> AsyncIterator[None]:
    """The job is shown while the block runs; SIGTERM ends it as Ctrl-C does."""
    task = asyncio.current_task()
    assert task is not None
    live = Live(console=console, auto_refresh=False, transient=True)
    shows = asyncio.create_task(_show(watch, console, live, is_json=is_json))
    try:
        with stoppable(task.cancel, signal.SIGTERM):
            yield
    finally:
        shows.cancel()
        await asyncio.wait([shows])
        live.stop()


@contextlib.contextmanager
def stoppable(stop: Callable[[], object], *signals: signal.Signals) -> Iterator[None]:
    """While the block runs, *signals* call *stop*, where the system has them."""
    loop = asyncio.get_running_loop()
    with contextlib.suppress(NotImplementedError):  # Windows
        for each in signals:
            loop.add_signal_handler(each, stop)
    try:
        yield
    finally:
        with contextlib.suppress(NotImplementedError):
            for each in signals:
                loop.remove_signal_handler(each)


async def _show(watch: Watch, console: Console, live: Live, *, is_json: bool) -> None:
    if is_json or not console.is_terminal:
        while True:
            await asyncio.sleep(NOW_AND_THEN)
            frame = watch.look()
            print(as_json(frame) if is_json else line(frame), flush=True)
    live.start()
    while True:
        size = console.size
        live.update(screen(watch.look(), width=size.width, height=size.height), refresh=True)
        await asyncio.sleep(REFRESH)


def _summary(console: Console, report: Report, *, is_json: bool, known: int = 0) -> None:
    """What became of all pages, those of earlier processes too."""
    failed = [finding._asdict() for finding in findings(report)]
    counts = {kind.value: report.count(kind) for kind in Kind}
    if is_json:
        print(
            json.dumps({"event": "summary", **counts, "is_complete": report.is_complete, "failures": failed}),
            flush=True,
        )
        return
    parts = [f"[bold]{report.count():,} URLs[/]: {counts['good']:,} good"]
    parts += [f"{counts['failed']:,} failed"] if counts["failed"] else []
    parts += [f"{one.pages:,} skipped, because {SKIPPED[one.name]}" for one in report.tallies if one.name in SKIPPED]
    console.print(
        ", ".join(parts) + (f" ({known:,} lines were done before, or are twice in the list)" if known else "")
    )
    for finding in findings(report):
        console.print(f"\n[red]{finding.pages:>7,}  {plain(finding.name)}[/]  {plain(finding.url)}")
        console.print(f"         [dim]{plain(finding.said)}[/]")
        console.print(f"         {plain(finding.advice)}")
