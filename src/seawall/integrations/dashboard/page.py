"""The page: one HTML text with its style and script, and the policy that lets nothing else run."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files
from typing import Final, NamedTuple

__all__ = ["Page", "page"]

NAMES: Final = ("page.html", "page.css", "page.js")
STYLE: Final = "/* style */"
SCRIPT: Final = "/* script */"


class Page(NamedTuple):
    """The page, and its Content-Security-Policy."""

    html: bytes
    policy: str


@cache
def page() -> Page:
    """The page, put together from the files beside this one."""
    html, style, script = (files(__package__).joinpath(name).read_text("utf-8") for name in NAMES)
    return Page(
        html.replace(STYLE, style).replace(SCRIPT, script).encode(),
        "; ".join(
            (
                "default-src 'none'",
                f"style-src {_source(style)}",
                f"script-src {_source(script)}",
                "connect-src 'self'",
                "img-src data:",
                "base-uri 'none'",
                "form-action 'none'",
                "frame-ancestors 'none'",
            )
        ),
    )


def _source(text: str) -> str:
    """The only inline text that a browser accepts. Source: CSP level 3, section 2.3.1."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
