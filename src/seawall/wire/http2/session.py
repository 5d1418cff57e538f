"""
One HTTP/2 connection as its streams use it: h2 keeps the protocol's state; here is who may use it, and for how long.

Rules: a connection that goes away takes no new stream, and ends with its last one. One that says nothing while streams
wait is asked by PING, and isn't used again before it answers; the longer a response takes, the rarer that is, because
some servers count PINGs. One that doesn't answer is left: it takes no new stream. Its streams wait on, because a server
that is frozen still answers them; but once another connection hears of the server, so that it isn't, those that can be
repeated break off. Source: RFC 9113, gRPC's keepalive.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
from contextvars import Context
from typing import Final, Generic, TypeVar

import h2.config
import h2.connection
import h2.errors
import h2.exceptions
import h2.settings

from ...origin import Origin
from ..connection import Pooled
from ..known import Known
from ..limits import MAX_HEAD
from .backlog import backlog
from .chatter import Chatter
from .fields import TABLE_SIZE, Decoder, Encoder

__all__ = ["Session"]

S = TypeVar("S")

STREAM_WINDOW: Final = 1024 * 1024  # B of body that nobody has taken yet; the server then waits
CONNECTION_WINDOW: Final = 2**30  # B; Go's, so that streams that nobody reads don't hold up the others
DOUBT_AFTER: Final = 0.1  # s of silence; less is a round trip, and says nothing
SILENT_FOR: Final = 1.0  # s in which what was silent takes no stream, so that a retry goes elsewhere
FULL_FOR: Final = 0.1  # s, so that the same connection doesn't refuse a retry
PING_AFTER: Final = 0.5  # s of silence while a stream waits; it doubles with each PING until a part of a response comes
PONG_WITHIN: Final = 1.0  # s; Linux sends a lost packet twice again meanwhile
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
    """

    __slots__ = (
        "_asked_at",
        "_full_until",
        "_has_ended",
        "_is_leaving",
        "_numbered",
        "_open",
        "_patience",
        "_probe",
        "_waits_since",
        "_watch",
        "can_fall_back",
        "carried_at",
        "chatter",
        "death",
        "h2",
        "heard_at",
        "known",
        "max_streams",
    )

    protocol = "HTTP/2"
    is_multiplexed = True

    def __init__(self, origin: Origin, buffer: memoryview, known: Known, *, is_secure: bool = False) -> None:
        super().__init__(origin, buffer, is_secure=is_secure)
        self.known, self.max_streams = known, known.max_streams
        self.can_fall_back = False
        self.heard_at = self.carried_at = 0.0
        self.death: Final = object()
        config = h2.config.H2Configuration(
            client_side=True,
            header_encoding=None,
            validate_inbound_headers=False,  # a bad header is its stream's matter, and h2 would end the connection
        )
        self.h2 = h2.connection.H2Connection(config)
        self.h2.encoder, self.h2.decoder = Encoder(), Decoder()
        self.chatter: Final = Chatter()
        self._numbered: dict[int, S] = {}  # streams that h2 knows
        self._open: dict[S, None] = {}  # those in flight, or about to be
        self._probe: asyncio.TimerHandle | None = None  # runs while a PING is unanswered
        self._watch: asyncio.TimerHandle | None = None  # looks whether the server is silent, while streams wait
        self._waits_since = 0.0  # when the server had nothing to do last, or a part of a large body was sent
        self._asked_at, self._patience = 0.0, PING_AFTER
        self._full_until = 0.0
        self._is_leaving = self._has_ended = False

    # The pool's side

    def begin(self, *, can_fall_back: bool) -> None:
        """It is HTTP/2: say so."""
        self.can_fall_back = can_fall_back
        codes = h2.settings.SettingCodes
        ours = {
            codes.ENABLE_PUSH: 0,
            codes.INITIAL_WINDOW_SIZE: STREAM_WINDOW,
            codes.MAX_HEADER_LIST_SIZE: MAX_HEAD,
            codes.HEADER_TABLE_SIZE: TABLE_SIZE,
        }
        # A stream's response says what is too large, because h2 would end the connection.
        self.h2.decoder.max_header_list_size = 2**31
        self.h2.local_settings = h2.settings.Settings(client=True, initial_values=ours)
        self.h2.initiate_connection()
        self.h2.increment_flow_control_window(CONNECTION_WINDOW - self.h2.inbound_flow_control_window)

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
        if self._full_until and self._loop.time() < self._full_until:
            return False
        return self.is_usable and self._probe is None and len(self._open) < self.max_streams

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
        """Send what h2 wants to be sent; returns how many bytes that was."""
        data = self.h2.data_to_send()
        if data and self._transport is not None and not self.is_closed:
            self._transport.write(data)
        return len(data)

    def claim(self, stream: S) -> int:
        """The next stream's number."""
        number = self.h2.get_next_available_stream_id()
        self._numbered[number] = stream
        return number

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
            self.h2.acknowledge_received_data(size, number)

    def reset(self, number: int) -> None:
        """Abandon a stream: the server need not go on with it."""
        with contextlib.suppress(h2.exceptions.H2Error):  # it is closed already
            window = self.h2.remote_flow_control_window(number)
            self.h2.reset_stream(number, h2.errors.ErrorCodes.CANCEL)
            self.chatter.abandoned(window)

    def release(self, stream: S, number: int | None) -> None:
        """A stream is over."""
        if number is not None:
            self._numbered.pop(number, None)
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
            self._full_until = max(self._full_until, self._loop.time() + SILENT_FOR)
            self._doubt()

    def refused(self) -> None:
        """The server refused a stream, though it allows more by its SETTINGS: for a moment, others dial anew."""
        self._full_until = self._loop.time() + FULL_FOR

    def falls_back(self, code: int) -> bool:
        """Whether an error code asks for HTTP/1.1, and it is spoken here: then no connection to the origin is used."""
        if code != h2.errors.ErrorCodes.HTTP_1_1_REQUIRED or not self.can_fall_back:
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
            self.h2.ping(b"seawall?")
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
