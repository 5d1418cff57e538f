# Written by scripts/twin.py from ../_httpx/decoder.py: change that file, and run the script.
"""
Compressed bodies, as httpx2 has them.

Rules: httpx2 decodes nothing without bound. It is given a decoder of ours, which it asks for all that is read; a release
that asks none gets a response whose class does, because its own decoders have no bound.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import Any, Final, NoReturn

import httpx2

from ..errors import ResponseTooLarge
from ..origin import Origin
from ..wire import decoder
from ..wire.coding import Coding, CodingError
from .compat import is_read, request_of
from .errors import as_httpx
from .private import HANDED, Part, is_asked

__all__ = ["DECODED", "Paced", "codings", "decoder_of", "made_for", "set_decoder"]


def _is_decoded(coding: str, body: bytes) -> bool:
    """Whether httpx2 makes anything else of *body* than it is; if it fails, it tried."""
    response = httpx2.Response(200, headers={"content-encoding": coding}, stream=httpx2.ByteStream(body))
    try:
        return response.read() != body
    except Exception:  # noqa: BLE001 - whatever its package says
        return True


CODED: Final = {"br": b"\x0b\x00\x80a\x03", "zstd": b"(\xb5/\xfd \x01\x09\x00\x00a"}
"""The letter a, in the codings that not every installation can decode."""

DECODED: Final = frozenset(coding for coding, body in CODED.items() if _is_decoded(coding, body))
"""Those that httpx2 decodes, because a package for them is installed; tried out, as a client may ask for others."""


class Paced(decoder.Paced, httpx2.AsyncByteStream):
    """A paced body, as httpx2 wants a stream."""


def codings(headers: httpx2.Headers) -> list[Coding]:
    """Those of a body that we know, and those that only httpx2 would decode, which are refused."""
    return decoder.codings(headers.get_list("content-encoding", split_commas=True), DECODED)


def made_for(
    response: httpx2.Response, request: httpx2.Request, origin: Origin, max_size: int | None
) -> decoder.Decoder | None:
    """
    The decoder of a compressed body, else None.

    Args:
        max_size: Largest decoded body, in bytes; None sets no limit.
    """
    applied = codings(response.headers)
    if not applied:
        return None

    def refuse(why: str) -> NoReturn:
        raise as_httpx(ResponseTooLarge(f"{origin}: {why}", origin=origin), request)

    is_part = response.status_code == httpx2.codes.PARTIAL_CONTENT
    return decoder.Decoder(applied, where=str(origin), max_size=max_size, is_part=is_part, refuse=refuse)


class Theirs:
    """
    A decoder as httpx2 wants one: its errors are httpx2's.

    Args:
        ours: It has ``decode(data)`` and ``flush()``.
        handed: What httpx2 wants of a decoder, made of bytes.
    """

    __slots__ = ("_handed", "ours")

    def __init__(self, ours: Any, handed: Callable[[bytes], Any]) -> None:
        self.ours = ours
        self._handed = handed

    def decode(self, data: bytes) -> Any:
        return self._made(self.ours.decode, data)

    def flush(self) -> Any:
        return self._made(self.ours.flush)

    def _made(self, make: Callable[..., bytes], *data: bytes) -> Any:
        try:
            made = make(*data)
        except CodingError as error:
            raise httpx2.DecodingError(str(error)) from error
        return self._handed(made)


class _Pieces:
    """
    Cuts bytes into pieces.

    Args:
        size: Of each but the last, in bytes; None leaves them as they come.
    """

    def __init__(self, size: int | None) -> None:
        self._size = size
        self._rest = b""

    def of(self, made: bytes, *, is_end: bool = False) -> Iterator[bytes]:
        data = self._rest + made
        size = self._size or max(1, len(data))
        end = len(data) if is_end else len(data) - len(data) % size
        for at in range(0, end, size):
            yield data[at : at + size]
        self._rest = data[end:]


class Decoding(httpx2.Response):
    """A response that asks our decoder by itself, for a release of httpx2 that doesn't."""

    ours: Theirs

    async def aiter_bytes(self, chunk_size: int | None = None) -> AsyncGenerator[bytes, None]:
        """As in httpx2."""
        if is_read(self):
            for piece in super().iter_bytes(chunk_size):
                yield piece
            return
        pieces = _Pieces(chunk_size)
        async for raw in self.aiter_raw():
            for piece in pieces.of(self._asked(self.ours.decode, raw)):
                yield piece
        for piece in pieces.of(self._asked(self.ours.flush), is_end=True):
            yield piece

    def iter_bytes(self, chunk_size: int | None = None) -> Iterator[bytes]:
        """As in httpx2."""
        if is_read(self):
            yield from super().iter_bytes(chunk_size)
            return
        pieces = _Pieces(chunk_size)
        for raw in self.iter_raw():
            yield from pieces.of(self._asked(self.ours.decode, raw))
        yield from pieces.of(self._asked(self.ours.flush), is_end=True)

    def _asked(self, ask: Callable[..., bytes], *data: bytes) -> bytes:
        try:
            return ask(*data)
        except httpx2.DecodingError as error:
            if (request := request_of(self)) is not None:
                error.request = request
            raise

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in super().__getstate__().items() if name != "ours"}


KEPT: Final = "ours" if HANDED is None else "_decoder"


def set_decoder(response: httpx2.Response, decoder: Any) -> None:
    """Have its body decoded by *decoder*, which has ``decode(data)`` and ``flush()``."""
    vars(response)[KEPT] = Theirs(decoder, HANDED or bytes)
    if HANDED is None:
        kind: Any = type(response)
        response.__class__ = _decoding(kind)


def decoder_of(response: httpx2.Response) -> Any:
    """The decoder that `set_decoder` set; None: httpx2 will look for one."""
    return getattr(vars(response).get(KEPT), "ours", None)


@functools.cache
def _decoding(kind: type[httpx2.Response]) -> type[httpx2.Response]:
    """*kind*, which decodes by itself."""
    if issubclass(kind, Decoding):
        return kind
    return Decoding if kind is httpx2.Response else type(kind.__name__, (Decoding, kind), {})


if HANDED is None and not is_asked(lambda response: set_decoder(response, Part())):
    raise ImportError(
        f"{httpx2.__name__} {httpx2.__version__} decodes compressed bodies in a way that seawall can't bound; "
        "install a release that seawall's requirements allow, or a newer seawall"
    )
