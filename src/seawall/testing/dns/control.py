"""
Commands to the server as TXT queries, for tests in other languages: ``stats.ctl.test``, ``dead-10.ctl.test``.

=============  ========================================================================
stats          How often each name was asked; ``NAME.stats``: only that name
reset          Forget all queries
dead-S         Answer nothing but commands for S seconds (``300ms`` is possible too)
kill, revive   Answer nothing but commands, until ``revive``
=============  ========================================================================
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Protocol

from .fault import BadFault
from .label import BY_NAME

__all__ = ["Controlled", "control", "is_control"]

WORDS = ("stats", "reset", "dead", "kill", "revive")
MAX_LINES = 300  # names and complaints in one answer, so that it stays below 64 KB


class Controlled(Protocol):
    """What commands act on."""

    def kill(self, seconds: float | None = None) -> None: ...

    def revive(self) -> None: ...

    def reset(self) -> None: ...

    def stats(self, name: str = "") -> Iterable[str]: ...


def is_control(name: str, suffix: str) -> bool:
    return name.endswith(f".ctl.{suffix}")


def control(server: Controlled, name: str, suffix: str) -> tuple[str, ...]:
    """Run the command in *name*; returns the lines of the answer, which name the commands if it is unknown."""
    *about, command = name.removesuffix(f".ctl.{suffix}").split(".")
    word, _, argument = command.partition("-")
    if word == "stats" and not argument:
        return tuple(server.stats(".".join(about)))[:MAX_LINES]
    if about or word not in WORDS or (argument and word != "dead"):
        near = difflib.get_close_matches(command, WORDS, n=1, cutoff=0.5)
        return (f"unknown command {name!r}; commands: {', '.join(near or WORDS)}",)
    if word == "dead":
        try:
            server.kill(BY_NAME["dead"].read(argument))
        except BadFault as error:
            return (str(error),)
    else:
        {"reset": server.reset, "kill": server.kill, "revive": server.revive}[word]()
    return ("done",)
