"""Steps of a port that is a proxy: HTTP in the clear and over TLS, SOCKS5; to loopback only, well or badly."""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import re
from typing import Final, Literal

from ..http.passage import MAX_HEAD, Cut, Refused, Target, dialled, forward, relay, target_of
from ..http.port import Incoming
from ..http.step import step
from ..http.stream import Stream
from .tls import CERTIFICATES, Certificate

__all__ = ["proxy", "socks5", "tls_proxy"]

ProxyFault = Literal[
    "none", "403", "407", "429", "500", "502", "503", "close", "reset", "hang", "long", "garbage", "cut", "early",
    "hang_tunnel", "close_tunnel", "reset_tunnel", "hang_body", "close_body", "reset_body",
]  # fmt: skip
SOCKSFault = Literal[
    "none", "pieces", "auth", "1", "2", "3", "4", "5", "6", "7", "8", "close", "reset", "hang", "garbage", "cut",
    "early", "hang_tunnel", "close_tunnel", "reset_tunnel", "hang_body", "close_body", "reset_body",
]  # fmt: skip
CUTS: Final = {
    "hang_tunnel": Cut("hang", 0),
    "close_tunnel": Cut("close", 100),  # B; a ServerHello is longer
    "reset_tunnel": Cut("reset", 100),
    "hang_body": Cut("hang", 10_000),  # B; a handshake and a response's headers are shorter
    "close_body": Cut("close", 10_000),
    "reset_body": Cut("reset", 10_000),
}
REASONS: Final = {
    "403": "Forbidden", "407": "Proxy Authentication Required", "429": "Too Many Requests",
    "500": "Internal Server Error", "502": "Bad Gateway", "503": "Service Unavailable",
}  # fmt: skip
GIVEN: Final = re.compile(rb"\r\nproxy-authorization[ \t]*:[ \t]*basic[ \t]+(\S*)", re.IGNORECASE)
EARLY: Final = b"early bytes"
GAP: Final = 0.002  # s in which a client reads a piece, or TCP would join it with the next
CONNECTED: Final = b"HTTP/1.1 200 Connected\r\n\r\n"

NO_AUTHENTICATION, PASSWORD, NONE_ACCEPTABLE = 0, 2, 255  # RFC 1928 section 3
IPV4, NAME, IPV6 = 1, 3, 4  # RFC 1928 section 5
NOT_ALLOWED, REFUSED, BAD_COMMAND, BAD_ADDRESS = 2, 5, 7, 8  # RFC 1928 section 6


@step(level="connection")
async def proxy(incoming: Incoming, fault: ProxyFault = "none", username: str = "", password: str = "") -> None:
    """
    An HTTP proxy to loopback, for CONNECT and for http: URLs; "…_tunnel": hangs, or breaks off the origin's handshake.

    "…_body": breaks off after 10,000 bytes of the origin's. With *username* and *password* it wants these.
    """
    async with incoming.stream() as client:
        await _http(client, fault, _basic(username, password))


@step(level="connection", needs=CERTIFICATES)
async def tls_proxy(
    incoming: Incoming,
    certificate: Certificate = "good",
    fault: ProxyFault = "none",
    username: str = "",
    password: str = "",
) -> None:
    """The same over TLS with this certificate; ports such as `tls_hang` are proxies whose handshake fails otherwise."""
    async with incoming.stream(incoming.port.certificates.kept(certificate)) as client:
        await _http(client, fault, _basic(username, password))


@step(level="connection")
async def socks5(incoming: Incoming, fault: SOCKSFault = "none", username: str = "", password: str = "") -> None:
    """A SOCKS5 proxy to loopback; a number: this reply; "auth": no credentials are good; "pieces": byte by byte."""
    async with incoming.stream() as client:
        target = await _socks_request(client, fault, username, password, is_whole=fault != "pieces")
        if target is None:
            await client.close()
        elif fault == "cut":
            await client.send(_reply(0)[:5])
            await client.close()
        elif fault.isdecimal():
            await client.send(_reply(int(fault)))
            await client.close()
        elif not await _ended(client, fault):
            await _socks_tunnel(client, target, fault)


async def _ended(client: Stream, fault: str) -> bool:
    """End the connection as *fault* says, without a good answer; returns whether it says so."""
    if fault == "close":
        await client.close()
    elif fault == "reset":
        client.reset()
    elif fault == "hang":
        await client.drain()
    elif fault == "garbage":
        await client.send(b"garbage\r\n\r\n")
        await client.close()
    else:
        return False
    return True


# HTTP


async def _http(client: Stream, fault: ProxyFault, wanted: bytes) -> None:
    head = await client.until(b"\r\n\r\n", MAX_HEAD)
    is_connect = head.startswith(b"CONNECT ")
    if not head.endswith(b"\r\n\r\n"):
        if head:
            await _answer(client, 400, "Bad Request")
    elif fault in REASONS:
        await _answer(client, int(fault), REASONS[fault])
    elif fault == "long":
        await client.send(b"HTTP/1.1 200 OK\r\n")
        while True:
            await client.send(b"x-long: " + b"x" * 10_000 + b"\r\n")
    elif fault == "cut":
        await client.send(CONNECTED[:12] if is_connect else b"HTTP/1.1 200 OK\r\ncontent-le")
        await client.close()
    elif wanted and ((found := GIVEN.search(head)) is None or found[1] != wanted):
        await _answer(client, 407, REASONS["407"])
    elif not await _ended(client, fault):
        try:
            if not is_connect:
                if fault == "early":
                    await client.send(EARLY)
                head = await forward(client, head, cut=CUTS.get(fault))
            if head:
                await _tunnel(client, head, fault)
        except Refused as refused:
            await _answer(client, refused.status, refused.reason)


async def _tunnel(client: Stream, head: bytes, fault: ProxyFault) -> None:
    try:
        origin = await dialled(client, target_of(head))
    except OSError as error:
        raise Refused(502, REASONS["502"]) from error
    await client.send(CONNECTED + (EARLY if fault == "early" else b""))
    await relay(client, origin, cut=CUTS.get(fault))


async def _answer(client: Stream, status: int, reason: str) -> None:
    extra = 'proxy-authenticate: Basic realm="faults"\r\n' if status == 407 else ""
    await client.send(f"HTTP/1.1 {status} {reason}\r\n{extra}content-length: 0\r\nconnection: close\r\n\r\n".encode())
    await client.close()


def _basic(username: str, password: str) -> bytes:
    """These credentials as a request has them; nothing if none are wanted."""
    return base64.b64encode(f"{username}:{password}".encode("latin-1")) if username or password else b""


# SOCKS5


async def _socks_request(
    client: Stream, fault: SOCKSFault, username: str, password: str, *, is_whole: bool
) -> Target | None:
    """What the client wants to be connected to; None if it was refused, or broke off."""
    version, count = await client.exactly(2)
    offered = await client.exactly(count)
    is_asked = fault == "auth" or bool(username or password)
    method = PASSWORD if is_asked else NO_AUTHENTICATION
    if version != 5 or method not in offered:
        await client.send(bytes([5, NONE_ACCEPTABLE]))
        return None
    await _say(client, bytes([5, method]), is_whole=is_whole)
    if is_asked:
        _, size = await client.exactly(2)
        given = [await client.exactly(size), await client.exactly((await client.exactly(1))[0])]
        is_good = fault != "auth" and given == [username.encode("latin-1"), password.encode("latin-1")]
        await _say(client, bytes([1, not is_good]), is_whole=is_whole)
        if not is_good:
            return None
    _, command, _, kind = await client.exactly(4)
    if command != 1 or kind not in (IPV4, NAME, IPV6):
        await client.send(_reply(BAD_COMMAND if command != 1 else BAD_ADDRESS))
        return None
    host = await client.exactly((await client.exactly(1))[0] if kind == NAME else 4 if kind == IPV4 else 16)
    port = int.from_bytes(await client.exactly(2))
    return Target(host.decode("latin-1") if kind == NAME else str(ipaddress.ip_address(host)), port)


async def _socks_tunnel(client: Stream, target: Target, fault: SOCKSFault) -> None:
    try:
        origin = await dialled(client, target)
    except Refused:
        await client.send(_reply(NOT_ALLOWED))
        await client.close()
        return
    except OSError:
        await client.send(_reply(REFUSED))
        await client.close()
        return
    await _say(client, _reply(0) + (EARLY if fault == "early" else b""), is_whole=fault != "pieces")
    await relay(client, origin, cut=CUTS.get(fault))


def _reply(code: int) -> bytes:
    return bytes([5, code, 0, IPV4, 127, 0, 0, 1, 0, 0])


async def _say(client: Stream, data: bytes, *, is_whole: bool) -> None:
    for piece in (data,) if is_whole else (data[index : index + 1] for index in range(len(data))):
        await client.send(piece)
        if not is_whole:
            await asyncio.sleep(GAP)
