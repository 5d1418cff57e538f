"""How the lines of a list become URLs to fetch."""

from __future__ import annotations

import pytest

from seawall.fetch.lines import MAX_LINE, Lines
from seawall.fetch.target import Refused, Target, target


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://a.test", "http://a.test/"),
        ("HTTP://A.Test:80/", "http://a.test/"),
        ("https://a.test:443", "https://a.test/"),
        ("http://a.test:443/", "http://a.test:443/"),
        ("http://a.test:8080/x", "http://a.test:8080/x"),
        ("http://a.test:65535/x", "http://a.test:65535/x"),
        ("http://a.test?q", "http://a.test/?q"),
        ("http://a.test/x#part", "http://a.test/x"),
        ("http://a.test/%7euser/%c3%a9%2F", "http://a.test/~user/%C3%A9%2F"),
        ("http://a.test/é?ü=1 2", "http://a.test/%C3%A9?%C3%BC=1%202"),
        ("http://a.test/100%", "http://a.test/100%25"),
        ("http://a.test/a/./b/../c/.", "http://a.test/a/c/"),
        ("http://a.test/../..", "http://a.test/"),
        ("http://a.test/x.html", "http://a.test/x.html"),
        ("http://a.test/.well-known/x", "http://a.test/.well-known/x"),
        ("http://bücher.test/", "http://xn--bcher-kva.test/"),
        ("http://a_b.test./", "http://a_b.test./"),
        ("http://[::0001]:80/", "http://[::1]/"),
        ("http://user:p%40ss@a.test/", "http://user:p%40ss@a.test/"),
    ],
)
def test_one_spelling(text, url):
    """Spellings that mean the same are the same, one by one and once more (RFC 3986 section 6.2)."""
    found = target(text)
    assert isinstance(found, Target)
    assert found.url == url
    assert target(found.url) == found


def test_what_differs_stays_apart():
    """The key stands for the URL alone, and the origin for its scheme, host and port."""
    texts = [
        "http://a.test/",
        "https://a.test/",
        "http://a.test/X",
        "http://a.test/x",
        "http://a.test/?x",
        "http://b.test/",
    ]
    found = [target(text) for text in texts]
    assert len({each.key for each in found}) == len(texts)
    assert {each.origin for each in found} == {"http://a.test", "https://a.test", "http://b.test"}  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a.test/x", "begins with http:// or https://"),
        ("nonsense", "begins with http:// or https://"),
        ("ftp://a.test/x", "scheme is ftp"),
        ("javascript:alert(1)", "scheme is javascript"),
        ("http://", "names no host"),
        ("http:///x", "names no host"),
        ("http://a.test/\x00", r"'\x00'"),
        ("http://a.test/\tx", r"'\t'"),
        ("http://a b.test/", "host's name"),
        ("http://a..test/", "host's name"),
        ("http://*.test/", "host's name"),
        ("http://[::1/", "IPv6 address that could be one"),
        ("http://me:s3cret@ho\u2100st/", "it names neither a host nor"),
        ("http://[::g]/", "IPv6"),
        ("http://a.test:99999/", "0 to 65535"),
        ("http://a.test:x/", "0 to 65535"),
    ],
)
def test_what_is_not_a_url(text, said):
    """It is refused with the reason, and has a key of its own, so that it is reported once."""
    found = target(text)
    assert isinstance(found, Refused)
    assert said in found.reason
    assert found == target(text)


def test_a_message_stays_short():
    """What a list holds may be long; what is said about it isn't."""
    first, second = target("x" * 5000), target("x" * 5001)
    assert isinstance(first, Refused)
    assert len(first.text) + len(first.reason) < 500
    assert first.text == second.text and first.key != second.key  # type: ignore[union-attr]  # noqa: PT018


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_lines_however_they_come(size):
    """The pieces in which bytes arrive don't matter, nor whether lines end as on Windows, nor the last one's end."""
    data, lines = b"one\r\n\ntwo\nthree", Lines()
    found = [line for at in range(0, len(data), size) for line in lines.feed(data[at : at + size])] + lines.end()
    assert [(line.number, line.text) for line in found] == [(1, b"one"), (2, b""), (3, b"two"), (4, b"three")]


def test_a_long_line_is_not_kept():
    """10 MB without a line's end take 64 KiB, and the next line is whole."""
    lines = Lines()
    for _ in range(160):
        assert lines.feed(b"x" * 65_536) == []
    long, short = lines.feed(b"\nhttp://a.test/\n")
    assert (len(long.text), long.size) == (MAX_LINE, 160 * 65_536)
    assert (short.number, short.text) == (2, b"http://a.test/")
