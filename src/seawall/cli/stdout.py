"""Standard output, where it can't be written."""

from __future__ import annotations

import errno
import io
import os
import sys
from contextlib import suppress
from typing import Final

__all__ = ["NAME", "abandon_output", "buffer_output", "is_output_lost"]

NAME: Final = "standard output"
LOST: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF)


def buffer_output() -> None:
    """
    Have Python buffer standard output, though PYTHONUNBUFFERED says that it shouldn't.

    A full disk, or a pipe whose reader leaves, takes a part of the text without an error, and only a buffer
    writes the rest. Nothing comes later for it, because all that commands print is flushed.
    """
    if sys.stdout is not None and isinstance(sys.stdout.buffer, io.RawIOBase):
        sys.stdout = open(  # noqa: SIM115 - it stays open until the end
            sys.stdout.fileno(), "w", encoding=sys.stdout.encoding, errors=sys.stdout.errors, closefd=False
        )


def is_output_lost(error: OSError) -> bool:
    """Whether *error* is that of a write to standard output: it names no file, and a disk is full, say."""
    return error.filename is None and error.errno in LOST


def abandon_output() -> None:
    """What is still to be flushed goes nowhere, because Python complains at its end if it can't flush."""
    if sys.stdout is None:  # Python's way to say that the shell closed it
        return
    with suppress(OSError, ValueError):  # standard output is closed already
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
