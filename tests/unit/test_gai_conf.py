"""What glibc makes of /etc/gai.conf."""

from __future__ import annotations

import os

import pytest

from seawall.dns.gai_conf import GLIBC, RFC6724, as_number, parse, read


def number(ip: str) -> int:
    found = as_number(ip)
    assert found is not None
    return found


@pytest.mark.parametrize("text", ["", "# label ::1/128 5\n", "reload yes\n", "label\n", "nonsense ::1/128 5\n"])
def test_nothing_said(text):
    """glibc's own tables."""
    assert parse(text.encode()) == GLIBC


def test_one_kind_replaces_that_kind():
    """All of it: what no line covers has label 1, precedence 40, scope 14."""
    table = parse(b"label 2001:db8::/32 9\n")
    assert (table.label(number("2001:db8::1")), table.label(number("::1")), table.label(number("10.0.0.1"))) == (
        9,
        1,
        1,
    )
    assert (table.precedences, table.scopes) == (GLIBC.precedences, GLIBC.scopes)
    table = parse(b"precedence ::ffff:0:0/96 100\n")
    assert (table.precedence(number("10.0.0.1")), table.precedence(number("::1"))) == (100, 40)
    table = parse(b"scopev4 10.0.0.0/8 5\n")
    assert [table.scope(number(ip)) for ip in ("10.1.1.1", "127.0.0.1", "169.254.0.1")] == [5, 14, 14]


def test_line_without_bits_or_value():
    """Without bits it is one address, and without a value it is 0."""
    table = parse(b"label 2001:db8::1 7\nlabel 2001:db8:1::/48\n")
    assert [table.label(number(ip)) for ip in ("2001:db8::1", "2001:db8::", "2001:db8:1::1")] == [7, 1, 0]


def test_longest_prefix_and_first_line():
    """The longest prefix counts; of two lines with the same one, the first."""
    table = parse(b"label ::/0 2\nlabel 2001:db8:1::/48 5\nlabel 2001:db8::/32 4\nlabel 2001:db8:1::/48 6\n")
    assert [table.label(number(ip)) for ip in ("2001:db8:1::1", "2001:db8:2::1", "2002::1")] == [5, 4, 2]


@pytest.mark.parametrize(
    "line",
    [
        "label ::/0",
        " \tlabel\t::/0\t0 and more",
        "label ::/ 0",
        "label ::/+0 -0",
        "label 1::/0 0#",
        "label ::/0 0\r",
    ],
)
def test_what_strtoul_takes(line):
    """Nothing is 0, a sign may stand before it, and the rest of a line is ignored."""
    assert parse(f"{line}\n".encode()).label(number("::1")) == 0


@pytest.mark.parametrize(
    "line",
    [
        "label 10.0.0.0/8 5",
        "label ::/129 5",
        "label ::/-1 5",
        "label ::/0 x",
        "label ::/0 -1",
        "label ::/0 2147483648",
        "label ::/0 99999999999999999999999",
        "label ::%lo/0 5",
        "label ::/0x0 5",
        "Label ::/0 5",
        "scopev4 ::/96 5",
        "scopev4 ::ffff:0:0/95 5",
        "scopev4 0.0.0.0/33 5",
        "label ::/+ 5",
        "label\0 ::/0 5",
    ],
)
def test_broken_lines_are_skipped(line):
    """As if they weren't there."""
    assert parse(f"{line}\n".encode()) == GLIBC


def test_scopes_of_ipv4_in_both_forms():
    """As IPv4, and mapped; without bits it is one address."""
    table = parse(b"scopev4 10.1.0.0/16 3\nscopev4 ::ffff:10.2.0.0/112 4\nscopev4 10.3.0.1 6\n")
    ips = ("10.1.2.3", "10.2.2.3", "10.3.0.1", "10.3.0.2")
    assert [table.scope(number(ip)) for ip in ips] == [3, 4, 6, 14]


def test_scopes_of_ipv6():
    """Multicast has it in its address; loopback counts as link-local (RFC 6724 section 3.1)."""
    ips = ("::1", "fe80::1", "febf::1", "fec0::1", "ff05::1", "ff0e::1", "fd00::1", "2001:db8::1")
    assert [GLIBC.scope(number(ip)) for ip in ips] == [2, 2, 2, 5, 5, 14, 14, 14]


@pytest.mark.parametrize(
    ("ip", "glibc", "rfc"),
    [
        ("::1", (0, 50), (0, 50)),
        ("2600::1", (1, 40), (1, 40)),
        ("10.0.0.1", (4, 10), (4, 35)),
        ("2002::1", (2, 30), (2, 30)),
        ("2001::1", (7, 40), (5, 5)),
        ("fd00::1", (6, 40), (13, 3)),
        ("::2", (3, 20), (3, 1)),
        ("fec0::1", (5, 40), (11, 1)),
        ("3ffe::1", (1, 40), (12, 1)),
    ],
)
def test_tables(ip, glibc, rfc):
    """RFC 6724 section 2.1, and glibc's, which are of RFC 3484: the one prefers IPv4 to unique local IPv6."""
    assert (GLIBC.label(number(ip)), GLIBC.precedence(number(ip))) == glibc
    assert (RFC6724.label(number(ip)), RFC6724.precedence(number(ip))) == rfc


@pytest.mark.parametrize(
    ("ip", "expected"), [("127.1", None), ("", None), ("x", None), ("fe80::1%lo", 0xFE80 << 112 | 1)]
)
def test_numbers(ip, expected):
    """A zone says nothing; an unusual form is unknown."""
    assert as_number(ip) == expected


def test_file(tmp_path, monkeypatch):
    """One that can't be read is as one that is missing: then the C library's tables count."""
    path = tmp_path / "gai.conf"
    path.write_bytes(b"# \xff\nprecedence ::ffff:0:0/96 100\n")
    assert read(str(path)).precedence(number("10.0.0.1")) == 100
    monkeypatch.setattr(os, "confstr", lambda _: "glibc 2.36", raising=False)
    assert read(str(tmp_path)) == read(str(tmp_path / "none")) == GLIBC
    monkeypatch.setattr(os, "confstr", lambda _: None, raising=False)
    assert read(str(tmp_path)) == RFC6724
