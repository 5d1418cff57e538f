"""A query, and what the server does with it, as values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

__all__ = ["SILENCE", "Alias", "Ask", "Plan", "Transport", "Twist"]

Transport = Literal["udp", "tcp"]
Twist = Callable[[bytes], bytes]

MAX_SHOWN = 3  # records in a line of the log


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """
    One query, with everything that a fault may depend on.

    Attributes:
        kind: "A", "AAAA", "SRV", ...
        count: How often (name, kind) was asked before.
        age: Seconds since the name was first asked.
        luck: A random number from 0.0 to 1.0, drawn for this query.
        is_edns: Whether it has an OPT record (RFC 6891).
    """

    name: str
    kind: str
    count: int = 0
    age: float = 0.0
    luck: float = 0.0
    is_edns: bool = False


@dataclass(frozen=True, slots=True)
class Alias:
    """One CNAME of a chain: its target, and its TTL in seconds."""

    target: str
    ttl: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """
    What the server does with one query.

    Attributes:
        records: Those of the queried type, as in a zone file. An empty tuple means NODATA.
        chain: The CNAMEs that lead to them.
        ttl: Of the records, or of their absence (RFC 2308), in seconds.
        delay: From the query to the answer or reset, in seconds.
        udp, tcp: Answer, say nothing, answer with TC and without records, or reset the connection.
        is_edns: Whether the answer has an OPT record if the query has one.
        twists: Functions that change the answer's bytes, one after another.
        first: Forgeries that are sent before the answer, over UDP.
    """

    rcode: str = "NOERROR"
    records: tuple[str, ...] = ()
    chain: tuple[Alias, ...] = ()
    ttl: int = 60
    delay: float = 0.0
    udp: Literal["answer", "silence", "truncated"] = "answer"
    tcp: Literal["answer", "silence", "reset"] = "answer"
    is_edns: bool = True
    twists: tuple[Twist, ...] = ()
    first: tuple[Plan, ...] = ()

    def on(self, transport: Transport) -> Literal["answer", "silence", "truncated", "reset"]:
        return self.udp if transport == "udp" else self.tcp

    def told(self, transport: Transport) -> str:
        """For a log: ``NOERROR 127.0.0.1 after 300 ms``."""
        does = self.on(transport)
        if does == "silence":
            return does
        words: list[str] = [self.rcode if does == "answer" else does]
        if words == ["NOERROR"]:
            words += self.records[:MAX_SHOWN] if len(self.records) <= MAX_SHOWN else [f"{len(self.records)} records"]
        words += [twist.__name__ for twist in self.twists]
        words += ["after a forgery"] if self.first and transport == "udp" else []
        words += [f"after {self.delay * 1000:g} ms"] if self.delay else []
        return " ".join(words)


SILENCE = Plan(udp="silence", tcp="silence")
