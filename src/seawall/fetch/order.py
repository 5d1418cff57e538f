"""`Order`: what a job sends for each URL, and what it takes for good."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Order", "Statuses"]

_STATUSES = re.compile(r"([0-9]{3})(?:-([0-9]{3}))?")


class Statuses:
    """Statuses that count as good, as people write them: ``200-299,404``."""

    def __init__(self, text: str) -> None:
        """
        Raises:
            ValueError: *text* isn't a list of statuses and ranges of them.
        """
        self.text = text
        self._ranges: list[range] = []
        for part in text.split(","):
            found = _STATUSES.fullmatch(part.strip())
            statuses = range(int(found[1]), int(found[2] or found[1]) + 1) if found else ()
            if not statuses:
                raise ValueError(f"{text!r} isn't a list of statuses such as 200-299,404")
            self._ranges.append(statuses)

    def __contains__(self, status: int) -> bool:
        return any(status in each for each in self._ranges)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """
    What a job sends for each URL, and what it takes for good.

    Args:
        method: The HTTP method.
        headers: What is sent beside the client's own.
        content: The request's body; None sends none.
        follow: Whether redirects are followed.
        accept: The statuses of good pages.
        max_size: Bytes of a body, beyond which a page has failed, where the client allows more; None sets no limit.
        per_host: How many requests of an origin are in flight at once, >= 1, which the client's bulkhead keeps.
        interval: Seconds from one request of an origin to the next, which the client's limit keeps; a robots.txt may
            ask for more.
        deadline: Seconds for a URL with all its attempts, once it is its turn; None disables it.
    """

    method: str = "GET"
    headers: Sequence[tuple[str, str]] = ()
    content: bytes | None = None
    follow: bool = True
    accept: Statuses = Statuses("200-399")
    max_size: int | None = None
    per_host: int = 4
    interval: float = 0.0
    deadline: float | None = 300.0
