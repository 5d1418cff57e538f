"""Tells events to the log and to the observers."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from ..config.check import HEADER_NAME
from ..events import (
    AttemptStarted,
    BreakerMoved,
    CallStarted,
    Event,
    Listener,
    Observer,
    OriginAway,
    OriginBack,
    ResolverFailed,
    RetryScheduled,
    StaleServed,
)

__all__ = ["Emitter"]

logger = logging.getLogger("seawall")

HEADER: Final = re.compile(rf"{HEADER_NAME}: [\t\x20-\x7e]*")
"""Source: RFC 9110 section 5. ASCII only, because the RFC doesn't say what other bytes mean."""


class Emitter:
    """
    Tells the log and the observers. One that raises is logged, and breaks no call.

    Attributes:
        has_listeners: An observer hears of events, beside the log.
        has_starters: Some observer wants to hear of attempts before they are sent.
    """

    def __init__(self, observers: Iterable[Observer | Listener] = ()) -> None:
        observers = tuple(observers)
        self._listeners: tuple[Listener, ...] = tuple(map(_listener, observers))
        self._starters: tuple[Callable[[CallStarted, AttemptStarted], Mapping[str, str] | None], ...] = tuple(
            each.attempt_started for each in observers if hasattr(each, "attempt_started")
        )
        self.has_listeners = bool(self._listeners)
        self.has_starters = bool(self._starters)

    def emit(self, event: Event) -> None:
        """Tell the log and every observer of *event*."""
        if logger.isEnabledFor(logging.DEBUG):
            logger.debug("%r", event)
        match event:
            case RetryScheduled():
                logger.info("%s: attempt %d in %.3f s, after %s", event.origin, event.number, event.delay, event.reason)
            case ResolverFailed(host, reason):
                logger.info("%s: a lookup failed: %s", host, reason)
            case StaleServed(host, addresses):
                logger.info("%s: DNS has no answer; used: %s", host, ", ".join(map(str, addresses)))
            case BreakerMoved(origin, previous, state, reason):
                logger.warning("%s: breaker %s, was %s: %s", origin, state, previous, reason)
            case OriginAway(origin, reason):
                logger.warning("%s: away, so calls wait for it: %s", origin, reason)
            case OriginBack(origin, duration, has_answered):
                how = "back" if has_answered else "no longer waited for"
                logger.warning("%s: %s after %.3g s", origin, how, duration)
        for listener in self._listeners:
            try:
                listener(event)
            except Exception:
                logger.exception("observer %r raised on %r", listener, event)

    def attempt_started(self, call: CallStarted, attempt: AttemptStarted) -> dict[str, str]:
        """The headers that observers add to *attempt*."""
        given: dict[str, str] = {}
        for starter in self._starters:
            try:
                given |= _checked(starter(call, attempt))
            except Exception:
                logger.exception("observer %r raised on %r", starter, attempt)
        return given


def _checked(headers: Mapping[str, str] | None) -> dict[str, str]:
    """
    An observer's headers for an attempt.

    Raises:
        TypeError, ValueError: They aren't headers, or HTTP can't carry them.
    """
    checked = dict(headers or {})
    for name, value in checked.items():
        if not (isinstance(name, str) and isinstance(value, str) and HEADER.fullmatch(f"{name}: {value}")):
            raise ValueError(f"HTTP can't carry the header {name!r}, or its value")
    return checked


def _listener(observer: Any) -> Listener:
    """The observer's method that hears of events; if it is a function, the function itself."""
    listener: Listener = getattr(observer, "on", observer)
    return listener
