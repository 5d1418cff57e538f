"""The lines of an origin's limits: which are kept, and that those of one key count together."""

from __future__ import annotations

import gc

import seawall
from seawall.policy.lines import MAX_LINES, Lines


def tenant(request):
    return request.headers["x-tenant"]


WHOLE, EACH = seawall.Limit(rate=1, burst=1), seawall.Limit(rate=1, burst=1, key=tenant)


def test_lines_of_one_key_have_one_meter():
    """However many other keys come between their requests, and whatever credentials they have."""
    lines = Lines((WHOLE, EACH), None)
    hot = lines.find(b"", (None, "hot"), 0.0)
    for number in range(5000):
        assert lines.find(b"", (None, number), 0.0).meters[0] is hot.meters[0]
        assert lines.find(b"", (None, "hot"), 0.0) is hot
    assert lines.find(b"another", (None, "hot"), 0.0).meters == hot.meters
    assert len(list(lines)) == MAX_LINES


def test_line_that_owes_is_forgotten_last():
    """A line that owes nothing goes as any other does; what the whole origin owes doesn't keep a line."""
    lines = Lines((WHOLE, EACH), None)
    owing = lines.find(b"", (None, "owing"), 0.0)
    owing.take(0.0, (1.0, 40.0))
    for number in range(5000):
        lines.find(b"", (None, number), 30.0).meters[0].take(30.0, 1.0)
    assert lines.find(b"", (None, "owing"), 30.0) is owing
    assert len(list(lines)) == MAX_LINES
    for number in range(5000):
        lines.find(b"", (None, number), 50.0)
    assert lines.find(b"", (None, "owing"), 50.0) is not owing


def test_table_is_bounded_though_all_owe():
    """Twice as many are kept then, with as many meters; the least recently used goes, unless an attempt holds it."""
    lines = Lines((EACH,), None)
    first = lines.find(b"", (0,), 0.0)
    for number in range(5000):
        lines.find(b"", (number,), 0.0).take(0.0, (40.0,))
    kept = list(lines)
    assert len(kept) == 2 * MAX_LINES
    assert first not in kept
    del kept
    gc.collect()
    assert len(lines._meters) == 2 * MAX_LINES + 1
    assert lines.find(b"", (0,), 0.0).meters == first.meters
