"""The root of all errors, and the axis."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from ..events import Attempt
    from ..origin import Origin

__all__ = ["SeawallError", "Unsent"]


class SeawallError(Exception):
    """
    The root of all errors. Facts are attributes, set by keyword; the message repeats them for people.

    Attributes:
        attempts: Every attempt of the call, in order; empty if none was made.
        origin: The origin that the request was for, if it is known.
        elapsed: Seconds until it failed, if they were measured.
        theirs: The classes of an HTTP library that it has too; empty until a call of that library's client meets it.
    """

    theirs: ClassVar[tuple[type[Exception], ...]] = ()
    attempts: tuple[Attempt, ...] = ()
    origin: Origin | None = None
    elapsed: float | None = None

    def __init__(self, message: str, **facts: object) -> None:
        super().__init__(message)
        self.__dict__.update(facts)


class Unsent(SeawallError):
    """The call sent no byte of any request, so any method may be repeated."""
