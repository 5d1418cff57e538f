"""``seawall demo``: six hosts, five of them in trouble, under the same load through several clients."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from .load import CLIENTS, Patience

__all__ = ["HOSTS", "run", "upstreams"]

HOSTS = {
    "healthy": "answers at once",
    "flaky": "answers one request in ten with 503, resets one in twenty",
    "slow": "accepts the connection, then says nothing",
    "dripping": "sends one byte every 0.2 s",
    "two-addresses": "nothing listens on the first of its two addresses",
    "silent-dns": "its name server never answers",
}
MISSING = "not shown because it is not installed: pip install aiohttp"
WIDE = 104  # characters that the table needs with all its columns
HOPELESS = ("slow", "dripping")  # no client can get their answers in time
BASELINE_SECONDS = 3.0
NOISE = 0.01  # s; a p99 below it says more about other processes on the machine than about the client
Result = dict[str, Any]


def run(*, seconds: float, rate: float, timeout: float, path: Path | None) -> int:
    """Exit status: 0 if the trouble of the other hosts did not reach calls to the healthy one through seawall."""
    console = Console() if sys.stdout is not None and sys.stdout.isatty() else Console(width=WIDE)
    errors = Console(stderr=True, highlight=False, soft_wrap=True, markup=False)
    if path is not None:
        try:
            path.open("a").close()
        except OSError as error:
            errors.print(f"seawall demo: --json: can't write {path}: {error.strerror}")
            return 2
    console.print(f"\n[bold]Six hosts on loopback; {rate:g} calls/s for {seconds:g} s, half of them to the first:[/]")
    for host, what in HOSTS.items():
        console.print(f"  {host:15}[dim]{what}[/]")
    console.print(f"\n[bold]Each of these clients gets the same load, with timeouts of {timeout:g} s:[/]")
    known = {title: client for title, client in CLIENTS.items() if find_spec(client.package)}
    patience = Patience(timeout)
    for title, client in CLIENTS.items():
        settings = client.settings.format(deadline=patience.deadline) if title in known else MISSING
        console.print(f"  {title:22}[dim]{settings}[/]", highlight=False)
    console.print(
        "\n[dim]httpx can't be pointed at a DNS server, so its URLs hold good addresses: it meets\n"
        "neither the dead address nor the silent name server.[/]\n"
    )
    with upstreams() as (ports, nameserver):

        def load(title: str, hosts: list[str], length: float, text: str) -> Result:
            is_told = known[title].is_told
            urls = {
                host: f"http://{host}.test:{ports[host]}/" if is_told else f"http://127.0.0.1:{ports[host]}/"
                for host in hosts
                if is_told or host != "silent-dns"
            }
            arguments = {"client_name": title, "urls": urls, "nameserver": nameserver, "timeout": timeout}
            with Live(console=console, refresh_per_second=8, transient=True) as live:
                return _load(
                    arguments | {"seconds": length, "rate": rate},
                    lambda line: live.update(_view(text, line, length, patience.after_load)),
                )

        found: dict[str, Result] = {}
        for title in known:
            found[title] = load(title, list(HOSTS), seconds, title)
            console.print(_sentence(title, found[title]), highlight=False)
        baseline = load("seawall", ["healthy"], min(BASELINE_SECONDS, seconds), "seawall, no host in trouble")
    console.print(
        f"When no host is in trouble, the healthy host's p99 through seawall is {_p99(baseline)}.\n", highlight=False
    )
    console.print(_table(found, width=console.width))
    ours = found["seawall"]
    limit = max(2 * baseline["hosts"]["healthy"]["p99"], NOISE)
    healthy = ours["hosts"]["healthy"]
    is_good = _share(healthy) >= 0.999 and healthy["p99"] <= limit
    if not is_good:
        console.print(
            f"\n[red]The trouble of the other hosts reached the healthy one through seawall: {_share(healthy):.2%} ok "
            f"(should be at least 99.9 %), p99 {_ms(healthy['p99'])} (should be at most {_ms(limit)}).[/]"
        )
    if path is not None:
        try:
            path.write_text(json.dumps(found | {"baseline": baseline, "ok": is_good}, indent=1))
        except OSError as error:
            errors.print(f"seawall demo: --json: can't write {path}: {error.strerror}")
            return 2
    return 0 if is_good else 1


@contextmanager
def upstreams() -> Iterator[tuple[dict[str, int], str]]:
    """The six hosts' ports, and the address of their name server."""
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


def _load(arguments: dict[str, Any], show: Callable[[Result], None]) -> Result:
    """Run `load` in a process of its own, and *show* its progress; returns its result."""
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
            raise RuntimeError(f"the load through {arguments['client_name']} exited with {process.returncode}")
    finally:
        process.kill()
        process.communicate()
    return last


def _view(title: str, line: Result, seconds: float, after_load: float) -> Table:
    """The screen while a load runs."""
    view = Table.grid()
    view.add_row(
        Text(f"{title}: {line['at']:.0f} of {seconds:g} s; then up to {after_load:g} s for the last calls to end")
    )
    view.add_row(ProgressBar(total=seconds, completed=line["at"], width=60))
    for host, (started, ok, ended) in line["progress"].items():
        failed, waiting = ended - ok, started - ended
        view.add_row(
            Text.assemble(
                f"  {host:14}", (f"{ok:6} ok", "green"), (f"{failed:6} failed", "red"), f"{waiting:6} in flight"
            )
        )
    return view


def _table(found: dict[str, Result], *, width: int) -> Table:
    """The figures of each client with each host, and its most frequent error where the table has room for it."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
    names = ["host", "client", "ok", "p50", "p99", "attempts/call", "most frequent failure"]
    for name in names if width >= WIDE else names[:-1]:
        table.add_column(
            name, justify="left" if name in ("host", "client", "most frequent failure") else "right", no_wrap=True
        )
    rows: list[tuple[str, str, list[str]]] = []
    for host in HOSTS:
        for title, result in found.items():
            if row := result["hosts"].get(host):
                attempts = f"{row['attempts'] / max(1, row['calls']):.2f}"
                share = f"[{_colour(row)}]{_share(row):.1%}[/]"
                failure = max(row["errors"], key=row["errors"].__getitem__, default="")
                rows.append((host, title, [share, _ms(row["p50"]), _ms(row["p99"]), attempts, failure]))
    before = ""
    for host, title, cells in rows:
        table.add_row("" if host == before else host, title, *cells[: len(table.columns) - 2])
        before = host
    return table


def _colour(row: Result) -> str:
    return "green" if _share(row) >= 0.999 else "yellow" if _share(row) >= 0.9 else "red"


def _sentence(title: str, result: Result) -> str:
    healthy, flaky = result["hosts"]["healthy"], result["hosts"]["flaky"]
    vain = [row for host, row in result["hosts"].items() if host in HOPELESS]
    attempts, calls = (sum(row[name] for row in vain) for name in ("attempts", "calls"))
    return (
        f"[bold]{title}[/]: {_share(healthy):.1%} of the calls to the healthy host succeeded, p99 {_p99(result)}; "
        f"to the flaky one {_share(flaky):.1%}. {calls} calls to the slow and the dripping one made {attempts} "
        f"attempts. The event loop was {_ms(result['lag']['p99'])} late at p99."
    )


def _p99(result: Result) -> str:
    return _ms(result["hosts"]["healthy"]["p99"])


def _share(row: Result) -> float:
    return float(row["ok"] / max(1, row["calls"]))


def _ms(seconds: float) -> str:
    if seconds >= 1:
        return f"{seconds:.2f} s"
    return f"{seconds * 1e3:.0f} ms" if seconds >= 0.1 else f"{seconds * 1e3:.1f} ms"
