"""
An error of ours that is an HTTP library's too: its class, and how it is made.

Rules: the object is new, because the error itself may reach callers of several libraries (clients share an Engine, and
so its dials, lookups and connections). Its class is one for each pair of classes, whichever front asks. No constructor
runs, because a user's class may want any arguments. This module knows no HTTP library.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from ..errors import SeawallError

__all__ = ["adopted", "both"]

E = TypeVar("E", bound=SeawallError)


@functools.cache
def both(neutral: type[SeawallError], *theirs: type[Exception]) -> type[SeawallError]:
    """The class that is *neutral* and its library's classes, under the neutral name."""
    names = {
        "__module__": neutral.__module__,
        "__qualname__": neutral.__qualname__,
        "__doc__": neutral.__doc__,
        "__reduce__": _reduce,
        "_neutral": neutral,
        "theirs": theirs,
    }
    return type(neutral.__name__, (neutral, *theirs), names)


def adopted(error: E, *theirs: type[Exception]) -> E:
    """A new error that is of the classes *theirs* too, with all that *error* has: facts, notes, traceback, causes."""
    made: E = _made(type(error), theirs, error.args)
    vars(made).update(_facts(error))
    made.__traceback__ = error.__traceback__
    made.__cause__ = error.__cause__
    made.__context__ = error.__context__
    made.__suppress_context__ = error.__suppress_context__  # which the cause has set
    return made


def _made(neutral: type[SeawallError], theirs: tuple[type[Exception], ...], args: tuple[Any, ...]) -> Any:
    kind = both(neutral, *theirs)  # type: ignore[arg-type]  # mypy takes a class for unhashable
    builtin = next(cls for cls in kind.__mro__ if cls.__module__ == "builtins")
    made = builtin.__new__(kind, *args)
    made.args = args
    return made


def _facts(error: SeawallError) -> dict[str, Any]:
    """Its attributes; the notes in a list of their own, because notes are added to it."""
    facts = dict(vars(error))
    if "__notes__" in facts:
        facts["__notes__"] = list(facts["__notes__"])
    return facts


def _reduce(error: Any) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
    """For pickle and copy: by the classes that it is made of, because no name leads to a class that is made here."""
    return _made, (error._neutral, error.theirs, error.args), _facts(error)
