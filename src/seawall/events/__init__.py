"""
Frozen records of events, and the observers that hear of them.

Records hold origins, paths, addresses, numbers and the text of errors; never a URL's query or userinfo, never headers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol, TypeAlias

from ..attempts import Attempt, Dial, History, Phase
from ..server_timing import ServerTiming
from .call import (
    AttemptStarted,
    BodyEnd,
    BodyEnded,
    CallEnded,
    CallStarted,
    Denied,
    HedgeStarted,
    Rejected,
    RetryDenied,
    RetryScheduled,
)
from .lookup import LookupEnded, ResolverFailed, StaleServed
from .origin import (
    AddressEjected,
    AddressReadmitted,
    BreakerMoved,
    ConnectionClosed,
    ConnectionOpened,
    LimitDegraded,
    LimitMoved,
    LimitRestored,
    OriginAway,
    OriginBack,
    OriginPaused,
)

__all__ = [
    "AddressEjected",
    "AddressReadmitted",
    "Attempt",
    "AttemptStarted",
    "BodyEnd",
    "BodyEnded",
    "BreakerMoved",
    "CallEnded",
    "CallStarted",
    "ConnectionClosed",
    "ConnectionOpened",
    "Denied",
    "Dial",
    "Event",
    "HedgeStarted",
    "History",
    "LimitDegraded",
    "LimitMoved",
    "LimitRestored",
    "Listener",
    "LookupEnded",
    "Observer",
    "OriginAway",
    "OriginBack",
    "OriginPaused",
    "Phase",
    "Rejected",
    "ResolverFailed",
    "RetryDenied",
    "RetryScheduled",
    "ServerTiming",
    "StaleServed",
]

Event: TypeAlias = (
    CallStarted
    | Attempt
    | RetryScheduled
    | HedgeStarted
    | RetryDenied
    | Rejected
    | BodyEnded
    | CallEnded
    | ConnectionOpened
    | ConnectionClosed
    | BreakerMoved
    | LimitMoved
    | LimitDegraded
    | LimitRestored
    | OriginPaused
    | OriginAway
    | OriginBack
    | AddressEjected
    | AddressReadmitted
    | StaleServed
    | ResolverFailed
    | LookupEnded
)
Listener: TypeAlias = Callable[[Event], None]


class Observer(Protocol):
    """
    Hears every event: ``AsyncClient(observers=[...])``. A function of an event is an observer too.

    It is called in the task of the call, so it must be quick. One that raises is logged, and breaks no call. One with a
    method ``watch`` is given the new `Engine`, whose `stats()` it may read later; it should hold the engine weakly.
    """

    def attempt_started(self, call: CallStarted, attempt: AttemptStarted) -> Mapping[str, str] | None:
        """Return headers for this attempt alone, such as a trace's; the caller's request stays as it is."""

    def on(self, event: Event) -> None:
        """Take note that something happened."""
