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
    "public",
    "shortage",
]

SHORTAGES = frozenset((errno.EMFILE, errno.ENFILE))  # no descriptor is left for this process, or for the machine
ADVICE = "raise RLIMIT_NOFILE (ulimit -n), or lower Limits.max_connections"


class ServerFailure(ResolverFailure):
    """
    Every name server that was asked said SERVFAIL, or the last one did, so the name may exist.

    It is a class of its own because a search reports it rather than another failure (glibc's res_search).
    """


class Dangling(NameNotFound):
    """The name is an alias of one without addresses. A class of its own because glibc's search ends with it."""


def public(error: ResolveError) -> ResolveError:
    """*error* in a class that users know: what only a search must tell apart is nothing for their metrics."""
    kind = {ServerFailure: ResolverFailure, Dangling: NameNotFound}.get(type(error))
    if kind is None:
        return error
    made = kind(*error.args)
    vars(made).update(vars(error))
    made.__cause__ = error.__cause__
    return made.with_traceback(error.__traceback__)


class Rank(NamedTuple):
    """
    From an SRV record: the lowest priority comes first, and within it chance decides by weight. Source: RFC 2782.

    Attributes:
        target: A number that the addresses of one target have in common, because they share its weight.
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
        ttl: Seconds that they may be kept; None leaves that to the cache.
        source: "dns", "hosts", "localhost", "system", "srv", "function", "static", "literal", or the word of a user's
            resolver; "cache" for addresses that were looked up before, "stale" for those whose time is over.
        ranks: One for each address where some must be preferred; else empty.
    """

    addresses: tuple[Address, ...]
    ttl: float | None
    source: str
    ranks: tuple[Rank, ...] = ()


class Found(NamedTuple):
    """
    The addresses of a name, and whether they are all.

    Attributes:
        unknown: The address family whose lookup failed or hasn't ended yet; 0 where both are known.
    """

    answer: Answer
    unknown: int = 0


@runtime_checkable
class Resolver(Protocol):
    """
    Service discovery: anything with these two methods can be a client's ``resolver=``.

    The client limits the time and caches the answer, so an implementation needs to do neither.
    """

    async def resolve(self, host: str, port: int, *, family: int = 0) -> Answer:
        """
        Addresses of *host*.

        Args:
            family: socket.AF_INET, socket.AF_INET6, or 0 for both.
        Raises:
            NameNotFound, NoAddress, ResolverFailure: It found no addresses.
        """

    async def aclose(self) -> None:
        """Release all that it holds."""


Told: TypeAlias = "Callable[[Found | ResolveError], None]"


@runtime_checkable
class Progressive(Protocol):
    """
    A resolver that tells the first addresses before it has all.

    Attributes:
        is_progressive: Tells it from a user's resolver, which may have a method `look_up` of its own.
    """

    is_progressive: bool

    async def look_up(self, host: str, port: int, tell: Told) -> Found:
        """
        As `Resolver.resolve`, for both families.

        Args:
            tell: Called with addresses before the others come, or with the error that it will raise if none come.
        """


def failed(kind: type[ResolveError], text: str) -> ResolveError:
    """
    The error for a failed lookup: a shortage of descriptors where there is one, else *kind*.

    c-ares and getaddrinfo don't say that no descriptor was left: c-ares reports no server then, and getaddrinfo no such
    name.
    """
    if (code := shortage()) is not None:
        return ResolverFailure(f"{text}: {os.strerror(code).lower()}: {ADVICE}", is_shortage=True)
    return kind(text)


def shortage() -> int | None:
    """The code of the shortage that there is now; None where a descriptor is left."""
    try:
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM).close()
    except OSError as error:
        if error.errno in SHORTAGES:
            return error.errno
    return None


def literal(host: str) -> Answer | None:
    """The answer for a host that is an IP address already, with or without a zone; else None."""
    address, _, zone = host.partition("%")
    if zone.startswith("25") and len(zone) > 2:  # "%25" stands for "%" in a URL (RFC 6874 section 2)
        return literal(f"{address}%{zone[2:]}")
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return _numeric(host)
    if "%" in host and not zone:
        return None
    return Answer((Address(host),), math.inf, "literal")


def _numeric(host: str) -> Answer | None:
    """Other forms of an IPv4 address that the system's resolver takes: 127.1, 0x7f.0.0.1, 2130706433."""
    if not re.fullmatch(r"[0-9][0-9a-fA-FxX.]*", host):
        return None
    try:
        return Answer((Address(socket.inet_ntoa(socket.inet_aton(host))),), math.inf, "literal")
    except OSError:
        return None


def check_name(host: str) -> None:
    """
    Refuse a name that no name server can know, before c-ares truncates or sends it.

    Raises:
        NameNotFound: It is empty, has NUL or white space, is over 253 octets, or has a label that is empty or over 63.
    Source: RFC 1035 section 2.3.4.
    """
    name = host.removesuffix(".")
    why = ""
    if not name:
        why = "it is empty"
    elif not name.isascii():
        why = "it isn't in ASCII (IDNA) form"
    elif any(ord(character) <= 32 or ord(character) == 127 for character in name):
        why = "it has white space or control characters"
    elif len(name) > 253:
        why = f"it has {len(name)} octets, more than 253"
    elif not all(0 < len(label) <= 63 for label in name.split(".")):
        why = "a label is empty or has more than 63 octets"
    if why:
        raise NameNotFound(f"{host!r} can't be a host name: {why}")
