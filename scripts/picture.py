"""
Draw docs/session.svg: a terminal in which httpx and seawall meet the same failures. Its lines are those of a real run.

``python scripts/picture.py`` needs the extra ``cli``.
"""

from __future__ import annotations

import asyncio
from io import StringIO
from pathlib import Path

import httpx
from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

import seawall
from seawall.testing import FaultServer, Received

PICTURE = Path(__file__).parents[1] / "docs/session.svg"
WIDTH = 92
SCRIPT = "503,reset:headers,ok"
SHOWN = f"http://127.0.0.1:5500/x/{SCRIPT}?key="
THEME = TerminalTheme((27, 31, 40), (220, 224, 232), [(27, 31, 40)] * 8)


class Terminal:
    """Writes what is typed and what comes back."""

    def __init__(self) -> None:
        self.console = Console(record=True, width=WIDTH, file=StringIO(), force_terminal=True, highlight=False)

    def typed(self, line: str, prompt: str = ">>> ") -> None:
        self.console.print(Text.assemble((prompt, "#7d8699"), (line, "#dce0e8")))

    def answered(self, line: str, style: str) -> None:
        self.console.print(Text(line, style=style))

    def blank(self) -> None:
        self.console.print()


async def draw() -> Terminal:
    terminal = Terminal()
    seen: list[str] = []

    def see(received: Received) -> None:
        seen.append(received.step)

    terminal.typed("seawall faults &     # a server that fails when a URL asks it to", "$ ")
    terminal.typed("python -m asyncio", "$ ")
    terminal.typed("import httpx, seawall")
    terminal.typed(f'url = "{SHOWN}"')
    async with FaultServer(on_attempt=see) as server:
        url = f"{server.url}/x/{SCRIPT}?key="
        async with httpx.AsyncClient(trust_env=False) as client:
            terminal.typed("client = httpx.AsyncClient()")
            terminal.typed('(await client.get(url + "1")).status_code')
            terminal.answered(f"{(await client.get(url + '1')).status_code}", "#f07178")
            terminal.typed('(await client.get(url + "1")).status_code')
            try:
                await client.get(url + "1")
            except httpx.TransportError as error:
                terminal.answered(f"httpx.{type(error).__name__}", "#f07178")
        terminal.blank()
        seen.clear()
        async with seawall.AsyncClient(trust_env=False) as client:
            terminal.typed("client = seawall.AsyncClient()     # the only line that changes")
            terminal.typed('response = await client.get(url + "2")')
            response = await client.get(url + "2")
            terminal.typed("response.status_code")
            terminal.answered(f"{response.status_code}", "#7ed385")
            terminal.typed('response.extensions["seawall"]')
            terminal.answered(f"{response.extensions['seawall']}", "#7ed385")
    assert seen == SCRIPT.split(","), seen
    return terminal


def main() -> None:
    terminal = asyncio.run(draw())
    terminal.console.save_svg(str(PICTURE), title="python -m asyncio", theme=THEME, unique_id="session")
    text = PICTURE.read_text()
    fonts = text[text.index("@font-face") : text.index(".session-matrix")]
    text = text.replace(fonts, "")  # a page must load nothing from elsewhere
    text = text.replace("Fira Code", "ui-monospace, SFMono-Regular, Menlo, Consolas, DejaVu Sans Mono")
    PICTURE.write_text("\n".join(line.rstrip() for line in text.splitlines() if line.strip()) + "\n")


if __name__ == "__main__":
    main()
