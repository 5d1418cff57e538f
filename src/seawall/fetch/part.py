"""
The file that a download grows in: ``NAME.part``, and beside it ``NAME.part.json``, which says of which version it is.

Rules: nothing takes the file's name before it is whole and on the disk. What describes the bytes is written after those
of another version are cut off, and before the first byte that it describes, so that a killed process leaves no lie.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from .planted import made, opened
from .resume import Kept

try:
    import fcntl
except ImportError:  # Windows, where two processes are not kept apart
    fcntl = None  # type: ignore[assignment]

__all__ = ["Part"]

CANT_LOCK: Final = frozenset({errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP})  # some network file systems

MAX_SAID: Final = 2**20  # bytes of a description, of which a validator may be 64 KiB; a stranger may have written it


class Part:
    """
    The part of a file that is there, locked for one download.

    Attributes:
        size: Bytes.
        partial: Its path.
        is_described: It is known which version its bytes are of, so that they can be continued.
    Raises:
        OSError: The folder isn't there or can't be written to, *path* is a folder, or the part is a link.
        BlockingIOError: Another download writes it, in this process or another.
    """

    def __init__(self, path: Path) -> None:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        self.path = path
        self.partial = path.with_name(f"{path.name}.part")
        self._described = path.with_name(f"{path.name}.part.json")
        self._fresh = path.with_name(f"{path.name}.part.json.new")
        with suppress(FileNotFoundError, NotADirectoryError):
            self._fresh.lstat()  # it has the longest name, which may be too long; then nothing must be left open
        self._said: dict[str, Any] | None = None
        self._is_published = False
        self._fd = _locked(self.partial)
        self.is_described = self._described.exists()
        self.size = os.fstat(self._fd).st_size

    @property
    def is_of_url(self) -> bool:
        """Whether the description is known to be of the URL that was asked for or written last."""
        return self._said is not None

    def kept(self, url: str) -> Kept:
        """What is there of *url*; nothing, if it is of another URL or not described."""
        try:
            with open(opened(self._described, os.O_RDONLY), "rb") as file:
                said: Any = json.loads(file.read(MAX_SAID))
        except (OSError, ValueError, RecursionError):
            return Kept()
        if not isinstance(said, dict) or said.get("url") != _hidden(url):
            return Kept()
        validator, length = said.get("validator"), said.get("length")
        is_good = isinstance(validator, str) and validator.isprintable() and validator.isascii()
        if not is_good or not (length is None or (type(length) is int and length >= self.size)):
            return Kept()
        self._said = said
        return Kept(self.size, validator, length)

    def begin(self, url: str, version: Kept, at: int) -> None:
        """Cut it off at *at*, and describe what follows as of *version*."""
        if self.size != at:
            self._cut(at)
        os.lseek(self._fd, at, os.SEEK_SET)
        if version.validator is None:
            self._forget()
            return
        said = {"url": _hidden(url), "validator": version.validator, "length": version.length}
        if said == self._said:
            return  # a full disk must not keep it from going on
        try:
            with open(made(self._fresh), "w") as file:
                json.dump(said, file)
            self._fresh.replace(self._described)
        finally:
            self._fresh.unlink(missing_ok=True)
        self._said, self.is_described = said, True

    def write(self, data: bytes) -> None:
        """
        Append *data*.

        It blocks the loop for 15 µs per 64 KiB, as long as the page cache takes it; a thread would take longer.
        """
        view = memoryview(data)
        while view:
            written = os.write(self._fd, view)
            self.size += written
            view = view[written:]

    def publish(self) -> None:
        """Give it the file's name, in the place of a file that has it."""
        if fcntl is None:
            self._release()  # Windows renames no file that is open
        os.replace(self.partial, self.path)
        self._is_published = True
        self._forget()

    def discard(self) -> None:
        """Throw away what is there."""
        self._cut(0)

    def close(self) -> None:
        """Unlock and close it; leaves no file behind that can't be continued."""
        try:
            if not self._is_published and not (self.size and self.is_described):
                self._forget()
                self.partial.unlink(missing_ok=True)
        finally:
            self._release()

    def _release(self) -> None:
        descriptor, self._fd = self._fd, -1
        if descriptor < 0:
            return
        try:
            _unlock(descriptor)
        finally:
            os.close(descriptor)

    def _cut(self, at: int) -> None:
        self._forget()
        os.ftruncate(self._fd, at)
        self.size = at

    def _forget(self) -> None:
        self._described.unlink(missing_ok=True)
        self._said, self.is_described = None, False


def _locked(path: Path) -> int:
    """A descriptor of *path*, which holds its lock."""
    while True:
        descriptor = opened(path, os.O_RDWR | os.O_CREAT)
        try:
            _lock(descriptor, path)
            if _is_named(descriptor, path):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _is_named(descriptor: int, path: Path) -> bool:
    """Whether it still has this name, and not the one that the download has given it that had it before."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False


def _lock(descriptor: int, path: Path) -> None:
    if fcntl is None:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise BlockingIOError(error.errno, "another download writes this file", str(path)) from None
    except OSError as error:
        if error.errno not in CANT_LOCK:
            raise


def _unlock(descriptor: int) -> None:
    """By hand, because a process that was forked meanwhile shares the lock, and would keep it."""
    if fcntl is None:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    except OSError as error:
        if error.errno not in CANT_LOCK:
            raise


def _hidden(url: str) -> str:
    """Which URL it is, without showing it, because its query may hold somebody's credentials."""
    return hashlib.sha256(url.encode()).hexdigest()
