"""
Whether a download goes on from what is on disk, by what the head of a response says. Nothing here waits or writes.

Rules: bytes of two versions of a file never get into one. So a part is only continued under a validator that tells any
two versions apart, and only where the server says that it sends just the bytes that follow. Where that is in doubt, the
download starts over, because that costs time only.

Source: RFC 9110 sections 8.8, 13.1.5, 14 and 15.3.7.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Final, TypeAlias

__all__ = [
    "Append",
    "Complete",
    "Fail",
    "Kept",
    "StartOver",
    "Verdict",
    "decide",
    "headers_for",
    "is_coded",
    "validator_of",
]

WHOLE: Final = frozenset({200, 201, 203})  # whose body is the file
SETTLED: Final = 60.0  # seconds; RFC 9110 section 8.8.2.2: a file may change twice within one second of its clock
STRONG: Final = re.compile(r'"[\x21\x23-\x7e\x80-\xff]*"')
RANGE: Final = re.compile(r"bytes +([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)", re.IGNORECASE)
UNSATISFIED: Final = re.compile(r"bytes +\*/([0-9]{1,18})", re.IGNORECASE)
LENGTH: Final = re.compile(r"[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class Kept:
    """
    What is on disk.

    Attributes:
        size: Bytes.
        validator: The strong ETag or the Last-Modified of the version that they are of; None if none tells it.
        length: Of the whole file; None if it isn't known.
    """

    size: int = 0
    validator: str | None = None
    length: int | None = None

    @property
    def can_resume(self) -> bool:
        return self.size > 0 and self.validator is not None


@dataclass(frozen=True, slots=True)
class Append:
    """
    Write the body at *at*, where the file is cut off before.

    Attributes:
        stop: Where the body must end; None if the response doesn't say it.
        version: What will be on disk with it, but for its size.
        is_changed: The file is another than the one on disk.
    """

    at: int
    stop: int | None
    version: Kept
    is_changed: bool = False


@dataclass(frozen=True, slots=True)
class StartOver:
    """Throw away what is on disk and ask for the whole file, because of *reason*."""

    reason: str
    is_changed: bool = False


@dataclass(frozen=True, slots=True)
class Complete:
    """The whole file is on disk already."""


@dataclass(frozen=True, slots=True)
class Fail:
    """The response is neither the file nor a part of it; *reason* is for a status that isn't an error."""

    reason: str


Verdict: TypeAlias = Append | StartOver | Complete | Fail


def headers_for(kept: Kept) -> dict[str, str]:
    """
    The headers of a request for the rest of the file, or for all of it.

    Without coding, because then offsets mean bytes of the file, and because some CDNs ignore Range if one is allowed.
    """
    headers = {"Accept-Encoding": "identity"}
    if kept.can_resume:
        assert kept.validator is not None
        headers |= {"Range": f"bytes={kept.size}-", "If-Range": kept.validator}
    return headers


def validator_of(headers: Mapping[str, str]) -> str | None:
    """
    What tells any two versions of the file apart: a strong ETag, or a Last-Modified that is 60 s older than Date.

    Returns:
        None if the response has neither, so that a part of it can't be continued. RFC 9110 section 13.1.5 allows a date
        only where there is no ETag, not even a weak one.
    """
    etag, modified, date = (headers.get(name, "") for name in ("etag", "last-modified", "date"))
    if etag:
        return etag if STRONG.fullmatch(etag) else None
    try:
        age = (parsedate_to_datetime(date) - parsedate_to_datetime(modified)).total_seconds()
    except (TypeError, ValueError, OverflowError):  # none, garbage, or only one of them names a zone
        return None
    return modified if age >= SETTLED else None


def is_coded(headers: Mapping[str, str]) -> bool:
    """Whether the body isn't the file as it is, though no coding was asked for."""
    return headers.get("content-encoding", "").strip().lower() not in ("", "identity")


def decide(kept: Kept, status: int, headers: Mapping[str, str]) -> Verdict:
    """What to do with a response of *status* and *headers* to a request with `headers_for` *kept*."""
    if status == 416:
        return _unsatisfied(kept, headers)
    if status == 206 or status in WHOLE:
        found = RANGE.fullmatch(headers.get("content-range", "").strip())
        at = kept.size if kept.can_resume else 0
        # A few servers say 200 and send just the range. Where the range is all of the file, both mean the same.
        if status == 206 or (found is not None and int(found[1]) == at > 0):
            return _part(kept, at, headers)
        if found is not None and int(found[1]) > 0:
            return _doubt(kept, f"{status} with Content-Range {found[0]}, which was not asked for")
        return _whole(kept, headers)
    return Fail(f"its status {status} is neither the file nor a part of it")


def _part(kept: Kept, at: int, headers: Mapping[str, str]) -> Verdict:
    found = RANGE.fullmatch(headers.get("content-range", "").strip())
    if found is None:
        kind = headers.get("content-type", "").partition(";")[0]
        return _doubt(kept, f"a part without a Content-Range of bytes ({kind or 'no Content-Type'})")
    if is_coded(headers):
        return _doubt(kept, f"a part in the coding {headers['content-encoding']}, though none was asked for")
    start, stop = int(found[1]), int(found[2]) + 1
    total = None if found[3] == "*" else int(found[3])
    if start != at:
        return _doubt(kept, f"a part from byte {start} on, where {at} was asked for")
    if stop <= start or (total is not None and stop > total) or _length(headers) not in (None, stop - start):
        return _doubt(kept, f"a part that contradicts itself: {found[0]}, {_length(headers)} bytes long")
    if _is_changed(kept, headers, total):
        return StartOver("it changed on the server", is_changed=True)
    validator = kept.validator if at else validator_of(headers)
    return Append(at, stop, Kept(at, validator, kept.length if total is None and at else total))


def _whole(kept: Kept, headers: Mapping[str, str]) -> Append:
    if is_coded(headers):  # what is written is decoded, so no offset of it means anything to the server
        return Append(0, None, Kept(), is_changed=False)
    length = _length(headers)
    is_changed = kept.can_resume and _is_changed(kept, headers, length)
    return Append(0, length, Kept(0, validator_of(headers), length), is_changed=is_changed)


def _unsatisfied(kept: Kept, headers: Mapping[str, str]) -> Verdict:
    found = UNSATISFIED.fullmatch(headers.get("content-range", "").strip())
    total = None if found is None else int(found[1])
    if not kept.can_resume or _is_changed(kept, headers, total):
        return _doubt(kept, "416, Range Not Satisfiable", is_changed=True)
    return Complete() if total == kept.size else _doubt(kept, f"416, and not {kept.size} bytes in all")


def _doubt(kept: Kept, reason: str, *, is_changed: bool = False) -> StartOver | Fail:
    return StartOver(reason, is_changed=is_changed) if kept.can_resume else Fail(f"it sent {reason}")


def _is_changed(kept: Kept, headers: Mapping[str, str], total: int | None) -> bool:
    """Whether the response says that it is of another version, as far as it says anything of that."""
    if kept.can_resume:
        assert kept.validator is not None
        said = headers.get("etag" if kept.validator.startswith('"') else "last-modified")
        if said is not None and said != kept.validator:
            return True
    return kept.length is not None and total is not None and total != kept.length


def _length(headers: Mapping[str, str]) -> int | None:
    found = LENGTH.fullmatch(headers.get("content-length", "").strip())
    return None if found is None else int(found[0])
