"""
Request bodies that are not in memory, and whether they can be sent again.

Rules: a body is sent from its very beginning or not at all, whichever attempt, hop or call began it before. A body
that `replayable` made, a file and a multipart form can begin again. Any other may give less the second time, so a retry
doesn't send it again; if a redirect or an authentication does, the body must be as long as the first time. Nothing of
the caller's is written to: what is known of a body is kept beside it.
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
    """The body that `replayable` returns."""

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
        factory: Returns a new iterator over the body's parts, sync or async, from the beginning.
    Raises:
        TypeError: *factory* isn't a function; an iterator won't do, because it can be read only once.
    """
    if not callable(factory):
        raise TypeError(f"replayable takes a function that returns the parts anew, not {factory!r}")
    return _Replayable(factory)


@contextlib.asynccontextmanager
async def _closing(parts: AsyncIterator[bytes]) -> AsyncIterator[AsyncIterator[bytes]]:
    """Close *parts* now, if they can be closed, and not when the garbage collector comes."""
    try:
        yield parts
    finally:
        if (close := getattr(parts, "aclose", None)) is not None:
            await close()


class _Past:
    """The past readings of a body. For a source, only whether it was begun, and whose turn it is."""

    __slots__ = ("begins_at", "is_begun", "length", "reading", "turn")

    def __init__(self) -> None:
        self.is_begun = False
        self.begins_at: Any = None  # where a file was when it was first read
        self.length: int | None = None  # known after a reading that came to its end
        self.turn: _Turn | None = None  # the reading that a file is in
        self.reading: _Turn | None = None  # the last one


class _Turn:
    """
    One reading of a body.

    Attributes:
        rests: Set while it doesn't wait for the source, neither for a part nor for its end.
    """

    def __init__(self) -> None:
        self.rests = asyncio.Event()


_PASTS: dict[int, _Past] = {}


def _past_of(thing: Any) -> _Past:
    """Kept by identity, because streams may be equal or have no hash, and for as long as *thing* lives."""
    past = _PASTS.get(id(thing))
    if past is None:
        weakref.finalize(thing, _PASTS.pop, id(thing)).atexit = False
        past = _PASTS[id(thing)] = _Past()
    return past


class _Given:
    """A body's parts as the caller gives them; *attempt* is told of each, and of the waits for them."""

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
        except StopAsyncIteration:
            raise
        except Exception as error:
            self._attempt.source_failed(error)
            raise
        finally:
            self._attempt.got()
        self._attempt.sent()
        return part

    async def aclose(self) -> None:
        if (close := getattr(self._parts, "aclose", None)) is not None:
            await close()


class RequestBody:
    """
    One hop's view of a body that isn't in memory: each reading begins at the body's beginning, or fails.

    Args:
        stream: The body, as the HTTP library has it.
        source: The object that the caller gave and that *stream* reads.
        files: The objects that the fields of a multipart form are read from; None if *stream* isn't a form.
    """

    def __init__(self, stream: Source, source: Any, files: Sequence[Any] | None) -> None:
        # The attempt that reads it next. Weak, because an attempt holds its request, and that holds this body.
        self._attempt: weakref.ref[AttemptState] | None = None
        self._stream = stream
        self._source = source
        self._files = files
        self._is_file = all(hasattr(self._source, name) for name in ("seek", "tell"))
        self._past = _past_of(stream)
        # A user's own class may have slots, and then takes no weak references.
        self._source_past = _past_of(self._source) if type(self._source).__weakrefoffset__ else self._past

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self.check()
        past = self._past
        while (before := past.reading) is not None and not before.rests.is_set():
            await before.rests.wait()  # it was stopped, and its source still cleans up, which nobody else waits for
        length = None if self.is_replayable() else past.length
        turn = past.reading = self._take_turn() if self._is_file else _Turn()
        try:
            if not past.is_begun:
                past.begins_at = await _position(self._source) if self._is_file else None
            elif past.begins_at is not None:
                await _result(self._source.seek(past.begins_at))
            past.is_begun = self._source_past.is_begun = True
            size = 0
            # Not through the library, which would leave it open, because the next attempt must not read it beside this.
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
        Begin a new attempt, which is told of each part that is taken, and of the waits for them.

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
        """Whether it can be sent from its beginning, because it was not begun or can go back there."""
        source, past = self._source, self._past
        if isinstance(source, _Replayable) or past.begins_at is not None:
            return True
        if not past.is_begun and not (self._is_once and _is_spent(source, self._source_past)):
            return True
        if isinstance(source, RequestBody):  # it belongs to a client above this one
            return source.is_replayable()
        return self._files is not None and all(map(_is_seekable, self._files))  # the library goes back in these

    @property
    def _is_once(self) -> bool:
        """Whether it gives its parts only once: an iterator, or a form with a file that can't go back."""
        return (hasattr(self._source, "__anext__") and not self._is_file) or self._files is not None

    def _take_turn(self) -> _Turn:
        """Give the file to this reading; an earlier one that was left unfinished can't go on."""
        past = self._source_past
        if past.turn is not None and not past.turn.rests.is_set():
            raise BodySpent("the file that is its body is being read for another request")
        past.turn = turn = _Turn()
        return turn


def _is_spent(iterator: Any, past: _Past) -> bool:
    """Whether a request has begun it, or its owner has read a generator to its end."""
    return past.is_begun or (inspect.isasyncgen(iterator) and iterator.ag_frame is None)


async def _position(source: Any) -> Any:
    """The position of a file, sync or async; None if it can't be sought."""
    try:
        seekable = getattr(source, "seekable", None)
        if seekable is not None and not await _result(seekable()):
            return None
        return await _result(source.tell())
    except OSError:  # io.UnsupportedOperation is one
        return None


def _is_seekable(file: Any) -> bool:
    """Whether a form's field can be read again; bytes always can."""
    if isinstance(file, str | bytes):
        return True
    try:
        return bool(file.seekable())
    except (AttributeError, OSError, ValueError):  # ValueError: it was closed
        return False


async def _result(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value
