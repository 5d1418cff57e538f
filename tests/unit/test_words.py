"""What events say of an error: no secret that another transport's error quotes."""

from __future__ import annotations

import pytest

from seawall.core.words import said
from seawall.errors import InvalidRequest


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("slow: https://user:secret@api.test/a?token=secret", "slow: https://api.test/a"),
        ("<Request 'GET http://secret@a.test:80/a#secret'> failed", "<Request 'GET http://a.test:80/a'> failed"),
        ("https://a:b@secret@api.test", "https://api.test"),
        ("redirect to /b?secret", "redirect to /b"),
        (f"Illegal header value {b'Bearer secret'!r}", "Illegal header value b'…'"),
        (f"{b'secret' + bytes([39])!r} is no {b'secret' + bytes([34, 39])!r}!", "b'…' is no b'…'!"),
        (f"{b'a secret that is cut short'!r}"[:-1], "b'…'"),
    ],
)
def test_what_another_transport_quotes_is_left_out(text, told):
    """Userinfo, queries, fragments, and bytes, which are headers and bodies."""
    assert said(OSError(text)) == ("OSError", told)


@pytest.mark.parametrize(
    "text",
    ["[Errno 111] Connect call failed ('127.0.0.1', 80)", "407 Proxy Authentication Required", "a@b.c? no # why"],
)
def test_other_words_stay(text):
    """They tell what failed."""
    assert said(OSError(text)) == ("OSError", text)


def test_our_own_words_stay():
    """They quote no request."""
    assert said(InvalidRequest("http://a.test:80: /?b'c'")) == ("InvalidRequest", "http://a.test:80: /?b'c'")
