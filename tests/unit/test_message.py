"""A request as bytes."""

from __future__ import annotations

import pytest

from seawall.errors import InvalidRequest
from seawall.origin import Origin
from seawall.wire.message import MAX_BLOCKS, MAX_KEPT, Blocks, Message

ORIGIN = Origin("http", "a", 80)


def message(*headers: tuple[bytes, bytes], content: bytes | None = b"", **given) -> Message:
    fields = {"method": b"GET", "target": b"/"} | given
    return Message(
        ORIGIN,
        fields["method"],
        fields["target"],
        [(name, name.lower(), value) for name, value in headers],
        content,
        None,
        {},
    )


def test_head_and_body_go_out_together():
    """In one write; a body in chunks where the headers say so; held back where 100 Continue is asked for."""
    assert message((b"Host", b"a")).whole == b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    assert message((b"Content-Length", b"2"), content=b"ok").whole.endswith(b"\r\n\r\nok")
    chunked = message((b"transfer-encoding", b"chunked"), content=b"ok").whole
    assert chunked.endswith(b"\r\n\r\n2\r\nok\r\n0\r\n\r\n")
    empty = message((b"transfer-encoding", b"chunked"), content=b"").whole
    assert empty.endswith(b"chunked\r\n\r\n0\r\n\r\n")  # or the next request would be its body
    held = message((b"expect", b"100-continue"), (b"content-length", b"2"), content=b"ok")
    assert held.block.expects


@pytest.mark.parametrize(
    "given",
    [
        {"headers": [(b"x", b"a\r\nb: c")]},
        {"headers": [(b"x", b"a\nb")]},
        {"headers": [(b"x", b"a\rb")]},
        {"headers": [(b"x", b"a\0b")]},
        {"headers": [(b"x y", b"a")]},
        {"headers": [(b"x: y", b"a")]},
        {"headers": [(b"", b"a")]},
        {"headers": [(b"x\r\nb", b"a")]},
        {"method": b"GE T"},
        {"method": b"GET\r\nx: y\r\n"},
        {"target": b"/ HTTP/1.1\r\nx: y\r\n"},
        {"target": b"/a b"},
        {"target": b""},
        {"headers": [(b"content-length", b"+10")]},
        {"headers": [(b"content-length", b"3"), (b"content-length", b"5")]},
        {"headers": [(b"transfer-encoding", b"gzip")]},
        {"headers": [(b"transfer-encoding", b"chunked"), (b"content-length", b"x")]},
        {"headers": [(b"transfer-encoding", b"chunked"), (b"transfer-encoding", b"chunked")]},
        {"headers": [(b"host", b"a"), (b"Host", b"b")]},
        {"headers": [(b"host", b"a"), (b"host", b"a")]},
        *({"headers": [(b"x", b"a" + bytes([code]) + b"b")]} for code in (*range(9), *range(10, 32), 127)),
    ],
    ids=str,
)
def test_injection_is_refused(given):
    """Nothing that could be read as another header, line or request; the error doesn't quote it."""
    headers = given.pop("headers", [])
    with pytest.raises(InvalidRequest, match="illegal bytes") as caught:
        message(*headers, **given)
    assert "b: c" not in str(caught.value)


@pytest.mark.parametrize(
    ("headers", "content"),
    [
        ([], b"ok"),
        ([(b"content-length", b"1")], b"ok"),
        ([(b"content-length", b"3")], b"ok"),
        ([(b"content-length", b"x")], b"ok"),
    ],
)
def test_misframed_body_is_refused(headers, content):
    """Before a byte is sent; it would be the beginning of the next request, or keep the server waiting."""
    with pytest.raises(InvalidRequest, match=r"the request.s body has 2 bytes|isn.t the body.s"):
        message(*headers, content=content)


def test_coding_that_the_caller_asked_for_replaces_the_length():
    """httpx adds a length to a body in memory; both together are two requests to somebody (RFC 9112 section 6.2)."""
    for headers in (
        [(b"Transfer-Encoding", b"Chunked"), (b"Content-Length", b"4")],
        [(b"Content-Length", b"4"), (b"Transfer-Encoding", b"chunked")],
    ):
        whole = message((b"Host", b"a"), *headers, content=b"BODY", method=b"POST").whole
        head, _, body = whole.partition(b"\r\n\r\n")
        assert b"content-length" not in head.lower()
        assert body == b"4\r\nBODY\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    ("value", "closes"), [(b"close", True), (b"Keep-Alive, CLOSE", True), (b"keep-alive", False), (b"closed", False)]
)
def test_connection_close_is_noted(value, closes):
    """Whoever sends it sends nothing more on that connection (RFC 9112 section 9.6)."""
    assert message((b"Connection", value)).block.closes is closes


def test_blocks_that_are_kept_are_bounded():
    """Once there are too many, all go; one that is large, or that HTTP/1.1 can't carry, isn't kept."""

    def headers(value: bytes) -> tuple[tuple[bytes, bytes, bytes], ...]:
        return ((b"A", b"a", value),)

    blocks = Blocks()
    made = [blocks[headers(b"%d" % number)] for number in range(MAX_BLOCKS)]
    assert len(blocks) == MAX_BLOCKS
    assert blocks[headers(b"10")] is made[10]
    assert blocks[headers(b"new")] is not None
    assert len(blocks) == len(blocks.lines) == 1
    assert blocks[headers(b"10")] == made[10]
    before = dict(blocks)
    assert blocks[headers(b"x" * MAX_KEPT)] is not None
    assert blocks[headers(b"\n")] is None
    assert blocks == before
    assert len(blocks.lines) == len(before)
    blocks.forget()
    assert len(blocks) == len(blocks.lines) == 0
