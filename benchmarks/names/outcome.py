"""The outcome of a lookup, and how two of them differ. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

from .machine import Machine

__all__ = ["Difference", "Outcome", "What", "difference"]

# "failure": nobody knows, so it is worth another try. "broken": what isn't an outcome at all.
What: TypeAlias = Literal["found", "NameNotFound", "NoAddress", "failure", "broken"]


class Outcome(NamedTuple):
    """Addresses of a name, sorted; or an error's kind, and what it said."""

    what: What
    addresses: tuple[str, ...] = ()
    text: str = ""

    @classmethod
    def found(cls, addresses: Iterable[str]) -> Outcome:
        return cls("found", tuple(sorted(set(addresses))))

    def is_same(self, other: Outcome) -> bool:
        """Whatever they said."""
        return self[:2] == other[:2]

    def __str__(self) -> str:
        return ", ".join(self.addresses) if self.what == "found" else f"{self.what} ({self.text})"


@dataclass(frozen=True, slots=True)
class Difference:
    """
    The difference between glibc's outcome and that of seawall, with one of its resolvers.

    Attributes:
        title: Its name in the docs; "" means that it is not accounted for.
    """

    machine: Machine
    resolver: str
    expected: Outcome
    got: Outcome
    title: str = ""

    def __str__(self) -> str:
        return f"{self.kind}, resolver {self.resolver!r}\n{self.machine}\nglibc:   {self.expected}\nseawall: {self.got}"

    @property
    def kind(self) -> str:
        """Equal for differences of the same kind."""
        if self.expected.what != "found" or self.got.what != "found":
            return f"{self.expected.what} became {self.got.what}"
        expected, got = set(self.expected.addresses), set(self.got.addresses)
        return "fewer addresses" if got < expected else "more addresses" if got > expected else "other addresses"


def difference(machine: Machine, resolver: str, expected: Outcome, got: Outcome) -> Difference | None:
    """
    None if both agree: the same set of addresses, or an error of the same kind.

    If glibc crashes, as it does on a "hosts:" line without a service, any outcome of seawall agrees.
    """
    if got.what != "broken" and (expected.is_same(got) or expected.what == "broken"):
        return None
    return Difference(machine, resolver, expected, got)
