"""The tutorial as its reader has it: blocks in order, a prompt that takes them, and an upstream in its own process."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/tutorial/first-steps.md"
UPSTREAM = "http://127.0.0.1:5500"
SERVICE = "http://127.0.0.1:8000"
UNBUFFERED = os.environ | {"PYTHONUNBUFFERED": "1"}
PATIENCE = 60.0  # s; far more than any step takes

PROMPT = """
import ast, asyncio, sys, types

async def main():
    names = {"__name__": "__main__"}
    for node in ast.parse(sys.stdin.read()).body:
        code = compile(ast.Interactive([node]), "<stdin>", "single", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        if (result := types.FunctionType(code, names)()) is not None:
            await result

asyncio.run(main())
"""
"""In place of `python -m asyncio` from 3.13 on, which takes statements of several lines from a terminal only."""


class Block(NamedTuple):
    """A fenced block: its language, the file that it is to be saved as, or ""; its text."""

    language: str
    title: str
    text: str


def blocks(text: str) -> list[Block]:
    """Every fenced block of a page."""
    fences = re.findall(r'^```(\w+)(?: title="(.*?)")?\n(.*?)^```$', text, re.MULTILINE | re.DOTALL)
    return [Block(*fence) for fence in fences]


def shown(all_blocks: list[Block], index: int) -> str | None:
    """What the page says that block *index* prints, or None where it doesn't say."""
    following = all_blocks[index + 1] if index + 1 < len(all_blocks) else None
    return following.text if following is not None and following.language == "text" else None


@contextlib.contextmanager
def upstream(folder: Path, *command: str) -> Iterator[str]:
    """The URL of `seawall faults` on free ports, which writes what it prints to a file of *folder*."""
    output = folder / "faults.txt"
    with output.open("w") as file:
        process = subprocess.Popen(
            [*command, "faults", "--port", "0"], stdout=file, stderr=subprocess.STDOUT, env=UNBUFFERED
        )
        try:
            yield wait_for(process, output, r"(http://127\.0\.0\.1:\d+)/x/STEP(?s:.*)Ctrl-C")
        finally:
            process.terminate()
            process.wait(PATIENCE)


def wait_for(process: subprocess.Popen[bytes], output: Path, pattern: str) -> str:
    """What *pattern* finds in *output* once the process has written it."""
    while (found := re.search(pattern, output.read_text())) is None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.02)
            raise RuntimeError(f"it ended: {output.read_text()}")
    return found[1]


def typed(sources: list[str], python: str = sys.executable) -> list[str]:
    """What `python -m asyncio` prints for each source that is pasted into it, with Enter once more after each."""
    mark = "-- end of block --"
    pasted = "".join(f'{source}\n\nprint("{mark}")\n' for source in sources)
    command = [python, *(["-m", "asyncio"] if sys.version_info < (3, 13) else ["-c", PROMPT])]
    done = subprocess.run(command, input=pasted, capture_output=True, text=True, timeout=PATIENCE)
    assert "Traceback" not in done.stderr, done.stderr
    assert "SyntaxError" not in done.stderr, done.stderr
    printed = re.sub(r"^(?:(?:>>>|\.\.\.) )+", "", done.stdout, flags=re.MULTILINE)
    return printed.split(f"{mark}\n")[:-1]


def masked(text: str) -> str:
    """*text* without the figures that time and chance make."""
    text = re.sub(r"\d+(\.\d+)?(e-\d+)?( ?)s\b", r"?\3s", text)
    return re.sub(r"budget left [\d.]+", "budget left ?", text)
