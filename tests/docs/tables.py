"""What docs say that code knows better. ``python -m tests.docs.tables`` writes it into the pages; a test compares."""

from __future__ import annotations

import inspect
import re
from dataclasses import fields
from pathlib import Path

import httpx

import seawall
from seawall import errors
from seawall.transport import LIMITS

DOCS = Path(__file__).parents[2] / "docs"
SAID_HERE = {
    "UNSET": "In a `Policy`: from the client.",
    "Event": "What a listener is called with: `Attempt`, `RetryScheduled`, `CallEnded` or `BreakerMoved`.",
    "Listener": "A function of an `Event`.",
}
SETTINGS = [seawall.Retry, seawall.Bulkhead, seawall.Breaker, seawall.Budget, seawall.DNS]


def error_tree() -> str:
    """The tree in the docstring of `seawall.errors`."""
    tree = (errors.__doc__ or "").split("::\n", 1)[1].split("\n\nThis module", 1)[0]
    return "```text\n" + inspect.cleandoc(tree) + "\n```\n"


def defaults() -> str:
    """A table for each settings class: default, and the docstring's words."""
    parts = []
    for settings in SETTINGS:
        parts.append(f"## `{settings.__name__}`\n\n| setting | default | |\n|---|---|---|\n")
        words = arguments(settings)
        parts.extend(f"| `{f.name}` | {show(f.default)} | {words[f.name]} |\n" for f in fields(settings))
        parts.append("\n")
    timeout = httpx.Timeout(5.0)
    assert httpx.AsyncClient().timeout == seawall.Client().timeout == timeout
    parts.append("## `Client` and `Transport`\n\n| setting | default | |\n|---|---|---|\n")
    parts.append("| `timeout` | 5 s each | httpx's, for SDKs compare it |\n")
    parts.append(
        f"| `limits` | {LIMITS.max_connections} connections, {LIMITS.max_keepalive_connections} of them idle, "
        f"{LIMITS.keepalive_expiry:g} s | httpx's 100 let two slow hosts starve the rest; its 20 idle and 5 s churn "
        "at 50 in flight |\n"
    )
    parts.append(
        "| `deadline` | derived: (connect + read) x max_attempts, 30 s with the defaults; none where one of the two is "
        "None | up to the headers; a buffered body may pass it while it brings 1 KiB/s |\n"
    )
    return "".join(parts)


def names() -> str:
    """A line for each public name: the first of its docstring."""
    words = {
        name: inspect.cleandoc(getattr(seawall, name).__doc__ or "").partition("\n")[0] for name in seawall.__all__
    }
    rows = [f"| `{name}` | {first} |\n" for name, first in (words | SAID_HERE).items()]
    return "| name | |\n|---|---|\n" + "".join(rows)


def arguments(settings: type) -> dict[str, str]:
    """The Args section of a docstring: name → words."""
    section = inspect.cleandoc(settings.__doc__ or "").split("Args:\n", 1)[1]
    entries = re.findall(r"^    (\w+): (.*(?:\n        .*)*)", section, re.MULTILINE)
    return {name: re.sub(r"\s+", " ", words) for name, words in entries}


def show(value: object) -> str:
    if isinstance(value, frozenset):
        return ", ".join(str(each) for each in sorted(value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def filled(page: str, mark: str, text: str) -> str:
    """*page* with *text* between its marks."""
    between = rf"(<!-- {mark} -->\n).*?(<!-- /{mark} -->)"
    return re.sub(between, lambda found: found[1] + "\n" + text + "\n" + found[2], page, flags=re.DOTALL)


PAGES = {
    DOCS / "reference/api.md": ("api", names),
    DOCS / "reference/errors.md": ("errors", error_tree),
    DOCS / "reference/defaults.md": ("defaults", defaults),
}


def main() -> None:
    for path, (mark, make) in PAGES.items():
        path.write_text(filled(path.read_text(), mark, make()))


if __name__ == "__main__":
    main()
