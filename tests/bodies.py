"""Compressed bodies, good and evil."""

from __future__ import annotations

import functools
import gzip
import zlib
from collections.abc import Callable, Sequence
from typing import Any

from seawall.wire.coding import BROTLI, ZSTD, bounded

__all__ = ["CODINGS", "NAMES", "brotli", "encoded", "hollow", "named", "raw_deflate", "skippable", "zeros", "zstd"]

brotli: Any = bounded(BROTLI, "can_accept_more_data")
zstd: Any = bounded(ZSTD, "needs_input")

MIB = 2**20


def raw_deflate(data: bytes) -> bytes:
    machine = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return machine.compress(data) + machine.flush()


CODINGS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": functools.partial(gzip.compress, mtime=0),
    "x-gzip": functools.partial(gzip.compress, mtime=0),
    "deflate": zlib.compress,
    "raw": raw_deflate,
    "br": functools.partial(brotli.compress, quality=5),
    "zstd": zstd.compress,
}
NAMES = ("gzip", "deflate", "br", "zstd")


def encoded(names: Sequence[str], data: bytes) -> bytes:
    """*data* with these codings, in this order."""
    for name in names:
        data = CODINGS[name](data)
    return data


def named(names: Sequence[str]) -> str:
    """The Content-Encoding of that; "raw" is deflate without its frame."""
    return ", ".join("deflate" if name == "raw" else name for name in names)


def _machine(name: str) -> tuple[Callable[[bytes], bytes], Callable[[], bytes]]:
    if name == "br":
        machine = brotli.Compressor(quality=1, lgwin=22)
        return machine.process, machine.finish
    if name == "zstd":
        machine = zstd.ZstdCompressor(1)
        return machine.compress, machine.flush
    machine = zlib.compressobj(9, wbits={"gzip": 31, "deflate": 15, "raw": -15}[name])
    return machine.compress, machine.flush


def zeros(names: Sequence[str]) -> bytes:
    """32 MiB of zeros, with these codings."""
    return encoded(names[1:], _zeros(names[0]))


def hollow(name: str, outer: Sequence[str]) -> bytes:
    """8 MiB in the coding of that *name*, and then in the outer ones, that mean nothing at all."""
    return encoded(outer[1:], _hollow(name, outer[0]))


@functools.cache
def _zeros(name: str) -> bytes:
    take, finish = _machine(name)
    return b"".join(take(bytes(MIB)) for _ in range(32)) + finish()


@functools.cache
def _hollow(name: str, outer: str) -> bytes:
    begin, nothing, end = {
        "gzip": (b"", gzip.compress(b"", mtime=0), b""),  # empty members
        "deflate": (b"\x78\x9c", b"\0\0\0\xff\xff", b"\1\0\0\xff\xff\0\0\0\1"),  # empty blocks
        "br": (b"\x0c", b"\x06", b"\x03"),  # empty metadata (RFC 7932 §9.2)
        "zstd": (b"", skippable(b""), b""),
    }[name]
    take, finish = _machine(outer)
    piece = nothing * (MIB // len(nothing))
    return take(begin) + b"".join(take(piece) for _ in range(8)) + take(end) + finish()


def skippable(data: bytes) -> bytes:
    """A frame of zstd that is to be skipped (RFC 8878 §3.1.2)."""
    return b"\x50\x2a\x4d\x18" + len(data).to_bytes(4, "little") + data
