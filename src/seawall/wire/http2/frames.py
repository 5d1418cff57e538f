"""HTTP/2's frames as bytes, and what is wrong with one. No state is here. Source: RFC 9113 sections 4, 6 and 7."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import Final

__all__ = [
    "ACK", "CONTINUATION", "DATA", "END_HEADERS", "END_STREAM", "GOAWAY", "HEADER", "HEADERS", "MAX_FRAME",
    "MAX_NUMBER", "MAX_WINDOW", "PADDED", "PING", "PREFACE", "PRIORITY", "PUSH_PROMISE", "RST_STREAM", "SETTINGS",
    "WINDOW_UPDATE", "Code", "Oversized", "Setting", "Violation", "content", "fragment", "frame", "name_of",
    "settings", "settings_of", "word", "word_of",
]  # fmt: skip

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
"""Types; section 6."""

END_STREAM = ACK = 0x1
END_HEADERS, PADDED, WITH_PRIORITY = 0x4, 0x8, 0x20
"""Flags; section 6."""

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"  # section 3.4
HEADER: Final = struct.Struct(">IBI")  # length (24 bits) and type, flags, stream; section 4.1
SETTING: Final = struct.Struct(">HI")
WORD: Final = struct.Struct(">I")

NOT_HTTP2: Final = "the server answers in HTTP/1.1, and speaks no HTTP/2 here; leave http1=True, which is the default"
MAX_FRAME: Final = 16_384  # B of payload where nothing else is agreed; section 4.2
MAX_NUMBER: Final = 2**31 - 1  # of a stream; section 5.1.1
MAX_WINDOW: Final = 2**31 - 1  # B; section 6.9.1


class Code(IntEnum):
    """Section 7."""

    NO_ERROR = 0x0
    PROTOCOL_ERROR = 0x1
    INTERNAL_ERROR = 0x2
    FLOW_CONTROL_ERROR = 0x3
    SETTINGS_TIMEOUT = 0x4
    STREAM_CLOSED = 0x5
    FRAME_SIZE_ERROR = 0x6
    REFUSED_STREAM = 0x7
    CANCEL = 0x8
    COMPRESSION_ERROR = 0x9
    CONNECT_ERROR = 0xA
    ENHANCE_YOUR_CALM = 0xB
    INADEQUATE_SECURITY = 0xC
    HTTP_1_1_REQUIRED = 0xD


class Setting(IntEnum):
    """Section 6.5.2."""

    HEADER_TABLE_SIZE = 0x1
    ENABLE_PUSH = 0x2
    MAX_CONCURRENT_STREAMS = 0x3
    INITIAL_WINDOW_SIZE = 0x4
    MAX_FRAME_SIZE = 0x5
    MAX_HEADER_LIST_SIZE = 0x6


class Violation(Exception):
    """What the server did that ends the connection; *code* goes into our GOAWAY (section 5.4.1)."""

    def __init__(self, code: Code, text: str) -> None:
        super().__init__(text)
        self.code = code


class Oversized(Violation):
    """The headers of the stream *number* are more than we decode, so later ones can't be decoded (section 4.3)."""

    def __init__(self, number: int, text: str) -> None:
        super().__init__(Code.ENHANCE_YOUR_CALM, text)
        self.number = number


def name_of(code: int) -> str:
    """An error code as section 7 names it."""
    try:
        return Code(code).name
    except ValueError:
        return str(code)


def frame(kind: int, flags: int, number: int, payload: bytes) -> bytes:
    return HEADER.pack(len(payload) << 8 | kind, flags, number) + payload


def settings(values: dict[Setting, int]) -> bytes:
    """A SETTINGS frame that says so."""
    return frame(SETTINGS, 0, 0, b"".join(SETTING.pack(code, value) for code, value in values.items()))


def settings_of(payload: bytes) -> Iterator[tuple[int, int]]:
    """Codes, known or not, and values, in their order. Raises Violation."""
    if len(payload) % SETTING.size:
        raise Violation(Code.FRAME_SIZE_ERROR, f"SETTINGS of {len(payload)} bytes")
    return SETTING.iter_unpack(payload)


def word(kind: int, number: int, value: int) -> bytes:
    """A frame that is one number: RST_STREAM or WINDOW_UPDATE."""
    return HEADER.pack(WORD.size << 8 | kind, 0, number) + WORD.pack(value)


def word_of(kind: int, payload: bytes) -> int:
    """What `word` says. Raises Violation."""
    if len(payload) != WORD.size:
        raise Violation(Code.FRAME_SIZE_ERROR, f"a frame of type {kind} and {len(payload)} bytes")
    return int.from_bytes(payload, "big")


def content(flags: int, payload: bytes) -> bytes:
    """What a DATA frame carries, without padding (section 6.1). Raises Violation."""
    if not flags & PADDED:
        return payload
    if not payload or payload[0] >= len(payload):
        raise Violation(Code.PROTOCOL_ERROR, "a frame with more padding than it has bytes")
    return payload[1 : len(payload) - payload[0]]


def fragment(flags: int, payload: bytes) -> bytes:
    """What a HEADERS frame has of a block, without padding and priority (section 6.2). Raises Violation."""
    payload = content(flags, payload)
    if not flags & WITH_PRIORITY:
        return payload
    if len(payload) < 5:
        raise Violation(Code.FRAME_SIZE_ERROR, "HEADERS too short for the priority that they say they have")
    return payload[5:]
