"""A call and its hops: what is known of them while they are under way. Nothing here waits or decides."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

from .events import Attempt, History, Progress
from .policy.deadline import earliest, inherited
from .policy.origins import OriginState
from .settings import UNSET, Policy, Retry

__all__ = ["CURRENT", "Call", "Hop"]


class Call:
    """What a user asked for. Its hops (redirects, steps of an authentication) share it."""

    __slots__ = ("attempts", "hard_at", "is_buffered", "is_over", "is_timed", "owner", "ready", "soft_at", "started_at")

    def __init__(self, owner: object, now: float, *, is_buffered: bool) -> None:
        self.owner = owner
        self.started_at = now
        self.is_buffered = is_buffered  # the body is read at once: it belongs to the attempt
        self.is_over = False
        self.is_timed = False
        self.hard_at: float | None = None  # somebody's wish
        self.soft_at: float | None = None  # derived from the timeouts; a body that comes in may pass it
        self.attempts: list[Attempt] = []
        self.ready: Any = None  # a response that httpx has still to be given

    def set_deadline(self, policy: Policy, timeouts: Mapping[str, float | None]) -> None:
        """Fix the deadline, at the first hop and once."""
        self.is_timed = True
        self.hard_at = inherited()
        if policy.deadline is UNSET:
            connect, read = timeouts.get("connect"), timeouts.get("read")
            if connect is not None and read is not None:
                attempts = policy.retry.max_attempts if isinstance(policy.retry, Retry) else 1
                self.soft_at = self.started_at + (connect + read) * attempts
        elif policy.deadline is not None:
            self.hard_at = earliest(self.hard_at, self.started_at + policy.deadline)

    @property
    def deadline_at(self) -> float | None:
        return earliest(self.hard_at, self.soft_at)


class Hop:
    """A call's passage through the layers to one origin: constants of it, and what was last seen."""

    __slots__ = ("call", "last_error", "policy", "progress", "state", "timer")

    def __init__(self, call: Call, state: OriginState, policy: Policy, timer: asyncio.Timeout) -> None:
        self.call = call
        self.state = state
        self.policy = policy
        self.timer = timer
        self.progress: Progress | None = None
        self.last_error: Exception | None = None

    def history(self, note: str = "") -> History:
        history = History(self.call.attempts)
        history.note = note
        return history


CURRENT: ContextVar[Call | None] = ContextVar("seawall_call", default=None)
"""The call that this task is in: how its hops find each other through httpx."""
