"""What holds for every SDK over a client of ours; the test class of an SDK says how it is made, asked and answered."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Any, ClassVar

import pytest

from seawall.errors import SeawallError
from seawall.events import RetryScheduled
from seawall.testing import FixedRandom

from .answers import BUSY, Answer, cut, events, wait
from .conftest import Serve

__all__ = ["Answers", "Streams", "collect"]


class Answers:
    """
    An SDK that sends a request and returns its answer.

    Attributes:
        answer: Answers `ask` with ``hello``.
        refused: What the SDK says of a 503, a regular expression.
    """

    answer: ClassVar[Answer]
    refused: ClassVar[str] = r"503|busy"

    def sdk(self, url: str, **settings: Any) -> AbstractAsyncContextManager[Any]:
        """The SDK, as a user makes it for the API at *url*, over a client of ours with *settings*."""
        raise NotImplementedError

    async def ask(self, sdk: Any) -> Any:
        """The text of an answer."""
        raise NotImplementedError

    @pytest.mark.anyio
    async def test_is_answered(self, serve: Serve) -> None:
        """One request, and its answer."""
        server = await serve(type(self).answer)
        async with self.sdk(server.url) as sdk:
            assert await self.ask(sdk) == "hello"
        assert len(server.requests) == 1

    @pytest.mark.anyio
    async def test_outlives_two_failures(self, serve: Serve) -> None:
        """503, 503, 200 are one call and three requests: ours, because the SDK's own retries are off."""
        server = await serve(BUSY, BUSY, type(self).answer)
        async with self.sdk(server.url, rng=FixedRandom(0.0)) as sdk:
            assert await self.ask(sdk) == "hello"
        assert len(server.requests) == 3
        assert len({request.body for request in server.requests}) == 1

    @pytest.mark.anyio
    async def test_gives_up(self, serve: Serve) -> None:
        """An API that is always busy gets three requests for one call, and no more."""
        server = await serve(BUSY)
        async with self.sdk(server.url, rng=FixedRandom(0.0)) as sdk:
            with pytest.raises(Exception, match=self.refused):
                await self.ask(sdk)
        assert len(server.requests) == 3

    @pytest.mark.anyio
    async def test_waits_as_long_as_it_is_told(self, serve: Serve) -> None:
        """429 with ``retry-after-ms: 30`` is tried again 30 ms later."""
        server = await serve(wait(30), type(self).answer)
        seen: list[Any] = []
        async with self.sdk(server.url, rng=FixedRandom(0.0), observers=[seen.append]) as sdk:
            assert await self.ask(sdk) == "hello"
        delays = [event.delay for event in seen if isinstance(event, RetryScheduled)]
        assert delays == [pytest.approx(0.03, abs=1e-9)]
        assert len(server.requests) == 2


class Streams(Answers):
    """
    An SDK that reads streams too.

    Attributes:
        events: The texts of a stream whose parts are ``a``, ``b`` and ``c``; the first of them is ``a`` alone.
        mime: The stream's content type.
        lost: What the SDK raises where the connection breaks.
    """

    events: ClassVar[tuple[str, ...]]
    mime: ClassVar[str] = "text/event-stream"
    lost: ClassVar[type[BaseException]]

    def stream(self, sdk: Any) -> AsyncIterator[str]:
        """The texts of the parts of a stream."""
        raise NotImplementedError

    @pytest.mark.anyio
    async def test_reads_a_stream(self, serve: Serve) -> None:
        """All parts, in order, by one request."""
        server = await serve(events(*self.events, mime=self.mime))
        async with self.sdk(server.url) as sdk:
            assert [part async for part in self.stream(sdk)] == ["a", "b", "c"]
        assert len(server.requests) == 1

    @pytest.mark.anyio
    async def test_begins_a_stream_again_until_its_headers(self, serve: Serve) -> None:
        """503 before a stream is retried, because the reader has seen nothing of it."""
        server = await serve(BUSY, events(*self.events, mime=self.mime))
        async with self.sdk(server.url, rng=FixedRandom(0.0)) as sdk:
            assert [part async for part in self.stream(sdk)] == ["a", "b", "c"]
        assert len(server.requests) == 2

    @pytest.mark.anyio
    async def test_says_that_a_stream_was_cut(self, serve: Serve) -> None:
        """What came is read; then comes the SDK's own error, with ours and its history; nothing is sent again."""
        server = await serve(cut(self.events[0], mime=self.mime))
        parts: list[str] = []
        async with self.sdk(server.url, rng=FixedRandom(0.0)) as sdk:
            with pytest.raises(self.lost) as caught:
                await collect(parts, self.stream(sdk))
        assert parts == ["a"]
        assert len(server.requests) == 1
        assert [attempt.outcome for attempt in _ours(caught.value).attempts] == ["200"]


async def collect(parts: list[str], stream: AsyncIterator[str]) -> None:
    """Put each part of *stream* into *parts*, which keeps those that came before an error."""
    async for part in stream:
        parts.append(part)  # noqa: PERF401


def _ours(error: BaseException | None) -> SeawallError:
    """The error of ours that *error* is or was raised for."""
    while error is not None and not isinstance(error, SeawallError):
        error = error.__cause__
    assert error is not None
    return error
