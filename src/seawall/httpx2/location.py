# Written by scripts/twin.py from ../_httpx/location.py: change that file, and run the script.
"""A redirect that httpx2 can't make a request of."""

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
    if isinstance(error, UnicodeEncodeError):  # a header's, because what httpx2 takes for a URL is ASCII by then
        said = "redirects, and a cookie that would go along isn't ASCII"
    else:
        reason = re.split("['\"]", str(error).removeprefix("Invalid URL in location header: "))[0].strip(" :")
        said = f"has a Location that isn't a URL: {reason}"
    bad = BadAnswer(f"{scheme}://{host}: the answer {response.status_code} {said}")
    history = response.extensions.get("seawall")
    if isinstance(history, History):
        bad.attempts = history
        bad.add_note(f"seawall: {history}")
    return as_httpx(bad, request)
