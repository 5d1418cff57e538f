"""README: what it claims is run here, with the outcome that it states, and its links lead somewhere from anywhere."""

from __future__ import annotations

import html
import importlib.util
import json
import re
import statistics
import subprocess
import sys

import pytest
import tenacity
from benchmarks.clients import CLIENTS, Client
from benchmarks.fault_cells import cells
from benchmarks.reality import report
from benchmarks.reliability import CHECKS, cell, loaded

import seawall
from seawall.cli.demo import HOSTS
from seawall.testing import FaultServer
from tests.docs.test_docs import anchors
from tests.docs.tutorial import PATIENCE, ROOT, UPSTREAM, blocks, masked, shown, upstream

TEXT = (ROOT / "README.md").read_text()
BLOCKS = blocks(TEXT)
REPOSITORY = "https://github.com/seawall-http/seawall"
PLACES = (f"{REPOSITORY}/blob/main/", f"{REPOSITORY.replace('//github.com', '//raw.githubusercontent.com')}/main/")
CLAIMED = ("restart-1", "nginx-502", "limit-conn")  # of `benchmarks reality`
SEAWALL = (sys.executable, "-c", "from seawall.cli import main; main()")


def test_it_is_short_and_has_both_commands():
    """At most 150 lines; one command runs the demo, one the tests, and CI runs the second."""
    assert len(TEXT.splitlines()) <= 150
    begin = "python3 -m venv .venv && .venv/bin/pip install -q -e"
    assert f"{begin} '.[cli]' && .venv/bin/seawall demo\n" in TEXT
    test_command = f"{begin} '.[dev]' && .venv/bin/pytest -q -n auto\n"
    assert test_command in TEXT
    assert test_command in (ROOT / ".ci/run").read_text()


def test_its_links_are_absolute_and_lead_to_what_is_here():
    """A relative link would break on the package's page. Each names a file of the repository, and a heading of it."""
    targets = re.findall(r"\]\(([^)]*)\)", TEXT)
    assert targets
    for target in targets:
        place = next((place for place in PLACES if target.startswith(place)), None)
        assert place is not None, target
        name, _, heading = target.removeprefix(place).partition("#")
        assert (ROOT / name).is_file(), target
        assert not heading or heading in anchors(ROOT / name), target


def test_the_repository_is_pyproject_s():
    assert f'Repository = "{REPOSITORY}"' in (ROOT / "pyproject.toml").read_text()


def test_its_ten_lines_print_what_stands_below_them(tmp_path):
    """As a file, against a real `seawall faults`."""
    (index,) = (index for index, block in enumerate(BLOCKS) if block.title == "first.py")
    assert len(BLOCKS[index].text.split("\n\n\n")[-2].splitlines()) <= 10
    with upstream(tmp_path, *SEAWALL) as url:
        (tmp_path / "first.py").write_text(BLOCKS[index].text.replace(UPSTREAM, url))
        done = subprocess.run(
            [sys.executable, "first.py"], capture_output=True, text=True, cwd=tmp_path, timeout=PATIENCE
        )
    assert done.stderr == ""
    assert masked(done.stdout) == masked(shown(BLOCKS, index) or "")


@pytest.mark.anyio
async def test_the_picture_is_of_a_session_that_happens():
    """Its lines are those of a run of scripts/picture.py now; its page loads nothing from elsewhere."""
    spec = importlib.util.spec_from_file_location("picture", ROOT / "scripts/picture.py")
    picture = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(picture)
    terminal = await picture.draw()
    drawn = picture.PICTURE.read_text()
    lines: dict[str, str] = {}
    for height, text in re.findall(r'<text class="session-r\d" [^>]*y="([\d.]+)"[^>]*>([^<]*)</text>', drawn):
        lines[height] = lines.get(height, "") + html.unescape(text).replace("\xa0", " ")
    wanted = [line.rstrip() for line in masked(terminal.console.export_text()).splitlines()]
    assert [masked(line.rstrip()) for line in lines.values()] == wanted
    assert set(re.findall(r"https?://[^\s\"<]+", html.unescape(drawn))) <= {
        "http://www.w3.org/2000/svg",
        "https://www.textualize.io",
        "http://127.0.0.1:5500/x/503,reset:headers,ok?key=",
    }


def test_its_before_and_after_is_of_the_run_that_is_committed():
    """Each share and each p99 is the figure in docs/demo.json, a run of `seawall demo --json`."""
    found = json.loads((ROOT / "docs/demo.json").read_text())
    assert found["ok"]
    titles = ["httpx", "httpx tuned", "aiohttp + own retries", "seawall"]
    assert f"| host | {' | '.join(titles)} |" in TEXT
    table = TEXT.partition(f"| host | {' | '.join(titles)} |")[2].partition("\n\n")[0]
    rows = [row.strip(" |").split(" | ") for row in table.splitlines()[2:]]
    order = ("healthy", "flaky", "two-addresses", "slow", "dripping", "silent-dns")
    assert set(order) == set(HOSTS)
    for name, (_, *told) in zip(order, rows, strict=True):
        for title, text in zip(titles, told, strict=True):
            row = found[title]["hosts"].get(name)
            assert text == ("not asked" if row is None else _cell(row)), (name, title)
    by_hand, ours = (found[title]["hosts"] for title in titles[2:])
    attempts = [
        f"{hosts[name]['attempts'] / hosts[name]['calls']:.1f}" for name in order[3::2] for hosts in (by_hand, ours)
    ]
    said = re.search(
        r"by hand make ([\d.]+) attempts per call and\s+seawall ([\d.]+); to .* ([\d.]+) and ([\d.]+),", TEXT
    )
    assert attempts == list(said.groups())


def test_its_table_of_cpu_is_of_the_run_that_is_committed():
    """Each median, and each ratio of medians, is of docs/peers.json, a run of `python -m benchmarks peers --json`."""
    medians = {
        (cell["client"], cell["kind"]): statistics.median(run["cpu_us"] for run in cell["runs"])
        for cell in json.loads((ROOT / "docs/peers.json").read_text())["cells"]
    }
    table = TEXT.partition("| requests | httpx 0.28.1 | aiohttp 3.14.5 | seawall |")[2].partition("\n\n")[0]
    rows = [row.strip(" |").split(" | ") for row in table.splitlines()[2:]]
    for kind, (_, *told) in zip(("get", "params", "headers", "post", "stream"), rows, strict=True):
        theirs, peers, ours = (medians[client, kind] for client in ("httpx", "aiohttp", "seawall"))
        assert told[:3] == [f"{micros:.0f} µs" for micros in (theirs, peers, ours)], kind
        assert told[4] == f"{theirs / ours:.0f}", kind


def test_the_docs_table_of_cpu_is_of_the_run_that_is_committed():
    """Row by row, docs/kinds.json: the medians, their ratios, and the least and most of a round."""
    cells = json.loads((ROOT / "docs/kinds.json").read_text())["cells"]
    found: dict[tuple[object, ...], dict[str, list[float]]] = {}
    for each in cells:
        work = tuple(each[name] for name in ("kind", "size", "wire", "in_flight", "origins"))
        found.setdefault(work, {})[each["client"]] = [run["cpu_us"] for run in each["runs"]]
    page = (ROOT / "docs/explanation/performance.md").read_text()
    table = page.partition("| requests | in flight | origins | aiohttp | seawall | pyreqwest |")[2].partition("\n\n")[0]
    rows = [row.strip("| ").split(" | ")[1:] for row in table.splitlines()[2:]]
    for (work, runs), (width, origins, *told) in zip(found.items(), rows, strict=True):
        assert (width, origins) == (f"{work[-2]:,}", f"{work[-1]:,}")
        clients = ("aiohttp", "seawall", "pyreqwest")
        wanted = [f"{statistics.median(runs[client]):.0f}" if client in runs else None for client in clients]
        assert [text if text.isdigit() else None for text in told[:3]] == wanted
        for other, text in zip(("aiohttp", "pyreqwest"), told[3:], strict=False):
            if other in runs:
                rounds = [ours / theirs for ours, theirs in zip(runs["seawall"], runs[other], strict=True)]
                middle = statistics.median(runs["seawall"]) / statistics.median(runs[other])
                assert text.strip(" |") == f"{middle:.2f} ({min(rounds):.2f}–{max(rounds):.2f})", work


def test_its_points_are_of_the_run_that_is_committed():
    """Those of docs/reliability.json, of runs of `python -m benchmarks reliability --json`; so is the docs' table."""
    found, clients = loaded(ROOT / "docs/reliability.json")
    points = {name: CHECKS[name][0] for name in found}
    sums = {
        client: f"{sum(points[name] * (verdicts[client].share or 0) for name, verdicts in found.items()):.1f}"
        for client in clients
    }
    (said,) = re.findall(r"\(`python -m benchmarks reliability`[^)]*\) seawall has (.*?)\.\s+Over", TEXT, re.DOTALL)
    told = {}
    for title, number, more in re.findall(
        r"(\w[\w\s-]*?)\s([\d.]+)(?: \(([\d.]+) with its own retries\))?(?:,|$)", f"seawall {said}"
    ):
        told[" ".join(title.split())] = number
        if more:
            told[f"{title} + own retries"] = more
    assert told == {CLIENTS[client].title: number for client, number in sums.items()}

    page = (ROOT / "docs/explanation/reliability.md").read_text()
    head, _, *rows = page[page.index("| check | points |") :].partition("\n\n")[0].replace("**", "").splitlines()
    for title, client in zip(head.strip("| ").split(" | ")[2:], clients, strict=True):
        assert re.sub(r" \d[\d.]*", "", title) == CLIENTS[client].title
    told = {row.strip("| ").split(":")[0]: row.strip("| ").split(" | ")[1:] for row in rows[:-1]}
    assert told == {
        name.split()[0]: [f"{points[name]:g}", *(cell(points[name], verdicts[client]) for client in clients)]
        for name, verdicts in found.items()
    }
    assert rows[-1].strip("| ").split(" | ") == ["sum", f"{sum(points.values()):g}", *sums.values()]


def test_its_figures_of_real_servers_are_of_the_run_that_is_committed(monkeypatch):
    """Those of docs/reality.json, a run of `python -m benchmarks reality --json`; so are the docs' tables."""
    rows = json.loads((ROOT / "docs/reality.json").read_text())["rows"]
    ours, theirs = ([f"{rows[name][client]['all']:.1f}" for name in CLAIMED] for client in ("seawall", "httpx"))
    (said,) = re.findall(r"Over a restart of 1 s .*?: \[real servers\]", TEXT, re.DOTALL)
    said = re.findall(r"(\d+\.\d) %", said)
    assert (said[0::2], said[1::2]) == (ours, theirs)

    monkeypatch.setattr(Client, "head", property(lambda self: self.title))  # not all of them are installed
    page = (ROOT / "docs/explanation/reliability.md").read_text()
    told = page.partition("--show docs/reality.json` -->\n\n")[2].partition("\nHow to read it:")[0]
    assert re.sub(r"(?m)(?<=^\| row).*$", lambda heads: re.sub(r" \d[\d.]*", "", heads[0]), told) == (
        f"{report(rows)}".rstrip() + "\n"
    )


def _cell(row):
    share = f"{100 * row['ok'] / row['calls']:.1f} %"
    return f"{share}, {_seconds(row['p99'])}"


def _seconds(seconds):
    if seconds >= 1:
        return f"{seconds:.2f} s"
    return f"{seconds * 1e3:.0f} ms" if seconds >= 0.1 else f"{seconds * 1e3:.1f} ms"


@pytest.mark.anyio
async def test_what_a_post_becomes():
    """Without an Idempotency-Key a POST that got a 503 isn't repeated; with one it is, and a GET is."""
    at_once = seawall.Retry(wait=tenacity.wait_none())
    headers = {"Idempotency-Key": "1"}
    async with FaultServer() as server, seawall.AsyncClient(retry=at_once) as client:
        posted = await client.post(server.script("post", "503", "ok"), json={"id": 1})
        keyed = await client.post(server.script("keyed", "503", "ok"), json={"id": 1}, headers=headers)
    (said,) = re.findall(r"`(1 attempt in [^`]*)`", TEXT)
    assert masked(str(posted.extensions["seawall"])) == masked(said)
    assert keyed.status_code == 200


def test_it_counts_the_faults():
    """As many as the benchmark puts before clients."""
    count = len({cell.how for cell in cells("seawall")})
    assert f"all [{count} faults]" in TEXT


def test_its_line_for_an_sdk_is_one_that_is_tested():
    """tests/interop/sdks runs each line of the table in docs/howto/llm.md."""
    (line,) = re.findall(r"llm = (openai\..*)", TEXT)
    assert f"`{line}`" in (ROOT / "docs/howto/llm.md").read_text()


def test_what_it_does_not_do():
    """No client without asyncio; trio is refused with words."""
    assert not hasattr(seawall, "Client")
    trio = pytest.importorskip("trio")

    async def ask() -> None:
        await seawall.AsyncClient().get("http://127.0.0.1:1/")

    with pytest.raises(RuntimeError, match="asyncio"):
        trio.run(ask)
