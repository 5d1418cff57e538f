"""
HTTP/2's header compression, over the tables and the Huffman code of hpack. Source: RFC 7541.

Rules: what the peer says bounds neither memory nor work here: not the size of our table, nor how long one block of
headers keeps the event loop. What is the same again costs a look-up: a field that the server has in its table, a block
that came before and left the table as it was. A field gets a place in the table once two requests in a row have it,
because one that differs each time would push out the others, and move them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeAlias

import hpack
from hpack.huffman_table import decode_huffman
from hpack.table import HeaderTable, table_entry_size

__all__ = ["MAX_FIELDS", "TABLE_SIZE", "Decoder", "Encoder", "Field", "HPACKError", "OversizedHeaderListError"]

Field: TypeAlias = tuple[bytes, bytes]
HPACKError: Final = hpack.HPACKError
OversizedHeaderListError: Final = hpack.OversizedHeaderListError

TABLE_SIZE: Final = 4096  # B; RFC 9113 section 6.5.2's, and as much as is ever used
MAX_FIELDS: Final = 2048  # of one block, size updates included; 2 ms
MAX_BLOCKS: Final = 8  # that are kept, of 256 B at most
BLOCK_SIZE: Final = 256
MAX_TEXTS: Final = 32  # that are kept, of 64 B at most
TEXT_SIZE: Final = 64

INDEXED, ADDED, RESIZED, NEVER, PLAIN = 0x80, 0x40, 0x20, 0x10, 0x00  # section 6
HUFFMAN: Final = 0x80  # section 5.2
PATH: Final = b":path"  # almost every request has its own
SECRET: Final = frozenset((b"authorization", b"proxy-authorization"))
SHORT_COOKIE: Final = 20  # B; shorter ones could be guessed by the length of what is compressed; section 7.1.3


class Encoder:
    """
    Its table has 4 KiB at most, whatever the peer allows (section 4.2).

    No Huffman code, which costs a thousand instructions a byte in Python: what repeats is an index anyway.
    """

    __slots__ = ("_known", "_last", "_table", "changes")

    def __init__(self) -> None:
        self._table = HeaderTable()
        self.changes: list[int] = []  # of the table's size, which the next block has to say
        self._known: dict[Field, bytes] = {}  # what the tables have, as they are now
        self._last: Sequence[Field] = ()

    @property
    def size(self) -> int:
        """How large the table may be, in B."""
        return int(self._table.maxsize)

    @size.setter
    def size(self, size: int) -> None:
        size = min(size, TABLE_SIZE)
        if size != self._table.maxsize:
            self._table.maxsize = size
            self._known.clear()
            changes = [*self.changes, size]
            # Only the smallest and the last must be said, and there may be no request for long.
            self.changes = [size] if size == min(changes) else [min(changes), size]

    def encode(self, fields: Sequence[Field]) -> bytes:
        """A block with these *fields*, whose names are in lower case."""
        known = self._known
        parts = [_integer(RESIZED, 5, size) for size in self.changes] if self.changes else []
        self.changes = []
        for field in fields:
            part = known.get(field)
            parts.append(self._encoded(field) if part is None else part)
        self._last = fields
        return b"".join(parts)

    def _encoded(self, field: Field) -> bytes:
        name, value = field
        if name == PATH:
            return b"\x04" + _text(value)
        index, _, perfect = self._table.search(name, value) or (0, name, None)
        if perfect is not None:
            self._known[field] = part = _integer(INDEXED, 7, index)
            return part
        if name in SECRET or (name == b"cookie" and len(value) < SHORT_COOKIE):
            kind, bits = NEVER, 4
        elif field in self._last and table_entry_size(name, value) <= self._table.maxsize:
            kind, bits = ADDED, 6
            self._table.add(name, value)
            self._known.clear()  # all others have moved
        else:
            kind, bits = PLAIN, 4
        return _integer(kind, bits, index) + (b"" if index else _text(name)) + _text(value)


class Decoder:
    """Its work is bounded: see the rules."""

    __slots__ = ("_blocks", "_table", "_texts")

    def __init__(self) -> None:
        self._table = HeaderTable()
        self._blocks: dict[bytes, tuple[Field, ...]] = {}  # those that leave the table as it is
        self._texts: dict[bytes, bytes] = {}  # by their Huffman code

    def decode(self, block: bytes) -> tuple[Field, ...]:
        """The fields of a block. Raises OversizedHeaderListError, HPACKError."""
        found = self._blocks.get(block)
        if found is not None:
            return found
        try:
            found, has_changed = self._decoded(block)
        except IndexError as error:
            raise hpack.HPACKDecodingError("the block ends within a field") from error
        if has_changed:
            self._blocks.clear()
        elif len(block) <= BLOCK_SIZE:
            if len(self._blocks) >= MAX_BLOCKS:
                self._blocks.clear()
            self._blocks[block] = found
        return found

    def _decoded(self, block: bytes) -> tuple[tuple[Field, ...], bool]:
        """The fields, and whether the table has changed. Source: section 6. Raises IndexError, HPACKError."""
        table, fields, at, count, has_changed = self._table, [], 0, 0, False
        while at < len(block):
            count += 1
            if count > MAX_FIELDS:
                raise OversizedHeaderListError(f"more than {MAX_FIELDS} headers")
            first = block[at]
            if first & INDEXED:
                index, at = _integer_at(block, at, 0x7F)
                fields.append(table.get_by_index(index))
                continue
            if first & 0xE0 == RESIZED:
                size, at = _integer_at(block, at, 0x1F)
                if fields or size > TABLE_SIZE:
                    raise hpack.HPACKDecodingError(f"a size update to {size} bytes, or one behind a field")
                table.maxsize, has_changed = size, True
                continue
            index, at = _integer_at(block, at, 0x3F if first & ADDED else 0x0F)
            if index:
                name = table.get_by_index(index)[0]
            else:
                name, at = self._text_at(block, at)
            value, at = self._text_at(block, at)
            fields.append((name, value))
            if first & ADDED:
                table.add(name, value)
                has_changed = True
        return tuple(fields), has_changed

    def _text_at(self, block: bytes, at: int) -> tuple[bytes, int]:
        """The text there, and where it ends. Source: section 5.2."""
        is_coded = block[at] & HUFFMAN
        size, at = _integer_at(block, at, 0x7F)
        end = at + size
        if end > len(block):
            raise hpack.HPACKDecodingError("the block ends within a text")
        text = block[at:end]
        if not is_coded:
            return text, end
        plain = self._texts.get(text)
        if plain is None:
            plain = decode_huffman(text) if text else b""
            if size <= TEXT_SIZE:
                if len(self._texts) >= MAX_TEXTS:
                    self._texts.clear()
                self._texts[text] = plain
        return plain, end


def _integer(kind: int, bits: int, value: int) -> bytes:
    """*value* behind the bits that say what it is. Source: section 5.1."""
    limit = (1 << bits) - 1
    if value < limit:
        return bytes((kind | value,))
    parts = [kind | limit]
    value -= limit
    while value >= 128:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*parts, value))


def _text(text: bytes) -> bytes:
    return _integer(PLAIN, 7, len(text)) + text


def _integer_at(block: bytes, at: int, mask: int) -> tuple[int, int]:
    """The integer there, and where it ends. Source: section 5.1. Raises IndexError, HPACKError."""
    value = block[at] & mask
    at += 1
    if value < mask:
        return value, at
    for shift in range(0, 35, 7):
        byte = block[at]
        at += 1
        value += (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise hpack.HPACKDecodingError("an integer of more than 32 bits")
