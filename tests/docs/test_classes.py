"""The table of error classes, against a run of httpx and of seawall over every fault of the wire."""

from __future__ import annotations

import pytest

from tests.docs.classes import RACING, row, settled, told


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # bare httpx leaves sockets open
def test_every_class_is_as_documented():
    """No fault's error is another than the page says; bold is what no drop-in has, and nothing else is."""
    documented = told()
    assert documented.keys() >= {*RACING}
    found = {how: row(result) for how, result in settled(documented).items()}
    assert {how: pair for how, pair in found.items() if pair is not None and how not in RACING} == {
        how: pair for how, pair in documented.items() if how not in RACING
    }
