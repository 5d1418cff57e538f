"""Every example in README and docs runs, and what docs repeat of the code is the code's."""

from __future__ import annotations

import ast
import contextlib
import inspect
import logging
import re
import subprocess
import sys
import textwrap
import tomllib
import types
from collections.abc import Iterator
from pathlib import Path

import httpx
import httpx2
import pytest
import respx
from urllib3.util import Retry

from seawall import errors, events, stats
from seawall.core.lines import LOGGERS
from tests.docs.tables import PAGES, written

ROOT = Path(__file__).parents[2]
SOURCES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
HOUSES = (ROOT, ROOT / "src", ROOT / "src/seawall")
TUTORIALS = sorted((ROOT / "docs/tutorial").rglob("*.md"))


def examples(*paths):
    """Each block of Python, by its page and line."""
    return [
        pytest.param(
            textwrap.dedent(match[1]), id=f"{path.relative_to(ROOT)}:{text[: match.start()].count(chr(10)) + 1}"
        )
        for path in paths
        for text in [path.read_text()]
        for match in re.finditer(r"```python\n(.*?)```", text, re.S)
    ]


EXAMPLES = examples(*(path for path in SOURCES if path not in TUTORIALS))


@pytest.fixture
def log() -> Iterator[None]:
    """Handlers and levels are afterwards as they were, because examples of the log set them for the whole process."""
    loggers = [logging.getLogger(name) for name in (None, "httpx", "seawall", *(f"seawall.{name}" for name in LOGGERS))]
    before = [(logger.level, logger.handlers[:]) for logger in loggers]
    yield
    for logger, (level, handlers) in zip(loggers, before, strict=True):
        logger.setLevel(level)
        logger.handlers[:] = handlers


def is_test(example) -> bool:
    return "\ndef test_" in example.values[0]


@pytest.mark.parametrize("code", [example for example in EXAMPLES if is_test(example)])
def test_example_of_a_test(tmp_path, code):
    """In a run of pytest of its own, where it passes."""
    (tmp_path / "test_example.py").write_text(code)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    assert "passed" in done.stdout


@pytest.fixture
async def clients(monkeypatch):
    """The clients that an example makes, and must close, because its reader copies it."""
    made = []
    for library in (httpx, httpx2):

        def init(client, *args, real=library.AsyncClient.__init__, **arguments):
            made.append(client)
            real(client, *args, **arguments)

        monkeypatch.setattr(library.AsyncClient, "__init__", init)
    yield made
    for client in made:
        await client.aclose()


@pytest.mark.anyio
@pytest.mark.parametrize("code", [example for example in EXAMPLES if not is_test(example)])
async def test_example(code, monkeypatch, log, tmp_path, clients):
    """As it stands, its top-level awaits included; https://*.example.com answers 200 with some JSON."""
    monkeypatch.chdir(tmp_path)  # where it may leave files
    real = httpx2.AsyncHTTPTransport.handle_async_request

    async def answer(transport, request):
        if request.url.host.endswith(".example.com"):
            return httpx2.Response(200, json={"ok": True})
        return await real(transport, request)

    monkeypatch.setattr(httpx2.AsyncHTTPTransport, "handle_async_request", answer)
    monkeypatch.setitem(sys.modules, "example", types.ModuleType("example"))  # taskiq looks a task's module up
    compiled = compile(code, "example", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    mock = respx.mock(assert_all_called=False)
    mock.route(host__regex=r".*\.example\.com").mock(return_value=httpx.Response(200, json={"ok": True}))
    mock.route(host__regex=r".*\.test|127\.0\.0\.1").pass_through()
    with contextlib.nullcontext() if "respx.mock" in code else mock:
        result = types.FunctionType(compiled, {"__name__": "example"})()
        if result is not None:
            await result
    with_engine = "seawall.Engine(" in code  # which closes what its clients share
    assert with_engine or "on_shutdown" in code or [client for client in clients if not client.is_closed] == []


def test_example_that_is_not_run():
    """It compiles: a block that begins with ``python not run`` needs packages that aren't installed here."""
    found = [
        compile(code, path.name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        for path in SOURCES
        for code in re.findall(r"```python not run\n(.*?)```", path.read_text(), re.S)
    ]
    assert found


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_tables(path):
    """Written by ``python -m tests.docs.tables``."""
    assert path.read_text() == written(path)


def test_links():
    """Each relative link leads to a file, and to a heading of it where it names one."""
    for path in SOURCES:
        for target, heading in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", path.read_text()):
            page = path.parent / target if target else path
            assert page.exists(), f"{path.name}: {target}"
            assert not heading or heading in anchors(page), f"{path.name}: {target}#{heading}"


def anchors(page: Path) -> set[str]:
    """Its headings, as GitHub makes anchors of them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_paths():
    """Each Python file that a page names by its folder is there, in the repository or in the package."""
    for path in SOURCES:
        for named in re.findall(r"`(\w+/[\w/]*\w\.py)`", path.read_text()):
            assert any((folder / named).exists() for folder in HOUSES), f"{path.name}: {named}"


def test_a_debugger_has_the_tests_to_itself():
    """`--pdb` needs them in its own process, and `--lf` the cache, so a run that says nothing else has both."""
    options = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]["addopts"].split()
    assert not {"-n", "--dist", "no:cacheprovider", "no:xdist"} & set(options)


def test_each_argument_of_urllib3_is_in_the_table():
    """Whatever its Retry can be told has a row."""
    page = (ROOT / "docs/howto/urllib3.md").read_text()
    for name in inspect.signature(Retry.__init__).parameters:
        assert name == "self" or f"`{name}`" in page, name


def fields_of(kind: type) -> set[str]:
    """The public fields that a class adds to those of its base."""
    return {name for name in inspect.get_annotations(kind) if not name.startswith("_")}


@pytest.mark.parametrize("name", [name for name in errors.__all__ if name != "SeawallError"])
def test_each_attribute_of_an_error_is_in_its_row(name):
    """Whoever catches it learns of them here only."""
    page = (ROOT / "docs/reference/errors.md").read_text()
    rows = [line for line in page.splitlines() if f"`{name}`" in line.split(" | ")[0]]
    assert not {each for each in fields_of(getattr(errors, name)) if not any(f"`{each}`" in row for row in rows)}


NAMED = [vars(module)[name] for module in (events, stats) for name in module.__all__]
RECORDS = [each for each in NAMED if isinstance(each, type)]


@pytest.mark.parametrize("record", RECORDS)
def test_each_field_of_an_event_is_on_its_page(record):
    """Those of the statistics too."""
    page = (ROOT / "docs/reference/events.md").read_text()
    assert not {each for each in fields_of(record) if f"`{each}`" not in page}
