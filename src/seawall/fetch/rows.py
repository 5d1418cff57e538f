"""`Rows`: a file with a line of JSON for each page."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from .durable import sync_folder
from .page import Page, is_failed_row, row_of
from .planted import made, opened
from .sinks import BadOutput

__all__ = ["Rows"]


class Rows:
    """The mark is the size up to which the file is whole; what is behind it was torn off, and is cut off."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._beside = path.with_name(f"{path.name}.tmp")
        self._file: int | None = None
        self._size = 0
        self._lock = threading.Lock()  # a descriptor that is closed while it is written to may be another file's

    def recover(self, mark: int, is_done: Callable[[bytes], bool]) -> None:
        """As in `Sink`."""
        size = self.path.stat().st_size if self.path.exists() else 0
        if size < mark:
            raise BadOutput(
                f"{self.path} has {size:,} bytes, and its journal says that {mark:,} were written: "
                "put the file back, or choose another --out"
            )
        self._file, self._size = opened(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND), mark
        os.ftruncate(self._file, mark)
        sync_folder(self.path.parent)

    def write(self, pages: Sequence[Page]) -> int:
        """As in `Sink`."""
        return self.append(map(row_of, pages))

    def append(self, rows: Iterable[bytes]) -> int:
        """Write *rows* and have the disk keep them; returns the new mark."""
        rest = memoryview(b"".join(rows))
        with self._lock:
            if self._file is None:
                raise OSError(f"{self.path} was closed")
            while rest:
                count = os.write(self._file, rest)
                self._size += count
                rest = rest[count:]
            os.fsync(self._file)
            return self._size

    def settle(self, pages: Sequence[Page]) -> None:
        """As in `Sink`."""

    def adopt(self, folder: Path) -> None:
        """As in `Sink`."""

    def without_failed(self) -> int:
        """As in `Sink`."""
        with self.path.open("rb") as old, open(made(self._beside), "wb") as new:
            new.writelines(line for line in old if not is_failed_row(line))
            new.flush()
            os.fsync(new.fileno())
            sync_folder(self.path.parent)  # before the journal relies on it
            return new.tell()

    def replace(self) -> None:
        """As in `Sink`."""
        self.close()
        if self._beside.exists():
            self._beside.replace(self.path)
            sync_folder(self.path.parent)

    def close(self) -> None:
        """As in `Sink`."""
        with self._lock:
            if self._file is not None:
                os.close(self._file)
                self._file = None
