"""Steps of a port that speaks TLS, well or badly."""

from __future__ import annotations

import asyncio
import ssl
from typing import Annotated, Literal

from ..http.port import Incoming
from ..http.step import BadStep, Between, step
from ..http.turn import Turn

__all__ = [
    "tls",
    "tls_alert",
    "tls_close",
    "tls_drip",
    "tls_garbage",
    "tls_half",
    "tls_hang",
    "tls_inject",
    "tls_plaintext",
    "tls_reset",
    "tls_version",
]

Certificate = Literal[
    "good", "expired", "not_yet_valid", "wrong_host", "self_signed", "untrusted_root", "no_intermediate", "rekeyed",
    "wants_client",
]  # fmt: skip
Version = Literal["1.0", "1.1", "1.2", "1.3"]
VERSIONS = {
    "1.0": ssl.TLSVersion.TLSv1,
    "1.1": ssl.TLSVersion.TLSv1_1,
    "1.2": ssl.TLSVersion.TLSv1_2,
    "1.3": ssl.TLSVersion.TLSv1_3,
}
CERTIFICATES = ("trustme", "cryptography")
HANDSHAKE = b"\x16\x03\x03"
ALERT = b"\x15\x03\x03\x00\x02\x02"
APPLICATION_DATA = b"\x17\x03\x03"


@step(level="connection", needs=CERTIFICATES)
async def tls(incoming: Incoming, certificate: Certificate = "good") -> None:
    """TLS with this certificate; "rekeyed": a new key each time, so that no pin fits; "wants_client": asks for one."""
    certificates = incoming.port.certificates
    await incoming.serve(certificates.kept(certificate))


@step(level="connection", needs=CERTIFICATES)
async def tls_version(incoming: Incoming, version: Version = "1.0") -> None:
    """TLS in this version only."""
    await incoming.serve(incoming.port.certificates.only(VERSIONS[version]))


@step(level="connection")
async def tls_hang(incoming: Incoming) -> None:
    """Reads the ClientHello, and sends nothing."""
    await incoming.drain()


@step(level="connection", needs=CERTIFICATES)
async def tls_half(incoming: Incoming) -> None:
    """Sends half of the server's first flight, then nothing."""
    flight = await _first_flight(incoming)
    await incoming.send(flight[: len(flight) // 2])
    await incoming.drain()


@step(level="connection", needs=CERTIFICATES)
async def tls_drip(incoming: Incoming, interval: float = 0.05) -> None:
    """Sends the server's first flight one byte at a time."""
    for byte in await _first_flight(incoming):
        await incoming.send(bytes([byte]))
        await asyncio.sleep(interval)
    await incoming.drain()


@step(level="connection")
async def tls_reset(incoming: Incoming) -> None:
    """RST in answer to the ClientHello."""
    await incoming.receive()
    incoming.reset()


@step(level="connection")
async def tls_close(incoming: Incoming) -> None:
    """FIN in answer to the ClientHello."""
    await incoming.receive()
    await incoming.close()


@step(level="connection")
async def tls_plaintext(incoming: Incoming) -> None:
    """Answers the ClientHello with HTTP in plain text, as a port of another protocol does."""
    await incoming.receive()
    await incoming.send(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
    await incoming.close()


@step(level="connection")
async def tls_garbage(incoming: Incoming) -> None:
    """Answers the ClientHello with a handshake record of garbage."""
    await incoming.receive()
    await incoming.send(HANDSHAKE + b"\x00\x40" + bytes(range(64)))
    await incoming.close()


@step(level="connection")
async def tls_alert(incoming: Incoming, code: Annotated[int, Between(0, 255)] = 80) -> None:
    """Sends a fatal alert: 80 internal_error, 40 handshake_failure, 70 protocol_version, 112 unrecognized_name."""
    await incoming.receive()
    await incoming.send(ALERT + bytes([code]))
    await incoming.close()


@step()
async def tls_inject(turn: Turn, what: Literal["text", "record"] = "text") -> None:
    """Sends, instead of an answer over TLS, bytes in plain text, or a record that can't be decrypted."""
    connection = turn.connection
    if not connection.is_secure:
        raise BadStep("tls_inject needs TLS: send the request to a port that speaks it")
    data = b"HTTP/1.1 200 OK\r\n\r\n" if what == "text" else APPLICATION_DATA + b"\x00\x40" + bytes(64)
    connection.inject(data)
    await turn.request.hang()


async def _first_flight(incoming: Incoming) -> bytes:
    """What a good server answers to this client's ClientHello."""
    hello, flight = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = incoming.port.certificates.kept("good").wrap_bio(hello, flight, server_side=True)
    while not flight.pending:
        data = await incoming.receive()
        if not data:
            return b""
        hello.write(data)
        try:
            server.do_handshake()
        except ssl.SSLWantReadError:
            pass
    return flight.read()
