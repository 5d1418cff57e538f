"""Frames that carry nothing: how many are too many. Time is given."""

from __future__ import annotations

import pytest

from seawall.wire.http2.chatter import BUSY, IDLE, MAX_EARNED, MAX_LATE, REQUEST, SMALLEST, Chatter


@pytest.mark.parametrize(("is_idle", "limits"), [(False, BUSY), (True, IDLE)])
def test_so_many_at_once_and_so_many_a_second(is_idle, limits):
    """Those at once are borne, one more is not; after a second, as many again as the rate says."""
    at_once, per_second = limits
    chatter = Chatter()
    assert not chatter.is_too_much(at_once, 0.0, is_idle=is_idle)
    assert not chatter.is_too_much(per_second, 1.0, is_idle=is_idle)
    assert chatter.is_too_much(1, 1.0, is_idle=is_idle)


def test_a_rate_that_is_never_too_much():
    """Whoever keeps to the rate is borne for ever, and owes nothing after a pause."""
    chatter = Chatter()
    for second in range(1000):
        assert not chatter.is_too_much(BUSY[1], float(second), is_idle=False)
    assert not chatter.is_too_much(BUSY[0], 1e6, is_idle=False)


def test_what_an_upload_earns():
    """Frames in reply to what was sent, up to a bound; an idle connection has earned nothing."""
    chatter = Chatter()
    chatter.asked()
    chatter.uploaded(256_000)
    assert not chatter.is_too_much(BUSY[0] + REQUEST + 2 + 1000, 0.0, is_idle=False)
    assert chatter.is_too_much(1, 0.0, is_idle=False)
    chatter = Chatter()
    chatter.uploaded(2**40)
    assert not chatter.is_too_much(MAX_EARNED, 0.0, is_idle=False)
    assert chatter.is_too_much(BUSY[0] + 1, 0.0, is_idle=False)
    chatter = Chatter()
    chatter.uploaded(2**40)
    assert chatter.is_too_much(IDLE[0] + 1, 0.0, is_idle=True)


def test_what_may_be_late():
    """As much as the windows of the reset streams allowed, in parts that aren't tiny, and in all no more than TCP's."""
    chatter = Chatter()
    assert not chatter.is_late(1)
    chatter.abandoned(10 * SMALLEST)
    assert [chatter.is_late(1) for _ in range(11)] == [True] * 9 + [False] * 2
    for _ in range(100):
        chatter.abandoned(MAX_LATE)
    assert chatter.is_late(MAX_LATE - 1)
    assert not chatter.is_late(1)
