"""Each step as a bare socket sees it: the bytes, and FIN, RST or silence after them."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
import socket
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime
from urllib.parse import quote

import pytest

from seawall.testing import FaultServer
from seawall.testing.steps import MALFORMED, ODD, STEPS
from tests.testing.raw import Seen, ask, connect, request, see

WALL = 1_700_000_000.0
HEAD = b"HTTP/1.1 200 OK\r\n"
COVERED = {"tls_inject"}  # by test_tls_steps


@pytest.fixture(scope="module")
def server():
    with FaultServer(wall=lambda: WALL) as server:
        yield server


def is_good(seen: Seen) -> bool:
    return seen.status == 200 and b'"attempt"' in seen.body


# step → end, and what the bytes must be
CASES = {
    "ok": ("silence", is_good),
    "json:[1]:201": ("silence", lambda seen: seen.status == 201 and seen.body == b"[1]"),
    "text:hello": ("silence", lambda seen: b"\r\ncontent-type: text/plain" in seen.head and seen.body == b"hello"),
    "ok:100000": ("silence", lambda seen: seen.body == b"x" * 100_000),
    "delay:0.05": ("silence", is_good),
    "delay:0.01+reset": ("RST", lambda seen: seen.data == b""),
    "chance:1+503": ("silence", lambda seen: seen.status == 503),
    "chance:0+503": ("silence", is_good),
    "hang": ("silence", lambda seen: seen.data == b""),
    "hang:status": ("silence", lambda seen: seen.data == b"HTTP/1.1 20"),
    "hang:headers": ("silence", lambda seen: seen.data.startswith(HEAD) and b"\r\n\r\n" not in seen.data),
    "hang:body": ("silence", lambda seen: b"content-length: 1000" in seen.head and len(seen.body) == 500),
    "hang:chunk": ("silence", lambda seen: b"chunked" in seen.head and seen.body == b"3e8\r\n" + b"x" * 500),
    "close": ("FIN", lambda seen: seen.data == b""),
    "close:status": ("FIN", lambda seen: seen.data == b"HTTP/1.1 20"),
    "close:headers": ("FIN", lambda seen: seen.data.startswith(HEAD) and b"\r\n\r\n" not in seen.data),
    "close:body": ("FIN", lambda seen: len(seen.body) == 500),
    "close:chunk": ("FIN", lambda seen: seen.body == b"3e8\r\n" + b"x" * 500),
    "reset": ("RST", lambda seen: seen.data == b""),
    "reset:status": ("RST", lambda seen: seen.data == b"HTTP/1.1 20"),
    "reset:headers": ("RST", lambda seen: seen.data.startswith(HEAD) and b"\r\n\r\n" not in seen.data),
    "reset:body": ("RST", lambda seen: len(seen.body) == 500),
    "reset:chunk": ("RST", lambda seen: seen.body == b"3e8\r\n" + b"x" * 500),
    "truncate": ("FIN", lambda seen: len(seen.body) == 500),
    "drip:start:0.001:3": ("silence", lambda seen: seen.pieces > 40 and seen.body == b"xxx"),
    "drip:headers:0.001:3": ("silence", lambda seen: seen.pieces > 20 and seen.body == b"xxx"),
    "drip:body:0.005:5": ("silence", lambda seen: 3 <= seen.pieces <= 6 and seen.body == b"xxxxx"),
    "drip:chunk:0.005:5": ("silence", lambda seen: seen.pieces >= 3 and seen.body == b"1\r\nx\r\n" * 5 + b"0\r\n\r\n"),
    "info": ("silence", lambda seen: seen.data.startswith(b"HTTP/1.1 103 ") and b"HTTP/1.1 200 OK" in seen.data),
    "info:100:3+503": ("silence", lambda seen: seen.data.count(b"HTTP/1.1 100 ") == 3 and b" 503 " in seen.data),
    "503": ("silence", lambda seen: seen.status == 503 and b"retry-after" not in seen.head),
    "429:1": ("silence", lambda seen: seen.status == 429 and b"\r\nretry-after: 1\r\n" in seen.head),
    "503:zz": ("silence", lambda seen: b"retry-after: zz" in seen.head),
    "503:-1": ("silence", lambda seen: b"retry-after: -1" in seen.head),
    "503:ms500": ("silence", lambda seen: b"retry-after-ms: 500" in seen.head and b"retry-after:" not in seen.head),
    "204": ("silence", lambda seen: seen.status == 204 and seen.body == b""),
    "rate:1": ("silence", is_good),
    "limit:1:0.01": ("silence", is_good),
    "redirect:2": ("silence", lambda seen: seen.status == 302 and b"location: /x/redirect?key=" in seen.head),
    "redirect:0": ("silence", is_good),
    "location:none": ("silence", lambda seen: seen.status == 302 and b"location" not in seen.head),
    "location:empty": ("silence", lambda seen: re.search(rb"location: \r\n", seen.head)),
    "location:bad:307": ("silence", lambda seen: seen.status == 307 and b"location: http://[::1\r\n" in seen.head),
    "location:scheme": ("silence", lambda seen: b"location: ftp://" in seen.head),
    "location:loop": ("silence", lambda seen: b"location: /x/location:loop?key=" in seen.head),
    "location:origin": ("silence", lambda seen: b"location: http://localhost:" in seen.head),
    "location:relative": ("silence", lambda seen: b"location: ok?key=" in seen.head),
    "auth": ("silence", lambda seen: seen.status == 401 and b"www-authenticate: basic realm" in seen.head),
    "auth:bearer": ("silence", lambda seen: seen.status == 401 and b"www-authenticate: bearer" in seen.head),
    "auth:digest": ("silence", lambda seen: seen.status == 401 and b'qop="auth"' in seen.head),
    "auth:hidden": ("silence", lambda seen: seen.status == 404 and b"www-authenticate" not in seen.head),
    "content_type:text/morse": ("silence", lambda seen: b"content-type: text/morse" in seen.head),
    "not_acceptable": ("silence", lambda seen: b"content-type: text/morse" in seen.head),
    "encoded": ("silence", lambda seen: gzip.decompress(seen.body) == b"0123456789" * 10_000),
    "encoded:deflate": ("silence", lambda seen: len(zlib.decompress(seen.body)) == 100_000),
    "encoded:raw_deflate": ("silence", lambda seen: len(zlib.decompress(seen.body, -15)) == 100_000),
    "encoded:gzip_twice": ("silence", lambda seen: len(gzip.decompress(gzip.decompress(seen.body))) == 100_000),
    "encoded:gzip_bad": ("silence", lambda seen: is_undecodable(seen)),
    "encoded:gzip_truncated": ("silence", lambda seen: is_cut_gzip(seen)),
    "encoded:gzip_trailing": ("silence", lambda seen: seen.body.endswith(b"garbage")),
    "encoded:mislabelled": ("silence", lambda seen: b"encoding: gzip" in seen.head and seen.body[:10] == b"0123456789"),
    "encoded:unknown": ("silence", lambda seen: b"content-encoding: seawall" in seen.head),
    "bomb:10000000": ("silence", lambda seen: len(seen.data) < 20_000 and bomb(seen) == 10_000_000),
    "extra": ("silence", lambda seen: seen.body.endswith(b"}garbage") and length(seen) == len(seen.body) - 7),
    "second_answer": ("silence", lambda seen: seen.data.count(HEAD) == 2 and seen.data.endswith(b'{"stray":true}')),
    "second_answer:0.02": ("silence", lambda seen: seen.data.count(HEAD) == 2 and seen.pieces >= 2),
    "body_on": ("silence", lambda seen: seen.status == 204 and seen.body == b"garbage"),
    "trailers": ("silence", lambda seen: seen.body.endswith(b"0\r\nx-checksum: 1\r\n\r\n")),
    "sse": ("silence", lambda seen: seen.body.count(b"data: event") == 3 and seen.body.endswith(b"0\r\n\r\n")),
    "cookies": ("silence", lambda seen: b"set-cookie: big=" + b"x" * 63 * 1024 in seen.head),
    "huge_header": ("silence", lambda seen: len(seen.head) > 1_000_000),
    "many_headers:1000": ("silence", lambda seen: seen.head.count(b"\r\n") > 1000),
    "idle": ("FIN", is_good),
    "idle:reset": ("RST", is_good),
    "idle:408": ("FIN", lambda seen: b"HTTP/1.1 408 " in seen.body),
    "idle:close:0.05": ("FIN", is_good),
    "keep_alive:0.05": ("FIN", lambda seen: b"keep-alive: timeout=0.05, max=100" in seen.head),
    "keep_alive:5:0": ("FIN", lambda seen: b"max=0" in seen.head),
    "lie": ("FIN", lambda seen: b"connection: keep-alive" in seen.head),
    "lie:close": ("silence", lambda seen: b"connection: close" in seen.head),
    "next": ("silence", is_good),
    "half_close": ("FIN", is_good),
    "shut_input": ("silence", is_good),
    "no_continue": ("silence", is_good),
    "refuse_continue": ("silence", is_good),
    "early": ("silence", lambda seen: seen.status == 413),
    "early:413:close": ("FIN", lambda seen: seen.status == 413 and b"connection: close" in seen.head),
    "early:400:reset": ("RST", lambda seen: seen.status == 400),
    **{
        f"malformed:{name}": ("FIN", lambda seen, data=data: seen.data == data) for name, (_, data) in MALFORMED.items()
    },
}
CASES |= {
    f"{kind}:{name}": ("FIN", lambda seen, data=data: seen.data == data)
    for kind, answers in {"odd": ODD, "malformed": MALFORMED}.items()
    for name, (_, data) in answers.items()
}


def length(seen: Seen) -> int:
    return int(re.search(rb"content-length: (\d+)", seen.head)[1])


def is_undecodable(seen: Seen) -> bool:
    with pytest.raises(zlib.error):
        zlib.decompressobj(31).decompress(seen.body)
    return True


def is_cut_gzip(seen: Seen) -> bool:
    unpacker = zlib.decompressobj(31)
    return length(seen) == len(seen.body) and 0 < len(unpacker.decompress(seen.body)) < 100_000 and not unpacker.eof


def bomb(seen: Seen) -> int:
    chunks = re.split(rb"\r\n", seen.body)  # compressed zeros have no CRLF in them here
    unpacker = zlib.decompressobj(31)
    return sum(len(unpacker.decompress(chunk)) for chunk in chunks[1::2])


def is_as_said(step: str, seen: Seen) -> bool:
    end, is_right = CASES[step]
    try:
        return seen.end == end and bool(is_right(seen))
    except (ValueError, TypeError, IndexError, OSError, EOFError, zlib.error):  # of a part of it
        return False


@pytest.fixture(scope="module")
def all_seen(server) -> dict[str, tuple[Seen, str]]:
    """Of each step; side by side, for silence takes its time. Busy machines are silent too: those are asked again."""

    def asked(step: str) -> None:
        for number, silence in enumerate((0.35, 2.0, 2.0, 10.0, 10.0)):
            key = f"{step} {number}"
            seen[step] = ask(server.port, f"/x/{step}?key={quote(key)}", silence=silence), key
            if is_as_said(step, seen[step][0]):
                break

    seen: dict[str, tuple[Seen, str]] = {}
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(asked, CASES))
    return seen


@pytest.mark.parametrize("step", CASES)
def test_step(server, all_seen, step):
    """The bytes it sends, and how the connection ends."""
    end, is_right = CASES[step]
    seen, key = all_seen[step]
    assert seen.end == end
    assert is_right(seen), seen
    (received,) = server.attempts(key)
    assert received.step == step


def test_each_step_has_a_test():
    """No step for requests is left out; those for connections are in test_ports."""
    tested = {part.partition(":")[0] for step in CASES for part in step.split("+")}
    tested |= {"info_endless", "endless_headers"} | COVERED
    names = {kind.name for kind in STEPS if kind.level == "reply" and "http/1.1" in kind.protocols}
    assert names - {"status"} <= tested


@pytest.mark.parametrize("step", ["info_endless:0", "endless_headers", "sse:0:0"])
def test_endless_step(server, step):
    """It goes on as long as one listens, and ends with the client."""
    seen = ask(server.port, f"/x/{step}", limit=300_000)
    assert len(seen.data) >= 300_000
    assert seen.end == "silence"  # we stopped


@pytest.mark.parametrize(
    ("form", "pattern", "at"),
    [
        ("d2", r"^\w{3}, \d{2} \w{3} \d{4} \d{2}:\d{2}:\d{2} GMT$", WALL + 2),
        ("d-5", r"^\w{3}, \d{2} \w{3} \d{4} \d{2}:\d{2}:\d{2} GMT$", WALL - 5),
        ("r2", r"^\w+day, \d{2}-\w{3}-\d{2} \d{2}:\d{2}:\d{2} GMT$", WALL + 2),
        ("a2", r"^\w{3} \w{3} [ \d]\d \d{2}:\d{2}:\d{2} \d{4}$", WALL + 2),
    ],
)
def test_dates_of_retry_after(server, form, pattern, at):
    """All three forms of RFC 9110 section 5.6.7, from the server's clock."""
    seen = ask(server.port, f"/x/503:{form}")
    text = re.search(r"retry-after: (.*)\r\n", seen.data.decode())[1]
    assert re.match(pattern, text)
    parsed = parsedate_to_datetime(text if "GMT" in text else text + " +0000")
    assert parsed.replace(tzinfo=None).isoformat() == time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at))


def test_body_that_is_never_read(server):
    """The client's writes stall, and when it goes the server notices."""
    with connect(server.port) as sock:
        sock.sendall(request("/x/hang:request?key=noread", method="POST", content_length="100000000"))
        sock.settimeout(0.2)
        with pytest.raises(TimeoutError):
            sock.sendall(b"x" * 100_000_000)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    assert wait(lambda: server.attempts("noread") and server.attempts("noread")[0].sha256)
    assert not server.attempts("noread")[0].is_complete


def test_body_that_is_read_slowly(server):
    """It comes whole in the end."""
    body = b"x" * 20_000
    started_at = time.monotonic()
    seen = ask(server.port, "/x/drip:request:0.01?key=slow", method="POST", body=body, silence=1)
    assert time.monotonic() - started_at >= 0.19 + 0.8  # by KiB, and the silence after it
    assert is_good(seen)
    assert server.attempts("slow")[0].sha256 == hashlib.sha256(body).hexdigest()


@pytest.mark.parametrize(("step", "ends"), [("reset:request", {"RST"}), ("close:request", {"FIN"})])
def test_strike_inside_the_request(server, step, ends):
    """Once the first bytes of its body are there."""
    with connect(server.port) as sock:
        sock.sendall(request(f"/x/{step}?key={step}", method="POST", content_length="100000"))
        assert see(sock).data == b""  # not before
        sock.sendall(b"x" * 100)
        assert see(sock).end in ends
    assert 1 <= server.attempts(step)[0].length <= 100
    assert not server.attempts(step)[0].is_complete


def test_early_answer_leaves_the_connection_usable(server):
    """413 before the body; the body is read, and the next request on the connection is answered."""
    with connect(server.port) as sock:
        sock.sendall(request("/x/early?key=early-1", method="POST", content_length="5"))
        assert see(sock).status == 413
        sock.sendall(b"12345" + request("/x/ok?key=early-2"))
        assert json.loads(see(sock).body)["key"] == "early-2"


def test_continue(server):
    """100 Continue is said to who asks, but not by no_continue, and refuse_continue says 417."""
    ask_first = {"method": "POST", "content_length": "2", "expect": "100-continue"}
    for step, first in {"ok": b"HTTP/1.1 100 Continue\r\n\r\n", "no_continue": b""}.items():
        with connect(server.port) as sock:
            sock.sendall(request(f"/x/{step}", **ask_first))
            assert see(sock).data == first
            sock.sendall(b"ok")
            assert is_good(see(sock))
    seen = ask(server.port, "/x/refuse_continue", **ask_first)
    assert (seen.status, seen.end) == (417, "FIN")


@pytest.mark.parametrize(
    ("fault", "end"), [("close", "FIN"), ("reset", "RST"), ("hang", "silence"), ("garbage", "FIN")]
)
def test_next_request(server, fault, end):
    """The first is answered, the second on the same connection gets the fault; other connections don't."""
    with connect(server.port) as sock:
        sock.sendall(request(f"/x/next:{fault}"))
        assert is_good(see(sock))
        sock.sendall(request("/x/ok"))
        seen = see(sock)
        assert (seen.end, seen.data) == (end, b"garbage\r\n\r\n" if fault == "garbage" else b"")
    assert is_good(ask(server.port, "/x/ok"))


def test_idle_waits_for_a_next_request(server):
    """A connection that is used again in time isn't idle."""
    with connect(server.port) as sock:
        sock.sendall(request("/x/idle:close:60"))
        assert is_good(see(sock))
        sock.sendall(request("/x/ok"))
        assert is_good(see(sock))


@pytest.mark.parametrize("step", ["half_close", "shut_input"])
def test_nothing_after_half_closing(server, step):
    """A further request gets no answer."""
    with connect(server.port) as sock:
        sock.sendall(request(f"/x/{step}"))
        assert is_good(see(sock))
        sock.sendall(request("/x/ok"))
        assert see(sock).data == b""


def test_rate_and_limit(server):
    """429 and a Retry-After beyond the rate; 503 beyond so many at a time."""
    statuses = [ask(server.port, "/x/rate:2:60?key=rate").status for _ in range(4)]
    assert statuses == [200, 200, 429, 429]
    with connect(server.port) as first:
        first.sendall(request("/x/limit:1:60?key=limit"))
        assert wait(lambda: server.attempts("limit"))
        assert ask(server.port, "/x/limit:1:60?key=limit").status == 503


def test_credentials(server):
    """With them the answer is good; digest as RFC 7616 computes it."""
    basic = "Basic " + base64.b64encode(b"user:passwd").decode()
    assert is_good(ask(server.port, "/x/auth", authorization=basic))
    assert is_good(ask(server.port, "/x/auth:hidden", authorization=basic))
    assert is_good(ask(server.port, "/x/auth:bearer", authorization="Bearer t"))
    assert ask(server.port, "/x/auth", authorization="Basic bm9wZQ==").status == 401
    target = "/x/auth:digest"
    nonce = re.search(rb'nonce="(\w+)"', ask(server.port, target).head)[1].decode()
    fields = {
        "username": "user",
        "realm": "faults",
        "nonce": nonce,
        "uri": target,
        "nc": "1",
        "cnonce": "c",
        "qop": "auth",
    }

    def md5(text: str) -> str:
        return hashlib.md5(text.encode()).hexdigest()

    good = md5(f"{md5('user:faults:passwd')}:{nonce}:1:c:auth:{md5(f'GET:{target}')}")
    for response, status in {good: 200, md5("wrong"): 401}.items():
        given = ", ".join(f'{name}="{value}"' for name, value in {**fields, "response": response}.items())
        assert ask(server.port, target, authorization=f"Digest {given}").status == status


def test_not_acceptable(server):
    """The first type that Accept doesn't allow."""
    seen = ask(server.port, "/x/not_acceptable", accept="text/*;q=0.5, application/xml")
    assert b"content-type: application/json" in seen.head
    seen = ask(server.port, "/x/not_acceptable", accept="text/*, application/json")
    assert b"content-type: morse/code" in seen.head


def test_body_after_the_answer_to_head(server):
    """HEAD has none, but by body_on."""
    assert ask(server.port, "/x/ok", method="HEAD").body == b""
    assert ask(server.port, "/x/body_on:200", method="HEAD").body == b"garbage"


def test_script_by_key(server):
    """The n-th request gets the n-th step, the last repeats; each is recorded as it came."""
    url = server.script("order", "503:1,close", "ok")
    target = url.removeprefix(server.url)
    bodies = [b"first", b"second", b"third", b"fourth"]
    ends = [ask(server.port, target, method="POST", body=body, x_tag="1").end for body in bodies]
    assert ends == ["silence", "FIN", "silence", "silence"]
    received = server.attempts("order")
    assert [each.step for each in received] == ["503:1", "close", "ok", "ok"]
    assert [each.number for each in received] == [1, 2, 3, 4]
    assert [each.sha256 for each in received] == [hashlib.sha256(body).hexdigest() for body in bodies]
    assert [(each.length, each.is_complete, each.method) for each in received] == [
        (len(b), True, "POST") for b in bodies
    ]
    assert ("x-tag", "1") in received[0].headers
    assert len({each.connection for each in received}) == 4
    assert [each.request for each in received] == [1] * 4
    assert received == sorted(received, key=lambda each: each.at)


def test_requests_on_one_connection_are_numbered(server):
    """Connection and request on it."""
    with connect(server.port) as sock:
        for _ in range(3):
            sock.sendall(request("/x/ok?key=kept"))
            assert is_good(see(sock))
    received = server.attempts("kept")
    assert [each.request for each in received] == [1, 2, 3]
    assert len({each.connection for each in received}) == 1


def test_chunked_and_pipelined_requests(server):
    """A body in chunks is read whole, and what comes after it is the next request."""
    chunked = request("/x/ok?key=chunked", method="POST", transfer_encoding="chunked")
    with connect(server.port) as sock:
        sock.sendall(chunked + b"3;ext=1\r\nabc\r\n2\r\nde\r\n0\r\nx: y\r\n\r\n" + request("/x/ok?key=after"))
        assert see(sock).data.count(HEAD) == 2
    assert server.attempts("chunked")[0].sha256 == hashlib.sha256(b"abcde").hexdigest()
    assert server.attempts("after")


def test_connection_close_is_respected(server):
    """FIN after the answer, for HTTP/1.0 too."""
    assert ask(server.port, "/x/ok", connection="close").end == "FIN"
    with connect(server.port) as sock:
        sock.sendall(b"GET /x/ok HTTP/1.0\r\n\r\n")
        assert see(sock).end == "FIN"


def test_client_that_leaves_ends_its_step(server):
    """Of FIN and RST alike: nothing stays open."""
    for how in ("FIN", "RST"):
        sock = connect(server.port)
        sock.sendall(request(f"/x/hang?key=left-{how}"))
        assert wait(lambda how=how: server.attempts(f"left-{how}"))
        if how == "RST":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        sock.close()
    assert wait(lambda: server.ports["http"].open == 0)


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"POST /x/ok HTTP/1.1\r\ncontent-length: abc\r\n\r\n", 400),
        (b"POST /x/ok HTTP/1.1\r\ncontent-length: 999999999999\r\n\r\n", 413),
        (b"POST /x/ok HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n-3\r\n", 400),
        (b"POST /x/ok HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nffffffff\r\n", 413),
        (b"POST /ctl/script?key=k HTTP/1.1\r\ncontent-length: 2\r\n\r\n\xff\xfe", 400),
        (b"GET http://[ HTTP/1.1\r\n\r\n", 400),
        (b"GET /x/503:%E6%97%A5 HTTP/1.1\r\n\r\n", 400),
        (b"GET /x/503:a%0d%0ab HTTP/1.1\r\n\r\n", 400),
        (b"GET /x/huge_header:3000000000 HTTP/1.1\r\n\r\n", 400),
        (b"\r\n\r\nGET /x/ok HTTP/1.1\r\n\r\n", 200),
    ],
)
def test_requests_that_cannot_be(data, status):
    """Are refused, and are no failure of the test."""
    with FaultServer() as server, connect(server.port) as sock:
        sock.sendall(data)
        assert see(sock).status == status


def test_answers_are_not_followed_by_an_invitation(server):
    """After a final answer nobody says 100 Continue, and the body that was not asked for ends the connection."""
    seen = ask(server.port, "/x/early", method="POST", expect="100-continue", content_length="5")
    assert (seen.status, seen.end, b" 100 " in seen.data) == (413, "FIN", False)


@pytest.mark.parametrize("step", ["ok:20", "sse", "bomb", "trailers", "drip:body:0:5"])
def test_answer_to_head_has_no_body(server, step):
    """But by body_on."""
    assert ask(server.port, f"/x/{step}", method="HEAD").body == b""


def test_chunked_in_capitals(server):
    """Codings are case-insensitive."""
    chunked = request("/x/ok?key=capitals", method="POST", transfer_encoding="Chunked")
    with connect(server.port) as sock:
        sock.sendall(chunked + b"3\r\nabc\r\n0\r\n\r\n" + request("/x/ok"))
        assert see(sock).data.count(HEAD) == 2
    assert server.attempts("capitals")[0].length == 3


def test_key_is_quoted_in_redirects(server):
    """Whatever it holds."""
    seen = ask(server.port, "/x/redirect?key=a%26b%0d%0ac%E6%97%A5")
    assert b"location: /x/redirect:0?key=a%26b%0d%0ac%e6%97%a5\r\n" in seen.head


def test_redirects_keep_what_stands_before_them(server):
    """Each of them is late, or whatever else the step says, not only the first."""
    seen = ask(server.port, "/x/delay:0.01+redirect:2:307")
    assert b"location: /x/delay:0.01+redirect:1:307?key=" in seen.head
    assert is_good(ask(server.port, "/x/delay:0.01+redirect:0:307"))


def test_many_interim_answers_leave_others_alone(server):
    """They take turns with other connections, and end with their client."""
    with connect(server.port) as sock:
        sock.sendall(request("/x/info:103:100000000"))
        assert sock.recv(10)
        assert is_good(ask(server.port, "/x/ok"))
    assert wait(lambda: server.ports["http"].open == 0)


def wait(is_so, *, timeout: float = 60.0):
    """Until something is so in the server's thread."""
    ends_at = time.monotonic() + timeout
    while not (value := is_so()):
        if time.monotonic() > ends_at:
            return value
        time.sleep(0.002)
    return value
