# Written by scripts/twin.py from ../_httpx/location.py: change that file, and run the script.
"""A redirect's Location that isn't a URL."""

from __future__ import annotations

import re

import httpx2

from ..errors import BadAnswer
from ..events import History
from .compat import origin_of
from .errors import as_httpx

__all__ = ["bad_location"]


def bad_location(request: httpx2.Request, response: httpx2.Response, error: Exception) -> Exception:
    """
    The error that the caller of *request* gets, an httpx2.RemoteProtocolError.

    Args:
        error: Of httpx2 or idna; its text is cut where it quotes the URL, because a URL may hold a secret.
    """
    scheme, host, _, _ = origin_of(request.url)
    reason = re.split("['\"]", str(error).removeprefix("Invalid URL in location header: "))[0].strip(" :")
    bad = BadAnswer(f"{scheme}://{host}: the answer {response.status_code} has a Location that isn't a URL: {reason}")
    history = response.extensions.get("seawall")
    if isinstance(history, History):
        bad.attempts = history
        bad.add_note(f"seawall: {history}")
    return as_httpx(bad, request)
