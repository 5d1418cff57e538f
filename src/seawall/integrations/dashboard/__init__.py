"""`dashboard`: one page that shows how clients and their origins are doing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from ...config.check import shown
from ...core import clock
from ...core.engine import Engine
from .app import Dashboard
from .recorder import Recorder
from .stream import Streams
from .view import View, Watched

__all__ = ["Dashboard", "HasEngine", "dashboard"]

MAX_STREAMS = 20
MAX_ORIGINS = 1000


class HasEngine(Protocol):
    """A client or a transport of seawall."""

    @property
    def engine(self) -> Engine: ...


def dashboard(
    client: HasEngine | Engine,
    *more_clients: HasEngine | Engine,
    allow_control: bool = False,
    max_streams: int = MAX_STREAMS,
    max_origins: int = MAX_ORIGINS,
    now: Callable[[], float] = clock.now,
) -> Dashboard:
    """
    An ASGI application that shows what *client* does: ``app.mount("/seawall", dashboard(client))``.

    It runs on the clients' event loop, and shows five minutes of the calls that begin after it was made. It has no
    authentication of its own: mount it where the application's protects it.

    Args:
        client, more_clients: Clients, transports or engines of seawall. Those of one engine are shown as one.
        allow_control: The page may force breakers open or closed.
        max_streams: How many pages may be open at once; the next is answered with 503.
        max_origins: The most origins of an engine that are kept apart; the least called are shown as one.
        now: The loop's clock, in seconds.
    Raises:
        TypeError: One of them isn't seawall's.
    """
    clock = _Clock(now)
    engines = {id(engine): engine for engine in map(_engine, (client, *more_clients))}.values()
    watched = []
    for number, engine in enumerate(engines, 1):
        recorder = Recorder(now=clock, max_origins=max_origins)
        engine.observe(recorder.on)
        watched.append(Watched(engine.name or f"client {number}", engine, recorder))
    view = View(watched, now=clock, can_control=allow_control)
    return Dashboard(view, Streams(view, now=clock, max_streams=max_streams))


class _Clock:
    """Seconds since it was first asked, because a dashboard may be made before the loop runs."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._began_at: float | None = None

    def __call__(self) -> float:
        now = self._now()
        if self._began_at is None:
            self._began_at = now
        return now - self._began_at


def _engine(client: HasEngine | Engine) -> Engine:
    engine = getattr(client, "engine", client)
    if not isinstance(engine, Engine):
        raise TypeError(f"dashboard() takes clients, transports and engines of seawall, not {shown(client)}")
    return engine
