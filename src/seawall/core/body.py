"""
Request bodies that are not in memory, and whether they can be sent again.

Rules: a body is sent from its very beginning or not at all, whichever attempt, hop or call began it before. There is a
way back in what `replayable` made, in a file, and in a multipart form. Anything else may give less the second time, so
it isn't sent again for a retry; where a redirect or an authentication asks for it, as long a body as the first time has
to come. Nothing of the caller's is written to: what is known of a body is kept beside it.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import weakref
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Sequence
from typing import Any, Final

from ..errors import BodySpent
from ..wire.body import Source
from .attempt import AttemptState

__all__ = ["RequestBody", "replayable"]

HINT: Final = "give a function that begins it anew: content=seawall.replayable(function)"

Parts = AsyncIterable[bytes] | Iterable[bytes]


class _Replayable:
    """What `replayable` returns."""

    def __init__(self, factory: Callable[[], Parts]) -> None:
        self._factory = factory
        self._last: Parts | None = None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        parts = self._factory()
        if parts is self._last and isinstance(parts, Iterator | AsyncIterator):
            raise TypeError(f"replayable: the function must return a new iterator each time, not {parts!r} again")
        self._last = parts
        if isinstance(parts, AsyncIterable):
            async with _closing(aiter(parts)) as parts_once:
                async for part in parts_once:
                    yield part
        else:
            for part in parts:
                yield part


def replayable(factory: Callable[[], Parts]) -> AsyncIterable[bytes]:
    """
    A request body that can be sent again: *factory* is called for each attempt.

    ``client.put(url, content=seawall.replayable(lambda: read_parts(path)))``

    Args:
        factory: Returns a new iterator over the body's parts, sync or async, that begins at its beginning.
    Raises:
        TypeError: *factory* can't be called: an iterator itself is gone once it was read.
    """
    if not callable(factory):
        raise TypeError(f"replayable takes a function that returns the parts anew, not {factory!r}")
    return _Replayable(factory)


@contextlib.asynccontextmanager
async def _closing(parts: AsyncIterator[bytes]) -> AsyncIterator[AsyncIterator[bytes]]:
    """Close it now, if it can be closed, and not when the collector comes."""
    try:
        yield parts
    finally:
        if (close := getattr(parts, "aclose", None)) is not None:
            await close()


class _Past:
    """What is known of a body that was read before. Of a source, only whether it was begun, and whose turn it is."""

    __slots__ = ("begins_at", "is_begun", "length", "reading", "turn")

    def __init__(self) -> None:
        self.is_begun = False
        self.begins_at: Any = None  # where a file was when it was first read
        self.length: int | None = None  # of a reading that came to its end
        self.turn: _Turn | None = None  # the reading that a file is in
        self.reading: _Turn | None = None  # the last one


class _Turn:
    """
    One reading of a body.

    Attributes:
        rests: It doesn't wait for the source, neither for a part nor for its end.
    """

    def __init__(self) -> None:
        self.rests = asyncio.Event()


_PASTS: dict[int, _Past] = {}


def _past_of(thing: Any) -> _Past:
    """By identity, because streams may be equal or without a hash, and for as long as *thing* lives."""
    past = _PASTS.get(id(thing))
    if past is None:
        weakref.finalize(thing, _PASTS.pop, id(thing)).atexit = False
        past = _PASTS[id(thing)] = _Past()
    return past


class _Given:
    """A body's parts as the caller gives them; *attempt* is told of each, and how long it waits for them."""

    __slots__ = ("_attempt", "_parts")

    def __init__(self, parts: AsyncIterator[bytes], attempt: AttemptState) -> None:
        self._parts = parts
        self._attempt = attempt

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        self._attempt.asks()
        try:
            part = await anext(self._parts)
        finally:
            self._attempt.got()
        self._attempt.sent()
        return part

    async def aclose(self) -> None:
        if (close := getattr(self._parts, "aclose", None)) is not None:
            await close()


class RequestBody:
    """
    What one hop sends of a body that isn't in memory: each reading begins at the body's beginning, or fails.

    Args:
        stream: The body, as the HTTP library has it.
        source: What the caller gave, from which *stream* is read.
        files: What the fields of a multipart form are read from; None where *stream* isn't a form.
    """

    def __init__(self, stream: Source, source: Any, files: Sequence[Any] | None) -> None:
        # The one that reads it next; weakly, because the attempt holds its request, and that holds this body.
        self._attempt: weakref.ref[AttemptState] | None = None
        self._stream = stream
        self._source = source
        self._files = files
        self._is_file = all(hasattr(self._source, name) for name in ("seek", "tell"))
        self._past = _past_of(stream)
        # A user's own class may have slots, and so no weak references.
        self._source_past = _past_of(self._source) if type(self._source).__weakrefoffset__ else self._past

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self.check()
        past = self._past
        while (before := past.reading) is not None and not before.rests.is_set():
            await before.rests.wait()  # it was stopped, and its source still cleans up: nobody else waits for that
        length = None if self.is_replayable() else past.length
        turn = past.reading = self._take_turn() if self._is_file else _Turn()
        try:
            if not past.is_begun:
                past.begins_at = await _position(self._source) if self._is_file else None
            elif past.begins_at is not None:
                await _result(self._source.seek(past.begins_at))
            past.is_begun = self._source_past.is_begun = True
            size = 0
            # Not by way of the library, which would leave it open: the next attempt must not read it beside this one.
            stream = self._source if isinstance(self._source, _Replayable) else self._stream
            async with _closing(self._timed(aiter(stream))) as parts:
                async for part in parts:
                    turn.rests.set()
                    size += len(part)
                    try:
                        yield part
                    finally:
                        turn.rests.clear()
                    if self._is_file and self._source_past.turn is not turn:
                        raise BodySpent("the file that is its body was begun anew by another request")
            if length is not None and size != length:
                raise BodySpent(f"its body gave {length} bytes at first, but {size} when it was read again; {HINT}")
            past.length = size
        finally:
            turn.rests.set()
            if self._source_past.turn is turn:
                self._source_past.turn = None

    async def aclose(self) -> None:
        await self._stream.aclose()

    def begin(self, attempt: AttemptState) -> None:
        """
        For a new attempt, which is told of each part that is taken, and of the waits for them.

        Raises:
            BodySpent: It can't be sent as it was given.
        """
        self.check()
        self._attempt = weakref.ref(attempt)

    def _timed(self, parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        attempt = None if self._attempt is None else self._attempt()
        return parts if attempt is None else _Given(parts, attempt)

    def check(self) -> None:
        """
        Raises:
            BodySpent: It can't be sent as it was given.
        """
        if not self.is_replayable() and (self._past.length is None or self._is_once):
            raise BodySpent(f"its body was begun before, and can't be sent from its beginning; {HINT}")

    def is_replayable(self) -> bool:
        """Whether it can be sent from its beginning: it was not begun, or one can go back there."""
        source, past = self._source, self._past
        if isinstance(source, _Replayable) or past.begins_at is not None:
            return True
        if not past.is_begun and not (self._is_once and _is_spent(source, self._source_past)):
            return True
        if isinstance(source, RequestBody):  # of a client above this one
            return source.is_replayable()
        return self._files is not None and all(map(_is_seekable, self._files))  # the library goes back in these

    @property
    def _is_once(self) -> bool:
        """Whether it is known to give its parts once only: an iterator, or a form with a file that has no way back."""
        return (hasattr(self._source, "__anext__") and not self._is_file) or self._files is not None

    def _take_turn(self) -> _Turn:
        """The file is this reading's from now on; an earlier one that was left unfinished may not go on."""
        past = self._source_past
        if past.turn is not None and not past.turn.rests.is_set():
            raise BodySpent("the file that is its body is being read for another request")
        past.turn = turn = _Turn()
        return turn


def _is_spent(iterator: Any, past: _Past) -> bool:
    """Whether some request has begun it, or its owner has read a generator to its end."""
    return past.is_begun or (inspect.isasyncgen(iterator) and iterator.ag_frame is None)


async def _position(source: Any) -> Any:
    """Where a file is, sync or async; None: it can't be sought."""
    try:
        seekable = getattr(source, "seekable", None)
        if seekable is not None and not await _result(seekable()):
            return None
        return await _result(source.tell())
    except OSError:  # io.UnsupportedOperation is one
        return None


def _is_seekable(file: Any) -> bool:
    """Of a field of a form: bytes always are."""
    if isinstance(file, str | bytes):
        return True
    try:
        return bool(file.seekable())
    except (AttributeError, OSError, ValueError):  # ValueError: it was closed
        return False


async def _result(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value
