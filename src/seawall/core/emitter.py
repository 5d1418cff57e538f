"""Tells events to the log and to the observers."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from ..attempts import History
from ..careful import Careful
from ..config.check import HEADER_NAME
from ..events import AttemptStarted, CallStarted, Event, Listener, Observer
from . import clock
from .log import Log

__all__ = ["Emitter"]

logger = Careful("seawall")

HEADER: Final = re.compile(rf"{HEADER_NAME}: [\t\x20-\x7e]*")
"""Source: RFC 9110 section 5. ASCII only, because the RFC doesn't say what other bytes mean."""


class Emitter:
    """
    Tells the log and the observers. One that raises is logged, and breaks no call.

    Args:
        name: The client's.
        now: The time by which the log counts warnings.
    Attributes:
        has_listeners: An observer hears of events, beside the log.
        has_starters: Some observer wants to hear of attempts before they are sent.
    """

    def __init__(self, *, name: str = "", now: Callable[[], float] = clock.now) -> None:
        self._log = Log(name, now=now)
        self._listeners: tuple[Listener, ...] = ()
        self._starters: tuple[Callable[[CallStarted, AttemptStarted], Mapping[str, str] | None], ...] = ()
        self.has_listeners = self.has_starters = False

    def add(self, observer: Observer | Listener) -> None:
        """Tell *observer* of calls that begin from now on."""
        self._listeners += (_listener(observer),)
        if hasattr(observer, "attempt_started"):
            self._starters += (observer.attempt_started,)
        self.has_listeners, self.has_starters = True, bool(self._starters)

    def emit(self, event: Event, history: Callable[[], History] | None = None) -> None:
        """Tell the log and every observer of *event*; *history* gives the log that of a call that ended."""
        try:
            self._log.write(event, history)
        except Exception:  # a filter of the application's
            logger.exception("the log raised on %r", event)
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
