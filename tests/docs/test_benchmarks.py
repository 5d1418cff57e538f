"""The benchmarks run; what they measure is theirs to say."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
from benchmarks import calls, faults, instructions, memory, peers, proxies, waiting
from benchmarks.fault_cells import Cell, cells, proxied
from benchmarks.reliability import add, loaded, table
from benchmarks.reliability.board import Board, Verdict
from benchmarks.reliability.matrix import reuse, single_faults
from benchmarks.server import BODY, Answering
from benchmarks.sites import Sites, lacks
from benchmarks.work import KINDS, WORDS, WORKS, Calls, Work, works

ROOT = Path(__file__).parents[2]
FILES, CALLS = 25, 102


def benchmarks(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments], capture_output=True, text=True, cwd=ROOT, timeout=600
    )


def test_names():
    """Without a name it lists them, each of which is a module with a `main`."""
    done = benchmarks()
    assert done.returncode == 2
    for name in (
        "peers",
        "instructions",
        "calls",
        "layers",
        "start",
        "idle",
        "memory",
        "garbage",
        "stream",
        "workers",
        "faults",
    ):
        assert f"  {name} " in done.stdout
        assert "def main(" in (ROOT / "benchmarks" / f"{name}.py").read_text()


NOWHERE = Sites("http://plain/", {wire: f"{wire}://nginx/" for wire in ("http", "tls", "h2")})
SMALL = ("--clients", "aiohttp,seawall", "--in-flight", "2", "--repeat", "1", "--quick")


def shown(text: str, found: Path, kinds: list[str]) -> None:
    """The JSON has a cell for each kind of request and client, and the table shows them."""
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
    done = benchmarks("peers", *SMALL, "--work", "post", "--json", str(found))
    assert done.returncode == 0, done.stdout + done.stderr
    shown(done.stdout, found, ["post"])
    run, costs = json.loads(found.read_text())["cells"][0]["runs"][0], count(100)
    monkeypatch.setattr(peers, "sites", lambda _: nullcontext(NOWHERE))
    monkeypatch.setattr(peers, "child", lambda *_, **__: json.dumps(run | {"cpu_us": next(costs)}))
    assert peers.main([*SMALL, "--work", ",".join(KINDS), "--json", str(found)]) == 0
    shown(capsys.readouterr().out, found, list(KINDS))


@pytest.mark.skipif(bool(lacks(WORKS["h2"])), reason="nginx is not installed")
def test_peers_on_nginx(tmp_path):
    """nginx serves large answers, TLS and HTTP/2; a client without HTTP/2 is left out of that, and said to be."""
    found = tmp_path / "found.json"
    arguments = ("--clients", "aiohttp,seawall", "--repeat", "1", "--quick", "--work", "get10k,tls,h2")
    done = benchmarks("peers", *arguments, "--in-flight", "2", "--json", str(found))
    assert done.returncode == 0, done.stdout + done.stderr
    cells = json.loads(found.read_text())["cells"]
    assert [cell["failed"] for cell in cells] == [None] * 5
    assert [(cell["client"], cell["wire"]) for cell in cells][-2:] == [("seawall", "tls"), ("seawall", "h2")]
    assert f"| {WORKS['h2'].words} | 2 | 1 | no HTTP/2 | " in done.stdout


def test_peers_without_nginx(monkeypatch, capsys):
    """What needs it is left out, with the reason; the rest is measured."""
    run = {"cpu_us": 100, "per_second": 1, "p50_ms": 1, "p99_ms": 1, "peak_mb": 1, "growth_mb": 1, "requests": 1}
    monkeypatch.setattr(peers, "lacks", lambda work: "" if work.is_plain else "needs nginx")
    monkeypatch.setattr(peers, "sites", lambda _: nullcontext(NOWHERE))
    monkeypatch.setattr(peers, "child", lambda *_, **__: json.dumps(run))
    assert peers.main([*SMALL, "--work", "get,tls"]) == 0
    text = capsys.readouterr().out
    assert f"left out: {WORKS['tls'].words}: needs nginx" in text
    assert "| a new URL per request | 2 | 1 | 100 | 100 | 1.00 (1.00–1.00) |" in text


def test_works():
    """A name stands for one work; given widths and origins replace its own, and nginx has one origin."""
    assert works("origins1000,get") == [Work("get", 50, origins=1000), Work("get", 50)]
    assert works("get,inflight2000,h2", in_flight="1,2") == [
        Work("get", 1), Work("get", 2), Work("get", 1, wire="h2"), Work("get", 2, wire="h2"),
    ]  # fmt: skip
    assert works("same", origins="1,20") == [Work("same"), Work("same", origins=20)]
    for wrong, reason in ((("gett",), "no work gett"), (("tls", "", "2"), "nginx is one origin")):
        with pytest.raises(ValueError, match=reason):
            works(*wrong)


@pytest.mark.parametrize("name", WORKS)
def test_a_work_is_told_to_another_process(name):
    """As it is, and a URL of the server that has what it asks for."""
    work = WORKS[name]
    assert Work.of(work.text) == work
    wire = {"tunnel": "tls"}.get(work.wire, work.wire)  # the origin behind a tunnel is the same
    plain = {"proxy": "http://far.test/"}.get(work.wire, "http://plain/")
    assert NOWHERE.url(work) == (plain if work.is_plain else f"{wire}://nginx/{work.size}/")
    assert (Work.of(NOWHERE.text(work)).proxy == "http://plain/") is (work.wire == "proxy")


def test_new_urls_come_first():
    """What is kept ready for one URL is the last that the benchmark shows, and no two requests before it are alike."""
    assert list(WORKS)[: len(KINDS)] == list(KINDS)
    assert (next(iter(KINDS)), list(KINDS)[-1]) == ("get", "same")


@pytest.mark.anyio
@pytest.mark.parametrize("kind", KINDS)
async def test_kinds(kind):
    """Only `same` asks for the same thing twice."""
    asked = []

    async def ask(*arguments, **more):
        asked.append((arguments, more))
        return len(BODY)

    for number in range(2):
        await KINDS[kind](Calls(ask, ask, ask), "http://a/", number)
    assert (asked[0] == asked[1]) is (kind == "same")


def test_instructions(monkeypatch, capsys):
    """What a request costs is the difference of two runs, without what a process costs."""
    monkeypatch.setattr(instructions, "counted", lambda client, work, running, requests: 10**9 + 250_000 * requests)
    monkeypatch.setattr("shutil.which", lambda name: name)
    monkeypatch.setattr(instructions, "lacks", lambda _: "")
    monkeypatch.setattr(instructions, "sites", lambda _: nullcontext(NOWHERE))
    assert instructions.main(["--clients", "aiohttp,seawall", "--work", "get,tls,h2"]) == 0
    text = capsys.readouterr().out
    for row in (f"{WORDS['get']} | 250 | 250 | 1.00", f"{WORDS['get']}, TLS | 250 | 250 | 1.00"):
        assert f"| {row} |" in text
    assert f"| {WORDS['get']}, HTTP/2 | no HTTP/2 | 250 |" in text


@pytest.mark.anyio
@pytest.mark.parametrize("kind", KINDS)
async def test_calls(kind):
    """
    A request over a kept connection goes through at most 25 of seawall's files and 102 calls of its functions, a stream
    through 30 and 138, because its headers tell the adaptive bulkhead that the server answers, and because a redirect's
    body is read under the deadline.
    """
    server = await asyncio.get_running_loop().create_server(Answering, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        found = await calls.counted(url, replace(WORKS[kind], in_flight=1))
    assert found.ours["_httpx/client.py", "AsyncClient.send"] >= 1
    assert found.httpx >= 1
    assert found.files <= FILES + 5 * (kind == "stream")  # a body that the caller reads is a matter of its own
    assert found.calls <= CALLS + 36 * (kind == "stream")


def test_calls_are_listed(capsys):
    """Each kind has a row; with `--list`, each function has one too."""
    assert calls.main(["--work", "get", "--list"]) == 0
    shown = capsys.readouterr().out
    assert f"| {WORDS['get']} | " in shown
    assert " _httpx/client.py AsyncClient.send" in shown


def test_waiting():
    """Each gate's row has a figure for each number of calls."""
    done = benchmarks("waiting", "--calls", "5,10")
    assert done.returncode == 0, done.stderr
    rows = [line.strip("| ").split(" | ") for line in done.stdout.splitlines() if line.startswith("| ")]
    assert [row[0] for row in rows[1:]] == list(waiting.CASES)
    assert all(float(each) > 0 for row in rows[1:] for each in row[1:])


def test_memory():
    """An idle connection, a call in flight and an origin each keep something beyond bare asyncio."""
    done = benchmarks("memory", "--each", "20", "--clients", "aiohttp,seawall")
    assert done.returncode == 0, done.stdout + done.stderr
    rows = dict(re.findall(r"^\| (\w+) \| (.+) \|$", done.stdout, re.MULTILINE))
    assert list(rows) == ["asyncio", "aiohttp", "seawall"]
    for cell in f"{rows['aiohttp']} | {rows['seawall']}".split(" | "):
        size, tracked = re.fullmatch(r"([\d,]+) B \([\d,]+\), ([\d.]+) objects", cell).groups()
        assert int(size.replace(",", "")) > 100
        assert float(tracked) > 0


def test_memory_is_shown_beside_asyncio():
    """The bytes, those beyond bare asyncio, and the tracked objects; medians of the runs."""
    runs = {
        name: [{what: [size + more, 12] for what in memory.WHAT} for more in (0, 100, 900)]
        for name, size in (("asyncio", 1700), ("seawall", 4700))
    }
    assert "| seawall | " + " | ".join(["4,800 B (3,000), 12.0 objects"] * 3) + " |" in memory.table(runs)


def test_reliability(tmp_path):
    """A check of one client: its points are in the table, and what was seen in the JSON."""
    found = tmp_path / "found.json"
    done = benchmarks("reliability", "--clients", "seawall", "--only", "C8", "--json", str(found))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "| C8 one-shot body | 1 | yes |" in done.stdout
    assert "| sum | 1 | 1.0 |" in done.stdout
    checks, clients = loaded(found)
    assert clients == ["seawall"]
    assert checks["C8 one-shot body"]["seawall"].share == 1.0


def test_reliability_of_one_client_after_another(tmp_path):
    """One file has what all runs found, and the conditions of each; the table has the clients of all its checks."""
    file = tmp_path / "found.json"
    add(file, "seawall 0.1.0\nMonday", {"G1 bomb": {"seawall": Verdict(1, "ok", ("max_response_size",))}})
    add(file, "httpx 0.28.1\nTuesday", {"G1 bomb": {"httpx": Verdict(0, "hung")}, "B3 upload": {}})
    assert loaded(file)[1] == []
    add(file, "both\nFriday", {"B3 upload": {"httpx": Verdict(1, "ok"), "seawall": Verdict(None, "no network")}})
    checks, clients = loaded(file)
    assert (list(checks), clients) == (["B3 upload", "G1 bomb"], ["httpx", "seawall"])
    assert checks["G1 bomb"]["seawall"] == Verdict(1, "ok", ("max_response_size",))
    assert [head[1] for head in json.loads(file.read_text())["conditions"]] == ["Monday", "Tuesday", "Friday"]


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


def test_faults_through_a_proxy(tmp_path):
    """The same cells, without names and proxies; each request, and the one after it, goes through the proxy."""
    found = tmp_path / "found.json"
    done = benchmarks("faults", "--clients", "seawall", "--through", "https", "--only", "503,ok", "--json", str(found))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "through a good proxy (https); left out: names" in done.stdout
    cells = json.loads(found.read_text())
    ends = {(cell["how"], cell["method"]): cell["outcome"] for cell in cells}
    assert ends == {
        (how, way): end for how in ("503,ok", "503,503,ok") for way, end in (("GET", "200"), ("POST", "503"))
    }
    assert all(cell["proxy"].startswith("https:") and cell["is_next_good"] for cell in cells)


def test_what_is_left_out_through_a_proxy():
    """Names, which are the proxy's to resolve, and the faults of proxies."""
    kept = [cell.how for cell in [*cells("x"), *proxied("x")] if not faults._is_left_out(cell)]
    assert not [how for how in kept if how.startswith(("dns:", "port:proxy", "port:tls_proxy", "port:socks5"))]
    assert {"port:refuse", "net:Reset", "h2_refused"} <= set(kept)


@pytest.mark.parametrize("fault", ["none", "hang", "refuse"])
def test_one_bad_proxy_of_three(fault, monkeypatch):
    """Calls through the two others are good; those through the third end as its fault says."""
    monkeypatch.setattr(proxies, "WARM", 0.0)
    run = asyncio.run(proxies.run(fault, 0.12, is_secure=False, kind="seawall", timeout=0.2))
    assert (len(run.good), run.failed) == (8, {})
    assert run.quantile(0.99) == max(run.good)
    ends = {"none": {"200"}, "hang": {"ReadTimeout", "DeadlineExceeded"}, "refuse": {"ProxyUnreachable"}}
    assert set(run.bad) <= ends[fault]
