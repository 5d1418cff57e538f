"""HTTP/2's header compression beside hpack's own, and with a hostile peer."""

from __future__ import annotations

import hpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.wire.http2.compression import (
    MAX_BLOCKS,
    MAX_FIELDS,
    MAX_TEXTS,
    SHORT_COOKIE,
    TABLE_SIZE,
    Decoder,
    Encoder,
    HPACKError,
)

NAMES = st.sampled_from([b":path", b":status", b"cookie", b"authorization", b"x-id", b"accept"]) | st.binary(
    max_size=40
)
VALUES = st.sampled_from([b"", b"/", b"200", b"a=b", b"y" * 1500]) | st.binary(max_size=300)
FIELDS = st.lists(st.tuples(NAMES, VALUES), max_size=30)
SIZES = st.sampled_from([0, 32, 100, 1000, 4096, 2**32 - 1])


def is_indexed(block: bytes) -> bool:
    """Whether nothing but indices is in a block: no text, so it is as many bytes as it has fields."""
    return all(byte & 0x80 for byte in block)


@given(st.lists(FIELDS | SIZES, max_size=8))
def test_what_we_encode_is_decoded_by_hpack(steps):
    """Whatever is sent again and again, and whatever the peer does to the table meanwhile."""
    encoder, decoder = Encoder(), hpack.Decoder(2**31)
    for step in steps:
        if isinstance(step, int):
            encoder.size = step
            continue
        for _ in range(3):
            assert decoder.decode(encoder.encode(step), raw=True) == step
        assert decoder.header_table_size == encoder.size <= TABLE_SIZE
        assert list(decoder.header_table.dynamic_entries) == list(encoder._table.dynamic_entries)


@given(st.lists(st.tuples(FIELDS | SIZES, st.booleans()), max_size=8))
def test_what_hpack_encodes_is_decoded_by_us(steps):
    """In blocks of any size, of which later ones refer to earlier ones, twice each, because blocks are kept."""
    encoder, decoder = hpack.Encoder(), Decoder()
    for step, is_coded in steps:
        if isinstance(step, int):
            if encoder.header_table_size != (size := min(step, TABLE_SIZE)):  # set again, hpack forgets to send it
                encoder.header_table_size = size
            continue
        for _ in range(2):
            assert decoder.decode(encoder.encode(step, huffman=is_coded)) == tuple(step)


@given(st.lists(st.binary(max_size=64), max_size=6), st.integers(0, 200))
def test_garbage_is_what_it_is_for_hpack(pieces, at):
    """The same fields, or an error as well; behind good fields or between them; also in the blocks that follow."""
    block = hpack.Encoder().encode([(b"x%d" % number, b"y" * 20) for number in range(50)], huffman=False)
    at = len(block) * at // 200
    ours, theirs = Decoder(), hpack.Decoder(2**31)
    for piece in [block[:at] + b"".join(pieces) + block[at:], *pieces]:
        try:
            expected = tuple(theirs.decode(piece, raw=True))
        except hpack.HPACKError:
            with pytest.raises(HPACKError):
                ours.decode(piece)
            return  # the connection ends
        assert ours.decode(piece) == expected


def test_field_that_is_sent_again_is_an_index():
    """From the third request on: the second puts it into the table."""
    encoder = Encoder()
    fields = [(b":method", b"GET"), (b"user-agent", b"seawall"), (b"x-mine", b"1")]
    sizes = [len(encoder.encode(fields)) for _ in range(4)]
    assert sizes[2] == sizes[3] == 3 < sizes[0]
    assert is_indexed(encoder.encode(fields))


def test_field_that_differs_each_time_leaves_the_table_alone():
    """Paths and identifiers; else they would push out what repeats."""
    encoder = Encoder()
    for number in range(10):
        encoder.encode([(b":path", b"/%d" % number), (b"x-request-id", b"%d" % number), (b"accept", b"*/*")])
    assert list(encoder._table.dynamic_entries) == [(b"accept", b"*/*")]
    for _ in range(3):
        encoder.encode([(b":path", b"/the same")])
    assert len(encoder._table.dynamic_entries) == 1


@pytest.mark.parametrize(
    ("field", "is_secret"),
    [
        ((b"authorization", b"Bearer 1"), True),
        ((b"proxy-authorization", b"Basic 1"), True),
        ((b"cookie", b"x" * (SHORT_COOKIE - 1)), True),
        ((b"cookie", b"x" * SHORT_COOKIE), False),
        ((b"x-mine", b"1"), False),
    ],
)
def test_secrets_are_never_in_a_table(field, is_secret):
    """Nor in that of whoever hands the request on (RFC 7541 section 7.1.3)."""
    encoder, decoder = Encoder(), hpack.Decoder()
    for _ in range(3):
        (decoded,) = decoder.decode(encoder.encode([field]), raw=True)
        assert decoded == field
        assert isinstance(decoded, hpack.NeverIndexedHeaderTuple) == is_secret
    assert (field in encoder._table.dynamic_entries) != is_secret


def test_field_that_is_larger_than_the_table_does_not_empty_it():
    """It is sent as a literal each time."""
    encoder = Encoder()
    fields = [(b"x-mine", b"1"), (b"cookie", b"x" * TABLE_SIZE)]
    for _ in range(4):
        encoder.encode(fields)
    assert list(encoder._table.dynamic_entries) == fields[:1]


@pytest.mark.parametrize(
    "entry", [b"\x82", b"\x20", b"\0\1a\0", b"\x40\1a\0"], ids=["index", "size", "literal", "added"]
)
def test_number_of_fields_is_bounded(entry):
    """However small they are, what they are a part of is refused before it is all decoded."""
    Decoder().decode(entry * MAX_FIELDS)
    with pytest.raises(hpack.OversizedHeaderListError, match=str(MAX_FIELDS)):
        Decoder().decode(entry * (MAX_FIELDS + 1))


def test_bomb_takes_no_memory():
    """Thousands of references to one large field are one field."""
    large = hpack.Encoder().encode([(b"a", b"x" * 4000)], huffman=False)
    fields = Decoder().decode(large + b"\xbe" * (MAX_FIELDS - 1))
    assert len({id(value) for _, value in fields}) == 1


@pytest.mark.parametrize(
    "block",
    [
        b"\x82\x20",  # a size update behind a field
        b"\x3f\xe2\x1f",  # to 4097 B
        b"\x80",  # index 0
        b"\xbe",  # an index beyond the table
        b"\x7f\x00\x01a",  # the same, for a name
        b"\xff\xff\xff\xff\xff\xff\x0f",  # an integer too long
        b"\xff",  # one that doesn't end
        b"\x00\x05ab",  # a name that doesn't end
        b"\x00\x01a\x05b",  # a value
        b"\x00",
        b"\x00\x01a",
        b"\x00\x81\x00\x01a",  # Huffman padding of more than it may be
        b"\x00\x84\xff\xff\xff\xff\x01a",  # EOS
    ],
)
def test_block_that_is_wrong(block):
    """Is an error of hpack's, and of ours (RFC 7541 sections 2.3.3, 4.2, 5.1, 5.2, 6.1)."""
    with pytest.raises(hpack.HPACKError):
        list(hpack.Decoder().decode(block, raw=True))
    with pytest.raises(HPACKError):
        Decoder().decode(block)


def test_block_that_came_before_means_what_the_table_says_now():
    """Its bytes are the same, its fields need not be."""
    decoder = Decoder()
    decoder.decode(b"\x40\1a\1b")
    assert decoder.decode(b"\xbe") == decoder.decode(b"\xbe") == ((b"a", b"b"),)
    decoder.decode(b"\x40\1c\1d")
    assert decoder.decode(b"\xbe") == ((b"c", b"d"),)
    decoder.decode(b"\x20")
    with pytest.raises(HPACKError):
        decoder.decode(b"\xbe")


def test_what_is_kept_is_bounded():
    """A server whose fields are all different leaves no more than a few of them in memory."""
    encoder, decoder = hpack.Encoder(), Decoder()
    for number in range(1000):
        decoder.decode(encoder.encode([(b"etag", b"%d" % number * size, True) for size in (1, 20, 300)]))
        assert len(decoder._blocks) <= MAX_BLOCKS
        assert len(decoder._texts) <= MAX_TEXTS
    assert sum(map(len, [*decoder._blocks, *decoder._texts])) < 4096


def test_table_of_our_encoder():
    """At most 4 KiB; of its changes, the smallest and the last are said, and the peer agrees."""
    encoder, decoder = Encoder(), hpack.Decoder()
    for size in (2**32 - 1, 100, 2**16, 50, 3000, 2000):
        encoder.size = size
    assert encoder.changes == [50, 2000]
    assert decoder.decode(encoder.encode([(b"a", b"b")])) == [("a", "b")]
    assert decoder.header_table_size == encoder.size == 2000
    encoder.size = 2000
    assert encoder.encode([]) == b""
