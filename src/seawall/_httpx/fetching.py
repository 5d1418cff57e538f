"""`Fetching`: what the client does with more than one request: `map`, `download`, `events`."""

from __future__ import annotations

import httpx

__all__ = ["Fetching"]


class Fetching(httpx.AsyncClient):
    """The methods of `AsyncClient` that make many requests, or one request many times."""
