"""What metrics read of engines, from whichever thread collects them."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, wait
from typing import Final, TypeAlias

from ..core.engine import Engine
from ..stats import Stats

__all__ = ["Asked", "Watched", "answers"]

PATIENCE: Final = 1.0  # seconds that another thread waits for the event loops of all engines together

Asked: TypeAlias = "Future[Stats | None]"


class Watched:
    """An engine whose levels any thread may ask for. It isn't kept alive."""

    def __init__(self, engine: Engine) -> None:
        self._engine = weakref.ref(engine)
        self._in_flight = engine.layers.in_flight

    def stats(self) -> Stats | None:
        """A snapshot, to be taken in the engine's own thread; None if the engine is closed."""
        engine = self._engine()
        return None if engine is None or self._in_flight.is_closed else engine.stats()

    def ask(self) -> Asked:
        """
        The same from any thread, because calls change what it is read from.

        It isn't done while something blocks the engine's event loop.
        """
        asked: Asked = Future()
        loop = self._in_flight.loop
        if loop is None or loop is asyncio._get_running_loop() or not loop.is_running():
            self._answer(asked)
        else:
            try:
                loop.call_soon_threadsafe(self._answer, asked)
            except RuntimeError:  # it was closed meanwhile
                asked.set_result(None)
        return asked

    def _answer(self, asked: Asked) -> None:
        try:
            asked.set_result(self.stats())
        except Exception as error:  # noqa: BLE001  # it is raised where the levels are collected
            asked.set_exception(error)


def answers(asked: Iterable[Asked]) -> Iterator[Stats | None]:
    """What each engine answered that was asked; None if it is closed, or if something blocks its event loop."""
    asked = list(asked)
    wait(asked, PATIENCE)
    return (each.result() if each.done() else None for each in asked)
