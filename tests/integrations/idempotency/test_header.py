"""What a key is: one string of RFC 8941."""

from __future__ import annotations

import pytest

from seawall.integrations.idempotency.header import HeaderError, parse_key


@pytest.mark.parametrize(
    ("value", "key"),
    [
        ('"8e03978e-40d5-43dd-bc93-6894a57f9324"', "8e03978e-40d5-43dd-bc93-6894a57f9324"),
        ('  "a b"  ', "a b"),
        (r'"a\"b\\c"', r'a"b\c'),
        ('"a";v=1;t="x;y" ; flag', "a"),
        (f'"{"k" * 255}"', "k" * 255),
    ],
)
def test_key(value, key):
    """Without quotes and escapes; parameters aren't defined, so they are ignored."""
    assert parse_key([value]) == key


@pytest.mark.parametrize(
    "value",
    [
        "8e03978e",
        "",
        '"',
        '""',
        '"a',
        'a"',
        '"a" "b"',
        '"a", "b"',
        '"a\x7f"',
        '"é"',
        r'"a\b"',
        '"a";',
        ":YQ==:",
        f'"{"k" * 256}"',
    ],
)
def test_malformed(value):
    """A token, a list, control characters, nothing at all, too much: each is an error that says what to send."""
    with pytest.raises(HeaderError, match="Idempotency-Key"):
        parse_key([value])


def test_how_many():
    """None is no key, and two are a list, which nobody means."""
    assert parse_key([]) is None
    with pytest.raises(HeaderError, match="Send one"):
        parse_key(['"a"', '"a"'])
