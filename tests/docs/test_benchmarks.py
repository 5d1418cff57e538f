"""The benchmarks run; what they measure is theirs to say."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def benchmarks(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments], capture_output=True, text=True, cwd=ROOT, timeout=60
    )


def test_names():
    """Without a name it lists them, each of which is a module with a `main`."""
    done = benchmarks()
    assert done.returncode == 2
    for name in ("peers", "layers", "start", "idle", "stream", "soak", "faults"):
        assert f"  {name} " in done.stdout
        assert "def main(" in (ROOT / "benchmarks" / f"{name}.py").read_text()


def test_peers(tmp_path):
    """A small run's JSON has the cells that the table shows."""
    found = tmp_path / "found.json"
    done = benchmarks(
        "peers", "--clients", "aiohttp,seawall", "--in-flight", "2", "--repeat", "1", "--quick", "--json", str(found)
    )
    assert done.returncode == 0, done.stdout + done.stderr
    cells = json.loads(found.read_text())["cells"]
    assert [(cell["client"], cell["in_flight"], cell["origins"]) for cell in cells] == [
        ("aiohttp", 2, 1),
        ("seawall", 2, 1),
    ]
    rows = {line.split()[0]: line for line in done.stdout.splitlines() if line}
    for cell in cells:
        assert cell["failed"] is None
        assert cell["median"] == cell["runs"][0]
        assert f"{cell['median']['cpu_us']:.0f} µs" in rows[cell["client"]]


def test_reliability(tmp_path):
    """A check of one client: its points are in the table, and what was seen in the JSON."""
    found = tmp_path / "found.json"
    done = benchmarks("reliability", "--clients", "seawall", "--only", "C8", "--json", str(found))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "| C8 one-shot body | 1 | yes |" in done.stdout
    assert "| sum | 1 | 1.0 |" in done.stdout
    assert json.loads(found.read_text())["C8 one-shot body"]["seawall"][0] == 1.0
