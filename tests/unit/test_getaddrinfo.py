"""What a machine's files and both families of a name make together, on the virtual clock."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import math
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from seawall.config import DNS
from seawall.dns.caching import CachingResolver
from seawall.dns.getaddrinfo import MachineResolver, special
from seawall.dns.machine import Machine
from seawall.dns.resolver import Answer, Dangling, Found, ServerFailure, SRVRecord
from seawall.dns.srv import SRVResolver
from seawall.dns.system import SystemResolver
from seawall.errors import NameNotFound, NoAddress, ResolveError, ResolverFailure, ResolveTimeout
from seawall.events import Event, LookupEnded
from seawall.origin import Address, Origin
from seawall.testing.clock import VIRTUAL

from ..names import both_families
from .test_machine import STUB

pytestmark = pytest.mark.anyio

A = Origin("http", "x.test", 80)
FOUR, SIX = Address("192.0.2.1"), Address("2001:db8::1")
MINE = {socket.AF_INET: FOUR, socket.AF_INET6: SIX}
SILENCE = math.inf
SAID = {
    "nodata": NoAddress("no such record"),
    "nxdomain": NameNotFound("no such name"),
    "servfail": ServerFailure("SERVFAIL"),
    "refused": ResolverFailure("REFUSED"),
    "alias": Dangling("an alias of nothing"),
}


@pytest.fixture
def anyio_backend():
    return VIRTUAL


def now() -> float:
    return asyncio.get_running_loop().time()


class Servers:
    """In place of c-ares: what is said of each name and family, each after some seconds."""

    def __init__(self, said: dict[str, dict[int, object]]) -> None:
        self._said = said
        self.asked: list[tuple[str, int]] = []

    def say(self, name: str, said: dict[int, object]) -> None:
        self._said[name] = said

    async def ask(self, name, kind, *, servers, use_tcp=False, rotate=False):
        self.asked.append((name, int(kind)))
        said = self._said.get(name, {}).get(int(kind), "nxdomain")
        said, after = said if isinstance(said, tuple) else (said, 0.0)
        if said == "silence":
            await asyncio.sleep(5.0)
            raise ResolveTimeout("no answer within 5 s")
        await asyncio.sleep(after)
        if said == "found":
            return Answer((MINE[kind],), 60.0, "dns")
        raise SAID[said]

    async def services(self, name, *, servers, use_tcp=False, rotate=False):
        return [SRVRecord(0, 0, 81, "db.x.test", 60.0), SRVRecord(1, 0, 82, "pinned.x.test", 60.0)]

    async def resolve(self, host, port, *, family=0):
        return await self.ask(host, family, servers=())

    async def aclose(self):
        pass


class System:
    """The system's resolver, which knows everything."""

    def takes(self, host):
        return True

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def resolve(self, host, port, *, family=0):
        self.asked.append(host)
        return Answer((Address("198.51.100.1"),), None, "system")

    async def aclose(self):
        pass


def machine(root: Path, **files: str) -> Machine:
    """One with these files; "_" stands for "."."""
    for name, text in files.items():
        (root / name.replace("_", ".")).write_text(text)
    return Machine(now=now, root=str(root), run="/nowhere", environ={}, hostname=lambda: "box", glibc=(2, 36))


def resolver(servers: Servers, root: Path, *, system: System | None = None, dns: DNS | None = None, **files: str):
    return MachineResolver(machine(root, **files), servers, system, dns or DNS())


async def outcome(names: MachineResolver, host: str) -> object:
    """The addresses, or the class of the error."""
    try:
        found = await names.look_up(host, 80, lambda _: None)
    except ResolveError as error:
        return type(error)
    return set(found.answer.addresses)


CELLS = [
    ("found", "found", {FOUR, SIX}),
    ("found", "nodata", {FOUR}),
    ("found", "nxdomain", {FOUR}),
    ("found", "servfail", {FOUR}),
    ("found", "silence", {FOUR}),
    ("nodata", "nodata", NoAddress),
    ("nodata", "nxdomain", NameNotFound),
    ("nodata", "servfail", ServerFailure),
    ("nodata", "silence", ResolveTimeout),
    ("nxdomain", "nxdomain", NameNotFound),
    ("nxdomain", "servfail", NameNotFound),
    ("nxdomain", "silence", NameNotFound),
    ("servfail", "servfail", ServerFailure),
    ("servfail", "refused", ServerFailure),
    ("refused", "refused", ResolverFailure),
    ("silence", "silence", ResolveTimeout),
    ("alias", "found", {SIX}),
    ("alias", "nodata", Dangling),
    ("alias", "alias", Dangling),
    ("alias", "nxdomain", NameNotFound),
    ("alias", "servfail", ServerFailure),
    ("alias", "silence", ResolveTimeout),
]


@pytest.mark.parametrize("first", [socket.AF_INET, socket.AF_INET6])
@pytest.mark.parametrize(("a", "b", "made"), CELLS)
async def test_what_both_families_make_together(tmp_path, a, b, made, first):
    """Each field of the table in docs/reference/names.md, whichever family says which, and whichever says it first."""
    for one, other in ((a, b), (b, a)):
        said = {socket.AF_INET: (one, 0.1), socket.AF_INET6: (other, 0.1)}
        said[first] = (said[first][0], 0.0)
        names = resolver(Servers({"x.test": said}), tmp_path)
        expected = made
        if isinstance(made, set) and len(made) == 1:
            expected = {FOUR} if one == "found" else {SIX}
        if {one, other} == {"servfail", "refused"}:
            expected = ServerFailure if one == "servfail" else ResolverFailure  # A's
        assert await outcome(names, "x.test") == expected


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
async def test_denial_of_one_family_waits_for_the_other(tmp_path, family):
    """Its addresses may come until `DNS.timeout`: a load balancer that denies a family which it doesn't have."""
    other = socket.AF_INET6 if family == socket.AF_INET else socket.AF_INET
    names = resolver(Servers({"lb.test": {family: "nxdomain", other: ("found", 1.9)}}), tmp_path)
    assert await outcome(names, "lb.test") == {MINE[other]}
    names = resolver(Servers({"lb.test": {family: "nxdomain", other: ("found", 2.1)}}), tmp_path)
    began_at = now()
    assert await outcome(names, "lb.test") is NameNotFound
    assert now() - began_at == 2.0


async def test_denied_name_is_denied_by_its_timeout():
    """A caller whose time is over hears of the denial, and not of a timeout; so does one who has a stale address."""
    servers = Servers({"gone.test": {socket.AF_INET: "nxdomain", socket.AF_INET6: "silence"}})
    names = both_families(servers)
    with pytest.raises(NameNotFound):
        await names.resolve(Origin("http", "gone.test", 80))
    assert now() == 2.0
    await names.aclose()


@pytest.mark.parametrize("said", ["silence", "servfail"])
async def test_alias_of_a_name_with_one_family_denies_nothing(said):
    """Where DNS fails for the other family, which has the addresses, those that were known serve on."""
    servers = Servers({"www.test": {socket.AF_INET: "found", socket.AF_INET6: "alias"}})
    names, www = both_families(servers), Origin("https", "www.test", 443)
    await names.resolve(www)
    servers.say("www.test", {socket.AF_INET: said, socket.AF_INET6: "alias"})
    await asyncio.sleep(61.0)
    assert (await names.resolve(www)).source == "stale"
    await asyncio.sleep(6.0)
    assert (await names.resolve(www)).source == "stale"
    await names.aclose()


async def test_slow_server_serves_whoever_asks_next():
    """A lookup goes on when the first caller's time is over."""
    slow = dict.fromkeys(MINE, ("found", 2.5))
    names = both_families(Servers({"slow.test": slow}))
    with pytest.raises(ResolveTimeout):
        await names.resolve(Origin("http", "slow.test", 80))
    assert set((await names.resolve(Origin("http", "slow.test", 80))).addresses) == {FOUR, SIX}
    assert now() == 2.5
    await names.aclose()


SEARCH = "search one.test two.test\n"


@pytest.mark.parametrize("has_stale", [True, False])
async def test_denied_candidate_denies_no_name(tmp_path, has_stale):
    """A name that is searched for in vain first, as in Kubernetes, is not denied where DNS is silent about the last."""
    in_vain = {socket.AF_INET: "nxdomain", socket.AF_INET6: ("nxdomain", 0.01)}
    servers = Servers({"x.test.one.test": in_vain, "x.test.two.test": in_vain, "x.test": dict.fromkeys(MINE, "found")})
    dns = DNS()
    names = CachingResolver(
        resolver(servers, tmp_path, dns=dns, resolv_conf=SEARCH + "options ndots:5\n"), dns, now=now
    )
    if has_stale:
        await names.resolve(Origin("https", "x.test", 443))
        await asyncio.sleep(61.0)
    servers.say("x.test", dict.fromkeys(MINE, "silence"))
    if has_stale:
        assert (await names.resolve(Origin("https", "x.test", 443))).source == "stale"
    else:
        with pytest.raises(ResolveTimeout):
            await names.resolve(Origin("https", "x.test", 443))
    await names.aclose()


@pytest.mark.parametrize(
    ("files", "denied"),
    [
        ({}, True),
        ({"nsswitch_conf": "hosts: dns myhostname\n"}, True),
        ({"nsswitch_conf": "hosts: dns [NOTFOUND=return] sss\n"}, True),
        ({"nsswitch_conf": "hosts: dns sss\n"}, False),
        ({"nsswitch_conf": "hosts: dns [NOTFOUND=continue] sss\n"}, False),
        ({"resolv_conf": "search two.test\noptions ndots:5\n"}, True),
        ({"resolv_conf": "search broken.test\noptions ndots:5\n"}, False),
        ({"resolv_conf": "search broken.test\n"}, False),
    ],
)
async def test_denial_is_told_where_it_is_the_names(tmp_path, files, denied):
    """Not where another candidate or service follows, or where another error would be the search's."""
    half = {socket.AF_INET: "nxdomain", socket.AF_INET6: "silence"}
    servers = Servers({"x.test": half, "x.test.broken.test": dict.fromkeys(MINE, "servfail")})
    names, told = resolver(servers, tmp_path, system=System(), **files), list[object]()
    lookup = asyncio.create_task(names.look_up("x.test", 80, told.append))
    await asyncio.sleep(1.0)
    assert [type(each) for each in told] == [NameNotFound] * denied
    lookup.cancel()


async def test_addresses_are_told_where_they_are_the_names(tmp_path):
    """Not where a later service has the last word."""
    servers = Servers({"x.test": {socket.AF_INET: "found", socket.AF_INET6: "silence"}})
    names, told = resolver(servers, tmp_path, hosts="", nsswitch_conf="hosts: dns [SUCCESS=continue] files\n"), []
    lookup = asyncio.create_task(names.look_up("x.test", 80, told.append))
    await asyncio.sleep(1.0)
    assert told == []
    lookup.cancel()


@pytest.mark.parametrize("said", ["nodata", "nxdomain", "servfail", "refused"])
async def test_candidate_without_addresses_is_followed_by_the_next(tmp_path, said):
    """Whatever both of its families say."""
    servers = Servers({"db.one.test": dict.fromkeys(MINE, said), "db.two.test": {socket.AF_INET: "found"}})
    assert await outcome(resolver(servers, tmp_path, resolv_conf=SEARCH), "db") == {FOUR}
    assert {name for name, _ in servers.asked} == {"db.one.test", "db.two.test"}


async def test_first_candidate_with_any_address_wins(tmp_path):
    """A name with A only isn't looked for further for an AAAA: a wildcard there would lead to another's host."""
    servers = Servers(
        {
            "api.test": {socket.AF_INET: ("found", 1.0), socket.AF_INET6: "nodata"},
            "api.test.one.test": {socket.AF_INET6: "found"},
        }
    )
    assert await outcome(resolver(servers, tmp_path, resolv_conf=SEARCH), "api.test") == {FOUR}
    assert {name for name, _ in servers.asked} == {"api.test"}


@pytest.mark.parametrize(("said", "error"), [("silence", ResolveTimeout), ("alias", Dangling)])
async def test_what_ends_the_search(tmp_path, said, error):
    """Silence, because each further candidate would cost as long; and an alias of a name without addresses."""
    servers = Servers({"db.one.test": dict.fromkeys(MINE, said), "db.two.test": {socket.AF_INET: "found"}})
    assert await outcome(resolver(servers, tmp_path, resolv_conf=SEARCH), "db") is error
    assert {name for name, _ in servers.asked} == {"db.one.test"}


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (("nodata", "nxdomain", "nxdomain"), NoAddress),
        (("servfail", "nxdomain", "nxdomain"), ServerFailure),
        (("nodata", "servfail", "nxdomain"), NoAddress),
        (("refused", "nxdomain", "nxdomain"), NameNotFound),
        (("nxdomain", "nxdomain", "servfail"), ServerFailure),
    ],
)
async def test_error_of_a_search(tmp_path, said, error):
    """The one that says most of the candidates with a domain, else that of the name as given: as glibc has it."""
    names = ("db.one.test", "db.two.test", "db")
    servers = Servers({name: dict.fromkeys(MINE, each) for name, each in zip(names, said, strict=True)})
    assert await outcome(resolver(servers, tmp_path, resolv_conf=SEARCH), "db") is error
    assert {name for name, _ in servers.asked} == set(names)


async def test_name_in_the_hosts_file_is_final(tmp_path):
    """An address of the other family in DNS is another host's."""
    servers = Servers({"pinned.test": dict.fromkeys(MINE, "found")})
    names = resolver(servers, tmp_path, hosts="192.0.2.9 pinned.test\n127.0.0.1 localhost\n")
    assert await outcome(names, "Pinned.Test") == {Address("192.0.2.9")}
    assert await outcome(names, "localhost") == {Address("127.0.0.1")}
    assert servers.asked == []


@pytest.mark.parametrize("name", ["localhost", "a.LOCALHOST", "localhost.", "x.invalid", "x.onion", "x.Onion."])
async def test_special_names_are_never_asked_for(tmp_path, name):
    """Neither DNS nor the system hears of them (RFC 6761, RFC 7686)."""
    servers, system = Servers({}), System()
    for files in ({}, {"nsswitch_conf": "hosts: sss dns\n"}, {"nsswitch_conf": "hosts: files\n", "hosts": ""}):
        found = await outcome(resolver(servers, tmp_path, system=system, **files), name)
        assert found == ({Address("127.0.0.1"), Address("::1")} if "localhost" in name.lower() else NameNotFound)
        with pytest.raises(ResolveError, match="no name server is asked"):
            await resolver(servers, tmp_path, **files).services(f"_http._tcp.{name}")
    assert (servers.asked, system.asked) == ([], [])
    assert special("x.test") is None


@pytest.mark.parametrize(
    ("line", "name", "asked", "found"),
    [
        ("files dns", "x.test", ["dns"], {FOUR}),
        ("files mdns4_minimal [NOTFOUND=return] dns", "x.test", ["dns"], {FOUR}),
        ("files mdns4_minimal [NOTFOUND=return] dns", "printer.local", ["system"], {Address("198.51.100.1")}),
        ("files dns myhostname", "nowhere.test", ["dns"], NameNotFound),
        ("files dns myhostname", "box", ["dns", "system"], {Address("198.51.100.1")}),
        ("files dns sss", "nowhere.test", ["dns", "system"], {Address("198.51.100.1")}),
        ("files dns [NOTFOUND=return] sss", "nowhere.test", ["dns"], NameNotFound),
        ("files dns [NOTFOUND=return] sss", "broken.test", ["dns", "system"], {Address("198.51.100.1")}),
        ("files dns [UNAVAIL=return] sss", "broken.test", ["dns"], ServerFailure),
        ("files sss dns", "x.test", ["system"], {Address("198.51.100.1")}),
        ("files", "x.test", [], NameNotFound),
        ("dns files", "hosted.test", ["dns"], {Address("192.0.2.9")}),
        ("files [NOTFOUND=return] dns", "x.test", [], NameNotFound),
        ("files [SUCCESS=continue] dns", "hosted.test", ["dns"], NameNotFound),
        ("nonsense [", "x.test", ["system"], {Address("198.51.100.1")}),
    ],
)
async def test_services_of_nsswitch_conf(tmp_path, line, name, asked, found):
    """Each is asked in its turn, and what it says ends the lookup where the line has it so."""
    servers, system = (
        Servers({"x.test": {socket.AF_INET: "found"}, "broken.test": dict.fromkeys(MINE, "servfail")}),
        System(),
    )
    files = {"nsswitch_conf": f"hosts: {line}\n", "hosts": "192.0.2.9 hosted.test\n"}
    assert await outcome(resolver(servers, tmp_path, system=system, **files), name) == found
    assert (["dns"] if servers.asked else []) + (["system"] if system.asked else []) == asked


@pytest.mark.parametrize("line", ["sss", "files sss dns", "files", "nonsense ["])
async def test_name_servers_of_ones_own_are_asked_whatever_nsswitch_conf_says(tmp_path, line):
    """Without the system's resolver, which would ask others."""
    servers, dns = Servers({"x.test": {socket.AF_INET: "found"}}), DNS(nameservers=("192.0.2.53",))
    names = resolver(servers, tmp_path, dns=dns, nsswitch_conf=f"hosts: {line}\n")
    assert await outcome(names, "x.test") == {FOUR}
    assert list(names.servers()) == ["192.0.2.53"]


@pytest.mark.parametrize("dns", [DNS(), DNS(nameservers=("192.0.2.53",))])
async def test_without_the_system_only_files_and_dns_count(tmp_path, dns):
    """As if nsswitch.conf had only these: the search list is resolv.conf's, though systemd-resolved is there."""
    (tmp_path / "systemd" / "resolve").mkdir(parents=True)
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "udp").write_text(STUB)
    (tmp_path / "nsswitch.conf").write_text("hosts: files resolve [!UNAVAIL=return] dns\n")
    (tmp_path / "resolv.conf").write_text("nameserver 192.0.2.54\nsearch one.test\n")
    here = Machine(
        now=now, root=str(tmp_path), run=str(tmp_path), proc=str(tmp_path), environ={"HOSTALIASES": "x"}, glibc=(2, 36)
    )
    servers = Servers({"db.one.test": {socket.AF_INET: "found"}})
    names = MachineResolver(here, servers, None, dns)
    assert await outcome(names, "db") == {FOUR}
    assert here.resolv.nameservers == ("127.0.0.53",)
    assert list(names.servers()) == list(dns.nameservers or ["192.0.2.54"])


async def test_name_is_not_asked_for_before_the_hosts_file_was_read(tmp_path, monkeypatch):
    """Where no descriptor is left for it and there is no system to ask: a name may be pinned."""

    def fails(*_, **__):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    servers = Servers({"x.test": dict.fromkeys(MINE, "found")})
    names = resolver(servers, tmp_path, hosts="192.0.2.9 x.test\n")
    with monkeypatch.context() as patch:
        patch.setattr("builtins.open", fails)
        with pytest.raises(ResolverFailure, match="hosts file"):
            await names.look_up("x.test", 80, lambda _: None)
    assert await outcome(names, "x.test") == {Address("192.0.2.9")}
    assert servers.asked == []


async def test_system_is_asked_once_for_a_name(tmp_path, monkeypatch):
    """As a service that we have not, and not as the fallback as well: dead names would take twice the threads."""
    go_on = threading.Event()

    def getaddrinfo(*_):
        go_on.wait()
        raise socket.gaierror(socket.EAI_AGAIN, "dead")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    system, dns = SystemResolver(), DNS()
    names = resolver(Servers({}), tmp_path, system=system, dns=dns, nsswitch_conf="hosts: mdns4_minimal dns\n")
    known = CachingResolver(names, dns, now=now, fallback=system)
    try:
        with pytest.raises(ResolveTimeout):
            await known.resolve(Origin("http", "printer.local", 80))
        assert system._running == 1
    finally:
        go_on.set()
    await known.aclose()


async def test_files_that_change_count_a_second_later(tmp_path):
    """Looked at once a second at most."""
    servers = Servers({"x.test": {socket.AF_INET: "found"}})
    names = resolver(servers, tmp_path, hosts="")
    assert await outcome(names, "x.test") == {FOUR}
    (tmp_path / "hosts").write_text("192.0.2.9 x.test\n")
    assert await outcome(names, "x.test") == {FOUR}
    await asyncio.sleep(1.0)
    assert await outcome(names, "x.test") == {Address("192.0.2.9")}


@pytest.mark.parametrize("name", ["x*y.test", "-x.test", "x/y.test"])
async def test_name_that_dns_is_not_asked_for(tmp_path, name):
    """As glibc: only the hosts file may have it."""
    servers = Servers({})
    assert await outcome(resolver(servers, tmp_path), name) is NameNotFound
    assert await outcome(resolver(servers, tmp_path, hosts=f"192.0.2.9 {name}\n"), name) == {Address("192.0.2.9")}
    assert servers.asked == []


async def test_ipv4_only_where_resolv_conf_says_so(tmp_path):
    """``options no-aaaa``."""
    servers = Servers({"x.test": dict.fromkeys(MINE, "found")})
    assert await outcome(resolver(servers, tmp_path, resolv_conf="options no-aaaa\n"), "x.test") == {FOUR}
    assert {kind for _, kind in servers.asked} == {socket.AF_INET}


async def test_other_family_is_told_of_while_it_is_still_unknown(tmp_path):
    """After the resolution delay, with the family of which nothing is known."""
    told = []
    names = resolver(Servers({"x.test": {socket.AF_INET: "found", socket.AF_INET6: ("found", 0.2)}}), tmp_path)

    def tell(found: Found | ResolveError) -> None:
        assert isinstance(found, Found)
        told.append((now(), found.answer.addresses, found.unknown))

    found = await names.look_up("x.test", 80, tell)
    assert told == [(0.05, (FOUR,), socket.AF_INET6)]
    assert (now(), set(found.answer.addresses), found.unknown) == (0.2, {FOUR, SIX}, 0)


def half_silent(root: Path, emit: Callable[[Event], None] = print) -> CachingResolver:
    """One that knows x.test by its IPv4 address, while the name servers never answer for IPv6."""
    servers = Servers({"x.test": {socket.AF_INET: "found", socket.AF_INET6: "silence"}})
    return CachingResolver(resolver(servers, root, dns=DNS()), DNS(), now=now, emit=emit)


async def test_family_that_is_always_silent_is_no_failure(tmp_path):
    """The other's addresses are found at each lookup: nothing stale is needed, no rest, and nobody waits again."""
    events = list[object]()
    known = half_silent(tmp_path, events.append)
    for second in range(200):
        await asyncio.sleep(second - now())
        assert (await known.resolve(A)).addresses == (FOUR,)
        assert now() == (second or DNS().resolution_delay)
    assert {(event.error, event.addresses) for event in events if isinstance(event, LookupEnded)} == {(None, 1)}
    assert {type(event) for event in events} == {LookupEnded}
    await known.aclose()


async def test_half_an_answer_holds_for_its_ttl(tmp_path):
    """From when it came, and not from when the other family was given up."""
    known = half_silent(tmp_path)
    await known.resolve(A)
    await asyncio.sleep(6.0)
    assert now() + known.good_for(A) == pytest.approx(60.05)
    await known.aclose()


async def test_half_an_answer_that_was_doubted_stays_so(tmp_path):
    """Though its lookup ends later: what was disproved meanwhile is looked up anew."""
    known = half_silent(tmp_path)
    await known.resolve(A)
    await asyncio.sleep(1.0)
    known.disprove(A)
    await asyncio.sleep(5.0)
    assert known.cached(A) is None
    await known.aclose()


async def over(names: CachingResolver) -> float:
    """The instant when no lookup is in flight any more."""
    while names._lookups:
        await asyncio.sleep(0.01)
    return pytest.approx(now(), abs=0.02)


@pytest.mark.parametrize(("patience", "until"), [(0.1, 2.0), (1.9, 2.4), (3.0, 3.5), (60.0, 5.0)])
async def test_lookup_that_nobody_waits_for_ends(patience, until):
    """Half a second after the last caller left, and not before `DNS.timeout`: a name that is dead leaves no task."""
    names = both_families(Servers({"dead.test": dict.fromkeys(MINE, "silence")}))

    async def call() -> None:
        while True:
            with contextlib.suppress(ResolveTimeout):
                await names.resolve(Origin("http", "dead.test", 80))
            if now() >= 5.0:
                return

    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(min(patience, 4.9)):
            await call()
    assert await over(names) == until
    await names.aclose()


async def test_callers_who_have_something_stale_keep_no_lookup_in_flight():
    """They don't wait for it, so it is over at `DNS.timeout`."""
    servers = Servers({"x.test": dict.fromkeys(MINE, "found")})
    names = both_families(servers)
    await names.resolve(A)
    servers._said["x.test"] = dict.fromkeys(MINE, "silence")
    await asyncio.sleep(60.0 - now())
    while now() < 61.9:
        await names.resolve(A)
        await asyncio.sleep(0.1)
    assert await over(names) == 62.0
    await names.aclose()


async def test_lookup_that_is_cancelled_leaves_no_question(tmp_path):
    """Whoever closes a client ends both."""
    names = resolver(Servers({"x.test": dict.fromkeys(MINE, "silence")}), tmp_path)
    task = asyncio.create_task(names.look_up("x.test", 80, lambda _: None))
    await asyncio.sleep(0.1)
    before = asyncio.all_tasks()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(0)
    assert not {each for each in before if each.get_name() == "seawall dns x.test"} & asyncio.all_tasks()


async def test_target_of_a_service_is_not_searched_for(tmp_path):
    """It is a whole name, which the hosts file may have; under a search domain, a wildcard may have it too."""
    servers = Servers({"db.x.test": {socket.AF_INET: "found"}, "db.x.test.one.test": {socket.AF_INET6: "found"}})
    names = resolver(servers, tmp_path, resolv_conf=SEARCH + "options ndots:5\n", hosts="192.0.2.9 pinned.x.test\n")
    services = SRVResolver("_http._tcp.x.test")
    services._names = names
    assert (await services.resolve("x.test", 80)).addresses == (Address(FOUR.ip, 81), Address("192.0.2.9", 82))
    assert {name for name, _ in servers.asked} == {"db.x.test"}
    await services.aclose()


async def test_resolver_by_itself_keeps_one_family():
    """As `Resolver.resolve` has it."""
    names = MachineResolver(
        Machine(now=now, root="/nowhere", environ={}), Servers({"x.test": {socket.AF_INET: "found"}}), None, DNS()
    )
    assert (await names.resolve("x.test", 80, family=socket.AF_INET)).addresses == (FOUR,)
    with pytest.raises(NoAddress):
        await names.resolve("x.test", 80, family=socket.AF_INET6)


async def test_name_is_searched_for_unless_it_is_whole(tmp_path):
    """As ``resolve`` is called by anybody; a target of an SRV record is whole."""
    servers = Servers({"box.one.test": {socket.AF_INET: "found"}})
    names = resolver(servers, tmp_path, resolv_conf=SEARCH)
    assert (await names.resolve("box", 80)).addresses == (FOUR,)
    with pytest.raises(NameNotFound):
        await names.resolve("box", 80, is_qualified=True)


async def test_bug_in_a_question_is_the_resolvers_failure(tmp_path):
    """It reaches the caller by name, as one of a user's resolver does, and isn't taken for a name without addresses."""

    class Broken(Servers):
        async def ask(self, name, kind, *, servers, use_tcp=False, rotate=False):
            raise KeyError("a bug")

    known = CachingResolver(resolver(Broken({}), tmp_path), DNS(), now=now)
    with pytest.raises(ResolverFailure, match="the resolver failed: KeyError"):
        await known.resolve(A)
    await known.aclose()


@pytest.mark.parametrize("services", ["files", "files dns", "dns", "dns files"])
async def test_name_servers_that_are_given_are_asked(tmp_path, services):
    """Though nsswitch.conf leaves DNS out; and the hosts file only where nsswitch.conf has it, or has no DNS."""
    servers = Servers({"b.test": {socket.AF_INET: "found"}})
    names = resolver(
        servers, tmp_path, dns=DNS(nameservers=["192.0.2.53"]), hosts="10.0.0.1 a.test\n",
        nsswitch_conf=f"hosts: {services}\n",
    )  # fmt: skip
    assert await outcome(names, "b.test") == {FOUR}
    assert await outcome(names, "a.test") == ({Address("10.0.0.1")} if "files" in services else NameNotFound)


async def test_services_are_asked_of_the_machines_name_servers(tmp_path):
    """Those that resolv.conf has when they are asked, in the way that it says."""
    seen = []

    class Noted(Servers):
        async def services(self, name, *, servers, use_tcp=False, rotate=False):
            seen.append((name, list(servers), use_tcp, rotate))
            return []

    names = resolver(Noted({}), tmp_path, resolv_conf="nameserver 192.0.2.54\noptions use-vc rotate\n")
    await names.services("_http._tcp.x.test")
    assert seen == [("_http._tcp.x.test", ["192.0.2.54"], True, True)]
