"""What a download does with the head of a response."""

from __future__ import annotations

import pytest

from seawall.fetch.digest import digests_of
from seawall.fetch.resume import Append, Complete, Fail, Kept, StartOver, decide, headers_for, validator_of

KEPT = Kept(40, '"v1"', 100)
REST = {"content-range": "bytes 40-99/100", "etag": '"v1"'}
DATE = "Sat, 28 Nov 2026 10:00:00 GMT"
EARLIER = "Sat, 28 Nov 2026 09:58:59 GMT"
DATED = Kept(40, EARLIER, 100)


@pytest.mark.parametrize(
    ("headers", "validator"),
    [
        ({"etag": '"v1"'}, '"v1"'),
        ({"etag": '""'}, '""'),
        ({"etag": 'W/"v1"'}, None),
        ({"etag": "v1"}, None),
        ({"etag": '"a"b"'}, None),
        ({"last-modified": EARLIER, "date": DATE}, EARLIER),
        ({"etag": 'W/"v1"', "last-modified": EARLIER, "date": DATE}, None),
        ({"last-modified": "Sat, 28 Nov 2026 09:59:00 GMT", "date": DATE}, "Sat, 28 Nov 2026 09:59:00 GMT"),
        ({"last-modified": "Sat, 28 Nov 2026 09:59:01 GMT", "date": DATE}, None),
        ({"last-modified": EARLIER}, None),
        ({"date": DATE}, None),
        ({"last-modified": "yesterday", "date": DATE}, None),
        ({"last-modified": "Sat Nov 28 09:00:00 2026", "date": DATE}, None),
        ({}, None),
    ],
)
def test_validator(headers, validator):
    """A strong ETag; else a Last-Modified that was settled for a minute; else nothing."""
    assert validator_of(headers) == validator


def test_headers():
    """No coding, ever; a range only under a validator, and only if there is anything."""
    whole = {"Accept-Encoding": "identity"}
    assert headers_for(KEPT) == whole | {"Range": "bytes=40-", "If-Range": '"v1"'}
    assert headers_for(Kept(40, None, 100)) == headers_for(Kept(0, '"v1"', 100)) == headers_for(Kept()) == whole


@pytest.mark.parametrize(
    ("kept", "status", "headers", "verdict"),
    [
        # The rest, in whole or in part
        (KEPT, 206, REST, Append(40, 100, KEPT)),
        (KEPT, 206, {"content-range": "Bytes 40-49/*"}, Append(40, 50, KEPT)),
        (KEPT, 200, REST, Append(40, 100, KEPT)),
        (Kept(), 206, {"content-range": "bytes 0-9/100", "etag": '"v1"'}, Append(0, 10, Kept(0, '"v1"', 100))),
        # All of it
        (Kept(), 200, {"content-length": "9", "etag": '"v1"'}, Append(0, 9, Kept(0, '"v1"', 9))),
        (Kept(), 203, {}, Append(0, None, Kept())),
        (KEPT, 200, {"content-length": "100", "etag": '"v1"'}, Append(0, 100, Kept(0, '"v1"', 100))),
        (KEPT, 200, {"content-range": "bytes 0-99/100", "content-length": "100"}, Append(0, 100, Kept(0, None, 100))),
        # It changed
        (KEPT, 200, {"etag": '"v2"'}, Append(0, None, Kept(0, '"v2"', None), is_changed=True)),
        (KEPT, 200, {"content-length": "99"}, Append(0, 99, Kept(0, None, 99), is_changed=True)),
        # A coding that was not asked for
        (Kept(), 200, {"content-encoding": "gzip", "content-length": "9", "etag": '"v1"'}, Append(0, None, Kept())),
        # It is there
        (Kept(100, '"v1"', 100), 416, {"content-range": "bytes */100"}, Complete()),
        (Kept(100, '"v1"', None), 416, {"content-range": "bytes */100"}, Complete()),
    ],
)
def test_verdict(kept, status, headers, verdict):
    """What is written, from where to where, and of which version it is."""
    assert decide(kept, status, headers) == verdict


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (206, {**REST, "etag": '"v2"'}),
        (206, {**REST, "etag": 'W/"v1"'}),
        (206, {**REST, "content-range": "bytes 40-100/101"}),
        (206, {**REST, "content-range": "bytes 41-99/100"}),
        (206, {**REST, "content-range": "bytes 0-99/100"}),
        (206, {**REST, "content-range": "bytes 40-39/100"}),
        (206, {**REST, "content-range": "bytes 40-100/100"}),
        (206, {**REST, "content-range": "lines 40-99/100"}),
        (206, {**REST, "content-length": "59"}),
        (206, {**REST, "content-encoding": "gzip"}),
        (206, {"content-type": "multipart/byteranges; boundary=x"}),
        (200, {"content-range": "bytes 41-99/100"}),
        (416, {"content-range": "bytes */40", "etag": '"v2"'}),
        (416, {"content-range": "bytes */100"}),
        (416, {}),
    ],
)
def test_doubt(status, headers):
    """What can't be told from another version, or from another part, is thrown away."""
    assert isinstance(decide(KEPT, status, headers), StartOver)


@pytest.mark.parametrize(
    ("status", "headers"),
    [(206, {}), (206, {"content-range": "bytes 9-99/100"}), (200, {"content-range": "bytes 9-99/100"}), (416, {})],
)
def test_nothing_to_throw_away(status, headers):
    """An answer that doesn't fit a request for the whole file is an error, because another request gets the same."""
    assert isinstance(decide(Kept(), status, headers), Fail)


def test_changed_by_date():
    """A part that was kept under a date is only continued under the same one."""
    head = {"content-range": "bytes 40-99/100"}
    assert decide(DATED, 206, head | {"last-modified": EARLIER}) == Append(40, 100, DATED)
    assert decide(DATED, 206, head | {"last-modified": DATE}) == StartOver("it changed on the server", is_changed=True)


@pytest.mark.parametrize("status", [202, 204, 301, 304, 400, 404, 410, 412, 500, 503])
def test_neither_the_file_nor_a_part(status):
    """No other status' body gets into the file, whatever its headers say."""
    assert isinstance(decide(KEPT, status, REST), Fail)


def test_a_digest_that_is_repeated():
    """It counts once, because the file is read for each."""
    headers = {"repr-digest": "sha-256=:AAAA:, sha-512=:BBBB:, sha-256=:CCCC:" + ", sha-256=:DDDD:" * 100}
    assert [(each.algorithm, each.value) for each in digests_of(headers, 0, None)] == [
        ("sha256", b"\x0c0\xc3"),
        ("sha512", b"\x04\x10A"),
    ]
