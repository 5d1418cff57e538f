"""
How long to wait before a retry. This is the only file that imports tenacity.

Rules: an `AsyncRetrying` is made for one call and only after its first failure, because a shared one is not task-safe,
and a first attempt that succeeds needs none. Its strategies see httpx's responses and errors as they are. Its clock is
ours.
"""

from __future__ import annotations

import inspect
import math
from collections import Counter
from collections.abc import Callable, Mapping
from random import Random
from typing import Any, Protocol

from tenacity import AsyncRetrying, DoSleep, RetryCallState, retry_base

from ..config import Retry
from ..events import Denied
from .denial import Denial
from .outcome import (
    THROTTLED,
    Kind,
    Outcome,
    Request,
    is_away_until,
    is_final,
    is_transparent,
    is_worth_retrying,
    kind_of,
    why_unsafe,
)

__all__ = ["Retries", "backoff"]

RETRY_AFTER_JITTER = 1.1  # callers that wait exactly as told would all arrive together


def backoff(attempt: int, *, base: float, cap: float, rng: Random, jitter: float = 1.0) -> float:
    """
    Seconds to wait after attempt number *attempt*.

    Uniform in ``[(1 - jitter) * bound, bound]``, with ``bound = min(cap, base * 2 ** (attempt - 1))``.
    Not for a single client polling one resource: use a constant delay there.

    Args:
        attempt: Attempts made, >= 1.
        base: Upper bound of the first delay, in seconds, >= 0.
        cap: Upper bound of any delay, in seconds.
        jitter: Share of the delay that is left to chance, 0 to 1; 1 is full jitter.
    Returns:
        Delay in seconds, ``0 <= delay <= cap``; finite for every *attempt*.
    Raises:
        ValueError: *attempt* < 1.
    Source: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """
    if attempt < 1:
        raise ValueError(f"attempt must be >= 1, not {attempt}")
    bound = min(cap, base * 2.0 ** min(attempt - 1, 1000))
    return rng.uniform((1.0 - jitter) * bound, bound)


class Afford(Protocol):
    """See `Retries`."""

    async def __call__(self, outcome: Outcome, delay: float, *, is_free: bool) -> Denial | None: ...


class Retries:
    """
    A hop's retries, from its first failure on: `after` says how long to wait after an attempt, or that it was the last.

    Args:
        name: What is called, for tenacity's own log helpers.
        started_at: When the first attempt began, because tenacity's stop_after_delay counts from there.
        request: Returns the facts of the request that decide, as they are now.
        afford: Returns why a retry of this outcome after this delay can't be made (None if it can); charges the budget,
            unless it is free.

    Attributes:
        denial: Why no attempt follows, if a retry was worth it; else None.
        raises: The last outcome is a response that must be raised, if there is no further attempt.
        waived: The last absence of the origin for which a retry was free.
    """

    __slots__ = (
        "_afford", "_counts", "_outcome", "_request", "_retrying", "_rng", "_settings", "_state", "_was_free",
        "denial", "raises", "waived",
    )  # fmt: skip

    def __init__(
        self,
        settings: Retry,
        *,
        name: str,
        started_at: float,
        rng: Random,
        request: Callable[[], Request],
        afford: Afford,
    ) -> None:
        self._settings = settings
        self._rng = rng
        self._request = request
        self._afford = afford
        self._counts: Counter[Kind] = Counter()
        self._outcome: Outcome
        self._was_free = False
        self.denial: Denial | None = None
        self.raises = False
        self.waived: object | None = None
        # tenacity awaits coroutine functions, though its annotations of wait and stop don't say so.
        strategies: dict[str, Any] = {"retry": self._retry, "wait": self._wait, "stop": self._stop}
        if settings.after is not None:
            strategies["after"] = settings.after
        self._retrying = AsyncRetrying(**strategies, before_sleep=settings.before_sleep, retry_error_callback=_over)
        self._retrying.begin()
        self._state = RetryCallState(self._retrying, _Named(name), (), {})
        self._state.start_time = started_at

    @property
    def statistics(self) -> Mapping[str, Any]:
        """tenacity's own statistics."""
        return self._retrying.statistics

    async def after(self, outcome: Outcome, now: float) -> float | None:
        """
        Seconds until the next attempt; None if *outcome* is the last.

        Raises:
            Exception: An error that a user's strategy raised.
        """
        self._outcome = outcome
        self.denial, self.raises = None, False
        traceback = None
        if outcome.error is None:
            self._state.set_result(outcome.response)
        else:
            traceback = outcome.error.__traceback__
            self._state.set_exception((type(outcome.error), outcome.error, traceback))
        self._state.outcome_timestamp = now
        try:
            action = await self._retrying.iter(retry_state=self._state)
        except Exception as error:
            if error is outcome.error:
                error.__traceback__ = traceback  # tenacity's own frames say nothing, and hold the error
                return None
            raise
        if not isinstance(action, DoSleep):
            return None
        self._state.prepare_for_next_attempt()
        self.raises = False
        return float(action)

    def close(self) -> None:
        """Break the cycle with tenacity's objects, because a garbage collection may be long in coming."""
        self._retrying.iter_state.reset()
        del self._retrying, self._state, self._outcome

    async def _retry(self, state: RetryCallState) -> bool:
        outcome = self._outcome
        if is_final(outcome):
            return False
        request = self._request()
        if not await self._is_wanted(state, has_key=request.has_key):
            return False
        self.raises = self._settings.raise_on_status and outcome.status in self._settings.statuses
        self.denial = why_unsafe(outcome, self._settings, request)
        self._counts[kind_of(outcome, self._settings, has_key=request.has_key)] += 1
        return self.denial is None

    async def _is_wanted(self, state: RetryCallState, *, has_key: bool) -> bool:
        predicate = self._settings.retry
        said = None
        if predicate is not None:
            said = await _result(predicate(state if isinstance(predicate, retry_base) else self._outcome))
        return is_worth_retrying(self._outcome, self._settings, has_key=has_key) if said is None else bool(said)

    async def _wait(self, state: RetryCallState) -> float:
        settings, outcome = self._settings, self._outcome
        if settings.wait is not None:
            delay = float(await _result(settings.wait(state)))
            if not 0.0 <= delay < math.inf:
                raise ValueError(f"Retry.wait must return finite seconds >= 0, not {delay!r}")
        elif outcome.is_stale:
            delay = 0.0  # the server closed an idle connection, but is not overloaded
        else:
            base = settings.throttled_backoff if outcome.status in THROTTLED else settings.backoff
            delay = backoff(
                state.attempt_number, base=base, cap=settings.max_backoff, rng=self._rng, jitter=settings.jitter
            )
        if (retry_at := is_away_until(outcome)) is not None and state.outcome_timestamp is not None:
            delay = max(delay, retry_at - state.outcome_timestamp)
        if (retry_after := self._retry_after) is not None:
            delay = max(delay, retry_after * self._rng.uniform(1.0, RETRY_AFTER_JITTER))
        return delay

    async def _stop(self, state: RetryCallState) -> bool:
        settings, retry_after = self._settings, self._retry_after
        if state.attempt_number >= settings.max_attempts:
            self.denial = Denial(Denied.MAX_ATTEMPTS, f"max_attempts={settings.max_attempts} reached")
        elif exhausted := self._exhausted():
            self.denial = Denial(Denied.MAX_RETRIES, f"{exhausted} reached")
        elif settings.stop is not None and await _result(settings.stop(state)):
            self.denial = Denial(Denied.STOP, "Retry.stop said so")
        elif retry_after is not None and retry_after > settings.max_retry_after:
            over = f"Retry-After {retry_after:g} s is over max_retry_after={settings.max_retry_after:g}"
            self.denial = Denial(Denied.RETRY_AFTER, over)
        else:
            # A healthy server did nothing with the request: a retry costs nothing, but not twice in a row. Where the
            # origin was away, nothing was even dialled.
            self._was_free = is_transparent(self._outcome) and not self._was_free
            is_free = self._was_free or is_away_until(self._outcome) is not None
            self.denial = await self._afford(self._outcome, state.upcoming_sleep, is_free=is_free)
        return self.denial is not None

    def _exhausted(self) -> str:
        """The setting whose count is used up, if any."""
        for kind, done in self._counts.items():
            name = f"max_{kind.value}_retries"
            limit = getattr(self._settings, name)
            if limit is not None and done > limit:
                return f"{name}={limit}"
        return ""

    @property
    def _retry_after(self) -> float | None:
        return self._outcome.retry_after if self._settings.respect_retry_after else None


class _Named:
    """Stands in for the function that tenacity would call, because its log helpers show the name."""

    def __init__(self, name: str) -> None:
        self.__qualname__ = name
        self.__module__ = ""

    def __call__(self) -> None:
        raise NotImplementedError("seawall makes the attempts")


async def _result(value: Any) -> Any:
    """A strategy may be a coroutine function, as in tenacity."""
    return await value if inspect.isawaitable(value) else value


def _over(state: RetryCallState) -> None:
    """Replaces tenacity's RetryError, because the caller returns or raises the last outcome itself."""
