"""HTTP/2's header compression, with a hostile peer."""

from __future__ import annotations

import hpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.wire.http2.fields import MAX_FIELDS, SLICE, Decoder, Encoder

FIELDS = st.lists(st.tuples(st.binary(max_size=40), st.binary(max_size=9000)), max_size=60)


@given(st.lists(FIELDS, max_size=3), st.booleans())
def test_decodes_as_hpack_does(blocks, huffman):
    """Whatever the fields, in blocks of any size, of which later ones refer to earlier ones."""
    encoder, ours = hpack.Encoder(), Decoder()
    ours.max_header_list_size = 2**31
    for fields in blocks:
        assert ours.decode(encoder.encode(fields, huffman), raw=True) == fields


@given(st.binary(max_size=64), st.integers(0, 200))
def test_garbage_is_one_of_hpacks_errors(garbage, at):
    """Behind good fields or between them, in a block that is decoded in slices."""
    block = hpack.Encoder().encode([(b"x%d" % number, b"y" * 100) for number in range(200)], huffman=False)
    at = len(block) * at // 200
    decoder = Decoder()
    decoder.max_header_list_size = 2**31
    try:
        decoder.decode(block[:at] + garbage + block[at:], raw=True)
    except hpack.HPACKError:
        pass


@pytest.mark.parametrize(
    "entry", [b"\x82", b"\x20", b"\0\1a\0", b"\x40\1a\0"], ids=["index", "size", "literal", "added"]
)
def test_number_of_fields_is_bounded(entry):
    """However small they are, what they are a part of is refused before it is all decoded."""
    tail = b"\0\1a\x7f\xe1\x5d" + b"x" * 12_128
    with pytest.raises(hpack.OversizedHeaderListError, match=str(MAX_FIELDS)):
        Decoder().decode(entry * (MAX_FIELDS + SLICE) + tail, raw=True)


def test_size_update_between_fields():
    """Is refused in a block that is decoded in slices too (RFC 7541 section 4.2)."""
    with pytest.raises(hpack.HPACKDecodingError, match="size update"):
        Decoder().decode(b"\0\1a\x7f\x81\x1f" + b"x" * 4096 + b"\x20" + b"\x82", raw=True)


def test_number_of_copies_is_bounded():
    """hpack copies the rest of a block for each field: no slice is larger than that, but for one large field."""
    sizes = []

    class Noting(hpack.Decoder):
        def decode(self, data, raw=False):
            sizes.append(len(data))
            return super().decode(data, raw)

    decoder = type("Noted", (Decoder, Noting), {})()
    decoder.max_header_list_size = 2**31
    block = (b"\0\1x\x5a" + b"y" * 90) * 500 + b"\0\1z\x7f\x91\xbe\5" + b"w" * 90_000
    assert len(decoder.decode(block, raw=True)) == 501
    assert max(sizes[:-1]) <= SLICE < sizes[-1] < 90_100


def test_table_of_our_encoder():
    """At most 4 KiB; of its changes, the smallest and the last are said, and the peer agrees."""
    encoder, decoder = Encoder(), hpack.Decoder()
    for size in (2**32 - 1, 100, 2**16, 50, 3000, 2000):
        encoder.header_table_size = size
    assert encoder.table_size_changes == [50, 2000]
    assert decoder.decode(encoder.encode([("a", "b")])) == [("a", "b")]
    assert decoder.header_table_size == encoder.header_table_size == 2000
    encoder.header_table_size = 2000
    assert encoder.encode([]) == b""
