# Written by scripts/twin.py from ../_httpx/fetching.py: change that file, and run the script.
"""`Fetching`: what the client does with more than one request: `map`, `download`, `events`."""

from __future__ import annotations

import httpx2

__all__ = ["Fetching"]


class Fetching(httpx2.AsyncClient):
    """The methods of `AsyncClient` that make many requests, or one request many times."""
