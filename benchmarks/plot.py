"""A plain SVG of what ``python -m benchmarks peers`` found: bars of CPU per request, one panel for each load."""

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


def svg(panels: dict[str, dict[str, float | None]], note: str) -> str:
    """
    Args:
        panels: By the load's name: µs by client; None where it failed.
        note: What stands below.
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
        f'aria-label="CPU per request of HTTP clients">\n<style>{STYLE}</style>\n' + "\n".join(parts) + "\n</svg>\n"
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
    return f"{us / 1000:.3g} ms" if us >= 1000 else f"{us:.0f} µs"
