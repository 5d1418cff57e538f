"""
The class of error that each fault of the wire gives, from a real run of httpx and of seawall.

``python -m tests.docs.classes`` writes the table of ``docs/reference/wire.md``.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections import defaultdict
from collections.abc import Container, Mapping
from dataclasses import replace
from typing import Any, TypeAlias

import httpx
from benchmarks.fault_cells import HEAVY, Cell, cells, place

import seawall
from seawall.testing import FaultProcess
from tests.docs.tables import DOCS, filled

Result: TypeAlias = type[Exception] | int | str
NO_END = "no end"
PROXIES = ("port:proxy", "port:tls_proxy", "port:socks5")

TIMEOUT = 0.4  # s
GUARD = 1.5  # s; then it is given up
CONCURRENT = 24
LEFT_OUT = ("dns:", "net:", *PROXIES, "chance:", "limit:", "rate:", "port:blackhole")
KINDS = {"httpx": httpx.AsyncClient, "seawall": seawall.AsyncClient}
BARE = {"retry": None, "breaker": None, "deadline": None}


def faults() -> list[Cell]:
    """Those of the wire that one request meets: no names, no proxies, nothing that leaves it to chance or to others."""
    found = [cell for cell in cells("both") if not cell.how.startswith(LEFT_OUT) and cell.how not in HEAVY]
    return [cell for cell in found if cell.method == "GET" or "GET" not in _methods(found, cell)]


def _methods(found: list[Cell], cell: Cell) -> set[str]:
    return {each.method for each in found if each.how == cell.how}


async def _ask(client: str, cell: Cell, tls: ssl.SSLContext, patience: float) -> Result:
    settings: dict[str, Any] = {"verify": tls, "timeout": patience * TIMEOUT, "http2": cell.http2, "trust_env": False}
    if client == "seawall":
        settings |= BARE
    async with KINDS[client](**settings) as made:
        try:
            headers = {"expect": "100-continue"} if "continue" in cell.how else {}
            request = made.request(cell.method, cell.url, content=bytes(cell.size) or None, headers=headers)
            async with asyncio.timeout(patience * GUARD) as guard:
                return (await request).status_code
        except TimeoutError:
            if not guard.expired():
                raise
            return NO_END
        except Exception as error:
            return type(error)


async def _run(
    server: FaultProcess, tls: ssl.SSLContext, only: Container[str] | None, patience: float
) -> dict[str, dict[str, Result]]:
    gate = asyncio.Semaphore(CONCURRENT)
    results: dict[str, dict[str, Result]] = {}

    async def one(client: str, index: int, cell: Cell) -> None:
        cell = replace(cell, client=client)  # a key of its own, so that neither meets the steps that the other took
        place(cell, index, server, None, None)  # type: ignore[arg-type]
        async with gate:
            results.setdefault(cell.how, {})[client] = await _ask(client, cell, tls, patience)

    chosen = [cell for cell in faults() if only is None or cell.how in only]
    await asyncio.gather(*(one(client, index, cell) for client in KINDS for index, cell in enumerate(chosen)))
    return results


def settled(told: Mapping[str, tuple[str, str]]) -> dict[str, dict[str, Result]]:
    """The results of all faults; where one isn't as *told*, it is asked again with more patience, and that counts."""
    results = classes()
    for patience in (5.0, 25.0):
        others = {how for how, result in results.items() if how not in RACING and row(result) != told.get(how)}
        if others:
            results |= classes(others, patience)
    return results


def told() -> dict[str, tuple[str, str]]:
    """Fault → httpx's class and ours, as the page says."""
    found = {}
    text = PAGE.read_text().split("<!-- classes -->")[1].split("<!-- /classes -->")[0]
    for theirs, ours, hows in re.findall(r"^\| ([^|]+) \| ([^|]+) \| (.*) \|$", text, re.MULTILINE):
        for how in re.findall(r"`([^`]+)`", hows):
            found[how] = (theirs, ours)
    return found


def classes(only: Container[str] | None = None, patience: float = 1.0) -> dict[str, dict[str, Result]]:
    """
    For each fault: what each client raised, or the status that it returned.

    Args:
        only: The faults; None means all.
        patience: How many times the usual timeouts are given, for a busy machine makes them strike where nothing hangs.
    """
    with FaultProcess() as server:
        server.listen("tls", name="tls")
        server.listen("h2", name="h2")
        tls = ssl.create_default_context(cadata=server.ca())
        return asyncio.run(_run(server, tls, only, patience))


def name(result: Result) -> str:
    return result.__name__ if isinstance(result, type) else str(result)


def is_drop_in(ours: Result, theirs: Result) -> bool:
    """Whether who handles httpx's result handles ours: the same, or a subclass of its error."""
    if isinstance(ours, type) and isinstance(theirs, type):
        return issubclass(ours, theirs)
    return ours == theirs


def row(result: dict[str, Result]) -> tuple[str, str] | None:
    """httpx's class and ours, in bold where no drop-in has it; None: both return the same answer."""
    theirs, ours = result["httpx"], result["seawall"]
    if isinstance(theirs, int) and ours == theirs:
        return None
    return name(theirs), name(ours) if is_drop_in(ours, theirs) else f"**{name(ours)}**"


PAGE = DOCS / "reference/wire.md"
RACING = ("port:accept_reset", "port:accept_reset,serve")
"""The reset may come before the connection is made, or after."""


def table(results: dict[str, dict[str, Result]]) -> str:
    """The classes, and the faults that give them."""
    rows: dict[tuple[str, str], list[str]] = defaultdict(list)
    for how, result in results.items():
        if how in RACING:
            rows["ConnectError or ReadError", "DialError or ConnectionLost"].append(how)
        elif (pair := row(result)) is not None:
            rows[pair].append(how)
    lines = ["| httpx | seawall | by |", "|---|---|---|"]
    for (theirs, ours), hows in sorted(rows.items(), key=lambda item: (not item[0][1].startswith("**"), item)):
        words = " ".join(f"`{how}`" for how in sorted(hows))
        lines.append(f"| {theirs} | {ours} | {words} |")
    return "\n".join(lines)


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text(), "classes", table(settled(told()))))
