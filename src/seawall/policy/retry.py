"""
How long to wait, and tenacity: the only file that imports it.

Rules: an `AsyncRetrying` is made for one call and only after its first failure (a shared one is not task-safe, and a
first attempt that succeeds needs none). Its strategies see httpx's responses and errors as they are. Its clock is ours.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from random import Random
from typing import Any

from tenacity import AsyncRetrying, DoSleep, RetryCallState

from ..settings import Retry
from .outcome import Outcome, is_final, is_worth_retrying

__all__ = ["Retries", "backoff"]

THROTTLED = frozenset({429, 503})
RETRY_AFTER_JITTER = 1.1  # who waits exactly as told arrives with everyone else


def backoff(attempt: int, *, base: float, cap: float, rng: Random) -> float:
    """
    Seconds to wait after attempt number *attempt*.

    Full jitter: uniform in ``[0, min(cap, base * 2 ** (attempt - 1))]``.
    Not for a single client polling one resource: use a constant delay there.

    Args:
        attempt: Attempts made, >= 1.
        base: Upper bound of the first delay, s, >= 0.
        cap: Upper bound of any delay, s.
    Returns:
        Delay in s, ``0 <= delay <= cap``; finite for every *attempt*.
    Raises:
        ValueError: *attempt* < 1.
    Source: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """
    if attempt < 1:
        raise ValueError(f"attempt must be >= 1, not {attempt}")
    return rng.uniform(0.0, min(cap, base * 2.0 ** min(attempt - 1, 1000)))


class Retries:
    """
    A call's retries, from its first failure on: `after` each attempt says how long to wait, or that it's over.

    Args:
        started_at: When the first attempt began: what tenacity's stop_after_delay counts from.
        is_safe: Whether an outcome may be repeated at all.
        afford: Why a retry after this delay is out of the question ("" where it isn't); charges the budget.

    Attributes:
        note: Why it is over, where a retry was worth it; else empty.
    """

    __slots__ = ("_afford", "_is_safe", "_outcome", "_retrying", "_rng", "_settings", "_state", "note")

    def __init__(
        self,
        settings: Retry,
        *,
        started_at: float,
        rng: Random,
        is_safe: Callable[[Outcome], bool],
        afford: Callable[[float], str],
    ) -> None:
        self._settings = settings
        self._rng = rng
        self._is_safe = is_safe
        self._afford = afford
        self._outcome: Outcome
        self.note = ""
        # Coroutine functions: tenacity awaits them, its annotations of wait and stop just don't say so.
        strategies: dict[str, Any] = {"retry": self._retry, "wait": self._wait, "stop": self._stop}
        self._retrying = AsyncRetrying(**strategies, retry_error_callback=_over)
        self._retrying.begin()
        self._state = RetryCallState(self._retrying, None, (), {})
        self._state.start_time = started_at

    async def after(self, outcome: Outcome, response: object, now: float) -> float | None:
        """
        Seconds until the next attempt; None: *outcome* is the last.

        Args:
            outcome: What came of the attempt.
            response: The answer itself, for the user's predicates; ignored where the outcome has an error.
        Raises:
            Exception: What a user's strategy raised.
        """
        self._outcome = outcome
        self.note = ""
        if outcome.error is None:
            self._state.set_result(response)
        else:
            self._state.set_exception((type(outcome.error), outcome.error, outcome.error.__traceback__))
        self._state.outcome_timestamp = now
        try:
            action = await self._retrying.iter(retry_state=self._state)
        except Exception as error:
            if error is outcome.error:
                return None
            raise
        if not isinstance(action, DoSleep):
            return None
        self._state.prepare_for_next_attempt()
        return float(action)

    async def _retry(self, state: RetryCallState) -> bool:
        if is_final(self._outcome):
            return False
        if self._settings.retry is None:
            is_wanted = is_worth_retrying(self._outcome, self._settings)
        else:
            is_wanted = bool(await _result(self._settings.retry(state)))
        if is_wanted and not self._is_safe(self._outcome):
            self.note = "not safe to repeat"
            return False
        return is_wanted

    async def _wait(self, state: RetryCallState) -> float:
        if self._settings.wait is not None:
            delay = float(await _result(self._settings.wait(state)))
        elif self._outcome.is_stale:
            delay = 0.0  # the server closed an idle connection: nobody is overloaded
        else:
            is_throttled = self._outcome.status in THROTTLED
            base = self._settings.throttled_backoff if is_throttled else self._settings.backoff
            delay = backoff(state.attempt_number, base=base, cap=self._settings.max_backoff, rng=self._rng)
        if self._outcome.retry_after is not None:
            delay = max(delay, self._outcome.retry_after * self._rng.uniform(1.0, RETRY_AFTER_JITTER))
        return delay

    async def _stop(self, state: RetryCallState) -> bool:
        settings, retry_after = self._settings, self._outcome.retry_after
        if state.attempt_number >= settings.max_attempts:
            self.note = f"max_attempts={settings.max_attempts} reached"
        elif settings.stop is not None and await _result(settings.stop(state)):
            self.note = "Retry.stop said so"
        elif retry_after is not None and retry_after > settings.max_retry_after:
            self.note = f"Retry-After {retry_after:g} s is over max_retry_after={settings.max_retry_after:g}"
        else:
            self.note = self._afford(state.upcoming_sleep)
        return bool(self.note)


async def _result(value: Any) -> Any:
    """A strategy may be a coroutine function, as in tenacity."""
    return await value if inspect.isawaitable(value) else value


def _over(state: RetryCallState) -> None:
    """In place of tenacity's RetryError: the caller has the last outcome and returns or raises that."""
