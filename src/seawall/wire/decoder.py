"""
Compressed bodies: bounded, whole, and never for long at a time.

Rules: a body that ends before its compressed data does is broken, whatever its length said, unless the request asked
only for a part of it. A body that grows beyond a limit, or out of all proportion, is refused as it grows; so are the
bytes that its codings make for each other, and the number of their members. The event loop has its turn after some ms
of work at most, even where the work makes nothing. None of this depends on how the bytes arrive.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Container, Iterable, Sequence
from typing import Final, NoReturn, Protocol

from .coding import SLICE, Coding, CodingError, coding

__all__ = ["Decoded", "Decoder", "Paced", "codings"]

MAX_CODINGS: Final = 5  # one upon another, as in httpx2; two are odd enough
MAX_RATIO: Final = 200  # bombs have 1,000 and more; logs and JSON seldom 50
FREE: Final = 16 * 2**20  # B that a body may become, however small it is
FREE_BETWEEN: Final = 4 * 2**20  # B that codings may make for each other: compressed data is small, and hardly grows
FREE_MEMBERS: Final = 1024  # and as many that make nothing
MEMBER: Final = 8  # B, the least that one takes: a skippable frame of zstd
MAX_AHEAD: Final = 24 * 2**20  # B of windows, of all codings together: one of br's largest, and one of 8 MiB

TURN: Final = 16 * 1024  # of the units below: work before the loop has its turn, 1 ms as a rule, 20 at worst
MADE_PER_UNIT: Final = 4  # B
STEP: Final = 64  # units that a step costs, whatever it takes and makes


def codings(names: Iterable[str], others: Container[str] = ()) -> list[Coding]:
    """
    The codings of a body that we know, in the order in which they were applied; as in httpx, the rest is passed over.

    Args:
        names: As Content-Encoding has them.
        others: Codings that the HTTP library would decode without us.
    """
    return [each for name in names if (each := coding(name.strip().lower(), others)) is not None]


class _Layer:
    """A coding, and the data that it has still to take."""

    __slots__ = ("_parts", "coding", "taken")

    def __init__(self, coding: Coding) -> None:
        self.coding = coding
        self.taken = 0
        self._parts: deque[memoryview] = deque()

    @property
    def is_behind(self) -> bool:
        return bool(self._parts) or self.coding.is_behind

    def add(self, data: bytes) -> None:
        if len(data):  # `MORE` is true
            self._parts.append(memoryview(data))

    def step(self) -> bytes:
        return self.coding.step(b"" if self.coding.is_behind else self._take())

    def _take(self) -> memoryview:
        """The next bytes, up to a multiple of `SLICE`, so that limits are always checked in the same places."""
        part = self._parts[0]
        size = SLICE - self.taken % SLICE
        if len(part) <= size:
            self._parts.popleft()
        else:
            part, self._parts[0] = part[:size], part[size:]
        self.taken += len(part)
        return part


class Decoder:
    """
    All codings of a body, undone.

    A call of `decode` does a turn's work; `Paced` has it called until all is done.

    Args:
        codings: In the order in which they were applied.
        where: The origin, for messages.
        max_size: Bytes of the decoded body; None disables it.
        is_part: The body may end anywhere, because it answers a request for a range (206).
        refuse: Raises, with the reason.
    Attributes:
        worked: Units of work since it was last set to 0.
    """

    def __init__(
        self,
        codings: Sequence[Coding],
        *,
        where: str,
        max_size: int | None,
        is_part: bool,
        refuse: Callable[[str], NoReturn],
    ) -> None:
        if len(codings) > MAX_CODINGS:
            refuse(f"its body has {len(codings)} codings, one upon another; {MAX_CODINGS} are the most that are undone")
        self.worked = 0
        self._where = where
        self._layers = [_Layer(each) for each in reversed(codings)]
        self._max_size = max_size
        self._is_part = is_part
        self._refuse = refuse
        self._between = 0  # B that codings made for each other
        self._given = 0

    @property
    def is_behind(self) -> bool:
        """Whether something is still to be done for what has come."""
        return any(layer.is_behind for layer in self._layers)

    def decode(self, data: bytes) -> bytes:
        """
        Take *data*, and go on for a turn.

        Raises:
            CodingError: The data is not what its coding should be.
            ResponseTooLarge: The body becomes too large, by *refuse*.
        """
        self._layers[0].add(data)
        made, worked = [], self.worked
        while self.worked - worked < TURN and (piece := self._step()) is not None:
            made.append(piece)
        return b"".join(made)

    def flush(self) -> bytes:
        """
        The rest, at the body's end; nothing, if `decode` was called often enough.

        Raises:
            CodingError: The body is not whole.
        """
        made = []
        while (piece := self._step()) is not None:
            made.append(piece)
        if not self._is_part and not all(layer.coding.is_whole for layer in self._layers):
            raise CodingError(f"{self._where}: the body ends before its compressed data does")
        return b"".join(made)

    async def whole(self, data: bytes, made: Callable[[int], None]) -> bytes:
        """
        A whole body, decoded, with turns of the loop between.

        Args:
            made: Called each turn with the number of bytes that it made.
        """
        pieces = [self.decode(data)]
        while self.is_behind:
            made(len(pieces[-1]))
            await asyncio.sleep(0)
            pieces.append(self.decode(b""))
        pieces.append(self.flush())
        return b"".join(pieces)

    def _step(self) -> bytes | None:
        """One step of the last coding that has work, so that little is held between two; None if all are done."""
        for number in range(len(self._layers) - 1, -1, -1):
            layer = self._layers[number]
            if layer.is_behind:
                before = layer.taken
                try:
                    piece = layer.step()
                except CodingError as error:  # the same one, because a new one's context would hold frames
                    error.args = (f"{self._where}: the body can't be decoded: {error}",)
                    raise
                made = len(piece) + (layer.coding.ahead if layer.coding.is_behind else 0)
                self.worked += STEP + layer.taken - before + made // MADE_PER_UNIT
                is_last = number == len(self._layers) - 1
                self._count(len(piece), is_last)
                if is_last:
                    return piece
                self._layers[number + 1].add(piece)
                return b""
        return None

    def _count(self, size: int, is_given: bool) -> None:
        if is_given:
            self._given += size
            if self._max_size is not None and self._given > self._max_size:
                self._refuse(f"its body is more than max_response_size={self._max_size} bytes, decoded")
        else:
            self._between += size
        taken = self._layers[0].taken
        seen = -(-taken // SLICE) * SLICE
        if self._given > max(FREE, seen * MAX_RATIO):
            self._refuse(f"{taken} bytes of its body became {self._given}: a bomb")
        if self._between > max(FREE_BETWEEN, seen * MAX_RATIO):
            self._refuse(f"{taken} bytes of its body became {self._between} between its codings: a bomb")
        members = empties = ahead = 0
        for layer in self._layers:
            members += layer.coding.members
            empties += layer.coding.empties
            ahead += layer.coding.ahead
        if members > FREE_MEMBERS + seen // MEMBER:
            self._refuse(f"{taken} bytes of its body became {members} members: a bomb")
        if empties > FREE_MEMBERS:
            self._refuse(f"{empties} members of its body hold nothing: a bomb")
        if ahead > MAX_AHEAD:
            self._refuse(f"the windows of its codings are {ahead} bytes, more than {MAX_AHEAD}")


class Decoded:
    """
    A body that was decoded before the HTTP library asks for it.

    Args:
        content: The decoded body.
        error: Raised in its place.
    """

    def __init__(self, content: bytes = b"", error: CodingError | None = None) -> None:
        self.content = content
        self.error = error

    def decode(self, data: bytes) -> bytes:
        """All of it, at the first call."""
        error, self.error = self.error, None
        if error is not None:
            try:
                raise error
            finally:
                del error  # it holds this frame
        content, self.content = self.content, b""
        return content

    def flush(self) -> bytes:
        return self.decode(b"")


class _More(bytes):
    """No bytes, yet true, because httpx hands only true data on to a decoder, and counts its length."""

    def __bool__(self) -> bool:
        return True


MORE: Final = _More()


class Stream(Protocol):
    """A body as it comes in."""

    def __aiter__(self) -> AsyncIterator[bytes]: ...

    async def aclose(self) -> None: ...


class Paced:
    """
    A body as it comes in, and turns of the loop for as long as *decoder* has work.

    Where nobody decodes (``aiter_raw``), it is the body and nothing else.
    """

    def __init__(self, stream: Stream, decoder: Decoder) -> None:
        self._stream = stream
        self._decoder = decoder

    async def __aiter__(self) -> AsyncIterator[bytes]:
        decoder = self._decoder
        async for part in self._stream:
            yield part
            while decoder.worked >= TURN:
                await asyncio.sleep(0)
                decoder.worked = 0
                if decoder.is_behind:
                    yield MORE

    async def aclose(self) -> None:
        await self._stream.aclose()
