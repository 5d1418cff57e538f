"""The whole chain: seawall's client, faults between, a server that is killed, a database."""

from __future__ import annotations

import pytest
from benchmarks import orders

pytestmark = pytest.mark.anyio

STORES = ["sqlite", "postgres"]


@pytest.mark.parametrize("store", STORES)
async def test_each_order_is_one_row(request, tmp_path, store):
    """100 orders, some of whose attempts are reset or unanswered, and three SIGKILLs: 100 rows, each answered."""
    place = str(tmp_path / "orders.db") if store == "sqlite" else request.getfixturevalue("postgres_socket")
    report = await orders.run(100, 3, place)
    assert report.is_exact, report
    assert report.kills == 3
    assert report.attempts >= 120, "nothing was repeated, so nothing was shown"
