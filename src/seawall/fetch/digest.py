"""
Digests that a server or a caller gives for a file, and whether the file on disk has them.

Sources: RFC 9530; Amazon S3's "Checking object integrity" for ``x-amz-checksum-*``, which other stores send, too.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

__all__ = ["Digest", "digests_of", "sha256_of"]

BLOCK: Final = 2**18  # bytes that are read at once
ACTIVE: Final = {"sha-256": "sha256", "sha-512": "sha512"}  # RFC 9530 section 7.2; its others are broken or no digests
AMAZON: Final = {"crc32": 4, "sha1": 20, "sha256": 32}  # bytes; crc32c and crc64nvme aren't in the standard library
MEMBER: Final = re.compile(r"(sha-256|sha-512) *= *:([A-Za-z0-9+/=]*):")
HEX: Final = re.compile(r"[0-9a-fA-F]{64}")


class Digest(NamedTuple):
    """
    What the bytes of a file from *start* to *stop* must have; *stop* None: to its end.

    Attributes:
        source: Its source: a header, or "sha256=".
        algorithm: As hashlib names it, or "crc32".
    """

    source: str
    algorithm: str
    value: bytes
    start: int = 0
    stop: int | None = None

    def is_of(self, path: Path) -> bool:
        """Whether the file has it; it reads the file, so call it in a thread."""
        found = _CRC32() if self.algorithm == "crc32" else hashlib.new(self.algorithm, usedforsecurity=False)
        with path.open("rb", buffering=0) as file:
            file.seek(self.start)
            left = None if self.stop is None else self.stop - self.start
            while left != 0 and (block := file.read(BLOCK if left is None else min(BLOCK, left))):
                found.update(block)
                left = None if left is None else left - len(block)
        return found.digest() == self.value


class _CRC32:
    """As hashlib has it."""

    def __init__(self) -> None:
        self._value = 0

    def update(self, data: bytes) -> None:
        self._value = zlib.crc32(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(4, "big")


def sha256_of(text: str) -> Digest:
    """
    The caller's own.

    Raises:
        TypeError, ValueError: *text* isn't 64 hexadecimal digits.
    """
    if not isinstance(text, str):
        raise TypeError(f"sha256 must be 64 hexadecimal digits, not {text!r}")
    if not HEX.fullmatch(text):
        raise ValueError(f"sha256 must be 64 hexadecimal digits, not {text[:80]!r}")
    return Digest("sha256=", "sha256", bytes.fromhex(text))


def digests_of(headers: Mapping[str, str], start: int, stop: int | None) -> Iterator[Digest]:
    """
    What a response says of the whole file (Repr-Digest; x-amz-checksum-*, if it isn't of a range), and of its own body
    (Content-Digest), *start* to *stop* of it.

    Algorithms that are broken or unknown, and garbage, are passed over, as the RFC has it.
    """
    for name, begins, ends in (("Repr-Digest", 0, None), ("Content-Digest", start, stop)):
        said = dict(MEMBER.findall(headers.get(name.lower(), "")))  # a name that comes again counts once (RFC 9651)
        for algorithm, value in said.items():
            try:
                yield Digest(name, ACTIVE[algorithm], base64.b64decode(value, validate=True), begins, ends)
            except binascii.Error:
                continue
    if start or headers.get("x-amz-checksum-type", "").strip().upper() == "COMPOSITE":
        return  # a checksum of the parts' checksums, which nobody can check who doesn't know the parts
    for algorithm, size in AMAZON.items():
        name = f"x-amz-checksum-{algorithm}"
        try:
            value = base64.b64decode(headers.get(name, "").strip(), validate=True)
        except (binascii.Error, ValueError):  # such as that of three parts, which ends with -3
            continue
        if len(value) == size:
            yield Digest(name, algorithm, value)
