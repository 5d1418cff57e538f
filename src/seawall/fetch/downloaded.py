"""What a download ends with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..attempts import History

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Download"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """
    A file that was downloaded.

    Attributes:
        path: Where it is.
        size: Its bytes.
        received: Bytes of bodies that came for it; more than *size* less what was there, if it was started over.
        resumptions: Calls beyond the first.
        etag: Of the version that it is; None if the server gave none.
        verified: The digests that it was found to have, such as ``("sha256=", "Repr-Digest")``; empty if none is known.
        attempts: All attempts, redirects included.
    """

    path: Path
    size: int
    received: int
    resumptions: int
    etag: str | None
    verified: tuple[str, ...]
    attempts: History
