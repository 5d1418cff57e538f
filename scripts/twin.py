"""
Writes ``src/seawall/httpx2/``, the front over httpx2, from ``src/seawall/_httpx/``, the front over httpx.

``python scripts/twin.py`` writes it; ``--check`` writes nothing, and fails if a file isn't as it would be written. The
two are one source under two names: where the libraries differ, the source tells their features apart. Bytes literals
stay, because they go over the wire.
"""

from __future__ import annotations

import argparse
import io
import re
import sys
import tokenize
from pathlib import Path

SOURCE = Path(__file__).parent.parent / "src" / "seawall" / "_httpx"
TWIN = SOURCE.parent / "httpx2"
HEADER = "# Written by scripts/twin.py from ../_httpx/{name}: change that file, and run the script.\n"

NAMES = re.compile(r"\b(?:httpx|httpcore)\b|\bseawall\.(?=(?:AsyncClient|AsyncTransport|Engine|llm_client)\b)")


def renamed(source: str) -> str:
    """*source* over httpx2."""
    starts = [0]
    for line in source.splitlines(keepends=True):
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


def twin() -> dict[str, str]:
    """The twin's files by name."""
    return {
        path.name: HEADER.format(name=path.name) + renamed(path.read_text(encoding="utf-8"))
        for path in sorted(SOURCE.glob("*.py"))
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--check", action="store_true", help="only see whether the twin is as it would be written")
    files = twin()
    written = {path.name: path.read_text(encoding="utf-8") for path in TWIN.glob("*.py")}
    stale = sorted(name for name in files.keys() | written.keys() if files.get(name) != written.get(name))
    if parser.parse_args().check:
        for name in stale:
            print(f"src/seawall/httpx2/{name} is not what scripts/twin.py makes of src/seawall/_httpx/{name}")
        return bool(stale)
    TWIN.mkdir(exist_ok=True)
    for name in stale:
        if name in files:
            (TWIN / name).write_text(files[name], encoding="utf-8")
        else:
            (TWIN / name).unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
