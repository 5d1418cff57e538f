"""Server-sent events are the same in whatever pieces they come, and those that the standard's words make of them."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from seawall.fetch.server_sent import Parser, ServerSentEvent

BOM = "\ufeff".encode()
WORDS = [b"data", b"event", b"id", b"retry", b":", b" ", b"\n", b"\r", b"\r\n", b"\n\n", b"1", b"\0", BOM, b"\xc3\xa9"]
PARTS = st.lists(st.sampled_from(WORDS) | st.binary(max_size=2), max_size=40).map(b"".join)
STREAMS = st.builds(bytes.__add__, st.sampled_from([b"", BOM]), PARTS)


def reference(stream: bytes) -> tuple[list[ServerSentEvent], str]:
    """The standard's algorithm over a whole stream."""
    *lines, _ = re.split("\r\n|\n|\r", stream.decode("utf-8", "replace").removeprefix("\ufeff"))
    events, values, kind, retry, last_id, sent_id = [], [], "", None, "", ""
    for line in lines:
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            sent_id = last_id
            if values:
                events.append(ServerSentEvent(kind or "message", "\n".join(values), last_id, retry))
            values, kind, retry = [], "", None
        elif field == "data":
            values.append(value)
        elif field == "event":
            kind = value
        elif field == "id" and "\0" not in value:
            last_id = value
        elif field == "retry" and value.isascii() and value.isdigit():
            retry = int(value)
    return events, sent_id


@settings(max_examples=1000)
@given(STREAMS, st.data())
def test_pieces(stream, draw):
    """Split anywhere, and everywhere."""
    cuts = sorted(draw.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    for points in (cuts, range(len(stream))):
        parser = Parser(max_size=1000)
        pieces = [stream[start:stop] for start, stop in zip([0, *points], [*points, len(stream)], strict=True)]
        events = [event for piece in pieces for event in parser.feed(piece)]
        assert (events, parser.last_id) == reference(stream)
