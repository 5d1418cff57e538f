"""The client that sent a query, and the way back to it: the sender of a datagram, or a TCP connection."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Literal, Protocol

from .plan import Transport

__all__ = ["Datagram", "Peer", "Stream"]


class Peer(Protocol):
    """Where answers are sent; they are dropped once the client has closed."""

    @property
    def transport(self) -> Transport: ...

    @property
    def port(self) -> int: ...

    def send(self, message: bytes) -> None: ...

    def reset(self) -> None:
        """End the connection with RST."""


class Datagram:
    """The sender of one datagram."""

    __slots__ = ("_addr", "_sock", "port")

    transport: Literal["udp"] = "udp"

    def __init__(self, sock: socket.socket, addr: Any) -> None:
        self._sock = sock
        self._addr = addr
        self.port: int = addr[1]

    def send(self, message: bytes) -> None:
        with suppress(OSError):  # the sender's port is closed, or our buffer is full: datagrams get lost
            self._sock.sendto(message, self._addr)

    def reset(self) -> None:
        raise AssertionError("unreachable")


class Stream(asyncio.Protocol):
    """
    A TCP connection: each message follows its length, answers come in any order (RFC 7766 §6.2.1.1, §8).

    Attributes:
        closed: Done when the socket is closed.
    """

    transport: Literal["tcp"] = "tcp"

    def __init__(self, met: Callable[[Stream], None], received: Callable[[bytes, Peer], None]) -> None:
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._met = met
        self._received = received
        self._buffer = bytearray()
        self._tcp: asyncio.Transport
        self.port = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._tcp = transport
        self.port = transport.get_extra_info("peername")[1]
        self._set(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._met(self)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) >= 2:
            end = 2 + int.from_bytes(self._buffer[:2], "big")
            if len(self._buffer) < end:
                return
            message = bytes(self._buffer[2:end])
            del self._buffer[:end]
            self._received(message, self)

    def pause_writing(self) -> None:
        self._tcp.pause_reading()

    def resume_writing(self) -> None:
        self._tcp.resume_reading()

    def connection_lost(self, error: Exception | None) -> None:
        self.closed.set_result(None)

    def send(self, message: bytes) -> None:
        if not self._tcp.is_closing():
            self._tcp.write(len(message).to_bytes(2, "big") + message)

    def reset(self) -> None:
        if not self._tcp.is_closing():
            self._set(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._tcp.abort()

    def _set(self, level: int, option: int, value: int | bytes) -> None:
        with suppress(OSError):  # the client has closed already
            self._tcp.get_extra_info("socket").setsockopt(level, option, value)
