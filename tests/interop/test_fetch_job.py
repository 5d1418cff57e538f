"""A job over real sockets: each URL once, whatever ends it, and what becomes of each."""

from __future__ import annotations

import asyncio
import json
import resource
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

import seawall
from seawall.fetch import keeper as keeper_module
from seawall.fetch.fetcher import Fetcher
from seawall.fetch.job import Job
from seawall.fetch.journal import Journal
from seawall.fetch.keeper import OutputLost
from seawall.fetch.order import Order, Statuses
from seawall.fetch.output import Output
from seawall.fetch.page import Kind
from seawall.fetch.robots import Robots
from seawall.fetch.sinks import BadOutput
from seawall.fetch.summary import findings
from seawall.fetch.target import Entry, Refused, Target, target
from seawall.testing import Request

pytestmark = pytest.mark.anyio


async def entries(urls: Iterable[str]) -> AsyncIterator[Entry]:
    for url in urls:
        yield target(url)


async def until(condition: Callable[[], bool]) -> None:
    """Return once *condition* holds; a test that waits in vain fails after two minutes."""
    async with asyncio.timeout(120):
        while not condition():
            await asyncio.sleep(0.001)


class Site:
    """A server with pages of all kinds; `hold` keeps answers to /slow back."""

    def __init__(self) -> None:
        self.may_go = asyncio.Event()
        self.has_come: asyncio.Queue[str] = asyncio.Queue()

    async def answer(self, request: Request) -> None:
        path = request.target
        if path == "/robots.txt":
            await request.reply(200, b"User-agent: *\nDisallow: /private")
        elif path.startswith("/slow"):
            self.has_come.put_nowait(path)
            await self.may_go.wait()
            await request.reply()
        elif path.startswith("/to/"):
            await request.reply(302, location=path.removeprefix("/to"))
        elif path.startswith("/large"):
            await request.reply(200, b"x" * 100_000)
        elif path.startswith("/reset"):
            request.reset()
        else:
            await request.reply(int(path.split("/")[1]) if path[1:4].isdigit() else 200, path.encode())


@pytest.fixture
async def site(serve) -> Any:
    site = Site()
    site.server = await serve(site.answer)  # type: ignore[attr-defined]
    return site


@pytest.fixture
async def client(stack) -> seawall.AsyncClient:
    """It makes one attempt, because what is retried isn't the matter here."""
    return await stack.enter_async_context(
        seawall.AsyncClient(retry=None, breaker=None, ready=None, max_response_size=50_000)
    )


async def do(
    out: Path, urls: Iterable[str], client: Any, order: Order = Order(), *, again: bool = False, **settings: Any
) -> tuple[Any, Job]:
    """The whole job, as the command does it; the report of its journal."""
    robots = settings.pop("robots", None)
    output = Output.open(out, {"list": "x"}, now=lambda: 1.0, is_failed_again=again)
    job = Job(entries(urls), Fetcher(client, order, robots=robots), output.journal, output.sink, **settings)
    try:
        await job.run()
        return output.journal.report(), job
    finally:
        output.close()


def rows(out: Path) -> dict[str, dict[str, Any]]:
    """By path of the URL, each once."""
    text = (out if out.suffix else out / "index.jsonl").read_text().splitlines()
    found = [json.loads(line) for line in text]
    assert len({row["url"] for row in found}) == len(found)
    return {"/" + row["url"].split("/", 3)[-1]: row for row in found}


@pytest.fixture(params=["out", "out.jsonl"])
def out(request, tmp_path) -> Path:
    return tmp_path / request.param


async def test_each_kind_of_page(site, client, out):
    """A row each, with what happened; bodies of good pages only; nothing is fetched twice, nor asked for in vain."""
    url = site.server.url
    paths = ["/a", "/404/x", "/to/b", "/to/404/y", "/large", "/reset", "/private/x", "/a#again"]
    urls = [*(url + path for path in paths), "ftp://x/", "http://127.0.0.1:1/dead"]
    robots = Robots(client, "seawall-fetch")
    report, job = await do(out, urls, client, robots=robots)
    found = rows(out)
    assert {path: (row["status"], (row["error"] or {}).get("class")) for path, row in found.items()} == {
        "/a": (200, None),
        "/to/b": (200, None),
        "/404/x": (404, "404"),
        "/to/404/y": (404, "404"),
        "/large": (None, "ResponseTooLarge"),
        "/reset": (None, "ConnectionLost"),
        "/private/x": (None, "RobotsDisallowed"),
        "/": (None, "NotAURL"),
        "/dead": (None, "RobotsUnreachable"),
    }
    assert found["/to/b"]["final_url"] == f"{url}/b"
    body = (out / found["/a"]["file"]).read_text() if not out.suffix else found["/a"]["text"]
    assert body == "/a"
    assert (report.count(Kind.GOOD), report.count(Kind.FAILED), report.count(Kind.SKIPPED)) == (2, 6, 1)
    assert report.is_complete
    assert (job.progress.known, job.progress.begun, job.progress.done) == (1, 0, 9)
    assert {each.name for each in findings(report)} == {(row["error"] or {}).get("class") for row in found.values()} - {
        None
    }
    assert all(each.advice for each in findings(report))
    before = site.server.counts
    report, job = await do(out, urls, client, robots=robots)
    assert (site.server.counts, job.progress.known, report.count()) == (before, 10, 9)


async def test_a_charset_that_python_lacks(serve, client, out):
    """The page is good, as every other one, and the job ends."""

    async def answer(request: Request) -> None:
        charset = request.target.removeprefix("/")
        await request.reply(200, "é".encode(), content_type=f"text/html; charset={charset}")

    server = await serve(answer)
    charsets = ["iso-8859-12", "windows-1259", "utf16be", "utf-8", "x"]
    report, _ = await do(out, [f"{server.url}/{each}" for each in charsets], client)
    assert (report.count(Kind.GOOD), report.is_complete) == (5, True)
    if out.suffix:
        assert {row["text"] for row in rows(out).values()} == {"é"}


@pytest.mark.parametrize("where", ["denial", "_page"])
async def test_a_fault_of_ours_at_one_page(site, client, tmp_path, monkeypatch, where):
    """That page has failed, and says how; all others are fetched."""
    robots, url = Robots(client, "seawall-fetch"), site.server.url
    owner: Any = Robots if where == "denial" else Fetcher
    real = getattr(owner, where)

    def breaks(self: Any, entry: Target, *rest: Any) -> Any:
        if entry.url.endswith("/bad"):
            raise RuntimeError("a fault of ours")
        return real(self, entry, *rest)

    monkeypatch.setattr(owner, where, breaks)
    report, _ = await do(tmp_path / "x.jsonl", [f"{url}/a", f"{url}/bad", f"{url}/b"], client, robots=robots)
    assert (report.count(Kind.GOOD), report.count(Kind.FAILED), report.is_complete) == (2, 1, True)
    assert rows(tmp_path / "x.jsonl")["/bad"]["error"] == {"class": "RuntimeError", "message": "a fault of ours"}


async def test_a_journal_that_breaks_meanwhile(site, client, tmp_path, monkeypatch):
    """The job ends with words for it, as it does where its output can't be written."""

    def breaks(self: Journal, key: bytes) -> bool:
        raise sqlite3.DatabaseError("database disk image is malformed")

    monkeypatch.setattr(Journal, "is_done", breaks)
    with pytest.raises(OutputLost, match=r"x.jsonl.seawall.sqlite: database disk image is malformed"):
        await do(tmp_path / "x.jsonl", [f"{site.server.url}/a"], client)


async def test_what_counts_as_good(site, client, tmp_path):
    """Is the caller's to say; redirects needn't be followed."""
    order = Order(accept=Statuses("200-299,404,302"), follow=False)
    await do(tmp_path / "x.jsonl", [site.server.url + path for path in ("/404/x", "/to/b", "/500/x")], client, order)
    found = rows(tmp_path / "x.jsonl")
    assert {path: (row["result"], row["status"]) for path, row in found.items()} == {
        "/404/x": ("good", 404),
        "/to/b": ("good", 302),
        "/500/x": ("failed", 500),
    }


@pytest.mark.parametrize("text", ["", "x", "200-", "-200", "200,,404", "2xx"])
def test_statuses_that_make_no_sense(text):
    """They are refused, with an example."""
    with pytest.raises(ValueError, match="such as 200-299,404"):
        Statuses(text)


async def test_what_is_sent(site, client, tmp_path):
    """Method, headers and body as ordered."""
    order = Order(method="POST", headers=[("x-a", "1"), ("x-a", "2")], content=b"{}")
    await do(tmp_path / "x.jsonl", [f"{site.server.url}/a"], client, order)
    (request,) = site.server.requests
    assert (request.method, request.body) == ("POST", b"{}")
    assert [value for name, value in request.fields if name.lower() == "x-a"] == ["1", "2"]


async def test_cancelled(site, client, out):
    """What had ended is kept, what was in flight is fetched again, and nothing else is."""
    url = site.server.url
    urls = [f"{url}/a/{number}" for number in range(20)] + [f"{url}/slow/{number}" for number in range(5)]
    task = asyncio.create_task(do(out, urls, client))
    for _ in range(5):
        await site.has_come.get()
    for number in range(20):  # all others have been answered and handed over
        await until(lambda: site.server.counts["GET", f"/a/{number}"] == 1)  # noqa: B023  # it is asked at once
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    kept = set(rows(out))
    assert kept <= {f"/a/{number}" for number in range(20)}
    site.may_go.set()
    report, _ = await do(out, urls, client)
    assert len(rows(out)) == report.count(Kind.GOOD) == 25
    twice = {path for (_, path), count in site.server.counts.items() if count > 1}
    assert not twice & kept


async def test_failed_ones_again(site, client, out):
    """Only they are fetched again, and have one row afterwards."""
    url = site.server.url
    urls = [f"{url}/{path}" for path in ("a", "b", "404/x")]
    await do(out, urls, client)
    report, _ = await do(out, urls, client, Order(accept=Statuses("200-404")), again=True)
    assert (report.count(Kind.GOOD), report.count(Kind.FAILED)) == (3, 0)
    assert {path: row["result"] for path, row in rows(out).items()} == dict.fromkeys(["/a", "/b", "/404/x"], "good")
    assert site.server.counts == Counter({("GET", "/a"): 1, ("GET", "/b"): 1, ("GET", "/404/x"): 2})


async def test_a_dead_origin_is_given_up(client, site, tmp_path):
    """After some URLs without any response the others fail at once, and those of other origins are fetched."""
    dead = [f"http://127.0.0.1:1/{number}" for number in range(100)]
    urls = [*dead, *(f"{site.server.url}/a/{number}" for number in range(5))]
    report, _ = await do(tmp_path / "x.jsonl", urls, client, concurrency=1)
    assert {tally.name: tally.pages for tally in report.tallies} == {"OriginGivenUp": 80, "DialError": 20, "200": 5}


@pytest.mark.parametrize(
    "path", ["/large/{}", "/to//127.0.0.1:9/{}", f"{'/to' * 25}/{{}}"], ids=["large", "dead", "round"]
)
async def test_an_origin_that_answers_is_not_given_up(client, site, tmp_path, path):
    """However many of its pages are too large, lead to a dead host, or redirect too often."""
    urls = [site.server.url + path.format(number) for number in range(25)]
    report, _ = await do(tmp_path / "out.jsonl", [*urls, f"{site.server.url}/ok"], client, concurrency=1)
    assert "OriginGivenUp" not in {tally.name for tally in report.tallies}
    assert report.count(Kind.GOOD) >= 1


async def test_an_origin_that_fails_at_times_is_not_given_up(client, site, tmp_path):
    """A response in between, of whatever status, begins the count anew."""
    urls = [f"{site.server.url}/{'reset' if number % 20 else '500'}/{number}" for number in range(100)]
    report, _ = await do(tmp_path / "x.jsonl", urls, client, concurrency=1)
    assert {tally.name: tally.pages for tally in report.tallies} == {"ConnectionLost": 95, "500": 5}


@pytest.fixture
def small_files():
    """Files end at 20,000 bytes, unless it is called off."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def test_a_full_disk(site, client, tmp_path, monkeypatch, small_files):
    """The job ends with what the system says; once there is room, it goes on, and each row is there once."""
    monkeypatch.setattr(keeper_module, "MAX_PAGES", 20)
    urls = [f"{site.server.url}/a/{number}" for number in range(200)]
    out = tmp_path / "x.jsonl"
    output = Output.open(out, {"list": "x"}, now=lambda: 1.0)
    output.close()
    small_files(out.with_name("x.jsonl.seawall.sqlite").stat().st_size + 20_000)
    with pytest.raises(OutputLost, match=r"too large|full|disk"):
        await do(out, urls, client)
    small_files(resource.RLIM_INFINITY)
    report, _ = await do(out, urls, client)
    assert len(rows(out)) == report.count(Kind.GOOD) == 200


async def test_a_disk_that_is_full_from_the_start(client, tmp_path, small_files):
    """The job ends before anything is asked."""
    output = Output.open(tmp_path / "x.jsonl", {}, now=lambda: 1.0)
    small_files(100)
    with pytest.raises(OutputLost, match=r"seawall\.sqlite: "):
        await Job(entries(["http://127.0.0.1:1/"]), Fetcher(client, Order(), robots=None), *output).run()
    output.close()


async def test_a_robots_txt_that_hangs_holds_up_its_own_host(serve, client, tmp_path):
    """One of its URLs waits for the answer; the other, which waits for the same, leaves its seat to another host."""
    may_go = asyncio.Event()

    async def silent(request: Request) -> None:
        await may_go.wait()
        await request.reply(404)

    async def quick(request: Request) -> None:
        may_go.set()
        await request.reply(200)

    hanging, server = await serve(silent), await serve(quick)

    async def late() -> AsyncIterator[Entry]:
        yield target(f"{hanging.url}/1")
        yield target(f"{hanging.url}/2")
        await until(lambda: job.progress.begun == 2 and len(hanging.requests) == 1)
        yield target(f"{server.url}/3")

    output = Output.open(tmp_path / "x.jsonl", {}, now=lambda: 1.0)
    fetcher = Fetcher(client, Order(), robots=Robots(client, "seawall-fetch"))
    job = Job(late(), fetcher, *output, concurrency=2)
    async with asyncio.timeout(120):
        await job.run()
    assert {tally.name: tally.pages for tally in output.journal.report().tallies} == {"200": 1, "404": 2}
    output.close()


async def test_a_slow_list_is_kept_each_second(site, client, tmp_path, monkeypatch):
    """What has ended is on the disk though the list doesn't end."""
    monkeypatch.setattr(keeper_module, "INTERVAL", 0.01)
    may_end = asyncio.Event()

    async def slow() -> AsyncIterator[Entry]:
        yield target(f"{site.server.url}/a")
        await may_end.wait()

    output = Output.open(tmp_path / "x.jsonl", {}, now=lambda: 1.0)
    job = asyncio.create_task(Job(slow(), Fetcher(client, Order(), robots=None), output.journal, output.sink).run())
    await until(lambda: output.journal.report().count() == 1)
    assert len(rows(tmp_path / "x.jsonl")) == 1
    may_end.set()
    await job
    output.close()


async def test_a_bug_is_not_a_page(site, tmp_path):
    """What the job itself does wrong ends it."""

    class Broken(Fetcher):
        async def fetch(self, entry: Entry) -> Any:
            raise ZeroDivisionError

    output = Output.open(tmp_path / "x.jsonl", {}, now=lambda: 1.0)
    with pytest.raises(ExceptionGroup) as caught:
        await Job(
            entries([f"{site.server.url}/a"]),
            Broken(None, Order(), robots=None),
            output.journal,
            output.sink,  # type: ignore[arg-type]
        ).run()
    assert caught.group_contains(ZeroDivisionError)
    output.close()


async def test_a_refused_entry_needs_no_server(tmp_path):
    """It is a row at once."""
    entry = target("nonsense")
    assert isinstance(entry, Refused)
    page = await Fetcher(None, Order(), robots=None).fetch(entry)  # type: ignore[arg-type]
    assert (page.kind, page.name, page.url) == (Kind.FAILED, "NotAURL", "nonsense")


@pytest.mark.parametrize(
    ("prepare", "name", "said"),
    [
        (lambda out: out.write_text("theirs"), "x.jsonl", "has no journal"),
        (lambda out: out.write_text("theirs"), "x", "is a file"),
        (lambda out: (out.mkdir(), (out / "theirs").write_text("")), "x", "isn't empty"),
    ],
)
def test_an_output_of_others(tmp_path, prepare, name, said):
    """It is left as it is."""
    prepare(tmp_path / name)
    with pytest.raises(Exception, match=said):
        Output.open(tmp_path / name, {}, now=lambda: 1.0)
    assert len(list(tmp_path.rglob("*"))) == (2 if (tmp_path / name).is_dir() else 1)


@pytest.mark.parametrize("out", ["x", "x.jsonl"])
@pytest.mark.parametrize("left", [("-lock",), ("-lock", ""), ("-lock", "", "-journal")])
def test_a_process_was_killed_at_its_start(tmp_path, out, left):
    """What it left of its lock and its journal doesn't keep the same command from going on."""
    place = tmp_path / out
    journal = place.with_name(f"{out}.seawall.sqlite") if place.suffix else place / ".seawall.sqlite"
    journal.parent.mkdir(exist_ok=True)
    for end in left:
        journal.with_name(journal.name + end).touch()
    output = Output.open(place, {}, now=lambda: 1.0)
    output.close()


@pytest.mark.parametrize("out", ["x", "x.jsonl"])
async def test_a_journal_that_lost_all_its_bytes(site, client, tmp_path, out):
    """It knows of no page, so it would have all rows cut off: the output is taken for another's, and left as it is."""
    await do(tmp_path / out, [f"{site.server.url}/{number}" for number in range(3)], client)
    (journal,) = tmp_path.rglob("*.seawall.sqlite")
    journal.write_bytes(b"")
    (index,) = tmp_path.rglob("*.jsonl")
    before = index.read_bytes()
    with pytest.raises(BadOutput, match="has an empty journal"):
        Output.open(tmp_path / out, {"list": "urls"}, now=lambda: 1.0)
    assert index.read_bytes() == before


async def test_progress_is_bounded(site, client, tmp_path):
    """Origins without URLs in flight are forgotten beyond a thousand."""
    report, job = await do(tmp_path / "x.jsonl", (f"http://127.0.0.1:1/{number}" for number in range(3)), client)
    progress = job.progress
    for number in range(3000):
        progress.begin(f"http://{number}")
        progress.end(f"http://{number}", None)
    assert len(progress.origins) == 1000
    assert isinstance(target("http://a/"), Target)
    assert report.count() == 3
