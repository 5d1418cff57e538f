"""The tutorial, done as it says: commands run, blocks pasted into `python -m asyncio`, files saved."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import httpx

from tests.docs.tutorial import (
    PAGE,
    PATIENCE,
    SERVICE,
    UNBUFFERED,
    UPSTREAM,
    blocks,
    masked,
    shown,
    typed,
    upstream,
    wait_for,
)

BLOCKS = blocks(PAGE.read_text())
SEAWALL = (sys.executable, "-c", "from seawall.cli import main; main()")


def commands() -> list[str]:
    return [line for block in BLOCKS if block.language == "sh" for line in block.text.splitlines()]


def save(folder: Path, **replaced: str) -> None:
    """Writes the files that a reader is told to save, with the ports of this run."""
    for block in BLOCKS:
        if block.title:
            (folder / block.title).write_text(block.text.replace(UPSTREAM, replaced.get("upstream", UPSTREAM)))


def test_it_has_these_commands():
    """Each is run below, or by scripts/stopwatch.py, which installs as the page says."""
    assert commands() == [
        "python3 -m venv .venv",
        ". .venv/bin/activate",
        "pip install 'seawall[cli]'",
        ". .venv/bin/activate",
        "seawall faults",
        "python -m asyncio",
        "pip install pytest",
        "pytest -q",
        "pip install fastapi uvicorn",
        "uvicorn service:app",
        f"curl {SERVICE}/orders/7",
    ]


def test_each_block_prints_what_stands_below_it(tmp_path):
    """Steps 3 to 8, in one session, against a real `seawall faults`, which has seen each request."""
    pasted = [index for index, block in enumerate(BLOCKS) if block.language == "python" and not block.title]
    with upstream(tmp_path, *SEAWALL) as url:
        printed = typed([BLOCKS[index].text.replace(UPSTREAM, url) for index in pasted])
        seen = (tmp_path / "faults.txt").read_text()
    assert len(printed) == len(pasted)
    for index, text in zip(pasted, printed, strict=True):
        assert masked(text) == masked(shown(BLOCKS, index) or ""), BLOCKS[index].text
    assert re.findall(r"key=second -> (\S+)", seen) == ["503", "reset:headers", "ok"]
    assert re.findall(r"key=fifth, 14 B -> (\S+)", seen) == ["503"]
    assert re.findall(r"key=sixth, 14 B -> (\S+)", seen) == ["503", "ok"]
    (seconds,) = re.findall(r"answers in (.*) s", printed[-1])
    assert float(seconds) >= 1.0


def test_each_block_makes_its_own_client():
    """A reader takes minutes, in which a client that met so many failures would stop repeating anything."""
    for block in BLOCKS:
        if block.language == "python" and not block.title and re.search(r"\bclient\.", block.text):
            assert re.search(r"^async with \w+\.AsyncClient\(.*\) as client:$", block.text, re.MULTILINE), block.text


def test_its_test_passes(tmp_path):
    """Step 9, in a run of pytest of its own."""
    save(tmp_path)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=PATIENCE)
    said = next(shown(BLOCKS, index) for index, block in enumerate(BLOCKS) if block.text.endswith("pytest -q\n"))
    assert masked(done.stdout) == masked(said or "")


def test_its_service_answers_and_shows_its_dashboard(tmp_path):
    """Step 10: uvicorn serves the file; the order takes two attempts, and the dashboard knows of both."""
    output = tmp_path / "uvicorn.txt"
    with upstream(tmp_path, *SEAWALL) as url, output.open("w") as file:
        save(tmp_path, upstream=url)
        command = [sys.executable, "-m", "uvicorn", "service:app", "--port", "0"]
        service = subprocess.Popen(command, cwd=tmp_path, stdout=file, stderr=subprocess.STDOUT, env=UNBUFFERED)
        try:
            here = wait_for(service, output, r"running on (http://\S+)")
            order = commands()[-1].removeprefix("curl ").replace(SERVICE, here)
            answer = httpx.get(order, trust_env=False).text
            page = httpx.get(f"{here}/seawall/", trust_env=False)
            stats = httpx.get(f"{here}/seawall/stats", trust_env=False).json()
        finally:
            service.terminate()
            service.wait(PATIENCE)
    assert f"{answer}\n" == BLOCKS[-1].text
    assert page.headers["content-type"].startswith("text/html")
    (origin,) = stats["origins"]
    assert (origin["origin"], origin["total"]) == (url, 1), json.dumps(origin)
    assert stats["clients"][0]["attempts"] == {"first": 1, "retry": 1, "hedge": 0}
