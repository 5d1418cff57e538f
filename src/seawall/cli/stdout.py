"""Standard output, where it can't be written."""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress
from typing import Final

__all__ = ["NAME", "abandon_output", "is_output_lost"]

NAME: Final = "standard output"
LOST: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF)


def is_output_lost(error: OSError) -> bool:
    """Whether *error* is that of a write to standard output: it names no file, and a disk is full, say."""
    return error.filename is None and error.errno in LOST


def abandon_output() -> None:
    """What is still to be flushed goes nowhere, because Python complains at its end if it can't flush."""
    if sys.stdout is None:  # Python's way to say that the shell closed it
        return
    with suppress(OSError, ValueError):  # standard output is closed already
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
