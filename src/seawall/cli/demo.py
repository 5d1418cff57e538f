"""``seawall demo``: the main job, on servers of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from .load import DEADLINE, PATIENCE, TIMEOUT

__all__ = ["run"]

HOSTS = {
    "healthy": "answers at once",
    "flaky": "one answer in ten is a 503, one in twenty a reset",
    "slow": "accepts, then says nothing",
    "dripping": "sends a byte in 0.2 s",
    "two-addresses": "the first of them is dead",
    "silent-dns": "its name server never answers",
}
BASELINE_SECONDS = 3.0
NOISE = 0.01  # s; a p99 below it says more about the machine's other users than about the client
Result = dict[str, Any]


def run(*, seconds: float, rate: float, path: Path | None) -> int:
    """Exit status: 0 if seawall kept the healthy host whole."""
    console = Console()
    if path is not None:
        try:
            path.touch()
        except OSError as error:
            console.print(f"--json: can't write {path}: {error.strerror}")
            return 2
    console.print(f"\n[bold]Six hosts on loopback, {rate:g} calls/s for {seconds:g} s, half of them to the first:[/]")
    for host, what in HOSTS.items():
        console.print(f"  {host:15}[dim]{what}[/]")
    console.print(
        f"\nhttpx    [dim]httpx.AsyncClient(timeout={TIMEOUT:g})[/]\n"
        f"seawall  [dim]seawall.Client(timeout={TIMEOUT:g}, deadline={DEADLINE:g}, dns=...)[/]\n\n"
        "[dim]httpx gets addresses, for it can't be pointed at a DNS server: it is spared the\n"
        "dead address and the silent name server.[/]\n"
    )
    with _upstreams() as (ports, nameserver):

        def load(client: str, title: str, hosts: list[str], length: float) -> Result:
            urls = {
                host: f"http://127.0.0.1:{ports[host]}/" if client == "httpx" else f"http://{host}.test:{ports[host]}/"
                for host in hosts
            }
            with Live(console=console, refresh_per_second=8, transient=True) as live:
                return _load(
                    client, urls, nameserver, length, rate, lambda line: live.update(_view(title, line, length))
                )

        bare = load("httpx", "httpx", [host for host in HOSTS if host != "silent-dns"], seconds)
        console.print(_table("bare httpx", bare), "")
        baseline = load("seawall", "seawall, nobody in trouble", ["healthy"], min(BASELINE_SECONDS, seconds))
        ours = load("seawall", "seawall", list(HOSTS), seconds)
        console.print(_table("seawall", ours), "")
    limit = max(2 * baseline["hosts"]["healthy"]["p99"], NOISE)
    healthy = ours["hosts"]["healthy"]
    is_good = _share(healthy) >= 0.999 and healthy["p99"] <= limit
    for sentence in _sentences(bare, ours, baseline):
        console.print(sentence, highlight=False)
    if not is_good:
        console.print(
            f"\n[red]seawall did not keep the healthy host whole: {_share(healthy):.2%} ok (99.9 % asked), "
            f"p99 {_ms(healthy['p99'])} (at most {_ms(limit)} asked).[/]"
        )
    if path is not None:
        path.write_text(json.dumps({"httpx": bare, "seawall": ours, "baseline": baseline, "ok": is_good}, indent=1))
    return 0 if is_good else 1


@contextmanager
def _upstreams() -> Iterator[tuple[dict[str, int], str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "seawall.cli.upstreams"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        where = json.loads(process.stdout.readline())
        yield where["ports"], where["dns"]
    finally:
        process.kill()
        process.communicate()


def _load(
    client: str, urls: dict[str, str], nameserver: str, seconds: float, rate: float, show: Callable[[Result], None]
) -> Result:
    arguments = {"client_name": client, "urls": urls, "nameserver": nameserver, "seconds": seconds, "rate": rate}
    process = subprocess.Popen(  # noqa: S603 - ourselves
        [sys.executable, "-m", "seawall.cli.load", json.dumps(arguments)], stdout=subprocess.PIPE, text=True
    )
    last: Result = {}
    try:
        assert process.stdout is not None
        for text in process.stdout:
            last = json.loads(text)
            if "progress" in last:
                show(last)
        if process.wait() != 0 or "hosts" not in last:
            raise RuntimeError(f"the load through {client} ended with status {process.returncode}")
    finally:
        process.kill()
        process.communicate()
    return last


def _view(title: str, line: Result, seconds: float) -> Table:
    """What is shown while a load runs."""
    view = Table.grid()
    view.add_row(
        Text(f"{title}: {line['at']:.0f} of {seconds:g} s, and up to {PATIENCE:g} s for the last calls to end")
    )
    view.add_row(ProgressBar(total=seconds, completed=line["at"], width=60))
    for host, (started, ok, ended) in line["progress"].items():
        failed, waiting = ended - ok, started - ended
        view.add_row(
            Text.assemble(
                f"  {host:14}", (f"{ok:6} ok", "green"), (f"{failed:6} failed", "red"), f"{waiting:6} under way"
            )
        )
    return view


def _table(title: str, result: Result) -> Table:
    table = Table(
        title=title,
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        title_justify="left",
        title_style="bold",
        header_style="bold",
    )
    for name in ("host", "calls", "ok", "p50", "p99", "attempts\n/call", "failed most with"):
        table.add_column(name, justify="left" if name in ("host", "failed most with") else "right", no_wrap=True)
    for host, row in result["hosts"].items():
        share = _share(row)
        colour = "green" if share >= 0.999 else "yellow" if share >= 0.9 else "red"
        failure = max(row["errors"].items(), key=lambda item: item[1], default=("", 0))
        table.add_row(
            host,
            str(row["calls"]),
            f"[{colour}]{share:.1%}[/]",
            _ms(row["p50"]),
            _ms(row["p99"]),
            f"{row['attempts'] / max(1, row['calls']):.2f}",
            f"{failure[0]} {failure[1]}" if failure[1] else "",
        )
    lag = result["lag"]
    table.caption = f"event loop: p99 {_ms(lag['p99'])} late, {_ms(lag['max'])} at most"
    table.caption_justify = "left"
    return table


def _sentences(bare: Result, ours: Result, baseline: Result) -> list[str]:
    theirs, mine = bare["hosts"]["healthy"], ours["hosts"]["healthy"]
    flaky, before = ours["hosts"]["flaky"], bare["hosts"]["flaky"]
    if _share(theirs) < 0.99:
        first = (
            "Through httpx, the hosts that hang took the connections that all hosts share: of the calls to the healthy "
            f"host {1 - _share(theirs):.0%} failed, and its p99 was {_ms(theirs['p99'])}."
        )
    else:
        first = (
            "Through httpx, the hosts that hang did not take all of the shared connections in so short a time: "
            f"{_share(theirs):.1%} of the calls to the healthy host were good, with a p99 of {_ms(theirs['p99'])}."
        )
    return [
        first,
        f"Through seawall each host has permits of its own: {_share(mine):.2%} of them were good, with "
        f"a p99 of {_ms(mine['p99'])}; it is {_ms(baseline['hosts']['healthy']['p99'])} when nobody is in trouble.",
        f"Retries, where safe and within a budget, made {_share(flaky):.1%} of the flaky host's calls good "
        f"({_share(before):.1%} through httpx) at {flaky['attempts'] / max(1, flaky['calls']):.2f} attempts a call; "
        "breakers left alone what was beyond help.",
    ]


def _share(row: Result) -> float:
    return float(row["ok"] / max(1, row["calls"]))


def _ms(seconds: float) -> str:
    if seconds >= 1:
        return f"{seconds:.2f} s"
    return f"{seconds * 1e3:.0f} ms" if seconds >= 0.1 else f"{seconds * 1e3:.1f} ms"
