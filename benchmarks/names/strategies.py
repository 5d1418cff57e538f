"""
Random machines, by hypothesis.

Names come from a small stock, so that the hosts file, the zone and the search list often have the same ones; addresses
tell where they are from: 10.1 and fd01 the hosts file, 10.2 and fd02 the zone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import hypothesis
from hypothesis import strategies as st

from .machine import Behaviour, Machine, Record

__all__ = ["generated", "machines"]

T = TypeVar("T")
Draw = st.DrawFn

DOMAINS = ("a.example", "b.example", "example", "corp.test", "deep.a.example")
LABELS = ("api", "db", "www", "a_b", "xn--bcher-kva")
LOCAL = (
    "localhost",
    "x.localhost",
    "localhost.localdomain",
    "printer.local",
    "box",
    "_gateway",
    "x.invalid",
    "x.onion",
)
RARE = ("x.test", "a..example", ".example", "a" * 64 + ".example", "..", ".")
ODD = ("-x.example", "x*y.example", "x/y.a.example", "x-.example", "256.1.1.1", "x.1")
LITERALS = ("10.3.0.1", "10.3.1", "0x0a.3.0.1", "010.3.0.1", "167968769", "fd03::1", "fe80::1%lo", "::ffff:10.3.0.1")
RCODES = ("NXDOMAIN", "SERVFAIL", "REFUSED", "FORMERR", "NOTIMP")
HOSTS_4 = ("10.1.0.1", "10.1.0.2", "127.0.0.1", "127.0.1.1", "0.0.0.0")
HOSTS_6 = ("fd01::1", "fd01::2", "::1", "FD01::1", "::ffff:10.1.0.9")
ZONE_4 = ("10.2.0.1", "10.2.0.2", "10.2.0.3", "127.0.0.1")
ZONE_6 = ("fd02::1", "fd02::2", "fd02::3", "::ffff:10.2.0.9")
# of the hosts file: what isn't an address, or isn't written as glibc wants it
BAD_ADDRESSES = (
    "10.1.0",
    "10.1.0.256",
    "fe80::1%lo",
    "host",
    "[::1]",
    "::1/128",
    "10.1.0.1:80",
    "010.1.0.1",
    "fd01::g",
)
BAD_LINES = (
    b"# only a comment",
    b"",
    b"   ",
    b"10.1.0.1",
    b"\xff\xfe api",
    b"\0",
    b"10.1.0.8\0 api",
    b"10.1.0.7 api\0 db",
)
MODULES = ("files", "dns", "nosuch", "mdns4_minimal", "myhostname", "resolve", "compat")
NSSWITCH = (
    "hosts: files dns",
    "hosts: dns files",
    "hosts: files",
    "hosts: dns",
    "hosts:files dns",
    "hosts:\tfiles\tdns # as usual",
    "hosts: files [NOTFOUND=return] dns",
    "hosts: dns [NOTFOUND=return] files",
    "hosts: dns [!UNAVAIL=return] files",
    "hosts: dns [TRYAGAIN=return] files",
    "hosts: files [!NOTFOUND=return] dns",
    "hosts: files [SUCCESS=continue] dns",
    "hosts: files [success=merge] dns",
    "hosts: files mdns4_minimal [NOTFOUND=return] dns",
    "hosts: files mdns4_minimal [NOTFOUND=return] dns myhostname",
    "hosts: mymachines resolve [!UNAVAIL=return] files myhostname dns",
    "hosts: files nosuch dns",
    "hosts: files nosuch [UNAVAIL=return] dns",
    "hosts: files dns\nhosts: dns",
    "hosts: files dns [",
    "hosts: files [NOTFOUND=maybe] dns",
    "hosts: [NOTFOUND=return] files dns",
    "hosts:",
    "HOSTS: dns",
    "# hosts: dns",
    "passwd: files\nhosts: dns\ngroup: files",
    "passwd: files",
    "",
)
OPTIONS = (
    "ndots:0",
    "ndots:1",
    "ndots:2",
    "ndots:5",
    "ndots:16",
    "ndots:x",
    "rotate",
    "timeout:1",
    "attempts:1",
    "attempts:3",
    "single-request",
    "single-request-reopen",
    "edns0",
    "trust-ad",
    "no-aaaa",
    "no-tld-query",
    "use-vc",
    "inet6",
    "no-check-names",
    "unknown:7",
)


def weighted(*choices: tuple[int, T]) -> st.SearchStrategy[T]:
    """One of the values, each as often as its number says."""
    return st.sampled_from([value for number, value in choices for _ in range(number)])


def some(values: Sequence[T], low: int, high: int) -> st.SearchStrategy[tuple[T, ...]]:
    return st.lists(st.sampled_from(values), min_size=low, max_size=high, unique=True).map(tuple)


qualified = st.builds(lambda label, domain: f"{label}.{domain}", st.sampled_from(LABELS), st.sampled_from(DOMAINS))
known = st.one_of(
    *[qualified] * 9, *[st.sampled_from(LABELS), st.sampled_from(DOMAINS + LOCAL)] * 3, st.sampled_from(ODD)
)


@st.composite
def cases(draw: Draw, name: str) -> str:
    """The name, in one case or another."""
    return draw(weighted((8, name), (1, name.upper()), (1, name.title())))


@st.composite
def records(draw: Draw) -> Record:
    """What isn't an alias: usually addresses of one or both families."""
    rcodes = st.sampled_from(("NOERROR",) * 8 + RCODES + ("NXDOMAIN", "SERVFAIL"))
    return Record(
        a=draw(some(ZONE_4, 0, 2)),
        aaaa=draw(some(ZONE_6, 0, 2)),
        rcode_a=draw(rcodes),
        rcode_aaaa=draw(rcodes),
    )


@st.composite
def zones(draw: Draw) -> dict[str, Record]:
    zone = {name.lower(): draw(records()) for name in draw(st.lists(known, max_size=5, unique=True))}
    if draw(weighted((3, False), (1, True))):
        zone[f"*.{draw(st.sampled_from(DOMAINS))}"] = draw(records())
    if draw(weighted((3, False), (1, True))):
        chain = [
            draw(known),
            *(f"alias{number}.{draw(st.sampled_from(DOMAINS))}" for number in range(draw(st.integers(0, 3)))),
        ]
        end = draw(st.one_of(known, st.sampled_from(["nowhere.example", chain[0]])))
        for owner, target in zip(chain, [*chain[1:], end], strict=True):
            zone[owner.lower()] = Record(cname=draw(cases(target)))
    if draw(weighted((15, False), (1, True))):  # more than a datagram holds
        zone[draw(known).lower()] = Record(a=tuple(f"10.2.1.{number}" for number in range(60)), aaaa=("fd02::9",))
    return zone


@st.composite
def hosts_lines(draw: Draw, names: st.SearchStrategy[str]) -> bytes:
    if draw(weighted((6, False), (1, True))):
        return draw(st.sampled_from(BAD_LINES))
    address = draw(st.sampled_from(HOSTS_4 * 3 + HOSTS_6 * 3 + BAD_ADDRESSES))
    aliases = [draw(cases(name)) for name in draw(st.lists(names, min_size=1, max_size=3))]
    start = draw(weighted((9, ""), (1, "  ")))
    end = draw(weighted((6, ""), (1, " # a comment"), (1, "#db"), (1, "  "), (1, "\r")))
    return f"{start}{draw(weighted((3, ' '), (1, chr(9)))).join([address, *aliases])}{end}".encode()


@st.composite
def hosts_files(draw: Draw, names: st.SearchStrategy[str]) -> bytes | None:
    if draw(weighted((19, False), (1, True))):
        return None
    lines = draw(st.lists(hosts_lines(names), max_size=5))
    if draw(weighted((1, False), (1, True))):
        lines.insert(0, b"127.0.0.1 localhost")
    return b"\n".join(lines) + draw(weighted((5, b"\n"), (1, b"")))


@st.composite
def resolv_confs(draw: Draw, servers: tuple[Behaviour, ...]) -> str | None:
    if draw(weighted((29, False), (1, True))):
        return None
    asked = draw(st.integers(1, 3))
    lines = [f"nameserver 127.0.0.{number + 1}" for number in range(asked)]
    options = draw(some(OPTIONS, 0, 3))
    if "silent" in servers:  # else glibc takes half a minute
        options = ("timeout:1", "attempts:1", *(each for each in options if each[:7] not in ("timeout", "attempt")))
    if set(servers) != {"good"}:  # glibc begins with any of them, so it says now this and now that
        options = tuple(each for each in options if each != "rotate")
    if options:
        lines.append(f"options {' '.join(options)}")
    search = draw(some(DOMAINS, 0, 4))
    if search:
        ends = [draw(weighted((9, ""), (1, "."))) for _ in search]
        lines.append("search " + " ".join(draw(cases(domain)) + end for domain, end in zip(search, ends, strict=True)))
    if draw(weighted((9, False), (1, True))):
        lines.append(f"domain {draw(st.sampled_from(DOMAINS))}")
    lines += draw(some(("# a comment", "; another", "nameserver", "nameserver x", "search", "nonsense", ""), 0, 1))
    if draw(weighted((2, False), (1, True))):
        lines = draw(st.permutations(lines))
    return "\n".join(lines) + draw(weighted((9, "\n"), (1, "")))


@st.composite
def switches(draw: Draw) -> str | None:
    """nsswitch.conf: of a list, or put together."""
    how = draw(weighted((6, "listed"), (3, "drawn"), (1, "missing")))
    if how == "missing":
        return None
    if how == "listed":
        line = draw(st.sampled_from(NSSWITCH[:1] * 6 + NSSWITCH))
        return f"{line}\n"
    words: list[str] = []
    for module in draw(st.lists(st.sampled_from(("files", "dns") * 3 + MODULES), min_size=1, max_size=4)):
        words.append(module)
        if draw(weighted((2, False), (1, True))):
            status = draw(st.sampled_from(("NOTFOUND", "UNAVAIL", "TRYAGAIN", "SUCCESS", "!NOTFOUND", "!UNAVAIL")))
            words.append(f"[{status}={draw(st.sampled_from(('return', 'return', 'continue')))}]")
    return f"hosts: {' '.join(words)}\n"


@st.composite
def machines(draw: Draw) -> Machine:
    zone = draw(zones())
    zone_names = [name for name in zone if not name.startswith("*")]
    stock = st.one_of(known, st.sampled_from(zone_names)) if zone_names else known
    hosts = draw(hosts_files(stock))
    behaviours: st.SearchStrategy[Behaviour] = weighted(
        (24, "good"),
        (2, "closed"),
        (1, "refused"),
        (1, "servfail"),
        (1, "formerr"),
        (1, "notimp"),
        (1, "lame"),
    )
    servers = [draw(behaviours) for _ in range(3)]
    if draw(weighted((39, False), (1, True))):
        servers[draw(st.integers(0, 2))] = "silent"
    return Machine(
        name=draw(names(stock)),
        hosts=hosts,
        host_conf=draw(weighted((4, "multi on\n"), (2, None), (1, "multi off\n"), (1, "order hosts,bind\n"), (1, ""))),
        resolv_conf=draw(resolv_confs(tuple(servers))),
        nsswitch_conf=draw(switches()),
        hostname=draw(weighted((4, "box"), (1, "box.a.example"), (1, "box.corp.test"))),
        environ=draw(
            weighted(
                (16, ()),
                (1, (("LOCALDOMAIN", "b.example corp.test"),)),
                (1, (("LOCALDOMAIN", ""),)),
                (1, (("RES_OPTIONS", "ndots:3"),)),
                (1, (("RES_OPTIONS", "ndots:0 rotate"),)),
            )
        ),
        servers=tuple(servers),
        zone=zone,
    )


@st.composite
def names(draw: Draw, stock: st.SearchStrategy[str]) -> str:
    """A name that there is, or the beginning of one; or another."""
    how = draw(weighted((12, "whole"), (8, "part"), (3, "unknown"), (1, "rare"), (1, "literal")))
    if how == "rare":
        return draw(st.sampled_from(RARE))
    if how == "literal":
        return draw(st.sampled_from(LITERALS))
    name = draw(stock)
    if how == "unknown":
        return draw(cases(f"nowhere.{name}"))
    if how == "part":
        labels = name.split(".")
        name = ".".join(labels[: draw(st.integers(1, len(labels)))])
    return draw(cases(name)) + draw(weighted((6, ""), (1, ".")))


def generated(number: int, seed: int) -> list[Machine]:
    """The same ones for the same seed; each is drawn by itself, or hypothesis would make some out of others."""
    return [_drawn(f"{seed} {each}") for each in range(number)]


def _drawn(seed: str) -> Machine:
    found: list[Machine] = []

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=2,  # the first is the simplest there is
        database=None,
        deadline=None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(machines())
    def draw(machine: Machine) -> None:
        found.append(machine)

    draw()
    return found[-1]
