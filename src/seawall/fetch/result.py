"""What became of one request of many."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from ..attempts import History, history

__all__ = ["Result"]

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Result(Generic[T, R]):
    """
    What became of one request of many: a response, or an error.

    Attributes:
        request: What was given: a URL or a Request.
        response: The response, read, whatever its status; None if there is an error.
        error: Why there is none.
        index: The request's place among those given, from 0.
    """

    request: T
    response: R | None
    error: BaseException | None
    index: int

    @property
    def history(self) -> History:
        """The attempts that were made for it."""
        outcome: Any = self.error if self.response is None else self.response
        return history(outcome)
