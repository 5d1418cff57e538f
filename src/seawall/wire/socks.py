"""
A connection through a SOCKS5 proxy: socksio says what is sent and what replies mean, this module reads whole replies.

Source: RFC 1928, RFC 1929 (username and password).
"""

from __future__ import annotations

from typing import Any, Final, Protocol

import socksio
from socksio.socks5 import SOCKS5AType, SOCKS5AuthMethod, SOCKS5Command, SOCKS5ReplyCode

__all__ = ["FINAL", "Failed", "connect"]

NAMED: Final = 3  # the address type that is a name, whose first byte is its length
SIZES: Final = {1: 4, 4: 16}  # B of an address by its type: IPv4, IPv6
MAX_HOST: Final = 255  # B; a longer one doesn't fit in its length's byte

FINAL: Final = frozenset(
    {
        SOCKS5ReplyCode.CONNECTION_NOT_ALLOWED_BY_RULESET,
        SOCKS5ReplyCode.COMMAND_NOT_SUPPORTED,
        SOCKS5ReplyCode.ADDRESS_TYPE_NOT_SUPPORTED,
    }
)
"""Replies that the next attempt would get again."""


class Stream(Protocol):
    """The connection to the proxy."""

    async def receive(self, max_bytes: int, timeout: float | None) -> bytes | None: ...

    async def transmit(self, data: bytes, timeout: float | None) -> bool: ...


class Failed(Exception):
    """
    The proxy gives no connection to the origin.

    Attributes:
        is_final: A setting is wrong.
    """

    def __init__(self, why: str, *, is_final: bool) -> None:
        super().__init__(why)
        self.is_final = is_final


async def connect(stream: Stream, host: bytes | str, port: int, credentials: tuple[bytes, bytes] | None) -> None:
    """
    Ask the proxy for a connection.

    Args:
        host: An IP address as text, else a name, which the proxy resolves.
    Raises:
        Failed: It gave none.
        OSError: The connection broke.
    """
    protocol = socksio.SOCKS5Connection()
    method = SOCKS5AuthMethod.NO_AUTH_REQUIRED if credentials is None else SOCKS5AuthMethod.USERNAME_PASSWORD
    protocol.send(socksio.SOCKS5AuthMethodsRequest([method]))
    chosen = await _asked(stream, protocol)
    if chosen.method != method:
        asked = "a username and a password" if credentials is None else "other credentials"
        raise Failed(f"it wants {asked}", is_final=True)
    if credentials is not None:
        protocol.send(socksio.SOCKS5UsernamePasswordRequest(*credentials))
        if not (await _asked(stream, protocol)).success:
            raise Failed("invalid username or password", is_final=True)
    protocol.send(_request(host, port))
    code = (await _asked(stream, protocol, is_reply=True)).reply_code
    if code is not SOCKS5ReplyCode.SUCCEEDED:
        raise Failed(code.name.replace("_", " ").lower(), is_final=code in FINAL)


def _request(host: bytes | str, port: int) -> socksio.SOCKS5CommandRequest:
    if isinstance(host, str):
        return socksio.SOCKS5CommandRequest.from_address(SOCKS5Command.CONNECT, (host, port))
    if len(host) > MAX_HOST:
        raise Failed(f"a host of more than {MAX_HOST} bytes", is_final=True)
    return socksio.SOCKS5CommandRequest(SOCKS5Command.CONNECT, SOCKS5AType.DOMAIN_NAME, host, port)


async def _asked(stream: Stream, protocol: socksio.SOCKS5Connection, *, is_reply: bool = False) -> Any:
    """The proxy's reply to what *protocol* has to send."""
    await stream.transmit(protocol.data_to_send(), None)
    reply = await _exactly(stream, 4 if is_reply else 2)
    if is_reply:
        if (kind := reply[3]) == NAMED:
            size = await _exactly(stream, 1)
            reply += size + await _exactly(stream, size[0] + 2)
        elif kind in SIZES:
            reply += await _exactly(stream, SIZES[kind] + 2)
        else:
            raise Failed("what it says isn't SOCKS5", is_final=False)
    try:
        return protocol.receive_data(reply)
    except (socksio.ProtocolError, UnicodeError, ValueError) as error:
        raise Failed("what it says isn't SOCKS5", is_final=False) from error


async def _exactly(stream: Stream, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = await stream.receive(size - len(data), None)
        if not part:
            raise Failed("it closed the connection", is_final=False)
        data += part
    return data
