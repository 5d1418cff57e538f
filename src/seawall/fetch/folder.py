"""`Folder`: a file for each good page, and an index of all pages."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from .durable import sync_folder
from .page import Kind, Page, row_of
from .planted import made, refuse_links
from .rows import Rows

__all__ = ["INDEX", "Folder"]

INDEX: Final = "index.jsonl"
UNSETTLED: Final = ".unsettled"
WRITERS: Final = 8  # threads, because a disk syncs eight files in the time of one: 300 files a second become 5,900
KEY_LENGTH: Final = 32  # hexadecimal digits
OURS: Final = re.compile(rf"[0-9a-f]{{{KEY_LENGTH}}}\.")
EXTENSIONS: Final = {
    "text/html": ".html",
    "application/xhtml+xml": ".html",
    "text/plain": ".txt",
    "application/xml": ".xml",
    "text/xml": ".xml",
    "application/json": ".json",
    "application/pdf": ".pdf",
    "image/jpeg": ".jpg",
    "image/png": ".png",
    "image/gif": ".gif",
    "image/svg+xml": ".svg",
    "image/webp": ".webp",
    "text/css": ".css",
    "text/javascript": ".js",
    "application/javascript": ".js",
    "application/gzip": ".gz",
    "application/zip": ".zip",
}  # fixed, because what the system's own table says differs from one machine to another


class Folder:
    """
    ``ab/abcd....html`` by the hash of the URL and the type of its content, and ``index.jsonl``.

    A body is written where it is not in the way yet, and moved to its place after the journal has noted its page, so
    that a process that ends in between leaves no file of a page that is fetched again.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._unsettled = path / UNSETTLED
        self._index = Rows(path / INDEX)
        self._writers = ThreadPoolExecutor(WRITERS, "seawall-fetch")

    def recover(self, mark: int, is_done: Callable[[bytes], bool]) -> None:
        """As in `Sink`."""
        refuse_links(self._unsettled)
        self._unsettled.mkdir(parents=True, exist_ok=True)
        for file in self._unsettled.iterdir():
            if not OURS.match(file.name):
                continue  # a file manager's, or a network file system's
            key = file.name[:KEY_LENGTH]
            if is_done(bytes.fromhex(key)):
                self._move(file)
            else:
                file.unlink()
        self._index.recover(mark, is_done)

    def write(self, pages: Sequence[Page]) -> int:
        """As in `Sink`."""
        names = [_name(page) for page in pages]
        good = [(name, page.body) for name, page in zip(names, pages, strict=True) if name is not None]
        for _ in self._writers.map(self._write, *zip(*good, strict=True)) if good else ():
            pass  # or the error of one that failed
        sync_folder(self._unsettled)
        return self._index.append(
            row_of(page, file=None if name is None else f"{name[:2]}/{name}")
            for name, page in zip(names, pages, strict=True)
        )

    def settle(self, pages: Sequence[Page]) -> None:
        """As in `Sink`."""
        for page in pages:
            if (name := _name(page)) is not None:
                self._move(self._unsettled / name)

    def append(self, rows: Iterable[bytes]) -> int:
        """As in `Sink`."""
        return self._index.append(rows)

    def adopt(self, folder: Path) -> None:
        """As in `Sink`."""
        refuse_links(folder)
        refuse_links(unsettled := folder / UNSETTLED)
        if unsettled.is_dir():
            for file in unsettled.iterdir():
                if OURS.match(file.name):  # one whose name begins with .. would leave the output
                    self._move(file)

    def without_failed(self) -> int:
        """As in `Sink`."""
        return self._index.without_failed()

    def replace(self) -> None:
        """As in `Sink`."""
        self._index.replace()

    def close(self) -> None:
        """As in `Sink`."""
        self._index.close()
        self._writers.shutdown()

    def _write(self, name: str, body: bytes) -> None:
        with open(made(self._unsettled / name), "wb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())

    def _move(self, source: Path) -> None:
        """To its place; both are on one disk, so that it is in the one or in the other, whenever power is lost."""
        name = source.name
        folder = self.path / name[:2]
        refuse_links(folder)
        refuse_links(source)  # which would have whoever reads the output read another file
        try:
            source.replace(folder / name)
        except FileNotFoundError:
            folder.mkdir(exist_ok=True)
            source.replace(folder / name)


def _name(page: Page) -> str | None:
    """The name of its file; None if it has none, because it isn't good."""
    if page.kind is not Kind.GOOD:
        return None
    media = page.content_type.partition(";")[0].strip().lower()
    return page.key.hex() + EXTENSIONS.get(media, ".bin")
