"""``seawall fetch --queue``, as users run it: a sender, workers, a real Redis, and whatever ends any of them."""

from __future__ import annotations

import asyncio
import json
import signal
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
from benchmarks.reality.place import Place, Program, listens, program

from seawall.integrations.fetch_fleet import GROUP, STREAM, connected, messages
from seawall.integrations.fetch_fleet import fleet as fleet_of
from seawall.integrations.fetch_queue import Message, Queue, Unable, Worker
from seawall.testing import Request
from seawall.testing.dns import Name
from tests.interop.test_fetch_command import bodies, rows
from tests.interop.test_fetch_job import until
from tests.interop.test_top import COMMAND

if TYPE_CHECKING:
    from taskiq import Context

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(program("redis-server") is None, reason="redis-server isn't installed"),
]

HOSTS = 60
URLS = 1_200
LAPSE = "5"  # seconds: longer than this machine may be busy with something else
OUTS = ["out", "out.jsonl"]


class Site:
    """
    Hosts that note which worker asks, and when.

    Attributes:
        asked: Requests of each worker; *paths* of all, by how often they were asked for.
        clashes: Hosts that two workers asked at once.
        on_request: Called with the number of requests.
    """

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.paths: Counter[str] = Counter()
        self.clashes: list[str] = []
        self.on_request: Callable[[int], None] = lambda count: None
        self.is_open = asyncio.Event()
        self.is_open.set()
        self._in_flight: dict[str, Counter[str]] = defaultdict(Counter)

    async def answer(self, request: Request) -> None:
        worker, host = request.headers["x-worker"], request.headers["host"]
        in_flight = self._in_flight[host]
        in_flight[worker] += 1
        try:
            if len(+in_flight) > 1:
                self.clashes.append(host)
            self.asked[worker] += 1
            self.paths[request.target] += 1
            self.on_request(self.asked.total())
            await self.is_open.wait()
            await request.reply(200, request.target.encode(), content_type="text/plain")
        finally:
            in_flight[worker] -= 1


class Fleet:
    """A sender and workers, each a process of its own."""

    def __init__(self, folder: Path, redis: str, nameserver: str) -> None:
        self.folder = folder
        self.redis = redis
        self._nameserver = nameserver
        self._processes: list[Process] = []

    async def worker(self, name: str, *more: str) -> Process:
        return await self._start(
            "worker", self.redis, "--name", name, "-H", f"x-worker: {name}", "--lapse", LAPSE, *more
        )

    async def send(self, out: str, *more: str) -> Process:
        return await self._start(
            "urls.txt", "--out", out, "--no-robots", "--queue", self.redis, "--parcel", "25",
            "--nameserver", self._nameserver, *more,
        )  # fmt: skip

    async def status(self, where: str) -> Any:
        process = await self._start("status", where, "--json")
        return json.loads(await ended(process))

    async def end(self) -> None:
        for process in self._processes:
            with suppress(ProcessLookupError):
                process.kill()
            await process.communicate()

    async def _start(self, *arguments: str) -> Process:
        process = await asyncio.create_subprocess_exec(
            *COMMAND, "fetch", *arguments, cwd=self.folder, stdin=DEVNULL, stdout=PIPE, stderr=STDOUT
        )
        self._processes.append(process)
        return process


async def ended(process: Process, status: int = 0) -> str:
    """What it has printed, once it has ended with *status*."""
    async with asyncio.timeout(110):
        output, _ = await process.communicate()
    assert (process.returncode, "Traceback" in output.decode()) == (status, False), output.decode()
    return output.decode()


@pytest.fixture
def site() -> Site:
    return Site()


@pytest.fixture
async def urls(site: Site, serve: Any, dns: Any, tmp_path: Path) -> list[str]:
    """What is in the list: hosts in turn."""
    server = await serve(site.answer)
    for number in range(HOSTS):
        dns.zone[f"host-{number}.test"] = Name(a=("127.0.0.1",))
    urls = [f"http://host-{number % HOSTS}.test:{server.port}/{number}" for number in range(URLS)]
    (tmp_path / "urls.txt").write_text("\n".join(urls))
    return urls


@pytest.fixture
async def fleet(urls: list[str], tmp_path: Path, server: Program, url: str, dns: Any) -> AsyncIterator[Fleet]:
    async with AsyncExitStack() as stack:
        fleet = Fleet(tmp_path, url, dns.address)
        stack.push_async_callback(fleet.end)
        yield fleet


def check(fleet: Fleet, out: str, urls: list[str]) -> None:
    """Each URL is there once and whole, and nothing is left of parcels."""
    found = rows(fleet.folder / out)
    assert sorted(row["url"] for row in found) == sorted(urls)
    assert all(row["url"].endswith(row["text"]) for row in found)
    assert out.endswith(".jsonl") or bodies(fleet.folder / out) == len(urls)
    assert not [*fleet.folder.glob("**/*parcels")]


@pytest.mark.parametrize("out", OUTS)
async def test_two_workers(fleet, site, urls, out):
    """They share the list; each URL is asked for once, a host by one worker at a time; status shows who does what."""
    one, two = await fleet.worker("one"), await fleet.worker("two")
    site.is_open.clear()
    sender = await fleet.send(out)
    await until(lambda: len(site.asked) == 2)
    seen = await fleet.status(fleet.redis)
    assert {lease["worker"].split()[0] for lease in seen["leases"]} == {"one", "two"}
    assert seen["taken"] == len(seen["leases"]) <= 8
    site.is_open.set()
    output = await ended(sender)
    assert f"{URLS:,} URLs: {URLS:,} good" in output
    check(fleet, out, urls)
    assert site.paths == Counter(f"/{number}" for number in range(URLS))
    assert site.clashes == []
    assert min(site.asked.values()) > 0
    assert (await fleet.status(out))["good"] == URLS
    for worker in (one, two):
        worker.send_signal(signal.SIGTERM)
        await ended(worker)


@pytest.mark.parametrize(
    ("out", "kill_at", "number"),
    [("out", 3, signal.SIGKILL), ("out.jsonl", 500, signal.SIGKILL), ("out", 200, signal.SIGSTOP)],
)
async def test_a_worker_is_killed(fleet, site, urls, out, kill_at, number):
    """
    SIGKILL of a worker at the n-th request, or one that hangs: the other one does what it had, and nothing is lost or
    there twice.
    """
    one = await fleet.worker("one")

    def kill(count: int) -> None:
        if count == kill_at:
            one.send_signal(number)

    site.on_request = kill
    await fleet.worker("two")
    sender = await fleet.send(out)
    await ended(sender)
    check(fleet, out, urls)
    if number == signal.SIGSTOP:
        one.send_signal(signal.SIGCONT)
        one.send_signal(signal.SIGTERM)
        await ended(one)
        check(fleet, out, urls)
    assert site.clashes == []
    assert site.paths.total() <= URLS + 4 * 25


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_the_sender_is_stopped(fleet, site, urls, number):
    """The same command takes what workers have done meanwhile, and goes on."""
    await fleet.worker("one")
    sender = await fleet.send("out")

    def stop(count: int) -> None:
        if count == 400:
            sender.send_signal(number)

    site.on_request = stop
    await ended(sender, 143 if number == signal.SIGTERM else -signal.SIGKILL)
    await ended(await fleet.send("out"))
    check(fleet, "out", urls)
    assert site.clashes == []
    assert site.paths == Counter(f"/{number}" for number in range(URLS))


async def test_a_worker_gives_back(fleet, site, urls):
    """SIGTERM: what it has fetched is kept, the rest is another's, and no page that had ended is asked for again."""
    one = await fleet.worker("one")
    sender = await fleet.send("out")

    def stop(count: int) -> None:
        if count == 300:
            one.send_signal(signal.SIGTERM)

    site.on_request = stop
    await ended(one)
    in_flight = site.paths.total()
    await fleet.worker("two")
    await ended(sender)
    check(fleet, "out", urls)
    assert in_flight < URLS
    assert site.clashes == []
    assert site.paths.total() <= URLS + 100


@pytest.mark.parametrize("keeps", [True, False])
async def test_redis_is_restarted(site, urls, tmp_path, place: Place, dns, stack, keeps):
    """In mid-run, with what it had or without: the sender sends anew what isn't done, and the job ends right."""
    port, has_come = place.port(), asyncio.Event()
    saving = ("--appendonly", "yes", "--appendfsync", "always") if keeps else ("--save", "")

    def redis() -> Program:
        where = ("--bind", place.address, "--port", str(port), "--dir", str(place.folder))
        started = place.start(program("redis-server") or "", *where, *saving, log="redis.txt")
        started.wait_until(lambda: listens((), place.address, port))
        return started

    def note(count: int) -> None:
        if count == 300:
            has_come.set()

    site.on_request = note
    server = await asyncio.to_thread(redis)
    fleet = Fleet(tmp_path, f"redis://{place.address}:{port}", dns.address)
    stack.push_async_callback(fleet.end)
    await fleet.worker("one")
    await fleet.worker("two")
    sender = await fleet.send("out.jsonl")
    await has_come.wait()
    server.end()
    await asyncio.to_thread(redis)
    await ended(sender)
    check(fleet, "out.jsonl", urls)
    assert site.clashes == [] or not keeps  # without its leases, workers know only at the next renewal


async def test_a_rate_of_the_fleet(tmp_path, server, url, dns, serve, stack):
    """Two workers that have the same host at once, for two jobs, ask it together as often as one may."""
    came: list[float] = []
    site = Site()

    async def answer(request: Request) -> None:
        if site.is_open.is_set():
            came.append(asyncio.get_running_loop().time())
        await site.answer(request)

    site.is_open.clear()
    front = await serve(answer)
    dns.zone["host.test"] = Name(a=("127.0.0.1",))
    (tmp_path / "urls.txt").write_text("\n".join(f"http://host.test:{front.port}/{number}" for number in range(25)))
    fleet = Fleet(tmp_path, url, dns.address)
    stack.push_async_callback(fleet.end)
    for name in ("one", "two"):
        await fleet.worker(name, "--at-once", "1")
    senders = [await fleet.send(out, "--rate", "20", "--per-host", "1") for out in ("one.jsonl", "two.jsonl")]
    await until(lambda: len(site.asked) == 2)
    site.is_open.set()
    for sender in senders:
        await ended(sender)
    assert site.asked.total() == 2 * 25
    rest = came[10:]  # those before have waited for the one in flight, and had the limit's leave
    assert len(rest) >= 30
    assert rest[-1] - rest[0] > (len(rest) - 1) / 20 * 0.65  # with a rate of its own for each it would take half


async def test_redis_is_away(fleet, tmp_path):
    """A sender that can't reach it says so before it fetches anything; so does status."""
    for arguments in (("urls.txt", "--queue", "redis://127.0.0.1:1"), ("status", "redis://127.0.0.1:1")):
        output = await ended(await fleet._start(*arguments), 2)
        assert "Redis doesn't answer" in output


@pytest.mark.parametrize("rounds", range(6))
async def test_a_renewal_that_ends_as_it_is_cancelled(monkeypatch, rounds):
    """It ends, whichever is first: else its worker would keep the lease for ever, and the host with it."""
    has_asked, may_end = asyncio.Event(), asyncio.Event()

    class Lock:
        async def reacquire(self) -> None:
            has_asked.set()
            await may_end.wait()

    monkeypatch.setattr("seawall.integrations.fetch_queue.RENEWALS", 60_000)  # the first is asked for at once
    worker = Worker("redis://127.0.0.1:1", "one", cast("Any", None), at_once=1, lapse=60.0)
    renewing = asyncio.create_task(worker._renew(cast("Any", Lock())))
    await has_asked.wait()
    may_end.set()
    for _ in range(rounds):
        await asyncio.sleep(0)
    renewing.cancel()
    await asyncio.wait([renewing], timeout=1.0)
    assert renewing.cancelled()


class Delivery:
    """What taskiq gives a task, as far as the worker looks."""

    def __init__(self) -> None:
        self.is_acknowledged = False

    async def ack(self) -> None:
        self.is_acknowledged = True


@pytest.mark.parametrize(
    ("how", "said"),
    [(OSError("the disk is full"), "never done: the disk is full"), (None, "each ended"), (Unable("not here"), None)],
)
async def test_a_parcel_that_always_fails(server, url, raw, how, said):
    """It is given up and acknowledged in the end; a worker that can't do it, and says so, doesn't count."""
    begun = asyncio.Event()

    async def do(message: Message, stop: asyncio.Event) -> None:
        begun.set()
        if how is None:
            await asyncio.get_running_loop().create_future()
        raise how

    async with Queue(url, "/out", {}) as queue:
        found = []
        for _ in range(3):  # of three workers, of which each is killed in the parcel, or fails
            begun.clear()
            worker, delivery = Worker(url, "one", do, at_once=1, deliveries=2), Delivery()
            worker._redis = raw
            message, context = Message("/out", "parcel", 0, {}), cast("Context", delivery)
            delivered = asyncio.create_task(worker._parcel(message, context))
            if how is None and len(found) < 2:
                await begun.wait()
                delivered.cancel()
            await asyncio.wait([delivered])
            await raw.delete("seawall:fetch:lease:/out:0")  # it lapses
            found.append((delivery.is_acknowledged, await queue.given_up()))
    if said is None:
        assert found == [(False, {})] * 3
    else:
        assert [is_acknowledged for is_acknowledged, _ in found] == [False, False, True]
        assert found[:2] == [(False, {})] * 2
        assert said in found[2][1]["parcel"]
        assert "begun 2 times" in found[2][1]["parcel"]


async def test_a_parcel_that_fails(server, url, raw):
    """Its message isn't acknowledged, and its lease lapses only later, so that the next one doesn't ask at once."""
    stop, done = asyncio.Event(), set()

    async def do(message: Message, stop: asyncio.Event) -> None:
        done.add(message.name)
        if message.name == "full":
            raise OSError("the disk is full")
        if message.name == "unable":
            raise Unable("the folder isn't here")

    async with Queue(url, "/out", {}) as queue:
        for bucket, name in enumerate(("good", "full", "unable")):
            await queue.send(name, bucket)
        working = asyncio.create_task(Worker(url, "one", do, at_once=2).run(stop))
        await until(lambda: len(done) == 3)
        stop.set()
        await working
        assert await queue.tend(2) is True
    assert [key async for key in raw.scan_iter("seawall:fetch:lease:*")] == ["seawall:fetch:lease:/out:1"]
    found = await fleet_of(url)
    assert (found.waiting, found.taken, [lease.parcel for lease in found.leases]) == (1, 2, ["full"])


async def test_what_waits_where_redis_does_not_know(server, url):
    """Redis doesn't say how many wait once a message was deleted, so they are counted."""
    async with Queue(url, "/nowhere", {}) as queue:
        for number in range(4):
            await queue.send(f"{number:016}", number)
        redis = connected(url)
        try:
            ids = [each for each, _ in await redis.xrange(STREAM)]
            await redis.xreadgroup(GROUP, "me", {STREAM: ">"}, count=1)
            await redis.xdel(STREAM, ids[2])
            (group,) = await redis.xinfo_groups(STREAM)
            assert (group["lag"], await messages(redis)) == (None, (2, 1))
        finally:
            await redis.aclose()


async def test_no_cancellation_is_swallowed(server, url):
    """
    In whatever round of the loop a sender is stopped, it hears of it. redis-py's `asyncio.wait_for` swallowed it in one
    of them, on Python 3.11, and the task that looks at the queue went on for ever.
    """
    async with Queue(url, "/out", {}) as queue:
        for ask in (lambda: queue.send("parcel", 0), lambda: queue.tend(1), queue.given_up):

            async def asks(ask=ask) -> None:
                while True:
                    await ask()

            for rounds in range(30):
                await ask()  # its connection is there
                asking = asyncio.create_task(asks())
                for _ in range(rounds):
                    await asyncio.sleep(0)
                asking.cancel()
                done, _ = await asyncio.wait([asking], timeout=10)
                asking.cancel()
                assert done, rounds
