"""
Time from nothing to the first retried call, by the tutorial's own commands: venv, package, `seawall faults`, prompt.

``python3 scripts/stopwatch.py`` prints the seconds of each step. It isn't a test, because it downloads packages.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.docs.tutorial import PAGE, UPSTREAM, blocks, typed, upstream  # noqa: E402


def main() -> int:
    all_blocks = blocks(PAGE.read_text())
    commands = [line for block in all_blocks if block.language == "sh" for line in block.text.splitlines()]
    make, _, install = (shlex.split(command) for command in commands[:3])
    package = install[-1].replace("seawall[", f"{ROOT}[")  # as a clone has it
    began = last = time.monotonic()

    def lap(what: str) -> None:
        nonlocal last
        now = time.monotonic()
        print(f"{now - last:6.1f} s  {what}")
        last = now

    with tempfile.TemporaryDirectory() as folder:
        bin_folder = Path(folder) / ".venv/bin"
        subprocess.run(make, cwd=folder, check=True)
        lap(shlex.join(make))
        subprocess.run([bin_folder / "pip", *install[1:-1], "-q", "--no-cache-dir", package], cwd=folder, check=True)
        lap(shlex.join(install))
        with upstream(Path(folder), str(bin_folder / "seawall")) as url:
            lap("seawall faults")
            sources = [block.text.replace(UPSTREAM, url) for block in all_blocks if block.language == "python"]
            printed = typed(sources[:2], str(bin_folder / "python"))[-1]
            lap("python -m asyncio, and the first two blocks")
    print(f"{last - began:6.1f} s  in all; it printed:\n{printed}", end="")
    return 0 if "3 attempts" in printed else 1


if __name__ == "__main__":
    sys.exit(main())
