"""
Which request gets which step, and which requests came. No I/O here.

Rule: the n-th request with a key gets the n-th step of that key's script, and the last one repeats. A request whose
path names its steps takes none of the script. Tests count here, at the server, never in the client.
"""

from __future__ import annotations

import difflib
import hashlib
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

from .request import Request
from .step import BadStep, Kind, Registry, Step
from .turn import Turn

__all__ = ["Received", "Scripts", "StepLike"]

MAX_RECORDS = 10_000  # per key

StepLike = Step | str | Callable[[Request], Coroutine[Any, Any, None]]


@dataclass(slots=True, kw_only=True)
class Received:
    """
    One request, as the server saw it.

    Attributes:
        number: Its number among the requests with its key, from 1.
        step: The text of the step that was done to it.
        port: The name of the port that it came to.
        connection: The number of its connection at the server, from 1.
        request: Its number on that connection, from 1.
        length, sha256: Of the part of the body that was read.
        is_complete: Whether the whole body was read.
        at: When it came, in seconds on the clock of the server's loop.
    """

    key: str
    number: int
    step: str
    port: str
    connection: int
    request: int
    method: str
    target: str
    headers: list[tuple[str, str]]
    at: float
    length: int = 0
    sha256: str = ""
    is_complete: bool = False

    def note_body(self, request: Request) -> None:
        """Note how much of the body was read so far."""
        self.length = len(request.body)
        self.sha256 = hashlib.sha256(request.body).hexdigest()
        self.is_complete = request.is_complete


@dataclass(slots=True)
class _Key:
    script: tuple[Step, ...] = ()
    count: int = 0
    taken: int = 0  # steps of the script
    records: deque[Received] = field(default_factory=lambda: deque(maxlen=MAX_RECORDS))
    memory: dict[str, float] = field(default_factory=dict)


class Scripts:
    """Scripts and records by key."""

    def __init__(self, steps: Registry) -> None:
        self._steps = steps
        self._keys: dict[str, _Key] = {}

    def set(self, key: str, steps: Sequence[StepLike]) -> None:
        """
        Set a new script for *key*, and count its requests from 1 again.

        Raises:
            BadStep: No step is given, or one is not for requests.
        """
        if not steps:
            raise BadStep(f"the script for {key!r} has no steps")
        script: list[Step] = []
        for step in steps:
            script += self.steps(step, level="reply")
        self._keys[key] = _Key(tuple(script))

    def steps(self, step: StepLike, *, level: Any) -> tuple[Step, ...]:
        """*step* as one or more steps of that level."""
        if isinstance(step, str):
            return self._steps.parse(step, level=level)
        if isinstance(step, Kind):
            raise BadStep(f"{step!r} must be called: {step.name}(...)")
        made = step if isinstance(step, Step) else _custom(step)
        if made.level != level:
            raise BadStep(f"{made} is a step of a {made.level}, and can't stand where a {level}'s must")
        return (made,)

    def take(self, key: str, text: str) -> tuple[Step, int, dict[str, float]]:
        """
        The next step of *key*, from *text*, or if that is empty, from its script; its number; and the key's memory.

        Raises:
            BadStep: *text* is not valid, or it is empty and no script was set.
        """
        steps = self._steps.parse(text, level="reply") if text else ()
        entry = self._keys.get(key)
        if entry is None:
            if not steps:
                known = [name for name, each in self._keys.items() if each.script]
                near = difflib.get_close_matches(key, known, n=3) or known[:10]
                raise BadStep(f"no script for key {key!r}; keys with a script: {', '.join(near) or 'none'}")
            entry = self._keys[key] = _Key()
        steps = steps or entry.script
        if not steps:
            raise BadStep(f"no script for key {key!r}, which was used only with steps in the path")
        entry.count += 1
        entry.taken += not text
        number = entry.count if text else entry.taken
        return steps[min(number, len(steps)) - 1], entry.count, entry.memory

    def record(self, received: Received) -> None:
        """Keep a request among its key's attempts."""
        self._keys[received.key].records.append(received)

    def attempts(self, key: str) -> list[Received]:
        """The requests that came with *key*, in order (the last 10,000)."""
        entry = self._keys.get(key)
        return list(entry.records) if entry else []

    def counts(self) -> dict[str, int]:
        """The number of requests by key."""
        return {key: entry.count for key, entry in self._keys.items()}

    def unused(self) -> list[str]:
        """Keys with a script that no request came with."""
        return [key for key, entry in self._keys.items() if entry.script and not entry.count]

    def reset(self) -> None:
        """Forget scripts and records."""
        self._keys.clear()


def _custom(function: Callable[[Request], Coroutine[Any, Any, None]]) -> Step:
    """A step that calls a function of the user's."""
    if not callable(function):
        raise BadStep(f"a step must be a Step, its text, or an async function of a Request, not {function!r}")

    async def run(turn: Turn) -> None:
        await turn.request.read()
        await function(turn.request)

    run.__name__ = getattr(function, "__name__", "custom")
    run.__doc__ = function.__doc__
    return Kind(run, level="reply", protocols=("http/1.1", "h2"), reads_body=True, needs=())()
