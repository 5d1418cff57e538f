"""The `hosts:` line, and which services come into play for which name."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.dns.modules import Modules, Source
from seawall.dns.nsswitch import Service, Status, parse

from . import real_getaddrinfo

WITHOUT = real_getaddrinfo.why_not()
SUCCESS, NOTFOUND, UNAVAIL, TRYAGAIN = Status
FILES, DNS = Service("files"), Service("dns")
DEBIAN = "files mdns4_minimal [NOTFOUND=return] dns"
FEDORA = "files myhostname resolve [!UNAVAIL=return] dns"


def services(line: str) -> dict[str, set[Status]]:
    parsed = parse(f"hosts: {line}\n")
    assert parsed is not None
    return {service.name: set(service.returns_on) for service in parsed}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", (FILES, DNS)),
        ("passwd: files\n", (FILES, DNS)),
        ("hosts: dns files\n", (DNS, FILES)),
        ("\t hosts :\tdns\r\n", (DNS,)),
        ("hosts dns\n", (DNS,)),
        ("Hosts: dns\n", (FILES, DNS)),
        ("#hosts: dns\n", (FILES, DNS)),
        ("hosts: files\nhosts: dns\n", (DNS,)),
        ("hosts: files #dns\n", (FILES, Service("#dns"))),
        ("hosts: dns", (FILES, DNS)),
        ("hosts: DNS\n", (Service("DNS"),)),
        ("hosts:\n", ()),
        ("hosts: [NOTFOUND=return] files\n", ()),
        ("hosts: dns [NOTFOUND=continue] [SUCCESS=return] files\n", (DNS,)),
        ("group: files [SUCCESS=merge] x\nhosts: dns\n", (DNS,)),
        ("sudoers: files [x\nhosts: dns\n", (DNS,)),
    ],
)
def test_lines(text: str, expected: tuple[Service, ...]):
    """Which line counts, and its services."""
    assert parse(text) == expected


@pytest.mark.parametrize(
    ("action", "returns_on"),
    [
        ("[NOTFOUND=return]", {SUCCESS, NOTFOUND}),
        ("[!UNAVAIL=return]", {SUCCESS, NOTFOUND, TRYAGAIN}),
        ("[!UNAVAIL=continue]", set()),
        ("[success=Continue]", set()),
        ("[ NOTFOUND = return tryagain=RETURN ]", {SUCCESS, NOTFOUND, TRYAGAIN}),
        ("[!NOTFOUND=return NOTFOUND=return]", set(Status)),
        ("[NOTFOUND=return !NOTFOUND=continue]", {NOTFOUND}),
    ],
)
def test_actions(action: str, returns_on: set[Status]):
    """An action belongs to the service before it, with or without a blank between them."""
    assert services(f"files {action} dns") == {"files": returns_on, "dns": {SUCCESS}}
    assert services(f"files{action}dns") == {"files": returns_on, "dns": {SUCCESS}}


@pytest.mark.parametrize(
    "line",
    [
        "[]",
        "[NOTFOUND=return",
        "[NOTFOUND]",
        "[NOTFOUND=]",
        "[NOTFOUND=x]",
        "[x=return]",
        "[! UNAVAIL=return]",
        "[!!UNAVAIL=return]",
        "[SUCCESS=merge]",
    ],
)
def test_not_understood(line: str):
    """What glibc rejects, and the action that it doesn't support for hosts."""
    assert parse(f"hosts: files {line} dns\n") is None


def test_another_database_is_broken():
    """glibc discards the whole file then."""
    assert parse("passwd: files [x=y]\nhosts: dns\n") is None


@given(st.text("hosts: dn[]!=#\tNOTFUDreturn\0\n\xe9\udcff"))
def test_any_text(text: str):
    """No text is too odd."""
    parse(text)
    parse(f"hosts: {text}\n", glibc=(2, 28))


def test_old_versions():
    """Before 2.35 the default is DNS first; before 2.33 `#` begins a comment, and the last line needs no newline."""
    old = (Service("dns", frozenset(Status) - {UNAVAIL}), FILES)
    assert parse("", glibc=(2, 34)) == old
    assert parse("", glibc=(2, 35)) == (FILES, DNS)
    assert parse("hosts: files #dns", glibc=(2, 32)) == (FILES,)
    assert parse("hosts: files #dns", glibc=(2, 33)) == old


def steps(line: str, name: str, *, root: Path = Path("/nowhere"), hosts: bool = True, stub: bool = False, **environ):
    parsed = parse(f"hosts: {line}\n")
    assert parsed is not None
    modules = Modules(root=str(root), run=str(root), environ=environ, hostname=lambda: "Machine")
    found = modules.steps(name, parsed, has_hosts=hosts, has_stub=stub)
    return " ".join(step.source.value for step in found)


@pytest.mark.parametrize(
    ("line", "name", "expected"),
    [
        ("files dns", "a.test", "files dns"),
        ("dns", "a.test", "dns"),
        (DEBIAN, "a.test", "files dns"),
        (DEBIAN, "printer.LOCAL.", "files system"),
        ("files dns mdns4", "printer.local", "files dns system"),
        ("files dns mdns4", "a.test", "files dns"),
        ("files mdns4_minimal [UNAVAIL=return] dns", "a.test", "files"),
        ("files dns myhostname", "machine", "files dns system"),
        ("files dns myhostname", "MACHINE.", "files dns system"),
        ("files dns myhostname", "other", "files dns"),
        ("myhostname dns", "a.localhost", "system"),
        ("myhostname dns", "localhost.localdomain", "system"),
        ("myhostname dns", "notlocalhost", "dns"),
        ("myhostname dns", "_gateway", "system"),
        ("myhostname dns", "_outbound.", "system"),
        ("myhostname dns", "_dmarc.a.test", "dns"),
        ("myhostname [NOTFOUND=return] dns", "a.test", ""),
        ("files sss dns", "a.test", "files system"),
        ("files dns wins", "a.test", "files dns system"),
        ("files dns [NOTFOUND=return] wins", "a.test", "files dns system"),
    ],
)
def test_steps(line: str, name: str, expected: str):
    """A module is asked for the names that it takes only, through the system, and nothing follows."""
    assert steps(line, name) == expected


def test_actions_of_a_step():
    """They are those of the service."""
    parsed = parse("hosts: files dns [NOTFOUND=return] wins\n")
    assert parsed is not None
    found = Modules(environ={}).steps("a.test", parsed, has_hosts=True, has_stub=False)
    assert [(step.service, step.returns_on) for step in found] == [(each.name, each.returns_on) for each in parsed]


def test_resolve(tmp_path: Path):
    """systemd-resolved's stub is asked for what unicast DNS can answer, and no other server beside it."""
    assert steps(FEDORA, "a.test", root=tmp_path) == "files dns"  # it never ran here
    (tmp_path / "systemd" / "resolve").mkdir(parents=True)
    assert steps(FEDORA, "a.test", root=tmp_path, stub=True) == "files dns system"
    assert steps(FEDORA, "a.test", root=tmp_path) == "files system"
    assert steps(FEDORA, "printer.local", root=tmp_path, stub=True) == "files system"
    assert steps(FEDORA, "single", root=tmp_path, stub=True) == "files system"
    assert steps("files dns resolve", "a.test", root=tmp_path) == "files dns system"


def test_missing_hosts_file():
    """`files` isn't available then, so that NOTFOUND's action doesn't count."""
    assert steps("files [NOTFOUND=return] dns", "a.test", hosts=False) == "dns"
    assert steps("files [UNAVAIL=return] dns", "a.test", hosts=False) == ""


def test_host_aliases():
    """glibc looks up names without dots under another name where HOSTALIASES is set."""
    assert steps("files dns", "single", HOSTALIASES="x") == "files system"
    assert steps("files dns", "a.test", HOSTALIASES="x") == "files dns"


def test_mdns_allow(tmp_path: Path):
    """Modules that aren't minimal may take any name that mdns.allow lists."""
    (tmp_path / "mdns.allow").touch()
    assert steps("mdns4 dns", "a.test", root=tmp_path) == "system"
    assert steps("mdns4_minimal dns", "a.test", root=tmp_path) == "dns"


def test_mymachines(tmp_path: Path):
    """Containers that systemd knows; a name is never a path to something else."""
    (tmp_path / "systemd" / "machines").mkdir(parents=True)
    (tmp_path / "systemd" / "machines" / "box").touch()
    assert steps("mymachines dns", "box", root=tmp_path) == "system"
    assert steps("mymachines dns", "other", root=tmp_path) == "dns"
    assert steps("mymachines dns", "../machines/box", root=tmp_path) == "dns"
    assert steps("mymachines dns", "box\0", root=tmp_path) == "dns"


@pytest.mark.skipif(WITHOUT is not None, reason=str(WITHOUT))
def test_against_getaddrinfo():
    """Walking the steps asks DNS where getaddrinfo asks it, and gives the same addresses."""
    random = Random(19)
    words = ["files", "dns", "[NOTFOUND=return]", "[!UNAVAIL=return]", "[ SUCCESS = continue ]", "[tryagain=Return]"]
    words += ["[!success=return notfound=continue]", "[NOTFOUND=return", "[]", "#", "[NOTFOUND=return][UNAVAIL=return]"]
    before = ["", "", "#hosts: dns\n", "hosts: dns\n", "group: files [SUCCESS=merge] x\n", "passwd: files [x=y]\n"]
    machines = []
    for _ in range(150):
        line = random.choice(["files ", "dns "]) + "".join(f"{each} " for each in random.choices(words, k=3))
        text = random.choice(before) + random.choice(["hosts:", " hosts\t:", "hosts "]) + line + "\n"
        files = {"nsswitch.conf": text, "resolv.conf": "nameserver 127.0.0.1\n", "hosts": "10.0.0.1 here.test\n"}
        rcode = random.choice([real_getaddrinfo.NXDOMAIN, real_getaddrinfo.SERVFAIL])
        machines.append({"files": files, "names": ["here.test", "gone.test"], "rcode": rcode})
    walks = []
    for machine, answers in zip(machines, real_getaddrinfo.ask(machines), strict=True):
        parsed = parse(machine["files"]["nsswitch.conf"]) or ()  # glibc finds nothing where it rejects the file
        for name, asked in zip(machine["names"], answers, strict=True):
            found = asked.addresses if isinstance(asked.addresses, list) else []
            walks.append(walk(parsed, name, UNAVAIL if machine["rcode"] == real_getaddrinfo.SERVFAIL else NOTFOUND))
            assert walks[-1] in (None, (bool(asked.names), found)), (machine, name)
    assert sum(each is not None for each in walks) > 100


def walk(parsed: tuple[Service, ...], name: str, dns: Status) -> tuple[bool, list[str]] | None:
    """Whether DNS is asked, and the addresses, where DNS fails with *dns*; None where the system is asked."""
    is_dns_asked, addresses = False, list[str]()
    for step in Modules(environ={}).steps(name, parsed, has_hosts=True, has_stub=False):
        if step.source is Source.SYSTEM:
            return None
        is_dns_asked |= step.source is Source.DNS
        addresses = ["10.0.0.1"] if step.source is Source.FILES and name == "here.test" else []
        status = SUCCESS if addresses else dns if step.source is Source.DNS else NOTFOUND
        if status in step.returns_on:
            break
    return is_dns_asked, addresses
