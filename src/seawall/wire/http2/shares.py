"""
What one HTTP/2 connection may send, dealt out among the bodies of its requests: its window, and its socket's buffer.

Rules: bodies that wait for either stand in one line, first in, first out. What comes free is dealt out at once, a frame
to each in turn, so nothing is left for a body that comes later, and a large one holds up no other. A body that lacks
its own window doesn't stand there, because what comes free is of no use to it.
"""

from __future__ import annotations

from typing import Any, Protocol

from .dialogue import Dialogue

__all__ = ["Shares"]


class Line(Protocol):
    """The connection, as far as it takes bytes."""

    can_write: bool

    @property
    def dialogue(self) -> Dialogue[Any]: ...


class Body(Protocol):
    """See `Sending`."""

    @property
    def is_part_sent(self) -> bool: ...

    def sends_frame(self) -> bool: ...

    def wake(self) -> None: ...


class Shares:
    """
    Those of one connection.

    Attributes:
        bodies: How many are being sent, whether they wait or not.
        widened_at: When the server widened the connection's window last, in loop time.
    """

    __slots__ = ("_line", "bodies", "widened_at")

    def __init__(self) -> None:
        self.bodies = 0
        self.widened_at = 0.0
        self._line: dict[Body, None] = {}

    def join(self, body: Body) -> None:
        """It lacks what all share; where it stands in line already, it keeps its place."""
        self._line.setdefault(body)

    def has(self, body: Body) -> bool:
        """Whether it stands in line."""
        return body in self._line

    def leave(self, body: Body) -> None:
        self._line.pop(body, None)

    def deal(self, connection: Line) -> None:
        """Something came free."""
        line = self._line
        while line and connection.can_write and connection.dialogue.shared_window > 0:
            body = next(iter(line))
            del line[body]
            if body.sends_frame() and not body.is_part_sent:
                line[body] = None
            else:
                body.wake()  # for its next part, or because it lacks its own window, or is wanted no more
