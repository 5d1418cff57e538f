"""The server: sockets, timers and statistics around the pure parts of this package."""

from __future__ import annotations

import asyncio
import errno
import math
import random
import socket
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

import dns.message
import dns.rcode
import dns.rdatatype

from ..service import Service, bound
from .answer import messages, parsed, without_records
from .control import control, is_control
from .fault import BadFault
from .label import in_name
from .peer import Datagram, Peer, Stream
from .plan import SILENCE, Ask, Plan
from .query import Query
from .zone import Name, decide, domain

__all__ = ["DNSServer"]

MAX_TRIES = 20  # because a port may be free for only one of UDP and TCP
MAX_BATCH = (
    100  # answers in one go, because a client in the same loop can't read meanwhile, and its buffer holds some 270
)
MAX_COMPLAINTS = 100
RECEIVE_BUFFER = 4 << 20  # bytes; some 5,000 queries, where the kernel allows it (by default some 270)


class DNSServer(Service):
    """
    A DNS server, over UDP and TCP, that fails as its zone or the queried name says.

    ``async with DNSServer({"api.test": Name(a=("127.0.0.1",))}) as server``, then
    ``seawall.DNS(nameservers=[server.address])``; ``with`` runs it in a thread. UDP and TCP have the same port.

    A name that is in *zone*, which may change at any time, is answered as it says there. Any other name is answered as
    the faults in its labels say (``u1.delay-300.ttl-2.test``, see `DNS_FAULTS`), and without any, with NXDOMAIN. A
    misspelt fault is answered with SERVFAIL, and `complaints` says why. ``*.ctl.test`` is for commands: see `control`.

    Args:
        base: The answer to a name with faults in its labels, before these act. Default: 127.0.0.1, TTL 60 s.
        suffix: The domain in which labels are faults and commands; None disables both.
        rng: The random generator of ``droppct``. Default: seeded, the same in each run.
        on_query: Called with each query, in the server's thread; the ``with`` raises what it raises.
        max_log: How many queries `log` keeps.

    Attributes:
        queries: How often each (name, type) was asked.
        over_tcp: How often over TCP.
        log: The last queries, oldest first.
        complaints: What is wrong with misspelt names, once each.
    """

    def __init__(
        self,
        zone: dict[str, Name] | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        base: Name | None = None,
        suffix: str | None = "test",
        rng: random.Random | None = None,
        on_query: Callable[[Query], None] | None = None,
        max_log: int = 10_000,
    ) -> None:
        self.zone = {} if zone is None else zone
        for name, entry in self.zone.items():
            if domain("zone", name) != name:
                raise ValueError(
                    f"zone: {name!r} must be in lower case, without the final dot: {domain('zone', name)!r}"
                )
            if not isinstance(entry, Name):
                raise TypeError(f"zone: {name!r} must be a Name, not {entry!r}")
        if not isinstance(max_log, int) or max_log < 0:
            raise ValueError(f"max_log must be a number of queries, 0 or more, not {max_log!r}")
        self.base = base or Name(a=("127.0.0.1",))
        self.suffix = None if suffix is None else domain("suffix", suffix)
        self.rng = rng or random.Random(0)
        self.host = host
        self.port = port
        self.queries: Counter[tuple[str, str]] = Counter()
        self.over_tcp: Counter[tuple[str, str]] = Counter()
        self.log: deque[Query] = deque(maxlen=max_log)
        self.complaints: list[str] = []
        self._on_query = on_query
        self._asked_port = port
        self._first_at: dict[str, float] = {}
        self._dead_until = -math.inf
        self._udp: socket.socket | None = None
        self._tcp: asyncio.Server | None = None
        self._streams: set[Stream] = set()
        self._timers: set[asyncio.TimerHandle] = set()
        self._failures: list[Exception] = []

    @property
    def address(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def kill(self, seconds: float | None = None) -> None:
        """From now on, for so many seconds or until `revive`, answer nothing but commands."""
        if seconds is not None and not seconds >= 0:
            raise ValueError(f"seconds must be 0 or more, not {seconds!r}")
        self._dead_until = math.inf if seconds is None else time.monotonic() + seconds

    def revive(self) -> None:
        self._dead_until = -math.inf

    def reset(self) -> None:
        """Forget all queries: the statistics, the log, and the counts and times of faults."""
        self._run(self._forget)

    def stats(self, name: str = "") -> Iterable[str]:
        """Lines: the sum, complaints, and ``NAME TYPE total udp tcp`` for each name, or for *name* only."""
        counts = list(self.queries.items())
        rows = [(asked, total, self.over_tcp[asked]) for asked, total in counts if name in ("", asked[0])]
        totals = sum(row[1] for row in rows), sum(row[2] for row in rows)
        yield f"all {totals[0]} udp {totals[0] - totals[1]} tcp {totals[1]}"
        yield from (f"complaint {complaint}" for complaint in self.complaints)
        for (owner, kind), total, tcp in rows:
            yield f"{owner} {kind} {total} udp {total - tcp} tcp {tcp}"

    # life

    async def _open(self) -> None:
        self._failures.clear()
        self._udp, tcp = _pair(self.host, self._asked_port)
        self.port = self._udp.getsockname()[1]
        loop = asyncio.get_running_loop()
        try:
            self._tcp = await loop.create_server(
                lambda: Stream(self._met, partial(self._caught, self._received)), sock=tcp
            )
        except BaseException:
            tcp.close()
            raise
        loop.add_reader(self._udp, self._readable)

    async def _close(self) -> None:
        if self._udp is not None:
            asyncio.get_running_loop().remove_reader(self._udp)
            self._udp.close()
            self._udp = None
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        if self._tcp is not None:
            tcp, self._tcp = self._tcp, None
            tcp.close()
            for stream in list(self._streams):
                stream.reset()
                await stream.closed
            await tcp.wait_closed()

    def _check(self) -> None:
        for failure in self._failures:
            raise failure

    # queries

    def _met(self, stream: Stream) -> None:
        self._streams.add(stream)
        stream.closed.add_done_callback(lambda _: self._streams.discard(stream))
        if self._tcp is None:  # it was accepted while the server closed
            stream.reset()

    def _readable(self) -> None:
        udp = self._udp
        assert udp is not None
        with suppress(BlockingIOError):
            for _ in range(MAX_BATCH):
                data, addr = udp.recvfrom(65535)
                self._caught(self._received, data, Datagram(udp, addr))

    def _received(self, data: bytes, peer: Peer) -> None:
        query = parsed(data)
        if isinstance(query, dns.rcode.Rcode):
            self._tell("", "", peer, query.name)
            refusal = without_records(data, query)
            if refusal is not None:
                peer.send(refusal)
            return
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True).lower()
        kind = dns.rdatatype.to_text(question.rdtype)
        if self.suffix is not None and is_control(name, self.suffix):
            lines = control(self, name, self.suffix) if kind == "TXT" else ()
            plan = decide(Name(txt=lines, ttl=0), Ask(name=name, kind=kind), self._find, ttl=0)
            self._tell(name, kind, peer, plan.told(peer.transport))
            self._act(query, plan, peer)
            return
        self.queries[name, kind] += 1
        self.over_tcp[name, kind] += peer.transport == "tcp"
        self._first_at.setdefault(name, time.monotonic())
        plan = SILENCE if self._is_dead() else self._planned(query, name, kind)
        self._tell(name, kind, peer, plan.told(peer.transport))
        if plan.delay:
            self._later(plan.delay, lambda: None if self._is_dead() else self._act(query, plan, peer))
        else:
            self._act(query, plan, peer)

    def _planned(self, query: dns.message.Message, name: str, kind: str) -> Plan:
        try:
            entry = self._find(name)
            if entry is not None and entry.drop:
                entry.drop -= entry.drop > 0
                return SILENCE
            return self._answer(query, name, kind, entry) or SILENCE
        except BadFault as error:
            complaint = f"{name}: {error}"
            if complaint not in self.complaints:
                self.complaints.append(complaint)
                del self.complaints[:-MAX_COMPLAINTS]
            return Plan(rcode="SERVFAIL")

    def _answer(self, query: dns.message.Message, name: str, kind: str, entry: Name | None) -> Plan | None:
        ask = Ask(
            name=name,
            kind=kind,
            count=self.queries[name, kind] - 1,
            age=time.monotonic() - self._first_at.get(name, math.inf),
            luck=self.rng.random(),
            is_edns=query.edns >= 0,
        )
        return decide(entry, ask, self._find, ttl=self.base.ttl)

    def _find(self, name: str) -> Name | None:
        entry = self.zone.get(name)
        if entry is not None or self.suffix is None:
            return entry
        faults = in_name(name, self.suffix)
        return replace(self.base, faults=",".join(filter(None, (self.base.faults, *faults)))) if faults else None

    def _act(self, query: dns.message.Message, plan: Plan, peer: Peer) -> None:
        if plan.on(peer.transport) == "reset":
            peer.reset()
        for message in messages(query, plan, peer.transport):
            peer.send(message)

    def _tell(self, name: str, kind: str, peer: Peer, done: str) -> None:
        entry = Query(time.monotonic(), name, kind, peer.transport, done, peer.port)
        self.log.append(entry)
        if self._on_query is not None:
            self._caught(self._on_query, entry)

    def _later(self, delay: float, function: Callable[[], None]) -> None:
        def fire() -> None:
            self._timers.discard(timer)
            self._caught(function)

        timer = asyncio.get_running_loop().call_later(delay, fire)
        self._timers.add(timer)

    def _caught(self, function: Callable[..., None], *arguments: Any) -> None:
        try:
            function(*arguments)
        except Exception as error:  # noqa: BLE001 - `_check` raises it, and the server goes on
            self._failures.append(error)

    def _is_dead(self) -> bool:
        return time.monotonic() < self._dead_until

    def _forget(self) -> None:
        for memory in (self.queries, self.over_tcp, self.log, self._first_at, self.complaints):
            memory.clear()


def _pair(host: str, port: int) -> tuple[socket.socket, socket.socket]:
    """A UDP and a TCP socket on the same port."""
    for attempt in range(MAX_TRIES):
        udp = bound(socket.SOCK_DGRAM, host, port)
        with suppress(OSError):
            udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        try:
            return udp, bound(socket.SOCK_STREAM, host, udp.getsockname()[1])
        except OSError as error:
            udp.close()
            if port or error.errno != errno.EADDRINUSE or attempt == MAX_TRIES - 1:
                raise
    raise AssertionError("unreachable")
