"""`Lock`: one process at a time works on a job."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from .planted import refuse_links

__all__ = ["Lock", "is_locked"]


class Lock:
    """
    A SQLite file beside the journal, whose exclusive transaction is the lock, because SQLite knows how to lock a file
    on each system, and a lock ends with its process, however that ends.
    """

    def __init__(self, path: Path) -> None:
        """
        Raises:
            BlockingIOError: Another process has it.
            OSError: *path* is a symbolic link.
        """
        refuse_links(path)
        self._connection = sqlite3.connect(path, timeout=1.0, isolation_level=None)
        try:
            self._connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            self._connection.close()
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                raise
            raise BlockingIOError(f"{path} is locked") from None

    def release(self) -> None:
        """Let others have it."""
        self._connection.close()


def is_locked(path: Path) -> bool:
    """Whether a process has it now."""
    if not path.exists():
        return False
    connection = sqlite3.connect(path, timeout=0, isolation_level=None)
    try:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchall()
    except sqlite3.OperationalError as error:
        return error.sqlite_errorcode == sqlite3.SQLITE_BUSY
    finally:
        connection.close()
    return False
