"""
resolv.conf, and the names that it makes of a name, as in glibc (resolv/res_init.c, resolv/res_query.c; resolv.conf(5)).

A keyword counts at the very beginning of a line and only before a blank. The last ``domain`` or ``search`` wins,
``LOCALDOMAIN`` wins over both, and without any the domain of the machine's own name is searched. ``RES_OPTIONS`` comes
after the file. `DNS` decides in place of ``timeout``, ``attempts`` and the other options. ``sortlist`` isn't heeded.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator, Mapping
from typing import NamedTuple

__all__ = ["Candidate", "ResolvConf", "parse"]

MAX_NAMESERVERS = 3  # MAXNS
MAX_NDOTS = 15  # RES_MAXNDOTS
MAX_NAME, MAX_LABEL = 253, 63  # octets, RFC 1035 section 2.3.4, without the root label
BLANKS = re.compile(r"[ \t]+")
DIRECTIVE = re.compile(r"(domain|search|nameserver|options)[ \t]+([^ \t].*)", re.DOTALL)
NUMBER = re.compile(r"\s*([+-]?\d{1,18})", re.ASCII)  # what strtol takes
ASKABLE = re.compile(r"[!-\[\]-~]+")  # printable ASCII without a backslash, which would escape what follows


class Candidate(NamedTuple):
    """
    A fully qualified name to ask for.

    Attributes:
        name: Without trailing dot.
        is_as_given: It is the caller's name without any domain of the search list.
    """

    name: str
    is_as_given: bool


class ResolvConf(NamedTuple):
    """
    Attributes:
        nameservers: At most 3 addresses; an IPv6 one may have a zone, ``fe80::1%eth0``.
        search: Domains to append.
        ndots: A name with at least so many dots is asked for as given before the search list is used.
        rotate: Each lookup begins with the next server.
        use_tcp: ``options use-vc``.
        no_aaaa: Ask for IPv4 addresses only.
        no_tld_query: Don't ask for a name without dots as given.
    """

    nameservers: tuple[str, ...] = ("127.0.0.1",)
    search: tuple[str, ...] = ()
    ndots: int = 1
    rotate: bool = False
    use_tcp: bool = False
    no_aaaa: bool = False
    no_tld_query: bool = False

    def candidates(self, name: str) -> tuple[Candidate, ...]:
        """
        The names to ask for one after the other, until one has an address (``__res_context_search``).

        A name with a trailing dot is only asked for as given, and one with *ndots* dots is first asked for as given.
        () where a DNS message can't hold any of them.
        """
        dots = name.count(".")
        if name.endswith("."):
            names = [name[:-1]]
        else:
            names = [name] if dots >= self.ndots else []
            names += self._searched(name)
            if dots or not self.search or not self.no_tld_query:
                names.append(name)  # counts only if it isn't among them yet
        return tuple(
            Candidate(each, each == name.removesuffix("."))
            for each in dict.fromkeys(names)
            if _is_name(each) and ASKABLE.fullmatch(each)
        )

    def _searched(self, name: str) -> Iterator[str]:
        for domain in self.search:
            full = f"{name}.{domain.removeprefix('.')}".removesuffix(".")  # domains "." and "" give the name as it is
            if not _is_name(full):
                return  # glibc doesn't ask for it, and heeds no later domain either
            yield full


def parse(text: str, *, hostname: str, environ: Mapping[str, str]) -> ResolvConf:
    """
    Args:
        text: The text of the file; "" where there isn't one.
        hostname: The machine's name.
        environ: ``LOCALDOMAIN`` and ``RES_OPTIONS`` are heeded.
    """
    nameservers, options = list[str](), list[str]()
    local = environ.get("LOCALDOMAIN")
    search = _domain_of(hostname) if local is None else _words(local.partition("\n")[0])
    for line in text.split("\n"):
        if (directive := DIRECTIVE.match(line.partition("\0")[0])) is None:
            continue
        keyword, value = directive.groups()
        words = _words(value)
        if keyword == "nameserver":
            nameservers += _address(words[0])
        elif keyword == "options":
            options.append(value)
        elif local is None:
            search = words if keyword == "search" else words[:1]
    conf = ResolvConf(tuple(nameservers[:MAX_NAMESERVERS]) or ("127.0.0.1",), search)
    for each in (*options, environ.get("RES_OPTIONS", "")):
        conf = _with_options(conf, each)
    return conf


def _words(text: str) -> tuple[str, ...]:
    """Split as glibc does: only the first word may be empty, so ``LOCALDOMAIN=""`` means the root alone."""
    first, *rest = BLANKS.split(text)
    return (first, *filter(None, rest))


def _domain_of(hostname: str) -> tuple[str, ...]:
    _, dot, domain = hostname.partition(".")
    return (domain,) if dot else ()


def _address(text: str) -> tuple[str, ...]:
    """() where it isn't an address: ``__inet_aton_exact`` takes ``127.1``, but not a final carriage return."""
    try:
        if not text.isascii() or text.split() != [text]:
            return ()
        return (socket.inet_ntoa(socket.inet_aton(text)),)
    except OSError:
        return _address6(*text.partition("%")[::2])


def _address6(text: str, zone: str) -> tuple[str, ...]:
    try:
        address = socket.inet_ntop(socket.AF_INET6, socket.inet_pton(socket.AF_INET6, text))
    except OSError:
        return ()
    return (f"{address}%{zone}" if zone and _is_zone(zone) else address,)


def _is_zone(zone: str) -> bool:
    """Whether the machine has the zone; glibc leaves out others."""
    try:
        return zone.isdecimal() or socket.if_nametoindex(zone) > 0
    except OSError:
        return False


def _with_options(conf: ResolvConf, text: str) -> ResolvConf:
    """``res_setoptions``: the beginning of an option decides, and the number of ``ndots: 2`` may follow a blank."""
    for option in re.finditer(r"[^ \t]+", text):
        word = option[0]
        if word.startswith("ndots:"):
            number = NUMBER.match(text, option.start() + len("ndots:"))
            conf = conf._replace(ndots=max(0, min(int(number[1]) if number else 0, MAX_NDOTS)))
        conf = conf._replace(
            rotate=conf.rotate or word.startswith("rotate"),
            use_tcp=conf.use_tcp or word.startswith("use-vc"),
            no_aaaa=conf.no_aaaa or word.startswith("no-aaaa"),
            no_tld_query=conf.no_tld_query or word.startswith(("no-tld-query", "no_tld_query")),
        )
    return conf


def _is_name(name: str) -> bool:
    """Whether a DNS message can hold it (RFC 1035 section 2.3.4)."""
    octets = name.encode(errors="surrogateescape")
    return len(octets) <= MAX_NAME and all(0 < len(label) <= MAX_LABEL for label in octets.split(b"."))
