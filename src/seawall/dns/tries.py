"""
Which name server a question goes to, and when. Pure.

Rules: servers in their order; the next one at `TRIES_AT` while no answer has come, and at once where a server fails;
`MAX_TRIES` in all, whatever comes, so that a lookup of both families sends six datagrams at most. A server that failed
is not asked this question again; one that is silent is, because the datagram may be lost.
"""

from __future__ import annotations

from collections.abc import Container, Sequence

__all__ = ["MAX_TRIES", "QUESTION_TIMEOUT", "TRIES_AT", "Tries"]

# Seconds after the first try. A lost datagram costs half a second, where glibc's costs 5 s and Go's too.
TRIES_AT = (0.0, 0.5, 1.5)
MAX_TRIES = len(TRIES_AT)
# Seconds for a question: how long glibc waits for a server (RES_TIMEOUT), and as long as c-ares does at most
# (MAX_TIMEOUT_MS in ares_metrics.c).
QUESTION_TIMEOUT = 5.0


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
        """The server for the next try, not one of *but*; None where there isn't one."""
        server = None if self.is_over else next((each for each in self._left if each not in but), None)
        if server is not None:
            self._left.remove(server)
            self._left.append(server)
            self.made += 1
        return server

    def drop(self, server: str) -> None:
        """It failed: this question is not sent to it again."""
        if server in self._left:
            self._left.remove(server)
