"""Names on random machines: what getaddrinfo says there is what seawall says, whatever files and servers they have."""

from __future__ import annotations

import functools

import pytest
from benchmarks.names.machine import Answer, Machine, Record, answer
from benchmarks.names.outcome import Outcome, difference
from benchmarks.names.outside import Namespace, differences, why_not
from benchmarks.names.strategies import generated

MACHINES = 60
SEED = 60

needs_namespaces = pytest.mark.skipif("why_not() is not None", reason="needs namespaces of its own (Linux, unshare)")


@needs_namespaces
@pytest.mark.xfail(strict=True, reason="each address family is looked up on its own")
def test_names_are_what_getaddrinfo_says():
    """On each machine, with each resolver: the same set of addresses, or an error of the same kind."""
    found = [each for several in differences(generated(MACHINES, SEED)) for each in several]
    assert not found, "\n\n".join(map(str, found))
