"""
Open files whose names others may have planted something under, because they can write to the folder, too.

A symbolic link would have us write to any file that this user may write, and a pipe would hold us up for ever.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Final

__all__ = ["made", "opened", "refuse_links"]

FLAGS: Final = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
LINK: Final = "it is a symbolic link, which somebody else may have put there: delete it, or choose another place"
LINKED: Final = "it has another name, too, which somebody else may have given it: put a copy in its place, or delete it"
NO_FILE: Final = "it is a pipe or a device and not a file: delete it, or choose another place"


def opened(path: Path, flags: int) -> int:
    """
    A descriptor of the file *path*.

    Raises:
        OSError: It is a symbolic link, a pipe or a device, or can't be opened; or it has another name, and must be
            written to.
    """
    try:
        descriptor = os.open(path, flags | FLAGS, 0o666)
    except OSError:
        refuse_links(path)
        raise
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, NO_FILE, str(path))
    if found.st_nlink > 1 and flags & (os.O_WRONLY | os.O_RDWR):
        os.close(descriptor)
        raise OSError(errno.EMLINK, LINKED, str(path))
    return descriptor


def made(path: Path) -> int:
    """A descriptor of a new file *path*, to write to, which replaces the file that is there."""
    path.unlink(missing_ok=True)
    return opened(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)


def refuse_links(path: Path) -> None:
    """
    For what others open by the name.

    Raises:
        OSError: It is a symbolic link.
    """
    if path.is_symlink():
        raise OSError(errno.ELOOP, LINK, str(path))
