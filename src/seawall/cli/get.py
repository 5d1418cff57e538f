"""``seawall get``: fetch URLs and print a line for each attempt."""

from __future__ import annotations

from collections.abc import Sequence

import httpx
from rich.console import Console
from rich.markup import escape

from .. import AsyncClient, history
from ..config import UNSET
from ..events import Attempt, History, Phase
from .text import plain

__all__ = ["run"]

COLUMNS = {"resolve": 9, "connect": 9, "TLS": 8, "first byte": 12, "body": 9, "total": 9}  # name → width


async def run(urls: Sequence[str], *, deadline: float | None, method: str, verify: bool) -> int:
    """Exit status: 0 if every call returned a status below 400."""
    console = Console(highlight=False, soft_wrap=True)
    worst = 0
    limit = UNSET if deadline is None else deadline
    async with AsyncClient(deadline=limit, follow_redirects=True, verify=verify) as client:
        for url in urls:
            worst = max(worst, await _fetch(console, client, method, url))
    return worst


async def _fetch(console: Console, client: AsyncClient, method: str, url: str) -> int:
    console.print(f"[bold]{escape(method)} {escape(url)}[/]")
    try:
        response = await client.request(method, url)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        _print(console, getattr(error, "attempts", ()))
        console.print(f"  [red]{type(error).__name__}[/]: {escape(str(error))}")
        for note in getattr(error, "__notes__", ()):
            console.print(f"  {escape(note)}")
        return 1
    attempts = history(response)
    _print(console, attempts)
    size = len(response.content)
    is_good = response.status_code < 400
    colour = "green" if is_good else "red"
    kind = response.headers.get("content-type", "no content type")
    console.print(f"  [{colour}]{response.status_code} {plain(response.reason_phrase)}[/], {size} bytes, {plain(kind)}")
    if (share := _share(attempts)) is not None:
        console.print(f"  {share}")
    if attempts.note:
        console.print(f"  {escape(attempts.note)}")
    return 0 if is_good else 1


def _print(console: Console, attempts: Sequence[Attempt]) -> None:
    if not attempts:
        return
    head = "".join(f"{name:>{width}}" for name, width in COLUMNS.items())
    console.print(f"  [dim]#{head}  address -> outcome (times in ms)[/]")
    for attempt in attempts:
        parts = "".join(
            f"{part:>{width}}"
            for part, width in zip([*_parts(attempt), _ms(attempt.duration)], COLUMNS.values(), strict=True)
        )
        peer = str(attempt.address or attempt.origin.host) + (", kept alive" if attempt.is_reused else "")
        colour = "green" if attempt.outcome < "400" and attempt.outcome.isdigit() else "yellow"
        if attempt.delay:
            console.print(f"  [dim]after {_ms(attempt.delay)} ms[/]")
        console.print(f"  {attempt.number}{parts}  {peer} -> [{colour}]{attempt.outcome}[/]")


def _parts(attempt: Attempt) -> list[str]:
    """How long each stage took; "-" for a stage that was not reached or not needed."""
    marks = dict(attempt.marks)
    stages = [
        (Phase.RESOLVING, (Phase.CONNECTING,)),
        (Phase.CONNECTING, (Phase.TLS, Phase.SENDING)),
        (Phase.TLS, (Phase.SENDING,)),
        (Phase.SENDING, (Phase.HEADERS,)),
        (Phase.HEADERS, ()),
    ]
    parts = []
    for begin, ends in stages:
        if begin not in marks:
            parts.append("-")
            continue
        end = next((marks[phase] for phase in ends if phase in marks), attempt.duration)
        parts.append(_ms(end - marks[begin]))
    return parts


def _share(attempts: History) -> str | None:
    """How much of the wait for the last response's first byte was the server's; None if it doesn't say so."""
    timings = [timing for timing in attempts.server_timing if timing.duration is not None]
    if not timings:
        return None
    marks = dict(attempts[-1].marks)
    waited = marks.get(Phase.HEADERS, attempts[-1].duration) - marks.get(Phase.SENDING, 0.0)
    longest = max(timing.duration or 0.0 for timing in timings)  # not their sum, because one may be part of another
    said = ", ".join(
        plain(f"{timing.name} {_ms(timing.duration or 0.0)}" + f" ({timing.description})" * bool(timing.description))
        for timing in timings
    )
    return f"server {_ms(longest)} ms of {_ms(waited)} ms to the first byte: {said}"


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.1f}"
