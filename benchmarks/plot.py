"""Plain SVGs: bars of CPU per request from ``peers``, and a line for each policy from ``simulate``."""

from __future__ import annotations

import math
from html import escape

WIDTH, LEFT, RIGHT, BAR, GAP, TOP = 760, 130, 90, 16, 6, 46
STYLE = """
  text { font: 12px system-ui, sans-serif; fill: #333 }
  .title { font-size: 14px; font-weight: 600 }
  .note, .tick { fill: #777; font-size: 11px }
  .grid { stroke: #bbb; stroke-opacity: .5 }
  .bar { fill: #9aa5b1 }
  .own { fill: #0a7ea4 }
  .name-own { font-weight: 600 }
  @media (prefers-color-scheme: dark) {
    text { fill: #ddd } .note, .tick { fill: #999 } .grid { stroke: #555 } .bar { fill: #66717d } .own { fill: #38bdf8 }
  }
"""


def svg(
    panels: dict[str, dict[str, float | None]], note: str, *, label: str = "CPU per request of HTTP clients"
) -> str:
    """
    Args:
        panels: Microseconds by client, for each load by its name; None for a failed run.
        note: The text below.
        label: What those hear who don't see it.
    """
    values = [value for panel in panels.values() for value in panel.values() if value]
    low = 10 ** math.floor(math.log10(min(values)))
    high = max(values) * 1.1
    parts, y = [], 0
    for title, panel in panels.items():
        parts.append(_panel(title, panel, y, low, high))
        y += TOP + len(panel) * (BAR + GAP) + 24
    parts.append(f'<text class="note" x="10" y="{y + 8}">{escape(note)}</text>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y + 20}" role="img" '
        f'aria-label="{escape(label)}">\n<style>{STYLE}</style>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def _panel(title: str, panel: dict[str, float | None], y: int, low: float, high: float) -> str:
    """One load, the cheapest client first, on a logarithmic scale."""

    def x(value: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * math.log(value / low) / math.log(high / low)

    bottom = y + TOP + len(panel) * (BAR + GAP)
    parts = [f'<text class="title" x="10" y="{y + 20}">{escape(title)}</text>']
    tick = low
    while tick <= high:
        parts.append(f'<line class="grid" x1="{x(tick):.1f}" x2="{x(tick):.1f}" y1="{y + TOP - 6}" y2="{bottom}"/>')
        parts.append(
            f'<text class="tick" x="{x(tick):.1f}" y="{y + TOP - 10}" text-anchor="middle">{_time(tick)}</text>'
        )
        tick *= 10
    top = y + TOP
    for name, value in sorted(panel.items(), key=lambda item: item[1] or math.inf):
        own = name.startswith("seawall")
        bold = ' class="name-own"' if own else ""
        parts.append(f'<text{bold} x="{LEFT - 8}" y="{top + 12}" text-anchor="end">{escape(name)}</text>')
        end = x(value) if value else LEFT
        if value:
            kind = "bar own" if own else "bar"
            parts.append(f'<rect class="{kind}" x="{LEFT}" y="{top}" width="{end - LEFT:.1f}" height="{BAR}" rx="2"/>')
        parts.append(f'<text x="{end + 6:.1f}" y="{top + 12}">{_time(value) if value else "failed"}</text>')
        top += BAR + GAP
    return "\n".join(parts)


def _time(us: float) -> str:
    if us >= 1e6 * 0.9995:
        return f"{us / 1e6:.3g} s"
    return f"{us / 1000:.3g} ms" if us >= 1000 else f"{us:.0f} µs"


COLOURS = ("#9aa5b1", "#b45309", "#a16207", "#7c3aed", "#15803d", "#be185d", "#0a7ea4")
LINE_HEIGHT = 34


def lines(series: dict[str, list[float]], marks: dict[str, tuple[float, float]], note: str) -> str:
    """
    Shares of good calls over time, one strip for each policy.

    Args:
        series: A share from 0 to 1 for each second, for each policy by its name.
        marks: Spans of time, by name.
        note: The text below.
    """
    seconds = max(map(len, series.values()))

    def x(second: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * second / seconds

    bottom = TOP + len(series) * (LINE_HEIGHT + GAP)
    parts = [
        f'<rect x="{x(begin):.1f}" y="{TOP - 4}" width="{x(end) - x(begin):.1f}" height="{bottom - TOP}" '
        f'fill="#9aa5b1" fill-opacity=".25"/>\n'
        f'<text class="tick" x="{x(begin):.1f}" y="{TOP - 10}">{escape(name)}</text>'
        for name, (begin, end) in marks.items()
    ]
    for row, (name, shares) in enumerate(series.items()):
        base = TOP + row * (LINE_HEIGHT + GAP) + LINE_HEIGHT
        points = " ".join(
            f"{x(second):.1f},{base - share * (LINE_HEIGHT - 4):.1f}" for second, share in enumerate(shares)
        )
        colour = COLOURS[row % len(COLOURS)]
        area = f"{x(0):.1f},{base} {points} {x(len(shares) - 1):.1f},{base}"
        parts.append(f'<text x="{LEFT - 8}" y="{base - 8}" text-anchor="end">{escape(name)}</text>')
        parts.append(f'<polygon points="{area}" fill="{colour}" fill-opacity=".5"/>')
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
    parts.append(f'<text class="note" x="10" y="{bottom + 18}">{escape(note)}</text>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {bottom + 30}" role="img" '
        f'aria-label="Share of good calls during and after an outage">\n<style>{STYLE}</style>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )
