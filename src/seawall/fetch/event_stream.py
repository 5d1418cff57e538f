"""Server-sent events over as many calls as it takes: each but the first goes on after the last event that came."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import replace
from random import Random
from typing import Any, Final

from ..attempts import SENDING, history
from ..config import Policy
from ..core import clock
from ..core.deadline import remaining
from ..errors import BadAnswer, CallerLeft, DeadlineExceeded, ReadTimeout, Rejected, ResponseTooLarge
from ..policy.failures import Safe, failure_of
from ..policy.retry_after import parse_retry_after
from .request import Reply, Request
from .server_sent import Parser, ServerSentEvent, TooLarge

__all__ = ["MAX_SIZE", "SILENCE", "events"]

SILENCE: Final = 60.0  # s, as nginx' proxy_read_timeout; the standard has servers send a comment every 15 s
MAX_SIZE: Final = 8 * 2**20  # bytes; a picture in base64, as APIs of models send them in events, has some 4 MB
MAX_OUTAGE: Final = 300.0  # s; a deployment or a failover takes less, and what takes longer should be heard of
BASE: Final = 1.0  # s before a reconnection, if the server names none; browsers wait 3 to 5 s
MAX_DELAY: Final = 30.0  # s between two calls in an outage
MIN_RETRY, MAX_RETRY = 0.1, 300.0  # s; what a server's retry: may ask for, because a typo mustn't flood or silence
SPREAD: Final = 1.5  # so that the clients of a server that was restarted don't all come back at once
REPEATABLE: Final = frozenset({"GET", "QUERY"})
KIND: Final = "text/event-stream"
HEALING: Final = frozenset({408, 425, 429, *range(500, 600)})  # statuses that time may cure


class Reconnection:
    """
    Whether and when the next call is made; nothing here waits.

    Args:
        max_outage: Seconds without a stream after which there is none; 0: there is never one. None sets no limit.
    """

    def __init__(self, max_outage: float | None, rng: Random) -> None:
        self._max_outage = max_outage
        self._rng = rng
        self._retry = BASE
        self._failures = 0
        self._failed_since: float | None = None  # None while there is a stream

    def delay(self, now: float, at_least: float = 0.0) -> float | None:
        """
        Seconds until the next call, after a stream that ended or a call that had none; None if there is none.

        It doubles with each that brought nothing, and is up to half longer by chance.

        Args:
            at_least: Seconds that the failure asks for.
        """
        if self._failed_since is None:
            self._failed_since = now
        bound = min(max(MAX_DELAY, self._retry), self._retry * 2.0 ** min(self._failures, 64))
        delay = max(bound, min(at_least, MAX_RETRY)) * self._rng.uniform(1.0, SPREAD)
        self._failures += 1
        limit = self._max_outage
        return delay if limit is None or 0.0 < limit >= now + delay - self._failed_since else None

    def lives(self, retry: int | None) -> None:
        """A part of a stream has come, which says to wait *retry* milliseconds before a reconnection."""
        self._failures, self._failed_since = 0, None
        if retry is not None:
            self._retry = min(max(retry / 1000.0, MIN_RETRY), MAX_RETRY)


async def events(
    request: Request, *, silence: float | None, max_outage: float | None, max_size: int, last_event_id: str
) -> AsyncGenerator[ServerSentEvent, None]:
    """The events of *request*; see `AsyncClient.events`."""
    reconnection = Reconnection(max_outage if request.method in REPEATABLE else 0.0, request.layers.rng)
    last_id, has_begun = last_event_id, False
    while True:
        error: Exception | None = None
        try:
            reply = await _opened(request, last_id, is_again=has_begun)
        except Exception as failure:
            if not (has_begun and _heals(request, failure)):
                raise
            error = failure
        else:
            try:
                if reply.status_code == 204:
                    return
                has_begun = True
                parser, body = Parser(max_size=max_size, last_id=last_id), reply.aiter_bytes()
                while True:
                    data = await _next(request, body, silence)
                    if isinstance(data, Exception):
                        error = data
                    if not isinstance(data, bytes):
                        break
                    try:
                        for event in parser.feed(data):
                            yield event
                    except TooLarge:
                        raise request.adopt(_too_large(request, max_size)) from None
                    reconnection.lives(parser.retry)
                last_id = parser.last_id
            finally:
                await reply.aclose()
            if error is not None and not _heals(request, error):
                raise error
        delay = reconnection.delay(clock.now(), _asked(error))
        if delay is None:
            if error is not None:
                raise error
            return
        del error  # it holds this frame
        await asyncio.sleep(delay)


async def _opened(request: Request, last_id: str, *, is_again: bool) -> Reply:
    """
    A response with events, or 204.

    Raises:
        Exception: The call failed, or its response is another; that is closed then.
    """
    # Without coding, because what compresses holds events back.
    headers = {"Accept": KIND, "Accept-Encoding": "identity", "Cache-Control": "no-store"}
    if last_id:
        headers["Last-Event-ID"] = last_id
    options = replace(request.options or Policy(), retry=None) if is_again else request.options  # it is a retry itself
    reply = await request.send(headers, options)
    try:
        if reply.status_code != 204:
            reply.raise_for_status()
            kind = reply.headers.get("content-type", "")
            if reply.status_code != 200 or kind.partition(";")[0].strip().lower() != KIND:
                text = f"{request.origin}: {reply.status_code} with content-type {kind[:80]!r} is not a {KIND}"
                raise request.adopt(BadAnswer(text, origin=request.origin, is_final=True))
    except BaseException:
        await reply.aclose()
        raise
    return reply


async def _next(request: Request, body: AsyncIterator[bytes], silence: float | None) -> bytes | Exception | None:
    """The next bytes of *body*; None at its end, or the failure that broke it off."""
    timer = asyncio.timeout(silence)  # not the read timeout, because a stream without news is not the origin's fault
    try:
        async with timer:
            return await anext(body, None)
    except TimeoutError:
        if not timer.expired():
            raise
        text = f"{request.origin}: no byte for silence={silence:g} s; have the server send a comment now and then"
        return request.adopt(ReadTimeout(text, origin=request.origin))
    except Exception as error:
        if not request.is_failure(error):
            raise
        return error


def _heals(request: Request, error: Exception) -> bool:
    """Whether a later call may end better."""
    response: Any = getattr(error, "response", None)
    if response is not None:
        return response.status_code in HEALING
    if isinstance(error, DeadlineExceeded):
        return not isinstance(error, CallerLeft) and remaining() != 0.0
    if isinstance(error, Rejected):
        return True
    attempts = history(error)
    phase = attempts[-1].phase if attempts else SENDING
    return request.is_failure(error) and failure_of(error, phase).safe is not Safe.NEVER


def _asked(error: Exception | None) -> float:
    """Seconds that a failure asks to wait."""
    response: Any = getattr(error, "response", None)
    if response is not None:
        return parse_retry_after(response.headers.get("retry-after")) or 0.0
    asked: float = getattr(error, "retry_after", None) or 0.0
    return asked if asked < math.inf else 0.0  # a breaker that is held open by hand, nobody knows how long


def _too_large(request: Request, max_size: int) -> ResponseTooLarge:
    text = f"{request.origin}: an event has more than max_size={max_size} bytes"
    return ResponseTooLarge(text, origin=request.origin)
