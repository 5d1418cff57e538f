"""`python -m benchmarks reality`: a run on real servers, and what its tables say of one."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace

import pytest
from benchmarks import reality
from benchmarks.reality import table
from benchmarks.reality.drive import Job
from benchmarks.reality.place import Places, program
from benchmarks.reality.rows import ROWS
from benchmarks.reality.run import measured, median
from benchmarks.reality.servers import Application, Site


def cell(good: float, **more: object) -> dict[str, object]:
    """What one run of 10 GETs found."""
    times = dict.fromkeys(("p50", "p99", "good_p50", "good_p99", "late_p99"), 0.01)
    counts = {"calls": 10, "counts": {"GET": 10}, "good": {"GET": good}, "all": good, "ends": {}}
    return counts | {"attempts": 1, "twice": 0, "left": 0} | times | more


@pytest.mark.skipif(program("nginx") is None, reason="nginx isn't installed")
@pytest.mark.parametrize("name", ["limit-req-503-after", "worker-kill"])
def test_a_row_on_nginx(tmp_path, name):
    """Each call has one end, the server's log has seen each, and no descriptor is left."""
    row = replace(ROWS[name], rate=20, seconds=1)
    found = measured(Places(tmp_path), 0, row, "seawall", ("GET", "POST"))
    assert found["calls"] == 20
    good = sum(round(share * found["counts"][method] / 100) for method, share in found["good"].items())
    assert good + sum(found["ends"].values()) == 20
    assert good > 0
    assert found["attempts"] > 0
    assert found["left"] == 0


@pytest.mark.skipif(program("haproxy") is None, reason="haproxy isn't installed")
def test_a_row_on_haproxy(tmp_path):
    """HAProxy's log is read: a call is an attempt, once."""
    row = replace(ROWS["haproxy-no-server"], script=lambda site, seconds: None, rate=20, seconds=0.5)
    found = measured(Places(tmp_path), 0, row, "httpx", ("GET",))
    assert found["good"] == {"GET": 100}
    assert found["attempts"] == 1


def test_what_is_not_installed_is_skipped(monkeypatch, capsys, tmp_path):
    """The row says what is missing, and nothing is started."""
    monkeypatch.setattr(reality, "program", lambda name: None)
    found = tmp_path / "found.json"
    assert reality.main(["--row", "worker-kill,loss-5", "--json", str(found)]) == 0
    shown = capsys.readouterr().out
    assert "skipped: nginx isn't installed" in shown
    assert "loss-5 was skipped: nft, unshare, nsenter isn't installed" in shown
    assert set(json.loads(found.read_text())["rows"]) == {"worker-kill", "loss-5"}


def test_attempts_and_posts_seen_twice(tmp_path):
    """Of each call the longer log counts; a POST is seen twice where the application processed it twice."""
    (tmp_path / "front.log").write_text("r1-0 GET 503\nr1-0 GET 200\nwarm GET 200\n- GET 200\nr1-1 POST 200\n")
    (tmp_path / "application.log").write_text("warm GET\nr1-0 GET\nr1-1 POST\nr1-1 POST\nr1-2 GET\nr1-2 GET\n")
    place = Places(tmp_path).made(0)
    place.folder = tmp_path
    site = Site(Application(place, 1, None), "", None, tmp_path / "front.log")
    assert site.attempts() == 2 + 2 + 2  # of r1-0, r1-1, r1-2
    assert site.seen_twice() == 1


def test_bursts_come_together_and_sway():
    """A burst's calls are due at one instant; the gaps between bursts are longer and shorter than a second."""
    due = Job(run="r", url="", rate=20, seconds=5, burst=20).due()
    instants = Counter(due)
    assert set(instants.values()) == {20}
    gaps = [later - sooner for sooner, later in zip(instants, list(instants)[1:], strict=False)]
    assert min(gaps) < 1 < max(gaps)


def test_a_cell_is_a_median():
    """The median is that of each figure by itself; a failed run doesn't count while another has a figure."""
    found = reality.of([cell(90, p99=3), "a server didn't start", cell(70, p99=1), cell(80, p99=2, ends={"503": 2})])
    assert (found["good"], found["p99"], found["ends"]) == ({"GET": 80}, 2, {"503": 2})
    assert reality.of(["nothing"]) == {"failed": "nothing"}
    assert median([cell(50, good_p50=None)])["good_p50"] is None


def test_tables():
    """A row's table has a line for each client; the summary has one for each row, and says what was skipped."""
    found = {
        "stop-2": {"httpx": cell(90.04, ends={"503": 1}), "seawall": {"failed": "died"}},
        "loss-5": {"skipped": "nft isn't installed"},
    }
    lines = "\n".join(table.row("stop-2", found["stop-2"]))
    assert "| 90.0 | 90.0 | - | 10 | 10 | 1.00 | 0 | 0 | 1 503 |" in lines
    assert "| died |" in lines
    text = reality.report(found)
    assert "| stop-2 | 90.0 (90.0 / -) | - |" in text
    assert text.count("| all | 0 | 0 |") == 2
    assert "loss-5 was skipped: nft isn't installed" in text
    assert "- `stop-2`: the application stops for 2 s after 2 s (SIGSTOP); 100 calls/s for 8 s" in text


def test_results_are_merged(tmp_path, capsys):
    """What was measured later replaces a cell, and a row that was skipped is taken from where it ran."""
    first, second = tmp_path / "first.json", tmp_path / "second.json"
    first.write_text(
        json.dumps({"rows": {"loss-5": {"httpx": cell(80), "seawall": cell(70)}, "stop-2": {"skipped": "x"}}})
    )
    second.write_text(json.dumps({"rows": {"loss-5": {"seawall": cell(99)}, "stop-2": {"seawall": cell(50)}}}))
    assert reality.main(["--show", str(first), str(second)]) == 0
    shown = capsys.readouterr().out
    assert "| loss-5 | 80.0 (80.0 / -) | 99.0 (99.0 / -) |" in shown
    assert "| stop-2 | - | 50.0 (50.0 / -) |" in shown
    assert "skipped" not in shown
