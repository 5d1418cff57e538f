"""The last calls that failed, with their attempts."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from ...events import Attempt, BodyEnded, CallEnded, CallStarted, Phase
from ...origin import Origin

__all__ = ["BY_CALLER", "Failure", "Failures", "is_failure"]

MAX_KEPT: Final = 20
MAX_ATTEMPTS: Final = 20  # of a call; of more, the first ten and the last ten are kept
MAX_STREAMS: Final = 1000  # whose calls ended with their headers, and whose bodies may still break

BY_CALLER: Final = ("cancelled", "CallerLeft")


def is_failure(outcome: str) -> bool:
    """Whether a call with this outcome failed: an error, a status from 500 on, or 429; not if its caller ended it."""
    if outcome.isdecimal():
        return int(outcome) >= 500 or outcome == "429"
    return bool(outcome) and outcome not in BY_CALLER


@dataclass(slots=True)
class Told:
    """What was told of a call so far."""

    started: CallStarted
    attempts: list[Attempt]


@dataclass(slots=True)
class Failure:
    """
    A call that failed, or several in a row that failed alike, of which this is the last.

    Attributes:
        number: The same for all that failed alike.
        count: How many failed alike.
        at: When it failed, in seconds on the dashboard's clock.
        started: None if the call began before anybody listened.
        duration: Of the call, or of the body that broke off.
        note: Why no further attempt was made, or the error's text.
    """

    number: int
    count: int
    at: float
    started: CallStarted | None
    origin: Origin | None
    outcome: str
    note: str
    duration: float
    attempts: tuple[Attempt, ...]


class Failures:
    """The calls in flight, and the last 20 that failed, latest last."""

    def __init__(self) -> None:
        self._told: dict[int, Told] = {}
        self._streams: OrderedDict[int, Told] = OrderedDict()
        self._kept: OrderedDict[tuple[str, Origin | None, str], Failure] = OrderedDict()
        self._number = 0

    def __iter__(self) -> Iterator[Failure]:
        return iter(self._kept.values())

    def started(self, event: CallStarted) -> None:
        """A call began."""
        self._told[event.call] = Told(event, [])

    def attempted(self, event: Attempt) -> None:
        """An attempt of it ended."""
        told = self._told.get(event.call)
        if told is not None:
            told.attempts.append(event)
            if len(told.attempts) > MAX_ATTEMPTS:
                del told.attempts[MAX_ATTEMPTS // 2]

    def ended(self, event: CallEnded, at: float, *, is_failed: bool) -> None:
        """It ended."""
        told = self._told.pop(event.call, None)
        if is_failed:
            self._keep(told, event.origin, event.outcome, event.note, event.duration, at)
        elif told is not None and told.attempts and told.attempts[-1].phase is Phase.HEADERS:
            self._streams[event.call] = told
            if len(self._streams) > MAX_STREAMS:
                self._streams.popitem(last=False)

    def body_ended(self, event: BodyEnded, at: float, *, is_failed: bool) -> None:
        """The body of a streamed response ended."""
        told = self._streams.pop(event.call, None)
        if is_failed:
            self._keep(told, event.origin, event.outcome, event.detail, event.duration, at)

    def _keep(
        self, told: Told | None, origin: Origin | None, outcome: str, note: str, duration: float, at: float
    ) -> None:
        started = None if told is None else told.started
        key = ("" if started is None else started.method, origin, outcome)
        before = self._kept.pop(key, None)
        if before is None:
            self._number += 1
        self._kept[key] = Failure(
            number=self._number if before is None else before.number,
            count=1 if before is None else before.count + 1,
            at=at,
            started=started,
            origin=origin,
            outcome=outcome,
            note=note,
            duration=duration,
            attempts=() if told is None else tuple(told.attempts),
        )
        if len(self._kept) > MAX_KEPT:
            self._kept.popitem(last=False)
