"""`File`: a SQLite database in a thread of its own."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from os import PathLike
from typing import Final, TypeVar

from .patience import patiently

__all__ = ["File"]

PAUSE: Final = 0.01  # s between two tries

Result = TypeVar("Result")


class File:
    """
    A SQLite database in a thread of its own, opened at the first use.

    Args:
        setup: Statements that run once it is open.
        busy_timeout: Seconds to wait for other processes' writes.
        sleep: Has the thread wait.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        setup: str,
        busy_timeout: float,
        *,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.path = path
        self._setup = setup
        self._busy_timeout = busy_timeout
        self._sleep = sleep
        self._thread = ThreadPoolExecutor(1, "seawall-idempotency")
        self._database: sqlite3.Connection | None = None

    async def run(self, job: Callable[[sqlite3.Connection], Result]) -> Result:
        """The result of *job* in the thread. A cancelled caller waits for it too, so that its effect can be undone."""
        return await patiently(asyncio.get_running_loop().run_in_executor(self._thread, self._run, job))

    async def aclose(self) -> None:
        """Close it, after the jobs that wait."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown(wait=False)

    def _run(self, job: Callable[[sqlite3.Connection], Result]) -> Result:
        if self._database is None:
            database = sqlite3.connect(
                self.path, timeout=self._busy_timeout, isolation_level=None, check_same_thread=False
            )
            try:
                self._set_up(database)
            except sqlite3.Error:
                database.close()
                raise
            self._database = database
        return job(self._database)

    def _set_up(self, database: sqlite3.Connection) -> None:
        left = self._busy_timeout
        while True:
            try:
                database.executescript(self._setup)
                return
            except sqlite3.OperationalError as error:
                # SQLite itself doesn't wait for a writer before it changes the mode of the journal.
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or left <= 0:
                    raise
                self._sleep(PAUSE)
                left -= PAUSE

    def _close(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None
