"""
Which name server a question goes to, and when. Pure.

Rules: servers are asked in their order, the next one after each of `PAUSES` without an answer, and at once where a
server fails; at most `MAX_TRIES` in all, so that a lookup of both families sends six datagrams at most. A server that
failed isn't asked the same question again. A silent one is, because the datagram may be lost, but not while it works
through a queue, because that would make the queue three times as long. A server that is silent where another answers
is asked last for `SILENT_FOR`, because otherwise each new name would wait for it.
"""

from __future__ import annotations

import math
from collections.abc import Container, Sequence

__all__ = ["MAX_TRIES", "PAUSES", "QUESTION_TIMEOUT", "RECENT", "SILENT_FOR", "Standing", "Tries"]

# Seconds between tries: a lost datagram costs half a second here, and five with glibc or Go. The second pause is
# longer, because a server that is merely slow needn't be asked again.
PAUSES = (0.5, 1.0)
MAX_TRIES = len(PAUSES) + 1
# Seconds for a question: as long as glibc waits for a server (RES_TIMEOUT), and as long as c-ares waits at most
# (MAX_TIMEOUT_MS in ares_metrics.c).
QUESTION_TIMEOUT = 5.0
RECENT = 0.25  # seconds since an answer, after which a server no longer counts as working through a queue
SILENT_FOR = 5.0  # seconds that a silent server is asked last: c-ares' own server_retry_delay


class Standing:
    """Whether a server is silent or busy, judged by when it answered."""

    __slots__ = ("_answered_at", "_newest_at", "_silent_until")

    def __init__(self) -> None:
        self._answered_at = -math.inf
        self._newest_at = -math.inf
        self._silent_until = -math.inf

    def answered(self, sent_at: float, now: float) -> None:
        """Note that it answered a question that was sent at *sent_at*."""
        self._answered_at = now
        self._newest_at = max(self._newest_at, sent_at)
        self._silent_until = -math.inf

    def left(self, sent_at: float, now: float) -> None:
        """Note that another server answered a question which was sent to this one at *sent_at*."""
        if now - sent_at >= PAUSES[0] and self._answered_at < sent_at:
            self._silent_until = now + SILENT_FOR

    def has_queue(self, sent_at: float, now: float) -> bool:
        """Whether it may still answer a question of *sent_at*, because it answers, but none that was sent later."""
        return now - self._answered_at < RECENT and self._newest_at <= sent_at

    def is_silent(self, now: float) -> bool:
        return now < self._silent_until


class Tries:
    """The tries of one question."""

    __slots__ = ("_left", "made")

    def __init__(self, servers: Sequence[str]) -> None:
        self._left = list(dict.fromkeys(servers))  # the first is the next
        self.made = 0

    @property
    def is_over(self) -> bool:
        """Whether no server will be asked any more."""
        return self.made >= MAX_TRIES or not self._left

    def take(self, *, but: Container[str] = ()) -> str | None:
        """The server for the next try, except those in *but*; None where there isn't one."""
        server = None if self.is_over else next((each for each in self._left if each not in but), None)
        if server is not None:
            self._left.remove(server)
            self._left.append(server)
            self.made += 1
        return server

    def drop(self, server: str) -> None:
        """Don't ask a server again, because it failed."""
        if server in self._left:
            self._left.remove(server)
