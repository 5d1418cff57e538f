"""Writes what happens to the logger ``seawall`` and its children."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Final

from ..attempts import History
from ..events import Event
from .lines import LINES, LOGGERS, Line, about, kind

__all__ = ["Log"]

QUIET_FOR = 1.0  # seconds after a warning for which others like it are only counted
MAX_KINDS = 1024  # of warnings that are remembered: as many as origins whose state a client keeps

CHILDREN: Final = {name: logging.getLogger(f"seawall.{name}") for name in LOGGERS}
for _logger in CHILDREN.values():
    _logger.addHandler(logging.NullHandler())  # so an application that configures no log isn't told of its calls
# But `seawall` itself has none: at import it warns of a release that lacks private names, before anybody has configured
# a log, and that an observer raises is a bug, so both reach standard error then.

MORE: Final = " (and %(seawall.repeated)d more like it in the last %(seawall.repeated_for).3g s)"


class Log:
    """
    The log of one client.

    Args:
        client: The client's name; if it has one, it is a field of each line.
        now: The time by which warnings are counted. If it raises RuntimeError, because no loop runs, each is written.
    """

    def __init__(self, client: str, *, now: Callable[[], float]) -> None:
        self._client = client
        self._now = now
        self._repeats = Repeats()

    def write(self, event: Event, history: Callable[[], History] | None = None) -> None:
        """Write the line of *event*, if its logger is interested. *history* gives that of a call that ended."""
        name = kind(event)
        line = LINES[name]
        if not CHILDREN[line.logger].isEnabledFor(line.level):
            return
        repeats: tuple[int, float] | None = None
        if line.level >= logging.WARNING and (repeats := self._repeated(name, line, event)) is None:
            return
        fields: dict[str, object] = {"seawall.event": name}
        if self._client:
            fields["seawall.client"] = self._client
        values = {field: value(event) for field, value in line.fields.items()}
        fields |= {field: value for field, value in values.items() if value not in (None, "")}
        if history is not None:
            fields["seawall.history"] = str(history() or f"no attempt: {values['seawall.outcome']}")
        text = f"%(about)s: {line.text}"
        if repeats is not None and repeats[0]:
            fields["seawall.repeated"], fields["seawall.repeated_for"] = repeats
            text += MORE
        # Formatters of structured logs read the fields from the record; the text may name one that is empty.
        CHILDREN[line.logger].log(line.level, text, {**values, **fields, "about": about(event)}, extra=fields)

    def _repeated(self, name: str, line: Line, event: Event) -> tuple[int, float] | None:
        """As `Repeats.count`, of a warning."""
        try:
            now = self._now()
        except RuntimeError:
            return 0, 0.0
        return self._repeats.count((name, *(line.fields[field](event) for field in line.alike)), now)


class Repeats:
    """
    Says of things that repeat when one is worth telling: the first, and the first after each `QUIET_FOR` seconds.

    Of `MAX_KINDS` kinds it forgets the one that was told longest ago, and its count with it.
    """

    def __init__(self) -> None:
        self._told: OrderedDict[Hashable, tuple[float, int]] = OrderedDict()

    def count(self, what: Hashable, now: float) -> tuple[int, float] | None:
        """
        Note that *what* happened.

        Returns:
            If it is worth telling: how often it happened since it was last told, and how many seconds ago that was.
            None if it isn't.
        """
        told_at, count = self._told.get(what, (now - QUIET_FOR, 0))
        if now - told_at < QUIET_FOR:
            self._told[what] = (told_at, count + 1)
            return None
        self._told[what] = (now, 0)
        self._told.move_to_end(what)
        if len(self._told) > MAX_KINDS:
            self._told.popitem(last=False)
        return count, now - told_at
