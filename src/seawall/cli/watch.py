"""What happens during a call of ``seawall get``, as an observer hears of it."""

from __future__ import annotations

from collections.abc import Callable

from ..core.lines import about
from ..events import Attempt, BodyEnded, Event, RetryDenied, RetryScheduled
from .complaint import outcome

__all__ = ["Watch"]


class Watch:
    """
    Keeps a call's attempts, and says at once that one is retried, because the wait may be long.

    The history of a response or error has less: an error of httpx's own, such as TooManyRedirects, has none.

    Args:
        say: Prints a line for the user.
    Attributes:
        attempts: Those of the present call; of a streamed one, the last ends with its body.
        denied: Why no attempt followed the last; None if nobody asked for one.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self.attempts: list[Attempt] = []
        self.denied: RetryDenied | None = None

    def begin(self) -> None:
        """Forget the last call."""
        self.attempts = []
        self.denied = None

    def __call__(self, event: Event) -> None:
        match event:
            case Attempt():
                self.attempts.append(event)
                self.denied = None
            case BodyEnded():
                self.attempts = [
                    each._replace(duration=event.duration, bytes_in=event.bytes_in)
                    if each.number == event.number
                    else each
                    for each in self.attempts
                ]
            case RetryDenied():
                self.denied = event
            case RetryScheduled():
                self._say(
                    f"{about(event)}: {outcome(event.reason)}; "
                    f"attempt {event.number} of {event.max_attempts} in {event.delay:.2g} s"
                )
            case _:
                pass
