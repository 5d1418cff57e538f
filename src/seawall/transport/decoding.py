"""
Compressed bodies: bounded, whole, and never for long at a time.

Rules: a body that ends before its compressed data does is broken, whatever its length said. What grows beyond a limit,
or out of all proportion, is refused as it grows. A slice of what came takes milliseconds to decode; between two the
event loop has its turn.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Final, NoReturn, Protocol

import httpx

from ..errors import ResponseTooLarge
from .adopt import as_httpx

__all__ = ["Decoder", "SlicedBytes", "decoder_for", "sliced"]

SLICE: Final = 4 * 1024  # B; at deflate's utmost, 1032:1, that becomes 4 MB, which take some 10 ms
PIECE: Final = 2**20  # B that a coding may make at a time, for the next one or for a limit to look at
MEMBER: Final = b"\x1f\x8b"  # how one of gzip's begins
MAX_RATIO: Final = 200  # zip bombs have 1000; logs and JSON seldom 50
FREE: Final = 16 * 2**20  # B that may come of however little
MAX_CODINGS: Final = 5  # one upon another, as in httpx2; two are odd enough


class Coding(Protocol):
    """One content coding. Raises httpx.DecodingError."""

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """What becomes of *data*, in pieces that are not large."""

    def flush(self) -> bytes:
        """The rest, at the end."""


class _Zlib:
    """gzip (RFC 1952), in several members too, or deflate, with zlib's frame or without."""

    def __init__(self, name: str) -> None:
        self._is_gzip = name == "gzip"
        self._machine = zlib.decompressobj(zlib.MAX_WBITS | (16 if self._is_gzip else 0))
        self._has_begun = self._is_padding = False
        self._held = b""  # between two members: a byte that may begin the next

    def pieces(self, data: bytes) -> Iterator[bytes]:
        try:
            while data:
                if self._machine.eof and not self._is_next(data):
                    return
                data, self._held = self._held + data, b""
                yield self._piece(data)
                data = self._machine.unconsumed_tail or self._machine.unused_data
        except zlib.error as error:
            raise httpx.DecodingError(str(error)) from error

    def _is_next(self, data: bytes) -> bool:
        """Whether another member begins after one that has ended; all else is padding, to the end."""
        begin = self._held + data[:2]
        if self._is_padding or not self._is_gzip or not MEMBER.startswith(begin[:2]):
            self._is_padding = True
        elif len(begin) < len(MEMBER):
            self._held = begin
        else:
            self._machine = zlib.decompressobj(zlib.MAX_WBITS | 16)
            return True
        return False

    def _piece(self, data: bytes) -> bytes:
        is_first, self._has_begun = not self._has_begun, True
        try:
            return self._machine.decompress(data, PIECE)
        except zlib.error:
            if self._is_gzip or not is_first:
                raise
            self._machine = zlib.decompressobj(-zlib.MAX_WBITS)  # some leave the frame out
            return self._machine.decompress(data, PIECE)

    def flush(self) -> bytes:
        rest = b""
        if self._has_begun and not self._machine.eof:
            rest = self._machine.flush()
            if not self._machine.eof:
                raise httpx.DecodingError("the body ends before its compressed data does")
        return rest


class _Theirs:
    """One of httpx's: br and zstd, which know no bound for what a slice becomes."""

    def __init__(self, decoder: Any) -> None:
        self._decoder = decoder
        self.flush: Callable[[], bytes] = decoder.flush

    def pieces(self, data: bytes) -> Iterator[bytes]:
        yield self._decoder.decode(data)


class Decoder:
    """
    What httpx asks of a response's decoder, for all its codings.

    Args:
        codings: In the order in which they were applied.
        max_size: B of the decoded body; None: any number.
        refuse: Raises, with the reason.
    """

    def __init__(self, codings: list[Coding], max_size: int | None, refuse: Callable[[str], NoReturn]) -> None:
        self._codings = codings[::-1]
        self._max_size = max_size
        self._refuse = refuse
        self._taken = self._given = 0

    def decode(self, data: bytes) -> bytes:
        self._taken += len(data)
        return b"".join(self._through(data, 0))

    def flush(self) -> bytes:
        return b"".join(
            piece for number, coding in enumerate(self._codings, 1) for piece in self._through(coding.flush(), number)
        )

    def _through(self, data: bytes, number: int) -> Iterator[bytes]:
        """What becomes of *data* in the coding of that *number* and all after it; looked at as it grows."""
        if number == len(self._codings):
            self._count(data)
            yield data
            return
        for piece in self._codings[number].pieces(data):
            yield from self._through(piece, number + 1)

    def _count(self, data: bytes) -> None:
        self._given += len(data)
        if self._max_size is not None and self._given > self._max_size:
            self._refuse(f"its body is more than max_response_size={self._max_size} bytes, decoded")
        if self._given > FREE and self._given > self._taken * MAX_RATIO:
            self._refuse(f"{self._taken} bytes of its body became {self._given}: a bomb")


def decoder_for(headers: httpx.Headers, max_size: int | None, request: httpx.Request) -> Decoder | None:
    """
    The decoder of a response; None: its body is as it is.

    Raises:
        ResponseTooLarge: More codings than anybody needs.
    """

    def refuse(why: str) -> NoReturn:
        raise as_httpx(ResponseTooLarge(f"{request.url.host}: {why}"), request)

    names = [name.strip().lower() for name in headers.get_list("content-encoding", split_commas=True)]
    codings = [coding for coding in map(_coding, names) if coding is not None]
    if len(codings) > MAX_CODINGS:
        refuse(f"its body has {len(codings)} codings, one upon another")
    return Decoder(codings, max_size, refuse) if codings else None


def _coding(name: str) -> Coding | None:
    """None: nobody knows it, or it changes nothing; as in httpx the body is then left as it is."""
    if name in ("gzip", "x-gzip", "deflate"):
        return _Zlib("deflate" if name == "deflate" else "gzip")
    theirs: dict[str, Any] = httpx._decoders.SUPPORTED_DECODERS  # br and zstd, where their packages are
    return _Theirs(theirs[name]()) if name in theirs and name != "identity" else None


async def sliced(parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """*parts* in slices that are quickly decoded, with a turn for others between two."""
    async for part in parts:
        for begin in range(0, len(part), SLICE):
            if begin:
                await asyncio.sleep(0)
            yield part[begin : begin + SLICE]


class SlicedBytes(httpx.ByteStream):
    """The same of a body that is there."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in sliced(super().__aiter__()):
            yield part
