"""Whom events are told to: the log, and the listeners."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from ..events import BreakerMoved, Event, Listener, ResolverFailed, RetryScheduled, StaleServed

__all__ = ["Emitter"]

logger = logging.getLogger("seawall")


class Emitter:
    """Tells the log and the listeners. A listener that raises is logged and breaks no call."""

    def __init__(self, listeners: Iterable[Listener] = ()) -> None:
        self._listeners = tuple(listeners)

    @property
    def is_silent(self) -> bool:
        """Nobody listens, and nothing is logged of what is not a retry or a breaker's move."""
        return not self._listeners and not logger.isEnabledFor(logging.DEBUG)

    def emit(self, event: Event) -> None:
        if logger.isEnabledFor(logging.DEBUG):
            logger.debug("%r", event)
        match event:
            case RetryScheduled(origin, number, delay, reason):
                logger.info("%s: attempt %d in %.3f s, after %s", origin, number, delay, reason)
            case ResolverFailed(host, reason):
                logger.info("%s: a lookup failed: %s", host, reason)
            case StaleServed(host, addresses):
                logger.info("%s: DNS has no answer; used: %s", host, ", ".join(map(str, addresses)))
            case BreakerMoved(origin, previous, state, reason):
                logger.warning("%s: breaker %s, was %s: %s", origin, state, previous, reason)
        for listener in self._listeners:
            try:
                listener(event)
            except Exception:
                logger.exception("listener %r raised on %r", listener, event)
