"""
One question, sent to one name server after another until a valid answer comes.

c-ares takes whatever records are in an answer. Those of another owner than the question's name are left out here
(RFC 5452 section 6).
"""

from __future__ import annotations

import asyncio
import functools
import math
from collections.abc import Sequence
from typing import TypeAlias

import pycares

from ..errors import NameNotFound, NoAddress, ResolveError, ResolverFailure, ResolveTimeout
from .channels import Channel, Channels
from .resolver import ServerFailure, failed, shortage
from .tries import PAUSES, QUESTION_TIMEOUT, RECENT, Tries

__all__ = ["Question", "Records"]

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
UNKNOWN = "an error that is none of the usual ones, or only records of unknown types"

Records: TypeAlias = Sequence[pycares.DNSRecord]


class Try:
    """One query to one server, whose channel owes an answer."""

    __slots__ = ("channel", "sent_at", "server", "was_sent")

    def __init__(self, server: str, channel: Channel, sent_at: float) -> None:
        self.server = server
        self.channel = channel
        self.sent_at = sent_at
        self.was_sent = True

    @property
    def is_stream(self) -> bool:
        """Whether it certainly waits for an answer over TCP, which repeats lost packets itself."""
        return self.channel.has_stream and not self.channel.is_shared


class Question:
    """A name and a type, sent to one server after another until the first valid answer."""

    def __init__(self, name: str, kind: str, servers: Sequence[str], use_tcp: bool, channels: Channels) -> None:
        self.name = name
        self._kind = kind
        self._servers = servers
        self._use_tcp = use_tcp
        self._channels = channels
        self._standing = channels.standing
        self._waiting: list[Try] = []
        self._failure: ResolveError | None = None
        self._was_unsent = False
        self._pauses = iter(PAUSES)
        self._loop = asyncio.get_running_loop()
        now = self._loop.time()
        self._ends_at = now + QUESTION_TIMEOUT
        self._tries = Tries(sorted(servers, key=lambda server: self._standing(server).is_silent(now)))
        self._timer: asyncio.TimerHandle | None = None
        # An error is a value here, because asyncio logs one that is set and never awaited.
        self.outcome: asyncio.Future[Records | ResolveError] = self._loop.create_future()

    def begin(self) -> None:
        if self._servers:
            self._send(self._tries.take())
            self._wait(next(self._pauses))  # counted from when it was sent, as in `Standing.left`
        else:
            self.finish(ResolverFailure(f"{self.name}: DNS: there is no name server to ask"))

    def finish(self, outcome: Records | ResolveError) -> None:
        if not self.outcome.done():
            self.outcome.set_result(outcome)

    def end(self) -> None:
        """Give back the channels, because nobody waits any more."""
        if self._timer is not None:
            self._timer.cancel()
        while self._waiting:
            self._channels.give_back(self._waiting.pop().channel)

    def _wait(self, pause: float) -> None:
        loop = self._loop
        at = min(loop.time() + pause, self._ends_at)
        # The loop reads what has come by then first, because it may have been busy for longer than the pause.
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
        except pycares.AresError as error:  # not an address, or no descriptor is left for c-ares' own files
            self._failed(server, failed(ResolverFailure, self._text(server, str(error.args[-1]))))
            return
        attempt = Try(server, channel, self._loop.time())
        self._waiting.append(attempt)
        attempt.was_sent = channel.ask(question, functools.partial(self._heard, attempt))

    def _heard(self, attempt: Try, result: pycares.DNSResult | None, code: int | None) -> None:
        if attempt not in self._waiting:  # the question has ended, or c-ares says twice that it couldn't send
            return
        server, is_shared = attempt.server, attempt.channel.is_shared
        self._heed_truncation([server] if attempt.is_stream else [])
        self._waiting.remove(attempt)
        self._channels.give_back(attempt.channel)
        if code in FROM_SERVER:
            self._standing(server).answered(attempt.sent_at, self._loop.time())
        if result is not None:
            records = _own(self.name, result.answer)
            if records:
                self._answered(records)
            else:  # c-ares takes an error that it doesn't know, such as NOTAUTH, for an answer without records
                why = f"the answer is about {result.answer[0].name}" if result.answer else UNKNOWN
                self._failed(server, ResolverFailure(self._text(server, why)))
        elif code in FINAL:
            kind, why = FINAL[code]
            self._answered(kind(self._text(server, why)))
        elif not attempt.was_sent and not self._was_unsent and shortage() is None:
            self._was_unsent = True  # once more, because a socket may have been closed since
            self._send(server)
        elif code == ETIMEOUT or (code == EBADRESP and is_shared):  # too early, or perhaps another question's garbage
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
        """Ask the rest over TCP, because an answer too long for one server's datagram is too long for the others'."""
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


def _own(name: str, records: Records) -> Records:
    """The records of *name*, and of the name that it is an alias of."""
    owned = [(record.name.removesuffix(".").lower(), record) for record in records]
    aliases = {owner: record.data.cname for owner, record in owned if isinstance(record.data, pycares.CNAMERecordData)}
    owner = name.removesuffix(".").lower()
    owners = {owner}
    while (target := aliases.pop(owner, None)) is not None:
        owner = target.removesuffix(".").lower()
        owners.add(owner)
    return [record for owner, record in owned if owner in owners]
