"""`Sink`: where pages are written, so that the journal can say up to where they are whole."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Protocol

from .page import Page

__all__ = ["BadOutput", "Sink"]


class BadOutput(Exception):
    """The output can't be used: it is somebody else's, or isn't what the journal says."""


class Sink(Protocol):
    """
    Pages are written in batches: `write`, then the journal notes the batch with the mark that it returned, then
    `settle`. A process that ends anywhere in between leaves what `recover` puts right when the next one begins.
    """

    def recover(self, mark: int, is_done: Callable[[bytes], bool]) -> None:
        """
        Undo what was written after *mark*, and end what was noted and not settled.

        Raises:
            BadOutput: The output is shorter than *mark*, or exists where there should be none yet.
        """

    def write(self, pages: Sequence[Page]) -> int:
        """
        Write them and have the disk keep them; returns the new mark. May be called in another thread.

        Raises:
            OSError: The disk is full, say.
        """

    def append(self, rows: Iterable[bytes]) -> int:
        """Write rows that a worker has made, and have the disk keep them; returns the new mark."""

    def adopt(self, folder: Path) -> None:
        """The journal has noted the pages whose rows were appended; take over their bodies, where a sink like this one
        has written them into *folder*. May be called again for the same folder."""

    def settle(self, pages: Sequence[Page]) -> None:
        """The journal has noted *pages*. May be called in another thread."""

    def without_failed(self) -> int:
        """Write the output anew beside the old one, without the rows of pages that failed; returns its mark."""

    def replace(self) -> None:
        """Put the output that `without_failed` wrote in the place of the old one, if it isn't there yet."""

    def close(self) -> None:
        """Close the files."""
