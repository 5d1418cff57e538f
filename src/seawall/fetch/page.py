"""`Page`: what became of one entry of a list."""

from __future__ import annotations

import base64
import json
import re
from enum import Enum
from typing import Any, NamedTuple

from .charset import charset_of
from .target import key_of

__all__ = ["Kind", "Page", "Problem", "is_failed_row", "page_of", "row_of"]


class Kind(Enum):
    GOOD = "good"
    FAILED = "failed"
    SKIPPED = "skipped"  # because robots.txt doesn't allow it, or a sitemap of another host lists it


class Problem(NamedTuple):
    """
    Attributes:
        name: A status, or the class of an error; what pages are counted by.
        said: What happened, in words.
    """

    name: str
    said: str


class Page(NamedTuple):
    """
    Attributes:
        url: The entry's; of an entry that isn't a URL, what stood there, shortened.
        key: As in `Target`.
        status: None if there was no response.
        final_url: Where redirects led; empty if there was no response.
        headers: The response's, in their order.
        body: Decoded; empty unless the page is good.
        attempts: How many were made, over all hops.
        problem: Why it isn't good; None if it is.
    """

    url: str
    key: bytes
    kind: Kind
    status: int | None = None
    final_url: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    attempts: int = 0
    problem: Problem | None = None

    @property
    def name(self) -> str:
        """What it is counted by."""
        return self.problem.name if self.problem is not None else str(self.status)

    @property
    def content_type(self) -> str:
        return next((value for name, value in self.headers if name.lower() == "content-type"), "")


def row_of(page: Page, *, file: str | None = None) -> bytes:
    """A line of JSON; its body as text or base64, or as the name of the *file* that has it."""
    row: dict[str, Any] = {
        "result": page.kind.value,  # first, where `is_failed_row` looks
        "url": page.url,
        "status": page.status,
        "final_url": page.final_url or None,
        "attempts": page.attempts,
        "error": None if page.problem is None else {"class": page.problem.name, "message": page.problem.said},
        "headers": page.headers,
    }
    if page.kind is Kind.GOOD:
        row |= {"file": file} if file is not None else _body(page)
    return json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace") + b"\n"


def page_of(row: bytes) -> Page:
    """
    The page that `row_of` made *row* of, without its headers and its body.

    Raises:
        ValueError, TypeError, LookupError, AttributeError, RecursionError: It made none of it.
    """
    said = json.loads(row)
    error, file, key = said["error"], said.get("file"), key_of(said["url"])
    problem = None if error is None else Problem(error["class"], error["message"])
    page = Page(
        said["url"],
        key,
        Kind(said["result"]),
        said["status"],
        said["final_url"] or "",
        attempts=said["attempts"],
        problem=problem,
    )
    is_sound = all(isinstance(text, str) for text in (page.final_url, *(problem or ())))
    if not is_sound or not all(type(number) is int for number in (page.status or 0, page.attempts)):
        raise TypeError(said)
    if file is not None and not re.fullmatch(rf"{key.hex()[:2]}/{key.hex()}\.[a-z]+", file):
        raise ValueError(file)  # it would lead whoever reads the output elsewhere
    return page


def is_failed_row(line: bytes) -> bool:
    """Whether `row_of` made *line* of a page that failed."""
    return line.startswith(b'{"result":"failed"')


def _body(page: Page) -> dict[str, str]:
    try:
        text = page.body.decode(charset_of(page.content_type))
    except Exception:  # noqa: BLE001 - whatever a codec makes of a server's bytes, base64 holds them, and the job goes on
        text = "\0"
    return {"base64": base64.b64encode(page.body).decode()} if "\0" in text else {"text": text}
