"""Each line that docs/howto/llm.md has for an SDK makes one."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import pytest

import seawall
import seawall.httpx2

PAGE = Path(__file__).parents[3] / "docs/howto/llm.md"
TABLE = PAGE.read_text().partition("<!-- sdks -->")[2].partition("<!-- /sdks -->")[0]
LINES = dict(re.findall(r"^\| ([^|]+) \| httpx2? \| `([^`]+)` \|", TABLE, re.MULTILINE))
HOMES = {  # of what a user imports
    "openai": "openai",
    "anthropic": "anthropic",
    "google-genai": "google.genai",
    "mistralai": "mistralai.client",
    "groq": "groq",
    "ollama": "ollama",
    "mcp": "mcp.client.streamable_http",
    "mcp, SSE": "mcp.client.sse",
    "qdrant-client": "qdrant_client",
    "supabase": "supabase",
    "authlib": "authlib.integrations.httpx_client",
}
KEYS = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GOOGLE_API_KEY", "GROQ_API_KEY")


def test_page_has_each_sdk() -> None:
    """A row for each that is tested here, and none besides."""
    assert LINES.keys() == HOMES.keys()


@pytest.mark.anyio
@pytest.mark.parametrize("sdk", HOMES)
async def test_line_of_the_page(sdk: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It runs as it stands, with nothing but what the SDK and seawall export."""
    home = pytest.importorskip(HOMES[sdk], reason="pip install 'seawall[sdks]'")
    for key in KEYS:
        monkeypatch.setenv(key, "k")
    names = {**vars(home), home.__name__.rpartition(".")[2]: home}
    line = LINES[sdk]
    made = eval(line, {**names, "seawall": seawall, "partial": partial, "url": "http://127.0.0.1:9"})
    assert made is not None
    assert ("seawall.httpx2" in line) == (f"| {sdk} | httpx2 |" in TABLE)
