"""`PostgreSQL`: keys in the application's own database. The only import of asyncpg; extra: ``postgres``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import asyncpg

from .answer import Answer
from .claim import Claim
from .store import State, StoreFailed, judged

__all__ = ["SCHEMA", "PostgreSQL"]

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS seawall_idempotency (
  key text PRIMARY KEY, fingerprint text NOT NULL, token text NOT NULL, answer bytea, expires_at timestamptz NOT NULL
);
CREATE INDEX IF NOT EXISTS seawall_idempotency_expires_at ON seawall_idempotency (expires_at);
"""
"""The table, for an application's migrations."""

# IF NOT EXISTS fails where two workers make the table at once. asyncpg sends all statements as one transaction.
ALONE: Final = "SELECT pg_advisory_xact_lock(hashtext('seawall_idempotency'));"

# The time is the server's, because processes' clocks differ, and that of the statement, because a transaction's stands
# still. Two dead keys go with each new one, so that the table shrinks after a burst and no request waits for a long
# deletion.
BEGIN: Final = """
WITH dead AS (
  DELETE FROM seawall_idempotency WHERE key IN (
    SELECT key FROM seawall_idempotency WHERE expires_at <= clock_timestamp() AND key <> $1
    LIMIT 2 FOR UPDATE SKIP LOCKED
  )
)
INSERT INTO seawall_idempotency AS held (key, fingerprint, token, expires_at)
VALUES ($1, $2, $3, clock_timestamp() + make_interval(secs => $4))
ON CONFLICT (key) DO UPDATE SET
  fingerprint = excluded.fingerprint, token = excluded.token, answer = NULL, expires_at = excluded.expires_at
WHERE held.expires_at <= clock_timestamp()
RETURNING true
"""
LOOK: Final = "SELECT fingerprint, answer FROM seawall_idempotency WHERE key = $1"
FINISH: Final = """
INSERT INTO seawall_idempotency AS held (key, fingerprint, token, answer, expires_at)
VALUES ($1, $2, $3, $4, clock_timestamp() + make_interval(secs => $5))
ON CONFLICT (key) DO UPDATE SET answer = excluded.answer, expires_at = excluded.expires_at
WHERE held.token = excluded.token
RETURNING true
"""
ABANDON: Final = "DELETE FROM seawall_idempotency WHERE key = $1 AND token = $2 AND answer IS NULL"


class PostgreSQL:
    """
    Keys in the application's own database, so that ``run.transaction()`` commits its rows and the key's answer at once.

    Args:
        pool: The application's, which it opens and closes; or a function that returns it, because a pool is made once
            the event loop runs, when the middleware exists already. A request takes one connection at a time. Its
            ``timeout`` and ``command_timeout`` say how long a request waits for the database.
    """

    def __init__(self, pool: asyncpg.Pool | Callable[[], asyncpg.Pool]) -> None:
        self._pool = pool if callable(pool) else lambda: pool

    async def create_table(self) -> None:
        """Make the table if there is none."""
        with _failures():
            await self._pool().execute(ALONE + SCHEMA)

    async def begin(self, claim: Claim, lock_ttl: float) -> State | Answer:
        """As `Store.begin`."""
        with _failures():
            async with self._pool().acquire() as connection:
                if await connection.fetchval(BEGIN, *claim, lock_ttl):
                    return State.STARTED
                found = await connection.fetchrow(LOOK, claim.key)
        return State.RUNNING if found is None else judged(claim, *found)  # None: it has been abandoned since

    async def finish(self, claim: Claim, answer: Answer, ttl: float) -> bool:
        """As `Store.finish`."""
        with _failures():
            return await _finish(self._pool(), claim, answer, ttl)

    async def abandon(self, claim: Claim) -> None:
        """As `Store.abandon`."""
        with _failures():
            await self._pool().execute(ABANDON, claim.key, claim.token)

    async def transaction(self) -> _Transaction:
        """As `TransactionalStore.transaction`."""
        with _failures():
            pool = self._pool()
            connection = await pool.acquire()
            transaction = connection.transaction()
            try:
                await transaction.start()
            except BaseException:
                await pool.release(connection)
                raise
        return _Transaction(pool, connection, transaction)


class _Transaction:
    """An open transaction, and the pool's connection that it has."""

    def __init__(self, pool: asyncpg.Pool, connection: Any, transaction: Any) -> None:
        self.connection = connection
        self._pool = pool
        self._transaction = transaction

    async def commit(self, claim: Claim, answer: Answer, ttl: float) -> bool:
        """As `Transaction.commit`."""
        with _failures():
            try:
                is_kept = await _finish(self.connection, claim, answer, ttl)
                await (self._transaction.commit() if is_kept else self._transaction.rollback())
            finally:
                await self._pool.release(self.connection)  # which rolls back what wasn't committed
        return is_kept

    async def rollback(self) -> None:
        """As `Transaction.rollback`."""
        with _failures():
            try:
                await self._transaction.rollback()
            finally:
                await self._pool.release(self.connection)


async def _finish(connection: Any, claim: Claim, answer: Answer, ttl: float) -> bool:
    return await connection.fetchval(FINISH, *claim, answer.pack(), ttl) is not None


@contextmanager
def _failures() -> Iterator[None]:
    try:
        yield
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
        raise StoreFailed(f"PostgreSQL: {type(error).__name__}: {error}") from error
