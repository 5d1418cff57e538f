"""
Writes ``src/seawall/httpx2/``, the front over httpx2, from ``src/seawall/_httpx/``; and so the fakes of testing.

``python scripts/twin.py`` writes; ``--check`` writes nothing, and fails if a file isn't as it would be written. Twins
are one source under two names: where the libraries differ, the source tells their features apart. Bytes literals
stay, because they go over the wire.
"""

from __future__ import annotations

import argparse
import ast
import io
import re
import sys
import tokenize
from pathlib import Path

ROOT = Path(__file__).parent.parent
SOURCES = (ROOT / "src" / "seawall" / "_httpx", ROOT / "src" / "seawall" / "testing" / "_httpx")
TWIN = "httpx2"
HEADER = "# Written by scripts/twin.py from ../_httpx/{name}: change that file, and run the script.\n"

NAMES = re.compile(r"\b(?:httpx|httpcore)\b|\bseawall\.(?=(?:AsyncClient|AsyncTransport|Engine|llm_client)\b)")


def renamed(source: str) -> str:
    """
    *source* over httpx2; the same on each Python.

    Raises:
        ValueError: A bytes literal inside an f-string has a name in it, and Pythons before 3.12 don't say where it is.
    """
    for node in ast.walk(ast.parse(source)):
        for each in ast.walk(node) if isinstance(node, ast.JoinedStr) else ():
            if isinstance(each, ast.Constant) and isinstance(each.value, bytes) and NAMES.search(repr(each.value)):
                raise ValueError(f"line {node.lineno}: {each.value!r} is inside an f-string; put it into a variable")
    starts = [0]
    for line in io.StringIO(source):
        starts.append(starts[-1] + len(line))
    kept = [
        range(starts[token.start[0] - 1] + token.start[1], starts[token.end[0] - 1] + token.end[1])
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.STRING and "b" in re.split("['\"]", token.string)[0].lower()
    ]

    def new(found: re.Match[str]) -> str:
        name = found.group()
        if any(found.start() in span for span in kept):
            return name
        return "seawall.httpx2." if name == "seawall." else f"{name}2"

    return NAMES.sub(new, source)


def twins() -> dict[Path, str]:
    """The text of each file that is to be written."""
    return {
        source.parent / TWIN / name: HEADER.format(name=name.as_posix()) + renamed(path.read_text(encoding="utf-8"))
        for source in SOURCES
        for path in source.rglob("*.py")
        for name in [path.relative_to(source)]
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--check", action="store_true", help="only see whether each file is as it would be written")
    is_check = parser.parse_args().check
    files = twins()
    written = {path: path.read_text(encoding="utf-8") for s in SOURCES for path in (s.parent / TWIN).rglob("*.py")}
    stale = sorted(path for path in files.keys() | written.keys() if files.get(path) != written.get(path))
    for path in stale:
        if is_check:
            print(f"{path.relative_to(ROOT)} is not what scripts/twin.py writes")
        elif path in files:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(files[path], encoding="utf-8")
        else:
            path.unlink()
    return bool(stale and is_check)


if __name__ == "__main__":
    sys.exit(main())
