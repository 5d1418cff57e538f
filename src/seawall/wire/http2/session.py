"""
One HTTP/2 connection as its streams use it: which may use it, and for how long. Its `Dialogue` is the protocol.

Rules: a connection that goes away takes no new stream, and ends with its last one. One that says nothing while streams
wait is asked by PING, and isn't used again before it answers; the longer a response takes, the rarer that is, because
some servers count PINGs. One that doesn't answer is left: it takes no new stream. Its streams wait on, because a server
that is frozen still answers them; but once another connection hears of the server, so that it isn't, those that can be
repeated break off. Requests of tasks that were woken together go out a few at a time, because a write costs as much as
a third of a request; not where these tasks have other work to do, because that would hold up the requests. Source: RFC
9113, gRPC's keepalive.
"""

from __future__ import annotations

import asyncio
import select
from contextvars import Context
from typing import Final, Generic, TypeVar

from ...route import Destination
from ..connection import Pooled
from ..known import Known
from ..limits import MAX_HEAD
from .backlog import backlog
from .chatter import Chatter
from .compression import TABLE_SIZE
from .dialogue import Dialogue
from .frames import Code, Setting
from .lane import Listener
from .shares import Shares

__all__ = ["Session"]

S = TypeVar("S", bound=Listener)

STREAM_WINDOW: Final = 1024 * 1024  # B of body that nobody has taken yet; the server then waits
CONNECTION_WINDOW: Final = 2**30  # B; Go's, so that streams that nobody reads don't hold up the others
DOUBT_AFTER: Final = 0.1  # s of silence; less is a round trip, and says nothing
SILENT_FOR: Final = 1.0  # s in which what was silent takes no stream, so that a retry goes elsewhere
FULL_FOR: Final = 0.1  # s, so that the same connection doesn't refuse a retry
PING_AFTER: Final = 0.5  # s of silence while a stream waits; it doubles with each PING until a part of a response comes
PONG_WITHIN: Final = 1.0  # s; Linux sends a lost packet twice again meanwhile
GATHERED: Final = 8  # requests that wait for each other, of tasks that run one after the other
GATHERED_SIZE: Final = 16 * 1024  # B
QUICK: Final = 0.0005  # s that such a task takes at most; else a request would wait for the work of others
LAST_CHANCE: Final = 0.25  # s for a server that was frozen, and answers on a new connection first

GONE: Final = getattr(select, "POLLRDHUP", 0) | getattr(select, "POLLHUP", 0) | getattr(select, "POLLERR", 0)


class Session(Pooled, Generic[S]):
    """
    For a subclass, which reads what comes and gives it to its streams *S*.

    Attributes:
        known: What is known of the origin, for connections to come.
        max_streams: At once; until the server has said, what is known.
        death: What the errors of all streams that its end took with it have in common; not itself, which would
            make a cycle.
        can_fall_back: HTTP/1.1 is spoken here too, if the server asks for it.
        heard_at: When the server last said anything, in loop time.
        carried_at: When a part of a response came last, in loop time.
        shares: What the bodies of its requests may send.
    """

    __slots__ = (
        "_are_quick",
        "_asked_at",
        "_full",
        "_gathered",
        "_gathering",
        "_has_ended",
        "_is_leaving",
        "_open",
        "_patience",
        "_probe",
        "_waits_since",
        "_watch",
        "can_fall_back",
        "carried_at",
        "chatter",
        "death",
        "dialogue",
        "heard_at",
        "known",
        "max_streams",
        "shares",
    )

    protocol = "HTTP/2"
    is_multiplexed = True

    def __init__(self, origin: Destination, buffer: memoryview, known: Known, *, is_secure: bool = False) -> None:
        super().__init__(origin, buffer, is_secure=is_secure)
        self.known, self.max_streams = known, known.max_streams
        self.can_fall_back = False
        self.heard_at = self.carried_at = 0.0
        self.death: Final = object()
        self.dialogue: Final[Dialogue[S]] = Dialogue()
        self.chatter: Final = Chatter()
        self.shares: Final = Shares()
        self._open: dict[S, None] = {}  # those in flight, or about to be
        self._probe: asyncio.TimerHandle | None = None  # runs while a PING is unanswered
        self._watch: asyncio.TimerHandle | None = None  # looks whether the server is silent, while streams wait
        self._waits_since = 0.0  # when the server had nothing to do last, or a part of a large body was sent
        self._asked_at, self._patience = 0.0, PING_AFTER
        self._full: asyncio.TimerHandle | None = None  # runs while it takes no stream for a moment
        self._is_leaving = self._has_ended = False
        self._gathered: list[bytes] = []  # to be sent once the tasks that were woken together have run
        self._gathering: asyncio.Handle | None = None
        self._are_quick = True  # tasks that were woken together were so last time

    # The pool's side

    def begin(self, *, can_fall_back: bool) -> None:
        """It is HTTP/2: say so."""
        self.can_fall_back = can_fall_back
        ours = {
            Setting.HEADER_TABLE_SIZE: TABLE_SIZE,
            Setting.ENABLE_PUSH: 0,
            Setting.INITIAL_WINDOW_SIZE: STREAM_WINDOW,
            Setting.MAX_HEADER_LIST_SIZE: MAX_HEAD,
        }
        self.dialogue.greet(ours, CONNECTION_WINDOW)

    def agrees(self, chosen: str | None, *, can_fall_back: bool) -> bool:
        """Without a choice it is HTTP/2 only where nothing else is spoken here."""
        self.known.chooses_http1 = chosen != "h2" and can_fall_back
        if self.known.chooses_http1:
            return False
        self.begin(can_fall_back=can_fall_back)
        return True

    @property
    def is_usable(self) -> bool:
        return not (self._is_leaving or self._has_ended or self.is_closed or self.known.requires_http1)

    @property
    def has_room(self) -> bool:
        """For another stream."""
        return self._full is None and self._probe is None and len(self._open) < self.max_streams and self.is_usable

    @property
    def streams(self) -> int:
        """How many are in flight, or about to be."""
        return len(self._open)

    def has_unseen(self) -> bool:
        """Its end; what else may wait in its socket (a PING, SETTINGS) isn't a sign of one."""
        return self._poll is not None and any(events & GONE for _, events in self._poll.poll(0))

    def retire(self) -> None:
        self._is_leaving = True
        if not self._open:
            self.close()

    # A stream's side

    def flush(self) -> int:
        """Send the bytes that the dialogue has; returns how many they were."""
        data = self.dialogue.take_out()
        if data:
            self._gathered.append(data)
            is_one = self._gathering is None or not self._are_quick
            if is_one or len(self._gathered) >= GATHERED or len(data) >= GATHERED_SIZE:
                self._send_gathered()
        return len(data)

    def _gather(self, tasks: int) -> None:
        """Until as many *tasks* as were woken before this have run, which is in the loop's next turn."""
        if self._gathering is not None:  # for those of an earlier read, which have run
            self._gathering.cancel()
            self._send_gathered()
        until = self._loop.time() + tasks * QUICK
        self._gathering = self._loop.call_soon(self._stop_gathering, until, context=Context())

    def _stop_gathering(self, until: float) -> None:
        self._gathering, self._are_quick = None, self._loop.time() <= until
        self._send_gathered()

    def _send_gathered(self) -> None:
        """In the order in which it was said."""
        gathered = self._gathered
        data = gathered[0] if len(gathered) == 1 else b"".join(gathered)
        gathered.clear()
        if data and self._transport is not None and not self.is_closed:
            self._transport.write(data)

    def asks(self, now: float) -> None:
        """A stream begins to wait for the server."""
        self.chatter.asked()
        self._patience = PING_AFTER
        if len(self._open) == 1:
            self._waits_since = now
        if self._watch is None:
            self._watch = self._loop.call_at(now + PING_AFTER, self._look, context=Context())

    def progressed(self) -> None:
        """A part of a large request's body was sent, which takes its time, so the server's silence begins anew."""
        self._waits_since = self._loop.time()

    def take(self, number: int, size: int) -> None:
        """So many bytes of body were taken, or nobody will take them: the server may send as many more."""
        if size and not self.is_closed:
            self.dialogue.take(number, size)

    def reset(self, number: int) -> None:
        """Abandon a stream: the server need not go on with it."""
        self.chatter.abandoned(self.dialogue.reset(number, Code.CANCEL))

    def release(self, stream: S, number: int | None) -> None:
        """A stream is over."""
        if number is not None:
            self.dialogue.forget(number)
        if self._open.pop(stream, self) is None and not self._open:
            if self.is_usable:
                self.on_idle(self, self._loop.time())
            else:
                self.close()
        elif self.is_usable:
            self.on_room(self)

    def given_up(self, since: float) -> None:
        """A stream was abandoned, which has waited since then: if nothing at all came lately, ask the server."""
        if self._loop.time() - max(self.heard_at, since) > DOUBT_AFTER:
            self._doubt()

    def silent(self, since: float) -> None:
        """A stream has waited as long as it may: if no response made progress, the next attempt goes elsewhere."""
        if self.carried_at <= since:
            self._fill(SILENT_FOR)
            self._doubt()

    def held_up(self, since: float) -> None:
        """A body has waited for the shared window as long as it may: if that was not widened, no other should wait."""
        if self.shares.widened_at <= since:
            self.retire()

    def refused(self) -> None:
        """The server refused a stream, though it allows more by its SETTINGS: for a moment, others dial anew."""
        self._fill(FULL_FOR)

    def _fill(self, seconds: float) -> None:
        """Take no stream for so long; then those that wait for one hear of it, because nothing else may tell them."""
        until = self._loop.time() + seconds
        if self._full is not None:
            if self._full.when() >= until:
                return
            self._full.cancel()
        self._full = self._loop.call_at(until, self._has_room_again, context=Context())

    def _has_room_again(self) -> None:
        self._full = None
        if self.is_usable:
            self.on_room(self)

    def falls_back(self, code: int) -> bool:
        """Whether an error code asks for HTTP/1.1, and it is spoken here: then no connection to the origin is used."""
        if code != Code.HTTP_1_1_REQUIRED or not self.can_fall_back:
            return False
        self.known.requires_http1 = True
        return True

    def _look(self) -> None:
        """Whether the server has said nothing for too long; a response that takes its time is asked about ever less."""
        self._watch = None
        if self.is_closed or not self._open:
            return
        now = self._loop.time()
        if self.carried_at >= self._asked_at:
            self._patience = PING_AFTER
        look_at = max(self.heard_at, self._waits_since) + self._patience
        if look_at <= now and self.can_write:  # else a PING would wait here
            self._doubt()
            self._asked_at = now
            self._patience *= 2
        look_at = now + PING_AFTER if look_at <= now else min(look_at, now + PING_AFTER)
        self._watch = self._loop.call_at(look_at, self._look, context=Context())

    def _doubt(self) -> None:
        """Send a PING. Until the server answers, the connection takes no stream; after `PONG_WITHIN` it never does."""
        if self._probe is None and not (self.is_closed or self._has_ended):
            self._await_pong(backlog(self._transport))
            self.dialogue.ping(b"seawall?")
            self.flush()

    def _await_pong(self, before: int) -> None:
        self._probe = self._loop.call_later(PONG_WITHIN, self._unanswered, before, context=Context())

    def _unanswered(self, before: int) -> None:
        """No PONG has come; wait on while a slow link still takes what was written before the PING."""
        left = backlog(self._transport)
        if left < before:
            self._await_pong(left)
            return
        self.known.silent[self] = self.break_off
        self.retire()

    def _believe(self) -> None:
        if self._probe is not None:
            self._probe.cancel()
            self._probe = None
            self.known.silent.pop(self, None)

    def break_off(self) -> None:
        """The server is there, but not on this connection."""
        raise NotImplementedError
