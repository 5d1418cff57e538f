"""What a job remembers, and what a process that ends anywhere leaves behind."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import shutil
import sqlite3
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from seawall.fetch.folder import Folder
from seawall.fetch.journal import BadJournal, Batch, Journal
from seawall.fetch.keeper import Keeper, OutputLost
from seawall.fetch.page import Kind, Page, Problem, row_of
from seawall.fetch.rows import Rows
from seawall.fetch.sinks import BadOutput, Sink
from seawall.fetch.target import key_of

HTML = (("Content-Type", "text/html; charset=utf-8"),)
JOB = {"sources": "urls.txt", "method": "GET"}


def page(url: str, *, name: str = "", kind: Kind = Kind.GOOD, body: bytes = b"hi", headers: Any = HTML) -> Page:
    problem = Problem(name, f"{name} happened") if name else None
    return Page(url, key_of(url), kind, 200, url, headers, body if kind is Kind.GOOD else b"", 1, problem)


def failed(url: str, name: str = "404") -> Page:
    return page(url, name=name, kind=Kind.FAILED)


def journal_at(path: Path, job: dict[str, str] = JOB, *, now: Callable[[], float] = lambda: 7.0) -> Journal:
    return Journal.open(path / "journal", job, now=now)


def keep(journal: Journal, sink: Sink, *pages: Page) -> None:
    """A batch, as a job keeps it."""
    for each in pages:
        assert journal.admit(each.key)
        journal.note(each)
    batch = journal.cut()
    journal.write(batch, mark=sink.write(pages))
    journal.written(batch)
    sink.settle(pages)


SINKS: dict[str, Callable[[Path], Sink]] = {"rows": lambda path: Rows(path / "out.jsonl"), "folder": Folder}


@pytest.fixture(params=SINKS)
def make(request) -> Callable[[Path], Sink]:
    return SINKS[request.param]


def rows(path: Path) -> list[dict[str, Any]]:
    (file,) = path.glob("*.jsonl")
    return [json.loads(line) for line in file.read_bytes().splitlines()]


def files(path: Path) -> list[str]:
    """Bodies that are in their places, and those that are on their way there."""
    return sorted(each.relative_to(path).as_posix() for folder in path.glob("*/") for each in folder.iterdir())


def test_each_is_admitted_once(tmp_path):
    """In flight, noted and done are all known, a new process knows what was done, and fetches what was in flight."""
    journal = journal_at(tmp_path)
    one, two = page("http://a/1"), page("http://a/2")
    assert [journal.admit(key) for key in (one.key, one.key, two.key)] == [True, False, True]
    journal.note(one)
    assert not journal.admit(one.key)
    batch = journal.cut()
    assert not journal.admit(one.key)
    journal.write(batch, mark=5)
    journal.written(batch)
    assert not journal.admit(one.key)
    journal.close()
    again = journal_at(tmp_path)
    assert (again.mark, again.admit(one.key), again.admit(two.key)) == (5, False, True)
    again.close()


def test_a_report(tmp_path):
    """Pages are counted by how they ended, with an example of each; another process may read it meanwhile."""
    times = iter([1.0, 2.0, 3.0])
    journal, sink = journal_at(tmp_path, now=lambda: next(times)), Rows(tmp_path / "out.jsonl")
    sink.recover(0, journal.is_done)
    keep(journal, sink, page("http://a/1"), failed("http://a/2"), failed("http://a/3"))
    keep(journal, sink, failed("http://a/4"), failed("ftp://a", "BadURL"))
    report = Journal.read(tmp_path / "journal")
    assert [(tally.name, tally.pages, tally.url) for tally in report.tallies] == [
        ("404", 3, "http://a/2"),
        ("200", 1, "http://a/1"),
        ("BadURL", 1, "ftp://a"),
    ]
    assert (report.count(), report.count(Kind.FAILED)) == (5, 4)
    assert (report.started_at, report.committed_at, report.is_running, report.is_complete) == (1.0, 3.0, True, False)
    journal.complete(is_complete=True)
    journal.close()
    sink.close()
    report = Journal.read(tmp_path / "journal")
    assert (report.is_running, report.is_complete, dict(report.job)) == (False, True, JOB)


@pytest.mark.parametrize("is_of_workers", [False, True])
def test_a_password_in_a_url(tmp_path, is_of_workers):
    """Isn't kept with the examples, neither of a job in this process nor of one whose pages workers send."""
    problem = Problem("DialError", "http://me:s3cret@a/1 refused")
    secret = failed("http://me:s3cret@a/1")._replace(problem=problem)
    journal = journal_at(tmp_path)
    journal.note(secret)
    journal.write(Batch.of([secret]) if is_of_workers else journal.cut(), mark=0)
    (tally,) = journal.report().tallies
    journal.close()
    assert (tally.url, tally.said) == ("http://a/1", "http://a/1 refused")


def test_one_process_at_a_time(tmp_path):
    """A second one is told so, and may go on once the first has ended."""
    journal = journal_at(tmp_path)
    with pytest.raises(BadJournal, match="another seawall fetch is at work"):
        journal_at(tmp_path)
    journal.close()
    journal_at(tmp_path).close()


def test_another_job(tmp_path):
    """What differs is named, and nothing is changed."""
    journal_at(tmp_path).close()
    with pytest.raises(BadJournal, match="another job's: its method was 'GET' and not 'POST'"):
        journal_at(tmp_path, JOB | {"method": "POST"})
    journal_at(tmp_path).close()


def _versioned(path: Path) -> None:
    journal_at(path.parent).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 9")
    connection.close()


def _foreign(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE theirs (x)")
    connection.close()


def _changed(sql: str) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        journal_at(path.parent).close()
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute(sql)
        connection.close()

    return change


def _garbled(path: Path) -> None:
    journal_at(path.parent).close()
    path.write_bytes(path.read_bytes().replace(b"TEXT NOT NULL", b"TEXT NOT NU\xae\x80"))


BROKEN = "is the journal of seawall fetch, and broken: delete it and its output, or choose another --out"


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_changed("DELETE FROM meta"), BROKEN),
        (_changed("DELETE FROM meta WHERE name = 'mark'"), BROKEN),
        (_changed("DELETE FROM meta WHERE name = 'started_at'"), BROKEN),
        (_changed("UPDATE meta SET value = 'x' WHERE name = 'mark'"), BROKEN),
        (_changed("UPDATE meta SET value = '[]' WHERE name = 'job'"), BROKEN),
        (_changed("UPDATE meta SET value = 'inf' WHERE name = 'started_at'"), BROKEN),
        (_changed("DROP TABLE meta"), "no such table: meta"),
        (_versioned, "version 9, and this seawall reads version 1"),
        (_foreign, "not a journal of seawall fetch"),
        (lambda path: path.write_bytes(b"x" * 5000), "not a database"),
        (_garbled, "as a journal: 'utf-8' codec"),
        (lambda path: path.mkdir(), "can't be|unable to open"),
    ],
)
def test_a_journal_that_cannot_be_used(tmp_path, spoil, said):
    """It is left as it is, whatever it is, and both who goes on and who reads are told why."""
    path = tmp_path / "journal"
    spoil(path)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(BadJournal, match=said):
        journal_at(tmp_path)
    with pytest.raises(BadJournal, match=f"{said}|no journal at"):
        Journal.read(path)
    assert (path.read_bytes() if path.is_file() else None) == before


def test_a_process_that_is_killed_while_it_makes_its_journal(tmp_path, monkeypatch):
    """The next one begins anew, whichever statement was the last, because all of them are one transaction."""
    kept: list[Path] = []

    class Snapped(sqlite3.Connection):
        """Copies what the disk has after each statement, which is what a kill leaves."""

        def execute(self, sql: str, *rest: Any) -> sqlite3.Cursor:
            return self._snapped(super().execute(sql, *rest))

        def executemany(self, sql: str, *rest: Any) -> sqlite3.Cursor:
            return self._snapped(super().executemany(sql, *rest))

        def executescript(self, sql: str) -> sqlite3.Cursor:
            return self._snapped(super().executescript(sql))

        def _snapped(self, cursor: sqlite3.Cursor) -> sqlite3.Cursor:
            (snapshot := tmp_path / f"after-{len(kept)}").mkdir()
            for file in (tmp_path / "live").glob("journal*"):
                if not file.name.endswith("-lock"):
                    shutil.copy(file, snapshot)
            kept.append(snapshot)
            return cursor

    (tmp_path / "live").mkdir()
    real = sqlite3.connect
    with monkeypatch.context() as patch:
        patch.setattr(sqlite3, "connect", lambda *rest, **more: real(*rest, **more, factory=Snapped))
        journal_at(tmp_path / "live").close()
    assert len(kept) > 7
    for snapshot in kept:
        journal = journal_at(snapshot)
        assert (journal.mark, journal.report().count(), journal.report().started_at) == (0, 0, 7.0)
        journal.close()


def test_a_kind_of_page_that_no_release_knows(tmp_path):
    """The report says that it can't be read."""
    journal, sink = journal_at(tmp_path), Rows(tmp_path / "out.jsonl")
    sink.recover(0, journal.is_done)
    keep(journal, sink, page("http://a/1"))
    journal.close()
    sink.close()
    _changed("UPDATE outcomes SET kind = 'x'")(tmp_path / "journal")
    with pytest.raises(BadJournal, match="can't be read as a journal: 'x'"):
        Journal.read(tmp_path / "journal")


STOPS = ["nothing", "torn", "written", "noted", "settled"]


@pytest.mark.parametrize("stop", STOPS)
def test_a_process_that_ends_between_two_steps(tmp_path, make, stop):
    """Whichever of a batch's steps was the last one, each page is there once, and whole, after the next process."""
    journal, sink = journal_at(tmp_path), make(tmp_path)
    sink.recover(journal.mark, journal.is_done)
    keep(journal, sink, page("http://a/0"), failed("http://a/1"))
    second = [page("http://a/2"), page("http://a/3", body=b"\xff\x00")]
    for each in second:
        journal.admit(each.key)
        journal.note(each)
    batch = journal.cut()
    if stop != "nothing":
        mark = sink.write(second)
    if stop == "torn":
        (file,) = tmp_path.glob("*.jsonl")
        os.truncate(file, mark - 5)
    if stop in ("noted", "settled"):
        journal.write(batch, mark=mark)
    if stop == "settled":
        sink.settle(second)
    journal.close()
    sink.close()

    journal, sink = journal_at(tmp_path), make(tmp_path)
    sink.recover(journal.mark, journal.is_done)
    todo = [each for each in second if not journal.is_done(each.key)]
    assert len(todo) == (0 if stop in ("noted", "settled") else 2)
    if todo:  # the server calls them something else now, so that what the first process wrote has other names
        keep(journal, sink, *(each._replace(headers=(("content-type", "text/plain"),)) for each in todo))
    found = rows(tmp_path)
    assert [row["url"] for row in found] == [f"http://a/{number}" for number in range(4)]
    if isinstance(sink, Folder):
        assert files(tmp_path) == sorted(row["file"] for row in found if row["result"] == "good")
        assert (tmp_path / found[3]["file"]).read_bytes() == b"\xff\x00"
    journal.close()
    sink.close()


def test_the_name_of_an_output_without_failed_pages_is_on_the_disk(tmp_path, monkeypatch):
    """Before the journal relies on it: without it, the old output would be cut off where the new one ends."""
    synced: list[Path] = []
    monkeypatch.setattr("seawall.fetch.rows.sync_folder", synced.append)
    sink = Rows(tmp_path / "out.jsonl")
    sink.recover(0, lambda key: False)
    sink.write([page("http://a/1"), failed("http://a/2")])
    synced.clear()
    sink.without_failed()
    assert synced == [tmp_path]
    sink.close()


@pytest.mark.parametrize("stop", ["nothing", "written", "noted", "replaced"])
def test_failed_pages_are_fetched_again(tmp_path, make, stop):
    """Their rows go, those of others stay, and a process that ends in between leaves the one output or the other."""
    journal, sink = journal_at(tmp_path), make(tmp_path)
    sink.recover(0, journal.is_done)
    skipped = page("http://a/4", name="Disallowed", kind=Kind.SKIPPED)
    keep(journal, sink, page("http://a/1"), failed("http://a/2"), page("http://a/3"), skipped, failed("http://a/5"))
    if stop != "nothing":
        mark = sink.without_failed()
    if stop in ("noted", "replaced"):
        journal.forget_failed(mark=mark)
    if stop == "replaced":
        sink.replace()
    journal.close()
    sink.close()

    journal, sink = journal_at(tmp_path), make(tmp_path)
    if journal.is_replacing:
        sink.replace()
        journal.replaced()
    sink.recover(journal.mark, journal.is_done)
    is_forgotten = stop in ("noted", "replaced")
    assert journal.is_done(key_of("http://a/2")) is not is_forgotten
    assert journal.is_done(key_of("http://a/3"))
    assert [row["url"][-1] for row in rows(tmp_path)] == list("134" if is_forgotten else "12345")
    assert journal.report().count(Kind.FAILED) == (0 if is_forgotten else 2)
    journal.close()
    sink.close()


async def _flushed(journal: Journal, sink: Sink, *pages: Page) -> None:
    keeper = Keeper(journal, sink)
    for each in pages:
        journal.admit(each.key)
        await keeper.keep(each)
    await keeper.flush()


@pytest.mark.anyio
async def test_a_batch_is_written_to_its_end(tmp_path):
    """Cancelling its writer doesn't cut it off, so no file is closed under it."""
    may_go, has_begun = threading.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    class Slow(Rows):
        def write(self, pages: Sequence[Page]) -> int:
            loop.call_soon_threadsafe(has_begun.set)
            may_go.wait()
            return super().write(pages)

    journal, sink = journal_at(tmp_path), Slow(tmp_path / "out.jsonl")
    sink.recover(0, journal.is_done)
    task = asyncio.create_task(_flushed(journal, sink, page("http://a/1")))
    await has_begun.wait()
    task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    may_go.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert journal.is_done(key_of("http://a/1"))
    assert len(rows(tmp_path)) == 1
    journal.close()
    sink.close()


@pytest.mark.anyio
async def test_the_output_comes_before_the_journal(tmp_path):
    """What the journal calls done is on the disk already; once a batch is lost, nothing more is written."""

    class Failing(Rows):
        def write(self, pages: Sequence[Page]) -> int:
            raise OSError(28, "No space left on device", "out.jsonl")

    journal, sink = journal_at(tmp_path), Failing(tmp_path / "out.jsonl")
    sink.recover(0, journal.is_done)
    keeper = Keeper(journal, sink)
    await keeper.keep(page("http://a/1"))
    with pytest.raises(OutputLost, match=r"out\.jsonl: No space left on device"):
        await keeper.flush()
    await keeper.keep(page("http://a/2"))
    await keeper.flush()
    assert journal.report().count() == 0
    journal.close()
    sink.close()


def test_files_of_others_on_the_way(tmp_path):
    """What a file manager or a network file system leaves among the bodies is left there."""
    (tmp_path / ".unsettled").mkdir()
    (tmp_path / ".unsettled" / ".DS_Store").touch()
    sink = Folder(tmp_path)
    sink.recover(0, lambda key: False)
    sink.close()
    assert files(tmp_path) == [".unsettled/.DS_Store"]


def test_an_output_that_was_cut_by_others(tmp_path, make):
    """It is refused, because what it lacks would be lost."""
    sink = make(tmp_path)
    with pytest.raises(BadOutput, match="put the file back"):
        sink.recover(1000, lambda key: False)
    sink.close()


@pytest.fixture
def full_disk(monkeypatch):
    """Files end at 100,000 bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk(tmp_path, make, full_disk):
    """The batch fails as a whole, and what was kept before it goes on to be there."""
    journal, sink = journal_at(tmp_path), make(tmp_path)
    sink.recover(0, journal.is_done)
    keep(journal, sink, page("http://a/0"))
    full_disk()
    with pytest.raises(OSError, match="too large"):
        keep(journal, sink, page("http://a/1", body=b"x" * 200_000))
    journal.close()
    sink.close()
    journal, sink = journal_at(tmp_path), make(tmp_path)
    sink.recover(journal.mark, journal.is_done)
    assert [row["url"] for row in rows(tmp_path)] == ["http://a/0"]
    keep(journal, sink, page("http://a/1"))
    assert [row["url"] for row in rows(tmp_path)] == ["http://a/0", "http://a/1"]
    if isinstance(sink, Folder):
        assert len(files(tmp_path)) == 2
    journal.close()
    sink.close()


@pytest.mark.parametrize(
    ("media", "body", "found"),
    [
        ("text/html; charset=ISO-8859-1", b"caf\xe9", {"text": "café"}),
        ("text/html", "café".encode(), {"text": "café"}),
        ("", b"{}", {"text": "{}"}),
        ("text/html", b"caf\xe9", {"base64": "Y2Fm6Q=="}),
        ("image/png", b"\x00\x01", {"base64": "AAE="}),
        ("text/plain", b"a\x00b", {"base64": "YQBi"}),
        ("text/plain; charset=punycode", b"abc-", {"text": "abc-"}),
    ],
)
def test_a_body_in_a_row(media, body, found):
    """As text where it is text in the charset that it says, or in UTF-8; else in base64. No other codec is asked."""
    row = json.loads(row_of(page("http://a/", body=body, headers=(("content-type", media),))))
    assert {name: row[name] for name in ("text", "base64") if name in row} == found


def test_a_row():
    """One line, whatever a server sends, with what happened."""
    headers = (("X-A", "one"), ("x-a", "two\u2028"))
    line = row_of(page("http://a/é\n", headers=headers, body=b"1\n2\r\n"))
    assert line.count(b"\n") == 1
    assert json.loads(line) == {
        "result": "good",
        "url": "http://a/é\n",
        "status": 200,
        "final_url": "http://a/é\n",
        "attempts": 1,
        "error": None,
        "headers": [["X-A", "one"], ["x-a", "two\u2028"]],
        "text": "1\n2\r\n",
    }
    assert json.loads(row_of(failed("http://a/")))["error"] == {"class": "404", "message": "404 happened"}
