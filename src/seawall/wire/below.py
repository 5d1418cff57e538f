"""What lies below asyncio's TLS: a socket, or the TLS of a proxy; and what asyncio does wrong there."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from asyncio import sslproto
from collections.abc import Callable
from contextvars import Context
from typing import Any, Final, cast

__all__ = ["Below", "hear_out", "mend"]

HEARD_AT_ONCE: Final = 64 * 1024  # B


class Below(asyncio.BufferedProtocol):
    """Between a socket and asyncio's TLS. What isn't defined here is asyncio's own method, so it costs no call."""

    def __init__(self, sock: socket.socket, tls: asyncio.BufferedProtocol) -> None:
        self._sock = sock
        self._tls = tls
        for name in ("get_buffer", "buffer_updated", "eof_received", "pause_writing"):
            setattr(self, name, getattr(tls, name))

    def resume_writing(self) -> None:
        # Soon, because asyncio's TLS writes at once, and a transport whose write fails within this call ends twice.
        asyncio.get_running_loop().call_soon(self._resume, context=Context())

    def _resume(self) -> None:
        if self.__dict__:  # it isn't lost meanwhile
            self._tls.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None:
            hear_out(self._sock, self._tls)
        self._tls.connection_lost(exc)
        self.__dict__.clear()  # its methods hold asyncio's TLS, and that the connection


def hear_out(sock: socket.socket, protocol: asyncio.BufferedProtocol) -> None:
    """
    Give *protocol* what came before the connection broke.

    A server that answers early and then resets makes our next write fail, and asyncio takes that for the end, though
    the response may be in the socket still.
    """
    with contextlib.suppress(OSError, MemoryError):  # the socket is empty or closed, or no memory is left
        while size := sock.recv_into(protocol.get_buffer(HEARD_AT_ONCE)):
            protocol.buffer_updated(size)


class _Outer(sslproto.SSLProtocol):
    """asyncio's TLS that carries TLS."""

    # asyncio's, which typeshed doesn't know
    _set_state: Callable[[sslproto.SSLProtocolState], None]
    _state: sslproto.SSLProtocolState

    def _abort(self, exc: BaseException | None = None) -> None:
        self._set_state(sslproto.SSLProtocolState.UNWRAPPED)
        if (transport := cast("Any", self._transport)) is not None:
            transport._force_close(exc)

    def _call_eof_received(self) -> None:
        if self._state is not sslproto.SSLProtocolState.UNWRAPPED:  # else an error ended it, which is told soon
            super()._call_eof_received()  # type: ignore[misc]


def mend(transport: asyncio.BaseTransport) -> None:
    """
    Where *transport* is asyncio's TLS, let other TLS that it is to carry fail with its own error.

    asyncio of 3.11.7, 3.12.1 and before raises a TypeError in its place, because the outer TLS's `_abort` takes no
    error, and the inner one hands it one. Source: https://github.com/python/cpython/issues/113214
    """
    tls = getattr(transport, "_ssl_protocol", None)  # uvloop's hides it, and has no such fault
    if type(tls) is sslproto.SSLProtocol:
        tls.__class__ = _Outer
