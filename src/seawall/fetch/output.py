"""`Output`: the place that a job writes to: a folder, or a file of rows, and the journal in it or beside it."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple, Self

from .folder import Folder
from .journal import Journal
from .parcel import Parcels
from .planted import refuse_links
from .rows import Rows
from .sinks import BadOutput, Sink

__all__ = ["Output", "is_file_of_rows", "journal_of", "parcels_of"]

SUFFIX = ".jsonl"
JOURNAL = "seawall.sqlite"
PARCELS = "parcels"


def is_file_of_rows(out: Path) -> bool:
    """Whether the output *out* is a file, and not a folder."""
    return out.suffix == SUFFIX


def journal_of(out: Path) -> Path:
    """Where the journal of the output *out* is; *out* itself, if that is a journal."""
    if out.name.endswith(JOURNAL):
        return out
    return _kept(out, JOURNAL)


def parcels_of(out: Path) -> Path:
    """Where the parcels of the output *out* lie, while workers fetch them."""
    return _kept(out, PARCELS)


def _kept(out: Path, name: str) -> Path:
    """Where *name* is kept: beside a file, or inside a folder."""
    return out.with_name(f"{out.name}.{name}") if is_file_of_rows(out) else out / f".{name}"


class Output(NamedTuple):
    """A journal and a sink that belong together, and are whole."""

    journal: Journal
    sink: Sink

    @classmethod
    def open(
        cls, out: Path, job: Mapping[str, str], *, now: Callable[[], float], is_failed_again: bool = False
    ) -> Self:
        """
        The output at *out*: a file if its name ends with ``.jsonl``, else a folder. What an earlier process left torn
        is put right.

        Args:
            job: What must be the same when the job goes on, by name.
            now: Returns seconds since 1970.
            is_failed_again: Whether URLs that failed must be fetched again.
        Raises:
            BadOutput, BadJournal: It can't be used, or isn't ours.
            OSError: The system doesn't let us.
        """
        path, is_file = journal_of(out), is_file_of_rows(out)
        if not path.exists() or not path.stat().st_size:
            _check_new(out, path, is_file=is_file)
            path.parent.mkdir(parents=True, exist_ok=True)
        journal = Journal.open(path, job, now=now)
        sink: Sink = Rows(out) if is_file else Folder(out)
        try:
            if journal.is_replacing:
                sink.replace()
                journal.replaced()
            sink.recover(journal.mark, journal.is_done)
            _adopt(Parcels(parcels_of(out)), journal, sink)
            if is_failed_again:
                journal.forget_failed(mark=sink.without_failed())
                sink.replace()
                journal.replaced()
                sink.recover(journal.mark, journal.is_done)
        except BaseException as error:
            cls(journal, sink).close()
            if isinstance(error, sqlite3.Error):
                raise BadOutput(f"{path}: {error}") from None
            raise
        return cls(journal, sink)

    def close(self) -> None:
        """Close both, and let another process go on."""
        self.sink.close()
        self.journal.close()


def _adopt(parcels: Parcels, journal: Journal, sink: Sink) -> None:
    """
    Take over the bodies of parcels whose pages the journal has noted, because their sender ended just then.

    It can't wait for the next sender: a job that goes on without a queue has no use for parcels, and removes them.
    """
    refuse_links(parcels.path)
    for parcel in parcels.left():
        if any(journal.is_done(entry.key) for entry in parcel.entries):
            sink.adopt(parcels.pages(parcel.name))
            parcels.remove(parcel.name)


def _check_new(out: Path, journal: Path, *, is_file: bool) -> None:
    """A process that was killed at its start leaves a lock, and maybe a journal that is empty; nothing else is ours."""
    has = "an empty journal" if journal.exists() else "no journal"
    if is_file and os.path.lexists(out):
        raise BadOutput(f"{out} exists and has {has}, so it is not of this job: choose another --out, or move it")
    if is_file or not out.exists():
        return
    if not out.is_dir():
        raise BadOutput(
            f"{out} is a file, and its name doesn't end with .jsonl, so it is not of this job: choose another --out"
        )
    if not all(each.name.startswith(journal.name) for each in out.iterdir()):
        raise BadOutput(f"{out} isn't empty and has {has}, so it is not of this job: choose another --out")
