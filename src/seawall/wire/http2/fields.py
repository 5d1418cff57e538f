"""
Headers as HTTP/2 has them, and their compression. Source: RFC 9113 sections 8.2 and 8.3, RFC 7541.

Rules: what the peer says bounds neither memory nor work here: not the size of our table, nor how long one block of
headers keeps the event loop. hpack copies what is left of a block for each of its fields, so it is given slices.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

import hpack
from hpack.hpack import decode_integer

from ..message import Message

__all__ = ["TABLE_SIZE", "Decoder", "Encoder", "request_fields", "wrong_field"]

TABLE_SIZE: Final = 4096  # B; RFC 9113 section 6.5.2's, and as much as is ever used
MAX_FIELDS: Final = 2048  # of one block, size updates included; 20 ms
SLICE: Final = 4096  # B of a block that are decoded at a time

CONNECTION_HEADERS: Final = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade")
)
"""HTTP/1.1's own. Source: RFC 9113 section 8.2.2."""


def request_fields(message: Message) -> list[tuple[bytes, bytes]]:
    """A request's headers as HTTP/2 has them. Source: RFC 9113 section 8.3.1."""
    authority = b""
    dropped = {b"host", *CONNECTION_HEADERS}
    fields = []
    for _, name, value in message.headers:
        if name == b"connection":
            dropped.update(each.strip() for each in value.lower().split(b","))
        elif name == b"host":
            authority = value
    for _, name, value in message.headers:
        if name not in dropped and (name != b"te" or value.lower() == b"trailers"):
            fields.append((name, value.strip()))
    return [
        (b":method", message.method),
        (b":authority", authority),
        (b":scheme", message.origin.scheme.encode()),
        (b":path", message.target),
        *fields,
    ]


WRONG: Final = re.compile(rb"[^!#$%&'*+\-.^_`|~0-9a-z]|^$")
"""In a name; in lower case, as HTTP/2 has them. Source: RFC 9113 section 8.2.1."""


def wrong_field(fields: list[tuple[bytes, bytes]]) -> bytes | None:
    """The name of a response's field that can't be, if there is one."""
    for index, (name, value) in enumerate(fields):
        is_good = name == b":status" and index == 0 if name[:1] == b":" else not WRONG.search(name)
        if not is_good or name in CONNECTION_HEADERS or any(each in value for each in (b"\0", b"\r", b"\n")):
            return name
    return None


class Encoder(hpack.Encoder):
    """Its table has 4 KiB at most, whatever the peer allows (RFC 7541 section 4.2)."""

    @property
    def header_table_size(self) -> int:
        return int(self.header_table.maxsize)

    @header_table_size.setter
    def header_table_size(self, size: int) -> None:
        size = min(size, TABLE_SIZE)
        if size != self.header_table.maxsize:
            self.header_table.maxsize = size
            changes = [*self.table_size_changes, size]
            # Only the smallest and the last must be said, and there may be no request for long.
            self.table_size_changes = [size] if size == min(changes) else [min(changes), size]


class Decoder(hpack.Decoder):
    """Its work is bounded: see the rules."""

    def decode(self, data: bytes, raw: bool = False) -> list[hpack.HeaderTuple]:
        """The fields of a block. Raises hpack.OversizedHeaderListError, hpack.HPACKDecodingError."""
        if len(data) <= SLICE:
            return list(super().decode(data, raw))
        fields: list[hpack.HeaderTuple] = []
        for part in _slices(data):
            if fields and part[0] & 0xE0 == 0x20:
                raise hpack.HPACKDecodingError("table size update not at the start of the block")
            fields += super().decode(part, raw)
        return fields


def _slices(block: bytes) -> Iterator[bytes]:
    """*block* in parts of whole fields. Raises hpack.OversizedHeaderListError, hpack.HPACKDecodingError."""
    view, begin, at, count = memoryview(block), 0, 0, 0
    while at < len(block):
        count += 1
        if count > MAX_FIELDS:
            raise hpack.OversizedHeaderListError(f"more than {MAX_FIELDS} headers")
        end = _field_end(view, at)
        if end - begin > SLICE and begin < at:
            yield block[begin:at]
            begin = at
        at = end
    yield block[begin:]


def _field_end(block: memoryview, at: int) -> int:
    """Where the field that begins at *at* ends. Source: RFC 7541 section 6. Raises hpack.HPACKDecodingError."""
    first = block[at]
    bits = 7 if first & 0x80 else 6 if first & 0x40 else 5 if first & 0x20 else 4
    index, size = decode_integer(block[at:], bits)
    at += size
    if bits in (6, 4):  # a literal: its name, unless that is indexed, and its value
        for _ in range(1 if index else 2):
            length, size = decode_integer(block[at:], 7)
            at += length + size
    return at
