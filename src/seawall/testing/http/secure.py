"""
TLS over a raw transport, the server's side, with control over every byte.

Not asyncio's, because that drops the alert of a failed handshake, can't close half of a connection, and sends RST
instead of FIN if there are unread bytes.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

__all__ = ["Secure"]

PIECE = 65536


class Secure(asyncio.Transport, asyncio.Protocol):
    """
    A protocol for the raw transport, and a transport for *protocol*, which is connected once the handshake is done.

    A failed handshake ends with its alert and FIN; then *protocol*'s ``connection_lost`` is called.
    """

    def __init__(self, context: ssl.SSLContext, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._protocol = protocol
        self._raw: asyncio.Transport
        self._is_ready = False
        self._has_closed = False
        self.failed: ssl.SSLError | None = None

    # the raw transport's protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._raw = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        if self.failed is not None:
            return
        self._incoming.write(data)
        try:
            if not self._is_ready:
                self._tls.do_handshake()
                self._is_ready = True
                self._protocol.connection_made(self)
            while data := self._tls.read(PIECE):
                self._protocol.data_received(data)
            if not self._protocol.eof_received():  # after a close_notify
                self._raw.close()
        except ssl.SSLWantReadError:
            self._flush()
        except ssl.SSLError as error:
            self.failed = error
            self._flush()  # the alert
            self.write_eof()

    def eof_received(self) -> bool:
        if not self._is_ready or not self._protocol.eof_received():
            self._raw.close()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._protocol.connection_lost(exc)

    def pause_writing(self) -> None:
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        self._protocol.resume_writing()

    # the transport of *protocol*

    def write(self, data: Any) -> None:
        if self._has_closed or self._raw.is_closing():
            return
        view = memoryview(data)
        while view:  # OpenSSL takes all of it, because the BIO grows, but one record per call
            view = view[self._tls.write(view) :]
        self._flush()

    def write_eof(self) -> None:
        """Send close_notify, then FIN."""
        if self._has_closed or self._raw.is_closing():
            return
        self._has_closed = True
        if self._is_ready and self.failed is None:
            try:
                self._tls.unwrap()
            except ssl.SSLError:
                pass  # the client's close_notify has not come yet
            self._flush()
        self._raw.write_eof()

    def truncate(self) -> None:
        """Send FIN without a close_notify."""
        if not self._has_closed and not self._raw.is_closing():
            self._has_closed = True
            self._raw.write_eof()

    def can_write_eof(self) -> bool:
        return True

    def close(self) -> None:
        self.write_eof()
        self._raw.close()

    def abort(self) -> None:
        self._raw.abort()

    def is_closing(self) -> bool:
        return self._raw.is_closing()

    def pause_reading(self) -> None:
        self._raw.pause_reading()

    def resume_reading(self) -> None:
        self._raw.resume_reading()

    def get_write_buffer_size(self) -> int:
        return self._raw.get_write_buffer_size()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._tls if name == "ssl_object" else self._raw.get_extra_info(name, default)

    def _flush(self) -> None:
        if data := self._outgoing.read():
            self._raw.write(data)
