"""By which codec a page's text is decoded, and that no codec of a server's choice harms a job."""

from __future__ import annotations

import json

import pytest

from seawall.fetch import page as page_module
from seawall.fetch.charset import charset_of
from seawall.fetch.page import Kind, Page, row_of
from seawall.fetch.target import key_of


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("UTF8", "utf-8"),
        ("utf-16be", "utf-16-be"),
        ("us-ascii", "ascii"),
        ("latin1", "iso8859-1"),
        ("windows-1252", "cp1252"),
        ("ibm866", "cp866"),
        ("Shift-JIS", "shift_jis"),
        ("big5-hkscs", "big5hkscs"),
    ],
)
def test_a_charset_of_text(name, codec):
    """Has Python's codec for it, in quotes or not."""
    assert charset_of(f"text/html; charset={name}") == charset_of(f'text/html; Charset = "{name}"') == codec


@pytest.mark.parametrize(
    "name", ["iso-8859-12", "windows-1259", "ibm999", "utf16be", "zlib", "hex", "bz2", "rot13", "punycode", "idna", "é"]
)
def test_a_charset_that_python_lacks_or_that_is_unsafe(name):
    """Isn't looked up as a codec, or isn't there, so the text is taken for UTF-8."""
    assert charset_of(f"text/html; charset={name}") == "utf-8"


@pytest.mark.parametrize("codec", ["iso-8859-12", "hex", "punycode", "idna", "undefined"])
def test_whatever_a_codec_raises(codec, monkeypatch):
    """The page has its row, with the bytes as they came."""
    monkeypatch.setattr(page_module, "charset_of", lambda _: codec)
    url = "http://a.test/"
    row = json.loads(row_of(Page(url, key_of(url), Kind.GOOD, 200, url, (), b"\xff.hello\xff")))
    assert (row["result"], row["base64"]) == ("good", "/y5oZWxsb/8=")
