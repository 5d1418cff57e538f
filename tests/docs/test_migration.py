"""The tables of the pages for those who come from elsewhere: what they say to write can be written."""

from __future__ import annotations

import re
import ssl

import httpx
import pytest

import seawall
from seawall.testing import FaultServer
from tests.docs.tutorial import ROOT

aiohttp = pytest.importorskip("aiohttp")

PAGES = sorted((ROOT / "docs/howto").glob("from-*.md"))
NAMES = {
    "seawall": seawall,
    "httpx": httpx,
    "ssl": ssl,
    "Retry": seawall.Retry,
    "context": ssl.create_default_context(),
}
OF_A_RESPONSE = r"(?:await )?response\.(\w+)"


def spans(path):
    """Each piece of code in the last column of a table, but for those with an ellipsis or a file."""
    rows = re.findall(r"^\|.*\| ([^|]*) \|$", path.read_text(), re.MULTILINE)
    return [span for row in rows for span in re.findall(r"`([^`]*)`", row) if "..." not in span and ".pem" not in span]


@pytest.mark.anyio
@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
async def test_its_tables(path):
    """An argument is one of `AsyncClient`'s or `Retry`'s, a name of a module is there, a response has the attribute."""
    checked = 0
    for span in spans(path):
        if (attribute := re.fullmatch(rf"{OF_A_RESPONSE}(\(.*\))?", span)) is not None:
            assert hasattr(httpx.Response(200), attribute[1]), span
        elif re.match(r"(?:seawall|httpx|Retry)\b[.(]", span) is not None:
            if span.startswith("seawall.AsyncClient("):
                await eval(span, NAMES).aclose()
            else:
                assert eval(span, NAMES) is not None
        elif re.match(r"(?:max_attempts|max_backoff|backoff)=", span) is not None:
            assert eval(f"Retry({span})", NAMES)
        elif re.match(r"\w+=", span) is not None and not span.startswith(
            ("stop=", "wait=", "data=", "proxy=", "mounts=")
        ):
            if span.endswith("="):
                assert re.search(rf"\b{span[:-1]}\b", str(seawall.AsyncClient.__init__.__signature__)), span
            else:
                await eval(f"seawall.AsyncClient({span})", NAMES).aclose()
        else:
            continue
        checked += 1
    assert checked >= 3


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("step", "theirs"),
    [
        ("close", "ServerDisconnectedError"),
        ("reset:headers", "ClientOSError"),
        ("hang", "ServerTimeoutError"),
        ("close:body", "ClientPayloadError"),
    ],
)
async def test_errors_of_aiohttp(step, theirs):
    """What aiohttp raises is in the table, beside the class that seawall's error has."""
    table = dict(re.findall(r"^\| (`Cl.*|`Se.*) \| `httpx\.(\w+)` \|$", (PAGES[0]).read_text(), re.MULTILINE))
    ours = next(ours for names, ours in table.items() if f"`{theirs}`" in names)
    timeout = aiohttp.ClientTimeout(sock_read=0.2)
    async with FaultServer() as server:
        async with aiohttp.ClientSession(timeout=timeout) as session:
            with pytest.raises(getattr(aiohttp, theirs)):
                await (await session.post(server.script("theirs", step))).read()
        async with seawall.AsyncClient(timeout=0.2, retry=None) as client:
            with pytest.raises(getattr(httpx, ours)):
                await client.post(server.script("ours", step))
