"""
The head of a plain response, which needs no parser: HTTP/1.1, a final status, and a body of one known length.

Rules: what is taken here is so narrow that no two clients read it differently, and everything else is llhttp's. Each
line is judged once, because a server sends most of them again and again; llhttp's callbacks take twice as long.
"""

from __future__ import annotations

import functools
import re
from typing import Final

from ..limits import MAX_HEADERS
from ..message import Triples

__all__ = ["plain_head"]

STATUS: Final = re.compile(rb"HTTP/1\.1 ([2-5][0-9][0-9]) ([ -~]*)")
HEADER: Final = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+): ([!-~](?:[ -~]*[!-~])?)")
"""Source: RFC 9112 sections 4 and 5, without empty values, and with one space before each."""

LENGTH: Final = b"content-length"
FRAMING: Final = frozenset((b"transfer-encoding", b"connection", b"keep-alive", b"upgrade", b"trailer"))
WITHOUT_BODY: Final = frozenset((b"204", b"205", b"304"))
MAX_DIGITS: Final = 15
MAX_PLAIN: Final = 4096  # bytes of a head, so that the lines that are kept take 4 MB at most


def plain_head(data: bytes) -> tuple[int, bytes, Triples, int, int] | None:
    """
    The head that *data* begins with: status, reason, headers, the body's length, and where it begins.

    Returns:
        None if all of it isn't there, or if it isn't plain.
    """
    end = data.find(b"\r\n\r\n", 0, MAX_PLAIN)
    if end < 0:
        return None
    first, *lines = data[:end].split(b"\r\n")
    status = _status(first)
    if status is None or len(lines) > MAX_HEADERS:
        return None
    headers: Triples = []
    length = None
    for line in lines:
        header = _header(line)
        if header is None:
            return None
        if header[1] is LENGTH:
            if length is not None:
                return None
            length = header[2]
        headers.append(header)
    return None if length is None else (*status, headers, int(length), end + 4)


@functools.lru_cache(64)
def _status(line: bytes) -> tuple[int, bytes] | None:
    found = STATUS.fullmatch(line)
    return None if found is None or found[1] in WITHOUT_BODY else (int(found[1]), found[2])


@functools.lru_cache(1024)
def _header(line: bytes) -> tuple[bytes, bytes, bytes] | None:
    """Name, lower name and value; None if it says anything of framing but the length of the body."""
    found = HEADER.fullmatch(line)
    if found is None:
        return None
    name, value = found.groups()
    lower = name.lower()
    if lower == LENGTH:
        return (name, LENGTH, value) if value.isdigit() and len(value) <= MAX_DIGITS else None
    is_plain = lower not in FRAMING or (lower == b"connection" and value.lower() == b"keep-alive")
    return (name, lower, value) if is_plain else None
