"""
A: the matrix of ``python -m benchmarks faults``, by its phases; and HTTP/2 streams that are refused and retried.

One rule for all of it: the share of cells that are right.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ..clients import CLIENTS
from ..fault_cells import Cell
from ..faults import matrix
from .board import Board, Check, Verdict, part

REFUSED = ("h2_refused,ok", "h2_goaway,ok", "h2_rst:13,ok")
AT_ONCE = 100


def _cells(board: Board) -> list[Cell]:
    if "cells" not in board.seen:
        found = matrix(board.client, "", board.server, board.authority, is_system=board.is_apart)
        board.seen["cells"] = [cell for cell in found if not cell.skipped]
    cells: list[Cell] = board.seen["cells"]
    return cells


def _share(cells: list[Cell], others: Mapping[str, str] = MappingProxyType({})) -> Verdict:
    """What is wrong with each of the cells and of *others*, by their names; an empty list for right ones."""
    wrong = [f"{cell.how} {cell.method}: {cell.wrong[0]}" for cell in cells if cell.wrong]
    wrong += [f"{what}: {why}" for what, why in others.items() if why]
    count = len(cells) + len(others)
    return part(count - len(wrong), count, "; ".join([f"{count - len(wrong)} of {count}", *wrong[:3]]))


def single_faults(board: Board) -> Verdict:
    """All but A2's and A3's."""
    return _share([cell for cell in _cells(board) if cell.phase not in ("reuse", "h2")])


def reuse(board: Board) -> Verdict:
    """Faults of a connection after an answer."""
    return _share([cell for cell in _cells(board) if cell.phase == "reuse"])


def http2(board: Board) -> Verdict:
    """Its cells; and what was refused is asked again, POST too (6); and 100 at once on a stream at a time (1)."""
    if not CLIENTS[board.client].has_http2:
        return part(0, 1, "has none")
    cells = [cell for cell in _cells(board) if cell.phase == "h2"]
    base, others = board.server.ports["h2"], dict[str, str]()
    for script in REFUSED:
        for method in ("GET", "POST"):
            url = f"{base}/x/{script}?key={board.key()}"
            (end,) = board.run("each", {"calls": [(method, url, {"body": "order"})]}, http2=True)
            others[f"{script} {method}"] = "" if end["end"] == "200" else end["end"]
    one = board.server.listen("h2_streams:1", name=board.key())
    job = {"url": f"{one}/x/ok", "calls": AT_ONCE, "cancel": False}
    ends = board.run("burst", job, http2=True, timeout=10.0, deadline=20.0)
    others["one stream at a time"] = "" if ends == {"200": AT_ONCE} else str(ends)
    return _share(cells, others)


CHECKS: dict[str, tuple[float, Check]] = {
    "A1 single faults": (14, single_faults),
    "A2 reuse traps": (6, reuse),
    "A3 HTTP/2": (4, http2),
}
