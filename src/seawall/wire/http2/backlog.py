"""What was written to a connection and the peer's system hasn't taken yet."""

from __future__ import annotations

import asyncio
import sys

try:
    import fcntl
    import termios
except ImportError:  # not on Windows
    fcntl = termios = None  # type: ignore[assignment]

__all__ = ["backlog"]


def backlog(transport: asyncio.Transport | None) -> int:
    """Bytes that are not acknowledged, as far as the system says so: Linux does, by TIOCOUTQ; 0 where none does."""
    if transport is None or fcntl is None:
        return 0
    try:
        sock, waiting = transport.get_extra_info("socket"), transport.get_write_buffer_size()
        return waiting + int.from_bytes(fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4)), sys.byteorder)
    except (AttributeError, NotImplementedError, OSError, ValueError):  # another loop's transport
        return 0
