"""The tables, in Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ..clients import CLIENTS
from .rows import ROWS

Found = dict[str, dict[str, Any]]  # a median, by row and client; a row's "skipped" says why it has none
METHODS = ("GET", "POST")
COLUMNS = (
    "client",
    "good, %",
    "GET good, %",
    "POST good, %",
    "p50, ms",
    "p99, ms",
    "attempts",
    "POSTs twice",
    "descriptors",
    "other ends",
)


def load(name: str) -> str:
    """What happens in a row, and its load."""
    row = ROWS[name]
    return f"{row.what}; {row.rate:g} calls/s for {row.seconds:g} s"


def row(name: str, cells: dict[str, Any]) -> Iterator[str]:
    """One row's table, with a line for each client."""
    yield f"**{name}**: {load(name)}\n"
    if "skipped" in cells:
        yield f"skipped: {cells['skipped']}\n"
        return
    yield f"| {' | '.join(COLUMNS)} |"
    yield "|---" * len(COLUMNS) + "|"
    for client, cell in cells.items():
        shown = [str(cell.get("failed"))]
        if "failed" not in cell:
            shown = [
                f"{cell['all']:.1f}",
                *(good(cell, method) for method in METHODS),
                ms(cell["p50"]),
                ms(cell["p99"]),
            ]
            shown += [f"{cell['attempts']:.2f}", f"{cell['twice']:g}", f"{cell['left']:g}", ends(cell)]
        yield f"| {CLIENTS[client].head} | " + " | ".join(shown) + " |"
    yield ""


def summary(found: Found) -> Iterator[str]:
    """All rows, one table for each figure, with a column for each client."""
    ran = {name: cells for name, cells in found.items() if "skipped" not in cells}
    clients = [client for client in CLIENTS if any(client in cells for cells in ran.values())]
    for title, shown in FIGURES.items():
        yield f"{title}:\n"
        yield "| row | " + " | ".join(CLIENTS[client].head for client in clients) + " |"
        yield "|---" * (len(clients) + 1) + "|"
        others = "all"
        for name, cells in ran.items():
            kept = [cells.get(client, {"failed": "-"}) for client in clients]
            texts = ["-" if "failed" in cell else shown(cell) for cell in kept]
            if title not in USUALLY_0 or set(texts) - {"0", "-"}:
                yield f"| {name} | " + " | ".join(texts) + " |"
                others = "all others"
        if title in USUALLY_0:
            yield f"| {others} |" + " 0 |" * len(clients)
        yield ""
    for name in found.keys() - ran.keys():
        yield f"{name} was skipped: {found[name]['skipped']}"


def legend(found: Found) -> Iterator[str]:
    """What happens in each row."""
    for name in found:
        yield f"- `{name}`: {load(name)}"


def merged(all_found: list[Found]) -> Found:
    """The cells of all, in the order of `ROWS`; where two have the same, the later one's."""
    rows = {name: [found[name] for found in all_found if name in found] for name in ROWS}
    ran = {name: [cells for cells in each if "skipped" not in cells] or each for name, each in rows.items()}
    return {
        name: {client: cell for cells in each for client, cell in cells.items()} for name, each in ran.items() if each
    }


def good(cell: dict[str, Any], method: str) -> str:
    share = cell["good"].get(method)
    return "-" if share is None else f"{share:.1f}"


def ms(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:.0f}"


def ends(cell: dict[str, Any]) -> str:
    most = sorted(cell["ends"].items(), key=lambda item: -item[1])
    return ", ".join(f"{count} {end}" for end, count in most[:4])


TWICE, LEFT = USUALLY_0 = ("POSTs that the application processed twice", "Descriptors left open")
FIGURES: dict[str, Callable[[dict[str, Any]], str]] = {
    "Good calls, % (of the GETs / of the POSTs)": lambda cell: (
        f"{cell['all']:.1f} ({' / '.join(good(cell, method) for method in METHODS)})"
    ),
    "p50 / p99 of all calls, ms, however they ended": lambda cell: f"{ms(cell['p50'])} / {ms(cell['p99'])}",
    "Requests at the server for each call": lambda cell: f"{cell['attempts']:.2f}",
    TWICE: lambda cell: f"{cell['twice']:g}",
    LEFT: lambda cell: f"{cell['left']:g}",
}
