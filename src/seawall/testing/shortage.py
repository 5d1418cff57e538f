"""What a process can run out of: file descriptors, and time of its event loop."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

__all__ = ["blocked_loop", "no_file_descriptors"]


@contextmanager
def no_file_descriptors() -> Iterator[None]:
    """
    In ``with no_file_descriptors():``, opening a file or a connection fails with EMFILE. Linux and macOS.

    What is open stays open. Import what you need before, because a module is a file too.
    """
    import resource

    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    held: list[int] = []
    highest = max(map(int, os.listdir("/dev/fd")))
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, before[1]))
    try:
        with suppress(OSError):
            while True:  # take those that are free below the highest one
                held.append(os.open(os.devnull, os.O_RDONLY))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        for descriptor in held:
            os.close(descriptor)


def blocked_loop(seconds: float) -> None:
    """Block the running loop for so many seconds, as a handler does that computes or calls blocking code."""
    asyncio.get_running_loop().call_soon(time.sleep, seconds)
