"""A list that workers fetch, without a queue: the sender's part, whatever is lost, doubled, late or ended."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

import pytest

from seawall.fetch import dispatch as dispatch_module
from seawall.fetch.dispatch import Dispatch, PostAway
from seawall.fetch.folder import INDEX, UNSETTLED, Folder
from seawall.fetch.journal import Journal
from seawall.fetch.keeper import OutputLost
from seawall.fetch.output import Output, parcels_of
from seawall.fetch.packing import pack
from seawall.fetch.page import Kind, Page, Problem
from seawall.fetch.parcel import Parcel, Parcels, bucket_of
from seawall.fetch.rows import Rows
from seawall.fetch.target import Target, target

from .test_fetch_command import bodies, rows
from .test_fetch_job import entries

pytestmark = pytest.mark.anyio

OUTS = ["out", "out.jsonl"]
URLS = [f"http://host-{number % 7}.test/{number}" for number in range(42)]


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sender looks again at once."""
    monkeypatch.setattr(dispatch_module, "TICK", 0.001)
    monkeypatch.setattr(dispatch_module, "TEND", 0.01)


class Site:
    """Fetches, as far as workers can tell."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.on_fetch: Callable[[int], None] = lambda count: None

    async def fetch(self, entry: Target) -> Page:
        self.asked[entry.url] += 1
        self.on_fetch(self.asked.total())
        return Page(
            entry.url, entry.key, Kind.GOOD, 200, entry.url, (("content-type", "text/plain"),), entry.url.encode(), 1
        )


class Post:
    """A worker who does each parcel when it is sent; *lose* says which ones it doesn't get."""

    def __init__(self, site: Site, parcels: Parcels, *, lose: Iterable[int] = (), away: Iterable[int] = ()) -> None:
        self.site = site
        self.parcels = parcels
        self.stop = asyncio.Event()
        self.sent = 0
        self._lose = set(lose)
        self._away = set(away)
        self.out: set[int] = set()

    async def send(self, name: str, bucket: int) -> None:
        number, self.sent = self.sent, self.sent + 1
        if number in self._away:
            raise PostAway("it is away")
        if number not in self._lose:
            await self.do(name)

    async def tend(self, out: int) -> bool:
        return False

    async def given_up(self) -> dict[str, str]:
        return {}

    async def do(self, name: str) -> None:
        parcel = self.parcels.get(name)
        assert parcel is not None
        await pack(
            parcel, self.site, self.parcels, self.stop, concurrency=1, files=self.parcels.path.name == ".parcels"
        )  # type: ignore[arg-type]
        self.stop.clear()


def parcels(out: Path) -> Parcels:
    return Parcels(parcels_of(out))


async def dispatch(out: Path, post: Any, urls: Iterable[str] = URLS) -> Dispatch:
    """Run the job to its end, as the command does."""
    with closing(Output.open(out, {"list": "urls"}, now=lambda: 0.0)) as output:
        job = Dispatch(entries(urls), post, output.journal, output.sink, parcels(out), size=3)
        async with asyncio.timeout(60):
            await job.run()
    return job


def check(out: Path, urls: list[str] = URLS) -> None:
    found = rows(out)
    assert sorted(row["url"] for row in found) == sorted(urls)
    assert all(row["text"] == row["url"] for row in found)
    assert out.suffix or bodies(out) == len(urls)
    assert not parcels(out).path.exists()


@pytest.mark.parametrize("out", OUTS)
async def test_each_url_once(tmp_path, out):
    """Also one that stands in the list twice; a line that isn't a URL has a row too."""
    site, where = Site(), tmp_path / out
    job = await dispatch(where, Post(site, parcels(where)), [*URLS, *URLS, "ftp://x"])
    found = rows(where)
    assert Counter(row["url"] for row in found) == Counter([*URLS, "ftp://x"])
    assert site.asked == Counter(URLS)
    assert (job.progress.done, job.progress.known, job.progress.begun) == (43, 42, 0)
    assert {row["error"]["class"] for row in found if row["result"] == "failed"} == {"NotAURL"}


@pytest.mark.parametrize("out", OUTS)
@pytest.mark.parametrize(
    ("where", "step"), [(Journal, "write"), (Folder, "adopt"), (Rows, "adopt"), (Parcels, "remove"), (Parcels, "put")]
)
@pytest.mark.parametrize("is_before", [True, False])
async def test_the_sender_ends_between_two_steps(tmp_path, monkeypatch, out, where, step, is_before):
    """Before or after any step of the third parcel: the next run finds each page, and asks for none again."""
    site, real, place, count = Site(), getattr(where, step), tmp_path / out, 0

    def broken(*arguments: Any, **settings: Any) -> None:
        nonlocal count
        count += 1
        if count < 3 or not is_before:
            real(*arguments, **settings)
        if count == 3:
            raise OSError("the power was lost")

    with monkeypatch.context() as patch:
        patch.setattr(where, step, broken)
        with pytest.raises(OutputLost) if where.__name__ != unused(out) else nullcontext():
            await dispatch(place, Post(site, parcels(place)))
    await dispatch(place, Post(site, parcels(place)))
    check(place)
    assert site.asked == Counter(URLS)


async def cut_off(monkeypatch: pytest.MonkeyPatch, out: Path, site: Site, urls: list[str]) -> None:
    """The sender's end just as it has noted a parcel's pages."""

    def broken(*_: Any) -> None:
        raise OSError("the power was lost")

    with monkeypatch.context() as patch:
        patch.setattr(Dispatch, "_settle", broken)
        with pytest.raises(OutputLost):
            await dispatch(out, Post(site, parcels(out)), urls)


@pytest.mark.parametrize("out", OUTS)
async def test_a_job_goes_on_without_a_queue(tmp_path, monkeypatch, out):
    """Its sender ended just when a parcel's pages were noted: their bodies are taken over before parcels go."""
    place = tmp_path / out
    await cut_off(monkeypatch, place, Site(), URLS[:3])
    with closing(Output.open(place, {"list": "urls"}, now=lambda: 0.0)) as output:
        parcels(place).clear()
        noted = output.journal.report().count()
    found = rows(place)
    assert len(found) == noted > 0
    assert all(row["text"] == row["url"] for row in found)


async def test_failed_again_after_the_sender_ended(tmp_path, monkeypatch):
    """A parcel whose pages were noted isn't put into the output anew, but its failed URLs are fetched again."""
    site, out = Site(), tmp_path / "out.jsonl"

    class Failing(Site):
        async def fetch(self, entry: Target) -> Page:
            return (await super().fetch(entry))._replace(kind=Kind.FAILED, problem=Problem("404", "no"))

    await cut_off(monkeypatch, out, Failing(), URLS[:1])
    Output.open(out, {"list": "urls"}, now=lambda: 0.0, is_failed_again=True).close()
    await dispatch(out, Post(site, parcels(out)), URLS[:1])
    check(out, URLS[:1])


@pytest.mark.parametrize("name", ["._notes.todo", "0123456789abcdef.todo"])
@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"\xff", b"[" * 100_000, b'{"bucket": 1, "urls": [1]}'])
def test_a_file_of_others_among_parcels(tmp_path, name, content):
    """A file manager's is passed over, and so is what makes no sense."""
    (tmp_path / name).write_bytes(content)
    assert list(Parcels(tmp_path).left()) == []


@pytest.mark.parametrize("is_pipe", [True, False])
def test_what_was_planted_as_a_parcel(tmp_path, is_pipe):
    """A pipe doesn't hold a process up, and no link is followed."""
    path = tmp_path / "0123456789abcdef.todo"
    os.mkfifo(path) if is_pipe else path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="delete it"):
        list(Parcels(tmp_path).left())


async def test_a_journal_that_breaks_meanwhile(tmp_path, monkeypatch):
    """The job ends with words for it."""

    def breaks(self: Journal, key: bytes) -> bool:
        raise sqlite3.DatabaseError("database disk image is malformed")

    monkeypatch.setattr(Journal, "is_done", breaks)
    with pytest.raises(OutputLost, match="database disk image is malformed"):
        await dispatch(tmp_path / "out", Post(Site(), parcels(tmp_path / "out")))


@pytest.mark.parametrize("out", OUTS)
@pytest.mark.parametrize(
    "row", [b"{", b"[]", b'{"url":"http://a.test/"}', b"\xff", b"[" * 100_000, b'{"url":1,"error":null}', b"FOREIGN"]
)
async def test_a_row_that_cannot_be_read(tmp_path, out, row):
    """One row of a worker doesn't end the job: its URL has failed, and all others have their pages."""
    foreign = b'{"result":"good","url":"http://b.test/","status":200,"final_url":"","attempts":1,"error":null}'

    class Spoiling(Post):
        async def do(self, name: str) -> None:
            await super().do(name)
            index = self.parcels.pages(name) / INDEX
            lines = index.read_bytes().splitlines(keepends=True)
            if self.sent == 1:
                index.write_bytes(b"".join([row.replace(b"FOREIGN", foreign) + b"\n", *lines[1:]]))

    site = Site()
    await dispatch(tmp_path / out, Spoiling(site, parcels(tmp_path / out)))
    found = rows(tmp_path / out)
    assert sorted(each["url"] for each in found) == sorted(URLS)
    (bad,) = (each for each in found if each["result"] != "good")
    assert bad["error"]["class"] == "ParcelFailed"
    assert "can't be read" in bad["error"]["message"]


@pytest.mark.parametrize("out", OUTS)
@pytest.mark.parametrize(
    "change",
    [
        {"error": {"class": 1, "message": "x"}},
        {"error": {"class": "x", "message": None}},
        {"error": {"class": [], "message": "x"}},
        {"attempts": "x"},
        {"status": [200]},
        {"final_url": {"a": 1}},
        {"file": "../../precious"},
        {"file": 7},
    ],
)
async def test_a_row_that_nobody_could_have_written(tmp_path, out, change):
    """A worker's row that would end the job, or lead the output's readers elsewhere, fails the URL that it is of."""

    class Spoiling(Post):
        async def do(self, name: str) -> None:
            await super().do(name)
            index = self.parcels.pages(name) / INDEX
            first, *others = index.read_bytes().splitlines(keepends=True)
            if self.sent == 1:
                index.write_bytes(json.dumps(json.loads(first) | change).encode() + b"\n" + b"".join(others))

    await dispatch(tmp_path / out, Spoiling(Site(), parcels(tmp_path / out)), URLS[:7])
    found = rows(tmp_path / out)
    assert sorted(each["url"] for each in found) == sorted(URLS[:7])
    (bad,) = (each for each in found if each["result"] != "good")
    assert bad["error"]["class"] == "ParcelFailed"


def unused(out: str) -> str:
    """The sink that this output hasn't."""
    return "Folder" if out.endswith(".jsonl") else "Rows"


async def test_messages_are_lost(tmp_path):
    """A parcel that neither waits nor is at a worker is sent anew."""
    site, out = Site(), tmp_path / "out"
    post = Post(site, parcels(out), lose=(0, 3, 4, 9))
    await dispatch(out, post)
    check(out)
    assert site.asked == Counter(URLS)


@pytest.mark.parametrize("out", OUTS)
@pytest.mark.parametrize("is_folder", [True, False])
async def test_links_that_a_worker_planted(tmp_path, out, is_folder):
    """Others write to the parcels' folder, too; what a link leads to isn't taken for a worker's rows."""
    where, elsewhere = tmp_path / out, tmp_path / "elsewhere"
    row = {"url": "http://a.test/0", "result": "good", "text": "of another"}
    elsewhere.mkdir()
    (elsewhere / INDEX).write_text(json.dumps(row) + "\n")

    class Planting(Post):
        async def do(self, name: str) -> None:
            await super().do(name)
            pages = self.parcels.pages(name)
            if is_folder:
                pages.rename(pages.with_suffix(".was"))
                pages.symlink_to(elsewhere)
            else:
                (pages / INDEX).unlink()
                (pages / INDEX).symlink_to(elsewhere / INDEX)

    with pytest.raises(OutputLost, match="symbolic link"):
        await dispatch(where, Planting(Site(), parcels(where)))
    written = [each for each in tmp_path.rglob("*.jsonl") if each.resolve().parent != elsewhere]
    assert "of another" not in "".join(each.read_text() for each in written)


async def test_a_body_that_is_a_link(tmp_path):
    """It doesn't get into the output, whose readers would read another file."""
    out = tmp_path / "out"

    class Planting(Post):
        async def do(self, name: str) -> None:
            await super().do(name)
            body = next((self.parcels.pages(name) / UNSETTLED).iterdir())
            body.unlink()
            body.symlink_to("/dev/null")

    with pytest.raises(OutputLost, match="symbolic link"):
        await dispatch(out, Planting(Site(), parcels(out)))
    assert [each for each in out.glob("??/*") if each.is_symlink()] == []


@pytest.mark.parametrize("out", OUTS)
async def test_a_parcel_is_given_up(tmp_path, out):
    """Its URLs have failed, with the reason, and the job ends; the next run may fetch them again."""
    site, where = Site(), tmp_path / out

    class Failing(Post):
        """Its workers can't do the parcels of one bucket."""

        def __init__(self) -> None:
            super().__init__(site, parcels(where))
            self.bad: dict[str, str] = {"0" * 16: "another run's"}

        async def send(self, name: str, bucket: int) -> None:
            if bucket == bucket_of(URLS[0]):
                assert name not in self.bad
                self.bad[name] = "the disk is full"
            else:
                await super().send(name, bucket)

        async def given_up(self) -> dict[str, str]:
            return self.bad

    job = await dispatch(where, Failing())
    bad = [url for url in URLS if bucket_of(url) == bucket_of(URLS[0])]
    found = rows(where)
    assert Counter(row["url"] for row in found) == Counter(URLS)
    assert sorted(row["url"] for row in found if row["result"] == "failed") == sorted(bad)
    said = {(row["error"]["class"], row["error"]["message"]) for row in found if row["error"]}
    assert said == {("ParcelFailed", "the disk is full")}
    assert (job.progress.done, job.progress.begun) == (42, 0)
    assert not parcels(where).path.exists()


@pytest.mark.parametrize("out", OUTS)
async def test_the_sender_ends_while_it_gives_up(tmp_path, out, monkeypatch):
    """What it has noted is noted once."""
    where, all_bad = tmp_path / out, dict[str, str]()

    class Failing(Post):
        async def send(self, name: str, bucket: int) -> None:
            all_bad[name] = "no"

        async def given_up(self) -> dict[str, str]:
            return all_bad

    def broken(self: Parcels, name: str) -> None:
        raise OSError("the power was lost")

    with monkeypatch.context() as patch:
        patch.setattr(Parcels, "remove", broken)
        with pytest.raises(OutputLost):
            await dispatch(where, Failing(Site(), parcels(where)))
    await dispatch(where, Failing(Site(), parcels(where)))
    assert Counter(row["url"] for row in rows(where)) == Counter(URLS)


async def test_the_queue_is_away(tmp_path):
    """What couldn't be sent is sent once it is back, and the job says what is wrong meanwhile."""
    site, out = Site(), tmp_path / "out"
    said = []

    class Away(Post):
        async def send(self, name: str, bucket: int) -> None:
            said.append(job.said)
            await super().send(name, bucket)

    with closing(Output.open(out, {}, now=lambda: 0.0)) as output:
        post = Away(site, parcels(out), away=range(3))
        job = Dispatch(entries(URLS), post, output.journal, output.sink, parcels(out), size=3)
        await job.run()
    check(out)
    assert said[:5] == ["", "it is away", "it is away", "it is away", ""]


@pytest.mark.parametrize("out", OUTS)
async def test_a_worker_gives_back(tmp_path, out):
    """What it has fetched is kept, and the rest comes in another parcel."""
    site, place = Site(), tmp_path / out
    post = Post(site, parcels(place))
    site.on_fetch = lambda count: post.stop.set() if count in (2, 20, 21) else None
    await dispatch(place, post)
    check(place)
    assert site.asked.total() <= 42 + 3 * 3  # at most, all of the parcels that were given back


async def test_a_bucket_has_one_parcel_out(tmp_path):
    """The next one is sent once the output has the one before; so a host is asked by one worker at a time."""
    out = tmp_path / "out"
    seen: list[list[int]] = []

    class Slow(Post):
        """Its worker does a parcel at a time, when the sender looks after it."""

        def __init__(self) -> None:
            super().__init__(Site(), parcels(out))
            self.names: list[str] = []

        async def send(self, name: str, bucket: int) -> None:
            seen.append([parcel.bucket for parcel in self.parcels.left()])
            self.names.append(name)

        async def tend(self, out: int) -> bool:
            if self.names:
                await self.do(self.names.pop(0))
            return True

    await dispatch(out, Slow())
    check(out)
    assert len(seen) >= 42 / 3
    assert all(len(set(buckets)) == len(buckets) for buckets in seen)


async def test_the_first_of_two_workers(tmp_path):
    """The pages of the one that ends later are thrown away; of a parcel that is in the output, too."""
    store = Parcels(tmp_path / ".parcels")
    urls = [entry for entry in map(target, URLS[:5]) if isinstance(entry, Target)]
    parcel = Parcel.of(bucket_of(urls[0].origin), urls)
    store.put(parcel)
    assert store.get(parcel.name) == parcel
    for _ in range(2):
        await Post(Site(), store).do(parcel.name)
    assert sorted(each.suffix for each in store.path.iterdir()) == [".done", ".todo"]
    late = store.begin(parcel.name)
    (late / "index.jsonl").touch()
    store.remove(parcel.name)
    store.end(parcel.name, late)
    assert list(store.path.iterdir()) == []


async def test_a_parcel_is_cancelled(tmp_path):
    """It leaves nothing behind, and may be done by another."""
    store, site = Parcels(tmp_path / ".parcels"), Site()
    urls = [entry for entry in map(target, URLS[:5]) if isinstance(entry, Target)]
    parcel = Parcel.of(0, urls)
    store.put(parcel)
    working = asyncio.ensure_future(Post(site, store).do(parcel.name))
    site.on_fetch = lambda count: working.cancel() if count == 2 else None
    with pytest.raises(asyncio.CancelledError):
        await working
    assert [each.suffix for each in store.path.iterdir()] == [".todo"]


def test_names_of_parcels(tmp_path):
    """A message can't name a file elsewhere; one without a parcel is of a job that is done."""
    store = Parcels(tmp_path)
    with pytest.raises(ValueError, match="isn't the name of a parcel"):
        store.get("../../etc/passwd")
    assert store.get("0" * 16) is None


def test_buckets():
    """A host's scheme and port don't matter; and what a bucket is doesn't depend on the machine."""
    assert len({bucket_of(f"{scheme}://a.test{port}") for scheme in ("http", "https") for port in ("", ":81")}) == 1
    assert len({bucket_of(f"http://host-{number}.test") for number in range(1000)}) == 64
    assert [bucket_of("http://a.test"), bucket_of("http://b.test")] == [42, 41]
