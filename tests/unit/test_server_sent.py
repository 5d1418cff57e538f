"""The parser of server-sent events: the examples of the WHATWG HTML standard, section 9.2, and beyond."""

from __future__ import annotations

import pytest

from seawall.fetch.server_sent import Parser, ServerSentEvent, TooLarge


def parsed(*pieces: bytes, max_size: int = 100) -> list[ServerSentEvent]:
    parser = Parser(max_size=max_size)
    return [event for piece in pieces for event in parser.feed(piece)]


def data(*values: str) -> list[ServerSentEvent]:
    return [ServerSentEvent(data=value) for value in values]


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        # The standard's own
        (b"data: YHOO\ndata: +2\ndata: 10\n\n", data("YHOO\n+2\n10")),
        (
            b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n",
            [ServerSentEvent(data="first event", id="1"), *data("second event", " third event")],
        ),
        (b"data\n\ndata\ndata\n\ndata:", data("", "\n")),
        (b"data:test\n\ndata: test\n\n", data("test", "test")),
        (b"event: add\ndata: 73857293\n\n", [ServerSentEvent("add", "73857293")]),
        # Ends of lines
        (b"data: a\r\ndata: b\rdata: c\n\r\n", data("a\nb\nc")),
        (b"data: a\r\rdata: b\n\ndata: c\r\n\r\n", data("a", "b", "c")),
        (b"data: a\n\r", data("a")),
        # UTF-8
        (b"\xef\xbb\xbfdata: a\n\n", data("a")),
        (b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\n", []),
        ("data: é\N{SNOWMAN}\n\n".encode(), data("é\N{SNOWMAN}")),
        (b"data: \xff\xc3\n\n", data("\ufffd\ufffd")),
        ("data: a\x85b\u2028c\n\n".encode(), data("a\x85b\u2028c")),
        # Fields
        (b"id: 7\ndata: a\n\ndata: b\n\n", [ServerSentEvent(data="a", id="7"), ServerSentEvent(data="b", id="7")]),
        (b"id: 7\nid: 8\x009\ndata: a\n\n", [ServerSentEvent(data="a", id="7")]),
        *(
            (b"id: 7\ndata: a\n\nid: 8%c9\ndata: b\n\n" % each, [ServerSentEvent(data=data, id="7") for data in "ab"])
            for each in (0, 1, 0x1B, 0x1F, 0x7F)
        ),
        ("id: é\t\x85\ndata: a\n\n".encode(), [ServerSentEvent(data="a", id="é\t\x85")]),
        (b"retry: 250\ndata: a\n\ndata: b\n\n", [ServerSentEvent(data="a", retry=250), *data("b")]),
        (b"retry: 1.5\nretry: -1\nretry:\nretry: \xd9\xa1\ndata: a\n\n", data("a")),
        (b"Data: a\n data: b\ndata : c\nnone: d\n\n", []),
        (b"event: a\nevent:\ndata: b\n\n", data("b")),
        # No event
        (b"event: a\nid: 1\n\ndata: b\n\n", [ServerSentEvent(data="b", id="1")]),
        (b"\n\n:\n\n: data: a\n\n", []),
        (b"data: a\n", []),
        (b"data: a", []),
        (b"", []),
    ],
)
def test_events(stream, events):
    """In one piece and byte by byte."""
    assert parsed(stream) == events
    assert parsed(*(stream[at : at + 1] for at in range(len(stream)))) == events


def test_an_event_is_there_at_its_last_byte():
    """A carriage return ends a line at once, because no line feed may follow for minutes."""
    parser = Parser(max_size=100)
    assert list(parser.feed(b"data: a\r\r")) == data("a")
    assert list(parser.feed(b"\ndata: b\n\r")) == data("b")
    assert list(parser.feed(b"\n")) == []


def test_the_id_to_go_on_from():
    """Of the last event that was complete, with data or without; the one before the stream until then."""
    parser = Parser(max_size=100, last_id="0")
    assert list(parser.feed(b"id: 1\ndata: a\n")) == []
    assert parser.last_id == "0"
    assert list(parser.feed(b"\nid: 2\n\nid: 3\n")) == [ServerSentEvent(data="a", id="1")]
    assert parser.last_id == "2"
    assert list(parser.feed(b"id\n\n")) == []
    assert parser.last_id == ""


def test_retry_counts_at_once():
    """The reconnection time changes with its line, as the standard has it, though the event never ends."""
    parser = Parser(max_size=100)
    assert list(parser.feed(b"retry: 250\n")) == []
    assert parser.retry == 250
    assert list(parser.feed(b"retry: " + b"9" * 60 + b"\n")) == []
    assert parser.retry == 10**15 - 1


@pytest.mark.parametrize(
    "stream", [b"data: " + b"x" * 95, b"data: x\n" * 13, b":" + b"x" * 100, b"id: 1\n" + b"event: " + b"x" * 94]
)
def test_too_large(stream):
    """A line without end, lines without end, and a comment: it stops at the limit."""
    assert parsed(stream[:100]) == []
    with pytest.raises(TooLarge):
        parsed(*(stream[at : at + 1] for at in range(len(stream))))


def test_no_limit_to_a_stream():
    """Only an event has one."""
    assert parsed(b"data: " + b"x" * 90 + b"\n\n", *[b": x\n\ndata: y\n\n"] * 100) == data("x" * 90, *"y" * 100)


def test_json():
    """An event's data, as httpx-sse's class has it."""
    assert ServerSentEvent(data='{"a": [1]}').json() == {"a": [1]}
