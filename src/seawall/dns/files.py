"""Small configuration files below one directory: how to tell that one changed, and its text."""

from __future__ import annotations

import errno
import os
import stat
from typing import NamedTuple

__all__ = ["Files", "Stamp"]

MISSING = (errno.ENOENT, errno.EACCES, errno.EPERM, errno.EISDIR, errno.ENOTDIR, errno.ELOOP)  # glibc's list


class Stamp(NamedTuple):
    """What glibc compares (io/file_change_detection.c), and the device, because a file may be mounted over another."""

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int


class Files:
    """
    Args:
        root: The directory, such as /etc.

    A file counts as missing if it doesn't exist, may not be read or isn't a regular file. Any other failure (no
    descriptor or memory is left, an I/O error) says nothing about the file, and is raised as OSError.
    """

    def __init__(self, root: str) -> None:
        self.root = root

    def stamp(self, name: str) -> Stamp | None:
        """Its facts; None where the file is missing."""
        try:
            found = os.stat(os.path.join(self.root, name))
        except OSError as error:
            if error.errno in MISSING:
                return None
            raise
        if not stat.S_ISREG(found.st_mode):
            return None
        return Stamp(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)

    def read(self, name: str) -> bytes:
        """Its bytes; empty where the file is missing."""
        if self.stamp(name) is None:  # because opening a pipe would wait for its writer
            return b""
        try:
            with open(os.path.join(self.root, name), "rb", buffering=0) as file:
                return file.readall()
        except OSError as error:
            if error.errno in MISSING:
                return b""
            raise

    def text(self, name: str) -> str:
        """As `read`, decoded. Bytes that aren't UTF-8 become surrogates."""
        return self.read(name).decode(errors="surrogateescape")
