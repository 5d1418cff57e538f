"""A DNS server on loopback, over UDP, for zones written in Python."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

__all__ = ["DNSServer", "Name"]


@dataclass(slots=True, kw_only=True)
class Name:
    """
    What is answered for one name.

    Attributes:
        a, aaaa: Addresses. Neither: NODATA.
        cname: Another name of this server, whose addresses follow in the same answer.
        ttl, delay: s.
        rcode: NXDOMAIN, SERVFAIL, REFUSED, ...
        drop: How many queries stay without an answer; -1: all.
    """

    a: tuple[str, ...] = ()
    aaaa: tuple[str, ...] = ()
    cname: str = ""
    ttl: int = 60
    delay: float = 0.0
    rcode: str = "NOERROR"
    drop: int = 0


class DNSServer:
    """
    ``async with DNSServer({"api.test": Name(a=("127.0.0.1",))}) as server``, then
    ``seawall.DNS(nameservers=[server.address])``. Names that it doesn't know are NXDOMAIN; *zone* may change any time.

    Attributes:
        queries: How often each (name, type) was asked.
    """

    def __init__(self, zone: dict[str, Name] | None = None, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self.zone = zone or {}
        self.queries: Counter[tuple[str, str]] = Counter()
        self.host = host
        self.port = port
        self._socket: socket.socket | None = None
        self._timers: set[asyncio.TimerHandle] = set()

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    async def __aenter__(self) -> Self:
        self._socket = sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setblocking(False)
        sock.bind((self.host, self.port))
        self.port = sock.getsockname()[1]
        asyncio.get_running_loop().add_reader(sock, self._readable)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        assert self._socket is not None
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()
        self._socket = None
        for timer in self._timers:
            timer.cancel()

    def _readable(self) -> None:
        """All that came: the kernel keeps some 270 datagrams and drops the rest."""
        while self._socket is not None:
            try:
                data, addr = self._socket.recvfrom(65535)
            except BlockingIOError:
                return
            self._received(data, addr)

    def _received(self, data: bytes, addr: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True).lower()
        kind = dns.rdatatype.to_text(question.rdtype)
        self.queries[name, kind] += 1
        entry = self.zone.get(name)
        if entry is not None and entry.drop:
            entry.drop -= entry.drop > 0
            return
        reply = self._answer(query, name, kind, entry)
        self._timers = {timer for timer in self._timers if not timer.cancelled() and timer.when() > self._now()}
        if entry is not None and entry.delay:
            self._timers.add(asyncio.get_running_loop().call_later(entry.delay, self._send, reply, addr))
        else:
            self._send(reply, addr)

    def _answer(self, query: dns.message.Message, name: str, kind: str, entry: Name | None) -> bytes:
        reply = dns.message.make_response(query)
        reply.flags |= dns.flags.RA
        if entry is None:
            reply.set_rcode(dns.rcode.NXDOMAIN)
        else:
            reply.set_rcode(dns.rcode.from_text(entry.rcode))
        owner = name
        while entry is not None and entry.cname:
            reply.answer.append(dns.rrset.from_text(f"{owner}.", entry.ttl, "IN", "CNAME", f"{entry.cname}."))
            owner = entry.cname
            entry = self.zone.get(owner)
        addresses = () if entry is None else entry.a if kind == "A" else entry.aaaa if kind == "AAAA" else ()
        for address in addresses:  # a set of its own each, for dnspython shuffles what is in one
            reply.answer.append(dns.rrset.from_text(f"{owner}.", entry.ttl if entry else 0, "IN", kind, address))
        return reply.to_wire()

    def _send(self, reply: bytes, addr: tuple[str, int]) -> None:
        if self._socket is not None:
            self._socket.sendto(reply, addr)

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()
