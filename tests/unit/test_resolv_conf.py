"""resolv.conf and the names that it makes of a name, against what glibc documents and against getaddrinfo itself."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.dns.resolv_conf import Candidate, ResolvConf, parse

from . import real_getaddrinfo

WITHOUT = real_getaddrinfo.why_not()
LONG = ".".join(["x" * 60] * 4)


def parsed(text: str, *, hostname: str = "machine", **environ: str) -> ResolvConf:
    return parse(text, hostname=hostname, environ=environ)


def names(conf: ResolvConf, name: str) -> list[str]:
    return [candidate.name for candidate in conf.candidates(name)]


def test_missing_file():
    """The machine itself is asked, and its own domain is searched."""
    assert parsed("") == ResolvConf()
    assert parsed("", hostname="machine.corp.example").search == ("corp.example",)
    assert parsed("", hostname="machine.").search == ("",)


@pytest.mark.parametrize(
    ("text", "nameservers"),
    [
        ("nameserver 10.0.0.1\nnameserver\t::1\n", ("10.0.0.1", "::1")),
        ("nameserver 10.0.0.1 # first\nnameserver 10.0.0.2;x\n", ("10.0.0.1",)),
        ("".join(f"nameserver 10.0.0.{number}\n" for number in range(1, 6)), ("10.0.0.1", "10.0.0.2", "10.0.0.3")),
        (" nameserver 10.0.0.1\nNameserver 10.0.0.1\nnameserver10.0.0.1\n#nameserver 10.0.0.1\n", ("127.0.0.1",)),
        ("nameserver 10.0.0.1\r\nnameserver 10.0.0.2\n", ("10.0.0.2",)),
        ("nameserver x\nnameserver 10.0.0.256\nnameserver \xe9\nnameserver\nnameserver \n", ("127.0.0.1",)),
        ("nameserver 127.1\nnameserver 0::1\n", ("127.0.0.1", "::1")),
        ("nameserver fe80::1%nope\nnameserver fe80::1%7\n", ("fe80::1", "fe80::1%7")),
        ("nameserver 10.0.0.1%7\nnameserver [::1]\nnameserver 10.0.0.1:53\n", ("127.0.0.1",)),
        ("nameserver 10.0.0.1\0\nnameserver 10.0.0.2", ("10.0.0.1", "10.0.0.2")),
    ],
)
def test_nameservers(text: str, nameservers: tuple[str, ...]):
    """Three at most; what isn't an address is skipped."""
    assert parsed(text).nameservers == nameservers


@pytest.mark.parametrize(
    ("text", "environ", "search"),
    [
        ("search a.test b.test\n", {}, ("a.test", "b.test")),
        ("search a.test\ndomain b.test c.test\n", {}, ("b.test",)),
        ("domain b.test\nsearch a.test\t \n", {}, ("a.test",)),
        ("search a.test\nsearch\nsearch \ndomain \n", {}, ("a.test",)),
        ("search a.test # b\n", {}, ("a.test", "#", "b")),
        ("search .\n", {}, (".",)),
        (" search a.test\n;search a.test\n", {}, ()),
        ("search a.test\n", {"LOCALDOMAIN": "l.test m.test\nn.test"}, ("l.test", "m.test")),
        ("search a.test\n", {"LOCALDOMAIN": ""}, ("",)),
        ("domain a.test\n", {"LOCALDOMAIN": " l.test "}, ("", "l.test")),
    ],
)
def test_search(text: str, environ: dict[str, str], search: tuple[str, ...]):
    """The last of `search` and `domain` wins, unless LOCALDOMAIN is set."""
    assert parsed(text, **environ).search == search


@pytest.mark.parametrize(
    ("text", "environ", "expected"),
    [
        ("options ndots:5\n", {}, ResolvConf(ndots=5)),
        ("options ndots:99\n", {}, ResolvConf(ndots=15)),
        ("options ndots:x\n", {}, ResolvConf(ndots=0)),
        ("options ndots: 3\n", {}, ResolvConf(ndots=3)),
        ("options ndots:-1\n", {}, ResolvConf(ndots=0)),
        ("options ndots:2\noptions ndots:3x rotate\n", {}, ResolvConf(ndots=3, rotate=True)),
        ("options use-vc no-aaaa no-tld-query\n", {}, ResolvConf(use_tcp=True, no_aaaa=True, no_tld_query=True)),
        ("options no_tld_query edns0 timeout:1 attempts:9 trust-ad\n", {}, ResolvConf(no_tld_query=True)),
        ("options rotate\r\n", {}, ResolvConf(rotate=True)),
        ("options Rotate\n", {}, ResolvConf()),
        ("options ndots:2\n", {"RES_OPTIONS": "ndots:4 rotate"}, ResolvConf(ndots=4, rotate=True)),
    ],
)
def test_options(text: str, environ: dict[str, str], expected: ResolvConf):
    """Later ones win, and those of RES_OPTIONS come last."""
    assert parsed(text, **environ) == expected


@pytest.mark.parametrize(
    ("conf", "name", "expected"),
    [
        (ResolvConf(), "host", ["host"]),
        (ResolvConf(search=("a.test", "b.test")), "host", ["host.a.test", "host.b.test", "host"]),
        (ResolvConf(search=("a.test",)), "host.sub", ["host.sub", "host.sub.a.test"]),
        (ResolvConf(search=("a.test",), ndots=2), "host.sub", ["host.sub.a.test", "host.sub"]),
        (ResolvConf(search=("a.test",), ndots=5), "host.sub.", ["host.sub"]),
        (ResolvConf(search=("a.test",), ndots=0), "host", ["host", "host.a.test"]),
        (ResolvConf(search=("a.test", ".", "b.test")), "host", ["host.a.test", "host", "host.b.test"]),
        (ResolvConf(search=("",)), "host", ["host"]),
        (ResolvConf(search=(".a.test.", "a.test")), "host", ["host.a.test", "host"]),
        (ResolvConf(search=("a.test",), no_tld_query=True), "host", ["host.a.test"]),
        (ResolvConf(search=("a.test",), ndots=2, no_tld_query=True), "host.sub", ["host.sub.a.test", "host.sub"]),
        (ResolvConf(no_tld_query=True), "host", ["host"]),
        (ResolvConf(search=("a.test", LONG, "b.test")), "longer.host", ["longer.host", "longer.host.a.test"]),
        (ResolvConf(search=("a..b", "b.test")), "host", ["host"]),
        (ResolvConf(search=("\xe9.test", "a.test\r", "a\\.b", "b.test")), "host", ["host.b.test", "host"]),
        (ResolvConf(), "x" * 64, []),
        (ResolvConf(), "a..b", []),
        (ResolvConf(), f"{LONG}.{'y' * 9}", [f"{LONG}.{'y' * 9}"]),
        (ResolvConf(), f"{LONG}.{'y' * 10}", []),
        (ResolvConf(), "", []),
        (ResolvConf(), ".", []),
    ],
)
def test_candidates(conf: ResolvConf, name: str, expected: list[str]):
    """The names to ask for, in order, each once."""
    assert names(conf, name) == expected


WORDS = st.sampled_from(
    ["nameserver", "search", "options", "ndots:", "9" * 9000, "1.1", "fe80::1", "%", " ", "\n", "\0"]
)


@given(st.lists(WORDS | st.text(max_size=2)).map("".join), st.text(max_size=5))
def test_any_text(text: str, name: str):
    """No file is too odd, and all candidates are names that DNS can be asked for."""
    conf = parse(text, hostname="machine", environ={"LOCALDOMAIN": name, "RES_OPTIONS": text})
    assert all(0 < len(candidate.name) <= 253 and candidate.name.isascii() for candidate in conf.candidates(name))


def test_as_given():
    """A candidate says whether something of the search list was appended."""
    candidates = ResolvConf(search=("a.test", ".")).candidates("host")
    assert candidates == (Candidate("host.a.test", is_as_given=False), Candidate("host", is_as_given=True))
    assert ResolvConf().candidates("host.") == (Candidate("host", is_as_given=True),)


@pytest.mark.skipif(WITHOUT is not None, reason=str(WITHOUT))
def test_candidates_against_getaddrinfo():
    """Where DNS denies each name, glibc asks for the same names in the same order."""
    random = Random(19)
    domains = ["a.test", "b.test.", ".c.test", ".", "..", "x" * 63 + ".test", "y" * 64 + ".test", "a..b", "", "#"]
    options = ["ndots:2", "ndots:0", "ndots:", "ndots: 3", "ndots:99", "no-tld-query", "no_tld_queryx", "NDOTS:3"]
    keywords = ["search", "domain", "options", "search\t", " search", "#search", "Search", "options "]
    machines = []
    for _ in range(120):
        lines = ["nameserver 127.0.0.1"]
        for keyword in random.choices(keywords, k=3):
            words = random.choices(options if "options" in keyword else domains, k=random.randrange(4))
            lines.append(f"{keyword} {' '.join(words)}{random.choice(['', ' ', chr(0) + 'z'])}")
        environ = {"LOCALDOMAIN": random.choice(["", " ", " l.test", "l.test m.test ", "l.test\nx"])}
        environ = {} if random.random() < 0.7 else environ | {"RES_OPTIONS": random.choice(options)}
        files = {"nsswitch.conf": "hosts: dns\n", "resolv.conf": "\n".join([*lines, ""])}
        hostname = random.choice(["machine", "machine.corp.test", "m."])
        asked = ["host", "host.sub", "a.b.c", "host.", "h.sub.", ".".join(["n" * 60] * 3)]
        machines.append({"files": files, "environ": environ, "hostname": hostname, "names": asked})
    for machine, answers in zip(machines, real_getaddrinfo.ask(machines), strict=True):
        conf = parse(machine["files"]["resolv.conf"], hostname=machine["hostname"], environ=machine["environ"])
        for name, asked in zip(machine["names"], answers, strict=True):
            assert names(conf, name) == asked.names, (machine, name)


@pytest.mark.skipif(WITHOUT is not None, reason=str(WITHOUT))
def test_nameservers_against_getaddrinfo():
    """Where each server fails, glibc asks the same servers in the same order."""
    random = Random(19)
    servers = ["127.0.0.1", "127.0.0.2", "127.0.0.3", "::1", "127.4", "x", "127.0.0.1%lo", "::1%nope", "0::1", "[::1]"]
    servers += ["127.0.0.1#53", "0x7f.2", "127.0.0.2\r", "127.0.0.03", ""]
    machines = []
    for _ in range(80):
        text = "".join(
            f"{random.choice(['', '', '', ' ', '#'])}nameserver {server}{random.choice(['', ' 127.0.0.4'])}\n"
            for server in random.choices(servers, k=random.randrange(6))
        )
        files = {"nsswitch.conf": "hosts: dns\n", "resolv.conf": text}
        machines.append({"files": files, "names": ["x.test"], "rcode": real_getaddrinfo.SERVFAIL})
    for machine, answers in zip(machines, real_getaddrinfo.ask(machines), strict=True):
        ours = parsed(machine["files"]["resolv.conf"]).nameservers
        assert list(dict.fromkeys(ours)) == answers[0].servers, machine
