"""JSON as ``seawall get`` lays it out on a terminal."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.cli.json_text import indented, is_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(VALUES, st.sampled_from([None, 1]))
def test_as_the_standard_library_does(value, indent):
    """Whatever white space it came with."""
    assert indented(json.dumps(value, indent=indent)).plain == json.dumps(value, indent=2)


@pytest.mark.parametrize("text", ["1.10", "1e400", "-0.0", '"\\u00e9"', "12345678901234567890123"])
def test_values_stay_as_they_came(text):
    """A number isn't rounded, an escape isn't resolved, and a key that comes twice is shown twice."""
    assert indented(f'{{"a":{text},"a":{text}}}').plain == f'{{\n  "a": {text},\n  "a": {text}\n}}'


@pytest.mark.parametrize(("text", "is_one"), [("{}", True), ("{", False), ("[" * 100_000, False), ("{} x", False)])
def test_what_is_json(text, is_one):
    """What can't be read to its end isn't, however it begins."""
    assert is_json(text) is is_one
