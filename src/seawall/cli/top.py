"""``seawall top``: a dashboard's figures as a table that changes each second."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import httpx
from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from .. import AsyncClient
from ..fetch.target import without_user
from .environment import made
from .text import plain, printable

__all__ = ["NotADashboard", "run", "screen"]

Row = Mapping[str, Any]

SPAN: Final = 60  # s of the small charts
TIMEOUT: Final = 3.0
MAX_SIZE: Final = 16 * 1024**2  # B of the figures; those of 50 origins take 0.2 MB
GARBAGE: Final = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError)
FAILURES: Final = 5
BARS: Final = "▁▂▃▄▅▆▇█"
NONE: Final = "–"
CALM: Final = ("closed", "off")
STYLES: Final = {"failing": "red", "strained": "yellow", "well": "", "idle": "dim"}


class NotADashboard(Exception):
    """The URL doesn't answer as a dashboard does."""


async def run(url: str, *, headers: Sequence[tuple[str, str]], interval: float, is_once: bool) -> int:
    """
    Show the dashboard at *url* until Ctrl-C, or once.

    Returns:
        The exit status.
    Raises:
        BadEnvironment: The environment has what no client can use.
    """
    console = Console()
    client = made(
        lambda: AsyncClient(
            timeout=TIMEOUT,
            retry=None,
            breaker=None,
            headers=headers,
            follow_redirects=True,
            max_response_size=MAX_SIZE,
        )
    )
    async with client:
        try:
            frame = await _stats(client, url, 0)
        except (httpx.HTTPError, httpx.InvalidURL, NotADashboard) as error:
            errors = Console(stderr=True, highlight=False, soft_wrap=True)
            errors.print(f"seawall top: {plain(str(error) or repr(error))}")
            return 1
        if is_once or not console.is_terminal:
            console.print(screen(frame, width=console.width, height=10_000))
            return 0
        since_answer, trouble = 0.0, ""
        with Live(console=console, screen=True, auto_refresh=False) as live:
            while True:
                size = console.size
                view = screen(frame, width=size.width, height=size.height - bool(trouble))
                live.update(Group(view, Text(trouble, "red")) if trouble else view, refresh=True)
                await asyncio.sleep(interval)
                try:
                    frame, since_answer, trouble = await _stats(client, url, frame["second"] - SPAN), 0.0, ""
                except (httpx.HTTPError, NotADashboard) as error:
                    since_answer += interval
                    trouble = printable(f"no figures for {since_answer:.0f} s: {error or repr(error)}")


async def _stats(client: AsyncClient, url: str, since: int) -> dict[str, Any]:
    where = f"{url.removesuffix('/stats').rstrip('/')}/stats"
    response = await client.get(where, params={"since": max(0, since)})
    where = without_user(where)
    if response.status_code != 200:
        hint = {
            401: "; --header 'Authorization: ...' sends credentials",
            404: "; is it where the dashboard is mounted?",
        }
        raise NotADashboard(f"{where} answered {response.status_code}{hint.get(response.status_code, '')}")
    try:
        frame = _harmless(response.json())
        version, second = frame["version"], frame["second"]
        if version == 1:
            screen(frame, width=WIDE, height=10_000)  # here, because a server may send anything as figures
            if type(second) is not int:
                raise TypeError(second)
    except GARBAGE:
        raise NotADashboard(f"{where} isn't the JSON of a seawall dashboard") from None
    if version != 1:
        raise NotADashboard(f"{where} has figures of version {version}, which this seawall doesn't know")
    return dict(frame)


def _harmless(value: Any) -> Any:
    """JSON without control characters, because a terminal obeys them wherever they stand."""
    if isinstance(value, dict):
        return {key: _harmless(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_harmless(each) for each in value]
    return printable(value) if isinstance(value, str) else value


class Column(NamedTuple):
    """
    A column of the table.

    Attributes:
        from_width: Shown where the terminal has as many characters.
    """

    title: str
    width: int
    from_width: int
    cell: Callable[[Row], Text]


def screen(frame: Mapping[str, Any], *, width: int, height: int) -> RenderableType:
    """One frame, for a terminal of this size."""
    columns = [column for column in COLUMNS if width >= column.from_width]
    table = Table(box=SIMPLE_HEAD, expand=True, padding=(0, 1, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("origin", ratio=2, no_wrap=True, overflow="ellipsis")
    for column in columns:
        table.add_column(column.title, justify="right", no_wrap=True, width=column.width)
    if width >= WIDE:
        table.add_column("", ratio=3, no_wrap=True, overflow="ellipsis")
    failures = sorted(frame["failures"], key=lambda failure: -failure["at"])[:FAILURES]
    room = max(1, height - 6 - len(failures) - bool(failures))
    for row in frame["origins"][:room]:
        style = STYLES.get(row["health"], "")
        name = Text(printable(row["origin"]), style)
        why = [Text(printable(", ".join(row["reasons"]) or _addresses(row)), style or "dim")] if width >= WIDE else []
        table.add_row(name, *(column.cell(row) for column in columns), *why)
    return Group(_headline(frame), table, *(_failure(failure, frame["at"]) for failure in failures))


def _headline(frame: Mapping[str, Any]) -> Text:
    health, clients = frame["health"], frame["clients"]
    count = sum(health.values())
    names = printable(", ".join(each["name"] for each in clients))
    bad = [(f"{health[each]} {each}", STYLES[each]) for each in ("failing", "strained") if health[each]]
    parts: list[tuple[str, str]] = [(f" {names}", "bold"), (f"   {count} origin{'s' * (count != 1)}", "")]
    for text, style in bad or [("all well", "dim")]:
        parts += [("  ", ""), (text, style)]
    rate = sum(row["rate"] for row in frame["origins"])
    flight, connections = (sum(each[name] for each in clients) for name in ("in_flight", "connections"))
    parts.append((f"   {rate:.1f} calls/s, {flight} in flight, {connections} connections", "dim"))
    return Text.assemble(*parts, no_wrap=True, overflow="ellipsis")


def _failure(failure: Mapping[str, Any], at: float) -> Text:
    count = f" ×{failure['count']}" if failure["count"] > 1 else ""
    where = printable(f"{failure['method']} {failure['origin'] or ''}{failure['path']}")
    return Text.assemble(
        (f" {max(0.0, at - failure['at']):4.0f} s ago  ", "dim"),
        (f"{printable(failure['outcome'])}{count}", "red"),
        f"  {where}  ",
        (printable(failure["note"]), "dim"),
        no_wrap=True,
        overflow="ellipsis",
    )


def _addresses(row: Row) -> str:
    return ", ".join(
        each["address"] if each["state"] == "good" else f"{each['address']} {each['state']}"
        for each in row["addresses"]
    )


def _chart(row: Row) -> Text:
    """Calls of the last minute, two seconds each; red where some failed."""
    series, chart = row["series"], Text()
    calls, failed = series["calls"][-SPAN:], series["failed"][-SPAN:]
    pairs = [(sum(calls[at : at + 2]), sum(failed[at : at + 2])) for at in range(len(calls) % 2, len(calls), 2)]
    top = max([number for number, _ in pairs], default=0)
    for number, bad in pairs:
        bar = BARS[min(len(BARS) - 1, number * len(BARS) // (top + 1))] if number else " "
        chart.append(bar, "red" if bad else "cyan")
    return chart


def _gate(name: str, form: Callable[[Row], str], is_calm: Callable[[Any], bool]) -> Callable[[Row], Text]:
    """A cell of the gates' figures; *name* is the one that tells whether it is calm."""

    def cell(row: Row) -> Text:
        gates = row["gates"]
        return Text(NONE, "dim") if gates is None else Text(form(gates), "" if is_calm(gates[name]) else "yellow")

    return cell


def _count(value: float | None) -> str:
    return "∞" if value is None else f"{value:.0f}"


def _time(value: float | None) -> str:
    if value is None:
        return NONE
    return (
        f"{value:.2f} s" if value >= 0.995 else f"{value * 1e3:.0f} ms" if value >= 0.00995 else f"{value * 1e3:.1f} ms"
    )


def _share(row: Row) -> Text:
    good = row["good"]
    if good is None:
        return Text(NONE, "dim")
    text = "100 %" if good == 1 else f"{int(good * 1000) / 10:.1f} %"
    return Text(text, "" if good >= 0.99 else "yellow" if good >= 0.5 else "red")


def _breaker(row: Row) -> Text:
    state = "" if row["gates"] is None else row["gates"]["breaker"]
    return Text(printable(state) or NONE, "dim" if state in CALM or not state else "red")


COLUMNS: Final = (
    Column("last minute", 30, 150, _chart),
    Column("calls/s", 7, 0, lambda row: Text(f"{row['rate']:.1f}")),
    Column("good", 7, 0, _share),
    Column("p50", 7, 90, lambda row: Text(_time(row["p50"]))),
    Column("p99", 7, 0, lambda row: Text(_time(row["p99"]))),
    Column(
        "in flight", 10, 0, _gate("in_flight", lambda it: f"{it['in_flight']} of {_count(it['limit'])}", lambda _: True)
    ),
    Column("waiting", 7, 100, _gate("waiting", lambda it: str(it["waiting"]), lambda waiting: not waiting)),
    Column("attempts", 8, 112, lambda row: Text(NONE if row["attempts"] is None else f"{row['attempts']:.2f}")),
    Column("breaker", 9, 0, _breaker),
    Column("budget", 6, 124, _gate("budget", lambda it: _count(it["budget"]), lambda left: left is None or left >= 1)),
)
WIDE: Final = 180
