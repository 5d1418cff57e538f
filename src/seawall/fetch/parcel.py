"""`Parcel`: some URLs of one bucket of hosts, that a worker fetches; and the folder in which parcels lie."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from .durable import sync_folder
from .planted import made, opened, refuse_links
from .target import Target, target

__all__ = ["BUCKETS", "Parcel", "Parcels", "bucket_of"]

BUCKETS: Final = 64  # of hosts; as many parcels of a job are with workers at once at most
TO_DO: Final = ".todo"
DONE: Final = ".done"
_NAME: Final = re.compile(r"[0-9a-f]{16}")


def bucket_of(origin: str) -> int:
    """The bucket of *origin*'s host, whatever its scheme and port; the same on each machine."""
    host = urlsplit(origin).hostname or ""
    return blake2b(host.encode(), digest_size=2).digest()[0] % BUCKETS


class Parcel(NamedTuple):
    """
    Attributes:
        name: No other parcel of any job has it, so a worker that comes late can't be taken for another one.
        bucket: Of its hosts.
        entries: The URLs to fetch.
    """

    name: str
    bucket: int
    entries: Sequence[Target]

    @classmethod
    def of(cls, bucket: int, entries: Sequence[Target]) -> Parcel:
        """A new one."""
        return cls(secrets.token_hex(8), bucket, entries)


class Parcels:
    """
    A folder that the sender and all workers see, under the same path.

    A parcel is there as ``NAME.todo`` from before it is sent until its pages are in the output, so this is what is at
    workers, whatever becomes of the sender or the queue. A worker writes its pages into a folder of its own, and then
    renames that to ``NAME.done``, in one step, which only the first of several succeeds in.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def put(self, parcel: Parcel) -> None:
        """Have the disk keep the work that remains."""
        refuse_links(self.path)
        self.path.mkdir(parents=True, exist_ok=True)
        beside = self.path / f"{parcel.name}.tmp"
        with open(made(beside), "w") as file:
            json.dump({"bucket": parcel.bucket, "urls": [entry.url for entry in parcel.entries]}, file)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(self._to_do(parcel.name))
        sync_folder(self.path)

    def get(self, name: str) -> Parcel | None:
        """The parcel *name*; None: its pages are in the output."""
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} isn't the name of a parcel")
        try:
            with open(opened(self._to_do(name), os.O_RDONLY), "rb") as file:
                said = json.loads(file.read())
        except FileNotFoundError:
            return None
        entries = [entry for entry in map(target, said["urls"]) if isinstance(entry, Target)]
        return Parcel(name, said["bucket"], entries)

    def left(self) -> Iterator[Parcel]:
        """Those whose pages are not in the output, or whose sender ended just before it could say so."""
        for file in sorted(self.path.glob(f"*{TO_DO}")):
            try:
                parcel = self.get(file.stem)
            except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
                continue  # a file of others
            if parcel is not None:
                yield parcel

    def done(self) -> set[str]:
        """The names of those that workers have done."""
        try:
            return {name.removesuffix(DONE) for name in os.listdir(self.path) if name.endswith(DONE)}
        except FileNotFoundError:
            return set()

    def pages(self, name: str) -> Path:
        """Where the pages of a parcel are that a worker has done."""
        return self.path / f"{name}{DONE}"

    def begin(self, name: str) -> Path:
        """A folder for the pages of one attempt at a parcel."""
        folder = self.path / f"{name}.{secrets.token_hex(4)}.tmp"
        folder.mkdir()
        return folder

    def end(self, name: str, folder: Path) -> None:
        """The pages in *folder* are those of the parcel, unless another worker was first."""
        sync_folder(folder)
        if self._to_do(name).exists() and not self.pages(name).exists():
            try:
                folder.rename(self.pages(name))
            except OSError:
                if not self.pages(name).exists():
                    raise
            else:
                sync_folder(self.path)
                return
        shutil.rmtree(folder, ignore_errors=True)

    def remove(self, name: str) -> None:
        """The pages of the parcel are in the output."""
        self._to_do(name).unlink(missing_ok=True)
        shutil.rmtree(self.pages(name), ignore_errors=True)

    def clear(self) -> None:
        """No parcel is left; what workers that were killed have begun goes, too."""
        shutil.rmtree(self.path, ignore_errors=True)

    def _to_do(self, name: str) -> Path:
        return self.path / f"{name}{TO_DO}"
