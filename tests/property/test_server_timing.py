"""Server-Timing as servers send it: what the specification gives, and what nobody should."""

from __future__ import annotations

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from seawall.server_timing import MAX_TIMINGS, ServerTiming, parse

TOKENS = st.text("!#$%&'*+-.^_`|~0123456789abcXYZ", min_size=1, max_size=9)
TIMINGS = st.builds(
    ServerTiming,
    TOKENS,
    st.none() | st.integers(0, 10**9).map(lambda microseconds: microseconds / 1e6),
    st.text(st.characters(codec="latin-1", exclude_characters="\r\n\0"), max_size=20),
)


def written(timing: ServerTiming) -> str:
    """As a server writes it."""
    parts = [timing.name]
    if timing.duration is not None:
        parts.append(f"dur={timing.duration * 1e3:.3f}")
    if timing.description:
        escaped = timing.description.replace("\\", "\\\\").replace('"', '\\"')
        parts.append(f'desc="{escaped}"')
    return " ; ".join(parts)


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ([], ()),
        ([""], ()),
        (["miss"], (ServerTiming("miss", None, ""),)),
        (["db;dur=53, app;dur=47.5"], (ServerTiming("db", 0.053, ""), ServerTiming("app", 0.0475, ""))),
        (["db;dur=53", "app;dur=47.5"], (ServerTiming("db", 0.053, ""), ServerTiming("app", 0.0475, ""))),
        (['cache;desc="a, \\"b\\"; c";dur=.5'], (ServerTiming("cache", 0.0005, 'a, "b"; c'),)),
        (["db;dur=1e3"], (ServerTiming("db", 1.0, ""),)),
        (["cache;desc=hit"], (ServerTiming("cache", None, "hit"),)),
        (["db ; DUR = 1 ; Desc = x"], (ServerTiming("db", 0.001, "x"),)),
        (["db;dur=1;dur=2;desc=a;desc=b"], (ServerTiming("db", 0.001, "a"),)),
        (["db;dur=1 and more;desc=a b"], (ServerTiming("db", 0.001, "a"),)),
        (['db;desc="ends never, app;dur=1'], (ServerTiming("db", None, "ends never, app;dur=1"),)),
        (['db;desc="ends in \\'], (ServerTiming("db", None, "ends in \\"),)),
        ([',, ;dur=1,=,"x",a b,ok'], (ServerTiming("ok", None, ""),)),
        *(
            ([f"db;dur={bad}"], (ServerTiming("db", None, ""),))
            for bad in ("", "-1", "nan", "inf", "1e", "1e999", "1_0", "x", "9" * 400, "1.2.3", "\u0661")
        ),
    ],
)
def test_what_is_read(headers, found):
    """Several headers, quoted commas and semicolons, escapes, first of two; garbage is left out, the rest stands."""
    assert parse(headers) == found


@given(st.lists(TIMINGS, max_size=MAX_TIMINGS), st.booleans())
def test_what_is_written_is_read(timings, is_one_header):
    """All names, durations and texts that a header can carry."""
    headers = list(map(written, timings))
    found = parse([",".join(headers)] if is_one_header else headers)
    assert [(each.name, each.description) for each in found] == [(each.name, each.description) for each in timings]
    assert [each.duration for each in found] == pytest.approx([each.duration for each in timings])


@given(st.lists(st.text(max_size=200) | st.text('",;=\\ dur1.', max_size=200), max_size=5))
@example(['a;desc="' + '\\"' * 50_000])
@example(['"' * 100_000])
@example([",;" * 50_000])
def test_garbage_is_tolerated(headers):
    """Whatever comes: no error, few entries, durations that can be added up; and in linear time."""
    found = parse(headers)
    assert len(found) <= MAX_TIMINGS
    assert all(each.duration is None or 0.0 <= each.duration < math.inf for each in found)


def test_few_are_read():
    """The first ones."""
    assert [each.name for each in parse([",".join(f"m{n}" for n in range(1000))])] == [f"m{n}" for n in range(20)]
