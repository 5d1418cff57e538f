"""What a resolver is and what it answers."""

from __future__ import annotations

import errno
import ipaddress
import math
import os
import re
import socket
from collections.abc import Callable
from typing import NamedTuple, Protocol, TypeAlias, runtime_checkable

from ..errors import NameNotFound, ResolveError, ResolverFailure
from ..origin import Address

__all__ = [
    "ADVICE",
    "SHORTAGES",
    "Answer",
    "Dangling",
    "Found",
    "Progressive",
    "Rank",
    "Resolver",
    "SRVRecord",
    "ServerFailure",
    "Told",
    "check_name",
    "failed",
    "literal",
    "shortage",
]

SHORTAGES = (errno.EMFILE, errno.ENFILE)  # no descriptor is left: for this process, for the machine
ADVICE = "raise RLIMIT_NOFILE (ulimit -n), or lower Limits.max_connections"


class ServerFailure(ResolverFailure):
    """
    Every name server that was asked said SERVFAIL, or the last one did: the name may exist.

    A class of its own because the search list tells of it, and not of the other failures (glibc's res_search).
    """


class Dangling(NameNotFound):
    """It is an alias of a name without addresses. A class of its own because the search list ends with it, in glibc."""


class Rank(NamedTuple):
    """
    Of an SRV record: the lowest priority first, and in it in proportion to the weights. Source: RFC 2782.

    Attributes:
        target: A number that the addresses of one target share, for the weight is theirs together.
    """

    priority: int
    weight: int
    target: int


class SRVRecord(NamedTuple):
    """An SRV record; its *target* is empty where the service isn't available. Source: RFC 2782."""

    priority: int
    weight: int
    port: int
    target: str
    ttl: float


class Answer(NamedTuple):
    """
    Addresses of a name, never empty.

    Attributes:
        ranks: Of each address, where some are to be preferred; else empty.
        ttl: s that they may be kept; None: as long as the setting for such answers says.
        source: "dns", "hosts", "localhost", "system", "srv", "function", "static", "literal", or what a resolver of the
            user's calls itself; "cache" for what was looked up before, "stale" for that past its time.
    """

    addresses: tuple[Address, ...]
    ttl: float | None
    source: str
    ranks: tuple[Rank, ...] = ()


class Found(NamedTuple):
    """
    What is known of a name.

    Attributes:
        unknown: The address family of which nothing is known, because its lookup failed or isn't over yet; 0: none.
    """

    answer: Answer
    unknown: int = 0


@runtime_checkable
class Resolver(Protocol):
    """
    Service discovery: anything with these two methods can be a client's ``resolver=``.

    The caller sets the time limit and caches; an implementation does neither.
    """

    async def resolve(self, host: str, port: int, *, family: int = 0) -> Answer:
        """
        Addresses of *host*.

        Args:
            family: socket.AF_INET, socket.AF_INET6, or 0 for both.
        Raises:
            NameNotFound, NoAddress, ResolverFailure: There are none.
        """

    async def aclose(self) -> None:
        """Give back what it holds."""


Told: TypeAlias = "Callable[[Found | ResolveError], None]"


@runtime_checkable
class Progressive(Protocol):
    """A resolver that tells what it knows before it knows everything."""

    async def look_up(self, host: str, port: int, tell: Told) -> Found:
        """
        As `Resolver.resolve`, for both families.

        Args:
            tell: Called with addresses while others are still to come; with an error that stands unless some come.
        """


def failed(kind: type[ResolveError], text: str) -> ResolveError:
    """
    A lookup's failure, and what it is at bottom.

    c-ares and getaddrinfo don't say that there was no descriptor to ask with: the one finds no server then, the other
    no such name.
    """
    if (code := shortage()) is not None:
        return ResolverFailure(f"{text}: {os.strerror(code).lower()}: {ADVICE}", is_shortage=True)
    return kind(text)


def shortage() -> int | None:
    """Which of `SHORTAGES` there is now; None where a descriptor can be had."""
    try:
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM).close()
    except OSError as error:
        if error.errno in SHORTAGES:
            return error.errno
    return None


def literal(host: str) -> Answer | None:
    """The answer for a host that is an IP address already (a zone included), else None."""
    address, _, zone = host.partition("%")
    if zone.startswith("25") and len(zone) > 2:  # in a URL "%25" is what a "%" is written as (RFC 6874 section 2)
        return literal(f"{address}%{zone[2:]}")
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return _numeric(host)
    if "%" in host and not zone:
        return None
    return Answer((Address(host),), math.inf, "literal")


def _numeric(host: str) -> Answer | None:
    """127.1, 0x7f.0.0.1, 2130706433: what the system's resolver takes for an IPv4 address, written out."""
    if not re.fullmatch(r"[0-9][0-9a-fA-FxX.]*", host):
        return None
    try:
        return Answer((Address(socket.inet_ntoa(socket.inet_aton(host))),), math.inf, "literal")
    except OSError:
        return None


def check_name(host: str) -> None:
    """
    Refuse what no name server could know, before c-ares cuts it short or sends it.

    Raises:
        NameNotFound: Empty, with NUL or white space, a label over 63 or a name over 253 octets, an empty label.
    Source: RFC 1035 section 2.3.4.
    """
    name = host.removesuffix(".")
    why = ""
    if not name:
        why = "it is empty"
    elif not name.isascii():
        why = "it is not in ASCII (IDNA) form"
    elif any(ord(character) <= 32 or ord(character) == 127 for character in name):
        why = "it has white space or control characters"
    elif len(name) > 253:
        why = f"it has {len(name)} octets, more than 253"
    elif not all(0 < len(label) <= 63 for label in name.split(".")):
        why = "a label is empty or has more than 63 octets"
    if why:
        raise NameNotFound(f"{host!r} can't be a host name: {why}")
