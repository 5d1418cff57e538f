"""The site: each page is in its navigation, each public name in its reference, and nothing is loaded from elsewhere."""

from __future__ import annotations

import functools
import http.server
import os
import re
import subprocess
import sys
import threading
from importlib.util import find_spec

import pytest

from tests.browser import CHROMIUM, browser
from tests.docs.signatures import FOLDER, pages
from tests.docs.tutorial import PATIENCE, ROOT

DOCS = ROOT / "docs"
LOADS = r"""<(?:script|img|iframe)\b[^>]*\bsrc="([^"]*)"|<link\b[^>]*\bhref="([^"]*)"|@import\s|url\((https?:[^)]*)\)"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Built as CI does; a warning, such as one of a link that leads nowhere, is an error."""
    if find_spec("mkdocs") is None or find_spec("mkdocstrings") is None:
        pytest.skip("pip install 'seawall[docs]'")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "-q", "--strict", "-d", str(folder)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=5 * PATIENCE)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    return folder


def test_each_page_is_in_the_navigation_once():
    named = re.findall(r"^ +- .*: (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    assert sorted(named) == sorted(str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md"))


def test_each_public_name_has_its_signature():
    """Written by ``python -m tests.docs.tables``."""
    expected = pages()
    assert set(FOLDER.glob("*.md")) == set(expected)
    for path, text in expected.items():
        assert path.read_text() == text, path.name


def test_each_signature_is_on_its_page(site):
    """What a page asks for is on it, with a docstring or, of an alias or a constant, at least its value."""
    for path in pages():
        built = (site / "reference/signatures" / f"{path.stem}.html").read_text()
        for name in re.findall(r"^::: (\S+)", path.read_text(), re.MULTILINE):
            last = name.rpartition(".")[2]
            assert re.search(rf'<h\d id="[\w.]*\b{re.escape(last)}" class="doc doc-heading">', built), name


def test_nothing_is_loaded_from_elsewhere(site):
    """No font, script, style or picture; a link that a reader follows may lead away."""
    for path in [*site.rglob("*.html"), *site.rglob("*.css")]:
        for found in re.findall(LOADS, path.read_text()):
            for target in found:
                assert not re.match(r"(https?:)?//", target), f"{path.name}: {target}"


def test_it_can_be_searched(site):
    """The index, which the page's own script reads, has every page and words of the docstrings."""
    index = (site / "search/search_index.json").read_text()
    for word in ("tutorial/first-steps.html", "reference/signatures/seawall.html", "throttled_backoff"):
        assert word in index


class Silent(http.server.SimpleHTTPRequestHandler):
    def log_request(self, *_):
        pass


@pytest.fixture
def served(site):
    """The URL of the site."""
    handler = functools.partial(Silent, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.anyio
@pytest.mark.skipif(CHROMIUM is None, reason="Chromium isn't installed: apt-get install chromium")
async def test_in_a_browser(served):
    """On a wide and a narrow screen nothing hangs over the edge; a search finds pages; all that it loads is its own."""
    async with browser() as make:
        tab = await make()
        for width in (1280, 375):
            await tab.look(width=width, height=900)
            for page in ("index", "tutorial/first-steps", "reference/defaults", "reference/signatures/seawall"):
                await tab.open(f"{served}/{page}.html")
                await tab.until(f"location.href.includes('{page}') && document.readyState === 'complete'")
                assert await tab.ask("document.documentElement.scrollWidth") <= width, page
        await tab.open(f"{served}/index.html?q=throttled_backoff")
        await tab.until("document.querySelectorAll('.md-search-result__item').length > 0")
        loaded = await tab.ask("performance.getEntriesByType('resource').map((entry) => entry.name)")
    assert loaded
    assert [url for url in loaded if not url.startswith((served, "data:", "blob:"))] == []
    assert tab.complaints == []
