"""A: the matrix of ``python -m benchmarks faults``, by its phases; and HTTP/2 that refuses and is asked again."""

from __future__ import annotations

from ..faults import WITHOUT_HTTP2, Cell, matrix
from .board import Board, Check, Verdict, passed

REFUSED = ("h2_refused,ok", "h2_goaway,ok", "h2_rst:13,ok")
AT_ONCE = 100


def _cells(board: Board) -> list[Cell]:
    if "cells" not in board.seen:
        found = matrix(board.client, "", board.server, board.authority, is_system=board.is_apart)
        board.seen["cells"] = [cell for cell in found if not cell.skipped]
    cells: list[Cell] = board.seen["cells"]
    return cells


def _wrong(cells: list[Cell]) -> str:
    wrong = [cell for cell in cells if cell.wrong]
    text = f"{len(cells) - len(wrong)} of {len(cells)}"
    return text + "".join(f"; {cell.how} {cell.method}: {cell.wrong[0]}" for cell in wrong[:3])


def single_faults(board: Board) -> Verdict:
    """The share of cells that are right, but for A2's and A3's."""
    cells = [cell for cell in _cells(board) if cell.phase not in ("reuse", "h2")]
    return Verdict(sum(not cell.wrong for cell in cells) / len(cells), _wrong(cells))


def reuse(board: Board) -> Verdict:
    """What befalls a connection after an answer: all cells are right."""
    cells = [cell for cell in _cells(board) if cell.phase == "reuse"]
    return passed(not any(cell.wrong for cell in cells), _wrong(cells))


def http2(board: Board) -> Verdict:
    """All its cells are right; what was refused is asked again, POST too; 100 at once on a stream at a time."""
    if board.client in WITHOUT_HTTP2:
        return passed(False, "has none")
    cells = [cell for cell in _cells(board) if cell.phase == "h2"]
    base, wrong = board.server.ports["h2"], list[str]()
    for script in REFUSED:
        for method in ("GET", "POST"):
            url = f"{base}/x/{script}?key={board.key()}"
            (end,) = board.run("each", {"calls": [(method, url, {"body": "order"})]}, http2=True)
            if end["end"] != "200":
                wrong.append(f"{script} {method}: {end['end']}")
    one = board.server.listen("h2_streams:1", name=board.key())
    job = {"url": f"{one}/x/ok", "calls": AT_ONCE, "cancel": False}
    ends = board.run("burst", job, http2=True, timeout=10.0, deadline=20.0)
    if ends != {"200": AT_ONCE}:
        wrong.append(f"one stream at a time: {ends}")
    return passed(not wrong and not any(cell.wrong for cell in cells), "; ".join([_wrong(cells), *wrong]))


CHECKS: dict[str, tuple[float, Check]] = {
    "A1 single faults": (14, single_faults),
    "A2 reuse traps": (6, reuse),
    "A3 HTTP/2": (4, http2),
}
