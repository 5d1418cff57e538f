"""HTTP/2's frames beside hyperframe's."""

from __future__ import annotations

import pytest
from hyperframe import exceptions
from hyperframe.frame import DataFrame, Frame, HeadersFrame, RstStreamFrame, SettingsFrame, WindowUpdateFrame
from hypothesis import given
from hypothesis import strategies as st

from seawall.wire.http2 import frames
from seawall.wire.http2.frames import HEADER, MAX_NUMBER, Code, Setting, Violation

NUMBERS = st.integers(0, MAX_NUMBER)
BODIES = st.binary(max_size=30)


@given(st.integers(0, 255), st.integers(0, 255), NUMBERS, BODIES)
def test_frame_is_what_hyperframe_reads(kind, flags, number, payload):
    """Length, type, flags and stream; and read by us again (RFC 9113 section 4.1)."""
    data = frames.frame(kind, flags, number, payload)
    first, read_flags, read_number = HEADER.unpack_from(data)
    assert (first >> 8, first & 0xFF, read_flags, read_number) == (len(payload), kind, flags, number)
    assert data[HEADER.size :] == payload
    try:
        theirs, size = Frame.parse_frame_header(memoryview(data[:9]))
    except (exceptions.InvalidDataError, exceptions.InvalidFrameError):  # on stream 0, or on another
        return
    assert (size, theirs.stream_id) == (len(payload), number)
    assert theirs.type in (kind, None)


@given(BODIES, st.none() | st.integers(0, 40), st.booleans(), st.booleans())
def test_padding_and_priority_are_taken_off(payload, padding, has_priority, is_data):
    """As hyperframe does, or an error where there is less than they take (RFC 9113 sections 6.1 and 6.2)."""
    theirs, flags, room = DataFrame(1) if is_data else HeadersFrame(1), 0, len(payload)
    if padding is not None:
        flags, room = frames.PADDED, room - padding
        payload = bytes((padding,)) + payload
        theirs.flags.add("PADDED")
    if has_priority and not is_data:
        flags, room = flags | frames.WITH_PRIORITY, room - 5
        theirs.flags.add("PRIORITY")
    take = frames.content if is_data else frames.fragment
    if room < 0:
        with pytest.raises(Violation):
            take(flags, payload)
    elif room == 0:  # for hyperframe this is an error of some frames
        assert take(flags, payload) == b""
    else:
        theirs.parse_body(memoryview(payload))
        assert take(flags, payload) == theirs.data


@given(st.dictionaries(st.sampled_from(Setting), st.integers(0, 2**32 - 1)))
def test_settings(values):
    """Are said as hyperframe says them, and heard."""
    data = frames.settings(values)
    assert data == SettingsFrame(0, settings=dict(values)).serialize()
    assert dict(frames.settings_of(data[HEADER.size :])) == values


@given(st.integers(1, MAX_NUMBER), st.integers(1, 2**31 - 1))
def test_frames_of_one_number(number, value):
    """RST_STREAM and WINDOW_UPDATE."""
    for kind, theirs in (
        (frames.RST_STREAM, RstStreamFrame(number, error_code=value)),
        (frames.WINDOW_UPDATE, WindowUpdateFrame(number, window_increment=value)),
    ):
        data = frames.word(kind, number, value)
        assert data == theirs.serialize()
        assert frames.word_of(kind, data[HEADER.size :]) == value


@pytest.mark.parametrize(
    "read",
    [
        lambda: frames.settings_of(bytes(5)),
        lambda: frames.word_of(frames.RST_STREAM, bytes(3)),
        lambda: frames.word_of(frames.WINDOW_UPDATE, bytes(5)),
        lambda: frames.fragment(frames.WITH_PRIORITY, bytes(4)),
    ],
)
def test_sizes_that_are_wrong(read):
    """FRAME_SIZE_ERROR (RFC 9113 section 4.2)."""
    with pytest.raises(Violation) as caught:
        read()
    assert caught.value.code == Code.FRAME_SIZE_ERROR


@pytest.mark.parametrize(("code", "name"), [(0, "NO_ERROR"), (0xD, "HTTP_1_1_REQUIRED"), (0xE, "14")])
def test_names_of_codes(code, name):
    """Those of RFC 9113 section 7; others are numbers."""
    assert frames.name_of(code) == name
