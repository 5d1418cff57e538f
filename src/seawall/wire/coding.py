"""
Content codings, one step at a time: gzip, deflate, br, zstd (RFC 9110 §8.4.1, RFC 7932, RFC 8878).

Rules: a step takes at most `SLICE` bytes and gives at most `PIECE`, so it lasts a few ms at worst, whatever the bytes
are; br may make a window ahead, which lasts 40. What becomes of a body doesn't depend on how its bytes are divided. br
and zstd are decoded only by builds that can bound a step.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Container, Sequence
from functools import partial
from importlib import import_module
from typing import Any, Final, Protocol

__all__ = ["ACCEPTED", "PIECE", "SLICE", "Coding", "CodingError", "coding"]

SLICE: Final = 4 * 1024  # B
PIECE: Final = 64 * 1024  # B
MEMBER: Final = b"\x1f\x8b"  # a member of gzip begins with it
MAX_WINDOW: Final = 23  # log2 of B: 8 MiB, as RFC 9659 §3 has it for this content coding

Data = bytes | memoryview

BROTLI: Final = "brotli", "brotlicffi"
ZSTD: Final = "compression.zstd", "backports.zstd"


class CodingError(Exception):
    """The data is not what its coding should be. Callers get it as the HTTP library's ``DecodingError``."""


class Coding(Protocol):
    """
    One content coding.

    Attributes:
        is_behind: It can make more of the data that it was given.
        is_whole: The data may end here.
        ahead: Bytes that it may make and keep, beyond what a step gives.
        members: How many members (gzip) or frames (zstd) have begun.
        empties: How many of those that have ended made nothing.
    """

    is_behind: bool
    ahead: int
    members: int
    empties: int

    @property
    def is_whole(self) -> bool: ...

    def step(self, data: Data) -> bytes:
        """
        Make one piece.

        Args:
            data: The next 1 to `SLICE` bytes; nothing, while it `is_behind`.
        Raises:
            CodingError: The data is not what it should be.
        """


class Gzip:
    """RFC 1952: one member or several, then padding of any kind, which it ignores."""

    ahead = 0

    def __init__(self) -> None:
        self.is_behind = False
        self.members = self.empties = 0
        self._is_empty = True  # of the current member
        self._machine = zlib.decompressobj(zlib.MAX_WBITS | 16)
        self._rest = b""  # data not used yet; between two members: a byte that may begin the next
        self._is_padding = False

    @property
    def is_whole(self) -> bool:
        return not self.members or self._machine.eof

    def step(self, data: Data) -> bytes:
        if self._rest:
            data, self._rest = self._rest + data, b""
        self.is_behind = False
        if (not self.members or self._machine.eof) and not self._begin(bytes(memoryview(data)[: len(MEMBER)]), data):
            return b""
        made = _inflate(self._machine, data)
        self._is_empty = self._is_empty and not made
        if self._machine.eof:
            self.empties += self._is_empty
        self._rest = self._machine.unconsumed_tail or self._machine.unused_data
        self.is_behind = bool(self._rest) or (len(made) == PIECE and not self._machine.eof)
        return made

    def _begin(self, head: bytes, data: Data) -> bool:
        """Whether a member begins with *data*. The first one does, whatever it looks like."""
        if self.members:
            if self._is_padding or not MEMBER.startswith(head):
                self._is_padding = True
                return False
            if len(head) < len(MEMBER):
                self._rest = head
                return False
            self._machine = zlib.decompressobj(zlib.MAX_WBITS | 16)
        self.members += 1
        self._is_empty = True
        return True


class Deflate:
    """RFC 1950, or RFC 1951 alone, because some servers leave the frame out. It ignores data after its end."""

    ahead = members = empties = 0

    def __init__(self) -> None:
        self.is_behind = False
        self._machine: Any = None  # until two bytes have come, which tell one from the other
        self._rest = b""

    @property
    def is_whole(self) -> bool:
        return not self._rest if self._machine is None else self._machine.eof

    def step(self, data: Data) -> bytes:
        if self._rest:
            data, self._rest = self._rest + data, b""
        if self._machine is None:
            head = bytes(memoryview(data)[:2])
            if len(head) < 2:
                self._rest = head
                return b""
            self._machine = zlib.decompressobj(zlib.MAX_WBITS if _is_framed(head) else -zlib.MAX_WBITS)
        if self._machine.eof:
            return b""
        made = _inflate(self._machine, data)
        self._rest = self._machine.unconsumed_tail
        self.is_behind = not self._machine.eof and (bool(self._rest) or len(made) == PIECE)
        return made


def _is_framed(head: bytes) -> bool:
    """Whether these are CMF and FLG of RFC 1950 §2.2."""
    return head[0] & 0x0F == 8 and head[0] >> 4 <= 7 and int.from_bytes(head, "big") % 31 == 0


def _inflate(machine: Any, data: Data) -> bytes:
    try:
        made: bytes = machine.decompress(data, PIECE)
    except zlib.error as error:
        raise CodingError(str(error)) from error
    return made


class Brotli:
    """
    RFC 7932, by *package*.

    It fills its window before it gives any of it: up to 16 MiB in a step. ``brotli`` rounds its limit up to 32 KiB.
    """

    members = empties = 0
    limit = 32_000  # B

    def __init__(self, package: Any) -> None:
        self.is_behind = False
        self.ahead = 0
        self._error: type[Exception] = package.error
        self._machine = package.Decompressor()
        self._has_begun = False

    @property
    def is_whole(self) -> bool:
        return not self._has_begun or self._machine.is_finished()

    def step(self, data: Data) -> bytes:
        if not self._has_begun:
            self._has_begun, self.ahead = True, 1 << _window_bits(data[0])
        if self._machine.is_finished():
            raise CodingError("br: more data after its end")
        try:
            made: bytes = self._machine.process(data, output_buffer_limit=self.limit)
        except self._error as error:
            raise CodingError(str(error)) from error
        self.is_behind = not self._machine.is_finished() and (
            len(made) >= self.limit or not self._machine.can_accept_more_data()
        )
        return made


def _window_bits(head: int) -> int:
    """WBITS of RFC 7932 §9.1, in the first byte."""
    if not head & 1:
        return 16
    if bits := head >> 1 & 7:
        return 17 + bits
    return 8 + bits if (bits := head >> 4 & 7) else 17


class Zstd:
    """RFC 8878, by *package*: one frame or several, skippable ones too."""

    ahead = 0

    def __init__(self, package: Any) -> None:
        self.is_behind = False
        self.members = self.empties = 0
        self._is_empty = True  # of the current frame
        self._package = package
        self._machine: Any = None
        self._rest = b""

    @property
    def is_whole(self) -> bool:
        return self._machine is None or self._machine.eof

    def step(self, data: Data) -> bytes:
        if self._machine is None or self._machine.eof:
            self._machine = self._package.ZstdDecompressor(
                options={self._package.DecompressionParameter.window_log_max: MAX_WINDOW}
            )
            self.members += 1
            self._is_empty = True
            data, self._rest = self._rest or data, b""
        try:
            made: bytes = self._machine.decompress(data, PIECE)
        except self._package.ZstdError as error:
            raise CodingError(str(error)) from error
        self._is_empty = self._is_empty and not made
        if self._machine.eof:
            self.empties += self._is_empty
            self._rest = self._machine.unused_data
            self.is_behind = bool(self._rest)
        else:
            self.is_behind = not self._machine.needs_input
        return made


class Unbounded:
    """A coding that the HTTP library would decode, by a package that can't bound its output. We refuse it."""

    is_behind = False
    is_whole = True
    ahead = members = empties = 0

    def __init__(self, name: str) -> None:
        self._name = name

    def step(self, data: Data) -> bytes:
        raise CodingError(
            f"the body is coded with {self._name}, and the installed package for it can't limit what it makes of a few "
            "bytes: install seawall[compression], which can, or leave this coding out of accept-encoding"
        )


def bounded(packages: Sequence[str], name: str) -> Any:
    """
    The first installed one of *packages* whose decompressor can bound its output; None if none can.

    Args:
        name: An attribute of a decompressor that can; brotli and brotlicffi have it since 1.2.
    """
    for package in packages:
        try:
            module = import_module(package)
        except ImportError:
            continue
        for decompressor in ("Decompressor", "ZstdDecompressor"):
            if hasattr(getattr(module, decompressor, None), name):
                return module
    return None


def known() -> dict[str, Callable[[], Coding]]:
    """Makers of a `Coding`, by its name in Content-Encoding."""
    codings: dict[str, Callable[[], Coding]] = {"gzip": Gzip, "x-gzip": Gzip, "deflate": Deflate}
    if (brotli := bounded(BROTLI, "can_accept_more_data")) is not None:
        codings["br"] = partial(Brotli, brotli)
    if (zstd := bounded(ZSTD, "needs_input")) is not None:
        codings["zstd"] = partial(Zstd, zstd)
    return codings


KNOWN: Final = known()
ACCEPTED: Final = ", ".join(name for name in ("gzip", "deflate", "br", "zstd") if name in KNOWN)
"""Accept-Encoding: the codings that a body may have."""


def coding(name: str, others: Container[str] = ()) -> Coding | None:
    """
    A new one; None: nobody knows it, or it changes nothing.

    Args:
        others: Codings that the HTTP library would decode without us.
    """
    if (make := KNOWN.get(name)) is not None:
        return make()
    return Unbounded(name) if name in ("br", "zstd") and name in others else None
