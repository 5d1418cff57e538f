"""The benchmarks run; what they measure is theirs to say."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from contextlib import nullcontext
from itertools import count
from pathlib import Path

import pytest
from benchmarks import calls, instructions, peers
from benchmarks.faults import Cell
from benchmarks.load import KINDS, WORDS, Calls
from benchmarks.peers import usual_loads
from benchmarks.reliability import table
from benchmarks.reliability.board import Board, Verdict
from benchmarks.reliability.matrix import reuse, single_faults
from benchmarks.server import Answering

ROOT = Path(__file__).parents[2]
FILES, CALLS = 22, 110


def benchmarks(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments], capture_output=True, text=True, cwd=ROOT, timeout=600
    )


def test_names():
    """Without a name it lists them, each of which is a module with a `main`."""
    done = benchmarks()
    assert done.returncode == 2
    for name in ("peers", "instructions", "calls", "layers", "start", "idle", "stream", "soak", "faults"):
        assert f"  {name} " in done.stdout
        assert "def main(" in (ROOT / "benchmarks" / f"{name}.py").read_text()


SMALL = ("--clients", "aiohttp,seawall", "--in-flight", "2", "--repeat", "1", "--quick")


def shown(text: str, found: Path, kinds: list[str]) -> None:
    """The JSON has a cell for each kind and client, and the table shows them."""
    cells = json.loads(found.read_text())["cells"]
    assert [(cell["kind"], cell["client"], cell["in_flight"], cell["origins"]) for cell in cells] == [
        (kind, client, 2, 1) for kind in kinds for client in ("aiohttp", "seawall")
    ]
    rows = {cell["kind"]: [] for cell in cells}
    for cell in cells:
        assert cell["failed"] is None
        assert cell["median"] == cell["runs"][0]
        rows[cell["kind"]].append(f"{cell['median']['cpu_us']:.0f}")
    for kind, figures in rows.items():
        assert f"| {WORDS[kind]} | 2 | 1 | {' | '.join(figures)} |" in text


def test_peers(tmp_path, monkeypatch, capsys):
    """A small run's JSON has the cells that the tables show; so it has with every kind of request."""
    found = tmp_path / "found.json"
    done = benchmarks("peers", *SMALL, "--kinds", "post", "--json", str(found))
    assert done.returncode == 0, done.stdout + done.stderr
    shown(done.stdout, found, ["post"])
    run, costs = json.loads(found.read_text())["cells"][0]["runs"][0], count(100)
    monkeypatch.setattr(peers, "server", lambda: nullcontext(1))
    monkeypatch.setattr(peers, "child", lambda *_, **__: json.dumps(run | {"cpu_us": next(costs)}))
    assert peers.main([*SMALL, "--kinds", ",".join(KINDS), "--json", str(found)]) == 0
    shown(capsys.readouterr().out, found, list(KINDS))


def test_new_urls_come_first():
    """What is kept ready for one URL is the last that the benchmark shows, and no two requests before it are alike."""
    loads = usual_loads()
    assert [load.kind for load in loads if load.in_flight == 50 and load.origins == 1] == list(KINDS)
    assert (next(iter(KINDS)), list(KINDS)[-1]) == ("new", "same")


@pytest.mark.anyio
@pytest.mark.parametrize("kind", KINDS)
async def test_kinds(kind):
    """Only `same` asks for the same thing twice."""
    asked = []

    async def ask(*arguments, **more):
        asked.append((arguments, more))
        return b""

    for number in range(2):
        await KINDS[kind](Calls(ask, ask, ask), "http://a/", number)
    assert (asked[0] == asked[1]) is (kind == "same")


def test_instructions(monkeypatch, capsys):
    """What a request costs is the difference of two runs, without what a process costs."""
    monkeypatch.setattr(instructions, "counted", lambda client, url, load, requests: 10**9 + 250_000 * requests)
    monkeypatch.setattr("shutil.which", lambda name: name)
    assert instructions.main(["--clients", "aiohttp,seawall", "--kinds", "new"]) == 0
    assert f"| {WORDS['new']} | 250 | 250 | 1.00 |" in capsys.readouterr().out


@pytest.mark.anyio
@pytest.mark.parametrize("kind", KINDS)
async def test_calls(kind):
    """
    A request over a kept connection goes through at most 22 of seawall's files and 110 calls of its functions, a stream
    through 25 and 145.
    """
    server = await asyncio.get_running_loop().create_server(Answering, "127.0.0.1", 0)
    async with server:
        found = await calls.counted(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", kind)
    assert found.ours["_httpx/client.py", "AsyncClient.send"] >= 1
    assert found.httpx >= 1
    assert found.files <= FILES + 3 * (kind == "stream")  # a body that the caller reads is a matter of its own
    assert found.calls <= CALLS + 35 * (kind == "stream")


def test_calls_are_listed(capsys):
    """Each kind has a row; with `--list`, each function has one too."""
    assert calls.main(["--kinds", "new", "--list"]) == 0
    shown = capsys.readouterr().out
    assert f"| {WORDS['new']} | " in shown
    assert " _httpx/client.py AsyncClient.send" in shown


def test_reliability(tmp_path):
    """A check of one client: its points are in the table, and what was seen in the JSON."""
    found = tmp_path / "found.json"
    done = benchmarks("reliability", "--clients", "seawall", "--only", "C8", "--json", str(found))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "| C8 one-shot body | 1 | yes |" in done.stdout
    assert "| sum | 1 | 1.0 |" in done.stdout
    assert json.loads(found.read_text())["C8 one-shot body"]["seawall"][0] == 1.0


@pytest.mark.parametrize(("check", "phase"), [(single_faults, "headers"), (reuse, "reuse")])
def test_the_matrix_gives_the_share_of_right_cells(check, phase):
    """In each of its checks, by the same rule: half of the cells are right, so half of the points are had."""
    cells = [Cell("hang", phase, "", "I/N", "GET", "seawall", wrong=wrong) for wrong in ([], ["hangs"])]
    others = [Cell("hang", "tls", "", "I/N", "GET", "seawall")] if phase == "reuse" else []
    board = Board("seawall", None, Path(), is_apart=False, seen={"cells": cells + others})
    assert check(board).share == 0.5


def test_what_is_set_for_one_client_alone_is_marked():
    """In the cell, and below the table."""
    found = {"G1 bomb": {"httpx": Verdict(0, ""), "seawall": Verdict(1, "", ("max_response_size",))}}
    text = table(found, ["httpx", "seawall"])
    assert "| G1 bomb | 2 | - | yes † |" in text
    assert "† set for seawall alone, in G1: max_response_size" in text
