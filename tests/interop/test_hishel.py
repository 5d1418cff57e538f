"""hishel's cache above our transport, as docs/howto/caching.md has it."""

from __future__ import annotations

import re

import httpx
import pytest

import seawall
from seawall.testing import FaultServer
from seawall.testing.steps import json
from tests.docs.tutorial import ROOT

pytest.importorskip("hishel", reason="pip install 'seawall[docs]'")


@pytest.mark.anyio
async def test_a_response_is_retried_then_kept(tmp_path):
    """The first call takes two attempts, the second none; the cached response has no history. The page's lines run."""
    (code,) = re.findall(r"```python not run\n(.*?)async with", (ROOT / "docs/howto/caching.md").read_text(), re.DOTALL)
    names: dict[str, object] = {}
    exec(code.replace("responses.db", str(tmp_path / "responses.db")), names)
    with FaultServer() as server:
        fresh = {"Cache-Control": "max-age=60"}
        route = server.route("/rates", "503:0", json({"eur": 1}, headers=fresh))
        async with httpx.AsyncClient(transport=names["transport"]) as client:
            first, second = [await client.get(f"{server.url}/rates") for _ in range(2)]
    assert [each.json() for each in (first, second)] == [{"eur": 1}, {"eur": 1}]
    assert route.call_count == 2
    assert len(seawall.history(first)) == 2
    assert "seawall" not in second.extensions
    assert first.extensions["caching"]["stored"]
    assert second.extensions["caching"]["from_cache"]
