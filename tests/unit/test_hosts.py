"""The hosts file, against what its man page says and against getaddrinfo itself."""

from __future__ import annotations

import tracemalloc
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.dns.hosts import Hosts, is_multi

from . import real_getaddrinfo

WITHOUT = real_getaddrinfo.why_not()
LINES = 20_000


def find(text: str, name: str, *, all_lines: bool = True) -> tuple[str, ...]:
    return Hosts(text.encode("latin-1"), is_multi=all_lines).find(name)


@pytest.mark.parametrize(
    ("text", "name", "addresses"),
    [
        ("10.0.0.1 a b c", "a", ("10.0.0.1",)),
        ("10.0.0.1 a b c", "c", ("10.0.0.1",)),
        ("10.0.0.1 a b c", "10.0.0.1", ()),
        ("10.0.0.1 A.Example", "a.eXAMPLE", ("10.0.0.1",)),
        ("10.0.0.1 a.example.", "a.example", ()),
        ("10.0.0.1 a.example.", "a.example.", ("10.0.0.1",)),
        ("10.0.0.1 a.example", "a.example.", ()),
        ("10.0.0.1 a#b", "a", ("10.0.0.1",)),
        ("10.0.0.1 a#b", "a#b", ()),
        ("# 10.0.0.1 a", "a", ()),
        ("10.0.0.1 a\r\n10.0.0.2 b\r\n", "a", ("10.0.0.1",)),
        ("10.0.0.1\ta\x0bb\x0cc\rd", "d", ("10.0.0.1",)),
        (" \t10.0.0.1 a\n", "a", ("10.0.0.1",)),
        ("10.0.0.1 a\0 b", "a", ("10.0.0.1",)),
        ("10.0.0.1 a\0 b\n10.0.0.2 b", "b", ("10.0.0.2",)),
        ("10.0.0.1\n10.0.0.2 a", "a", ("10.0.0.2",)),
        ("127.1 a\n010.0.0.1 a\n1.2.3 a\nx a\nfe80::1%lo a\n10.0.0.2 a", "a", ("10.0.0.2",)),
        ("2001:DB8:0::1 a", "a", ("2001:db8::1",)),
        ("::ffff:10.0.0.1 a", "a", ("::ffff:10.0.0.1",)),
        ("10.0.0.1 \xe9", "a", ()),
        ("10.0.0.1 a", "\xe9\udcff", ()),
        ("10.0.0.1 k", "\u212a", ()),
        ("10.0.0.1 a", "", ()),
        ("10.0.0.1 a", "a b", ()),
        ("", "a", ()),
        ("\n\n \n#\n", "a", ()),
    ],
)
def test_line(text: str, name: str, addresses: tuple[str, ...]):
    """Each rule of the file by itself."""
    assert find(text, name) == addresses


@given(st.lists(st.sampled_from([*b"ab.1:% #\t\r\n\0\xe9"])), st.text("abAB.1\u212a"))
def test_any_bytes(data: list[int], name: str):
    """No file is too odd, and only a name that stands there is found."""
    hosts = Hosts(bytes(data), is_multi=True)
    for address in hosts.find(name):
        assert name.encode().lower() in bytes(data).lower().replace(b"#", b" ").replace(b"\0", b" ").split(), address


def test_several_lines():
    """All of a name's lines in the file's order, each address once; only the first good one without `multi on`."""
    text = "x a\n10.0.0.2 a\n::1 b a\n10.0.0.1 A\n10.0.0.2 a\n"
    assert find(text, "a") == ("10.0.0.2", "::1", "10.0.0.1")
    assert find(text, "a", all_lines=False) == ("10.0.0.2",)


@pytest.mark.parametrize(
    ("text", "environ", "expected"),
    [
        ("multi on\n", {}, True),
        ("", {}, False),
        ("order hosts,bind\n\tMULTI\tOn # all\n", {}, True),
        ("multi on\nmulti off\n", {}, False),
        ("multi one\n", {}, True),
        ("multi\non\n", {}, False),
        ("multi,on\n", {}, False),
        ("multiple on\n", {}, False),
        ("#multi on\n", {}, False),
        ("multi on\n", {"RESOLV_MULTI": "off"}, False),
        ("", {"RESOLV_MULTI": "on"}, True),
        ("multi on\n", {"RESOLV_MULTI": " off"}, True),
    ],
)
def test_host_conf(text: str, environ: dict[str, str], expected: bool):
    """`multi` of host.conf, then RESOLV_MULTI."""
    assert is_multi(text, environ) is expected


def test_large_file():
    """Every name of an ad blocker's file is found, and the file takes less than three times its size at its peak."""
    data = b"".join(b"0.0.0.0 x%d.ads%d.example.com\n" % (number * number, number % 97) for number in range(LINES))
    tracemalloc.start()
    try:
        hosts = Hosts(data, is_multi=True)
        assert tracemalloc.get_traced_memory()[1] < 2 * len(data)  # beside the data itself
    finally:
        tracemalloc.stop()
    for number in range(LINES):
        assert hosts.find(f"x{number * number}.ads{number % 97}.example.com") == ("0.0.0.0",)
        assert hosts.find(f"y{number}.example.com") == ()


def test_one_name_in_all_lines():
    """It is found in each, and parsing takes one step a line, however many there are of it."""
    data = b"".join(b"10.%d.%d.1 same\n" % divmod(number, 256) for number in range(LINES))
    assert len(Hosts(data, is_multi=True).find("same")) == LINES


@pytest.mark.skipif(WITHOUT is not None, reason=str(WITHOUT))
def test_against_getaddrinfo():
    """The same addresses of the same odd files."""
    random = Random(19)
    addresses = ["10.0.0.1", "10.0.0.2", "::1", "2001:DB8:0::1", "127.1", "010.0.0.1", "fe80::1%lo", "::ffff:10.0.0.9"]
    addresses += ["x", "#", "0.0.0.0"]
    names = ["a", "b", "A.example", "a.example", "a.example.", "c", "#", "b#c", "\x0b", "\0a", "\xe9", "a_b"]
    multi = ["multi on\n", "multi off\n", "", " MULTI\ton", "multi\non\n", "multi on\nmulti off\n"]
    machines = []
    for _ in range(120):
        lines = [
            random.choice(["", "", " ", "\t", "#", "\0"])
            + random.choice(addresses)
            + "".join(random.choice([" ", "\t", "\r", "\x0b"]) + each for each in random.choices(names, k=number))
            + random.choice(["", "\r", " "])
            for number in random.choices(range(4), k=5)
        ]
        files = {"nsswitch.conf": "hosts: files\n", "hosts": "\n".join([*lines, ""])}
        if text := random.choice(multi):
            files["host.conf"] = text
        machines.append({"files": files, "names": ["a", "b", "a.example", "A.EXAMPLE.", "c", "a_b"]})
    for machine, answers in zip(machines, real_getaddrinfo.ask(machines), strict=True):
        files = machine["files"]
        hosts = Hosts(files["hosts"].encode("latin-1"), is_multi=is_multi(files.get("host.conf", ""), {}))
        for name, asked in zip(machine["names"], answers, strict=True):
            assert (sorted(hosts.find(name)) or "EAI_NONAME") == asked.addresses, (files, name)
