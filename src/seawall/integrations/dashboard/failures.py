"""The last calls that failed, with their attempts."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from ...events import Attempt, BodyEnded, CallEnded, Phase
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


@dataclass(frozen=True, slots=True)
class Failure:
    """
    A call that failed, or several that failed alike, of which this is the last.

    Attributes:
        number: The same for all that failed alike.
        count: How many failed alike.
        at: When it failed, in seconds on the dashboard's clock.
        event: Its end; of a stream that broke off, its body's.
    """

    number: int
    count: int
    at: float
    event: CallEnded | BodyEnded
    attempts: tuple[Attempt, ...]


class Failures:
    """The attempts of calls in flight, and the last 20 calls that failed, latest last."""

    def __init__(self) -> None:
        self._attempts: dict[int, list[Attempt]] = {}
        self._streams: OrderedDict[int, list[Attempt]] = OrderedDict()
        self._kept: OrderedDict[tuple[str, Origin | None, str], Failure] = OrderedDict()
        self._number = 0

    def __iter__(self) -> Iterator[Failure]:
        return iter(self._kept.values())

    def attempted(self, event: Attempt) -> None:
        """An attempt of a call ended."""
        attempts = self._attempts.setdefault(event.call, [])
        attempts.append(event)
        if len(attempts) > MAX_ATTEMPTS:
            del attempts[MAX_ATTEMPTS // 2]

    def ended(self, event: CallEnded, at: float, *, is_failed: bool) -> None:
        """The call ended."""
        attempts = self._attempts.pop(event.call, [])
        if is_failed:
            self._keep(event, attempts, at)
        elif event.outcome not in BY_CALLER and attempts and attempts[-1].phase is Phase.HEADERS:
            self._streams[event.call] = attempts
            if len(self._streams) > MAX_STREAMS:
                self._streams.popitem(last=False)

    def body_ended(self, event: BodyEnded, at: float, *, is_failed: bool) -> None:
        """The body of a streamed response ended; before its call did, if it was in memory."""
        if unended := self._attempts.get(event.call):
            unended[-1] = unended[-1]._replace(phase=Phase.BODY)
        attempts = self._streams.pop(event.call, [])
        if is_failed:
            self._keep(event, attempts, at)

    def _keep(self, event: CallEnded | BodyEnded, attempts: list[Attempt], at: float) -> None:
        key = event.method, event.origin, event.outcome
        before = self._kept.pop(key, None)
        if before is None:
            self._number += 1
            self._kept[key] = Failure(self._number, 1, at, event, tuple(attempts))
        else:
            self._kept[key] = Failure(before.number, before.count + 1, at, event, tuple(attempts))
        if len(self._kept) > MAX_KEPT:
            self._kept.popitem(last=False)
