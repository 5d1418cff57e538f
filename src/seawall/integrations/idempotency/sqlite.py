"""`SQLite`: keys in a file, for the processes of one machine."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable, Sequence
from os import PathLike
from typing import Any, Final, Literal, TypeVar

from .answer import Answer
from .claim import Claim
from .file import File
from .store import State, StoreFailed, judged

__all__ = ["SQLite", "SQLiteConnection"]

Result = TypeVar("Result")

SETUP: Final = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = {};
CREATE TABLE IF NOT EXISTS seawall_idempotency (
  key TEXT PRIMARY KEY, fingerprint TEXT NOT NULL, token TEXT NOT NULL, answer BLOB, expires_at REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS seawall_idempotency_expires_at ON seawall_idempotency (expires_at);
"""
BEGIN: Final = """
INSERT INTO seawall_idempotency (key, fingerprint, token, expires_at) VALUES (:key, :fingerprint, :token, :expires_at)
ON CONFLICT (key) DO UPDATE SET
  fingerprint = excluded.fingerprint, token = excluded.token, answer = NULL, expires_at = excluded.expires_at
WHERE seawall_idempotency.expires_at <= :now
"""
LOOK: Final = "SELECT fingerprint, answer FROM seawall_idempotency WHERE key = ?"
FINISH: Final = """
INSERT INTO seawall_idempotency (key, fingerprint, token, answer, expires_at)
VALUES (:key, :fingerprint, :token, :answer, :expires_at)
ON CONFLICT (key) DO UPDATE SET answer = excluded.answer, expires_at = excluded.expires_at
WHERE seawall_idempotency.token = excluded.token
"""
ABANDON: Final = "DELETE FROM seawall_idempotency WHERE key = ? AND token = ? AND answer IS NULL"
# Two for each new key, so that the table shrinks after a burst and no request waits for a long deletion
PURGE: Final = """
DELETE FROM seawall_idempotency WHERE key IN (SELECT key FROM seawall_idempotency WHERE expires_at <= ? LIMIT 2)
"""

ENDED: Final = "the transaction has ended, so a statement would be committed by itself"


class SQLite:
    """
    Keys in a file, for the processes of one machine.

    Requests take turns, because SQLite has one writer at a time: all others wait while one has a transaction open.

    Args:
        path: The file, made at the first use. ``run.transaction()`` writes to this database.
        synchronous: SQLite's setting: with "NORMAL" nothing is lost when a process is killed, and the last answers,
            with what their transactions wrote, when the power fails; with "FULL" each request waits for the disk.
        busy_timeout: Seconds to wait for other processes' writes.
        now: The time, in seconds since the epoch; processes that share the file must agree about it.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        *,
        synchronous: Literal["NORMAL", "FULL"] = "NORMAL",
        busy_timeout: float = 5.0,
        now: Callable[[], float] = time.time,
    ) -> None:
        if synchronous not in ("NORMAL", "FULL"):
            raise ValueError(f'SQLite.synchronous must be "NORMAL" or "FULL", not {synchronous!r}')
        self._file = File(path, SETUP.format(synchronous), busy_timeout)
        self._now = now
        self._turn = asyncio.Lock()

    async def begin(self, claim: Claim, lock_ttl: float) -> State | Answer:
        """As `Store.begin`."""
        async with self._turn:
            return await self._run(lambda database: self._begin(database, claim, lock_ttl))

    async def finish(self, claim: Claim, answer: Answer, ttl: float) -> bool:
        """As `Store.finish`."""
        async with self._turn:
            return await self._run(lambda database: self._finish(database, claim, answer, ttl))

    async def abandon(self, claim: Claim) -> None:
        """As `Store.abandon`."""
        async with self._turn:
            await self._run(lambda database: database.execute(ABANDON, (claim.key, claim.token)))

    async def transaction(self) -> _Transaction:
        """As `TransactionalStore.transaction`."""
        await self._turn.acquire()
        try:
            await self._run(lambda database: database.execute("BEGIN IMMEDIATE"))
        except BaseException:
            try:
                await self._run(_roll_back)  # cancelled, it has begun all the same
            finally:
                self._turn.release()
            raise
        return _Transaction(SQLiteConnection(self._file), self._run, self._finish, self._turn)

    async def aclose(self) -> None:
        """Close the file, after the open transaction."""
        async with self._turn:
            await self._file.aclose()

    async def _run(self, job: Callable[[sqlite3.Connection], Result]) -> Result:
        try:
            return await self._file.run(job)
        except sqlite3.Error as error:
            raise StoreFailed(f"SQLite file {self._file.path}: {error}") from error

    def _begin(self, database: sqlite3.Connection, claim: Claim, lock_ttl: float) -> State | Answer:
        now = self._now()
        row = {**claim._asdict(), "now": now, "expires_at": now + lock_ttl}
        if database.execute(BEGIN, row).rowcount:
            database.execute(PURGE, (now,))
            return State.STARTED
        found = database.execute(LOOK, (claim.key,)).fetchone()
        return State.RUNNING if found is None else judged(claim, *found)  # None: another process has abandoned it since

    def _finish(self, database: sqlite3.Connection, claim: Claim, answer: Answer, ttl: float) -> bool:
        row = {**claim._asdict(), "answer": answer.pack(), "expires_at": self._now() + ttl}
        return database.execute(FINISH, row).rowcount > 0


class SQLiteConnection:
    """Where an application writes in a transaction."""

    def __init__(self, file: File) -> None:
        self._file = file
        self._is_open = True

    async def execute(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """
        Run one statement, and return its rows, which INSERT … RETURNING has too.

        Raises:
            sqlite3.Error: The statement failed.
            RuntimeError: The transaction has ended.
        """
        if not self._is_open:
            raise RuntimeError(ENDED)
        return await self._file.run(lambda database: self._execute(database, sql, parameters))

    def _execute(self, database: sqlite3.Connection, sql: str, parameters: Sequence[Any]) -> list[Any]:
        if not database.in_transaction:  # SQLite itself rolls back, as where the disk is full, or ON CONFLICT ROLLBACK
            raise RuntimeError(ENDED)
        return database.execute(sql, parameters).fetchall()

    def end(self) -> None:
        """Take no more statements."""
        self._is_open = False


class _Transaction:
    """An open transaction, which has the store's turn."""

    def __init__(
        self,
        connection: SQLiteConnection,
        run: Callable[[Callable[[sqlite3.Connection], Any]], Any],
        finish: Callable[[sqlite3.Connection, Claim, Answer, float], bool],
        turn: asyncio.Lock,
    ) -> None:
        self.connection = connection
        self._run = run
        self._finish = finish
        self._turn = turn

    async def commit(self, claim: Claim, answer: Answer, ttl: float) -> bool:
        """As `Transaction.commit`."""

        def commit(database: sqlite3.Connection) -> bool:
            if not database.in_transaction:
                raise sqlite3.OperationalError("the transaction was rolled back, so its answer isn't true")
            try:
                is_kept = self._finish(database, claim, answer, ttl)
                database.execute("COMMIT" if is_kept else "ROLLBACK")
            except BaseException:
                _roll_back(database)
                raise
            return is_kept

        return bool(await self._end(commit))

    async def rollback(self) -> None:
        """As `Transaction.rollback`."""
        await self._end(_roll_back)

    async def _end(self, job: Callable[[sqlite3.Connection], Any]) -> Any:
        self.connection.end()
        try:
            return await self._run(job)
        finally:
            self._turn.release()


def _roll_back(database: sqlite3.Connection) -> None:
    if database.in_transaction:
        database.execute("ROLLBACK")
