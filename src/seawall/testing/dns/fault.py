"""One way in which DNS fails: a function from plan to plan, with its argument and its description in one place."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass

from .plan import Ask, Plan

__all__ = ["BadFault", "Fault", "fault"]


class BadFault(ValueError):
    """A fault that doesn't exist, or doesn't take this argument; suggests similar ones."""


@dataclass(frozen=True, slots=True)
class Fault:
    """
    One row of `DNS_FAULTS`, written as ``name`` or ``name-argument`` in a label of a name.

    Attributes:
        form: How it is written; the argument is named after its unit: ``delay-MS``, ``ttl-S``, ``many-N``.
        does: What it simulates, in one line.
        sees: What a resolver sees, in one line.
        min_argument, max_argument: Both included. Both are 0 if it takes no argument.
        takes_ms: Whether its seconds can also be written as ``300ms``.
    """

    name: str
    form: str
    does: str
    sees: str
    min_argument: int
    max_argument: int
    takes_ms: bool
    apply: Callable[..., Plan]

    @property
    def has_argument(self) -> bool:
        return self.max_argument > 0

    def on(self, plan: Plan, ask: Ask, argument: float | None) -> Plan:
        """*plan* with this fault in it."""
        return self.apply(plan, ask) if argument is None else self.apply(plan, ask, argument)

    def read(self, text: str) -> float | None:
        """
        The argument in *text*, in the unit of `form`; None if the fault takes none and the text is empty.

        Raises:
            BadFault: *text* is not such a number.
        """
        if not self.has_argument:
            if text:
                raise BadFault(f"{self.name} takes no argument, not {text!r}")
            return None
        digits = text.removesuffix("ms") if self.takes_ms else text
        number = int(digits) if digits.isascii() and digits.isdecimal() and len(digits) < 16 else -1
        argument = number / 1000 if digits != text else number
        if number < 0 or not self.min_argument <= argument <= self.max_argument:
            what = "a whole number" + (" (or milliseconds: 300ms)" if self.takes_ms else "")
            raise BadFault(f"{self.form} takes {what} from {self.min_argument} to {self.max_argument}, not {text!r}")
        return argument


def fault(sees: str, min_argument: int = 0, max_argument: int = 0) -> Callable[[Callable[..., Plan]], Fault]:
    """
    Decorator: makes a `Fault` of a function that takes a plan, an ask and perhaps an argument.

    The function's docstring says what it simulates. The argument's name is its unit; a float can be given in ms too.
    """

    def made(function: Callable[..., Plan]) -> Fault:
        arguments = list(inspect.signature(function).parameters.values())[2:]
        return Fault(
            name=function.__name__,
            form="-".join([function.__name__, *(argument.name.upper() for argument in arguments)]),
            does=function.__doc__ or "",
            sees=sees,
            min_argument=min_argument,
            max_argument=max_argument,
            takes_ms=any(argument.annotation == "float" for argument in arguments),
            apply=function,
        )

    return made
