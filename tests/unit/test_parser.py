"""An answer as its bytes come: whole, byte by byte, in any pieces; and what hostile servers send."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seawall.errors import BadAnswer, ConnectionLost, ResponseTooLarge
from seawall.testing.steps import MALFORMED, ODD
from seawall.wire.http1 import parser as module
from seawall.wire.http1.parser import Parser
from seawall.wire.http1.plain import MAX_PLAIN, plain_head
from seawall.wire.http1.response import NOTHING, Response
from seawall.wire.limits import MAX_GAP, MAX_HEAD, MAX_HEADERS, MAX_INTERIM

OK = b"HTTP/1.1 200 OK\r\n"
PLAIN = OK + b"content-length: 5\r\nkeep-alive: timeout=7, max=3\r\n\r\nhello"
CHUNKED = OK + b"transfer-encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n3\r\nyou\r\n0\r\nx-trailer: 1\r\n\r\n"
INTERIM = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"
USUAL = (
    b"HTTP/1.1 404 Not Found\r\nServer: nginx\r\nDate: Sat, 28 Nov 2026 02:14:32 GMT\r\nConnection: keep-alive\r\n"
    b"Content-Length: 5\r\nSet-Cookie: a=b\r\nSet-Cookie: c=d; Path=/\r\n\r\nhello"
)
ANSWERS = {
    "usual": USUAL,
    "usual, extra": USUAL + b"garbage",
    "usual, twice": USUAL + USUAL,
    "usual, cut": USUAL[:-2],
    "usual, long": USUAL.replace(b": 5", b": 70000")[:-5] + bytes(70000),
    "plain": PLAIN,
    "chunked": CHUNKED,
    "interim": INTERIM + PLAIN,
    "no content": b"HTTP/1.1 204 No Content\r\n\r\n",
    "closed": OK + b"connection: close\r\ncontent-length: 2\r\n\r\nok",
    "extra": PLAIN + b"garbage",
    "second": PLAIN + PLAIN,
    "cut": PLAIN[:-2],
    "space first": OK + b" content-length: 5\r\n\r\nhello",
    **{f"odd {name}": data for name, (_, data) in ODD.items()},
    **{f"malformed {name}": data for name, (_, data) in MALFORMED.items()},
}


def begun(method: bytes = b"GET", *, asks_upgrade: bool = False) -> tuple[Parser, Response]:
    """A new connection's parser, and its first answer."""
    parser = Parser()
    return parser, parser.begin(method, asks_upgrade=asks_upgrade)


def seen(pieces: list[bytes], method: bytes = b"GET") -> tuple[object, ...]:
    """All that an exchange would see of it, fed in these pieces and then ended."""
    parser, answer = begun(method)
    body = b""
    for piece in pieces:
        parser.feed(piece)
        body += answer.take() if answer.has_head and answer.failure is None else b""
    parser.end(None)
    body += answer.take()
    if answer.failure is not None:
        return ("failed", answer.failure[0], answer.has_head)
    head = answer
    facts = (answer.is_complete, answer.is_kept, answer.is_spoilt, answer.is_continued, answer.keep_for)
    return (head.status, head.reason, head.version, head.raw, body, *facts)


@pytest.mark.parametrize("name", ANSWERS)
def test_pieces_make_no_difference(name):
    """Whole, or byte by byte."""
    data = ANSWERS[name]
    assert seen([data]) == seen([data[i : i + 1] for i in range(len(data))])


@given(st.sampled_from(sorted(ANSWERS)), st.lists(st.integers(1, 200), max_size=6))
def test_random_pieces_make_no_difference(name, cuts):
    """Cut anywhere."""
    data = ANSWERS[name]
    places = sorted({0, *(cut % (len(data) + 1) for cut in cuts), len(data)})
    assert seen([data[a:b] for a, b in pairwise(places)]) == seen([data])


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"CONNECT"])
@pytest.mark.parametrize("name", ANSWERS)
@given(cuts=st.sets(st.integers(1, 150)))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_body_that_passes_llhttp_by_makes_no_difference(name, method, cuts, monkeypatch):
    """llhttp sees the same."""
    data = ANSWERS[name]
    ends = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]
    pieces = [data[begin:end] for begin, end in pairwise(ends)]
    found = seen(pieces, method)
    with monkeypatch.context() as patched:
        patched.setattr(module, "plain_head", lambda data: None)
        assert found == seen(pieces, method)


@pytest.mark.parametrize(("more", "is_spoilt"), [(b"", False), (b"x", True)])
def test_large_body(more, is_spoilt):
    """It comes whole and uncopied, whatever its pieces are, and the connection's next response is parsed as ever."""
    size = 3 << 16
    body = bytes(range(256)) * (size // 256)
    parser, response = begun()
    parser.feed(OK + b"content-length: %d\r\n\r\n" % size + body[:100])
    parser.feed(piece := body[100:-1])
    assert response.parts[1] is piece
    assert not response.is_complete
    parser.feed(body[-1:] + more)
    assert (response.is_complete, response.is_spoilt, response.take() == body) == (True, is_spoilt, True)
    second = parser.begin(b"GET")
    parser.feed(PLAIN)
    assert (second.is_complete, second.take()) == (True, b"hello")


@pytest.mark.parametrize("size", [0, 5, 3 << 16])
def test_a_length_may_have_any_number_of_zeros(size):
    """llhttp counts them as nothing, where int() refuses more than 4,300 digits with a ValueError of its own."""
    parser, response = begun()
    parser.feed(OK + b"content-length: %b%d\r\n\r\n" % (b"0" * 5000, size) + bytes(size))
    assert (response.is_complete, response.failure, len(response.take())) == (True, None, size)


def test_a_large_body_that_is_cut_is_an_error():
    """The length says so, and llhttp isn't there to."""
    parser, response = begun()
    parser.feed(OK + b"content-length: %d\r\n\r\n" % (3 << 16))
    parser.feed(bytes(2 << 16))
    parser.end(None)
    assert response.failure is not None
    assert response.failure[0] is BadAnswer


def test_what_a_plain_answer_says():
    """Status, reason, headers, body; the connection is kept, for as long as the server says."""
    headers = [(b"content-length", b"5"), (b"keep-alive", b"timeout=7, max=3")]
    assert seen([PLAIN]) == (200, b"OK", b"HTTP/1.1", headers, b"hello", True, True, False, False, 7.0)
    assert seen([CHUNKED])[4] == b"helloyou"
    assert seen([INTERIM + PLAIN])[8] is True


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_is_an_error(name):
    """None is guessed at; each is the server's fault."""
    assert seen([MALFORMED[name][1]])[:2] == ("failed", BadAnswer)


REFUSED = {"lengths_equal"}  # as aiohttp does


@pytest.mark.parametrize("name", ODD)
def test_odd_is_taken(name):
    """Like httpx and aiohttp, but for two lengths that are the same."""
    if name in REFUSED:
        assert seen([ODD[name][1]])[0] == "failed"
    else:
        assert seen([ODD[name][1]])[0] in (200, 299, 304)


def test_end_of_headers_ends_the_answer_to_head():
    """Whatever length they say; a body all the same spoils the connection."""
    head = OK + b"content-length: 5\r\n\r\n"
    assert seen([head], b"HEAD")[4:7] == (b"", True, True)
    assert seen([head, b"hello"], b"HEAD")[4:7] == (b"", True, True)
    for pieces in ([head + b"hello"], [head, b"hello"]):
        parser, answer = begun(b"HEAD")
        for piece in pieces:
            parser.feed(piece)
        assert (answer.is_complete, answer.is_spoilt) == (True, True)


@pytest.mark.parametrize("data", [b"SSH-2.0-x\r\n", b"RTSP/1.0 200 OK\r\n", b"X", b"HTTX"])
def test_what_is_not_http_is_an_error_at_once(data):
    """Nobody waits for its end."""
    parser, answer = begun()
    parser.feed(data)
    assert (answer.failure, answer.has_head) == (
        (BadAnswer, "what came isn't HTTP; does another kind of server listen there?"),
        False,
    )


def test_second_status_line_is_an_error():
    """However it arrives."""
    assert seen([OK, PLAIN]) == seen([OK + PLAIN])
    assert seen([OK + PLAIN])[:2] == ("failed", BadAnswer)


def test_space_before_the_first_header_is_an_error():
    """It would be glued to the status line by some, and be a header for others."""
    assert seen([ANSWERS["space first"]])[:2] == ("failed", BadAnswer)


@pytest.mark.parametrize(
    ("status", "method", "is_bodiless"),
    [(204, b"GET", True), (304, b"GET", True), (200, b"HEAD", True), (303, b"GET", False), (200, b"GET", False)],
)
def test_answers_without_a_body(status, method, is_bodiless):
    """Those that have none by the rules are known, because a server that breaks them sends it late."""
    parser, answer = begun(method)
    parser.feed(b"HTTP/1.1 %d X\r\n%b\r\n" % (status, b"" if status in (204, 304) else b"content-length: 0\r\n"))
    assert (answer.is_complete, answer.is_bodiless) == (True, is_bodiless)


@pytest.mark.parametrize(("version", "is_kept"), [(b"1.1", True), (b"1.0", False)])
def test_chunks_of_http10_end_the_connection(version, is_kept):
    """Whatever it says of keep-alive: its framing is not to be trusted (RFC 9112 section 6.1)."""
    data = CHUNKED.replace(b"HTTP/1.1", b"HTTP/" + version).replace(b"OK\r\n", b"OK\r\nconnection: keep-alive\r\n")
    assert seen([data])[4:7] == (b"helloyou", True, is_kept)


def test_keep_alive_max_0_is_the_last():
    """The server says that it closes."""
    assert seen([OK + b"content-length: 0\r\nkeep-alive: timeout=5, max=0\r\n\r\n"])[6] is False


def test_end_of_a_connection():
    """Ends a body without a length; cuts any other; says so when nothing came; a reset is a reset."""
    assert seen([OK + b"\r\nwhat"])[4:7] == (b"what", True, False)
    for data, words in {
        b"": "without sending a response",
        OK: "without sending a response",
        PLAIN[:-1]: "without sending complete",
    }.items():
        parser, answer = begun()
        parser.feed(data) if data else None
        parser.end(None)
        assert answer.failure[0] is BadAnswer
        assert words in answer.failure[1]
    for data in (b"", OK + b"\r\nwhat"):
        parser, answer = begun()
        parser.feed(data) if data else None
        parser.end(ConnectionResetError("reset"))
        assert answer.failure == (ConnectionLost, "reset")


def endless(name: str) -> tuple[bytes, bytes]:
    """How it begins, and what then comes for ever."""
    return {
        "header": (OK, b"x" * 1000),
        "headers": (OK, b"x-a: b\r\n" * 100),
        "value": (OK + b"x: ", b"x" * 1000),
        "interim": (b"", b"HTTP/1.1 103 X\r\n\r\n"),
        "extension": (OK + b"transfer-encoding: chunked\r\n\r\n1;", b"x" * 1000),
        "trailers": (OK + b"transfer-encoding: chunked\r\n\r\n0\r\n", b"x: y\r\n" * 100),
        "reason": (b"HTTP/1.1 200 ", b"x" * 1000),
    }[name]


@pytest.mark.parametrize("name", ["header", "headers", "value", "interim", "extension", "trailers", "reason"])
def test_endless_answers_are_bounded(name):
    """Each ends in an error before it takes much memory."""
    begin, more = endless(name)
    parser, answer = begun()
    parser.feed(begin) if begin else None
    size = 0
    while answer.failure is None:
        parser.feed(more)
        size += len(more)
        assert size < 2 * MAX_HEAD
    assert answer.failure[0] is (BadAnswer if name == "interim" else ResponseTooLarge)


def test_bounds_are_those_that_are_said():
    """What is just within them is good."""
    for data in (
        OK + b"x: " + b"x" * (MAX_HEAD - 100) + b"\r\ncontent-length: 0\r\n\r\n",
        OK + b"x: y\r\n" * (MAX_HEADERS - 1) + b"content-length: 0\r\n\r\n",
        b"HTTP/1.1 103 X\r\n\r\n" * MAX_INTERIM + PLAIN,
        OK + b"transfer-encoding: chunked\r\n\r\n1;" + b"x" * (MAX_GAP - 100) + b"\r\nx\r\n0\r\n\r\n",
    ):
        assert seen([data])[0] == 200
    assert seen([OK + b"x: y\r\n" * MAX_HEADERS + b"content-length: 0\r\n\r\n"])[0] == "failed"


@pytest.mark.parametrize("more", [0, 1])
def test_head_that_comes_in_one_piece_is_bounded_too(more):
    """The bytes of names and values count, with four a header for what is between them."""
    rest = MAX_HEAD - len(b"content-length: 0\r\n") - len(b"x: \r\n") - len(b"y: \r\n")
    data = OK + b"x: " + b"x" * (rest // 2) + b"\r\ny: " + b"y" * (rest - rest // 2 + more) + b"\r\n"
    assert (seen([data + b"content-length: 0\r\n\r\n"])[:2] == ("failed", ResponseTooLarge)) is bool(more)


def test_upgrade():
    """101 that was asked for hands over what follows; one that wasn't is an error. CONNECT likewise."""
    data = b"HTTP/1.1 101 X\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nframes"
    parser, answer = begun(asks_upgrade=True)
    parser.feed(data)
    assert (answer.is_upgraded, answer.has_head, answer.rest) == (True, True, b"frames")
    assert seen([data])[0] == "failed"
    for status in (200, 299):
        parser, answer = begun(b"CONNECT")
        parser.feed(b"HTTP/1.1 %d X\r\n\r\nhello" % status)
        assert (answer.is_upgraded, answer.rest) == (True, b"hello")


@pytest.mark.parametrize("header", [b"content-length : 1000", b"transfer-encoding : chunked", b"content-length\t: 5"])
def test_space_before_a_colon_is_an_error(header):
    """llhttp takes it for framing, which we would not see."""
    assert seen([OK + header + b"\r\n\r\n5\r\nhello"])[:2] == ("failed", BadAnswer)


def test_interim_answer_with_a_body_is_an_error():
    """It would be glued to the answer's."""
    assert seen([b"HTTP/1.1 199 X\r\ncontent-length: 5\r\n\r\nEARLY" + PLAIN])[:2] == ("failed", BadAnswer)


@pytest.mark.parametrize("interim", [b"", b"HTTP/1.1 103 X\r\n\r\n"])
@pytest.mark.parametrize("header", [b"", b"content-length: 0\r\n", b"transfer-encoding: chunked\r\n"])
def test_tunnel_begins_after_the_head(interim, header):
    """Whatever lengths the answer to CONNECT says, in one piece or byte by byte."""
    data = interim + OK + header + b"\r\nSSH-2.0-x"
    for pieces in ([data], [data[i : i + 1] for i in range(len(data))]):
        (parser, answer), rest = begun(b"CONNECT"), b""
        for piece in pieces:
            if answer.is_upgraded:
                rest += piece
            else:
                parser.feed(piece)
        assert (answer.is_upgraded, answer.failure, answer.rest + rest) == (True, None, b"SSH-2.0-x")


def test_interim_answer_that_says_close_does_not_end_the_answer():
    """It is about itself; the final one says whether the connection is kept."""
    data = b"HTTP/1.1 103 X\r\nconnection: close\r\n\r\n" + PLAIN
    assert seen([data]) == seen([PLAIN])


def test_connect_that_is_refused_has_a_body():
    """As any other answer, in one piece or byte by byte; the connection is kept."""
    data = b"HTTP/1.1 407 X\r\ncontent-length: 5\r\n\r\nsorry"
    whole = seen([data], b"CONNECT")
    assert whole == seen([data[i : i + 1] for i in range(len(data))], b"CONNECT")
    assert (whole[0], whole[4:7]) == (407, (b"sorry", True, True))


@pytest.mark.parametrize(
    "first", [PLAIN, CHUNKED, INTERIM + PLAIN, b"HTTP/1.1 204 X\r\n\r\n", OK + b"content-length: 9\r\n\r\n"]
)
def test_parser_is_used_again(first):
    """What came before makes no difference to the next answer."""
    parser, answer = begun(b"HEAD" if b"content-length: 9" in first else b"GET")
    parser.feed(first)
    assert answer.is_complete
    for method in (b"GET", b"HEAD", b"GET"):
        parser.response = NOTHING
        answer = parser.begin(method)
        parser.feed(PLAIN if method == b"GET" else OK + b"content-length: 5\r\n\r\n")
        assert (answer.is_complete, answer.is_spoilt, answer.failure) == (True, False, None)
        assert answer.take() == (b"hello" if method == b"GET" else b"")


# A head that passes llhttp by


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.0 200 OK\r\nContent-Length: 5",
        b"HTTP/1.1 100 Continue\r\nContent-Length: 5",
        b"HTTP/1.1 204 No Content\r\nContent-Length: 0",
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5",
        b"HTTP/1.1  200 OK\r\nContent-Length: 5",
        b"HTTP/1.1 200 O\tK\r\nContent-Length: 5",
        b"HTTP/1.1 200 OK",
        b"HTTP/1.1 200 OK\r\nServer: a",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\ncontent-length: 6",
        b"HTTP/1.1 200 OK\r\nContent-Length: +5",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5, 5",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1234567890123456",
        b"HTTP/1.1 200 OK\r\nContent-Length : 5",
        b"HTTP/1.1 200 OK\r\nContent-Length:\t5",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nKeep-Alive: timeout=5",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nUpgrade: x",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nx: ",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nx: a ",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nx: a\r\n b",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nx: a\nb: c",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nx: a\rb",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nx: \0",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nx: \xe9",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n: a",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nx" + b"y" * MAX_PLAIN + b": a",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5" + b"\r\nx: a" * MAX_HEADERS,
        b" HTTP/1.1 200 OK\r\nContent-Length: 5",
        b"RTSP/1.0 200 OK\r\nContent-Length: 5",
    ],
)
def test_what_is_not_plain_is_llhttps(head):
    """Wherever two readers could differ, or more is to be known than a length."""
    assert plain_head(head + b"\r\n\r\nhello") is None


def test_plain_head():
    """Each line as it came; what isn't all there isn't plain yet."""
    headers = [(b"Server", b"server", b"nginx"), (b"Content-Length", b"content-length", b"5")]
    data = b"HTTP/1.1 404 Not Found\r\nServer: nginx\r\nContent-Length: 5\r\n\r\nhello"
    assert plain_head(data) == (404, b"Not Found", headers, 5, len(data) - 5)
    assert all(plain_head(data[:end]) is None for end in range(len(data) - 5))


NAMES = st.sampled_from(
    [b"Content-Length", b"X", b"Set-Cookie", b"connection", b"Transfer-Encoding", b"x-#!$%&'*+.^_`|~"]
)
VALUES = st.sampled_from([b"5", b"keep-alive", b"chunked", b"close", b""]) | st.binary(max_size=6)
LINES = st.lists(st.tuples(NAMES, st.sampled_from([b": ", b":", b" : ", b":  ", b":\t"]), VALUES), max_size=4)


@given(
    first=st.sampled_from([b"HTTP/1.1 200 OK", b"HTTP/1.1 503 ", b"HTTP/1.1 200"]) | st.binary(max_size=16),
    lines=LINES,
    length=st.integers(0, 9),
    body=st.binary(max_size=9),
)
@settings(max_examples=1500, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_generated_heads_are_what_they_are_for_llhttp(first, lines, length, body, monkeypatch):
    """The same status, headers, body and end, or an error as well."""
    block = b"".join(b"%b%b%b\r\n" % line for line in lines)
    data = b"%b\r\n%bContent-Length: %d\r\n\r\n%b" % (first, block, length, body)
    found = seen([data])
    with monkeypatch.context() as patched:
        patched.setattr(module, "plain_head", lambda data: None)
        assert found == seen([data])
