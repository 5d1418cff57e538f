"""A small soak; ``python -m benchmarks soak`` is the large one."""

from __future__ import annotations

import pytest
from benchmarks.soak import soak

from seawall.testing import FaultProcess


@pytest.mark.anyio
@pytest.mark.parametrize("is_observed", [False, True])
async def test_nothing_is_left_of_a_storm(is_observed):
    """After 1,500 calls over all kinds of fault, a third of them cancelled: no permit, socket or task."""
    with FaultProcess() as server:
        found = await soak(server.url, 1500, is_observed=is_observed)
    assert found["good"]
    assert {name: found[name] for name in ("permits", "connections", "tasks", "descriptors")} == {
        "permits": 0,
        "connections": 0,
        "tasks": 0,
        "descriptors": 0,
    }
    assert len(found["outcomes"]) > 6
