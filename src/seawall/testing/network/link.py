"""
A TCP proxy on a port of its own in front of one upstream, and its toxics.

Rules: toxics may change at any time, and act on open connections too. A toxic draws once per connection whether it
strikes there.
"""

from __future__ import annotations

import asyncio
import difflib
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any, Literal, TypeAlias

from ...config.check import number
from ..service import bound
from .flow import End, Toxic
from .relay import Relay

__all__ = ["Direction", "Dose", "Link"]

BACKLOG = 4096
Direction: TypeAlias = Literal["down", "up", "both"]
DIRECTIONS = ("down", "up", "both")


@dataclass(frozen=True, slots=True, eq=False)
class Dose:
    """
    A toxic on a link.

    Args:
        toxicity: Probability that it strikes a connection, from 0 to 1.
        direction: "down" (from server to client), "up" (from client to server) or "both".
    """

    toxic: Toxic
    toxicity: float = 1.0
    direction: Direction = "down"

    def __post_init__(self) -> None:
        if not isinstance(self.toxic, Toxic):
            raise TypeError(f"toxic must be one of seawall.testing.network, such as Latency(0.1), not {self.toxic!r}")
        number("Dose", "toxicity", self.toxicity, low=0, high=1)
        if self.direction not in DIRECTIONS:
            close = difflib.get_close_matches(str(self.direction), DIRECTIONS, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise ValueError(f"direction must be 'down', 'up' or 'both', not {self.direction!r}{hint}")


class Link:
    """
    A TCP proxy with toxics; made by `Network.link`.

    It accepts a client's connection, then dials the upstream; if that fails, it resets the client's connection. It
    passes FIN and RST on. Its memory is bounded: if one side doesn't read, the other one is paused.

    Attributes:
        address, url: Where it listens: "127.0.0.1:40001", and the URL of it, with https if the upstream's had it.
        upstream: (host, port).
        doses: The toxics that were added, in order.
        open: Connections that are open now, on either side.
        peak: The most that were open at once.
        connections: All that were accepted.
    """

    def __init__(
        self,
        upstream: tuple[str, int],
        *,
        scheme: str,
        host: str,
        port: int,
        name: str,
        rng: Random,
        run: Callable[[Callable[[], Any]], Any],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._host = host
        self._rng = rng
        self._run = run
        self._loop = loop  # an argument, because no loop runs in a synchronous fixture of pytest
        self._place = bound(socket.SOCK_STREAM, host, port)  # holds the port while the link is down
        self._listener: socket.socket | None = None
        self._relays: dict[Relay, asyncio.Task[None]] = {}
        self._past = [0, 0]
        self.upstream = upstream
        self.port: int = self._place.getsockname()[1]
        self.address = f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"
        self.url = f"{scheme}://{self.address}"
        self.name = name or self.address
        self.doses: list[Dose] = []
        self.peak = 0
        self.connections = 0
        self._listen()

    def __repr__(self) -> str:
        host, port = self.upstream
        state = f"open {self.open} peak {self.peak}" if self._listener is not None else "down"
        return f"<Link {self.name} to {host}:{port} {state}>"

    @property
    def open(self) -> int:
        return len(self._relays)

    @property
    def bytes_up(self) -> int:
        """Bytes that were passed on to the server."""
        return self._past[0] + sum(relay.server.sent for relay in list(self._relays))

    @property
    def bytes_down(self) -> int:
        """Bytes that were passed on to the clients."""
        return self._past[1] + sum(relay.client.sent for relay in list(self._relays))

    def add(self, toxic: Toxic, *, toxicity: float = 1.0, direction: Direction = "down") -> Dose:
        """
        Add a toxic, for open connections too; returns what `remove` takes.

        Args:
            toxicity: Probability that it strikes a connection, from 0 to 1.
            direction: "down" (from server to client), "up" (from client to server) or "both".
        """
        dose = Dose(toxic, toxicity, direction)
        self._run(partial(self._add, dose))
        return dose

    def remove(self, dose: Dose) -> None:
        """
        Remove a toxic; what it holds back goes on at once.

        Raises:
            ValueError: *dose* is not on this link, or was removed already.
        """
        if dose not in self.doses:
            raise ValueError(f"dose must be one that add() returned and that was not removed yet, not {dose!r}")
        self._run(partial(self._remove, dose))

    def clear(self) -> None:
        """Remove all toxics."""
        for dose in list(self.doses):
            self.remove(dose)

    @contextmanager
    def toxic(self, toxic: Toxic, *, toxicity: float = 1.0, direction: Direction = "down") -> Iterator[Dose]:
        """`add` for a block."""
        dose = self.add(toxic, toxicity=toxicity, direction=direction)
        try:
            yield dose
        finally:
            if dose in self.doses:
                self.remove(dose)

    def down(self) -> None:
        """Refuse new connections and end the open ones as `close_connections` does, until `up`; it keeps its port."""

        def down() -> None:
            self._stop()
            self._end(End.CLOSE)

        self._run(down)

    def up(self) -> None:
        self._run(self._listen)

    def close_connections(self) -> None:
        """Send FIN on all open connections, to both sides; to one that still sends, RST, as of any close."""
        self._run(partial(self._end, End.CLOSE))

    def reset_connections(self) -> None:
        """Send RST on all open connections, to both sides."""
        self._run(partial(self._end, End.RESET))

    # in the network's loop

    def _listen(self) -> None:
        if self._listener is None:
            self._listener = bound(socket.SOCK_STREAM, self._host, self.port)
            self._listener.listen(BACKLOG)
            self._loop.add_reader(self._listener, self._accept, self._listener)

    def _stop(self) -> None:
        if self._listener is not None:
            self._loop.remove_reader(self._listener)
            self._listener.close()
            self._listener = None

    def _accept(self, listener: socket.socket) -> None:
        try:
            sock, _ = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):  # the client has closed it already
            return
        except OSError:  # out of file descriptors: try again later, not in a tight loop
            self._loop.remove_reader(listener)
            self._loop.call_later(0.05, self._resume, listener)
            return
        sock.setblocking(False)
        with suppress(OSError):  # macOS says so of one that the client has reset already
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # or small slices would wait for ACKs
        relay = Relay()
        self._relays[relay] = self._loop.create_task(relay.run(sock, *self.upstream))
        self._relays[relay].add_done_callback(lambda _: self._forget(relay))
        self.connections += 1
        self.peak = max(self.peak, self.open)
        for dose in self.doses:
            self._strike(relay, dose)

    def _resume(self, listener: socket.socket) -> None:
        if listener is self._listener:
            self._loop.add_reader(listener, self._accept, listener)

    def _forget(self, relay: Relay) -> None:
        del self._relays[relay]
        self._past[0] += relay.server.sent
        self._past[1] += relay.client.sent

    def _strike(self, relay: Relay, dose: Dose) -> None:
        if self._rng.random() >= dose.toxicity:
            return
        for side, direction in ((relay.client, "up"), (relay.server, "down")):
            if dose.direction in (direction, "both"):
                side.flow.add(dose, dose.toxic, self._rng, self._loop.time())
                side.move()

    def _add(self, dose: Dose) -> None:
        self.doses.append(dose)
        for relay in list(self._relays):
            self._strike(relay, dose)

    def _remove(self, dose: Dose) -> None:
        self.doses.remove(dose)
        for relay in list(self._relays):
            for side in relay.sides:
                side.flow.remove(dose, self._loop.time())
                side.move()

    def _end(self, how: End) -> None:
        for relay in list(self._relays):
            relay.end(how)

    async def aclose(self) -> None:
        self._stop()
        self._place.close()
        for relay in list(self._relays):
            relay.abort()
        if self._relays:
            await asyncio.wait(list(self._relays.values()))
