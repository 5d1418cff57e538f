"""What metrics read of an engine, from whichever thread collects them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Final

from ..core.engine import Engine
from ..stats import Stats

__all__ = ["named_hosts", "snapshot"]

PATIENCE: Final = 1.0  # seconds that another thread waits for the engine's event loop


def named_hosts(engine: Engine) -> Iterator[str]:
    """The hosts that ``per_host=`` names one by one."""
    return (host for host in engine.layers.origins._per_host if not host.startswith("*."))


def snapshot(engine: Engine) -> Stats | None:
    """
    The engine's `stats()`, taken in the thread of its event loop, because calls change what they are read from.

    Returns:
        None if the engine is closed, or something blocks its loop.
    """
    in_flight = engine.layers.in_flight
    loop = in_flight.loop
    if in_flight.is_closed:
        return None
    if loop is None or loop is asyncio._get_running_loop() or not loop.is_running():
        return engine.stats()
    taken: Future[Stats] = Future()
    try:
        loop.call_soon_threadsafe(_take, engine, taken)
        return taken.result(PATIENCE)
    except (RuntimeError, TimeoutError):  # the loop was closed meanwhile, or something blocks it
        return None


def _take(engine: Engine, taken: Future[Stats]) -> None:
    if taken.set_running_or_notify_cancel():
        taken.set_result(engine.stats())
