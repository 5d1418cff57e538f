"""`Journal`: what a job has done, in a SQLite file, so that the same command goes on where another process ended."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final, NamedTuple, Self

from .lock import Lock, is_locked
from .page import Kind, Page
from .planted import refuse_links
from .report import Report, Tally
from .target import without_user

__all__ = ["BadJournal", "Batch", "Journal"]

APPLICATION: Final = 0x5EA11F  # SQLite's application_id: whose file it is
VERSION: Final = 1
CACHE: Final = 32_768  # KiB of SQLite's pages
LATEST: Final = 253_402_300_800  # the year 10000, in seconds since 1970
BROKEN: Final = (sqlite3.Error, UnicodeDecodeError)  # of a message in which SQLite quotes the file
SCHEMA: Final = (
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE urls (key BLOB PRIMARY KEY, outcome INTEGER NOT NULL) WITHOUT ROWID",
    """
    CREATE TABLE outcomes (
      id INTEGER PRIMARY KEY, kind TEXT NOT NULL, name TEXT NOT NULL, count INTEGER NOT NULL,
      url TEXT NOT NULL, said TEXT NOT NULL, UNIQUE (kind, name)
    )
    """,
    f"PRAGMA application_id = {APPLICATION}",
    f"PRAGMA user_version = {VERSION}",
)


class BadJournal(Exception):
    """A journal can't be used: it is another job's, another version's, in use, broken, or not a journal."""


class Batch(NamedTuple):
    """What is noted in one transaction: pages by key, each with its kind, its name, and an example."""

    pages: Mapping[bytes, tuple[Kind, str]]
    examples: Mapping[tuple[Kind, str], tuple[str, str]]

    @classmethod
    def of(cls, pages: Iterable[Page]) -> Self:
        """The one of *pages*."""
        outcomes: dict[bytes, tuple[Kind, str]] = {}
        examples: dict[tuple[Kind, str], tuple[str, str]] = {}
        for page in pages:
            outcomes[page.key] = outcome = (page.kind, page.name)
            if outcome not in examples:
                examples[outcome] = _example(page)
        return cls(outcomes, examples)


class Journal:
    """
    Which URLs are done, and how far the output is whole. A URL in flight isn't noted, so one that was cut off is
    fetched again; no more than that is.

    The methods but `write` are called in the thread that made it; `write` may be called in another one.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection, lock: Lock, now: Callable[[], float]) -> None:
        self.path = path
        self._reader = _tuned(connection)
        self._writer = _tuned(_connected(path))
        self._lock = lock
        self._now = now
        self._in_flight: set[bytes] = set()
        self._noted: dict[bytes, tuple[Kind, str]] = {}
        self._examples: dict[tuple[Kind, str], tuple[str, str]] = {}

    @classmethod
    def open(cls, path: Path, job: Mapping[str, str], *, now: Callable[[], float]) -> Self:
        """
        The journal of *job* at *path*, a new one if there is none.

        Args:
            job: What must be the same when the job goes on, by name.
            now: Returns seconds since 1970.
        Raises:
            BadJournal: It can't be used; the message says why, and what to do.
            OSError: It, or the lock beside it, is a symbolic link.
        """
        refuse_links(path)
        try:
            lock = Lock(_beside(path))
        except BlockingIOError:
            raise BadJournal(f"another seawall fetch is at work on {path.parent}: wait for it, or stop it") from None
        except sqlite3.Error as error:
            raise BadJournal(f"{path}: {error}") from None
        connection = None
        try:
            connection = _connected(path)
            if not _version(path, connection):
                _begin(connection, {"job": json.dumps(dict(job)), "started_at": repr(now()), "mark": "0"})
            before = _meta(path, connection).job
            if changed := [name for name in job if before.get(name) != job[name]]:
                name = changed[0]
                raise BadJournal(
                    f"{path} is another job's: its {name} was {before.get(name)!r} and not {job[name]!r}; "
                    "choose another --out, or delete the output and its journal"
                )
            return cls(path, connection, lock, now)
        except BaseException as error:
            if connection is not None:
                connection.close()
            lock.release()
            if isinstance(error, BROKEN):
                raise BadJournal(f"{path} can't be used as a journal: {error}") from None
            raise

    @classmethod
    def read(cls, path: Path) -> Report:
        """
        What the journal at *path* says, also while a process works on it.

        Raises:
            BadJournal: It isn't one.
        """
        if not path.is_file():
            raise BadJournal(f"there is no journal at {path}")
        try:
            connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=10.0)
            try:
                if not _version(path, connection):
                    raise BadJournal(f"{path} isn't a journal of seawall fetch")
                return _report(path, connection, is_running=is_locked(_beside(path)))
            finally:
                connection.close()
        except BROKEN as error:
            raise BadJournal(f"{path} can't be read as a journal: {error}") from None

    @property
    def mark(self) -> int:
        """Up to where the output is whole, as the last batch said."""
        return _meta(self.path, self._reader).mark

    @property
    def is_replacing(self) -> bool:
        """Whether an output without its failed rows waits to take the place of the old one."""
        return _meta(self.path, self._reader).is_replacing

    def is_done(self, key: bytes) -> bool:
        """Whether the URL is noted in the file."""
        return bool(self._reader.execute("SELECT 1 FROM urls WHERE key = ?", (key,)).fetchall())

    def admit(self, key: bytes) -> bool:
        """Whether the URL is neither done nor in flight; then it is in flight from now on."""
        if key in self._in_flight or self.is_done(key):
            return False
        self._in_flight.add(key)
        return True

    def note(self, page: Page) -> None:
        """The page has ended; the next batch has it."""
        self._noted[page.key] = outcome = (page.kind, page.name)
        if outcome not in self._examples:
            self._examples[outcome] = _example(page)

    def cut(self) -> Batch:
        """What was noted since it was asked last."""
        batch = Batch(self._noted, self._examples)
        self._noted, self._examples = {}, {}
        return batch

    def write(self, batch: Batch, *, mark: int) -> None:
        """
        Note *batch* in the file, in one transaction, once the output is durable up to *mark*.

        Raises:
            sqlite3.Error: The disk is full, say.
        """
        counts: dict[tuple[Kind, str], int] = {}
        for outcome in batch.pages.values():
            counts[outcome] = counts.get(outcome, 0) + 1
        with self._writer:
            self._writer.execute("BEGIN IMMEDIATE")
            ids = {outcome: self._counted(outcome, count, batch) for outcome, count in counts.items()}
            self._writer.executemany(
                "INSERT INTO urls VALUES (?, ?)",
                ((key, ids[outcome]) for key, outcome in batch.pages.items()),
            )
            _set(self._writer, {"mark": str(mark), "committed_at": repr(self._now())})

    def written(self, batch: Batch) -> None:
        """*batch* is in the file, so its URLs needn't be remembered."""
        self._in_flight.difference_update(batch.pages)

    def forget_failed(self, *, mark: int) -> None:
        """Have failed URLs fetched again; the output without them, whole up to *mark*, waits to be put in place."""
        with self._writer:
            self._writer.execute("BEGIN IMMEDIATE")
            failed = "SELECT id FROM outcomes WHERE kind = 'failed'"
            self._writer.execute(f"DELETE FROM urls WHERE outcome IN ({failed})")  # noqa: S608 - a constant
            self._writer.execute("DELETE FROM outcomes WHERE kind = 'failed'")
            _set(self._writer, {"mark": str(mark), "is_replacing": "1", "is_complete": "0"})

    def replaced(self) -> None:
        """The output without its failed rows is in place."""
        self._record("is_replacing", "0")

    def complete(self, *, is_complete: bool) -> None:
        """Note whether the whole list is done."""
        self._record("is_complete", str(int(is_complete)))

    def report(self) -> Report:
        """
        What the file says now.

        Raises:
            BadJournal: It can't be read any longer.
        """
        try:
            return _report(self.path, self._reader, is_running=True)
        except sqlite3.Error as error:
            raise BadJournal(f"{self.path} can't be read as a journal: {error}") from None

    def close(self) -> None:
        """Close the files, and let another process work on the job."""
        self._reader.close()
        self._writer.close()
        self._lock.release()

    def _record(self, name: str, value: str) -> None:
        with self._writer:
            self._writer.execute("BEGIN IMMEDIATE")
            _set(self._writer, {name: value})

    def _counted(self, outcome: tuple[Kind, str], count: int, batch: Batch) -> int:
        kind, name = outcome
        row: Iterable[int] = self._writer.execute(
            "INSERT INTO outcomes (kind, name, count, url, said) VALUES (?, ?, ?, ?, ?) "
            "ON CONFLICT DO UPDATE SET count = count + excluded.count RETURNING id",
            (kind.value, name, count, *batch.examples.get(outcome, ("", ""))),
        ).fetchall()[0]
        return next(iter(row))


def _example(page: Page) -> tuple[str, str]:
    """Its URL and what is said of it, without a user and password, because the journal and the summary show both."""
    return without_user(page.url), without_user("" if page.problem is None else page.problem.said)


def _connected(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=10.0, isolation_level=None, check_same_thread=False)


def _tuned(connection: sqlite3.Connection) -> sqlite3.Connection:
    """Readers don't wait for the writer, and what is committed survives a loss of power."""
    connection.execute("PRAGMA journal_mode = WAL").fetchall()
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"PRAGMA cache_size = -{CACHE}")
    return connection


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}-lock")


def _version(path: Path, connection: sqlite3.Connection) -> int:
    """
    The journal's version; 0 if the file is empty.

    Raises:
        BadJournal: It is of a version that this release doesn't know, or something else's.
    """
    ((application,),) = connection.execute("PRAGMA application_id").fetchall()
    ((version,),) = connection.execute("PRAGMA user_version").fetchall()
    if not application and not version and not connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall():
        return 0
    if application != APPLICATION:
        raise BadJournal(f"{path} is a SQLite file, but not a journal of seawall fetch")
    if version != VERSION:
        raise BadJournal(
            f"{path} is a journal of version {version}, and this seawall reads version {VERSION}: "
            "end the job with the release that began it, or choose another --out"
        )
    return int(version)


class _Meta(NamedTuple):
    """The table of the same name, as `Report` and `Journal` have it."""

    job: dict[str, str]
    mark: int
    started_at: float
    committed_at: float
    is_complete: bool
    is_replacing: bool


def _meta(path: Path, connection: sqlite3.Connection) -> _Meta:
    """
    Raises:
        BadJournal: Something in it is missing, or makes no sense.
    """
    said = dict(connection.execute("SELECT name, value FROM meta").fetchall())
    try:
        job, mark, started_at = json.loads(said["job"]), int(said["mark"]), float(said["started_at"])
        committed_at = float(said.get("committed_at", started_at))
        if not isinstance(job, dict) or mark < 0 or not all(0 <= at < LATEST for at in (started_at, committed_at)):
            raise ValueError(said)
    except (LookupError, TypeError, ValueError, RecursionError):
        raise BadJournal(
            f"{path} is the journal of seawall fetch, and broken: delete it and its output, or choose another --out"
        ) from None
    flags = (said.get(name) == "1" for name in ("is_complete", "is_replacing"))
    return _Meta({name: str(value) for name, value in job.items()}, mark, started_at, committed_at, *flags)


def _begin(connection: sqlite3.Connection, values: Mapping[str, str]) -> None:
    """A new journal, whole or not at all, wherever the process is killed."""
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        for statement in SCHEMA:
            connection.execute(statement)
        _set(connection, values)


def _set(connection: sqlite3.Connection, values: Mapping[str, str]) -> None:
    connection.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", list(values.items()))


def _report(path: Path, connection: sqlite3.Connection, *, is_running: bool) -> Report:
    rows = connection.execute("SELECT kind, name, count, url, said FROM outcomes ORDER BY count DESC, name").fetchall()
    meta = _meta(path, connection)
    try:
        tallies = tuple(Tally(Kind(kind), *rest) for kind, *rest in rows)
    except ValueError as error:
        raise BadJournal(f"{path} can't be read as a journal: {error}") from None
    return Report(tallies, meta.job, meta.started_at, meta.committed_at, meta.is_complete, is_running)
