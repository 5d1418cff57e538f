"""How names become addresses."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .check import count, number, shown

__all__ = ["DNS"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DNS:
    """
    How names become addresses.

    Args:
        timeout: Seconds that a caller waits for a lookup, within the connect timeout. The lookup goes on for 0.5
            seconds more, so that a retry finds its answer, and for 5 seconds in all while a caller waits. 2 by default,
            because c-ares' own timeout is only a hint.
        nameservers: "ip" or "ip:port" of the servers to ask in place of the system's. The system's resolver isn't the
            fallback then, because it would ask others.
        min_ttl: Shortest time that an answer is kept, in seconds. 1 by default, because a TTL of 0 makes storms.
        max_ttl: Longest time that an answer is kept, in seconds. 300 by default, because that bounds a fail-over.
        negative_ttl: Seconds that "no such name" is kept; fixed, because c-ares doesn't show the SOA.
        stale_ttl: Seconds that an expired answer may be used where DNS fails, with TLS (RFC 8767).
        stale_ttl_plain: The same without TLS, where nothing proves that the address still belongs to the host.
        stale_wait: Seconds that a lookup has before a stale answer is used. A name in use is looked up at 80 % of its
            TTL, or twice this time before its end if that is earlier, but not before half of it, so that no caller
            waits.
        fallback_after: Seconds before the system's resolver is asked too; it is asked at once where DNS fails.
        resolution_delay: Seconds to wait for the other family once one has answered (RFC 8305 section 3).
        max_entries: Names that are kept; the least recently used one is dropped first.
    """

    timeout: float = 2.0
    nameservers: Sequence[str] | None = None
    min_ttl: float = 1.0
    max_ttl: float = 300.0
    negative_ttl: float = 5.0
    stale_ttl: float = 3600.0
    stale_ttl_plain: float = 60.0
    stale_wait: float = 0.2
    fallback_after: float = 1.0
    resolution_delay: float = 0.05
    max_entries: int = 1024

    def __post_init__(self) -> None:
        number("DNS", "timeout", self.timeout, low=0, above=True)
        for name in (
            "min_ttl",
            "negative_ttl",
            "stale_ttl",
            "stale_ttl_plain",
            "stale_wait",
            "fallback_after",
            "resolution_delay",
        ):
            number("DNS", name, getattr(self, name), low=0)
        number("DNS", "max_ttl", self.max_ttl, low=self.min_ttl)
        count("DNS", "max_entries", self.max_entries, low=1)
        if self.nameservers is not None:
            if isinstance(self.nameservers, str) or not isinstance(self.nameservers, Iterable):
                raise TypeError(f"DNS.nameservers must be a list of strings, not {shown(self.nameservers)}")
            object.__setattr__(self, "nameservers", tuple(self.nameservers))
            if not self.nameservers:
                raise ValueError("DNS.nameservers must name at least one server; None means the system's")
            for server in self.nameservers:
                _nameserver(server)


def _nameserver(server: object) -> None:
    host, port = server if isinstance(server, str) else "", "53"
    if match := re.fullmatch(r"\[(.+)\]:([0-9]+)|([^:]+):([0-9]+)", host):
        host, port = (match[1], match[2]) if match[1] else (match[3], match[4])
    try:
        ipaddress.ip_address(host)
        if not 1 <= int(port) <= 65535:
            raise ValueError(port)
    except ValueError:
        raise ValueError(
            f"DNS.nameservers must hold IP addresses with an optional port, such as 127.0.0.1:5353, not {shown(server)}"
        ) from None
