"""Questions to given name servers through c-ares, without a thread."""

from __future__ import annotations

import socket
from collections.abc import Sequence

import pycares

from ..errors import NoAddress, ResolveError, ResolverFailure
from ..origin import Address
from .channels import Channels
from .questions import Question, Records
from .resolver import Answer, Dangling, SRVRecord

__all__ = ["CaresResolver"]

KINDS = {int(socket.AF_INET): "A", int(socket.AF_INET6): "AAAA"}
ADDRESSES = (pycares.ARecordData, pycares.AAAARecordData)


class CaresResolver:
    """Asks DNS servers through c-ares."""

    def __init__(self) -> None:
        self._channels = Channels()
        self._questions: set[Question] = set()
        self._turn = 0

    async def ask(
        self, name: str, kind: int, *, servers: Sequence[str], use_tcp: bool = False, rotate: bool = False
    ) -> Answer:
        """
        The addresses of a name; the TTL is the minimum over the CNAME chain.

        Args:
            name: Fully qualified.
            kind: socket.AF_INET or AF_INET6.
            servers: "ip", "ip:port" or "[ip6]:port", in the order in which they are asked.
            use_tcp: Ask over TCP only.
            rotate: Each question begins one server further on.
        Raises:
            NoAddress, NameNotFound: A server says so.
            ServerFailure, ResolverFailure: Every server failed, the last of them with SERVFAIL, or otherwise.
            ResolveTimeout: No answer within `QUESTION_TIMEOUT`.

        **Cancellation:** the question ends, and its sockets are closed.
        """
        records = await self._records(name, KINDS[kind], servers, use_tcp, rotate)
        texts = [data.addr for data in (each.data for each in records) if isinstance(data, ADDRESSES)]
        addresses = dict.fromkeys(map(Address, texts))
        if not addresses:
            if any(isinstance(each.data, pycares.CNAMERecordData) for each in records):
                raise Dangling(f"{name}: DNS: it is an alias of a name without addresses")
            raise NoAddress(f"{name}: DNS: the answer has no address")
        return Answer(tuple(addresses), float(min(record.ttl for record in records)), "dns")

    async def services(
        self, name: str, *, servers: Sequence[str], use_tcp: bool = False, rotate: bool = False
    ) -> list[SRVRecord]:
        """The SRV records of a name; arguments and errors are those of `ask`."""
        records = await self._records(name, "SRV", servers, use_tcp, rotate)
        found = [(each.data, each.ttl) for each in records if isinstance(each.data, pycares.SRVRecordData)]
        if not found:
            raise NoAddress(f"{name}: DNS: the answer has no SRV record")
        return [
            SRVRecord(each.priority, each.weight, each.port, each.target.rstrip("."), float(ttl)) for each, ttl in found
        ]

    async def aclose(self) -> None:
        """Questions in flight end with `ResolverFailure`."""
        for question in self._questions:
            question.finish(ResolverFailure(f"{question.name}: DNS: the resolver was closed"))
            question.end()
        self._channels.close()

    async def _records(self, name: str, kind: str, servers: Sequence[str], use_tcp: bool, rotate: bool) -> Records:
        if rotate and servers:
            first = self._turn % len(servers)
            servers = (*servers[first:], *servers[:first])
            self._turn += 1
        question = Question(name, kind, servers, use_tcp, self._channels)
        self._questions.add(question)
        try:
            question.begin()
            outcome = await question.outcome
        finally:
            self._questions.discard(question)
            question.end()
        if isinstance(outcome, ResolveError):
            try:
                raise outcome
            finally:
                del question, outcome  # because the error would hold this frame, and the frame the error
        return outcome

    def servers(self) -> Sequence[str]:
        """The name servers that c-ares finds, where there is no resolv.conf."""
        return pycares.Channel(sock_state_cb=lambda *_: None).servers
