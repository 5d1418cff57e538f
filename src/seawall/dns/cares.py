"""
One question to given name servers, through c-ares: the only file that imports aiodns and pycares.

What is peculiar about c-ares, and what is done about it:

- Its timeout is a hint: once a server has sent three replies, it is 5 x their mean round trip, or 250 ms if that is
  more (ares_metrics.c), and an answer that comes later is lost. So a try is one query to one server on a channel that
  has seen no reply yet, and `Tries` says when the next try goes out while c-ares still listens for the earlier ones.
- It has a cache of its own (on since 1.31) that can't be switched off and rounds TTLs up. A new list of servers empties
  it, and the record of round trips with it. That costs 9 µs, where a new channel costs 60 µs. So a channel is emptied
  after each use.
- It either starts a thread for each channel (80 µs more, and four descriptors), or tells aiodns which sockets it
  has. So the event loop watches these: an idle channel has no thread and no descriptor, and each question can have
  one of its own.
- All pending queries of a channel leave from one port, so a query that a server holds back would pin later ones to a
  port that an attacker can find out (RFC 5452 section 9.2), and garbage that arrives there ends them all. So questions
  share a channel only while `MAX_CHANNELS` of their server are in use.
- It can't cancel a single query, only all those of a channel. So a query that nobody waits for stays until the last
  question on its channel has ended.
- EDNS brings DNS cookies, and those false timeouts: ``flags=0``.
- It takes whatever records are in an answer. Those of another owner are left out (RFC 5452 section 6).
"""

from __future__ import annotations

import asyncio
import functools
import math
import os
import socket
import weakref
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias, TypeVar

import aiodns
import pycares

from ..errors import NameNotFound, NoAddress, ResolveError, ResolverFailure, ResolveTimeout
from ..origin import Address
from .resolver import Answer, Dangling, ServerFailure, failed, shortage
from .tries import PAUSES, QUESTION_TIMEOUT, RECENT, Standing, Tries

__all__ = ["CaresResolver", "Service"]

MAX_CHANNELS = 32  # for each server: sockets of questions in flight, before they share
MAX_ASKED = 1024  # questions that a channel is given before it is emptied, because c-ares keeps their answers

NO_SOCKET = pycares.ARES_SOCKET_BAD
KINDS = {int(socket.AF_INET): "A", int(socket.AF_INET6): "AAAA"}
ADDRESSES = (pycares.ARecordData, pycares.AAAARecordData)

# https://c-ares.org/docs/ares_strerror.html
ENODATA, EFORMERR, ESERVFAIL, ENOTFOUND, ENOTIMP, EREFUSED = 1, 2, 3, 4, 5, 6
EBADNAME, EBADRESP, ECONNREFUSED, ETIMEOUT = 8, 10, 11, 12
FINAL: dict[int | None, tuple[type[ResolveError], str]] = {
    ENODATA: (NoAddress, "the name exists, without such a record"),
    ENOTFOUND: (NameNotFound, "there is no such name"),
    EBADNAME: (NameNotFound, "it can't be the name of a host"),
}
FROM_SERVER = (None, ENODATA, EFORMERR, ESERVFAIL, ENOTFOUND, ENOTIMP, EREFUSED)  # None: an answer with records
FAILURES: dict[int | None, str] = {
    EFORMERR: "FORMERR: it doesn't understand the query",
    ESERVFAIL: "SERVFAIL",
    ENOTIMP: "NOTIMP: it can't do what is asked",
    EREFUSED: "REFUSED",
    EBADRESP: "its answer is garbage",
    ECONNREFUSED: "it refuses connections, or can't be reached",
}


R = TypeVar("R")
Records: TypeAlias = Sequence[pycares.DNSRecord]


class Service(NamedTuple):
    """An SRV record; *target* "" says that the service is not to be had."""

    priority: int
    weight: int
    port: int
    target: str
    ttl: float


class CaresResolver:
    """Asks DNS servers through c-ares, without a thread."""

    def __init__(self) -> None:
        self._channels = _Channels()
        self._questions: set[_Question] = set()
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
            if records:
                raise Dangling(f"{name}: DNS: it is an alias of a name without addresses")
            raise NoAddress(f"{name}: DNS: the answer has no address")
        return Answer(tuple(addresses), float(min(record.ttl for record in records)), "dns")

    async def services(
        self, name: str, *, servers: Sequence[str], use_tcp: bool = False, rotate: bool = False
    ) -> list[Service]:
        """The SRV records of a name; arguments and errors are those of `ask`."""
        records = await self._records(name, "SRV", servers, use_tcp, rotate)
        found = [(each.data, each.ttl) for each in records if isinstance(each.data, pycares.SRVRecordData)]
        if not found:
            raise NoAddress(f"{name}: DNS: the answer has no SRV record")
        return [
            Service(each.priority, each.weight, each.port, each.target.rstrip("."), float(ttl)) for each, ttl in found
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
        question = _Question(name, kind, servers, use_tcp, self._channels)
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
                del question, outcome  # or the error would hold this frame, and the frame the error
        return outcome

    def servers(self) -> Sequence[str]:
        """Those that c-ares knows of, where no resolv.conf says it."""
        return pycares.Channel(sock_state_cb=lambda *_: None).servers


class _Try:
    """One query of one server: its channel owes an answer."""

    __slots__ = ("channel", "sent_at", "server", "was_sent")

    def __init__(self, server: str, channel: _Channel, sent_at: float) -> None:
        self.server = server
        self.channel = channel
        self.sent_at = sent_at
        self.was_sent = True

    @property
    def is_stream(self) -> bool:
        """Whether it is sure to wait for an answer over TCP, which repeats what is lost."""
        return self.channel.has_stream and not self.channel.is_shared


class _Question:
    """A name and a type, sent to one server after another until the first valid answer."""

    def __init__(self, name: str, kind: str, servers: Sequence[str], use_tcp: bool, channels: _Channels) -> None:
        self.name = name
        self._kind = kind
        self._servers = servers
        self._use_tcp = use_tcp
        self._channels = channels
        self._standing = channels.standing
        self._waiting: list[_Try] = []
        self._failure: ResolveError | None = None
        self._was_unsent = False
        self._pauses = iter(PAUSES)
        self._loop = asyncio.get_running_loop()
        now = self._loop.time()
        self._ends_at = now + QUESTION_TIMEOUT
        self._tries = Tries(sorted(servers, key=lambda server: self._standing(server).is_silent(now)))
        self._timer: asyncio.TimerHandle | None = None
        # An error is a value here, because one that is set and not awaited would be logged.
        self.outcome: asyncio.Future[Records | ResolveError] = self._loop.create_future()

    def begin(self) -> None:
        if self._servers:
            self._send(self._tries.take())
            self._wait(next(self._pauses))  # from when it was sent, which `Standing.left` counts from too
        else:
            self.finish(ResolverFailure(f"{self.name}: DNS: there is no name server to ask"))

    def finish(self, outcome: Records | ResolveError) -> None:
        if not self.outcome.done():
            self.outcome.set_result(outcome)

    def end(self) -> None:
        """Nobody waits any more: give back what is held."""
        if self._timer is not None:
            self._timer.cancel()
        while self._waiting:
            self._channels.give_back(self._waiting.pop().channel)

    def _wait(self, pause: float) -> None:
        loop = self._loop
        at = min(loop.time() + pause, self._ends_at)
        # After what has come by then was read, because the loop may have been busy for longer than that.
        self._timer = loop.call_at(at, loop.call_later, 0, loop.call_soon, self._is_due)

    def _is_due(self) -> None:
        now = self._loop.time()
        if self.outcome.done():
            return
        if now >= self._ends_at:
            self.finish(self._timed_out())
        elif any(self._standing(each.server).has_queue(each.sent_at, now) for each in self._waiting):
            self._wait(RECENT)
        else:
            streams = [each.server for each in self._waiting if each.is_stream]
            self._heed_truncation(streams)
            self._send(self._tries.take(but=streams))
            self._wait(next(self._pauses, math.inf))

    def _send(self, server: str | None) -> None:
        if server is None or self.outcome.done():
            return
        question = (self.name, self._kind)
        try:
            channel = self._channels.take(server, question, use_tcp=self._use_tcp)
        except pycares.AresError as error:  # no server's address, or no descriptor for c-ares' own files
            self._failed(server, failed(ResolverFailure, self._text(server, str(error.args[-1]))))
            return
        attempt = _Try(server, channel, self._loop.time())
        self._waiting.append(attempt)
        attempt.was_sent = channel.ask(question, functools.partial(self._heard, attempt))

    def _heard(self, attempt: _Try, result: pycares.DNSResult | None, code: int | None) -> None:
        if attempt not in self._waiting:  # the question has ended; or c-ares says twice that it couldn't send
            return
        server, is_shared = attempt.server, attempt.channel.is_shared
        self._heed_truncation([server] if attempt.is_stream else [])
        self._waiting.remove(attempt)
        self._channels.give_back(attempt.channel)
        if code in FROM_SERVER:
            self._standing(server).answered(attempt.sent_at, self._loop.time())
        if result is not None:
            records = _own(self.name, result.answer)
            if records or not result.answer:
                self._answered(records)
            else:
                why = f"the answer is about {result.answer[0].name}"
                self._failed(server, ResolverFailure(self._text(server, why)))
        elif code in FINAL:
            kind, why = FINAL[code]
            self._answered(kind(self._text(server, why)))
        elif not attempt.was_sent and not self._was_unsent and shortage() is None:
            self._was_unsent = True  # another socket may have been closed since: once more
            self._send(server)
        elif code == ETIMEOUT or (code == EBADRESP and is_shared):  # early, or garbage for another question
            self._lost()
        else:
            kind = ServerFailure if code == ESERVFAIL else ResolverFailure
            why = FAILURES.get(code) or str(pycares.errno.strerror(code or 0))
            self._failed(server, failed(kind, self._text(server, why)))

    def _answered(self, outcome: Records | ResolveError) -> None:
        now = self._loop.time()
        for each in self._waiting:
            self._standing(each.server).left(each.sent_at, now)
        self.finish(outcome)

    def _heed_truncation(self, streams: Sequence[str]) -> None:
        """What one server couldn't say in a datagram the others can't either: the rest is asked over TCP."""
        if streams and not self._use_tcp:
            self._use_tcp = True
            self._tries.made += 1

    def _failed(self, server: str, failure: ResolveError) -> None:
        self._failure = failure
        self._tries.drop(server)
        self._send(self._tries.take(but=[each.server for each in self._waiting]))
        self._lost()

    def _lost(self) -> None:
        if not self._waiting and self._tries.is_over:
            self.finish(self._failure or self._timed_out())

    def _timed_out(self) -> ResolveError:
        waited = self._loop.time() - self._ends_at + QUESTION_TIMEOUT
        return failed(ResolveTimeout, self._text(", ".join(self._servers), f"no answer within {waited:.1f} s"))

    def _text(self, server: str, why: str) -> str:
        return f"{self.name}: DNS: {server}: {why}"


class _Channels:
    """c-ares' channels: those of each server that owe answers, and those that owe none."""

    def __init__(self) -> None:
        self._owner: object = None  # the process and the loop that they are of
        self._idle: dict[bool, list[_Channel]] = {False: [], True: []}
        self._busy: dict[tuple[str, bool], set[_Channel]] = {}
        self._standings: dict[str, Standing] = {}

    def standing(self, server: str) -> Standing:
        return self._standings.setdefault(server, Standing())

    def take(self, server: str, question: tuple[str, str], *, use_tcp: bool) -> _Channel:
        """One of its own for *question*; where there are too many, the one that owes the fewest answers."""
        owner = os.getpid(), asyncio.get_running_loop()
        if owner != self._owner:  # after a fork the random ids would be the parent's too
            self._owner, self._idle, self._busy = owner, {False: [], True: []}, {}
        busy = self._busy.get((server, use_tcp), set())
        if len(busy) >= MAX_CHANNELS:
            usable = [each for each in busy if question not in each.asked and len(each.asked) < MAX_ASKED]
            shared = min(usable, key=lambda each: each.owed, default=None)
            if shared is not None:
                shared.owed += 1
                return shared
        idle = self._idle[use_tcp]
        channel = idle.pop() if idle else _Channel(use_tcp=use_tcp)
        channel.open(server)
        channel.owed = 1
        busy.add(channel)
        self._busy[server, use_tcp] = busy
        return channel

    def give_back(self, channel: _Channel) -> None:
        """One question less waits for an answer of it."""
        channel.owed -= 1
        if channel.owed:
            return
        channel.empty()
        busy = self._busy.get((channel.server, channel.use_tcp), set())
        idle = self._idle[channel.use_tcp]
        if channel in busy and len(idle) < MAX_CHANNELS:
            idle.append(channel)
        else:
            channel.close()
        busy.discard(channel)
        if not busy:
            self._busy.pop((channel.server, channel.use_tcp), None)

    def close(self) -> None:
        """Those that owe nothing."""
        self._standings.clear()
        for channels in self._idle.values():
            while channels:
                channels.pop().close()


class _Resolver(aiodns.DNSResolver):
    """
    aiodns', with the event loop in the place of c-ares' thread.

    Its own way without a thread goes on watching a TCP socket that could be written to, at the cost of a busy core.
    """

    has_stream = False

    def _make_channel(self, **settings: Any) -> tuple[bool, pycares.Channel]:
        if type(self.loop).add_reader is asyncio.AbstractEventLoop.add_reader:
            return super()._make_channel(**settings)  # Windows' default loop can't watch sockets
        return False, pycares.Channel(sock_state_cb=_watching(weakref.ref(self)), **settings)

    def _get_future_callback(self) -> tuple[asyncio.Future[R], Callable[[R, int | None], None]]:
        future: asyncio.Future[R]
        future, call = super()._get_future_callback()

        def heard(result: R, code: int | None) -> None:
            if not self.loop.is_closed():  # it was, with questions in flight: nobody waits for them
                call(result, code)

        return future, heard

    def _sock_state_cb(self, fd: int, readable: bool, writable: bool) -> None:
        """What c-ares wants to know of a socket; neither: it is about to close it."""
        if readable:
            self.loop.add_reader(fd, self._channel.process_fd, fd, NO_SOCKET)
        else:
            self.loop.remove_reader(fd)
        if writable:
            self.has_stream = True
            self.loop.add_writer(fd, self._channel.process_fd, NO_SOCKET, fd)
        else:
            self.loop.remove_writer(fd)


class _Channel:
    """
    c-ares' channel, open to one server at a time.

    Attributes:
        asked: Names and types since it was opened: c-ares may answer them from its cache.
        owed: How many questions wait for an answer of it.
    """

    __slots__ = ("_resolver", "asked", "owed", "server", "use_tcp")

    def __init__(self, *, use_tcp: bool) -> None:
        self.use_tcp = use_tcp
        self.server = ""
        self.asked: set[tuple[str, str]] = set()
        self.owed = 0
        flags = pycares.ARES_FLAG_USEVC if use_tcp else 0
        self._resolver = _Resolver(loop=asyncio.get_running_loop(), flags=flags, timeout=QUESTION_TIMEOUT, tries=1)

    @property
    def has_stream(self) -> bool:
        """Whether it has asked over TCP."""
        return self._resolver.has_stream

    @property
    def is_shared(self) -> bool:
        return len(self.asked) > 1

    def open(self, server: str) -> None:
        self._resolver.nameservers = (server,)
        self.server = server

    def ask(self, question: tuple[str, str], heard: Callable[[pycares.DNSResult | None, int | None], None]) -> bool:
        """*heard* is called soon after the answer, never from within c-ares; False: it could send nothing."""
        self.asked.add(question)
        answer = self._resolver.query_dns(*question)
        was_sent = not answer.done()
        answer.add_done_callback(functools.partial(_tell, heard))
        return was_sent

    def empty(self) -> None:
        """End what it has in flight, close its sockets, forget answers and round trips."""
        self._resolver.cancel()
        self._resolver.nameservers = ()
        self._resolver.has_stream = False
        self.asked.clear()

    def close(self) -> None:
        self._resolver._cleanup()  # aiodns' close() awaits nothing else


def _watching(weak: weakref.ref[_Resolver]) -> Callable[[int, bool, bool], None]:
    """`_Resolver._sock_state_cb`, which c-ares' channel must not keep alive."""

    def watch(fd: int, readable: bool, writable: bool) -> None:
        if (resolver := weak()) is not None:
            resolver._sock_state_cb(fd, readable, writable)

    return watch


def _tell(
    heard: Callable[[pycares.DNSResult | None, int | None], None], answer: asyncio.Future[pycares.DNSResult]
) -> None:
    error = answer.exception()
    if error is None:
        heard(answer.result(), None)
    else:
        heard(None, error.args[0])


def _own(name: str, records: Records) -> Records:
    """The records of *name*, and of what it is an alias of."""
    owned = [(record.name.removesuffix(".").lower(), record) for record in records]
    aliases = {owner: record.data.cname for owner, record in owned if isinstance(record.data, pycares.CNAMERecordData)}
    owner = name.removesuffix(".").lower()
    owners = {owner}
    while (target := aliases.pop(owner, None)) is not None:
        owner = target.removesuffix(".").lower()
        owners.add(owner)
    return [record for owner, record in owned if owner in owners]
