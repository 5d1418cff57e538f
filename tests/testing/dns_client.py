"""A DNS client that shows what comes, byte for byte; blocking, for servers in a thread of their own."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import dns.message

from seawall.testing.dns import DNSServer

BOUND = 30.0  # s; what is awaited takes a millisecond


def query(name: str, kind: str = "A", *, edns: int = -1, payload: int = 1232) -> dns.message.Message:
    """With RD, and with an OPT record at *edns* 0."""
    return dns.message.make_query(name, kind, use_edns=edns, payload=payload)


class Line:
    """One socket, UDP or TCP, to a server."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.is_tcp = sock.type == socket.SOCK_STREAM

    def send(self, data: bytes) -> None:
        self.sock.sendall(len(data).to_bytes(2, "big") + data if self.is_tcp else data)

    def receive(self) -> bytes:
        """One message; b"" after FIN."""
        if not self.is_tcp:
            return self.sock.recv(65535)
        return self._exactly(int.from_bytes(self._exactly(2), "big"))

    def ask(self, message: dns.message.Message) -> dns.message.Message:
        """The answer, which is to be one."""
        self.send(message.to_wire())
        reply = dns.message.from_wire(self.receive(), one_rr_per_rrset=True)
        assert message.is_response(reply)
        return reply

    def is_unanswered(self, message: dns.message.Message) -> bool:
        """Nothing comes for it: a second query, sent after it, is answered first."""
        second = query("second.ok.test")
        self.send(message.to_wire())
        self.send(second.to_wire())
        return self.receive()[:2] == second.to_wire()[:2] != message.to_wire()[:2]

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            piece = self.sock.recv(size - len(data))
            if not piece:
                return b""
            data += piece
        return data


@contextmanager
def line(server: DNSServer, transport: str = "udp") -> Iterator[Line]:
    kind = socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.settimeout(BOUND)
        sock.connect((server.host, server.port))
        if transport == "tcp":
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield Line(sock)


def ask(
    server: DNSServer, name: str, kind: str = "A", *, transport: str = "udp", edns: int = -1
) -> dns.message.Message:
    with line(server, transport) as peer:
        return peer.ask(query(name, kind, edns=edns))


def records(reply: dns.message.Message) -> list[str]:
    """The answer section, as TYPE DATA."""
    return [f"{rrset.to_text().split()[3]} {rdata.to_text()}" for rrset in reply.answer for rdata in rrset]
