"""A redirect that httpx can't make a request of."""

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
    if isinstance(error, UnicodeEncodeError):  # a header's, because what httpx takes for a URL is ASCII by then
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
