"""
One connection through a link: a client's socket, a server's, and a flow each way.

Rules: callbacks of the loop do all the work, and one task per connection waits for its end. A side that sends faster
than the other one reads, or than the toxics let through, is paused. A connection is over when it was closed or reset,
or when both sides have ended and nothing is in flight.
"""

from __future__ import annotations

import asyncio
import math
import socket
import struct
from collections.abc import Iterable
from typing import Any, cast

from .flow import End, Flow, Item

__all__ = ["Relay", "Side"]

LINGER = struct.pack("ii", 1, 0)  # closing sends RST and drops unsent data


class Side(asyncio.Protocol):
    """
    One side of the connection: what arrives here goes through *flow*, and out at *peer*.

    Attributes:
        sent: Bytes that were written to this side.
    """

    def __init__(self, relay: Relay) -> None:
        self.relay = relay
        self.flow = Flow()
        self.peer = self
        self.sent = 0
        self.transport: asyncio.Transport | None = None
        self.gone = relay.loop.create_future()
        self.is_ended = False
        self._early: list[Item] = []
        self._is_clogged = False
        self._timer: asyncio.TimerHandle | None = None

    def move(self, arrived: Iterable[Item] = ()) -> None:
        """Pass on what is due, and set the timer for the rest."""
        relay = self.relay
        for item in self.flow.step(arrived, relay.loop.time()):
            self.peer.put(item)
        if self._timer is not None:
            self._timer.cancel()
        if relay.ending is not None:
            return
        next_at = self.flow.next_at
        self._timer = relay.loop.call_at(next_at, self.move) if next_at < math.inf else None
        self.throttle()
        relay.check()

    def put(self, item: Item) -> None:
        if isinstance(item, End) and item is not End.EOF:
            self.relay.end(item)
        elif self.transport is None:
            self._early.append(item)
        elif self.transport.is_closing():
            pass
        elif isinstance(item, bytes):
            self.sent += len(item)
            self.transport.write(item)
        else:
            try:
                self.transport.write_eof()
            except OSError:  # reset meanwhile: connection_lost says so
                pass

    def throttle(self) -> None:
        """Pause or resume reading, as the flow and the peer allow."""
        if self.transport is None or self.is_ended:
            return
        if self.flow.is_full or self.peer._is_clogged or self.peer.transport is None:
            self.transport.pause_reading()
        else:
            self.transport.resume_reading()

    def end(self, how: End) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self.transport is None or self.gone.done():
            return
        if how is End.RESET:
            sock = self.transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER)
            self.transport.abort()
        else:
            self.transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        for item in self._early:
            self.put(item)
        self.throttle()
        self.peer.throttle()

    def data_received(self, data: bytes) -> None:
        self.move((data,))

    def eof_received(self) -> bool:
        self.is_ended = True
        self.move((End.EOF,))
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone.set_result(None)
        self.is_ended = True
        if self.relay.ending is None:
            self.move((End.RESET,))

    def pause_writing(self) -> None:
        self._is_clogged = True
        self.peer.throttle()

    def resume_writing(self) -> None:
        self._is_clogged = False
        self.peer.throttle()


class Relay:
    """
    Attributes:
        ending: How it ended, or is ending.
    """

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.client, self.server = Side(self), Side(self)
        self.client.peer, self.server.peer = self.server, self.client
        self.ending: End | None = None
        self._dial: asyncio.Task[Any] | None = None

    @property
    def sides(self) -> tuple[Side, Side]:
        return self.client, self.server

    async def run(self, accepted: socket.socket, host: str, port: int) -> None:
        """
        Run it from accepted to closed. If *host* and *port* can't be dialled, reset the client's connection.

        Don't cancel it: call `end` or `abort`.
        """
        await self.loop.connect_accepted_socket(lambda: self.client, accepted)
        if self.ending is None:
            self._dial = dial = self.loop.create_task(self.loop.create_connection(lambda: self.server, host, port))
            await asyncio.wait([dial])
            if not dial.cancelled() and dial.exception() is not None:
                self.end(End.RESET)
        if self.ending is not None:  # for the sides that were connected meanwhile
            self.end(self.ending)
        await asyncio.wait([side.gone for side in self.sides if side.transport is not None])

    def check(self) -> None:
        """Close it if both sides have ended, and nothing in flight will ever arrive."""
        if all(side.is_ended and side.flow.next_at == math.inf for side in self.sides):
            self.end(End.CLOSE)

    def end(self, how: End) -> None:
        """End both sides now, whatever is in flight; with CLOSE, what was written is still sent."""
        self.ending = how
        if self._dial is not None:
            self._dial.cancel()
        for side in self.sides:
            side.end(how)

    def abort(self) -> None:
        """End both sides at once, without sending what was written."""
        self.end(End.CLOSE)
        for side in self.sides:
            if side.transport is not None:
                side.transport.abort()
