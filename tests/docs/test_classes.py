"""The table of error classes, against a run of httpx and of seawall over every fault of the wire."""

from __future__ import annotations

import re

import pytest

from tests.docs.classes import PAGE, RACING, classes, row


@pytest.fixture(scope="module")
def documented() -> dict[str, tuple[str, str]]:
    """Fault → httpx's class and ours, as the page says."""
    found = {}
    text = PAGE.read_text().split("<!-- classes -->")[1].split("<!-- /classes -->")[0]
    for theirs, ours, hows in re.findall(r"^\| ([^|]+) \| ([^|]+) \| (.*) \|$", text, re.MULTILINE):
        for how in re.findall(r"`([^`]+)`", hows):
            found[how] = (theirs, ours)
    return found


def test_every_class_is_as_documented(documented):
    """No fault's error is another than the page says; bold is what no drop-in has, and nothing else is."""
    told = {how: pair for how, pair in documented.items() if how not in RACING}
    assert documented.keys() >= {*RACING}
    found = {how: row(result) for how, result in classes().items() if how not in RACING}
    for patience in (5.0, 25.0):
        others = {how for how in found if found[how] != told.get(how)}
        if others:
            found |= {how: row(result) for how, result in classes(others, patience).items()}
    assert {how: pair for how, pair in found.items() if pair is not None} == told
