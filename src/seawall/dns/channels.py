"""
c-ares' channels: this is the only file that imports aiodns.

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
- It can't cancel a single query, only all those of a channel. So an abandoned query stays until the last question on
  its channel has ended.
- EDNS brings DNS cookies, and those false timeouts: ``flags=0``.
"""

from __future__ import annotations

import asyncio
import functools
import os
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

import aiodns
import pycares

from .tries import QUESTION_TIMEOUT, Standing

__all__ = ["Channel", "Channels"]

MAX_CHANNELS = 32  # for each server: sockets of questions in flight, before they share
MAX_ASKED = 1024  # questions that a channel is given before it is emptied, because c-ares keeps their answers
NO_SOCKET = pycares.ARES_SOCKET_BAD

R = TypeVar("R")


class Channels:
    """The channels that owe answers, by server, and those that owe none."""

    def __init__(self) -> None:
        self._owner: object = None  # the process and the loop that they belong to
        self._idle: dict[bool, list[Channel]] = {False: [], True: []}
        self._busy: dict[tuple[str, bool], set[Channel]] = {}
        self._standings: dict[str, Standing] = {}

    def standing(self, server: str) -> Standing:
        return self._standings.setdefault(server, Standing())

    def take(self, server: str, question: tuple[str, str], *, use_tcp: bool) -> Channel:
        """A channel that only *question* uses; where there are too many, the one that owes the fewest answers."""
        owner = os.getpid(), asyncio.get_running_loop()
        if owner != self._owner:  # after a fork, both processes would use the same random ids
            self._owner, self._idle, self._busy = owner, {False: [], True: []}, {}
        busy = self._busy.get((server, use_tcp), set())
        if len(busy) >= MAX_CHANNELS:
            usable = [each for each in busy if question not in each.asked and len(each.asked) < MAX_ASKED]
            shared = min(usable, key=lambda each: each.owed, default=None)
            if shared is not None:
                shared.owed += 1
                return shared
        idle = self._idle[use_tcp]
        channel = idle.pop() if idle else Channel(use_tcp=use_tcp)
        channel.open(server)
        channel.owed = 1
        busy.add(channel)
        self._busy[server, use_tcp] = busy
        return channel

    def give_back(self, channel: Channel) -> None:
        """A question no longer waits for an answer from *channel*."""
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
        """Close those that owe nothing."""
        self._standings.clear()
        for channels in self._idle.values():
            while channels:
                channels.pop().close()


class _Resolver(aiodns.DNSResolver):
    """
    aiodns', with the event loop in place of c-ares' thread.

    aiodns' own way without a thread keeps watching a TCP socket that can be written to, which costs a busy core.
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
            if not self.loop.is_closed():  # else nobody waits for the question any more
                call(result, code)

        return future, heard

    def _sock_state_cb(self, fd: int, readable: bool, writable: bool) -> None:
        """c-ares wants to read from a socket, write to it, or neither because it is about to close it."""
        if readable:
            self.loop.add_reader(fd, self._channel.process_fd, fd, NO_SOCKET)
        else:
            self.loop.remove_reader(fd)
        if writable:
            self.has_stream = True
            self.loop.add_writer(fd, self._channel.process_fd, NO_SOCKET, fd)
        else:
            self.loop.remove_writer(fd)


class Channel:
    """
    c-ares' channel, open to one server at a time.

    Attributes:
        asked: Names and types since it was opened, which c-ares may answer from its cache.
        owed: How many questions wait for an answer from it.
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
        """
        Send a question; False where c-ares could send nothing.

        Args:
            heard: Called soon after the answer, never from within c-ares, with the answer or the code of an error.
        """
        self.asked.add(question)
        answer = self._resolver.query_dns(*question)
        was_sent = not answer.done()
        answer.add_done_callback(functools.partial(_tell, heard))
        return was_sent

    def empty(self) -> None:
        """End its queries in flight, close its sockets, forget its answers and round trips."""
        self._resolver.cancel()
        self._resolver.nameservers = ()
        self._resolver.has_stream = False
        self.asked.clear()

    def close(self) -> None:
        self._resolver._cleanup()  # aiodns' close() does nothing else


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
