"""A redirect's Location that isn't a URL."""

from __future__ import annotations

import re

import httpx

from ..errors import BadAnswer
from ..events import History
from .compat import origin_of
from .errors import as_httpx

__all__ = ["bad_location"]


def bad_location(request: httpx.Request, response: httpx.Response, error: Exception) -> Exception:
    """
    The error that the caller of *request* gets, an httpx.RemoteProtocolError.

    Args:
        error: Of httpx or idna; its text is cut where it quotes the URL, because a URL may hold a secret.
    """
    scheme, host, _, _ = origin_of(request.url)
    reason = re.split("['\"]", str(error).removeprefix("Invalid URL in location header: "))[0].strip(" :")
    bad = BadAnswer(f"{scheme}://{host}: the answer {response.status_code} has a Location that isn't a URL: {reason}")
    history = response.extensions.get("seawall")
    if isinstance(history, History):
        bad.attempts = history
        bad.add_note(f"seawall: {history}")
    return as_httpx(bad, request)
