"""The table of error classes, against a run of httpx and of seawall over every fault of the wire."""

from __future__ import annotations

import re

import pytest

from tests.docs.classes import PAGE, RACING, classes, is_drop_in, name


@pytest.fixture(scope="module")
def results():
    return classes()


@pytest.fixture(scope="module")
def documented() -> dict[str, tuple[str, str]]:
    """Fault → httpx's class and ours, as the page says."""
    found = {}
    text = PAGE.read_text().split("<!-- classes -->")[1].split("<!-- /classes -->")[0]
    for theirs, ours, hows in re.findall(r"^\| ([^|]+) \| ([^|]+) \| (.*) \|$", text, re.MULTILINE):
        for how in re.findall(r"`([^`]+)`", hows):
            found[how] = (theirs, ours)
    return found


def test_every_class_is_as_documented(results, documented):
    """No fault's error is another than the page says; bold is what no drop-in has, and nothing else is."""
    failing = {how for how, each in results.items() if not isinstance(each["httpx"], int) or len({*each.values()}) > 1}
    assert failing | {*RACING} == documented.keys()
    for how in failing.difference(RACING):
        theirs, ours = results[how]["httpx"], results[how]["seawall"]
        mark = name(ours) if is_drop_in(ours, theirs) else f"**{name(ours)}**"
        assert documented[how] == (name(theirs), mark), how
