"""
Pages of the site that show each public name with its signature and docstring, which mkdocstrings reads in the source.

``python -m tests.docs.tables`` writes them; a test compares. A name that several modules have is shown by the first.
Steps aren't here, because docs/reference/faults.md has them all.
"""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path
from types import ModuleType

DOCS = Path(__file__).parents[2] / "docs"
FOLDER = DOCS / "reference/signatures"
INTEGRATIONS = (
    *("asgi", "aiohttp", "dashboard", "idempotency", "idempotency.postgres", "idempotency.redis"),
    *("otel", "prometheus", "redis", "taskiq", "scrapy", "crawlee"),
)
PAGES = {
    "seawall": ("seawall",),
    "errors": ("seawall.errors",),
    "events": ("seawall.events",),
    "config": ("seawall.config",),
    "dns": ("seawall.dns",),
    "stats": ("seawall.stats",),
    "httpx2": ("seawall.httpx2",),
    "testing": ("seawall.testing", "seawall.testing.httpx2"),
    "network": ("seawall.testing.network",),
    "integrations": tuple(f"seawall.integrations.{name}" for name in INTEGRATIONS),
}
UNAVAILABLE = {  # where their package isn't installed
    "seawall.integrations.scrapy": ["Addon", "DownloadHandler"],
    "seawall.integrations.crawlee": ["SeawallHttpClient"],
}
INHERITING = ("AsyncClient", "AsyncTransport", "Engine")
"""Classes much of which stands in bases that aren't public."""

INTRODUCTION = (
    "Each name with its signature and its docstring, on the site; [the table of names](../api.md) has a line for each."
)
TITLES = {
    "seawall": "seawall",
    "testing": "seawall.testing",
    "network": "seawall.testing.network",
}


def public(module: str) -> list[str]:
    """The names in its ``__all__``, and in it alone where they are modules."""
    try:
        loaded = importlib.import_module(module)
    except ImportError:
        return UNAVAILABLE[module]
    return [name for name in loaded.__all__ if not isinstance(getattr(loaded, name), ModuleType)]


def pages() -> dict[Path, str]:
    """Each page, as it should be."""
    seen: set[int] = set()
    found = {}
    for page, modules in PAGES.items():
        title = TITLES.get(page, f"seawall.{page}")
        lines = [f"# `{title}`", "", INTRODUCTION, ""]
        for module in modules:
            if len(modules) > 1:
                lines += [f"## `{module}`", ""]
            lines += [shown(module, name) for name in public(module) if not _is_known(module, name, seen)]
        found[FOLDER / f"{page}.md"] = "\n".join(lines).rstrip() + "\n"
    return found


def shown(module: str, name: str) -> str:
    """What has mkdocstrings show a name."""
    thing = getattr(importlib.import_module(module), name) if module not in UNAVAILABLE else None
    home = getattr(thing, "__module__", None)
    path = f"{home}.{name}" if str(home).endswith(f".{name}") else f"{module}.{name}"  # not the module of that name
    inherited = (
        sorted(
            member
            for base in thing.__mro__[1:]
            if base.__module__.startswith("seawall.")
            for member, value in vars(base).items()
            if not member.startswith("_") and member not in vars(thing) and value.__doc__
        )
        if name in INHERITING
        else []
    )
    options = f"    options:\n      inherited_members: [{', '.join(dict.fromkeys(inherited))}]\n" if inherited else ""
    return f"::: {path}\n{options}"


def _is_known(module: str, name: str, seen: set[int]) -> bool:
    """Whether an earlier page has the object, of which it then takes note."""
    thing = getattr(importlib.import_module(module), name, None) if module not in UNAVAILABLE else None
    if thing is None or not (inspect.isclass(thing) or inspect.isroutine(thing)):
        return False
    is_known = id(thing) in seen
    seen.add(id(thing))
    return is_known


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for path, text in pages().items():
        path.write_text(text)


if __name__ == "__main__":
    main()
