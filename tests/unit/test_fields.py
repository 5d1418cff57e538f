"""Headers as HTTP/2 has them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.origin import Origin
from seawall.wire.http2.fields import CONNECTION_HEADERS, request_fields, wrong_field
from seawall.wire.message import Message

TOKEN = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"
BYTES = st.binary(max_size=6) | st.text("ab:\0\r\nA ", max_size=6).map(str.encode)


def is_wrong(name: bytes, value: bytes) -> bool:
    """By the letter of RFC 9113 section 8.2."""
    has_wrong_bytes = not name or any(byte not in TOKEN for byte in name) or any(each in value for each in b"\0\r\n")
    return has_wrong_bytes or name in CONNECTION_HEADERS


@given(st.lists(st.tuples(st.sampled_from([b"x", b"connection"]) | BYTES, BYTES), max_size=4))
def test_wrong_fields_are_found(fields):
    """Whatever bytes are in them: each field is judged alone, though all are looked at together."""
    wrong = [name for name, value in fields if is_wrong(name, value)]
    found = wrong_field(fields)
    assert found in wrong if wrong else found is None


def fields_of(*headers: tuple[bytes, bytes]) -> list[tuple[bytes, bytes]]:
    triples = [(name, name.lower(), value) for name, value in headers]
    return request_fields(Message(Origin("https", "a", 443), b"GET", b"/x?y", triples, b"", None, {}))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([(b"X-Mine", b"1"), (b"Host", b"a.test")], [(b"x-mine", b"1")]),
        ([(b"Host", b"a.test"), (b"TE", b"gzip"), (b"Upgrade", b"x"), (b"Keep-Alive", b"5")], []),
        ([(b"Host", b"a.test"), (b"TE", b"Trailers")], [(b"te", b"trailers")]),
        ([(b"Host", b"a.test"), (b"X-Hop", b"1"), (b"Connection", b"close, X-HOP"), (b"A", b"b")], [(b"a", b"b")]),
        ([(b"Host", b"a.test"), (b"Content-Length", b"0")], [(b"content-length", b"0")]),
        ([(b"Host", b"a.test"), (b"Content-Length", b"5"), (b"Transfer-Encoding", b"chunked")], []),
        ([(b"Host", b"a.test"), (b"Connection", b"keep-alive"), (b"A", b"b")], [(b"a", b"b")]),
        ([(b"Host", b"a.test"), (b"Connection", b"Host, :path"), (b"A", b" b\t")], [(b"a", b"b")]),
    ],
)
def test_fields_of_a_request(headers, expected):
    """Pseudo-headers first, names in lower case, and none that is HTTP/1.1's own (RFC 9113 sections 8.2.2, 8.3.1)."""
    pseudo = [(b":method", b"GET"), (b":authority", b"a.test"), (b":scheme", b"https"), (b":path", b"/x?y")]
    assert fields_of(*headers) == pseudo + expected


def test_request_without_a_host_has_no_authority():
    """An empty one must not be sent (RFC 9113 section 8.3.1)."""
    assert [name for name, _ in fields_of((b"A", b"b"))] == [b":method", b":scheme", b":path", b"a"]
